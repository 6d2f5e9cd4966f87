package veto

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/keepmesh/keepmesh/vrrp"
)

// A small LAN and mesh with the real Router and machine on every node.

const (
	lanDelay  = 100 * time.Microsecond
	meshDelay = 700 * time.Microsecond
	gateway   = -1 // a neighbour that always answers, where the LAN carries it
)

type simEvent struct {
	at  vrrp.Instant
	seq int
	do  func()
}

type simQueue []simEvent

func (q simQueue) Len() int { return len(q) }
func (q simQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q simQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *simQueue) Push(x any)   { *q = append(*q, x.(simEvent)) }
func (q *simQueue) Pop() any {
	x := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return x
}

type simNode struct {
	s       *sim
	n       int
	id      NodeID
	addr    netip.Addr
	prio    uint8
	router  *vrrp.Router
	machine *Machine // nil: plain VRRP
	cfg     vrrp.InstanceConfig
	inst    vrrp.InstanceID
	alive   bool
	holds   bool
	state   vrrp.State

	gen      int // of this run of the daemon
	paused   bool
	silent   bool // its kernel does not answer for the address
	host     bool // the whole host is paused: its kernel does not answer either
	backlog  []func()
	tookAt   vrrp.Instant
	sentMesh vrrp.Instant
	verdicts []Verdict
	alarms   []string
}

type sim struct {
	t     *testing.T
	now   vrrp.Instant
	seq   int
	queue simQueue
	nodes []*simNode
	rng   *rand.Rand
	order *rand.Rand
	veto  bool

	// Whether a path carries a frame now, by node number; gateway is -1.
	vrrpOK func(from, to int) bool
	lanOK  func(from, to int) bool // everything on the LAN but adverts, which need both
	meshOK func(from, to int) bool
	probe  ProbeMode

	// What was seen: the time with several holders and with none.
	checked vrrp.Instant
	dual    time.Duration
	none    time.Duration
	trace   []string
}

func yes(int, int) bool { return true }

func newSim(t *testing.T, veto bool, prios ...uint8) *sim {
	s := &sim{
		t: t, now: start, checked: start, veto: veto, rng: rand.New(rand.NewPCG(1, 2)), order: rand.New(rand.NewPCG(3, uint64(len(prios)))),
		vrrpOK: yes, lanOK: yes, meshOK: yes,
	}
	for n, p := range prios {
		s.nodes = append(s.nodes, &simNode{
			s: s, n: n, id: NodeID{byte(n + 1)}, prio: p,
			addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(n + 1)}),
		})
	}
	for _, n := range s.nodes {
		n.boot(nil)
	}
	return s
}

// boot starts the node's daemon with what change makes of its configuration.
func (n *simNode) boot(change func(*vrrp.InstanceConfig)) {
	s := n.s
	n.gen++
	n.alive, n.holds, n.state, n.machine = true, false, vrrp.Initialize, nil
	n.cfg = vrrp.InstanceConfig{
		Name: "VI_1", Key: vrrp.Key{Family: 4, VRID: 51, Interface: "eth0"},
		Version: 2, Priority: n.prio, AdvertInterval: interv, DownTimerAdverts: 3,
		Source: n.addr, AskPermit: s.veto,
		Announce: vrrp.AnnounceConfig{Repeat: 5, Delay: 5 * sec},
		Trackers: []vrrp.Track{{ID: "veto"}},
	}
	if change != nil {
		change(&n.cfg)
	}
	n.router = vrrp.New()
	plan, err := n.router.Prepare(vrrp.Config{Instances: []vrrp.InstanceConfig{n.cfg}})
	if err != nil {
		s.t.Fatal(err)
	}
	n.inst = plan.IDs[0]
	if s.veto {
		cfg := Config{Self: n.id, Interval: interv, DownAdverts: 3, Probe: s.probe, FirstNonce: uint64(n.gen) << 32}
		for _, o := range s.nodes {
			cfg.Members = append(cfg.Members, o.id)
		}
		n.machine = New(cfg)
		n.toMachine(&Timers{Interval: interv, Skew: interv * time.Duration(256-int(n.cfg.Priority)) / 256})
	}
	n.route(n.router.Commit(s.now, plan))
	n.toRouter(&vrrp.TrackerChanged{ID: "veto", State: vrrp.Up})
	n.toRouter(&vrrp.Start{})
}

// pause stops the daemon, and with host its kernel too.
func (n *simNode) pause(host bool) { n.paused, n.host = true, host }

// resume lets it go on: its sockets are read before any timer is served.
func (n *simNode) resume() {
	n.paused, n.host = false, false
	backlog := n.backlog
	n.backlog = nil
	for _, do := range backlog {
		do()
	}
}

func (n *simNode) kill() { n.s.account(); n.alive, n.holds = false, false }

func (s *sim) at(d time.Duration, do func()) {
	s.seq++
	heap.Push(&s.queue, simEvent{s.now.Add(d), s.seq, do})
}

// to runs do at a node after a delay, if the same daemon still runs.
func (s *sim) to(n *simNode, d time.Duration, do func()) {
	gen := n.gen
	s.at(d, func() {
		switch {
		case !n.alive || n.gen != gen:
		case n.paused:
			n.backlog = append(n.backlog, do)
		default:
			do()
		}
	})
}

func (s *sim) account() {
	holders := 0
	for _, n := range s.nodes {
		if n.holds {
			holders++
		}
	}
	d := s.now.Sub(s.checked)
	switch {
	case holders == 0:
		s.none += d
	case holders > 1:
		s.dual += d
	}
	s.checked = s.now
}

func (s *sim) holder() string {
	var out []string
	for _, n := range s.nodes {
		if n.holds {
			out = append(out, n.name())
		}
	}
	return strings.Join(out, "+")
}

func (n *simNode) name() string { return fmt.Sprintf("lb%d", n.n+1) }

func (n *simNode) log(format string, args ...any) {
	n.s.trace = append(n.s.trace, fmt.Sprintf("%12v %s ", n.s.now.Sub(start), n.name())+fmt.Sprintf(format, args...))
}

// run lets d pass.
func (s *sim) run(d time.Duration) {
	s.t.Helper()
	until := s.now.Add(d)
	for steps := 0; ; steps++ {
		if steps > 1_000_000 {
			s.t.Fatalf("the time does not pass at %v", s.now.Sub(start))
		}
		next, who := until, (*simNode)(nil)
		if len(s.queue) > 0 && s.queue[0].at <= next {
			next = s.queue[0].at
		}
		for _, n := range s.nodes {
			if d, ok := n.deadline(); ok && d < next {
				next, who = d, n
			}
		}
		if next > s.now {
			s.account()
			s.now = next
			s.account()
		}
		switch {
		case who != nil:
			who.tick()
		case len(s.queue) > 0 && s.queue[0].at <= until:
			heap.Pop(&s.queue).(simEvent).do()
		default:
			return
		}
	}
}

func (n *simNode) deadline() (vrrp.Instant, bool) {
	if !n.alive || n.paused {
		return 0, false
	}
	d, ok := n.router.Deadline()
	if n.machine != nil {
		if m, has := n.machine.Deadline(); has && (!ok || m < d) {
			d, ok = m, true
		}
	}
	return max(d, n.s.now), ok
}

// tick serves Router and machine in an order that must not matter.
func (n *simNode) tick() {
	first := n.s.order.IntN(2) == 0
	if first {
		n.tickMachine()
	}
	if d, ok := n.router.Deadline(); ok && d <= n.s.now {
		n.toRouter(&vrrp.Tick{})
	}
	if !first {
		n.tickMachine()
	}
}

func (n *simNode) tickMachine() {
	if n.machine == nil {
		return
	}
	if d, ok := n.machine.Deadline(); ok && d <= n.s.now {
		n.toMachine(&Tick{})
	}
}

func (n *simNode) toRouter(ev vrrp.Event) { n.route(n.router.Step(n.s.now, ev)) }

// route carries out the Router's actions; what answers them comes after all.
func (n *simNode) route(out []vrrp.Action) {
	var after []func()
	for _, a := range out {
		switch a := a.(type) {
		case *vrrp.SendAdvert:
			n.send(a.Priority)
			after = append(after, func() { n.toMachine(&AdvertSent{}) })
		case *vrrp.Hold:
			n.s.account()
			n.holds, n.tookAt = true, n.s.now
			n.log("holds")
		case *vrrp.Release:
			n.s.account()
			if n.holds {
				n.log("releases")
			}
			n.holds = false
		case *vrrp.Announce:
			for _, o := range n.s.nodes {
				n.frame(o)
			}
		case *vrrp.WantHold:
			preempt := a.Preempt
			after = append(after, func() { n.toMachine(&WantHold{Preempt: preempt}) })
		case *vrrp.StateChanged:
			to, prio := a.To, a.Priority
			n.state = to
			n.log("%v: %s", to, a.Reason)
			after = append(after, func() { n.toMachine(&Self{State: to, Priority: prio, Source: n.addr}) })
		case *vrrp.GroupChanged, *vrrp.PriorityChanged, *vrrp.Note:
		}
	}
	for _, f := range after {
		f()
	}
}

// send puts one advert on the LAN, then on the mesh.
func (n *simNode) send(priority uint8) {
	ad := vrrp.Advert{Source: n.addr, Priority: priority, Interval: interv}
	for _, o := range n.s.nodes {
		if o == n {
			continue
		}
		if n.s.vrrpOK(n.n, o.n) && n.s.lanOK(n.n, o.n) {
			n.s.to(o, lanDelay, func() { o.hear(ad, NodeID{}) })
		}
		if n.machine != nil && n.s.meshOK(n.n, o.n) {
			mesh := ad
			mesh.Wire = vrrp.Mesh
			n.s.to(o, meshDelay, func() { o.hear(mesh, n.id) })
		}
	}
	n.sentMesh = n.s.now
}

func (n *simNode) hear(ad vrrp.Advert, from NodeID) {
	ad.Instance = n.inst
	n.toRouter(&ad)
	n.toMachine(&Advert{Wire: ad.Wire, From: from, Source: ad.Source, Priority: ad.Priority})
}

func (n *simNode) frame(to *simNode) {
	if to != n && n.s.lanOK(n.n, to.n) {
		n.s.to(to, lanDelay, func() { to.toMachine(&FrameHeard{}) })
	}
}

func (n *simNode) toMachine(ev Event) {
	if n.machine == nil {
		return
	}
	for _, a := range n.machine.Step(n.s.now, ev) {
		n.obey(a)
	}
}

// mesh sends an event to a member over the mesh.
func (n *simNode) mesh(to NodeID, ev Event) {
	o := n.s.nodes[to[0]-1]
	if n.s.meshOK(n.n, o.n) {
		n.s.to(o, meshDelay, func() { o.toMachine(ev) })
	}
}

func (n *simNode) obey(a Action) {
	switch a := a.(type) {
	case *Permit:
		n.toRouter(&vrrp.Permit{Instance: n.inst})
	case *Refuse:
		n.toRouter(&vrrp.Refuse{Instance: n.inst, Verdict: a.Verdict.String(), Retry: a.Retry})
	case *Takeover:
		n.toRouter(&vrrp.Takeover{Instance: n.inst, Reason: a.Reason})
	case *Ask:
		q := Query{From: n.id, Nonce: a.Nonce, About: a.About}
		for _, to := range a.To {
			n.mesh(to, &q)
		}
	case *SendAnswer:
		n.mesh(a.To, &Answer{
			From: n.id, Nonce: a.Nonce, Kind: a.Kind, AdvertAge: a.AdvertAge, Priority: a.Priority,
			Source: a.Source, Candidate: a.Candidate, LANHeard: a.LANHeard,
		})
	case *SendUnheard:
		n.mesh(a.To, &Unheard{From: n.id, Nonce: a.Nonce})
	case *SendYield:
		n.mesh(a.To, &Yield{From: n.id, Nonce: a.Nonce})
	case *SendInsist:
		n.mesh(a.To, &Insist{From: n.id, Nonce: a.Nonce})
	case *Probe:
		vip, neighbour := n.lookAround()
		res := ProbeResult{Round: a.Round, Usable: true, VIP: vip, Neighbour: neighbour}
		n.s.to(n, a.Within/2, func() { n.toMachine(&res) })
	case *TestLAN:
		res := LANTested{Round: a.Round, Outcome: TestFailed}
		if _, ok := n.lookAround(); ok {
			res.Outcome = TestPassed
		}
		n.s.to(n, a.Within/2, func() { n.toMachine(&res) })
	case *Shut:
		n.toRouter(&vrrp.TrackerChanged{ID: "veto", State: vrrp.Down, Cause: a.Reason})
	case *Reopen:
		n.toRouter(&vrrp.TrackerChanged{ID: "veto", State: vrrp.Up})
	case *VerdictChanged:
		n.log("verdict %q -> %q", a.From, a.To)
		n.verdicts = append(n.verdicts, a.To)
	case *Alarm:
		n.alarms = append(n.alarms, a.Text(nodeName))
		n.log("ALARM %s", a.Text(nodeName))
	}
}

// lookAround sends ARP requests: who answers for the address, and does anybody.
func (n *simNode) lookAround() (vip, neighbour bool) {
	for _, o := range n.s.nodes {
		n.frame(o)
		if o == n || !o.alive || o.host || !n.s.lanOK(n.n, o.n) || !n.s.lanOK(o.n, n.n) {
			continue
		}
		neighbour = true
		vip = vip || o.holds && !o.silent
	}
	return vip, neighbour || n.s.lanOK(n.n, gateway) && n.s.lanOK(gateway, n.n)
}

func (s *sim) wantHolder(want string) {
	s.t.Helper()
	if got := s.holder(); got != want {
		s.t.Fatalf("holder %q, want %q\n%s", got, want, strings.Join(s.trace, "\n"))
	}
}

// wantAtMost checks the time with several holders and with none since then.
func (s *sim) wantAtMost(dual, none time.Duration) {
	s.t.Helper()
	s.account()
	if s.dual > dual || s.none > none {
		s.t.Errorf("several holders for %v, want at most %v; none for %v, want at most %v\n%s",
			s.dual, dual, s.none, none, strings.Join(s.trace, "\n"))
	}
}

func (s *sim) reset() { s.account(); s.dual, s.none = 0, 0 }
