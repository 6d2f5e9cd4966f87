package vrrp

import (
	"fmt"
	"net/netip"
	"time"
)

// backupAdvert is RFC 9568 section 6.4.2, an ADVERTISEMENT in Backup, with
// keepalived's preempt_delay and sync groups.
func (r *Router) backupAdvert(now Instant, i *instance, ev *Advert, source netip.Addr, copied bool) {
	r.reclaim(i, ev, source)
	switch {
	// Priority zero: set the Active_Down_Timer to Skew_Time. The copy on
	// the other wire must not set it back.
	case ev.Priority == 0:
		i.resigned = true
		if !copied {
			i.due = now.Add(i.skew())
		}

	// Preempt_Mode false, or a priority not below ours: restart the
	// Active_Down_Timer. A preempt delay that has not passed counts as
	// Preempt_Mode false.
	case i.cfg.NoPreempt || ev.Priority >= i.priority || i.delaying(now):
		r.accept(now, i, ev)

	// Otherwise discard: the timer runs on, and its end preempts.
	default:
		i.lower = Heard{Source: source, Priority: ev.Priority, Interval: ev.Interval, At: now}
		if !copied {
			i.note = Note{Instance: i.id, Kind: LowerPriorityDiscarded, Wire: ev.Wire, Priority: ev.Priority, Source: plain(ev.Source)}
			r.emit(&i.note)
		}
	}
	r.timers.sooner(i)
}

// delaying says whether preemption is being delayed: the clock starts with the
// first lower-priority advert.
func (i *instance) delaying(now Instant) bool {
	return i.cfg.PreemptDelay > 0 && (i.preemptAt == 0 || i.preemptAt > now)
}

// accept restarts the Active_Down_Timer for an advert that keeps the instance
// in Backup.
func (r *Router) accept(now Instant, i *instance, ev *Advert) {
	r.learn(i, ev)
	i.due = now.Add(i.down())
	i.resigned = false
	i.verdict = ""
	switch {
	case ev.Priority >= i.priority:
		i.preemptAt = 0
	case i.cfg.PreemptDelay > 0 && i.preemptAt == 0 && !i.cfg.NoPreempt:
		i.preemptAt = now.Add(i.cfg.PreemptDelay)
		r.emit(&Note{Instance: i.id, Kind: PreemptDelayed, Wire: ev.Wire, Priority: ev.Priority, Source: plain(ev.Source)})
	}
	if i.wants {
		i.wants = false
		i.group.unask()
	}
	// A reload may have put this instance into a group that holds its
	// addresses elsewhere; somebody else being Active for it decides.
	if i.group.state == Active {
		r.leave(now, i.group, i, Backup, silent, fmt.Sprintf("%s hears an advert of priority %d", i.cfg.Name, ev.Priority))
	}
}

// downTimerExpired is RFC 9568 section 6.4.2: the Active_Down_Timer has
// fired. The instance becomes Active with its group, where every other member
// wants it too, and where the right to hold is given.
func (r *Router) downTimerExpired(now Instant, i *instance, permitted bool, reason string) {
	i.wants = true
	g := i.group
	if !g.ready(i) {
		i.asked = false
		i.due = now.Add(i.down())
		i.note = Note{Instance: i.id, Kind: GroupNotReady}
		r.emit(&i.note)
		r.timers.sooner(i)
		return
	}
	if !permitted && g.asks() {
		i.asked = true
		// Asked again if the answer is lost.
		i.due = now.Add(i.skew())
		r.emit(&WantHold{Instance: i.id, Group: g.id, Preempt: i.preempting(now)})
		r.timers.sooner(i)
		return
	}
	r.becomeActive(now, g, i, reason)
}

// preempting says whether a lower-priority Active router is being heard.
func (i *instance) preempting(now Instant) bool {
	return i.lower.At != 0 && now.Sub(i.lower.At) <= i.down()
}

// expiryReason says in words why the Active_Down_Timer ran out.
func (i *instance) expiryReason(now Instant) string {
	last := i.lastHeard()
	switch {
	case i.preempting(now):
		return fmt.Sprintf("priority %d is above %d of %s", i.priority, i.lower.Priority, i.lower.Source)
	case i.resigned:
		return fmt.Sprintf("%s resigned", last.Source)
	case last.At < i.since:
		return fmt.Sprintf("no advert heard for %s", now.Sub(i.since).Round(time.Millisecond))
	}
	return fmt.Sprintf("no advert from %s for %s", last.Source, now.Sub(last.At).Round(time.Millisecond))
}

// lastHeard is the newer of the last adverts on the two wires.
func (i *instance) lastHeard() *Heard {
	if i.heard[Mesh].At > i.heard[LAN].At {
		return &i.heard[Mesh]
	}
	return &i.heard[LAN]
}
