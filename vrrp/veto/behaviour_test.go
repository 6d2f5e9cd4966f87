package veto

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/keepmesh/keepmesh/vrrp"
)

func TestPreemptionIsPermittedAtOnceWhileTheLANIsFresh(t *testing.T) {
	r := newRig(t)
	r.now = start.Add(interv)
	r.advert(vrrp.LAN, lb1, 50)
	r.now = start.Add(interv + interv/2)
	wantOnly[*Permit](t, r.step(&WantHold{Preempt: true}))
}

func wantOnly[T Action](t *testing.T, out []Action) T {
	t.Helper()
	var zero T
	if len(out) == 0 {
		t.Fatalf("no action, want %T", zero)
	}
	a, ok := out[0].(T)
	if !ok {
		t.Fatalf("first action %T %+v, want %T", out[0], out[0], zero)
	}
	return a
}

func TestPreemptionOverTheMeshIsPermittedUnlessDeaf(t *testing.T) {
	for _, c := range []struct {
		probe  ProbeResult
		taken  vrrp.Instant
		reason string
	}{
		{ProbeResult{Usable: true, VIP: true}, timeM, "the address answers"},
		{ProbeResult{Usable: true, Neighbour: true}, timeM, "the address is silent"},
		{ProbeResult{}, timeM, "no LAN evidence"},
		{ProbeResult{Usable: true}, 0, "deaf"},
	} {
		for _, first := range []bool{false, true} {
			r := newRig(t)
			r.first = first
			r.answers[lb1] = Answer{Kind: Holding, AdvertAge: interv / 2, Priority: 50, Source: addr1, LANHeard: Never}
			r.preempt = true
			r.probe = &c.probe
			// Adverts of a lower priority come over the mesh and do not restart
			// the Router's timer.
			for n := 1; n <= 8 && r.taken == 0; n++ {
				r.run(start.Add(time.Duration(n) * interv))
				r.advert(vrrp.Mesh, lb1, 50)
			}
			if r.taken != c.taken {
				t.Errorf("%s: taken at %v, want %v", c.reason, r.taken, c.taken)
			}
			if c.taken == 0 {
				r.wantVerdict(Deaf)
			} else if n := len(all[*VerdictChanged](r)); n != 0 {
				t.Errorf("%s: a verdict on a holder that is preempted", c.reason)
			}
		}
	}
}

func TestResignedHolderNeedsNoQuestion(t *testing.T) {
	for _, w := range []vrrp.Wire{vrrp.LAN, vrrp.Mesh} {
		r := newRig(t)
		r.holds(lb1) // its last answer is void with its resignation
		r.meshFrom = []NodeID{lb1}
		r.probe = &ProbeResult{Usable: true, VIP: true}
		r.run(start.Add(5*sec + sec/2))
		r.wantVerdict(Vetoed)
		r.meshFrom = nil
		resigned := r.now
		r.advert(w, lb1, 0)
		r.run(start.Add(20 * sec))
		r.wantTaken(resigned.Add(skew100))
	}
}

func TestAMemberThatIsNotListedIsIgnored(t *testing.T) {
	r := newRig(t)
	stranger := NodeID{9}
	r.run(start.Add(3*interv + interv/2))
	r.log = nil
	for _, ev := range []Event{
		&Advert{Wire: vrrp.Mesh, From: stranger, Source: addr2, Priority: 200},
		&Query{From: stranger, Nonce: 4},
		&Unheard{From: stranger, Nonce: 4},
		&Yield{From: stranger, Nonce: 4},
		&Insist{From: stranger},
		&PeerFit{Node: stranger},
	} {
		if out := r.step(ev); len(out) != 0 {
			t.Errorf("%T: %v", ev, out)
		}
	}
	r.run(start.Add(10 * sec))
	r.wantTaken(timeM)
}

func TestWithoutMembersEveryQuestionIsPermitted(t *testing.T) {
	m := New(Config{Self: lb1, Members: []NodeID{lb1}, Interval: interv})
	m.Step(start, &Self{State: vrrp.Backup, Priority: 100, Source: addr1})
	wantOnly[*Permit](t, m.Step(start.Add(down100), &WantHold{}))
	if d, ok := m.Deadline(); ok {
		t.Errorf("deadline %v", d)
	}
}

func TestAddressOwnerIsPermittedAtOnce(t *testing.T) {
	r := newRig(t)
	r.holds(lb1)
	r.step(&Self{State: vrrp.Backup, Priority: vrrp.Owner, Source: addr3})
	r.run(start.Add(2*interv + skew100))
	r.now = timeM
	wantOnly[*Permit](t, r.step(&WantHold{}))
}

// A node has just started: nothing was heard on its LAN, and a member holds.
func TestStartDuringABlockIsVetoed(t *testing.T) {
	for _, mesh := range []bool{true, false} {
		r := newRig(t)
		r.m = New(Config{Self: lb3, Members: []NodeID{lb1, lb2}, Interval: interv, DownAdverts: 3})
		r.now = start
		r.step(&Timers{Interval: interv, Skew: skew100})
		r.step(&Self{State: vrrp.Backup, Priority: 100, Source: addr3})
		r.routerDue = timeM
		r.holds(lb1)
		r.probe = &ProbeResult{Usable: true, VIP: true}
		if mesh {
			r.meshFrom = []NodeID{lb1}
		}
		r.run(start.Add(20 * sec))
		if r.taken != 0 {
			t.Errorf("mesh adverts %v: taken over after %v", mesh, r.taken.Sub(start))
		}
		if v, _ := r.m.Verdict(); v != Vetoed {
			t.Errorf("mesh adverts %v: verdict %q", mesh, v)
		}
	}
}

func TestStartWithNobodyThereIsPlain(t *testing.T) {
	m := New(Config{Self: lb3, Members: []NodeID{lb1, lb2}, Interval: interv})
	m.Step(start, &Timers{Interval: interv, Skew: skew100})
	m.Step(start, &Self{State: vrrp.Backup, Priority: 100, Source: addr3})
	wantOnly[*Permit](t, m.Step(timeM, &WantHold{}))
}

// The path that carries the questions is broken and the adverts come through:
// they are the holder's word, so nobody takes the address from it.
func TestHolderThatOnlySendsStaysAndIsNamed(t *testing.T) {
	r := newRig(t)
	r.meshFrom = []NodeID{lb1}
	r.probe = &ProbeResult{Usable: true, VIP: true}
	r.run(start.Add(20 * sec))
	r.wantBackup()
	r.wantVerdict(Vetoed)
	r.wantAlarm("lb1's adverts arrive on the mesh but it does not answer lb3: check UDP lb3 -> lb1")
}

func TestHolderThatDiesWhileVetoedIsReplacedAtMOfItsLastAdvert(t *testing.T) {
	for _, alive := range []time.Duration{0, 1, 300 * time.Millisecond, 609375 * time.Microsecond, 999 * time.Millisecond} {
		r := newRig(t)
		r.holds(lb1)
		r.meshFrom = []NodeID{lb1}
		r.probe = &ProbeResult{Usable: true, VIP: true}
		last := start.Add(8 * sec)
		r.run(last)
		r.wantVerdict(Vetoed)
		r.meshFrom = nil
		r.run(last.Add(alive)) // it still answers until here
		delete(r.answers, lb1)
		r.run(start.Add(30 * sec))
		if r.taken != last.Add(down100) {
			t.Errorf("dead %v after its last advert: taken over %v after it, want M", alive, r.taken.Sub(last))
		}
	}
}

func TestLostAnswersDoNotDecide(t *testing.T) {
	r := newRig(t)
	r.meshFrom = []NodeID{lb1}
	r.probe = &ProbeResult{Usable: true, VIP: true}
	for n := 0; r.now < start.Add(40*sec); n++ {
		if n%3 == 0 {
			r.holds(lb1)
		} else {
			delete(r.answers, lb1)
		}
		r.run(r.now.Add(130 * time.Millisecond))
	}
	r.wantBackup()
	if n := len(all[*VerdictChanged](r)); n != 1 {
		t.Errorf("verdict changed %d times, want once", n)
	}
}

func TestSleepOfThisNodeDecidesNothingByItself(t *testing.T) {
	r := newRig(t)
	r.holds(lb1)
	r.meshFrom = []NodeID{lb1}
	r.probe = &ProbeResult{Usable: true, VIP: true}
	r.run(start.Add(5 * sec))
	// Frozen for 10 s; the mesh adverts in the socket are read first.
	r.now = r.now.Add(10 * sec)
	r.nextMesh = r.now.Add(interv)
	r.advert(vrrp.Mesh, lb1, 150)
	r.run(r.now.Add(10 * sec))
	r.wantBackup()
	if n := len(all[*VerdictChanged](r)); n != 1 {
		t.Errorf("verdict changed %d times, want once", n)
	}
}

func TestOneDownAdvertLosesNoTime(t *testing.T) {
	for _, n := range []int{1, 2, 4} {
		m := time.Duration(n)*interv + skew100
		r := newRig(t, func(c *Config) { c.DownAdverts = n })
		r.routerDue = start.Add(m)
		r.holds(lb1)
		r.run(start.Add(interv)) // it dies just before its next advert
		delete(r.answers, lb1)
		r.run(start.Add(10 * sec))
		if r.taken != start.Add(m) {
			t.Errorf("%d adverts: taken over after %v, want %v", n, r.taken.Sub(start), m)
		}
	}
}

func TestQueryIsAnsweredInEveryState(t *testing.T) {
	at := start
	m := New(Config{Self: lb1, Members: []NodeID{lb2, lb3}, Interval: interv})
	m.Step(at, &Timers{Interval: interv, Skew: skew100})
	ask := func() SendAnswer {
		return *wantOnly[*SendAnswer](t, m.Step(at, &Query{From: lb3, Nonce: 7, About: lb2}))
	}
	want := SendAnswer{To: lb3, Nonce: 7, Kind: UnfitKind, AdvertAge: Never, LANHeard: Never}
	check := func(name string) {
		t.Helper()
		if d := cmp.Diff(want, ask(), cmp.Comparer(func(x, y netip.Addr) bool { return x == y })); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	check("INIT")
	m.Step(at, &Self{State: vrrp.Backup, Priority: 120, Source: addr1})
	want.Kind, want.Candidate, want.Priority, want.Source = NotHolding, true, 120, addr1
	check("BACKUP")
	m.Step(at, &Advert{Wire: vrrp.Mesh, From: lb2, Source: addr2, Priority: 130})
	m.Step(at, &Advert{Wire: vrrp.LAN, Source: addr2, Priority: 130})
	at = at.Add(sec / 4)
	want.LANHeard = sec / 4
	check("hears lb2")
	m.Step(at, &AdvertSent{})
	m.Step(at, &Self{State: vrrp.Active, Priority: 140, Source: addr1})
	at = at.Add(sec / 4)
	want.Kind, want.Candidate, want.Priority, want.AdvertAge, want.LANHeard = Holding, false, 140, sec/4, sec/2
	check("MASTER")
	m.Step(at, &Self{State: vrrp.Fault, Priority: 140, Source: addr1})
	want.Kind, want.AdvertAge = UnfitKind, Never
	check("FAULT")
}

func TestForeignRouterIsNamedOnce(t *testing.T) {
	r := newRig(t)
	foreign := netip.MustParseAddr("10.0.0.77")
	hear := func() {
		for range 3 {
			r.step(&Advert{Wire: vrrp.LAN, Source: foreign, Priority: 90})
		}
	}
	hear() // lb2's address is not known yet: it could be lb2
	if len(r.alarmTexts()) != 0 {
		t.Errorf("alarms %q", r.alarmTexts())
	}
	r.advert(vrrp.Mesh, lb2, 90)
	hear()
	r.wantAlarm("advert from a non-member: 10.0.0.77")
}

func TestHolderNamesAnotherHolder(t *testing.T) {
	r := newRig(t)
	r.run(start.Add(4 * sec))
	r.wantTaken(timeM)
	for n := range 10 {
		r.now = timeM.Add(2*interv + time.Duration(n)*interv + 1)
		r.step(&Advert{Wire: vrrp.Mesh, From: lb1, Source: addr1, Priority: 150}) // preempts
		r.step(&Advert{Wire: vrrp.Mesh, From: lb2, Source: addr2, Priority: 90})
	}
	if n := len(r.alarmTexts()); n != 1 {
		t.Errorf("alarms %q", r.alarmTexts())
	}
	r.wantAlarm("two holders: lb3 and lb2")
}

func TestReconfigureKeepsMembersThatStay(t *testing.T) {
	r := newRig(t)
	r.m.Reconfigure(Config{Self: lb3, Members: []NodeID{lb1}, Interval: interv, DownAdverts: 3})
	r.holds(lb1)
	r.holds(lb2)
	r.meshFrom = []NodeID{lb1}
	r.probe = &ProbeResult{Usable: true, VIP: true}
	r.run(start.Add(10 * sec))
	if d := r.wantVerdict(Vetoed); d.Holder != lb1 {
		t.Errorf("detail %+v", d)
	}
	r.m.Reconfigure(Config{Self: lb3, Interval: interv, DownAdverts: 3})
	if d, ok := r.m.Deadline(); ok {
		t.Errorf("without members: deadline %v", d)
	}
	wantOnly[*Permit](t, r.step(&WantHold{}))
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	m := New(Config{Self: lb3, Members: []NodeID{lb1, lb2}, Interval: interv})
	now := start
	m.Step(now, &Timers{Interval: interv, Skew: skew100})
	m.Step(now, &Self{State: vrrp.Backup, Priority: 100, Source: addr3})
	lan := &Advert{Wire: vrrp.LAN, Source: addr1, Priority: 150}
	mesh := &Advert{Wire: vrrp.Mesh, From: lb1, Source: addr1, Priority: 150}
	tick, frame := &Tick{}, &FrameHeard{}
	if n := testing.AllocsPerRun(200, func() {
		now = now.Add(interv)
		m.Step(now, lan)
		m.Step(now.Add(time.Millisecond), mesh)
		m.Step(now.Add(2*time.Millisecond), frame)
		m.Step(now.Add(3*time.Millisecond), tick)
		if _, ok := m.Deadline(); !ok {
			t.Fatal("no deadline")
		}
	}); n != 0 {
		t.Errorf("%v allocations per interval", n)
	}
}

func TestOneDownAdvertOfAHighPriorityLosesNoTime(t *testing.T) {
	r := newRig(t, func(c *Config) { c.DownAdverts = 1 })
	short := interv / 64
	r.step(&Timers{Interval: interv, Skew: short})
	r.now = start.Add(time.Millisecond)
	r.advert(vrrp.Mesh, lb1, 255)
	r.routerDue = start.Add(interv + short + time.Millisecond)
	r.run(start.Add(10 * sec))
	r.wantTaken(start.Add(interv + short))
}

func TestFreshLANLeavesTheDecisionToVRRP(t *testing.T) {
	r := newRig(t)
	r.holds(lb1)
	r.run(start.Add(2*interv + skew100)) // asked, and answered: it holds
	wantOnly[*Permit](t, r.step(&WantHold{}))
}

func TestAwokenNodeAsksBeforeItTakesOver(t *testing.T) {
	r := newRig(t)
	r.meshFrom = []NodeID{lb1}
	r.run(start.Add(2*interv + skew100 + interv/10))
	// Frozen until long after M; the adverts of that time are lost.
	r.meshFrom = nil
	r.now = start.Add(4*interv + interv*3/4)
	r.holds(lb1)
	r.run(start.Add(8 * sec))
	r.wantBackup()
	r.wantVerdict(Vetoed)
}
