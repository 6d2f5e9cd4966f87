package vrrp

import (
	"fmt"
	"net/netip"
)

// becomeActive takes the group to Active, first the member whose timer fired
// (RFC 9568 section 6.4.2, the timer fires): each sends its advert before it
// takes its addresses, because the old Active router must let them go before
// they are announced.
func (r *Router) becomeActive(now Instant, g *group, first *instance, reason string) {
	from := g.state
	for m := range g.startingWith(first) {
		// Into a group that is Active already a reload has brought members,
		// each of which follows by its own timer.
		if m.state == Active || (from == Active && m != first) {
			continue
		}
		was := m.state
		m.settled(now, Active, reason)
		m.wants = true
		m.verdict = ""
		m.learnt = m.cfg.AdvertInterval
		m.sentAt = now
		m.due = now.Add(m.cfg.AdvertInterval)
		r.emit(&SendAdvert{Instance: m.id, Priority: m.priority})
		r.emit(&Hold{Instance: m.id})
		a := &m.cfg.Announce
		if a.Repeat > 0 {
			r.emit(&Announce{Instance: m.id, Repeat: a.Repeat})
			m.announceAt = later(now, a.Delay)
		}
		m.refreshAt = later(now, a.Refresh)
		r.emit(&StateChanged{Instance: m.id, From: was, To: Active, Priority: m.priority, Reason: reason})
		r.timers.sooner(m)
	}
	r.groupMoved(now, g, from, Active, reason)
}

// activeAdvert is RFC 9568 section 6.4.3, an ADVERTISEMENT in Active.
func (r *Router) activeAdvert(now Instant, i *instance, ev *Advert, source netip.Addr, copied bool) {
	order := int(ev.Priority) - int(i.priority)
	if order == 0 {
		order = source.Compare(i.source)
	}
	if i.priority == Owner && ev.Priority == Owner && order != 0 && !copied {
		r.ownersMeet(now, i, ev, source, order)
		if i.priority < Owner {
			order = 1
		}
	}
	switch {
	// Priority zero: send an advert at once and reset the Adver_Timer.
	case ev.Priority == 0:
		if !copied {
			r.sendAdvert(now, i)
		}

	// Not in the RFC: a second router with our own address and priority. Both
	// would stay, so say it.
	case order == 0:
		if !copied {
			i.note = Note{Instance: i.id, Kind: SameAddress, Wire: ev.Wire, Priority: ev.Priority, Source: plain(ev.Source)}
			r.emit(&i.note)
		}

	// A greater priority, or the same and a greater address: yield,
	// without priority zero. keepalived's higher_prio_send_advert sends one
	// more advert first.
	case order > 0:
		if i.cfg.HigherPrioSendAdvert {
			r.emit(&SendAdvert{Instance: i.id, Priority: i.priority})
		}
		r.learn(i, ev)
		reason := fmt.Sprintf("%s has priority %d, ours is %d", source, ev.Priority, i.priority)
		if ev.Priority == i.priority {
			reason = fmt.Sprintf("%s has our priority %d and the higher address", source, ev.Priority)
		}
		r.leave(now, i.group, i, Backup, silent, reason)

	// Otherwise assert the Active state.
	default:
		if !copied {
			r.rejectLower(now, i, ev)
		}
	}
}

// rejectLower answers a lower-priority Active router: an advert, and the
// addresses announced again, since the other may have announced them as its
// own. In a sync group every member that is told to does.
func (r *Router) rejectLower(now Instant, i *instance, ev *Advert) {
	if !i.cfg.LowerPrioNoAdvert {
		r.sendAdvert(now, i)
	}
	for m := range i.group.startingWith(i) {
		a := &m.cfg.Announce
		if a.LowerPrioRepeat > 0 && m.state == Active {
			m.announce = Announce{Instance: m.id, Repeat: a.LowerPrioRepeat}
			r.emit(&m.announce)
			m.lowerAt = later(now, a.LowerPrioDelay)
			r.timers.sooner(m)
		}
	}
	i.note = Note{Instance: i.id, Kind: LowerPriorityRejected, Wire: ev.Wire, Priority: ev.Priority, Source: plain(ev.Source)}
	r.emit(&i.note)
}

// sendAdvert sends one advert out of turn and resets the Adver_Timer.
func (r *Router) sendAdvert(now Instant, i *instance) {
	i.advert = SendAdvert{Instance: i.id, Priority: i.priority}
	r.emit(&i.advert)
	i.sentAt = now
	i.due = now.Add(i.cfg.AdvertInterval)
}

// adverTimerExpired is RFC 9568 section 6.4.3, the Adver_Timer fires. The next advert is due
// one interval after this one was, so that lateness does not add up; after a
// pause of more than one interval there is nothing to catch up with.
func (r *Router) adverTimerExpired(now Instant, i *instance) {
	i.advert = SendAdvert{Instance: i.id, Priority: i.priority}
	r.emit(&i.advert)
	i.sentAt = now
	i.rogueAnswered(now)
	i.due = i.due.Add(i.cfg.AdvertInterval)
	if i.due <= now {
		i.due = now.Add(i.cfg.AdvertInterval)
	}
}

// reannounce does what is due of the second sets and the refresh.
func (r *Router) reannounce(now Instant, i *instance) {
	a := &i.cfg.Announce
	if due(i.announceAt, now) {
		i.announceAt = 0
		r.emit(&Announce{Instance: i.id, Repeat: a.Repeat})
	}
	if due(i.lowerAt, now) {
		i.lowerAt = 0
		r.emit(&Announce{Instance: i.id, Repeat: a.LowerPrioRepeat})
	}
	if due(i.refreshAt, now) {
		i.refreshAt = now.Add(a.Refresh)
		i.announce = Announce{Instance: i.id, Repeat: max(a.RefreshRepeat, 1)}
		r.emit(&i.announce)
	}
}
