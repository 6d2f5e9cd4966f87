package mesh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keepmesh/keepmesh/mesh/link"
)

var (
	keyA = bytes.Repeat([]byte{1}, 32)
	keyB = bytes.Repeat([]byte{2}, 32)
)

type logs struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// lan is a /24 of the loopback network: each node has an address of its own and
// all have the same port, outside the range that dialling takes ports from.
type lan struct {
	prefix [3]byte
	port   uint16
}

func newLAN() lan {
	return lan{[3]byte{127, byte(1 + rand.IntN(250)), byte(rand.IntN(250))}, 7946}
}

func (l lan) addr(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{l.prefix[0], l.prefix[1], l.prefix[2], byte(n)})
}

func (l lan) seeds(ns ...int) (out []string) {
	for _, n := range ns {
		out = append(out, l.addr(n).String())
	}
	return out
}

// host is what of a node survives a restart.
type host struct {
	lan     lan
	n       int
	name    string
	cluster string
	key     []byte
	dir     string
	seeds   []string
	logs    *logs
	tune    func(*Config)
}

func newHost(t *testing.T, l lan, n int, seeds ...int) *host {
	return &host{lan: l, n: n, name: fmt.Sprintf("lb%d", n), cluster: "edge", key: keyA, dir: t.TempDir(), seeds: l.seeds(seeds...), logs: new(logs)}
}

// node is a started host.
type node struct {
	*Mesh
	link *link.Listener
}

func (h *host) start(t *testing.T) *node {
	t.Helper()
	id, err := link.OpenIdentity(link.IdentityConfig{Cluster: h.cluster, Name: h.name, DataDir: h.dir, Key: h.key})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(h.logs, nil)).With("self", h.name)
	l, err := link.Listen(link.Config{Bind: []netip.Addr{h.lan.addr(h.n)}, Port: h.lan.port, Identity: id, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Identity: id, Link: l, Key: h.key, Seeds: h.seeds, Logger: log,
		GossipInterval: 20 * time.Millisecond, ProbeInterval: 100 * time.Millisecond, ProbeTimeout: 50 * time.Millisecond,
		RetryMin: 50 * time.Millisecond, RetryMax: 200 * time.Millisecond, Refresh: 200 * time.Millisecond}
	if h.tune != nil {
		h.tune(&cfg)
	}
	m, err := Start(cfg)
	if err != nil {
		l.Close()
		t.Fatal(err)
	}
	n := &node{m, l}
	t.Cleanup(n.stop)
	return n
}

// stop is a crash: nobody is told.
func (n *node) stop() {
	n.Shutdown()
	n.link.Close()
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (n *node) sees(status Status, names ...string) bool {
	found := 0
	for _, m := range n.View().Nodes {
		for _, name := range names {
			if m.Name == name && m.Status == status {
				found++
			}
		}
	}
	return found == len(names)
}

func meet(t *testing.T, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		for _, o := range nodes {
			eventually(t, n.id.Name()+" sees "+o.id.Name(), func() bool { return n.sees(Alive, o.id.Name()) })
		}
	}
}

func TestNodesFindEachOtherBySeeds(t *testing.T) {
	t.Parallel()
	l := newLAN()
	var nodes []*node
	for n := 1; n <= 3; n++ {
		h := newHost(t, l, n, 1, 2, 3)
		h.tune = func(c *Config) { c.Role = map[bool]Role{true: Witness, false: Voter}[n == 3] }
		nodes = append(nodes, h.start(t))
	}
	meet(t, nodes...)
	v := nodes[0].View()
	third, ok := v.Find(nodes[2].id.UUID())
	if !ok || third.Role != Witness || third.Addr != netip.AddrPortFrom(l.addr(3), l.port) || third.Boot != nodes[2].id.Boot() {
		t.Errorf("lb1 sees lb3 as %+v", third)
	}
	if !bytes.Equal(third.PublicKey, nodes[2].id.PublicKey().Bytes()) {
		t.Error("the public key did not arrive")
	}
	eventually(t, "every seed is fine", func() bool {
		for _, s := range nodes[0].View().Seeds {
			if !s.OK {
				return false
			}
		}
		return true
	})
}

func TestDigestsAndWhoHearsWhomReachEverybody(t *testing.T) {
	t.Parallel()
	l := newLAN()
	a, b := newHost(t, l, 1, 1, 2).start(t), newHost(t, l, 2, 1, 2).start(t)
	meet(t, a, b)
	watch := b.Watch()
	d := sample()
	if err := a.Publish(d); err != nil {
		t.Fatal(err)
	}
	of := func() Node { n, _ := b.View().Find(a.id.UUID()); return n }
	eventually(t, "the digest arrives", func() bool {
		select {
		case <-watch:
		default:
		}
		n := of()
		return len(n.Digest.Instances) == 3 && len(n.Digest.Hears) == 60 && len(n.Digest.Instances[2].VIPs) == 150 && n.Digest.Wire.Port == 7947
	})
	if n := of(); n.AsOf.IsZero() || n.Heard.IsZero() {
		t.Errorf("as of %v, heard %v", n.AsOf, n.Heard)
	}
	d.Instances[1].State, d.Instances = "MASTER", d.Instances[:2]
	d.Hears[0].LAN, d.Hears[0].Wire = Never, 17
	if err := a.Publish(d); err != nil {
		t.Fatal(err)
	}
	eventually(t, "changes, removals and ages arrive", func() bool {
		n := of().Digest
		return len(n.Instances) == 2 && n.Instances[1].State == "MASTER" && n.Hears[0].Wire == 17
	})
	asOf := of().AsOf
	eventually(t, "as_of moves on without a change", func() bool { return of().AsOf.After(asOf) })
	// A third node that comes late learns it by comparison, not by broadcast.
	a.stop()
	eventually(t, "lb1 is dead", func() bool { return b.sees(Dead, "lb1") })
	c := newHost(t, l, 3, 2).start(t)
	eventually(t, "what a dead node said stays readable", func() bool {
		n := of()
		return len(n.Digest.Instances) == 2 && n.Digest.Instances[1].State == "MASTER"
	})
	meet(t, b, c)
	eventually(t, "lb3 has what lb1 said", func() bool {
		d, _ := func() (Digest, time.Time) { c.mu.Lock(); defer c.mu.Unlock(); return c.table.digest(a.id.UUID()) }()
		return len(d.Instances) == 2
	})
}

func TestRestartedNodeIsHeardAgain(t *testing.T) {
	t.Parallel()
	l := newLAN()
	ha := newHost(t, l, 1, 1, 2)
	a, b := ha.start(t), newHost(t, l, 2, 1, 2).start(t)
	meet(t, a, b)
	if err := a.Publish(sample()); err != nil {
		t.Fatal(err)
	}
	of := func() Node { n, _ := b.View().Find(a.id.UUID()); return n }
	eventually(t, "first life", func() bool { return len(of().Digest.Instances) == 3 })
	a.stop()
	a2 := ha.start(t)
	if a2.id.UUID() != a.id.UUID() {
		t.Fatal("another node came back")
	}
	if err := a2.Publish(Digest{Wire: Wire{Boot: 2}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "second life replaces the first", func() bool {
		n := of()
		return n.Digest.Wire.Boot == 2 && len(n.Digest.Instances) == 0 && n.Status == Alive
	})
}

func TestNodeMayComeBackWithAnotherAddress(t *testing.T) {
	t.Parallel()
	l := newLAN()
	ha := newHost(t, l, 1, 2)
	a, b, c := ha.start(t), newHost(t, l, 2, 3).start(t), newHost(t, l, 3, 2).start(t)
	meet(t, a, b, c)
	a.stop()
	ha.n = 9
	a2 := ha.start(t)
	eventually(t, "lb1 is found at its new address", func() bool {
		n, _ := b.View().Find(a2.id.UUID())
		m, _ := c.View().Find(a2.id.UUID())
		return n.Addr.Addr() == l.addr(9) && n.Status == Alive && m.Addr.Addr() == l.addr(9) && m.Status == Alive
	})
}

func TestRejoinsAfterAllSeedsWereDown(t *testing.T) {
	t.Parallel()
	l := newLAN()
	h1, h2 := newHost(t, l, 1, 1, 2), newHost(t, l, 2, 1, 2)
	c := newHost(t, l, 3, 1, 2).start(t)
	eventually(t, "both seeds fail", func() bool { s := c.View().Seeds; return s[0].Err != "" && s[1].Err != "" })
	a, b := h1.start(t), h2.start(t)
	meet(t, a, b, c)
	a.stop()
	b.stop()
	eventually(t, "both seeds are lost", func() bool { return c.sees(Dead, "lb1", "lb2") })
	a, b = h1.start(t), h2.start(t)
	meet(t, a, b, c)
}

func TestLeavingIsNotDying(t *testing.T) {
	t.Parallel()
	l := newLAN()
	a, b := newHost(t, l, 1, 2).start(t), newHost(t, l, 2, 1).start(t)
	meet(t, a, b)
	if err := a.Leave(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	eventually(t, "lb2 knows that lb1 left", func() bool { return b.sees(Left, "lb1") })
	if n := len(b.Members()); n != 1 {
		t.Errorf("%d members", n)
	}
}

func TestSilentMemberIsSuspectThenDead(t *testing.T) {
	t.Parallel()
	l := newLAN()
	a, b := newHost(t, l, 1, 2).start(t), newHost(t, l, 2, 1).start(t)
	meet(t, a, b)
	eventually(t, "probes are answered", func() bool { n, _ := b.View().Find(a.id.UUID()); return n.Contact >= 0 && n.RTT > 0 })
	a.stop()
	// Two nodes find a third dead almost as soon as it is suspect, so the clock is
	// turned back for it here instead of hoping for the moment in between.
	b.mu.Lock()
	mem := b.members[a.id.UUID()]
	past := time.Now().Add(-b.silent() - time.Second)
	acked, since, status := mem.acked, mem.since, mem.status
	mem.acked, mem.since, mem.status = past, past, Alive
	b.mu.Unlock()
	if !b.sees(Suspect, "lb1") {
		t.Errorf("without an answer for long: %+v", b.View().Nodes)
	}
	b.mu.Lock()
	mem.acked, mem.since, mem.status = acked, since, status
	b.mu.Unlock()
	eventually(t, "dead", func() bool { return b.sees(Dead, "lb1") })
}

func TestSeedThatDoesNotResolveIsSaidAndRetried(t *testing.T) {
	t.Parallel()
	l := newLAN()
	var mu sync.Mutex
	known := false
	h := newHost(t, l, 1)
	h.seeds = []string{"lb2.example"}
	h.tune = func(c *Config) {
		c.Resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
			mu.Lock()
			defer mu.Unlock()
			if !known || host != "lb2.example" {
				return nil, errors.New("no such host")
			}
			return []netip.Addr{l.addr(2)}, nil
		}
	}
	a, b := h.start(t), newHost(t, l, 2).start(t)
	want := `seed "lb2.example" does not resolve (no such host): correct join in mesh.conf or the name service; it is tried again`
	eventually(t, "the seed's error is shown", func() bool { return a.View().Seeds[0].Err == want })
	if !strings.Contains(h.logs.String(), "lb2.example") {
		t.Errorf("not logged:\n%s", h.logs)
	}
	mu.Lock()
	known = true
	mu.Unlock()
	meet(t, a, b)
	if n := strings.Count(h.logs.String(), "does not resolve"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

func TestStrangersStayOut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		edit func(*host)
		err  string
	}{
		{"wrong key", func(h *host) { h.key = keyB }, "has another cluster key: copy the same encrypt_key_file"},
		{"wrong cluster name", func(h *host) { h.cluster = "prod" }, `belongs to cluster "edge", this node to cluster "prod"`},
		{"name in use", func(h *host) { h.name = "lb1" }, `node name "lb1" is already used by the live node`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLAN()
			ha, hx := newHost(t, l, 1, 2), newHost(t, l, 2, 1)
			c.edit(hx)
			a := ha.start(t)
			x := hx.start(t)
			eventually(t, "the stranger learns why", func() bool { return strings.Contains(x.View().Seeds[0].Err, c.err) })
			eventually(t, "the member says so too", func() bool {
				return strings.Contains(ha.logs.String(), "refused") || strings.Contains(a.View().Seeds[0].Err, "cluster")
			})
			if n := len(a.View().Nodes); n != 1 {
				t.Errorf("lb1 sees %d nodes", n)
			}
			if n := len(x.View().Nodes); n != 1 {
				t.Errorf("the stranger sees %d nodes", n)
			}
		})
	}
}

func TestPortInUseIsNamed(t *testing.T) {
	t.Parallel()
	l := newLAN()
	a := newHost(t, l, 1).start(t)
	// Another mesh over the same link: its TCP port is fine, the UDP port is taken.
	_, err := Start(Config{Identity: a.id, Link: a.link, Key: keyA, Logger: slog.New(slog.DiscardHandler)})
	if want := fmt.Sprintf("port 7946/udp on %s is in use by another process", l.addr(1)); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestConsensusStateTravelsWithMembership(t *testing.T) {
	t.Parallel()
	l := newLAN()
	a, b := newHost(t, l, 1, 2).start(t), newHost(t, l, 2, 1).start(t)
	meet(t, a, b)
	want := Consensus{Expect: 3, Bootstrapped: true, ClusterID: strings.Repeat("f", 32), Proposal: strings.Repeat("e", 16)}
	a.SetConsensus(want)
	eventually(t, "it arrives", func() bool { n, _ := b.View().Find(a.id.UUID()); return n.Consensus == want })
}

func TestMetaFitsWithTheLongestNames(t *testing.T) {
	id, err := link.OpenIdentity(link.IdentityConfig{Cluster: strings.Repeat("c", link.MaxName), Name: strings.Repeat("n", link.MaxName), DataDir: t.TempDir(), Key: keyA})
	if err != nil {
		t.Fatal(err)
	}
	m := meta{Version: metaVersion, Role: Observer, Boot: 1 << 62, Announce: id.Announce(),
		Consensus: Consensus{Expect: 1000, Bootstrapped: true, ClusterID: strings.Repeat("f", 32), Proposal: strings.Repeat("e", 16)}}
	raw, err := m.encode()
	if err != nil || len(raw) > 512 {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
}

func TestCopiedDataDirIsAlarmedAndChangesNothing(t *testing.T) {
	t.Parallel()
	l := newLAN()
	ha, hb := newHost(t, l, 1, 2), newHost(t, l, 2, 1)
	a, b := ha.start(t), hb.start(t)
	meet(t, a, b)
	hc := newHost(t, l, 9, 2)
	pem, err := os.ReadFile(filepath.Join(ha.dir, "node.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(hc.dir, "node.pem"), pem, 0o600); err != nil {
		t.Fatal(err)
	}
	clone := hc.start(t)
	if clone.id.UUID() != a.id.UUID() {
		t.Fatal("no clone")
	}
	eventually(t, "lb2 raises the alarm", func() bool { return strings.Contains(hb.logs.String(), "if both run, data_dir was copied") })
	if n, _ := b.View().Find(a.id.UUID()); n.Addr.Addr() != l.addr(1) || n.Name != "lb1" || n.Status != Alive {
		t.Errorf("the clone took the place: %+v", n)
	}
}
