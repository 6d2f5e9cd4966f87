package speaker

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keepmesh/keepmesh/vrrp"
)

// countdown has so many deadlines, one after the other.
type countdown struct {
	loop    *Loop
	at      vrrp.Instant
	step    time.Duration
	left    int
	early   int
	precise bool
}

func (c *countdown) Deadline() (vrrp.Instant, bool) { return c.at, c.left > 0 }
func (c *countdown) Precise() bool                  { return c.precise }

func (c *countdown) Due(now vrrp.Instant) {
	if now < c.at || Now() < c.at {
		c.early++
	}
	c.at = c.at.Add(c.step)
	if c.left--; c.left == 0 {
		c.loop.Stop()
	}
}

func TestTimersAreServedOncePerDeadlineAndNeverEarly(t *testing.T) {
	for _, precise := range []bool{false, true} {
		loop, err := NewLoop()
		if err != nil {
			t.Fatal(err)
		}
		c := &countdown{loop: loop, at: Now().Add(time.Millisecond), step: 7 * time.Millisecond, left: 12, precise: precise}
		if err := loop.Run(c); err != nil {
			t.Fatal(err)
		}
		if c.left != 0 || c.early != 0 {
			t.Errorf("precise %t: %d deadlines left, %d served early", precise, c.left, c.early)
		}
	}
}

// The kernel may end a wait late by a thousandth of it: the first part leaves
// room for that and for the runtime's waking up.
func TestWaitThatMustEndOnTimeEndsEarlyFirst(t *testing.T) {
	for _, wait := range []time.Duration{0, time.Microsecond, shortWait - 1} {
		if got := firstPart(wait); got != wait {
			t.Errorf("of a short wait of %s the first part is %s, want all", wait, got)
		}
	}
	for _, wait := range []time.Duration{shortWait, 26 * time.Millisecond, 3609 * time.Millisecond, time.Hour} {
		got := firstPart(wait)
		if latest := got + got/lateShare + settleTime; got <= 0 || latest > wait {
			t.Errorf("of %s the first part is %s and ends by %s", wait, got, latest)
		}
	}
}

// funcTimers are timers made of functions.
type funcTimers struct {
	deadline func() (vrrp.Instant, bool)
	due      func(vrrp.Instant)
}

func (f *funcTimers) Deadline() (vrrp.Instant, bool) { return f.deadline() }
func (f *funcTimers) Precise() bool                  { return false }
func (f *funcTimers) Due(now vrrp.Instant)           { f.due(now) }

// A descriptor that is always readable wakes the loop once a rest and not more
// often, and the deadlines are served all the same.
func TestFloodIsReadInBunches(t *testing.T) {
	loop, err := NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	one := [8]byte{7: 1}
	if _, err := unix.Write(loop.wake, one[:]); err != nil {
		t.Fatal(err)
	}
	began, wakes, ticks, early := Now(), 0, 0, 0
	loop.handlers[0] = func() { wakes++ } // and reads nothing
	at := began.Add(3 * time.Millisecond)
	err = loop.Run(&funcTimers{func() (vrrp.Instant, bool) { return at, true }, func(now vrrp.Instant) {
		if now < at {
			early++
		}
		if ticks++; ticks == 20 {
			loop.Stop()
		}
		at = now.Add(3 * time.Millisecond)
	}})
	// Rests that a deadline or the runtime's signals cut short come on top.
	most := burstLength + 3*ticks + 2*int(Now().Sub(began)/restTime)
	if err != nil || ticks != 20 || early > 0 || wakes < ticks || wakes > most {
		t.Errorf("%d wake-ups, want at most %d; %d deadlines served, %d early, err %v", wakes, most, ticks, early, err)
	}
}

func TestWakeUpsFarApartAreNoFlood(t *testing.T) {
	l := &Loop{}
	for n := range 3 * burstLength {
		l.count(vrrp.Instant(time.Second) + vrrp.Instant(n)*vrrp.Instant(2*restTime))
	}
	if l.burst != 0 {
		t.Errorf("a burst of %d", l.burst)
	}
	for n := range burstLength {
		l.count(vrrp.Instant(2*time.Second) + vrrp.Instant(n)*vrrp.Instant(restTime))
	}
	if l.burst != burstLength-1 {
		t.Errorf("a burst of %d, want %d", l.burst, burstLength-1)
	}
}
