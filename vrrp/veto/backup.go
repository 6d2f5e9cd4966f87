package veto

import (
	"net/netip"
	"time"

	"github.com/keepmesh/keepmesh/vrrp"
)

// backing is the state of a Backup whose LAN may be silent.
type backing struct {
	lanAt    vrrp.Instant // last advert on the LAN, or the start of listening
	lanHeard bool
	anyAt    vrrp.Instant // last advert with a priority on either wire
	frameAt  vrrp.Instant // last foreign frame on the LAN
	holder   int          // index of the member heard last, -1 for none
	speaker  int          // index of the member whose word was weighed last, -1 for none
	other    int          // a second one, -1 for none
	said     Direction    // the direction of the last alarm
	resigned bool         // the last advert had priority 0
	foreign  netip.Addr

	open   bool // the first decision about this silence has fallen
	asking bool // a round is running
	round  round
	prev   round
	probe  probe
	before probe // the probe of the previous round
	waited bool  // the better candidate has had its interval

	proxied bool // the network answers ARP for everybody
	mute    mute

	verdict Verdict
	detail  Detail
	alarmed [ShutAlarm + 1]bool
}

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

// heard moves the timers of a Backup. A newcomer has sent no advert lately.
func (m *Machine) heard(now vrrp.Instant, i int, e *Advert, newcomer bool) {
	c := &m.c
	if e.Priority == 0 {
		// Its word is void with its resignation, whatever it answered before.
		c.resigned = true
		if i >= 0 {
			m.members[i].meshAt, m.members[i].asked = 0, 0
		}
	} else {
		c.resigned = false
		c.anyAt = now
		if i != c.holder {
			c.mute.clear()
			c.waited = false
		}
		if newcomer {
			// It took over by VRRP's rule: what the others said before is
			// void. One that holds still will say so again.
			for j := range m.members {
				if p := &m.members[j]; j != i {
					p.meshAt, p.asked = 0, 0
				}
			}
		}
		c.holder = i
	}
	if e.Wire == vrrp.LAN {
		c.lanAt, c.lanHeard = now, true
		c.frameAt = now
		m.endCase(now)
	}
}

// endCase forgets the silence: adverts are heard, or the state has changed.
func (m *Machine) endCase(now vrrp.Instant) {
	c := &m.c
	if !c.open && !c.asking && c.verdict == Unneeded {
		return
	}
	c.open, c.asking, c.waited = false, false, false
	c.round, c.prev = round{}, round{}
	c.probe, c.before = probe{}, probe{}
	c.mute.clear()
	m.setVerdict(now, Unneeded)
	c.detail = Detail{Since: now, Last: c.detail.Last, LastAt: c.detail.LastAt}
	c.alarmed = [ShutAlarm + 1]bool{}
}

func (m *Machine) onFrame(now vrrp.Instant) {
	c := &m.c
	c.frameAt = now
	if c.verdict != Deaf || !m.listening() {
		return
	}
	// The first frame ends deafness. The holder's word stands, and a fresh
	// look at the LAN says the rest.
	c.detail.Evidence = NoEvidence
	m.setVerdict(now, Vetoed)
	m.ask(now, now.Add(m.a))
}

func (m *Machine) backupDeadline() vrrp.Instant {
	c := &m.c
	var d vrrp.Instant
	if c.asking {
		d = earlier(c.round.end, c.round.again)
	}
	if at := m.askAt(); at != 0 {
		d = earlier(d, at)
	}
	if c.mute.to >= 0 {
		d = earlier(earlier(d, c.mute.until), c.mute.again)
	}
	return d
}

// askAt is when the next question falls due that no running round covers: one
// lead before the LAN timer ends.
func (m *Machine) askAt() vrrp.Instant {
	c := &m.c
	switch {
	case c.asking:
		return 0
	case c.open:
		return c.round.end // a takeover that the Router did not follow
	}
	return c.lanAt.Add(m.down() - m.lead())
}

func (m *Machine) serveBackup(now vrrp.Instant) {
	c := &m.c
	if u := &c.mute; u.to >= 0 && u.until != 0 && now >= u.until {
		v := u.outcome()
		u.clear()
		m.takeover(now, v)
		return
	} else if u.to >= 0 && u.again != 0 && now >= u.again {
		m.sendUnheard(now)
	}
	if c.asking && now >= c.round.end {
		if now.Sub(c.round.end) > m.lead() {
			// This node was asleep: its evidence is as old as its sleep.
			m.ask(now, now.Add(m.lead()))
			return
		}
		if m.decide(now) {
			return
		}
	}
	if at := m.askAt(); at != 0 && now >= at {
		end := at.Add(m.lead())
		if end <= now {
			end = now.Add(m.lead())
		}
		m.ask(now, end)
	}
	if c.asking && c.round.again != 0 && now >= c.round.again {
		m.askAgain(now)
	}
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
	asked := vrrp.Instant(0)
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
	if e.Kind != UnknownKind {
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

// onWantHold answers the Router, whose own timer has ended.
func (m *Machine) onWantHold(now vrrp.Instant, want *WantHold) {
	c := &m.c
	switch {
	case !m.listening():
		m.emit(&Permit{Reason: "no members"})
		return
	case c.resigned:
		m.emit(&Permit{Reason: "the holder resigned"})
		return
	case m.priority == vrrp.Owner:
		m.emit(&Permit{Reason: "address owner"})
		return
	case c.lanHeard && now < c.lanAt.Add(m.down()):
		m.emit(&Permit{Reason: "adverts are heard on the LAN"})
		return
	case want.Preempt:
		if _, e := m.evidence(now); e == NothingAnswers {
			m.refuse(now, Deaf, m.a)
			return
		}
		m.emit(&Permit{Reason: "preemption"})
		return
	}
	if u := &c.mute; u.to >= 0 && u.until != 0 {
		if u.yield && now < u.until {
			m.refuse(now, Mute, u.until.Sub(now))
			return
		}
		if now >= u.until {
			v := u.outcome()
			u.clear()
			m.permit(now, v)
			return
		}
	}
	v := m.weigh(now)
	if v.TakesOver() {
		m.permit(now, v)
		return
	}
	retry := m.a
	if u := &c.mute; v == Mute && u.to >= 0 && u.until != 0 {
		retry = u.until.Sub(now)
	}
	m.refuse(now, v, retry)
}

func (m *Machine) permit(now vrrp.Instant, v Verdict) {
	m.c.detail.Last, m.c.detail.LastAt = v, now
	m.emit(&Permit{Reason: v.reason()})
	m.warn(v)
}

func (m *Machine) refuse(now vrrp.Instant, v Verdict, retry time.Duration) {
	m.emit(&Refuse{Verdict: v, Retry: retry})
	m.stay(now, v)
	if !m.c.asking || now >= m.c.round.end {
		m.ask(now, now.Add(m.a))
	}
}

// decide ends a round by the machine's own timer, and reports whether it took
// over. The next round then waits for a Tick: none is wanted once Active.
func (m *Machine) decide(now vrrp.Instant) bool {
	c := &m.c
	first := !c.open
	v := m.weigh(now)
	switch {
	case !v.TakesOver():
		m.stay(now, v)
	case c.resigned, c.anyAt == c.lanAt:
		// The Router's own timer ends now or after the skew: it asks, and is
		// permitted. Nothing on the mesh holds it back.
	case v == NoAnswer && !first:
		// The holder was heard on the mesh after the LAN fell silent: the
		// Router's timer counts from there.
	default:
		m.takeover(now, v)
		return true
	}
	c.open = true
	m.ask(now, now.Add(m.a))
	return false
}

func (m *Machine) takeover(now vrrp.Instant, v Verdict) {
	m.c.open, m.c.asking = true, false
	m.c.round.end = now
	m.c.detail.Last, m.c.detail.LastAt = v, now
	m.emit(&Takeover{Reason: v.reason()})
	m.warn(v)
}

// stay keeps the Backup where it is and says why.
func (m *Machine) stay(now vrrp.Instant, v Verdict) {
	c := &m.c
	c.open = true
	if v != Mute && c.mute.to >= 0 {
		c.mute.clear()
	}
	m.setVerdict(now, v)
	m.alarms(now, v)
	if v == Mute {
		m.tell(now)
	}
}

func (m *Machine) setVerdict(now vrrp.Instant, v Verdict) {
	c := &m.c
	if c.verdict == v {
		return
	}
	m.emit(&VerdictChanged{From: c.verdict, To: v})
	c.verdict = v
	c.detail.Since = now
}
