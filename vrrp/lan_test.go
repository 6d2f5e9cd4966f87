package vrrp_test

import (
	"container/heap"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/keepmesh/keepmesh/vrrp"
)

// lan is an ideal network of routers on one virtual clock. Every advert
// reaches the instances of the same VRID on the other nodes after delay, and,
// where mesh is set, once more on the second wire.
type lan struct {
	now   vrrp.Instant
	delay time.Duration
	mesh  time.Duration // delay of the second wire; zero: none
	nodes []*node
	air   air
	seq   int
	cut   map[[2]string]bool // from, to: nothing on the LAN
	trace func(string)
	// check is called after every event.
	check func()
}

// epoch keeps the clock away from zero, which means never.
const epoch = vrrp.Instant(time.Hour)

func newLAN() *lan {
	return &lan{now: epoch, delay: 500 * time.Microsecond, cut: map[[2]string]bool{}, trace: func(string) {}, check: func() {}}
}

// node is one router and its shell.
type node struct {
	lan    *lan
	name   string
	source netip.Addr
	router *vrrp.Router
	cfg    vrrp.Config
	ids    map[string]vrrp.InstanceID
	names  map[vrrp.InstanceID]string
	groups map[vrrp.GroupID]string
	holds  map[vrrp.InstanceID]bool
	last   map[vrrp.InstanceID]uint8 // priority of the last advert
	dead   bool
	// answer is the shell's answer to WantHold: "permit", "refuse", or none.
	answer  string
	pending []vrrp.Event
}

func (l *lan) node(name string) *node {
	for _, n := range l.nodes {
		if n.name == name {
			return n
		}
	}
	n := &node{
		lan: l, name: name, router: vrrp.New(), source: netip.AddrFrom4([4]byte{10, 0, 0, byte(len(l.nodes) + 1)}),
		ids: map[string]vrrp.InstanceID{}, names: map[vrrp.InstanceID]string{}, groups: map[vrrp.GroupID]string{},
		holds: map[vrrp.InstanceID]bool{}, last: map[vrrp.InstanceID]uint8{},
	}
	l.nodes = append(l.nodes, n)
	return n
}

// commit puts the node's configuration into force.
func (n *node) commit() error {
	p, err := n.router.Prepare(n.cfg)
	if err != nil {
		return err
	}
	for k, id := range p.IDs {
		name := n.cfg.Instances[k].Name
		n.ids[name], n.names[id] = id, name
	}
	for k, id := range p.GroupIDs {
		n.groups[id] = n.cfg.Groups[k].Name
	}
	n.act(n.router.Commit(n.lan.now, p), false)
	return nil
}

func (n *node) step(ev vrrp.Event) {
	if n.dead {
		return
	}
	_, tick := ev.(*vrrp.Tick)
	n.act(n.router.Step(n.lan.now, ev), tick)
	for len(n.pending) > 0 {
		next := n.pending[0]
		n.pending = n.pending[1:]
		n.act(n.router.Step(n.lan.now, next), false)
	}
	n.lan.check()
}

// act carries the actions out and traces them. An advert that only repeats the
// one before, sent by its timer, is not worth a line.
func (n *node) act(actions []vrrp.Action, tick bool) {
	for _, action := range actions {
		switch a := action.(type) {
		case *vrrp.SendAdvert:
			if !tick || n.last[a.Instance] != a.Priority {
				n.say("%s sends priority %d", n.names[a.Instance], a.Priority)
			}
			n.last[a.Instance] = a.Priority
			n.lan.broadcast(n, a)
		case *vrrp.Hold:
			n.holds[a.Instance] = true
			n.say("%s hold", n.names[a.Instance])
		case *vrrp.Release:
			delete(n.holds, a.Instance)
			delete(n.last, a.Instance)
			n.say("%s release", n.names[a.Instance])
		case *vrrp.Announce:
			n.say("%s announce x%d", n.names[a.Instance], a.Repeat)
		case *vrrp.WantHold:
			n.want(a)
		case *vrrp.StateChanged:
			n.say("%s %s -> %s (%s), priority %d", n.names[a.Instance], a.From, a.To, a.Reason, a.Priority)
		case *vrrp.GroupChanged:
			n.say("group %s %s -> %s (%s)", n.groups[a.Group], a.From, a.To, a.Reason)
		case *vrrp.PriorityChanged:
			n.say("%s priority %d -> %d (%s)", n.names[a.Instance], a.From, a.To, a.Reason)
		case *vrrp.Note:
			n.say("%s note %s, %s priority %d", n.names[a.Instance], noteNames[a.Kind], wireNames[a.Wire], a.Priority)
		}
	}
}

var (
	wireNames = [...]string{"LAN", "mesh"}
	noteNames = [...]string{
		vrrp.LowerPriorityDiscarded: "lower priority discarded", vrrp.LowerPriorityRejected: "lower priority rejected",
		vrrp.SameAddress: "same address", vrrp.PreemptDelayed: "preempt delayed",
		vrrp.GroupNotReady: "group not ready", vrrp.IntervalLearnt: "interval learnt",
		vrrp.TwoOwners: "two owners",
	}
)

func (n *node) want(a *vrrp.WantHold) {
	what := ""
	if a.Group != vrrp.NoGroup {
		what = " for group " + n.groups[a.Group]
	}
	if a.Preempt {
		what += ", preempting"
	}
	n.say("%s wants to hold%s", n.names[a.Instance], what)
	switch n.answer {
	case "permit":
		n.pending = append(n.pending, &vrrp.Permit{Instance: a.Instance})
	case "refuse":
		n.pending = append(n.pending, &vrrp.Refuse{Instance: a.Instance, Verdict: "vetoed"})
	}
}

func (n *node) say(format string, args ...any) {
	at := n.lan.now.Sub(epoch)
	n.lan.trace(fmt.Sprintf("%9.4fs %s %s", at.Seconds(), n.name, fmt.Sprintf(format, args...)))
}

func (n *node) config(name string) *vrrp.InstanceConfig {
	for k := range n.cfg.Instances {
		if n.cfg.Instances[k].Name == name {
			return &n.cfg.Instances[k]
		}
	}
	return nil
}

func (n *node) view(name string) vrrp.InstanceView {
	v, ok := n.router.Instance(n.ids[name])
	if !ok {
		panic("no instance " + name)
	}
	return v
}

// flight is one advert in the air.
type flight struct {
	at     vrrp.Instant
	seq    int
	to     *node
	advert vrrp.Advert
}

type air []flight

func (a air) Len() int { return len(a) }
func (a air) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].seq < a[j].seq
}
func (a air) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *air) Push(x any)   { *a = append(*a, x.(flight)) }
func (a *air) Pop() any {
	old := *a
	x := old[len(old)-1]
	*a = old[:len(old)-1]
	return x
}

func (l *lan) broadcast(from *node, a *vrrp.SendAdvert) {
	cfg := from.config(from.names[a.Instance])
	if cfg == nil {
		return // removed by a reload; its resignation is traced
	}
	for _, to := range l.nodes {
		if to == from || to.dead {
			continue
		}
		for k := range to.cfg.Instances {
			peer := &to.cfg.Instances[k]
			if peer.Key.VRID != cfg.Key.VRID || peer.Key.Family != cfg.Key.Family {
				continue
			}
			ev := vrrp.Advert{
				Instance: to.ids[peer.Name], Source: from.view(cfg.Name).Source, Priority: a.Priority, Interval: cfg.AdvertInterval,
			}
			if !l.cut[[2]string{from.name, to.name}] {
				l.launch(l.delay, to, ev)
			}
			if l.mesh > 0 {
				ev.Wire = vrrp.Mesh
				l.launch(l.mesh, to, ev)
			}
		}
	}
}

func (l *lan) launch(delay time.Duration, to *node, ev vrrp.Advert) {
	l.seq++
	heap.Push(&l.air, flight{at: l.now.Add(delay), seq: l.seq, to: to, advert: ev})
}

// run lets d pass.
func (l *lan) run(d time.Duration) {
	end := l.now.Add(d)
	for {
		next, act := end+1, func() {}
		if len(l.air) > 0 && l.air[0].at < next {
			next = l.air[0].at
			act = func() {
				f := heap.Pop(&l.air).(flight)
				f.to.step(&f.advert)
			}
		}
		for _, n := range l.nodes {
			if at, ok := n.router.Deadline(); ok && !n.dead && max(at, l.now) < next {
				next = max(at, l.now)
				act = func() { n.step(&vrrp.Tick{}) }
			}
		}
		if next > end {
			l.now = end
			return
		}
		l.now = next
		act()
	}
}

// holders lists the nodes that are Active for the VRID.
func (l *lan) holders(vrid uint8) []string {
	var out []string
	for _, n := range l.nodes {
		if n.dead {
			continue
		}
		for _, v := range n.router.Instances() {
			if v.Key.VRID == vrid && v.State == vrrp.Active {
				out = append(out, n.name)
			}
		}
	}
	slices.Sort(out)
	return out
}

// instance returns a configuration with the usual settings.
func instance(name string, vrid, priority uint8, source netip.Addr) vrrp.InstanceConfig {
	return vrrp.InstanceConfig{
		Name: name, Key: vrrp.Key{Family: 4, VRID: vrid, Interface: "eth0"},
		Version: 2, Priority: priority, AdvertInterval: time.Second, DownTimerAdverts: 3, Source: source,
		Announce: vrrp.AnnounceConfig{
			Repeat: 5, Delay: 5 * time.Second, RefreshRepeat: 1, LowerPrioRepeat: 5, LowerPrioDelay: 5 * time.Second,
		},
	}
}
