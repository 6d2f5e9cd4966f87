package veto

import (
	"github.com/keepmesh/keepmesh/vrrp"
)

// round is one question to all members.
type round struct {
	nonce uint64
	at    vrrp.Instant
	again vrrp.Instant // when to repeat it to those that are silent; zero: not any more
	left  int          // repetitions left
	end   vrrp.Instant
}

// repeats is how often a question, or an "unheard", is repeated within one
// interval, so that lost datagrams decide nothing.
const repeats = 7

// probe is one look at the LAN.
type probe struct {
	no             uint64
	at             vrrp.Instant
	got, usable    bool
	vip, neighbour bool
}

// ask starts a round that is decided at end.
func (m *Machine) ask(now, end vrrp.Instant) {
	c := &m.c
	c.prev = c.round
	c.asking = true
	c.round = round{nonce: m.nextNonce(), at: now, end: end, left: repeats}
	c.round.again = now.Add(end.Sub(now) / (repeats + 1))
	c.before, c.probe = c.probe, probe{}
	m.sendAsk()
	if m.anyWord(now) {
		m.look(now)
	}
}

// sendAsk asks those that have not answered in this round.
func (m *Machine) sendAsk() {
	c := &m.c
	a := &Ask{Nonce: c.round.nonce, About: m.holderID()}
	for i := range m.members {
		if p := &m.members[i]; p.asked < c.round.at {
			a.To = append(a.To, p.id)
		}
	}
	if len(a.To) > 0 {
		m.emit(a)
	}
}

func (m *Machine) askAgain(now vrrp.Instant) {
	c := &m.c
	c.round.left--
	if c.round.left <= 0 {
		c.round.again = 0
	} else {
		c.round.again = now.Add(c.round.end.Sub(c.round.at) / (repeats + 1))
	}
	m.sendAsk()
}

// look probes the LAN, once in a round, and only where there is a holder's
// word to weigh: without one the wire carries nothing that VRRP does not send.
func (m *Machine) look(now vrrp.Instant) {
	c := &m.c
	if m.cfg.Probe == ProbeOff || c.proxied || c.probe.at != 0 || !c.asking {
		return
	}
	c.probe = probe{no: c.round.nonce, at: now}
	m.emit(&Probe{
		Round:  c.probe.no,
		Within: c.round.end.Sub(now) * 3 / 4,
		Canary: m.cfg.Probe == ProbeAuto,
	})
}

func (m *Machine) onProbe(e *ProbeResult) {
	c := &m.c
	p := &c.probe
	if p.no != e.Round || p.at == 0 {
		return
	}
	if e.Nobody && m.cfg.Probe == ProbeAuto {
		c.proxied = true
	}
	p.got = true
	p.usable = p.usable || e.Usable
	p.vip = p.vip || e.VIP
	p.neighbour = p.neighbour || e.Neighbour
	if p.vip && !c.mute.yield {
		// Somebody does answer for the address: the complaint is void.
		c.mute.clear()
	}
}

func (m *Machine) onAnswer(now vrrp.Instant, e *Answer) {
	c := &m.c
	i := m.index(e.From)
	if i < 0 || !m.listening() {
		return
	}
	var asked vrrp.Instant
	switch {
	case c.round.at != 0 && e.Nonce == c.round.nonce:
		asked = c.round.at
	case c.prev.at != 0 && e.Nonce == c.prev.nonce:
		asked = c.prev.at
	default:
		return
	}
	p := &m.members[i]
	if asked < p.asked {
		return
	}
	p.asked, p.answer = asked, *e
	switch {
	case e.Kind != UnknownKind:
		p.source, p.priority = e.Source, e.Priority
	case e.Source.IsValid():
		p.source = e.Source
	}
	p.answeredAt = now
	p.hearsAt = 0
	if e.LANHeard >= 0 {
		p.hearsAt = now.Add(-e.LANHeard)
	}
	if m.says(now, p) == sayHolding {
		m.look(now)
	}
}
