package veto

import (
	"testing"
	"time"

	"github.com/keepmesh/keepmesh/vrrp"
)

// newHolder is lb3 as MASTER since start, with lb1 and lb2 as Backups.
func newHolder(t *testing.T, change ...func(*Config)) *rig {
	t.Helper()
	r := newRig(t, change...)
	r.now = start
	r.step(&AdvertSent{})
	r.step(&Self{State: vrrp.Active, Priority: 100, Source: addr3})
	r.taken = start
	r.log = nil
	return r
}

func TestToldHolderTestsItsLANAndInsists(t *testing.T) {
	r := newHolder(t)
	test := wantOnly[*TestLAN](t, r.step(&Unheard{From: lb1, Nonce: 5}))
	r.now = r.now.Add(10 * time.Millisecond)
	got := wantOnly[*SendInsist](t, r.step(&LANTested{Round: test.Round, Outcome: TestPassed}))
	if got.To != lb1 || got.Nonce != 5 {
		t.Errorf("insists to %v", got)
	}
	// A repetition is answered from the test that has just passed.
	r.now = r.now.Add(10 * time.Millisecond)
	wantOnly[*SendInsist](t, r.step(&Unheard{From: lb1, Nonce: 5}))
}

func TestToldHolderWhoseLANTestFailsShutsAndYields(t *testing.T) {
	r := newHolder(t)
	test := wantOnly[*TestLAN](t, r.step(&Unheard{From: lb1, Nonce: 5}))
	out := r.step(&LANTested{Round: test.Round, Outcome: TestFailed})
	wantOnly[*Shut](t, out)
	yield, ok := out[1].(*SendYield)
	if !ok || yield.To != lb1 || yield.Nonce != 5 {
		t.Errorf("after Shut: %+v", out[1])
	}
	r.wantAlarm("lb3 shut: its address is silent on the LAN (told by lb1)")
	wantOnly[*SendYield](t, r.step(&Unheard{From: lb2, Nonce: 6}))
}

func TestToldHolderShutsWhenAMajorityOfFitMembersRepeatsIt(t *testing.T) {
	r := newHolder(t)
	r.complain(lb1, 5, TestPassed)
	r.complain(lb2, 6, TestPassed)
	r.now = r.now.Add(interv)
	r.complain(lb1, 7, TestPassed)
	out := r.step(&Unheard{From: lb2, Nonce: 8})
	wantOnly[*Shut](t, out)
	var to []NodeID
	for _, a := range out {
		if y, ok := a.(*SendYield); ok {
			to = append(to, y.To)
		}
	}
	if len(to) != 2 {
		t.Errorf("yielded to %v, want both", to)
	}
}

// complain is told once and answers the test, if one is asked for.
func (r *rig) complain(from NodeID, nonce uint64, o TestOutcome) {
	r.t.Helper()
	insists := 0
	count := func(out []Action) {
		for _, a := range out {
			if _, ok := a.(*SendInsist); ok {
				insists++
			}
		}
	}
	out := r.step(&Unheard{From: from, Nonce: nonce})
	count(out)
	for _, a := range out {
		if test, ok := a.(*TestLAN); ok {
			count(r.step(&LANTested{Round: test.Round, Outcome: o}))
		}
	}
	if insists != 1 {
		r.t.Fatalf("insisted %d times to %s", insists, nodeName(from))
	}
}

// What a whole cluster saw while the holder was paused comes in at once when
// it goes on.
func TestComplaintsOfAPauseAreNotCounted(t *testing.T) {
	r := newHolder(t)
	test := wantOnly[*TestLAN](t, r.step(&Unheard{From: lb1, Nonce: 5}))
	for nonce := range uint64(3) {
		r.step(&Unheard{From: lb1, Nonce: 6 + nonce})
		r.step(&Unheard{From: lb2, Nonce: 16 + nonce})
	}
	r.step(&LANTested{Round: test.Round, Outcome: TestPassed})
	if n, s := len(all[*SendInsist](r)), len(all[*Shut](r)); n != 2 || s != 0 {
		t.Errorf("insisted %d times, shut %d times, want to insist to both", n, s)
	}
	// Repetitions of what was refuted count as little.
	r.step(&Unheard{From: lb1, Nonce: 8})
	r.step(&Unheard{From: lb2, Nonce: 18})
	if s := len(all[*Shut](r)); s != 0 {
		t.Error("shut by repetitions")
	}
}

func TestAnUnfitMemberIsNotCounted(t *testing.T) {
	lb4 := NodeID{4}
	r := newHolder(t, func(c *Config) { c.Members = append(c.Members, lb4) })
	for nonce := range uint64(2) {
		r.complain(lb1, nonce, TestPassed)
		r.complain(lb2, nonce, TestPassed)
		r.now = r.now.Add(interv)
	}
	wantOnly[*Shut](t, r.step(&PeerFit{Node: lb4, Fit: false}))
}

func TestOfTwoNodesTheLANTestDecides(t *testing.T) {
	r := newHolder(t, func(c *Config) { c.Members = []NodeID{lb1} })
	test := wantOnly[*TestLAN](t, r.step(&Unheard{From: lb1, Nonce: 5}))
	wantOnly[*SendInsist](t, r.step(&LANTested{Round: test.Round, Outcome: TestPassed}))
}

func TestOldComplaintsAreNotCounted(t *testing.T) {
	r := newHolder(t)
	for nonce := range uint64(2) {
		r.complain(lb1, nonce, TestPassed)
	}
	r.now = r.now.Add(3*interv + 1)
	for nonce := range uint64(2) {
		r.complain(lb2, nonce, TestPassed)
	}
}

func TestTestWithoutAResultInsists(t *testing.T) {
	r := newHolder(t)
	r.step(&Unheard{From: lb1, Nonce: 5})
	r.run(r.now.Add(interv))
	if n := len(all[*SendInsist](r)); n != 1 {
		t.Errorf("insisted %d times, want once, within the interval that the member waits", n)
	}
}

func TestANodeThatDoesNotHoldYields(t *testing.T) {
	r := newRig(t)
	wantOnly[*SendYield](t, r.step(&Unheard{From: lb1, Nonce: 5}))
}

func TestShutHolderReopensWhenItsTestPassesAfterTheHoldOff(t *testing.T) {
	r := newHolder(t, func(c *Config) { c.HoldOff = 10 * sec })
	test := wantOnly[*TestLAN](t, r.step(&Unheard{From: lb1, Nonce: 5}))
	r.step(&LANTested{Round: test.Round, Outcome: TestFailed})
	r.step(&Self{State: vrrp.Fault, Priority: 100, Source: addr3})
	heal := r.now.Add(30 * sec)
	opened := r.untilReopen(heal)
	if opened < heal || opened > heal.Add(3*sec) {
		t.Errorf("reopened %v after the LAN healed", opened.Sub(heal))
	}
	// Shut again soon: the hold-off doubles.
	r.step(&Self{State: vrrp.Active, Priority: 100, Source: addr3})
	again := r.now
	test = wantOnly[*TestLAN](t, r.step(&Unheard{From: lb1, Nonce: 6}))
	r.step(&LANTested{Round: test.Round, Outcome: TestFailed})
	if opened := r.untilReopen(again); opened < again.Add(20*sec) || opened > again.Add(23*sec) {
		t.Errorf("reopened %v after the second Shut, want twice the hold-off", opened.Sub(again))
	}
}

// untilReopen answers LAN tests, failing before heal, until Reopen.
func (r *rig) untilReopen(heal vrrp.Instant) vrrp.Instant {
	r.t.Helper()
	for range 500 {
		d, ok := r.m.Deadline()
		if !ok {
			r.t.Fatal("shut without a deadline")
		}
		r.now = max(r.now, d)
		for _, a := range r.step(&Tick{}) {
			switch a := a.(type) {
			case *TestLAN:
				o := TestPassed
				if r.now < heal {
					o = TestFailed
				}
				r.step(&LANTested{Round: a.Round, Outcome: o})
			case *Reopen:
				return r.now
			}
		}
	}
	r.t.Fatal("never reopened")
	return 0
}

// The mesh forms while the node is Active: its last advert is not known yet.
func TestMachineMadeOfAnActiveRouterIsNotWedged(t *testing.T) {
	m := New(Config{Self: lb3, Members: []NodeID{lb1}, Interval: interv})
	m.Step(start, &Self{State: vrrp.Active, Priority: 100, Source: addr3})
	a := wantOnly[*SendAnswer](t, m.Step(start.Add(interv), &Query{From: lb1, Nonce: 1}))
	if a.Kind != Holding || a.AdvertAge != interv {
		t.Errorf("answer %+v", a)
	}
}

func TestAgesAreNeverNegative(t *testing.T) {
	r := newHolder(t)
	r.now = start.Add(1)
	r.step(&AdvertSent{})
	r.now = start
	if a := wantOnly[*SendAnswer](t, r.step(&Query{From: lb1, Nonce: 1})); a.AdvertAge != 0 {
		t.Errorf("age %v", a.AdvertAge)
	}
}

func TestWedgedHolderSaysSo(t *testing.T) {
	m := New(Config{Self: lb3, Members: []NodeID{lb1}, Interval: interv})
	m.Step(start, &AdvertSent{})
	m.Step(start, &Self{State: vrrp.Active, Priority: 100, Source: addr3})
	now := start.Add(3 * interv)
	if out := m.Step(now, &Query{From: lb1, Nonce: 1}); len(out) != 0 {
		t.Fatalf("its overdue advert is not waited for: %v", out)
	}
	now, _ = m.Deadline()
	if waited := now.Sub(start.Add(3 * interv)); waited != interv/8 {
		t.Errorf("waits %v", waited)
	}
	a := wantOnly[*SendAnswer](t, m.Step(now, &Tick{}))
	if a.Kind != Holding || a.AdvertAge != now.Sub(start) {
		t.Errorf("answer %+v", a)
	}
}
