package vrrp_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepmesh/keepmesh/vrrp"
)

// single is one router with one instance, addressed by the tests below.
type single struct {
	t   *testing.T
	lan *lan
	n   *node
}

var (
	ownAddress = netip.MustParseAddr("10.0.0.1")
	lowAddress = netip.MustParseAddr("10.0.0.0")
	topAddress = netip.MustParseAddr("10.0.0.9")
)

// newSingle starts a VRRPv3 router of priority 100 with an interval of 1 s; its
// Skew_Time is 609.375 ms.
func newSingle(t *testing.T, edit func(*vrrp.InstanceConfig)) *single {
	t.Helper()
	s := &single{t: t, lan: newLAN()}
	s.n = s.lan.node("r")
	c := instance("VI", 51, 100, ownAddress)
	c.Version = 3
	c.Announce.Delay, c.Announce.LowerPrioDelay = 0, 0
	if edit != nil {
		edit(&c)
	}
	s.n.cfg.Instances = []vrrp.InstanceConfig{c}
	if err := s.n.commit(); err != nil {
		t.Fatal(err)
	}
	s.n.step(&vrrp.Start{})
	return s
}

const (
	skew100 = 609375 * time.Microsecond
	down100 = 3*time.Second + skew100
)

func (s *single) run(d time.Duration) *single { s.lan.run(d); return s }

func (s *single) hear(priority uint8, source netip.Addr) *single {
	s.n.step(&vrrp.Advert{Source: source, Priority: priority, Interval: time.Second})
	return s
}

// did checks what one action of the test brings about, in order.
func (s *single) did(act func(), want ...string) {
	s.t.Helper()
	var got []string
	s.lan.trace = func(line string) {
		// Without the time and the node.
		got = append(got, strings.Join(strings.Fields(line)[2:], " "))
	}
	defer func() { s.lan.trace = func(string) {} }()
	act()
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Errorf("actions (-want +got):\n%s", diff)
	}
}

func (s *single) downAt(want time.Duration) {
	s.t.Helper()
	v := s.n.view("VI")
	if v.State != vrrp.Backup {
		s.t.Fatalf("in %s, want BACKUP", v.State)
	}
	if got := v.DownAt.Sub(s.lan.now); got != want {
		s.t.Errorf("the Active_Down_Timer fires in %s, want %s", got, want)
	}
}

func (s *single) state(want vrrp.State) {
	s.t.Helper()
	if v := s.n.view("VI"); v.State != want {
		s.t.Errorf("in %s, want %s", v.State, want)
	}
}

func TestRFC9568Section6_1SkewTime(t *testing.T) {
	tests := []struct {
		version, priority uint8
		interval          time.Duration
		skew, down        time.Duration
	}{
		{3, 100, time.Second, 609375 * time.Microsecond, 3609375 * time.Microsecond},
		{3, 254, time.Second, 7812 * time.Microsecond, 3007812 * time.Microsecond},
		{3, 1, time.Second, 996093 * time.Microsecond, 3996093 * time.Microsecond},
		{3, 255, 10 * time.Millisecond, 39 * time.Microsecond, 30039 * time.Microsecond},
		{3, 100, 250 * time.Millisecond, 152343 * time.Microsecond, 902343 * time.Microsecond},
		{3, 90, 40950 * time.Millisecond, 26553515 * time.Microsecond, 149403515 * time.Microsecond},
		// RFC 3768 section 6.1: of one second, whatever the interval.
		{2, 100, time.Second, 609375 * time.Microsecond, 3609375 * time.Microsecond},
		{2, 100, 5 * time.Second, 609375 * time.Microsecond, 15609375 * time.Microsecond},
		{2, 255, 5 * time.Second, 3906 * time.Microsecond, 15003906 * time.Microsecond},
	}
	for _, tt := range tests {
		s := newSingle(t, func(c *vrrp.InstanceConfig) {
			c.Version, c.Priority, c.AdvertInterval = tt.version, tt.priority, tt.interval
		})
		v := s.n.view("VI")
		if v.SkewTime != tt.skew || v.DownInterval != tt.down {
			t.Errorf("v%d priority %d interval %s: skew %s, down %s; want %s, %s",
				tt.version, tt.priority, tt.interval, v.SkewTime, v.DownInterval, tt.skew, tt.down)
		}
	}
}

func TestRFC9568Section6_4_1OwnerBecomesActiveAtStartup(t *testing.T) {
	s := newSingle(t, func(c *vrrp.InstanceConfig) { c.Priority = vrrp.Owner })
	s.state(vrrp.Active)
	if at := s.n.view("VI").AdvertAt.Sub(s.lan.now); at != time.Second {
		t.Errorf("the Adver_Timer fires in %s", at)
	}
}

func TestRFC9568Section6_4_1OthersEnterBackupWithTheFullTimer(t *testing.T) {
	for _, want := range []bool{false, true} {
		s := newSingle(t, func(c *vrrp.InstanceConfig) { c.WantActive = want })
		s.downAt(down100)
	}
}

func TestRFC9568Section6_4_2ShutdownInBackupSendsNothing(t *testing.T) {
	s := newSingle(t, nil)
	s.did(func() { s.n.step(&vrrp.Stop{}) }, "VI BACKUP -> STOP (stopped), priority 100")
}

func TestRFC9568Section6_4_2TimerFires(t *testing.T) {
	s := newSingle(t, nil)
	s.did(func() { s.run(down100 - 1) })
	s.did(func() { s.run(1) },
		"VI sends priority 100", "VI hold", "VI announce x5",
		"VI BACKUP -> MASTER (no advert heard for 3.609s), priority 100")
	if at := s.n.view("VI").AdvertAt.Sub(s.lan.now); at != time.Second {
		t.Errorf("the Adver_Timer fires in %s", at)
	}
}

func TestRFC9568Section6_4_2PriorityZeroSetsTheTimerToSkewTime(t *testing.T) {
	s := newSingle(t, nil)
	s.hear(200, topAddress).run(time.Second).hear(0, topAddress).downAt(skew100)
	s.did(func() { s.run(skew100) },
		"VI sends priority 100", "VI hold", "VI announce x5",
		"VI BACKUP -> MASTER (10.0.0.9 resigned), priority 100")
}

func TestRFC9568Section6_4_2AcceptedAdvertResetsTheTimer(t *testing.T) {
	for _, priority := range []uint8{100, 101, 255} {
		s := newSingle(t, nil)
		s.run(2*time.Second).hear(priority, lowAddress).downAt(down100)
	}
}

func TestRFC9568Section6_4_2AcceptedAdvertTeachesTheInterval(t *testing.T) {
	s := newSingle(t, nil)
	s.n.step(&vrrp.Advert{Source: topAddress, Priority: 200, Interval: 2 * time.Second})
	s.downAt(2 * down100)
	// An interval of zero would make the timer fire for ever.
	s.n.step(&vrrp.Advert{Source: topAddress, Priority: 200})
	s.downAt(2 * down100)
	// RFC 3768 has nothing to learn.
	s = newSingle(t, func(c *vrrp.InstanceConfig) { c.Version = 2 })
	s.n.step(&vrrp.Advert{Source: topAddress, Priority: 200, Interval: 2 * time.Second})
	s.downAt(down100)
}

func TestRFC9568Section6_4_2LowerPriorityIsDiscardedUnderPreemptMode(t *testing.T) {
	s := newSingle(t, nil)
	s.run(time.Second).hear(99, topAddress).downAt(down100 - time.Second)
}

func TestRFC9568Section6_4_2LowerPriorityIsAcceptedWithoutPreemptMode(t *testing.T) {
	s := newSingle(t, func(c *vrrp.InstanceConfig) { c.NoPreempt = true })
	s.run(time.Second).hear(1, topAddress).downAt(down100)
}

func active(t *testing.T, edit func(*vrrp.InstanceConfig)) *single {
	t.Helper()
	s := newSingle(t, edit).run(down100)
	s.state(vrrp.Active)
	return s
}

func TestRFC9568Section6_4_3ShutdownSendsPriorityZero(t *testing.T) {
	s := active(t, nil)
	s.did(func() { s.n.step(&vrrp.Stop{}) },
		"VI sends priority 0", "VI release", "VI MASTER -> STOP (stopped), priority 100")
	if _, ok := s.n.router.Deadline(); ok {
		t.Error("a stopped router still wants a Tick")
	}
}

func TestRFC9568Section6_4_3AdverTimerSendsAndResets(t *testing.T) {
	s := active(t, nil)
	sent := s.countAdverts(func() { s.run(10 * time.Second) })
	if sent != 10 {
		t.Errorf("%d adverts in 10 s", sent)
	}
}

func (s *single) countAdverts(act func()) int {
	other := s.lan.node("listener")
	other.cfg.Instances = []vrrp.InstanceConfig{instance("VI", 51, 1, topAddress)}
	if err := other.commit(); err != nil {
		s.t.Fatal(err)
	}
	before := s.lan.seq
	act()
	return s.lan.seq - before
}

func TestRFC9568Section6_4_3PriorityZeroIsAnswered(t *testing.T) {
	s := active(t, nil).run(300 * time.Millisecond)
	s.did(func() { s.hear(0, topAddress) }, "VI sends priority 100")
	if at := s.n.view("VI").AdvertAt.Sub(s.lan.now); at != time.Second {
		t.Errorf("the Adver_Timer fires in %s, want it reset", at)
	}
}

func TestRFC9568Section6_4_3GreaterPriorityTakesOver(t *testing.T) {
	s := active(t, nil)
	s.did(func() { s.hear(101, lowAddress) },
		"VI release", "VI MASTER -> BACKUP (10.0.0.0 has priority 101, ours is 100), priority 100")
	s.downAt(down100)
}

func TestRFC9568Section6_4_3YieldingTeachesTheInterval(t *testing.T) {
	s := active(t, nil)
	s.n.step(&vrrp.Advert{Source: topAddress, Priority: 101, Interval: 2 * time.Second})
	s.downAt(2 * down100)
}

func TestRFC9568Section6_4_3EqualPriorityIsDecidedByAddress(t *testing.T) {
	s := active(t, nil)
	s.hear(100, lowAddress).state(vrrp.Active)
	s.hear(100, topAddress).state(vrrp.Backup)
}

func TestRFC9568Section6_4_3AddressesAreComparedAsUnsignedNumbers(t *testing.T) {
	for _, tt := range []struct {
		family     uint8
		own, other string
		want       vrrp.State
	}{
		{4, "10.0.0.200", "10.0.0.30", vrrp.Active},
		{4, "9.0.0.1", "192.0.2.1", vrrp.Backup},
		{6, "fe80::9", "fe80::10", vrrp.Backup},
		{6, "fe80::10%eth0", "fe80::9%eth1", vrrp.Active},
	} {
		s := active(t, func(c *vrrp.InstanceConfig) {
			c.Key.Family, c.Source = tt.family, netip.MustParseAddr(tt.own)
		})
		s.hear(100, netip.MustParseAddr(tt.other))
		if v := s.n.view("VI"); v.State != tt.want {
			t.Errorf("own %s against %s: %s, want %s", tt.own, tt.other, v.State, tt.want)
		}
	}
}

func TestRFC9568Section6_4_3LowerPriorityIsAnswered(t *testing.T) {
	s := active(t, nil).run(300 * time.Millisecond)
	s.did(func() { s.hear(99, topAddress) },
		"VI sends priority 100", "VI announce x5", "VI note lower priority rejected, LAN priority 99")
	if at := s.n.view("VI").AdvertAt.Sub(s.lan.now); at != time.Second {
		t.Errorf("the Adver_Timer fires in %s, want it reset", at)
	}
}

func TestPreemptionWaitsForTheTimer(t *testing.T) {
	// A backup that rises above the Active router does not answer at once.
	s := newSingle(t, func(c *vrrp.InstanceConfig) {
		c.Trackers = []vrrp.Track{{ID: "t", Weight: 50}}
	})
	s.hear(120, topAddress)
	s.n.step(&vrrp.TrackerChanged{ID: "t", State: vrrp.Up})
	s.hear(120, topAddress).state(vrrp.Backup)
	s.downAt(3*time.Second + 414062*time.Microsecond)
}

func TestAnAdvertInInitializeOrFaultChangesNothing(t *testing.T) {
	s := newSingle(t, func(c *vrrp.InstanceConfig) { c.Trackers = []vrrp.Track{{ID: "t"}} })
	s.did(func() { s.hear(0, topAddress).hear(200, topAddress).run(time.Minute) })
	s.state(vrrp.Initialize)
	s.n.step(&vrrp.TrackerChanged{ID: "t", State: vrrp.Down})
	s.state(vrrp.Fault)
	s.did(func() { s.hear(0, topAddress).hear(1, topAddress).run(time.Minute) })
	if v := s.n.view("VI"); v.Heard[vrrp.LAN].Priority != 1 {
		t.Errorf("last heard is %+v", v.Heard)
	}
}

func TestWeightedTrackersDoNotHoldTheStartBack(t *testing.T) {
	s := newSingle(t, func(c *vrrp.InstanceConfig) { c.Trackers = []vrrp.Track{{ID: "t", Weight: -10}} })
	s.downAt(down100)
}

func TestALateTickDoesNotDrift(t *testing.T) {
	s := active(t, nil)
	first := s.n.view("VI").AdvertAt
	tick := func(late time.Duration) vrrp.Instant {
		s.lan.now = first.Add(late)
		s.n.step(&vrrp.Tick{})
		return s.n.view("VI").AdvertAt
	}
	if got := tick(400 * time.Millisecond); got != first.Add(time.Second) {
		t.Errorf("400 ms late: the next advert moved by %s", got.Sub(first.Add(time.Second)))
	}
	if got := tick(5 * time.Second); got != first.Add(6*time.Second) {
		t.Errorf("4 s late: the next advert is due %s after the tick", got.Sub(s.lan.now))
	}
}
