package veto

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/keepmesh/keepmesh/vrrp"
)

// The rows of the table of failure modes that concern this package, as policy
// availability has them.

func TestOwnerSendsButHearsNothingMovesNothing(t *testing.T) {
	s := settled(t, true)
	s.vrrpOK = func(_, to int) bool { return to != 0 }
	s.meshOK = func(_, to int) bool { return to != 0 }
	s.run(20 * sec)
	s.wantHolder("lb1")
	s.wantAtMost(0, 0)
}

func TestServicePortBlackholedMovesWithin2M(t *testing.T) {
	s := settled(t, true)
	s.runToAdvert(sec / 2)
	from := s.now
	s.lanOK = func(from, to int) bool { return from != 0 && to != 0 }
	s.run(30 * sec)
	s.wantHolder("lb2")
	if d := s.nodes[1].tookAt.Sub(from); d > 2*downOf(120) {
		t.Errorf("moved after %v, want within 2M = %v", d, 2*downOf(120))
	}
	if s.nodes[0].state != vrrp.Fault {
		t.Errorf("lb1 is %v, want FAULT", s.nodes[0].state)
	}
	s.wantAtMost(0, 2*downOf(120))
	s.lanOK = yes
	s.run(60 * sec)
	s.wantHolder("lb1")
	s.wantAtMost(meshDelay, 2*downOf(120))
}

func TestPartitionHasTwoHoldersAndHealsToOne(t *testing.T) {
	s := settled(t, true)
	cut := func(from, to int) bool { return (from == 0) == (to == 0) || from == gateway || to == gateway }
	s.vrrpOK, s.lanOK, s.meshOK = cut, cut, cut
	s.run(20 * sec)
	s.wantHolder("lb1+lb2")
	s.runToAdvert(time.Millisecond) // the next advert is lb2's
	s.vrrpOK, s.lanOK, s.meshOK = yes, yes, yes
	s.run(downOf(120) + 2*interv)
	s.wantHolder("lb1")
	if !slices.Contains(s.nodes[0].alarms, "two holders: lb1 and lb2") {
		t.Errorf("alarms %q", s.nodes[0].alarms)
	}
}

func TestShorterStallMovesNothing(t *testing.T) {
	for _, host := range []bool{false, true} {
		for _, blocked := range []bool{false, true} {
			for n := range 40 {
				s := settled(t, true)
				if blocked {
					s.vrrpOK = no
				}
				s.run(8 * sec)
				s.runToAdvert(time.Duration(n) * sec / 40)
				s.nodes[0].pause(host)
				// Shorter than what is left of the successor's timer.
				s.run(downOf(120) - sec - 10*time.Millisecond)
				s.nodes[0].resume()
				s.run(20 * sec)
				s.wantHolder("lb1")
				s.wantAtMost(0, 0)
				if s.nodes[1].tookAt != 0 || s.nodes[2].tookAt != 0 {
					t.Fatalf("host %v, blocked %v, offset %d/40: taken over", host, blocked, n)
				}
			}
		}
	}
}

func TestLongerStallIsTakenOverAtMAndHealsToOne(t *testing.T) {
	for _, host := range []bool{false, true} {
		s := settled(t, true)
		s.vrrpOK = no
		s.run(8 * sec)
		s.runToAdvert(sec / 2)
		last := s.nodes[0].sentMesh
		s.nodes[0].pause(host)
		s.run(8 * sec)
		// The address still answers from the stopped node's kernel: that is no
		// holder's word.
		if got, want := s.nodes[1].tookAt, last.Add(meshDelay+downOf(120)); got != want {
			t.Errorf("taken over %v late", got.Sub(want))
		}
		s.nodes[0].resume()
		s.run(5 * sec)
		s.wantHolder("lb1")
	}
}

func TestMeshBlockedMovesNothing(t *testing.T) {
	s := settled(t, true)
	s.meshOK = no
	s.run(30 * sec)
	s.wantHolder("lb1")
	s.wantAtMost(0, 0)
}

func TestTwoBackupsRestartedTogetherMoveNothing(t *testing.T) {
	for _, blocked := range []bool{false, true} {
		s := settled(t, true)
		if blocked {
			s.vrrpOK = no
			s.run(8 * sec)
		}
		for _, n := range s.nodes[1:] {
			n.kill()
			n.boot(nil)
		}
		s.run(20 * sec)
		s.wantHolder("lb1")
		s.wantAtMost(0, 0)
	}
}

func TestQuorumLostTakesNothingAway(t *testing.T) {
	s := settled(t, true)
	s.nodes[1].kill()
	s.nodes[2].kill()
	s.run(30 * sec)
	s.wantHolder("lb1")
	s.wantAtMost(0, 0)
}

func TestColdStartOfOneIsVRRP(t *testing.T) {
	took := func(veto bool) vrrp.Instant {
		s := newSim(t, veto, 150, 120, 100)
		s.nodes[0].kill()
		s.nodes[2].kill()
		s.run(10 * sec)
		s.wantHolder("lb2")
		return s.nodes[1].tookAt
	}
	if d := cmp.Diff(took(false), took(true)); d != "" {
		t.Errorf("taken over (-plain +veto):\n%s", d)
	}
}
