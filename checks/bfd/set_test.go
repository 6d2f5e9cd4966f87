package bfd

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	left  = netip.MustParseAddr("10.0.0.1")
	right = netip.MustParseAddr("10.0.0.2")
)

func peer(name string, neighbor netip.Addr, discr uint32) Peer {
	return Peer{
		Name: name, Neighbor: neighbor, MinTTL: 255, TTL: 255,
		Session: Config{Discriminator: discr, MinTx: 20 * ms, MinRx: 10 * ms, IdleTx: time.Second, Multiplier: 5, Seed: uint64(discr)},
	}
}

// wire joins two sets; drop decides over each packet.
type wire struct {
	t    *testing.T
	now  Instant
	sets map[netip.Addr]*Set
	drop func(from netip.Addr) bool
	log  []string
	fly  []flight
}

type flight struct {
	from, to netip.Addr
	b        []byte
}

func newWire(t *testing.T) *wire {
	return &wire{t: t, now: 1, sets: map[netip.Addr]*Set{left: {}, right: {}}, drop: func(netip.Addr) bool { return false }}
}

func (w *wire) take(self netip.Addr, list []Directed) {
	for _, d := range list {
		switch a := d.Action.(type) {
		case *Send:
			w.fly = append(w.fly, flight{self, d.Peer.Neighbor, Append(nil, &a.Packet)})
		case *Changed:
			w.log = append(w.log, fmt.Sprintf("%s %s", self, a.To))
		}
	}
}

// run lets time pass; packets arrive at once.
func (w *wire) run(d time.Duration) {
	end := w.now.Add(d)
	for {
		for len(w.fly) > 0 {
			f := w.fly[0]
			w.fly = w.fly[1:]
			if w.sets[f.to] == nil || w.drop(f.from) {
				continue
			}
			list, err := w.sets[f.to].Receive(w.now, f.from, false, 255, f.b)
			if err != nil && !errors.Is(err, ErrDiscarded) {
				w.t.Fatal(err)
			}
			w.take(f.to, list)
		}
		next := end + 1
		for _, s := range w.sets {
			if at, ok := s.Deadline(); ok {
				next = min(next, max(at, w.now))
			}
		}
		if next > end {
			break
		}
		w.now = next
		for _, self := range []netip.Addr{left, right} {
			w.take(self, w.sets[self].Tick(w.now))
		}
	}
	w.now = end
}

func (w *wire) states() string {
	a, _, _ := w.sets[left].State("B")
	b, _, _ := w.sets[right].State("B")
	return fmt.Sprint(a, " ", b)
}

func (w *wire) start() *wire {
	w.take(left, w.sets[left].Configure(w.now, []Peer{peer("B", right, 1)}))
	w.take(right, w.sets[right].Configure(w.now, []Peer{peer("B", left, 2)}))
	w.run(4 * time.Second)
	if w.states() != "Up Up" {
		w.t.Fatalf("states %s, %q", w.states(), w.log)
	}
	return w
}

func TestTwoNodesComeUpAndSeeEachOthersEnd(t *testing.T) {
	w := newWire(t).start()
	w.log = nil
	w.run(time.Minute)
	if len(w.log) != 0 {
		t.Fatalf("a quiet minute: %q", w.log)
	}
	// 5 times 20 ms: both notice a cut within a little more than 100 ms.
	w.drop = func(netip.Addr) bool { return true }
	w.run(101 * ms)
	if d := cmp.Diff([]string{"10.0.0.1 Down", "10.0.0.2 Down"}, slices.Sorted(slices.Values(w.log))); d != "" {
		t.Error(d)
	}
	w.drop = func(netip.Addr) bool { return false }
	w.run(4 * time.Second)
	if w.states() != "Up Up" {
		t.Errorf("after the cut: %s", w.states())
	}
	// One direction is enough to take both down.
	w.drop = func(from netip.Addr) bool { return from == left }
	w.run(150 * ms)
	if w.states() != "Down Down" && w.states() != "Init Down" && w.states() != "Down Init" {
		t.Errorf("one way: %s", w.states())
	}
}

func TestLossBelowTheMultiplierIsNoEnd(t *testing.T) {
	w := newWire(t).start()
	rng := rand.New(rand.NewPCG(1, 2))
	run := map[netip.Addr]int{}
	w.drop = func(from netip.Addr) bool {
		lost := rng.IntN(2) == 0 && run[from] < 3
		run[from]++
		if !lost {
			run[from] = 0
		}
		return lost
	}
	w.log = nil
	w.run(time.Minute)
	if len(w.log) != 0 {
		t.Errorf("%q", w.log)
	}
}

func TestStopIsSeenAtOnce(t *testing.T) {
	w := newWire(t).start()
	w.take(left, w.sets[left].Stop(w.now))
	w.run(1)
	if w.states() != "AdminDown Down" {
		t.Errorf("states %s", w.states())
	}
}

func TestPacketsOfStrangersAreDiscarded(t *testing.T) {
	w := newWire(t).start()
	s := w.sets[left]
	good := Packet{State: Down, Multiplier: 1, Mine: 2, Yours: 1}
	for name, c := range map[string]struct {
		from netip.Addr
		hop  bool
		ttl  int
		p    Packet
	}{
		"another source":          {netip.MustParseAddr("10.0.0.3"), false, 255, good},
		"from beyond a router":    {right, false, 254, good},
		"another discriminator":   {right, false, 255, Packet{State: Down, Multiplier: 1, Mine: 2, Yours: 77}},
		"on the port of multihop": {right, true, 255, good},
	} {
		if list, err := s.Receive(w.now, c.from, c.hop, c.ttl, Append(nil, &c.p)); !errors.Is(err, ErrDiscarded) || len(list) > 0 {
			t.Errorf("%s: %v, %v", name, list, err)
		}
	}
	if w.states() != "Up Up" {
		t.Errorf("states %s", w.states())
	}
	if _, err := s.Receive(w.now, right, false, 255, Append(nil, &good)); err != nil {
		t.Errorf("the good one: %v", err)
	}
	if w.states() != "Down Up" {
		t.Errorf("states %s", w.states())
	}
}

func TestReloadKeepsSessionsAndEndsTheOthers(t *testing.T) {
	w := newWire(t).start()
	w.log = nil
	p := peer("B", right, 55) // a new number is not taken over
	p.Session.MinTx = 40 * ms
	w.take(left, w.sets[left].Configure(w.now, []Peer{peer("C", netip.MustParseAddr("10.0.0.9"), 3), p}))
	w.run(0)
	w.fly = nil
	if w.states() != "Up Up" || strings.Join(w.log, ",") != "10.0.0.1 Down" { // C begins
		t.Errorf("states %s, %q", w.states(), w.log)
	}
	w.take(left, w.sets[left].Configure(w.now, nil))
	w.fly = slices.DeleteFunc(w.fly, func(f flight) bool { return f.to != right })
	w.run(0)
	if _, _, ok := w.sets[left].State("B"); ok {
		t.Error("the session is still there")
	}
	if state, diag, _ := w.sets[right].State("B"); state != Down || diag != NeighborDown {
		t.Errorf("the neighbour is %s (%s)", state, diag)
	}
	if _, any := w.sets[left].Deadline(); any {
		t.Error("an empty set has a deadline")
	}
}
