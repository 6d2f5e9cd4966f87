package bfd

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const ms = time.Millisecond

// rig drives one session; the neighbour is the test.
type rig struct {
	t    *testing.T
	s    *Session
	now  Instant
	sent []Packet
	seen []string // changes
}

func newRig(t *testing.T, change func(*Config)) *rig {
	cfg := Config{Discriminator: 7, MinTx: 100 * ms, MinRx: 50 * ms, IdleTx: time.Second, Multiplier: 3, Seed: 42}
	if change != nil {
		change(&cfg)
	}
	r := &rig{t: t, s: New(cfg), now: Instant(time.Hour)}
	r.step(&Start{})
	return r
}

func (r *rig) step(ev Event) {
	for _, a := range r.s.Step(r.now, ev) {
		switch a := a.(type) {
		case *Send:
			r.sent = append(r.sent, a.Packet)
		case *Changed:
			r.seen = append(r.seen, fmt.Sprintf("%s>%s %d", a.From, a.To, a.Diag))
		}
	}
}

// hear gives a packet of the neighbour.
func (r *rig) hear(state State, change func(*Packet)) {
	p := Packet{State: state, Multiplier: 4, Mine: 9, Yours: 7, DesiredMinTx: 200 * ms, RequiredMinRx: 80 * ms}
	if change != nil {
		change(&p)
	}
	r.step(&Received{Packet: p})
}

// pass serves all deadlines within d.
func (r *rig) pass(d time.Duration) {
	end := r.now.Add(d)
	for {
		at, ok := r.s.Deadline()
		if !ok || at > end {
			break
		}
		r.now = max(r.now, at)
		r.step(&Tick{})
	}
	r.now = end
}

func (r *rig) state(want State) {
	r.t.Helper()
	if got, diag := r.s.State(); got != want {
		r.t.Errorf("state %s (%s), want %s", got, diag, want)
	}
}

// did runs something and gives what was sent meanwhile.
func (r *rig) did(f func()) []Packet {
	from := len(r.sent)
	f()
	return slices.Clone(r.sent[from:])
}

// up brings the session Up and ends its Poll Sequence.
func (r *rig) up() *rig {
	r.hear(Down, func(p *Packet) { p.Yours = 0 })
	r.hear(Init, nil)
	r.hear(Up, func(p *Packet) { p.Final = true })
	r.state(Up)
	return r
}

func TestSection6_2ThreeWayHandshake(t *testing.T) {
	r := newRig(t, nil)
	r.hear(Down, nil)
	r.state(Init)
	r.hear(Up, nil)
	r.state(Up)
	r.hear(Down, nil)
	r.state(Down)
	r.hear(Init, nil)
	r.state(Up)
	want := []string{"AdminDown>Down 0", "Down>Init 0", "Init>Up 0", "Up>Down 3", "Down>Up 0"}
	if d := cmp.Diff(want, r.seen); d != "" {
		t.Error(d)
	}
}

// Every cell of the table of section 6.8.6.
func TestSection6_8_6StateTable(t *testing.T) {
	reach := map[State]func(*rig){
		Down: func(*rig) {},
		Init: func(r *rig) { r.hear(Down, nil) },
		Up:   func(r *rig) { r.up() },
	}
	want := map[[2]State]State{
		{Down, AdminDown}: Down, {Down, Down}: Init, {Down, Init}: Up, {Down, Up}: Down,
		{Init, AdminDown}: Down, {Init, Down}: Init, {Init, Init}: Up, {Init, Up}: Up,
		{Up, AdminDown}: Down, {Up, Down}: Down, {Up, Init}: Up, {Up, Up}: Up,
	}
	for cell, next := range want {
		r := newRig(t, nil)
		reach[cell[0]](r)
		r.state(cell[0])
		r.hear(cell[1], nil)
		if got, diag := r.s.State(); got != next {
			t.Errorf("%s hears %s: %s, want %s", cell[0], cell[1], got, next)
		} else if cell[0] != Down && next == Down && diag != NeighborDown {
			t.Errorf("%s hears %s: diagnostic %d, want 3", cell[0], cell[1], diag)
		}
	}
}

func TestSection6_8_1InitialValues(t *testing.T) {
	r := newRig(t, nil)
	if len(r.sent) == 0 {
		t.Fatal("nothing is sent at the start")
	}
	want := Packet{State: Down, Multiplier: 3, Mine: 7, DesiredMinTx: time.Second, RequiredMinRx: 50 * ms}
	if d := cmp.Diff(want, r.sent[0]); d != "" {
		t.Error(d)
	}
}

func TestSection6_8_1NeighboursDiscriminatorIsForgottenAfterADetectionTime(t *testing.T) {
	r := newRig(t, nil)
	r.hear(AdminDown, nil)
	if got := r.did(func() { r.pass(500 * ms) }); len(got) > 0 && got[0].Yours != 9 {
		t.Errorf("too early: %+v", got)
	}
	r.pass(301 * ms)
	if got := r.did(func() { r.pass(time.Second) }); len(got) == 0 || got[0].Yours != 0 {
		t.Errorf("still there: %+v", got)
	}
}

func TestSection6_8_2IntervalIsTheGreaterOfBoth(t *testing.T) {
	for _, c := range []struct{ theirs, want time.Duration }{{80 * ms, 100 * ms}, {300 * ms, 300 * ms}} {
		r := newRig(t, nil).up()
		r.hear(Up, func(p *Packet) { p.RequiredMinRx = c.theirs })
		for range 50 {
			at, _ := r.s.Deadline()
			r.pass(time.Duration(at - r.now))
			from := r.now
			r.hear(Up, func(p *Packet) { p.RequiredMinRx = c.theirs })
			next, _ := r.s.Deadline()
			if gap := time.Duration(next - from); gap < c.want*3/4 || gap > c.want {
				t.Fatalf("next packet in %s, want 75 to 100%% of %s", gap, c.want)
			}
		}
	}
}

func TestSection6_8_3NotUpMeansASecondAtLeast(t *testing.T) {
	r := newRig(t, nil).up()
	r.hear(Down, nil)
	last := r.sent[len(r.sent)-1]
	if last.DesiredMinTx != time.Second || last.State != Down {
		t.Errorf("after the end it names %+v", last)
	}
	if got := r.did(func() { r.hear(AdminDown, nil); r.pass(700 * ms) }); len(got) != 0 {
		t.Errorf("within 0.7 s it sends %d packets", len(got))
	}
}

func TestSection6_8_3NewIntervalsArePolled(t *testing.T) {
	r := newRig(t, nil).up()
	cfg := r.s.cfg
	cfg.MinTx, cfg.MinRx = 400*ms, 20*ms
	r.step(&Configure{Config: cfg})
	// Neither the longer pause nor the shorter detection time is in use yet.
	if i, d := r.s.interval(), r.s.detection(); i != 100*ms || d != 4*200*ms {
		t.Errorf("interval %s, detection time %s before the end of the Poll Sequence", i, d)
	}
	got := r.did(func() {
		for range 3 {
			r.pass(100 * ms)
			r.hear(Up, nil)
		}
	})
	if len(got) < 3 {
		t.Fatalf("%d packets", len(got))
	}
	for _, p := range got {
		if !p.Poll || p.DesiredMinTx != 400*ms || p.RequiredMinRx != 20*ms {
			t.Errorf("%+v", p)
		}
	}
	r.hear(Up, func(p *Packet) { p.Final = true; p.DesiredMinTx = 10 * ms })
	if i, d := r.s.interval(), r.s.detection(); i != 400*ms || d != 4*20*ms {
		t.Errorf("interval %s, detection time %s after it", i, d)
	}
}

func TestSection6_8_4DetectionTime(t *testing.T) {
	r := newRig(t, nil).up()
	r.hear(Up, nil)
	// Their multiplier 4 times the greater of our MinRx 50 ms and their MinTx 200 ms.
	r.pass(799 * ms)
	r.state(Up)
	r.pass(2 * ms)
	r.state(Down)
	if _, diag := r.s.State(); diag != TimeExpired {
		t.Errorf("diagnostic %d, want 1", diag)
	}
	if last := r.sent[len(r.sent)-1]; last.State != Down || last.Diag != TimeExpired {
		t.Errorf("the neighbour is told %+v", last)
	}
	r = newRig(t, nil)
	r.hear(Down, nil)
	r.pass(801 * ms)
	r.state(Down)
}

func TestSection6_8_6PollIsAnsweredAtOnce(t *testing.T) {
	r := newRig(t, nil).up()
	got := r.did(func() { r.hear(Up, func(p *Packet) { p.Poll = true }) })
	if len(got) != 1 || !got[0].Final || got[0].Poll {
		t.Errorf("answer %+v", got)
	}
	// Also where the neighbour wants no periodic packets.
	got = r.did(func() { r.hear(Up, func(p *Packet) { p.Poll, p.RequiredMinRx = true, 0 }) })
	if len(got) != 1 || !got[0].Final {
		t.Errorf("answer %+v", got)
	}
}

func TestSection6_8_6AdminDownIgnoresAll(t *testing.T) {
	r := newRig(t, nil).up()
	r.step(&Disable{})
	got := r.did(func() { r.hear(Down, func(p *Packet) { p.Poll = true }); r.hear(Init, nil); r.pass(time.Minute) })
	r.state(AdminDown)
	if len(got) != 0 {
		t.Errorf("it sends %+v", got)
	}
}

func TestDisableTellsTheNeighbourOnce(t *testing.T) {
	r := newRig(t, nil).up()
	got := r.did(func() { r.step(&Disable{}); r.step(&Disable{}); r.pass(time.Minute) })
	if len(got) != 1 || got[0].State != Down || got[0].Diag != AdminDownDiag {
		t.Errorf("it says %+v", got)
	}
}

func TestSection6_8_7ZeroMinRxMeansNoPeriodicPackets(t *testing.T) {
	r := newRig(t, nil).up()
	got := r.did(func() {
		for range 20 {
			r.hear(Up, func(p *Packet) { p.RequiredMinRx = 0 })
			r.pass(100 * ms)
		}
	})
	if len(got) != 0 {
		t.Errorf("%d packets", len(got))
	}
}

func TestSection6_8_7DemandModeStopsPeriodicPackets(t *testing.T) {
	r := newRig(t, nil).up()
	demand := func(p *Packet) { p.Demand = true }
	r.hear(Up, demand)
	got := r.did(func() {
		for range 20 {
			r.pass(100 * ms)
			r.hear(Up, demand)
		}
	})
	if len(got) != 0 {
		t.Errorf("%d packets", len(got))
	}
	if got := r.did(func() { r.hear(Up, nil); r.pass(200 * ms) }); len(got) == 0 {
		t.Error("none after the end of demand mode")
	}
}

func TestSection6_1PassiveRoleWaitsForTheNeighbour(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Passive = true })
	r.pass(time.Minute)
	if len(r.sent) != 0 {
		t.Fatalf("it sends %+v", r.sent)
	}
	r.hear(Down, nil)
	if len(r.sent) == 0 {
		t.Error("it does not answer")
	}
	r.pass(time.Minute)
	if got := r.did(func() { r.pass(time.Minute) }); len(got) != 0 {
		t.Errorf("long after the neighbour it sends %d packets", len(got))
	}
}

func TestSection6_8_7Jitter(t *testing.T) {
	for mult, least := range map[uint8]time.Duration{1: 75, 3: 75} {
		most := map[uint8]time.Duration{1: 90, 3: 100}[mult]
		s := New(Config{Multiplier: mult, IdleTx: time.Second, Seed: 5})
		seen := map[time.Duration]bool{}
		for range 2000 {
			j := s.jittered()
			if j < least*10*ms || j > most*10*ms {
				t.Fatalf("multiplier %d: %s", mult, j)
			}
			seen[j] = true
		}
		if len(seen) < 100 {
			t.Errorf("multiplier %d: only %d different pauses", mult, len(seen))
		}
	}
}

func TestATickThatSendsDoesNotAllocate(t *testing.T) {
	r := newRig(t, nil).up()
	set := &Set{members: []*member{{session: r.s}}}
	sent := 0
	tick := func() {
		at, _ := set.Deadline()
		r.s.late = at.Add(time.Second)
		for _, d := range set.Tick(at) {
			if _, ok := d.Action.(*Send); ok {
				sent++
			}
		}
	}
	tick()
	if n := testing.AllocsPerRun(100, tick); n > 0 || sent < 100 {
		t.Errorf("%v allocations, %d packets", n, sent)
	}
}

func TestConfigureKeepsTheSession(t *testing.T) {
	r := newRig(t, nil).up()
	cfg := r.s.cfg
	cfg.Discriminator, cfg.Multiplier = 99, 9
	before := len(r.seen)
	r.step(&Configure{Config: cfg})
	got := r.did(func() { r.pass(100 * ms) })
	if len(r.seen) != before || len(got) == 0 || got[0].Mine != 7 || got[0].Multiplier != 9 {
		t.Errorf("changes %v, packets %+v", r.seen[before:], got)
	}
}

// Whatever comes in whatever order: no panic, no Poll with Final, nothing that
// a peer would discard, a deadline that Tick moves on, and changes that join.
func FuzzSession(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 200, 100})
	f.Add([]byte{1, 64, 1, 128, 1, 192, 2, 255, 1, 224, 3, 9})
	f.Fuzz(func(t *testing.T, script []byte) {
		cfg := Config{Discriminator: 7, MinTx: 100 * ms, MinRx: 50 * ms, IdleTx: time.Second, Multiplier: 3, Seed: 1}
		s, now, state := New(cfg), Instant(1), AdminDown
		step := func(ev Event) {
			for _, a := range s.Step(now, ev) {
				switch a := a.(type) {
				case *Send:
					if _, err := Parse(Append(nil, &a.Packet)); err != nil && a.Packet.Yours != 0 || a.Packet.Poll && a.Packet.Final {
						t.Fatalf("sent %+v: %v", a.Packet, err)
					}
				case *Changed:
					if a.From != state || a.To == a.From {
						t.Fatalf("%s -> %s while %s", a.From, a.To, state)
					}
					state = a.To
				}
			}
			if got, _ := s.State(); got != state {
				t.Fatalf("state %s, told %s", got, state)
			}
		}
		step(&Start{})
		for n := 0; n+1 < len(script); n += 2 {
			arg := script[n+1]
			switch script[n] % 4 {
			case 0:
				now = now.Add(time.Duration(arg) * 10 * ms)
			case 1:
				step(&Received{Packet: Packet{
					State: State(arg >> 6), Poll: arg&32 != 0, Final: arg&16 != 0, Demand: arg&8 != 0, Multiplier: 1 + arg&3, Mine: 9, Yours: 7,
					RequiredMinRx: time.Duration(arg&7) * 30 * ms, DesiredMinTx: time.Duration(arg&15) * 20 * ms,
				}})
			case 2:
				cfg.MinTx, cfg.MinRx, cfg.Passive = time.Duration(arg)*ms, time.Duration(arg/2)*ms, arg&1 != 0
				step(&Configure{Config: cfg})
			case 3:
				if arg == 255 {
					step(&Disable{})
				}
			}
			for turns := 0; ; turns++ {
				at, ok := s.Deadline()
				if !ok || at > now {
					break
				}
				if turns > 3 {
					t.Fatalf("the deadline does not move on at %d", now)
				}
				step(&Tick{})
			}
		}
	})
}
