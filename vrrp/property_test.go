package vrrp_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/keepmesh/keepmesh/vrrp"
)

// settleTime is long enough for every router of the properties below to take
// over, be told of a better one, and yield.
const settleTime = 20 * time.Second

// drawLAN makes two to five routers with the same instances.
func drawLAN(t *rapid.T, instances int, grouped bool) *lan {
	l := newLAN()
	l.delay = time.Duration(rapid.IntRange(1, 20_000).Draw(t, "delay µs")) * time.Microsecond
	if rapid.Bool().Draw(t, "second wire") {
		l.mesh = time.Duration(rapid.IntRange(1, 200_000).Draw(t, "mesh µs")) * time.Microsecond
	}
	version := rapid.SampledFrom([]uint8{2, 3}).Draw(t, "version")
	interval := time.Second
	if version == 3 {
		interval = time.Duration(rapid.IntRange(25, 100).Draw(t, "interval cs")) * 10 * time.Millisecond
	}
	for k := range rapid.IntRange(2, 5).Draw(t, "routers") {
		n := l.node(fmt.Sprint("r", k))
		// A group moves as one only where its members agree on the order.
		priority := rapid.Uint8Range(1, 254).Draw(t, "priority")
		for v := range instances {
			c := instance(fmt.Sprint("VI_", v), uint8(v+1), priority, n.source)
			c.Version, c.AdvertInterval = version, interval
			c.AskPermit = rapid.Bool().Draw(t, "ask")
			c.HigherPrioSendAdvert = rapid.Bool().Draw(t, "higher")
			c.Trackers = []vrrp.Track{{ID: vrrp.TrackerID(fmt.Sprint("link:", v))}, {ID: "w", Weight: -40}}
			n.cfg.Instances = append(n.cfg.Instances, c)
		}
		n.answer = "permit"
		if grouped {
			g := vrrp.GroupConfig{Name: "G", TrackWeights: true}
			for _, c := range n.cfg.Instances {
				g.Members = append(g.Members, c.Name)
			}
			n.cfg.Groups = []vrrp.GroupConfig{g}
		}
		if err := n.commit(); err != nil {
			t.Fatal(err)
		}
		for v := range instances {
			n.step(&vrrp.TrackerChanged{ID: vrrp.TrackerID(fmt.Sprint("link:", v)), State: vrrp.Up})
		}
		n.step(&vrrp.TrackerChanged{ID: "w", State: vrrp.Up})
	}
	return l
}

// disturb does something to the network or to one router.
func disturb(t *rapid.T, l *lan, instances int) {
	n := rapid.SampledFrom(l.nodes).Draw(t, "node")
	v := rapid.IntRange(0, instances-1).Draw(t, "instance")
	id := n.ids[fmt.Sprint("VI_", v)]
	switch rapid.IntRange(0, 7).Draw(t, "disturbance") {
	case 0:
		other := rapid.SampledFrom(l.nodes).Draw(t, "other")
		l.cut[[2]string{n.name, other.name}] = true
	case 1:
		clear(l.cut)
	case 2:
		n.step(&vrrp.TrackerChanged{ID: vrrp.TrackerID(fmt.Sprint("link:", v)), State: vrrp.Down})
	case 3:
		n.step(&vrrp.TrackerChanged{ID: vrrp.TrackerID(fmt.Sprint("link:", v)), State: vrrp.Up})
	case 4:
		n.step(&vrrp.TrackerChanged{ID: "w", State: rapid.SampledFrom([]vrrp.TrackerState{vrrp.Up, vrrp.Down}).Draw(t, "w")})
	case 5:
		n.step(&vrrp.Revoke{Instance: id, Reason: "drawn"})
	case 6:
		n.step(&vrrp.AddressLost{Instance: id, What: "drawn"})
	case 7:
		n.step(&vrrp.HoldFailed{Instance: id, Retry: time.Second})
	}
	l.run(time.Duration(rapid.IntRange(0, 5000).Draw(t, "pause ms")) * time.Millisecond)
}

// calm undoes every disturbance.
func calm(l *lan, instances int) {
	clear(l.cut)
	for _, n := range l.nodes {
		for v := range instances {
			n.step(&vrrp.TrackerChanged{ID: vrrp.TrackerID(fmt.Sprint("link:", v)), State: vrrp.Up})
		}
	}
}

// checkDeadlines compares the published deadline with what the views promise.
func checkDeadlines(t *rapid.T, l *lan) {
	for _, n := range l.nodes {
		at, ok := n.router.Deadline()
		for _, v := range n.router.Instances() {
			for _, due := range []vrrp.Instant{v.DownAt, v.AdvertAt, v.Until} {
				if due != 0 && (!ok || at > due) {
					t.Fatalf("%s %s: due at %d, the deadline is %d (%t)", n.name, v.Name, due, at, ok)
				}
			}
			if (v.State == vrrp.Active) != n.holds[v.ID] {
				t.Fatalf("%s %s is %s, holding is %t", n.name, v.Name, v.State, n.holds[v.ID])
			}
		}
	}
}

// checkWhole fails where a sync group is torn.
func checkWhole(t *rapid.T, l *lan) {
	for _, n := range l.nodes {
		for _, g := range n.router.Groups() {
			for _, id := range g.Members {
				if v, _ := n.router.Instance(id); v.State != g.State {
					t.Fatalf("%s: %s is %s, its group %s", n.name, v.Name, v.State, g.State)
				}
			}
		}
	}
}

func TestRoutersConvergeOnExactlyOneActive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLAN(t, 1, false)
		l.check = func() { checkDeadlines(t, l) }
		for _, n := range l.nodes {
			n.step(&vrrp.Start{})
			l.run(time.Duration(rapid.IntRange(0, 6000).Draw(t, "start ms")) * time.Millisecond)
		}
		for range rapid.IntRange(0, 8).Draw(t, "disturbances") {
			disturb(t, l, 1)
		}
		calm(l, 1)
		l.run(settleTime)
		got := l.holders(1)
		if len(got) != 1 {
			t.Fatalf("holders %v", got)
		}
		// Equal priorities do not preempt each other.
		top := slices.MaxFunc(l.nodes, func(a, b *node) int {
			return int(a.view("VI_0").Effective) - int(b.view("VI_0").Effective)
		})
		if have, want := l.node(got[0]).view("VI_0").Effective, top.view("VI_0").Effective; have != want {
			t.Fatalf("%s holds with priority %d, %s has %d", got[0], have, top.name, want)
		}
	})
}

func TestSyncGroupsAreNeverTorn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		instances := rapid.IntRange(2, 3).Draw(t, "instances")
		l := drawLAN(t, instances, true)
		l.check = func() {
			checkWhole(t, l)
			checkDeadlines(t, l)
		}
		for _, n := range l.nodes {
			n.step(&vrrp.Start{})
			l.run(time.Duration(rapid.IntRange(0, 3000).Draw(t, "start ms")) * time.Millisecond)
		}
		for range rapid.IntRange(0, 8).Draw(t, "disturbances") {
			disturb(t, l, instances)
		}
		calm(l, instances)
		l.run(2 * settleTime)
		for v := range instances {
			if got := l.holders(uint8(v + 1)); len(got) != 1 || got[0] != l.holders(1)[0] {
				t.Fatalf("VRID %d is held by %v, VRID 1 by %v", v+1, got, l.holders(1))
			}
		}
	})
}

// A router takes any event at any time: no panic, no endless loop, no torn
// state of its own.
func TestAnyReloadKeepsTheRouterWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLAN()
		n := l.node("r")
		n.answer = rapid.SampledFrom([]string{"permit", "refuse", "none"}).Draw(t, "answer")
		n.step(&vrrp.Start{})
		for range rapid.IntRange(1, 6).Draw(t, "reloads") {
			n.cfg = drawConfig(t, n)
			if err := n.commit(); err != nil {
				t.Fatal(err)
			}
			checkDeadlines(t, l)
			for range rapid.IntRange(0, 5).Draw(t, "events") {
				for _, c := range n.cfg.Instances {
					n.step(&vrrp.Advert{
						Instance: n.ids[c.Name], Source: topAddress, Interval: c.AdvertInterval,
						Priority: rapid.SampledFrom([]uint8{0, 50, 150, 255}).Draw(t, "heard"),
					})
				}
				n.step(&vrrp.TrackerChanged{
					ID:    rapid.SampledFrom([]vrrp.TrackerID{"x", "y"}).Draw(t, "tracker"),
					State: rapid.SampledFrom([]vrrp.TrackerState{vrrp.Unknown, vrrp.Up, vrrp.Down}).Draw(t, "state"),
				})
				l.run(time.Duration(rapid.IntRange(0, 5000).Draw(t, "pause ms")) * time.Millisecond)
				checkDeadlines(t, l)
			}
		}
		n.step(&vrrp.Stop{})
		if len(n.holds) > 0 {
			t.Fatalf("stopped, still holding %v", n.holds)
		}
	})
}

func drawConfig(t *rapid.T, n *node) (cfg vrrp.Config) {
	for v := range 4 {
		if !rapid.Bool().Draw(t, "present") {
			continue
		}
		c := instance(fmt.Sprint("VI_", v), uint8(v+1), rapid.Uint8Range(1, 255).Draw(t, "priority"), n.source)
		c.NoPreempt = rapid.Bool().Draw(t, "nopreempt")
		c.AskPermit = rapid.Bool().Draw(t, "ask")
		c.PreemptDelay = time.Duration(rapid.IntRange(0, 2).Draw(t, "preempt delay")) * time.Second
		for _, id := range []vrrp.TrackerID{"x", "y"} {
			if rapid.Bool().Draw(t, "tracked") {
				c.Trackers = append(c.Trackers, vrrp.Track{ID: id, Weight: rapid.IntRange(-1, 1).Draw(t, "weight")})
			}
		}
		cfg.Instances = append(cfg.Instances, c)
	}
	var g vrrp.GroupConfig
	for _, c := range cfg.Instances {
		if rapid.Bool().Draw(t, "member") {
			g.Members = append(g.Members, c.Name)
		}
	}
	if len(g.Members) > 0 {
		g.Name = "G"
		cfg.Groups = []vrrp.GroupConfig{g}
	}
	return cfg
}
