package veto

import (
	"net/netip"
	"time"

	"github.com/keepmesh/keepmesh/vrrp"
)

// ProbeMode says whether the LAN is probed (lan_probe).
type ProbeMode uint8

// ProbeAuto probes until the network is found to answer for an address nobody
// has; ProbeOn believes every answer; ProbeOff takes the holder's word.
const (
	ProbeAuto ProbeMode = iota
	ProbeOn
	ProbeOff
)

// Config is what a machine is told of its instance.
type Config struct {
	Self    NodeID
	Members []NodeID // the other members; Self among them is skipped
	// Interval is the advertisement interval until Timers says otherwise.
	Interval time.Duration
	// DownAdverts is the number of silent intervals before the Active router
	// is taken for dead; below 1 it counts as 3.
	DownAdverts int
	Probe       ProbeMode
	// FirstNonce is where nonces start; a value of this boot keeps answers to
	// an earlier run out.
	FirstNonce uint64
	// HoldOff is the least time between Shut and Reopen; zero means three
	// Active_Down_Intervals. It doubles, up to 32 times, with each Shut that
	// follows the last Reopen within eight hold-offs.
	HoldOff time.Duration
}

// member is what is known of another node.
type member struct {
	id       NodeID
	source   netip.Addr
	priority uint8 // as it last said
	fit      bool
	meshAt   vrrp.Instant // last advert with a priority on the mesh
	lanAt    vrrp.Instant // last advert on the LAN

	answer     Answer
	asked      vrrp.Instant // when the question answered last was first asked; zero: void
	answeredAt vrrp.Instant
	hearsAt    vrrp.Instant // when it last heard the holder in question on the LAN; zero: never

	complaint complaint
	query     Query // kept until the own overdue advert has left
	queried   bool
}

// Machine is the veto of one instance. The zero value is not usable.
type Machine struct {
	cfg     Config
	members []member
	a, s    time.Duration
	nonce   uint64

	state    vrrp.State
	priority uint8
	source   netip.Addr
	activeAt vrrp.Instant
	sentAt   vrrp.Instant // last own advert on the LAN

	c backing
	h holding

	out []Action
}

// New returns a machine for one instance, in Initialize.
func New(cfg Config) *Machine {
	m := &Machine{nonce: cfg.FirstNonce}
	m.c.holder = -1
	m.c.mute.clear()
	m.a = cfg.Interval
	m.Reconfigure(cfg)
	return m
}

// Reconfigure replaces the configuration. What is known of members that stay
// is kept; the interval in force is that of Timers.
func (m *Machine) Reconfigure(cfg Config) {
	if cfg.DownAdverts < 1 {
		cfg.DownAdverts = 3
	}
	holder := m.holderID()
	old := m.members
	m.members = make([]member, 0, len(cfg.Members))
	for _, id := range cfg.Members {
		if id == cfg.Self || m.index(id) >= 0 {
			continue
		}
		next := member{id: id, fit: true}
		for i := range old {
			if old[i].id == id {
				next = old[i]
			}
		}
		m.members = append(m.members, next)
	}
	if m.cfg.Interval != cfg.Interval {
		m.a = cfg.Interval
	}
	m.cfg = cfg
	m.c.holder = m.index(holder)
	m.c.proxied = false
	m.c.speaker, m.c.other = -1, -1
	m.c.mute.clear()
}

// down is M, the Active_Down_Interval.
func (m *Machine) down() time.Duration {
	return time.Duration(m.cfg.DownAdverts)*m.a + m.s
}

// lead is how long before the end of the timer the question is asked: one
// interval, or less where the timer has a single interval, because a holder
// that may still have been alive would answer.
func (m *Machine) lead() time.Duration {
	if m.cfg.DownAdverts == 1 {
		return max(m.s/2, 1)
	}
	return m.a
}

// recent is the age up to which an answer, counted from when its question was
// first asked, is a holder's word. It is never so long that the last answer of
// a dead holder delays the end of the timer.
func (m *Machine) recent() time.Duration {
	if m.cfg.DownAdverts > 2 {
		return 2 * m.a
	}
	return m.lead()
}

func (m *Machine) joined() bool { return len(m.members) > 0 && m.a > 0 }

func (m *Machine) listening() bool { return m.joined() && m.state == vrrp.Backup }

func (m *Machine) index(id NodeID) int {
	for i := range m.members {
		if m.members[i].id == id {
			return i
		}
	}
	return -1
}

func (m *Machine) holderID() NodeID {
	if m.c.holder < 0 || m.c.holder >= len(m.members) {
		return NodeID{}
	}
	return m.members[m.c.holder].id
}

func (m *Machine) nextNonce() uint64 {
	m.nonce++
	return m.nonce
}

func (m *Machine) emit(a Action) { m.out = append(m.out, a) }

// Step feeds one event and returns what to do, in order. Now must not be zero
// and must not go back by more than the handling of one event. The slice is the caller's: carrying an action out may
// step the machine again.
func (m *Machine) Step(now vrrp.Instant, ev Event) []Action {
	m.out = nil
	switch e := ev.(type) {
	case *Tick:
		m.serve(now)
	case *Timers:
		m.a, m.s = e.Interval, e.Skew
	case *Self:
		m.onSelf(now, e)
	case *AdvertSent:
		m.sentAt = now
		m.answerHeld(now)
	case *Advert:
		m.onAdvert(now, e)
	case *FrameHeard:
		m.onFrame(now)
	case *WantHold:
		m.onWantHold(now, e)
	case *PeerFit:
		if i := m.index(e.Node); i >= 0 {
			m.members[i].fit = e.Fit
			m.weighComplaints(now)
		}
	case *Query:
		m.onQuery(now, e)
	case *Answer:
		m.onAnswer(now, e)
	case *ProbeResult:
		m.onProbe(e)
	case *Unheard:
		m.onUnheard(now, e)
	case *Yield:
		m.onYield(now, e)
	case *Insist:
		m.onInsist(e)
	case *LANTested:
		m.onTested(now, e)
	}
	return m.out
}

// serve does what is due. Timers are served by Tick alone: what the sockets
// hold comes first, and after Permit the Router is Active before the next Tick.
func (m *Machine) serve(now vrrp.Instant) {
	if m.listening() {
		m.serveBackup(now)
	}
	m.serveHolder(now)
}

// Deadline returns the instant of the next wanted Tick.
func (m *Machine) Deadline() (vrrp.Instant, bool) {
	var d vrrp.Instant
	if m.listening() {
		d = m.backupDeadline()
	}
	d = earlier(d, m.holderDeadline())
	return d, d != 0
}

// earlier takes zero for never.
func earlier(a, b vrrp.Instant) vrrp.Instant {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Verdict returns the verdict in force and its grounds.
func (m *Machine) Verdict() (Verdict, Detail) {
	d := m.c.detail
	d.Holder = m.holderID()
	d.Shut = m.h.shut
	d.Insists = m.c.mute.insist
	return m.c.verdict, d
}

func (m *Machine) onSelf(now vrrp.Instant, e *Self) {
	was := m.state
	m.state, m.priority, m.source = e.State, e.Priority, e.Source
	if was == e.State {
		return
	}
	m.endCase(now)
	m.h.reset()
	for i := range m.members {
		m.members[i].complaint = complaint{}
	}
	m.answerHeld(now)
	switch e.State {
	case vrrp.Backup:
		m.c.lanAt, m.c.anyAt, m.c.lanHeard = now, now, false
	case vrrp.Active:
		m.activeAt = now
		if m.sentAt == 0 {
			// The machine was made while its Router was Active.
			m.sentAt = now
		}
		m.c.resigned = false
	case vrrp.Initialize, vrrp.Fault, vrrp.Stopped:
		m.sentAt = 0
	}
}

func (m *Machine) onAdvert(now vrrp.Instant, e *Advert) {
	var i int
	newcomer := false
	if e.Wire == vrrp.Mesh {
		if i = m.index(e.From); i < 0 {
			return
		}
		p := &m.members[i]
		p.source, p.priority = e.Source, e.Priority
		newcomer = e.Priority != 0 && (p.meshAt == 0 || now.Sub(p.meshAt) > 2*m.a)
		p.meshAt = now
	} else {
		i = m.bySource(e.Source)
		if i < 0 {
			m.foreign(e.Source)
		} else {
			m.members[i].lanAt = now
		}
	}
	m.rival(now, i, e)
	m.heard(now, i, e, newcomer)
}

func (m *Machine) bySource(a netip.Addr) int {
	for i := range m.members {
		if m.members[i].source == a {
			return i
		}
	}
	return -1
}

// foreign alarms once about an address that, with every member's address
// known, is nobody's.
func (m *Machine) foreign(a netip.Addr) {
	if a == m.c.foreign {
		return
	}
	for i := range m.members {
		if !m.members[i].source.IsValid() {
			return
		}
	}
	m.c.foreign = a
	m.emit(&Alarm{Kind: ForeignRouter, Self: m.cfg.Self, Address: a})
}
