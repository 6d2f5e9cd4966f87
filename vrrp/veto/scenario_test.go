package veto

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/keepmesh/keepmesh/vrrp"
)

func no(int, int) bool { return false }

// settled is three nodes with lb1 Active and time on the clock.
func settled(t *testing.T, veto bool) *sim {
	s := newSim(t, veto, 150, 120, 100)
	s.run(10 * sec)
	s.wantHolder("lb1")
	s.reset()
	for _, n := range s.nodes {
		if len(n.alarms) != 0 || len(n.verdicts) != 0 {
			t.Fatalf("%s: in a healthy network verdicts %v, alarms %q", n.name(), n.verdicts, n.alarms)
		}
	}
	return s
}

// downOf is M of a priority.
func downOf(prio int) time.Duration { return 3*interv + interv*time.Duration(256-prio)/256 }

func TestProtocolBlockedHasOneHolder(t *testing.T) {
	s := settled(t, true)
	s.vrrpOK = no
	s.run(20 * sec)
	s.wantHolder("lb1")
	for _, n := range s.nodes[1:] {
		if d := cmp.Diff([]Verdict{Vetoed}, n.verdicts); d != "" {
			t.Errorf("%s: verdicts (-want +got):\n%s", n.name(), d)
		}
	}
	s.vrrpOK = yes
	s.run(20 * sec)
	s.wantHolder("lb1")
	s.wantAtMost(0, 0)
	for _, n := range s.nodes[1:] {
		if d := cmp.Diff([]Verdict{Vetoed, Unneeded}, n.verdicts); d != "" {
			t.Errorf("%s: verdicts (-want +got):\n%s", n.name(), d)
		}
	}
}

// The same fault convicts plain VRRP: the simulator can see two holders.
func TestProtocolBlockedConvictsPlainVRRP(t *testing.T) {
	s := settled(t, false)
	s.vrrpOK = no
	s.run(20 * sec)
	if s.dual < 16*sec {
		t.Errorf("several holders for %v only", s.dual)
	}
}

func TestOneWayLossVetoesTheDeafBackup(t *testing.T) {
	s := settled(t, true)
	s.vrrpOK = func(from, to int) bool { return from != 0 || to != 2 }
	s.run(20 * sec)
	s.wantHolder("lb1")
	s.wantAtMost(0, 0)
	want := []string{"one-way VRRP loss lb1 -> lb3: lb3 does not hear lb1's adverts (deaf to lb1), others do"}
	if d := cmp.Diff(want, s.nodes[2].alarms); d != "" {
		t.Errorf("lb3's alarms (-want +got):\n%s", d)
	}
	if v := s.nodes[1].verdicts; len(v) != 0 {
		t.Errorf("lb2, which hears all: verdicts %v", v)
	}
}

func TestHoldersAdvertsLostToAllVetoes(t *testing.T) {
	s := settled(t, true)
	s.vrrpOK = func(from, _ int) bool { return from != 0 }
	s.run(20 * sec)
	s.wantHolder("lb1")
	s.wantAtMost(0, 0)
	want := []string{"lb1 is mute: no member hears its adverts on the LAN, but it holds"}
	for _, n := range s.nodes[1:] {
		if d := cmp.Diff(want, n.alarms); d != "" {
			t.Errorf("%s's alarms (-want +got):\n%s", n.name(), d)
		}
	}
}

func TestHolderDiesDuringTheBlock(t *testing.T) {
	for n := range 42 {
		after := time.Duration(n) * sec / 40
		s := settled(t, true)
		s.vrrpOK = no
		s.run(8 * sec)
		s.runToAdvert(after)
		last := s.nodes[0].sentMesh
		s.nodes[0].kill()
		s.run(10 * sec)
		s.wantHolder("lb2")
		if got, want := s.nodes[1].tookAt, last.Add(meshDelay+downOf(120)); got != want {
			t.Errorf("killed %v after its advert: taken over %v late", after, got.Sub(want))
		}
		s.wantAtMost(0, 4*sec)
	}
}

// runToAdvert runs until the given time after lb1's next advert.
func (s *sim) runToAdvert(after time.Duration) {
	last := s.nodes[0].sentMesh
	for s.nodes[0].sentMesh == last {
		s.run(10 * time.Millisecond)
	}
	s.run(s.nodes[0].sentMesh.Add(interv).Sub(s.now))
	s.run(after)
}

func TestMeshDiesDuringTheBlockIsPlain(t *testing.T) {
	s := settled(t, true)
	s.vrrpOK = no
	s.run(8 * sec)
	s.runToAdvert(sec / 2)
	s.meshOK = no
	last := s.nodes[0].sentMesh
	s.run(10 * sec)
	s.wantHolder("lb1+lb2+lb3")
	for n, p := range map[int]int{1: 120, 2: 100} {
		if got, want := s.nodes[n].tookAt, last.Add(meshDelay+downOf(p)); got != want {
			t.Errorf("lb%d: taken over %v late", n+1, got.Sub(want))
		}
	}
	// Healed, VRRP's rule leaves one.
	s.meshOK = yes
	s.run(5 * sec)
	s.wantHolder("lb1")
}

func TestBothWiresBlockedIsPlainToTheInstant(t *testing.T) {
	got := tookAfter(t, true, func(s *sim) { s.vrrpOK, s.meshOK = no, no })
	want := tookAfter(t, false, func(s *sim) { s.vrrpOK, s.meshOK = no, no })
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("taken over (-plain +veto):\n%s", d)
	}
}

func TestMeshNeverFormedIsPlainToTheInstant(t *testing.T) {
	run := func(veto bool) []vrrp.Instant {
		s := newSim(t, veto, 150, 120, 100)
		s.meshOK = no
		s.run(10 * sec)
		s.runToAdvert(sec / 4)
		s.nodes[0].kill()
		s.run(10 * sec)
		s.wantHolder("lb2")
		s.nodes[0].boot(nil)
		s.run(10 * sec)
		s.wantHolder("lb1")
		return []vrrp.Instant{s.nodes[0].tookAt, s.nodes[1].tookAt}
	}
	if d := cmp.Diff(run(false), run(true)); d != "" {
		t.Errorf("taken over (-plain +veto):\n%s", d)
	}
}

func TestHealthyFailoverIsPlainToTheInstant(t *testing.T) {
	for _, after := range []time.Duration{0, 1, lanDelay, meshDelay, meshDelay + 1, sec / 2, sec - 1} {
		kill := func(s *sim) { s.run(after); s.nodes[0].kill() }
		got, want := tookAfter(t, true, kill), tookAfter(t, false, kill)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("killed %v after an advert: taken over (-plain +veto):\n%s", after, d)
		}
	}
}

func TestStoppedHolderIsReplacedAfterTheSkewAsInPlain(t *testing.T) {
	stop := func(s *sim) {
		s.run(sec / 2)
		s.nodes[0].toRouter(&vrrp.Stop{})
		s.nodes[0].kill()
	}
	got, want := tookAfter(t, true, stop), tookAfter(t, false, stop)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("taken over (-plain +veto):\n%s", d)
	}
}

// tookAfter applies the fault right after an advert of lb1 and says how long
// after it the others first held.
func tookAfter(t *testing.T, veto bool, fault func(*sim)) []string {
	s := settled(t, veto)
	s.runToAdvert(0)
	from := s.now
	fault(s)
	s.run(10 * sec)
	var out []string
	for _, n := range s.nodes[1:] {
		if n.tookAt != 0 {
			out = append(out, fmt.Sprintf("%s after %v", n.name(), n.tookAt.Sub(from)))
		}
	}
	return out
}

func TestPreemptionOverTheMeshWhileBlocked(t *testing.T) {
	s := settled(t, true)
	s.vrrpOK = no
	s.run(8 * sec)
	s.nodes[2].kill()
	s.nodes[2].prio = 200
	s.nodes[2].boot(nil)
	s.run(20 * sec)
	s.wantHolder("lb3")
	// Until the old holder hears the new one, over the mesh.
	s.wantAtMost(meshDelay, 0)
	wantOneHolderSeen(t, s.nodes[1])
}

func TestHolderStoppedDuringTheBlockIsReplacedAfterTheSkew(t *testing.T) {
	s := settled(t, true)
	s.vrrpOK = no
	s.run(8 * sec)
	s.runToAdvert(sec / 2)
	stopped := s.now
	s.nodes[0].toRouter(&vrrp.Stop{})
	s.nodes[0].kill()
	s.run(10 * sec)
	s.wantHolder("lb2")
	if got, want := s.nodes[1].tookAt, stopped.Add(meshDelay+downOf(120)-3*interv); got != want {
		t.Errorf("taken over %v late", got.Sub(want))
	}
	wantOneHolderSeen(t, s.nodes[2])
}

// wantOneHolderSeen: a change of holder is not taken for two of them.
func wantOneHolderSeen(t *testing.T, n *simNode) {
	t.Helper()
	if d := cmp.Diff([]Verdict{Vetoed}, n.verdicts); d != "" {
		t.Errorf("%s: verdicts (-want +got):\n%s", n.name(), d)
	}
}

func TestNoPreemptHoldsOverTheMeshWhileBlocked(t *testing.T) {
	s := settled(t, true)
	s.vrrpOK = no
	s.run(8 * sec)
	s.nodes[2].kill()
	s.nodes[2].prio = 200
	s.nodes[2].boot(func(c *vrrp.InstanceConfig) { c.NoPreempt = true })
	s.run(20 * sec)
	s.wantHolder("lb1")
	s.wantAtMost(0, 0)
}

func TestBackupStartedDuringTheBlockStaysBackup(t *testing.T) {
	s := settled(t, true)
	s.nodes[2].kill()
	s.vrrpOK = no
	s.run(5 * sec)
	s.nodes[2].boot(nil)
	s.run(20 * sec)
	s.wantHolder("lb1")
	s.wantAtMost(0, 0)
}

func TestDeafBackupStaysAndComesBack(t *testing.T) {
	s := settled(t, true)
	s.lanOK = func(from, to int) bool { return from != 2 && to != 2 }
	s.run(20 * sec)
	s.wantHolder("lb1")
	if v, _ := s.nodes[2].machine.Verdict(); v != Deaf {
		t.Errorf("lb3's verdict %q, want deaf", v)
	}
	s.lanOK = yes
	s.run(20 * sec)
	s.wantHolder("lb1")
	s.wantAtMost(0, 0)
	if v, _ := s.nodes[2].machine.Verdict(); v != Unneeded {
		t.Errorf("lb3's verdict %q after healing", v)
	}
	if n := len(s.nodes[2].verdicts); n > 3 {
		t.Errorf("lb3's verdicts flap: %v", s.nodes[2].verdicts)
	}
}

// A lossy mesh while protocol 112 is blocked: one holder throughout.
func TestLossyMeshDuringTheBlock(t *testing.T) {
	for seed := range uint64(20) {
		s := settled(t, true)
		s.rng = rand.New(rand.NewPCG(seed, 6))
		s.vrrpOK = no
		s.meshOK = func(int, int) bool { return s.rng.IntN(100) >= 20 }
		s.run(60 * sec)
		s.wantHolder("lb1")
		s.wantAtMost(0, 0)
		for _, n := range s.nodes[1:] {
			if !slices.Equal(n.verdicts, []Verdict{Vetoed}) {
				t.Errorf("seed %d: %s's verdicts flap: %v", seed, n.name(), n.verdicts)
			}
		}
		if t.Failed() {
			return
		}
	}
}

func TestOneWayMeshDuringTheBlockMovesNothing(t *testing.T) {
	s := settled(t, true)
	s.vrrpOK = no
	s.meshOK = func(_, to int) bool { return to != 0 }
	s.run(30 * sec)
	s.wantHolder("lb1")
	s.wantAtMost(0, 0)
	want := "lb1's adverts arrive on the mesh but it does not answer lb3: check UDP lb3 -> lb1"
	if !slices.Contains(s.nodes[2].alarms, want) {
		t.Errorf("alarms %q", s.nodes[2].alarms)
	}
}

func TestSilentAddressIsGivenUpWhenAllOthersSaySo(t *testing.T) {
	s := settled(t, true)
	s.runToAdvert(0)
	from := s.now
	s.vrrpOK = no
	s.nodes[0].silent = true
	s.run(7 * sec)
	s.wantHolder("lb2")
	if d := s.nodes[1].tookAt.Sub(from); d > 2*downOf(120) {
		t.Errorf("moved after %v, want within 2M = %v", d, 2*downOf(120))
	}
	s.wantAtMost(0, sec)
}

// One backup of two does not find the address: its word alone moves nothing.
func TestOneBackupThatDoesNotFindTheAddressMovesNothing(t *testing.T) {
	s := settled(t, true)
	cut := func(from, to int) bool { return from+to != 2 || from == to }
	s.lanOK = cut // lb1 and lb3 have lost each other, and each has the others
	s.run(30 * sec)
	s.wantHolder("lb1")
	s.wantAtMost(0, 0)
	if v, d := s.nodes[2].machine.Verdict(); v != Mute || !d.Insists {
		t.Errorf("lb3: verdict %q, %+v", v, d)
	}
	want := "lb1 insists: lb3 finds its address silent on the LAN, lb1's own LAN test passes"
	if !slices.Contains(s.nodes[2].alarms, want) {
		t.Errorf("alarms %q", s.nodes[2].alarms)
	}
}

func TestStalledBackupTakesNothing(t *testing.T) {
	s := settled(t, true)
	s.vrrpOK = no
	s.run(8 * sec)
	for n := range 20 {
		s.nodes[1].pause(false)
		s.run(time.Duration(n+1) * sec / 2)
		s.nodes[1].resume()
		s.run(2 * sec)
	}
	s.wantHolder("lb1")
	s.wantAtMost(0, 0)
}

// Adverts come and go in every direction and a tenth of the mesh is lost; the
// LAN itself works. Nothing may move.
func TestFlappingVRRPMovesNothing(t *testing.T) {
	for seed := range uint64(40) {
		s := settled(t, true)
		s.rng = rand.New(rand.NewPCG(seed, 7))
		var ok [9]bool
		s.vrrpOK = func(from, to int) bool { return ok[from*3+to] }
		s.meshOK = func(int, int) bool { return s.rng.IntN(10) > 0 }
		for range 40 {
			for i := range ok {
				ok[i] = s.rng.IntN(3) == 0
			}
			s.run(time.Duration(s.rng.IntN(6000)) * time.Millisecond)
		}
		if s.wantHolder("lb1"); s.dual != 0 || s.none != 0 {
			t.Fatalf("seed %d: several holders for %v, none for %v\n%s", seed, s.dual, s.none, strings.Join(s.trace, "\n"))
		}
	}
}

// Whatever happened, soon after healing there is one holder, the same seed
// gives the same trace, and no node is left shut for ever.
func TestAnyFaultsHealToOneHolder(t *testing.T) {
	run := func(seed uint64) *sim {
		s := settled(t, true)
		s.rng = rand.New(rand.NewPCG(seed, 8))
		var v, l, m [16]bool
		at := func(a *[16]bool) func(int, int) bool {
			return func(from, to int) bool { return a[(from+1)*4+to+1] }
		}
		s.vrrpOK, s.lanOK, s.meshOK = at(&v), at(&l), at(&m)
		for range 20 {
			for i := range v {
				v[i], l[i], m[i] = s.rng.IntN(2) == 0, s.rng.IntN(4) > 0, s.rng.IntN(4) > 0
			}
			n := s.nodes[s.rng.IntN(3)]
			switch s.rng.IntN(4) {
			case 0:
				n.kill()
				n.paused = false
				n.backlog = nil
				n.boot(nil)
			case 1:
				n.pause(s.rng.IntN(2) == 0)
			}
			s.run(time.Duration(s.rng.IntN(8000)) * time.Millisecond)
			n.resume()
		}
		s.vrrpOK, s.lanOK, s.meshOK = yes, yes, yes
		s.run(downOf(100) + 2*interv)
		if h := s.holder(); len(h) != 3 {
			t.Fatalf("seed %d: %q hold after healing\n%s", seed, h, strings.Join(s.trace, "\n"))
		}
		s.run(32 * 3 * downOf(100))
		s.wantHolder("lb1")
		return s
	}
	for seed := range uint64(40) {
		run(seed)
	}
	if d := cmp.Diff(run(3).trace, run(3).trace); d != "" {
		t.Errorf("the same seed gives another trace:\n%s", d)
	}
}
