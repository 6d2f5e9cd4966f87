package veto

import "github.com/keepmesh/keepmesh/vrrp"

// mute is the dealing with a holder whose address is silent.
type mute struct {
	to     int    // index of the holder told, -1 for nobody
	nonce  uint64 // of the last look at the LAN
	before uint64 // of the look before
	sentAt vrrp.Instant
	again  vrrp.Instant
	left   int
	until  vrrp.Instant // no reply by then: take over; zero: it replied
	yield  bool         // it let go; until is then the end of our skew
	insist bool
}

func (u *mute) clear() { *u = mute{to: -1} }

func (u *mute) outcome() Verdict {
	if u.yield {
		return Yielded
	}
	return NoReply
}

// tell sends "unheard" to the holder, with a new nonce for each look at the
// LAN, repeated until it replies.
func (m *Machine) tell(now vrrp.Instant) {
	c := &m.c
	u := &c.mute
	if u.to >= 0 && (u.until != 0 || now < u.sentAt.Add(m.a)) {
		return
	}
	if u.to < 0 {
		*u = mute{to: c.speaker}
	}
	u.before, u.nonce = u.nonce, m.nextNonce()
	u.sentAt, u.until, u.left = now, now.Add(m.a), repeats+1
	m.sendUnheard(now)
}

func (m *Machine) sendUnheard(now vrrp.Instant) {
	u := &m.c.mute
	u.left--
	u.again = 0
	if u.left > 0 {
		u.again = now.Add(m.a / (repeats + 1))
	}
	m.emit(&SendUnheard{To: m.members[u.to].id, Nonce: u.nonce})
}

func (m *Machine) told(from NodeID, nonce uint64) bool {
	u := &m.c.mute
	return m.listening() && u.to >= 0 && m.members[u.to].id == from && (nonce == u.nonce || nonce == u.before && nonce != 0)
}

// onYield waits the own skew, as after priority 0: of several that were told,
// the one of the highest priority takes over.
func (m *Machine) onYield(now vrrp.Instant, e *Yield) {
	u := &m.c.mute
	if !m.told(e.From, e.Nonce) || u.yield {
		return
	}
	p := &m.members[u.to]
	p.meshAt, p.asked = 0, 0
	u.yield, u.insist = true, false
	u.again, u.until = 0, now.Add(m.s)
}

func (m *Machine) onInsist(e *Insist) {
	u := &m.c.mute
	if !m.told(e.From, e.Nonce) || u.yield {
		return
	}
	u.until, u.again, u.insist = 0, 0, true
	m.alarm(&Alarm{Kind: InsistsAlarm, Node: e.From})
}
