package veto

import (
	"net/netip"
	"time"

	"github.com/keepmesh/keepmesh/vrrp"
)

// saying is what a member is taken to say of itself now.
type saying uint8

const (
	sayNothing saying = iota
	sayHolding
	sayWedged
	sayLapsed
	sayUnfit
	sayUnknown
)

// advertWord is the age up to which an advert on the mesh is its sender's
// word: one interval and a quarter for jitter. In a fail-over from a healthy
// LAN the last copy is older than that when the timer ends.
func (m *Machine) advertWord() time.Duration { return m.a + m.a/4 }

// says takes the newer of a member's answer and its last advert on the mesh.
// Only an answer that it is wedged outweighs a later advert: the LAN is what
// its adverts do not reach.
func (m *Machine) says(now vrrp.Instant, p *member) saying {
	answered := p.asked != 0 && now.Sub(p.asked) <= m.recent()
	wedged := answered && p.answer.Kind == Holding && (p.answer.AdvertAge < 0 || p.answer.AdvertAge > 2*m.a)
	advertised := p.meshAt != 0 && now.Sub(p.meshAt) <= m.advertWord() && m.speaksLate(p)
	switch {
	case wedged:
		return sayWedged
	case advertised && (!answered || p.meshAt > p.answeredAt):
		return sayHolding
	case !answered:
		return sayNothing
	}
	switch p.answer.Kind {
	case Holding:
		return sayHolding
	case NotHolding:
		return sayLapsed
	case UnfitKind:
		return sayUnfit
	case UnknownKind:
	}
	return sayUnknown
}

// speaksLate tells an advert on the mesh that the LAN lost from the copy of the
// last one that the LAN brought.
func (m *Machine) speaksLate(p *member) bool {
	return p.meshAt.Sub(m.c.lanAt) > m.a/2 || !m.c.lanHeard
}

// anyWord reports whether some member is taken to hold.
func (m *Machine) anyWord(now vrrp.Instant) bool {
	for i := range m.members {
		if m.says(now, &m.members[i]) == sayHolding {
			return true
		}
	}
	return false
}

// weigh is the table: the verdict on a silent LAN, from what the members said
// and what the LAN answered.
func (m *Machine) weigh(now vrrp.Instant) Verdict {
	c := &m.c
	first, second := -1, -1
	for i := range m.members {
		if m.says(now, &m.members[i]) != sayHolding {
			continue
		}
		if first < 0 {
			first = i
		} else if second < 0 {
			second = i
		}
	}
	if first < 0 {
		return m.weighSilent(now)
	}
	c.speaker, c.other = first, second
	c.detail.LANSilent = now.Sub(c.lanAt)
	c.detail.Direction = m.direction(now, first)
	look, evidence := m.evidence(now)
	c.detail.Evidence = evidence
	c.waited = false
	if second >= 0 {
		return TwoHolders
	}
	c.holder = first
	switch evidence {
	case NeighbourAnswers:
		// A holder that has not spoken since the look at the LAN began may be
		// paused as a whole. It is mute if it speaks and is not heard.
		if p := &m.members[first]; max(p.meshAt, p.answeredAt) >= look {
			return Mute
		}
	case NothingAnswers:
		return Deaf
	case NoEvidence, VIPAnswers:
	}
	return Vetoed
}

// weighSilent is the table's lower half: no member is taken to hold.
func (m *Machine) weighSilent(now vrrp.Instant) Verdict {
	c := &m.c
	if c.holder < 0 && c.lanFrom.IsValid() {
		// Its address was learnt after its last advert, from its answer.
		c.holder = m.bySource(c.lanFrom)
	}
	said := -1
	for i := range m.members {
		if m.says(now, &m.members[i]) == sayWedged {
			said = i
		}
	}
	if c.holder >= 0 && m.says(now, &m.members[c.holder]) != sayNothing {
		said = c.holder
	}
	if said < 0 {
		return NoAnswer
	}
	c.speaker = said
	p := &m.members[said]
	switch m.says(now, p) {
	case sayWedged:
		return Wedged
	case sayUnfit:
		return Unfit
	case sayUnknown:
		return UnknownInstance
	case sayLapsed:
		if p.answer.Candidate && !c.waited && outranks(p.answer.Priority, p.answer.Source, m.priority, m.source) {
			c.waited = true
			return Waiting
		}
		return Lapsed
	case sayNothing, sayHolding:
	}
	return NoAnswer
}

// outranks compares (priority, address), RFC 9568 section 6.4.3.
func outranks(priority uint8, source netip.Addr, other uint8, otherSource netip.Addr) bool {
	if priority != other {
		return priority > other
	}
	return source.Compare(otherSource) > 0
}

// evidence reads the probe of this round, or of the last one while this one
// has no result yet, and says when that look at the LAN began.
func (m *Machine) evidence(now vrrp.Instant) (vrrp.Instant, LANEvidence) {
	c := &m.c
	if m.cfg.Probe == ProbeOff || c.proxied {
		return 0, NoEvidence
	}
	p := &c.probe
	if !p.got {
		p = &c.before
	}
	if !p.got || !p.usable || now.Sub(p.at) > 2*m.a {
		return 0, NoEvidence
	}
	switch {
	case p.vip:
		return p.at, VIPAnswers
	case p.neighbour:
		return p.at, NeighbourAnswers
	case c.frameAt >= p.at:
		// Frames come in and our questions go unanswered: what is silent may
		// be our own sending, so this says nothing of the holder.
		return p.at, NoEvidence
	}
	return p.at, NothingAnswers
}

// direction compares what this node heard of the holder on the LAN with what
// the other members heard.
func (m *Machine) direction(now vrrp.Instant, holder int) Direction {
	d := OneWay
	for i := range m.members {
		p := &m.members[i]
		if i == holder || p.asked == 0 || now.Sub(p.asked) > m.recent() || p.answer.Kind != NotHolding {
			continue
		}
		if p.hearsAt != 0 && p.hearsAt.Sub(m.c.lanAt) > m.a/2 {
			return DeafToHolder
		}
		d = MuteHolder
	}
	return d
}

// alarms says once per silence what an operator must know of it.
func (m *Machine) alarms(now vrrp.Instant, v Verdict) {
	c := &m.c
	d := &c.detail
	switch v {
	case Vetoed, Mute:
		if c.said != d.Direction {
			c.alarmed[DirectionAlarm] = false
		}
		c.said = d.Direction
		m.alarm(&Alarm{Kind: DirectionAlarm, Node: m.holderID(), Direction: d.Direction})
	case Deaf:
		m.alarm(&Alarm{Kind: DeafAlarm, Node: m.holderID()})
	case TwoHolders:
		if c.other >= 0 {
			m.alarm(&Alarm{Kind: TwoHoldersAlarm, Node: m.members[c.speaker].id, Other: m.members[c.other].id})
		}
	case Unneeded, Waiting, Wedged, Unfit, Lapsed, UnknownInstance, Yielded, NoReply, NoAnswer:
	}
	if p := c.holder; p >= 0 && v != TwoHolders {
		silent := m.members[p].asked == 0 || now.Sub(m.members[p].asked) > m.recent()
		if silent && m.says(now, &m.members[p]) == sayHolding {
			m.alarm(&Alarm{Kind: HolderUnreachable, Node: m.members[p].id})
		}
	}
}

func (m *Machine) warn(v Verdict) {
	if v == UnknownInstance && m.c.speaker >= 0 {
		m.alarm(&Alarm{Kind: ConfigDiffers, Node: m.members[m.c.speaker].id})
	}
}

func (m *Machine) alarm(a *Alarm) {
	if m.c.alarmed[a.Kind] {
		return
	}
	m.c.alarmed[a.Kind] = true
	a.Self = m.cfg.Self
	m.emit(a)
}
