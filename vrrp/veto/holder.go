package veto

import (
	"time"

	"github.com/keepmesh/keepmesh/vrrp"
)

// holding is the state of the holder's side: complaints about silence, the
// test of the own LAN, and being shut.
type holding struct {
	testing bool
	test    uint64
	testBy  vrrp.Instant
	passed  vrrp.Instant // last test that passed, or was impossible
	failed  bool         // the last test failed

	shut    bool
	shutAt  vrrp.Instant
	lastOff time.Duration // the hold-off of the last Shut
	openAt  vrrp.Instant  // when the last Shut ended
	testAt  vrrp.Instant  // next test while shut

	answerBy vrrp.Instant // when queries kept for an overdue advert are answered

	rivalAt vrrp.Instant // last advert of another holder, while Active
}

// complaint is what a member says of the silence of the own address.
type complaint struct {
	at       vrrp.Instant // its last Unheard
	nonce    uint64       // of it
	waits    bool         // for Yield or Insist
	insisted vrrp.Instant // when this node last insisted
	refuted  uint64       // the nonce to which it insisted
	// repeated is the last Unheard with a new nonce, so of a new look at the
	// LAN, after this node insisted. Only that counts towards a majority: what
	// members saw while this node was paused is not held against it.
	repeated vrrp.Instant
}

// reset forgets a running test on a change of state; being shut outlives it.
func (h *holding) reset() {
	h.testing, h.testBy, h.passed = false, 0, 0
	h.rivalAt = 0
}

// onQuery answers for the own instance. A stranger gets no answer. A holder
// whose advert is overdue has just been held up: its advert leaves first, so
// that a hiccup shorter than M does not pass for a wedged loop.
func (m *Machine) onQuery(now vrrp.Instant, e *Query) {
	i := m.index(e.From)
	if i < 0 {
		return
	}
	if m.state == vrrp.Active && m.joined() && now.Sub(m.sentAt) > m.a+m.a/4 {
		p := &m.members[i]
		p.query, p.queried = *e, true
		if m.h.answerBy == 0 {
			m.h.answerBy = now.Add(m.a / 8)
		}
		return
	}
	m.answer(now, e)
}

// answerHeld answers what was kept for the overdue advert.
func (m *Machine) answerHeld(now vrrp.Instant) {
	m.h.answerBy = 0
	for i := range m.members {
		if p := &m.members[i]; p.queried {
			p.queried = false
			m.answer(now, &p.query)
		}
	}
}

func (m *Machine) answer(now vrrp.Instant, e *Query) {
	a := &SendAnswer{
		To: e.From, Nonce: e.Nonce, Priority: m.priority, Source: m.source,
		AdvertAge: Never, LANHeard: Never,
	}
	switch m.state {
	case vrrp.Active:
		a.Kind = Holding
	case vrrp.Backup:
		a.Kind = NotHolding
		a.Candidate = m.c.verdict != Deaf && !m.h.shut
	case vrrp.Initialize, vrrp.Fault, vrrp.Stopped:
		a.Kind = UnfitKind
	}
	if m.sentAt != 0 {
		a.AdvertAge = age(now, m.sentAt)
	}
	if i := m.index(e.About); i >= 0 {
		if at := m.members[i].lanAt; at != 0 {
			a.LANHeard = age(now, at)
		}
	} else if m.c.lanHeard {
		a.LANHeard = age(now, m.c.lanAt)
	}
	m.emit(a)
}

// age never says Never: an event may carry a slightly later instant than the
// next, where a shell reads the clock per frame.
func age(now, at vrrp.Instant) time.Duration { return max(now.Sub(at), 0) }

// rival notices, while Active, another holder: a member of lower rank that
// advertises although this node has long been Active. One of higher rank
// preempts, and VRRP's rule ends it with this very advert.
func (m *Machine) rival(now vrrp.Instant, i int, e *Advert) {
	h := &m.h
	if m.state != vrrp.Active || i < 0 || e.Priority == 0 || now.Sub(m.activeAt) <= 2*m.a {
		return
	}
	if outranks(e.Priority, e.Source, m.priority, m.source) {
		return
	}
	if h.rivalAt == 0 || now.Sub(h.rivalAt) > 4*m.a {
		m.emit(&Alarm{Kind: TwoHoldersAlarm, Self: m.cfg.Self, Node: m.cfg.Self, Other: m.members[i].id})
	}
	h.rivalAt = now
}

// onUnheard is told that the own address is silent on a member's LAN.
func (m *Machine) onUnheard(now vrrp.Instant, e *Unheard) {
	i := m.index(e.From)
	if i < 0 || !m.joined() {
		return
	}
	p := &m.members[i]
	if m.state != vrrp.Active || m.h.shut {
		m.emit(&SendYield{To: e.From, Nonce: e.Nonce})
		return
	}
	p.fit = true
	k := &p.complaint
	if k.insisted != 0 && now.Sub(k.insisted) <= 3*m.a && e.Nonce != k.refuted {
		k.repeated = now
	}
	k.at, k.nonce, k.waits = now, e.Nonce, true
	if m.weighComplaints(now) {
		return
	}
	h := &m.h
	switch {
	case h.testing:
	case h.passed != 0 && now.Sub(h.passed) < m.a/2:
		m.insist(now)
	default:
		m.startTest(now)
	}
}

// weighComplaints shuts when a majority of the fit members has lately found
// the address silent, and found it so again after this node had tested its LAN. This node is one of them and finds it well, so that of
// two nodes neither outvotes the other: there the LAN test decides.
func (m *Machine) weighComplaints(now vrrp.Instant) bool {
	if m.state != vrrp.Active || m.h.shut {
		return false
	}
	fit, told, by := 1, 0, -1
	for i := range m.members {
		p := &m.members[i]
		if !p.fit {
			continue
		}
		fit++
		if k := &p.complaint; k.repeated != 0 && now.Sub(k.repeated) <= 3*m.a {
			told++
			by = i
		}
	}
	if told*2 <= fit {
		return false
	}
	m.shut(now, by, "a majority of the fit members does not hear this node's address")
	return true
}

func (m *Machine) startTest(now vrrp.Instant) {
	h := &m.h
	h.testing, h.test = true, m.nextNonce()
	h.testBy = now.Add(m.a / 2)
	m.emit(&TestLAN{Round: h.test, Within: m.a / 2})
}

func (m *Machine) onTested(now vrrp.Instant, e *LANTested) {
	h := &m.h
	if !h.testing || e.Round != h.test {
		return
	}
	m.tested(now, e.Outcome)
}

func (m *Machine) tested(now vrrp.Instant, o TestOutcome) {
	h := &m.h
	h.testing, h.testBy = false, 0
	h.failed = o == TestFailed
	if !h.failed {
		h.passed = now
	}
	switch {
	case h.shut:
	case m.state != vrrp.Active:
	case h.failed:
		m.shut(now, m.complainer(), "members do not hear this node's address and its LAN test failed")
	default:
		m.insist(now)
	}
}

func (m *Machine) complainer() int {
	for i := range m.members {
		if m.members[i].complaint.waits {
			return i
		}
	}
	return -1
}

func (m *Machine) insist(now vrrp.Instant) {
	for i := range m.members {
		if k := &m.members[i].complaint; k.waits {
			k.waits, k.insisted, k.refuted = false, now, k.nonce
			m.emit(&SendInsist{To: m.members[i].id, Nonce: k.nonce})
		}
	}
}

func (m *Machine) shut(now vrrp.Instant, by int, reason string) {
	h := &m.h
	base := m.cfg.HoldOff
	if base <= 0 {
		base = 3 * m.down()
	}
	if h.openAt != 0 && now.Sub(h.openAt) < 8*h.lastOff {
		base = min(2*h.lastOff, 32*base)
	}
	h.shut, h.shutAt, h.lastOff = true, now, base
	h.testing, h.testBy = false, 0
	h.testAt = now.Add(m.a)
	m.emit(&Shut{Reason: reason})
	for i := range m.members {
		k := &m.members[i].complaint
		if k.at != 0 && now.Sub(k.at) <= 3*m.a {
			m.emit(&SendYield{To: m.members[i].id, Nonce: k.nonce})
		}
		*k = complaint{}
	}
	a := &Alarm{Kind: ShutAlarm, Self: m.cfg.Self}
	if by >= 0 {
		a.Node = m.members[by].id
	}
	m.emit(a)
}

func (m *Machine) holderDeadline() vrrp.Instant {
	h := &m.h
	d := h.answerBy
	if h.testing {
		d = earlier(d, h.testBy)
	}
	if h.shut && !h.testing {
		d = earlier(d, h.testAt)
	}
	return d
}

// serveHolder ends a test without a result, and, while shut, tests the LAN once
// per interval and reopens when it passes after the hold-off.
func (m *Machine) serveHolder(now vrrp.Instant) {
	h := &m.h
	if h.answerBy != 0 && now >= h.answerBy {
		m.answerHeld(now)
	}
	if h.testing && now >= h.testBy {
		m.tested(now, TestImpossible)
	}
	if !h.shut || h.testing || now < h.testAt {
		return
	}
	if h.passed > h.shutAt && !h.failed && now.Sub(h.shutAt) >= h.lastOff {
		h.shut, h.openAt, h.testAt = false, now, 0
		m.emit(&Reopen{})
		return
	}
	h.testAt = now.Add(max(m.a, time.Millisecond))
	m.startTest(now)
}
