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
	lanFrom  netip.Addr   // source of the last advert on the LAN
	holder   int          // index of the member heard last, -1 for none
	speaker  int          // index of the member whose word was weighed last, -1 for none
	other    int          // a second one, -1 for none
	said     Direction    // the direction of the last alarm
	resigned bool         // the last advert had priority 0
	foreign  netip.Addr

	open     bool // the first decision about this silence has fallen
	asking   bool // a round is running
	round    round
	prev     round
	probe    probe
	before   probe // the probe of the previous round
	deferred bool  // the Router was let go first, before the first decision
	waited   bool  // the better candidate has had its interval

	proxied bool // the network answers ARP for everybody
	mute    mute

	verdict Verdict
	detail  Detail
	alarmed [ShutAlarm + 1]bool
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
		c.lanAt, c.lanHeard, c.lanFrom = now, true, e.Source
		c.frameAt = now
		m.endCase(now)
	}
}

// endCase forgets the silence: adverts are heard, or the state has changed.
func (m *Machine) endCase(now vrrp.Instant) {
	c := &m.c
	if !c.open && !c.asking {
		return
	}
	c.open, c.asking, c.waited, c.deferred = false, false, false, false
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
		return c.round.end // the Router did not become Active
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

// decide ends a round by the machine's own timer, and reports whether the next
// round waits for another Tick: after that the Router may well be Active.
func (m *Machine) decide(now vrrp.Instant) bool {
	c := &m.c
	first := !c.open
	v := m.weigh(now)
	switch {
	case !v.TakesOver():
		if first && !c.deferred && m.members[c.speaker].priority < m.priority {
			// The Router may be about to preempt the holder: it goes first.
			c.deferred = true
			return true
		}
		m.stay(now, v)
	case c.resigned, c.anyAt == c.lanAt:
		// The Router's own timer ends now or after the skew: it asks, and is
		// permitted. Nothing on the mesh holds it back.
		m.suspend(now)
		return true
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

// suspend puts the next round off until the next Tick, which is due at once
// and not wanted any more if the Router has become Active.
func (m *Machine) suspend(now vrrp.Instant) {
	m.c.open, m.c.asking = true, false
	m.c.round.end = now
}

func (m *Machine) takeover(now vrrp.Instant, v Verdict) {
	m.suspend(now)
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
