package mesh

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const (
	nodeA = "aaaaaaaa-0000-4000-8000-000000000000"
	nodeB = "bbbbbbbb-0000-4000-8000-000000000000"
)

func body(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}

func TestNewestBootThenSequenceWins(t *testing.T) {
	p := func(boot, seq uint64) piece {
		return piece{Node: nodeA, Boot: boot, Seq: seq, Key: "w", AsOf: int64(boot*100 + seq), Body: body(Wire{Boot: boot, Port: uint16(seq)})}
	}
	for _, c := range []struct {
		name  string
		order []piece
		taken []bool
		want  Wire
	}{
		{"higher sequence replaces", []piece{p(1, 1), p(1, 2)}, []bool{true, true}, Wire{1, 2}},
		{"lower sequence is old news", []piece{p(1, 2), p(1, 1)}, []bool{true, false}, Wire{1, 2}},
		{"the same again changes nothing", []piece{p(1, 1), p(1, 1)}, []bool{true, false}, Wire{1, 1}},
		{"a newer boot replaces, whatever its sequence", []piece{p(1, 9), p(2, 1)}, []bool{true, true}, Wire{2, 1}},
		{"an older boot is old news, whatever its sequence", []piece{p(2, 1), p(1, 9)}, []bool{true, false}, Wire{2, 1}},
	} {
		tab := make(table)
		for n, p := range c.order {
			if got := tab.merge(p); got != c.taken[n] {
				t.Errorf("%s: step %d taken %v", c.name, n, got)
			}
		}
		if d, _ := tab.digest(nodeA); d.Wire != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, d.Wire, c.want)
		}
	}
}

func TestANewBootForgetsWhatTheLastOneSaid(t *testing.T) {
	tab := make(table)
	tab.merge(piece{Node: nodeA, Boot: 1, Seq: 1, Key: "i/4/VI_1", Body: body(Instance{Name: "VI_1", Family: 4})})
	tab.merge(piece{Node: nodeA, Boot: 2, Seq: 1, Key: "w", Body: body(Wire{Boot: 7})})
	if d, _ := tab.digest(nodeA); len(d.Instances) != 0 || d.Wire.Boot != 7 {
		t.Errorf("got %+v", d)
	}
}

func TestMergeDoesNotDependOnOrderOrRepeats(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var pieces []piece
	for boot := uint64(1); boot <= 2; boot++ {
		for seq := uint64(1); seq <= 6; seq++ {
			for _, node := range []string{nodeA, nodeB} {
				pieces = append(pieces, piece{Node: node, Boot: boot, Seq: seq, Key: fmt.Sprintf("i/4/VI_%d", seq%3),
					AsOf: int64(seq), Body: body(Instance{Name: fmt.Sprintf("VI_%d", seq%3), Family: 4, Priority: int(seq)})})
			}
		}
	}
	want := make(table)
	for _, p := range pieces {
		want.merge(p)
	}
	for range 200 {
		got := make(table)
		shuffled := append(slices.Clone(pieces), pieces[:rng.IntN(len(pieces))]...)
		rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		for _, p := range shuffled {
			got.merge(p)
		}
		if diff := cmp.Diff(want.all(nodeA), got.all(nodeA)); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestBoundsOfTheTable(t *testing.T) {
	tab := make(table)
	if tab.merge(piece{Node: "short", Boot: 1, Seq: 1, Key: "w"}) {
		t.Error("a node that is no UUID")
	}
	if tab.merge(piece{Node: nodeA, Boot: 1, Seq: 1, Key: "w", Body: make([]byte, maxPiece+1)}) {
		t.Error("a body that is too long")
	}
	for n := range maxPieces + 10 {
		tab.merge(piece{Node: nodeA, Boot: 1, Seq: uint64(n + 1), Key: fmt.Sprintf("i/4/%d", n)})
	}
	if n := len(tab[nodeA].pieces); n != maxPieces {
		t.Errorf("%d pieces of one node", n)
	}
	for n := range maxNodes + 10 {
		tab.merge(piece{Node: fmt.Sprintf("%036d", n), Boot: 1, Seq: 1, Key: "w"})
	}
	if len(tab) != maxNodes {
		t.Errorf("%d nodes", len(tab))
	}
}

func sample() Digest {
	since := time.Date(2026, 1, 2, 3, 4, 5, 6000000, time.UTC)
	d := Digest{Wire: Wire{Boot: 42, Port: 7947}}
	for n := range 3 {
		i := Instance{Name: fmt.Sprintf("VI_%d", n), Family: 4, VRID: n + 1, Interface: "eth0", State: "BACKUP", Priority: 100, Effective: 97,
			Owner: netip.MustParseAddr("10.0.0.11"), Source: netip.MustParseAddr("10.0.0.12"), Since: since, Verdict: "vetoed", Reason: "chk_nginx: exit 1"}
		for v := range 150 {
			i.VIPs = append(i.VIPs, fmt.Sprintf("10.%d.0.%d/24", n, v))
		}
		d.Instances = append(d.Instances, i)
		for p := range 20 {
			d.Hears = append(d.Hears, Hearing{Instance: i.Name, Peer: netip.AddrFrom4([4]byte{10, 0, 0, byte(p)}), Node: nodeB, LAN: int64(p), Wire: Never})
		}
	}
	return d
}

func tableOf(t *testing.T, d Digest) table {
	t.Helper()
	bodies, err := split(d)
	if err != nil {
		t.Fatal(err)
	}
	tab, seq := make(table), uint64(0)
	for k, b := range bodies {
		seq++
		p := piece{Node: nodeA, Boot: 1, Seq: seq, Key: k, AsOf: 1000, Body: b}
		raw, err := json.Marshal(p)
		if err != nil || len(raw) > maxPiece+100 {
			t.Fatalf("piece %s has %d bytes, %v", k, len(raw), err)
		}
		tab.merge(p)
	}
	return tab
}

func TestDigestSurvivesItsPieces(t *testing.T) {
	want := sample()
	got, asOf := tableOf(t, want).digest(nodeA)
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
	if asOf.UnixMilli() != 1000 {
		t.Errorf("as of %v", asOf)
	}
}

func TestLongNamesAreRefusedAndLongReasonsCut(t *testing.T) {
	d := sample()
	d.Instances[0].Reason = strings.Repeat("ä", 500)
	got, _ := tableOf(t, d).digest(nodeA)
	if r := got.Instances[0].Reason; len(r) > maxReason || !strings.HasPrefix(r, "ää") || strings.ContainsRune(r, '\uFFFD') {
		t.Errorf("reason of %d bytes %q", len(r), r)
	}
	d.Instances[0].Name = strings.Repeat("x", 300)
	if _, err := split(d); err == nil {
		t.Error("a name of 300 bytes is taken")
	}
}

func TestOnlyChangesAreSentAtOnce(t *testing.T) {
	d := sample()
	held := tableOf(t, d)[nodeA].pieces
	aged := sample()
	aged.Hears[0].LAN = 5000
	changed := sample()
	changed.Instances[1].State = "MASTER"
	shrunk := sample()
	shrunk.Instances = shrunk.Instances[:2]
	for _, c := range []struct {
		name    string
		next    Digest
		all     bool
		changed []string
		gone    int
	}{
		{"nothing", d, true, nil, 0},
		{"an age, not yet", aged, false, nil, 0},
		{"an age, in its turn", aged, true, []string{"h/0000"}, 0},
		{"a state", changed, false, []string{"i/4/VI_1"}, 0},
		{"an instance gone, with its VIPs", shrunk, false, nil, 5},
	} {
		bodies, err := split(c.next)
		if err != nil {
			t.Fatal(err)
		}
		ch, gone := difference(held, bodies, c.all)
		if !slices.Equal(ch, c.changed) || len(gone) != c.gone {
			t.Errorf("%s: changed %v, gone %v", c.name, ch, gone)
		}
	}
}

func TestTombstonesRemove(t *testing.T) {
	tab := make(table)
	tab.merge(piece{Node: nodeA, Boot: 1, Seq: 1, Key: "i/4/VI_1", Body: body(Instance{Name: "VI_1", Family: 4})})
	tab.merge(piece{Node: nodeA, Boot: 1, Seq: 2, Key: "i/4/VI_1"})
	if tab.merge(piece{Node: nodeA, Boot: 1, Seq: 1, Key: "i/4/VI_1", Body: body(Instance{Name: "VI_1", Family: 4})}) {
		t.Error("a late copy brought it back")
	}
	if d, _ := tab.digest(nodeA); len(d.Instances) != 0 {
		t.Errorf("got %+v", d.Instances)
	}
}

func TestSameNameInBothFamilies(t *testing.T) {
	want := Digest{Instances: []Instance{
		{Name: "VI", Family: 4, VIPs: []string{"10.0.0.1/24"}},
		{Name: "VI", Family: 6, VIPs: []string{"2001:db8::1/64"}},
	}}
	got, _ := tableOf(t, want).digest(nodeA)
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
}
