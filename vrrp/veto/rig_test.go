package veto

import (
	"net/netip"
	"testing"
	"time"

	"github.com/keepmesh/keepmesh/vrrp"
)

const (
	sec     = time.Second
	interv  = sec
	skew100 = interv * (256 - 100) / 256
	start   = vrrp.Instant(1000 * sec)
)

var (
	lb1 = NodeID{1}
	lb2 = NodeID{2}
	lb3 = NodeID{3}

	addr1 = netip.MustParseAddr("10.0.0.1")
	addr2 = netip.MustParseAddr("10.0.0.2")
	addr3 = netip.MustParseAddr("10.0.0.3")
)

func nodeName(n NodeID) string {
	return map[NodeID]string{lb1: "lb1", lb2: "lb2", lb3: "lb3"}[n]
}

type logged struct {
	at vrrp.Instant
	a  Action
}

// rig is lb3, a Backup of priority 100, with a stand-in for its Router's timer
// and for the other members' answers. The last LAN advert came at start.
type rig struct {
	t   *testing.T
	m   *Machine
	now vrrp.Instant
	log []logged

	routerDue vrrp.Instant // the stand-in's Active_Down_Timer
	preempt   bool
	taken     vrrp.Instant // when it became Active, zero before

	answers  map[NodeID]Answer
	probe    *ProbeResult
	probes   int
	asks     int
	first    bool     // the machine is served before the Router
	meshFrom []NodeID // adverts on the mesh, once per interval from one interval after start
	nextMesh vrrp.Instant
}

const down100 = 3*interv + skew100

func newRig(t *testing.T, change ...func(*Config)) *rig {
	t.Helper()
	cfg := Config{Self: lb3, Members: []NodeID{lb1, lb2, lb3}, Interval: interv, DownAdverts: 3}
	for _, c := range change {
		c(&cfg)
	}
	r := &rig{t: t, m: New(cfg), now: start - vrrp.Instant(sec), answers: map[NodeID]Answer{}, nextMesh: start.Add(interv)}
	r.step(&Timers{Interval: interv, Skew: skew100})
	r.step(&Self{State: vrrp.Backup, Priority: 100, Source: addr3})
	r.now = start - vrrp.Instant(sec/2)
	r.advert(vrrp.Mesh, lb1, 150)
	r.now = start
	r.advert(vrrp.LAN, lb1, 150)
	r.advert(vrrp.Mesh, lb1, 150)
	r.log = nil
	return r
}

func (r *rig) advert(w vrrp.Wire, from NodeID, priority uint8) {
	e := &Advert{Wire: w, Priority: priority, Source: map[NodeID]netip.Addr{lb1: addr1, lb2: addr2, lb3: addr3}[from]}
	if w == vrrp.Mesh {
		e.From = from
	}
	if priority == 0 {
		r.routerDue = r.now.Add(skew100)
	} else if priority >= 100 {
		r.routerDue = r.now.Add(down100)
	}
	r.step(e)
}

// step feeds one event and serves what it asks for, at once.
func (r *rig) step(ev Event) []Action {
	out := r.m.Step(r.now, ev)
	for _, a := range out {
		r.log = append(r.log, logged{r.now, a})
	}
	for _, a := range out {
		r.serve(a)
	}
	return out
}

func (r *rig) serve(a Action) {
	switch a := a.(type) {
	case *Ask:
		r.asks++
		for _, id := range a.To {
			if ans, ok := r.answers[id]; ok {
				ans.From, ans.Nonce = id, a.Nonce
				r.step(&ans)
			}
		}
	case *Probe:
		r.probes++
		if r.probe != nil {
			p := *r.probe
			p.Round = a.Round
			r.step(&p)
		}
	case *Permit, *Takeover:
		if r.taken == 0 {
			r.taken = r.now
			r.step(&AdvertSent{})
			r.step(&Self{State: vrrp.Active, Priority: 100, Source: addr3})
		}
	case *Refuse:
		r.routerDue = r.now.Add(a.Retry)
	}
}

// run lets the time pass, the Router before the machine.
func (r *rig) run(until vrrp.Instant) {
	ticked := vrrp.Instant(0)
	for n := 0; ; n++ {
		if n > 100000 {
			r.t.Fatalf("the machine does not let the time pass at %v", r.now.Sub(start))
		}
		next := until
		d, ok := r.m.Deadline()
		if ok {
			next = min(next, d)
		}
		if r.taken == 0 {
			next = min(next, r.routerDue)
		}
		if len(r.meshFrom) > 0 {
			next = min(next, r.nextMesh)
		}
		next = max(next, r.now)
		r.now = next
		switch {
		case len(r.meshFrom) > 0 && r.nextMesh <= next:
			r.nextMesh = r.nextMesh.Add(interv)
			for _, id := range r.meshFrom {
				r.advert(vrrp.Mesh, id, 150)
			}
		case r.first && ok && d <= next && ticked != next:
			ticked = next
			r.step(&Tick{})
		case r.taken == 0 && r.routerDue <= next:
			r.routerDue = next.Add(skew100)
			r.step(&WantHold{Preempt: r.preempt})
		case ok && d <= next:
			r.step(&Tick{})
		case next >= until:
			return
		}
	}
}

func (r *rig) holds(id NodeID) { // id answers that it holds
	r.answers[id] = Answer{Kind: Holding, AdvertAge: interv / 2, Priority: 150, Source: addr1, LANHeard: Never}
}

func (r *rig) backs(id NodeID, heard time.Duration) { // id answers as a Backup
	r.answers[id] = Answer{Kind: NotHolding, AdvertAge: Never, Priority: 120, Source: addr2, Candidate: true, LANHeard: heard}
}

func all[T Action](r *rig) []T {
	var out []T
	for _, l := range r.log {
		if a, ok := l.a.(T); ok {
			out = append(out, a)
		}
	}
	return out
}

func (r *rig) alarmTexts() []string {
	var out []string
	for _, a := range all[*Alarm](r) {
		out = append(out, a.Text(nodeName))
	}
	return out
}

func (r *rig) wantVerdict(want Verdict) Detail {
	r.t.Helper()
	got, d := r.m.Verdict()
	if got != want {
		r.t.Fatalf("verdict %q, want %q", got, want)
	}
	return d
}

func (r *rig) wantTaken(at vrrp.Instant) {
	r.t.Helper()
	switch {
	case r.taken == 0:
		r.t.Fatalf("not taken over; verdict and detail: %v", r.state())
	case r.taken != at:
		r.t.Fatalf("taken over %v after the last LAN advert, want %v", r.taken.Sub(start), at.Sub(start))
	}
}

func (r *rig) wantBackup() {
	r.t.Helper()
	if r.taken != 0 {
		r.t.Fatalf("taken over %v after the last LAN advert", r.taken.Sub(start))
	}
}

func (r *rig) state() any {
	v, d := r.m.Verdict()
	return []any{v, d}
}

func (r *rig) wantAlarm(text string) {
	r.t.Helper()
	n := 0
	for _, got := range r.alarmTexts() {
		if got == text {
			n++
		}
	}
	if n != 1 {
		r.t.Errorf("alarm %q raised %d times, want once; alarms: %q", text, n, r.alarmTexts())
	}
}

var timeM = start.Add(down100)
