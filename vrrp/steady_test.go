package vrrp_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/keepmesh/keepmesh/vrrp"
)

// crowd starts a router with n instances.
func crowd(t testing.TB, n int) *vrrp.Router {
	t.Helper()
	r := vrrp.New()
	var cfg vrrp.Config
	for k := range n {
		c := instance(fmt.Sprint("VI_", k), uint8(k%255+1), 100, ownAddress)
		c.Key.Interface = fmt.Sprint("eth", k/255)
		c.Announce.Delay = 0
		cfg.Instances = append(cfg.Instances, c)
	}
	p, err := r.Prepare(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Commit(epoch, p)
	r.Step(epoch, &vrrp.Start{})
	return r
}

func TestAdvertInBackupDoesNotAllocate(t *testing.T) {
	for name, priority := range map[string]uint8{"accepted": 200, "discarded": 50, "priority zero": 0} {
		r := crowd(t, 100)
		now := epoch
		ev := &vrrp.Advert{Source: topAddress, Priority: priority, Interval: time.Second}
		if n := testing.AllocsPerRun(1000, func() {
			now = now.Add(time.Millisecond)
			ev.Instance = (ev.Instance + 1) % 100
			ev.Wire = vrrp.Wire(now & 1)
			r.Step(now, ev)
			r.Deadline()
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestTickThatSendsDoesNotAllocate(t *testing.T) {
	r := crowd(t, 1000)
	now := epoch.Add(5 * time.Second)
	tick := &vrrp.Tick{}
	r.Step(now, tick)
	r.Step(now.Add(time.Second), tick) // the slice has its size now
	now = now.Add(time.Second)
	sent := 0
	if n := testing.AllocsPerRun(100, func() {
		now = now.Add(time.Second)
		sent += len(r.Step(now, tick))
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if sent < 100*1000 {
		t.Errorf("only %d adverts", sent)
	}
}

func TestAnsweringALowerPriorityDoesNotAllocate(t *testing.T) {
	r := crowd(t, 2)
	now := epoch.Add(5 * time.Second)
	r.Step(now, &vrrp.Tick{})
	ev := &vrrp.Advert{Source: lowAddress, Priority: 50, Interval: time.Second}
	if n := testing.AllocsPerRun(100, func() {
		now = now.Add(time.Second)
		if len(r.Step(now, ev)) != 3 {
			t.Fatal("no answer")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestBackupsThatHearAdvertsAreNotWokenForEach(t *testing.T) {
	const instances, seconds = 1000, 30
	r := crowd(t, instances)
	now, ticks := epoch, 0
	ev := &vrrp.Advert{Source: topAddress, Priority: 200, Interval: time.Second}
	for range seconds * instances {
		now = now.Add(time.Second / instances)
		for at, ok := r.Deadline(); ok && at <= now; at, ok = r.Deadline() {
			if got := r.Step(at, &vrrp.Tick{}); len(got) > 0 {
				t.Fatalf("%s after the start: %T", at.Sub(epoch), got[0])
			}
			ticks++
		}
		r.Step(now, ev)
		ev.Instance = (ev.Instance + 1) % instances
	}
	// Each surfaces about once per Active_Down_Interval, not once per advert.
	if limit := instances * seconds / 2; ticks > limit {
		t.Errorf("%d ticks for %d adverts, want at most %d", ticks, seconds*instances, limit)
	}
}

func BenchmarkAdvertInBackup(b *testing.B) {
	r := crowd(b, 1000)
	now := epoch
	ev := &vrrp.Advert{Source: topAddress, Priority: 200, Interval: time.Second}
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Microsecond)
		ev.Instance = (ev.Instance + 1) % 1000
		r.Step(now, ev)
	}
}

func BenchmarkTickOf1000(b *testing.B) {
	r := crowd(b, 1000)
	now := epoch.Add(5 * time.Second)
	tick := &vrrp.Tick{}
	r.Step(now, tick)
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Second)
		r.Step(now, tick)
	}
}

func TestEventsOfUnknownInstancesAreIgnored(t *testing.T) {
	r := crowd(t, 1)
	for _, id := range []vrrp.InstanceID{-1, 1, 1000} {
		for _, ev := range []vrrp.Event{
			&vrrp.Advert{Instance: id, Priority: 1}, &vrrp.SourceChanged{Instance: id}, &vrrp.Permit{Instance: id},
			&vrrp.Refuse{Instance: id}, &vrrp.Revoke{Instance: id}, &vrrp.Takeover{Instance: id},
			&vrrp.AddressLost{Instance: id}, &vrrp.HoldFailed{Instance: id},
		} {
			if got := r.Step(epoch, ev); len(got) > 0 {
				t.Errorf("%T of instance %d: %T", ev, id, got[0])
			}
		}
		if _, ok := r.Instance(id); ok {
			t.Errorf("instance %d exists", id)
		}
	}
	if got := r.Step(epoch, &vrrp.Advert{Wire: 7, Source: netip.Addr{}}); len(got) > 0 {
		t.Errorf("advert on wire 7: %T", got[0])
	}
}
