package vrrp

import "time"

// Router owns every instance, every sync group and every tracked condition of
// a node. It is not safe for concurrent use: its shell calls it from one
// goroutine.
type Router struct {
	instances []*instance // by InstanceID; nil where none
	groups    []*group    // sync groups by GroupID; nil where none
	units     []*group    // sync groups and lone instances, in the order of the configuration
	trackers  map[TrackerID]*tracker
	timers    timers
	startup0  time.Duration

	started bool
	openAt  Instant // end of the startup delay; zero: none pending
	open    bool    // started, and not stopped
	stopped bool

	generation uint64
	out        []Action
}

// New returns a Router without instances; Prepare and Commit give it some, and
// the event Start opens it.
func New() *Router {
	return &Router{trackers: make(map[TrackerID]*tracker)}
}

func (r *Router) emit(a Action) { r.out = append(r.out, a) }

// later is now+d, or never where d is not positive.
func later(now Instant, d time.Duration) Instant {
	if d <= 0 {
		return 0
	}
	return now.Add(d)
}

func due(at, now Instant) bool { return at != 0 && at <= now }

// Step takes one event at the instant now and returns what must be done, in
// order. Now must not go back from one call to the next, and must not be zero.
// Events about an instance that does not exist are ignored: they may have
// crossed a reload. The slice returned and what it points to are valid until
// the next call of Step or Commit.
func (r *Router) Step(now Instant, event Event) []Action {
	r.out = r.out[:0]
	if r.stopped {
		return r.out
	}
	switch ev := event.(type) {
	case *Advert:
		r.stepAdvert(now, ev)
	case *Tick:
		r.stepTick(now)
	case *Start:
		r.stepStart(now)
	case *TrackerChanged:
		r.stepTracker(now, ev)
	case *SourceChanged:
		if i := r.lookup(ev.Instance); i != nil {
			i.setSource(ev.Source)
			i.sourceKnown = true
			r.settle(now, i.group)
		}
	case *Permit:
		if i := r.lookup(ev.Instance); i != nil {
			r.stepPermit(now, i.group, ev)
		}
	case *Refuse:
		if i := r.lookup(ev.Instance); i != nil {
			r.stepRefuse(now, i.group, ev)
		}
	case *Revoke:
		if i := r.lookup(ev.Instance); i != nil {
			r.revoke(now, i, ev.Reason)
		}
	case *Takeover:
		if i := r.lookup(ev.Instance); i != nil && i.state == Backup && !r.delayed(now) {
			r.downTimerExpired(now, i, true, ev.Reason)
		}
	case *AddressLost:
		if i := r.lookup(ev.Instance); i != nil && i.state == Active {
			r.addressLost(now, i, ev.What)
		}
	case *HoldFailed:
		if i := r.lookup(ev.Instance); i != nil && i.state == Active {
			r.holdFailed(now, i, ev)
		}
	case *Stop:
		r.stepStop(now)
	}
	return r.out
}

// Deadline is the instant at which the Router wants a Tick; false means that
// it waits for events alone. It may be earlier than needed, because an advert
// moves a timer without touching the order of all timers: such a Tick returns
// no action and publishes the true instant. It is never later than needed.
func (r *Router) Deadline() (Instant, bool) {
	d := never
	if r.openAt != 0 {
		d = r.openAt
	}
	if len(r.timers) > 0 && r.timers[0].key < d {
		d = r.timers[0].key
	}
	if d == never || r.stopped {
		return 0, false
	}
	return d, true
}

func (r *Router) lookup(id InstanceID) *instance {
	if id < 0 || int(id) >= len(r.instances) {
		return nil
	}
	return r.instances[id]
}

func (r *Router) stepStart(now Instant) {
	if r.started {
		return
	}
	r.started, r.open = true, true
	r.openAt = later(now, r.startup0)
	for _, g := range r.units {
		r.settle(now, g)
	}
}

func (r *Router) stepAdvert(now Instant, ev *Advert) {
	i := r.lookup(ev.Instance)
	if i == nil || ev.Wire > Mesh || r.delayed(now) {
		return
	}
	source := plain(ev.Source)
	copied := i.repeated(now, ev, source)
	i.heard[ev.Wire] = Heard{Source: source, Priority: ev.Priority, Interval: ev.Interval, At: now}
	r.overslept(now, i)
	switch i.state {
	case Backup:
		r.backupAdvert(now, i, ev, source, copied)
	case Active:
		r.activeAdvert(now, i, ev, source, copied)
	case Initialize, Fault, Stopped:
		// RFC 9568 section 6.4.1: nothing is answered before Startup.
	}
}

// delayed says whether the startup delay is running.
func (r *Router) delayed(now Instant) bool { return r.openAt > now }

// stepTick serves every timer that has run out. Each turn moves the top's next
// deadline beyond now or to never, so the loop ends.
func (r *Router) stepTick(now Instant) {
	if due(r.openAt, now) {
		r.openAt = 0
	}
	for len(r.timers) > 0 && r.timers[0].key <= now {
		i := r.timers[0]
		if i.next() <= now {
			r.fire(now, i)
		}
		// Serving it may have put another instance on top.
		if r.timers[0] == i {
			r.timers.refresh()
		} else {
			r.timers.sooner(i)
		}
	}
}

func (r *Router) fire(now Instant, i *instance) {
	if due(i.until, now) {
		r.revoke(now, i, "the right to hold has ended")
		return
	}
	if r.overslept(now, i) {
		return
	}
	if due(i.retryAt, now) {
		i.retryAt, i.holdFault = 0, ""
		r.settle(now, i.group)
	}
	switch i.state {
	case Backup:
		if due(i.due, now) {
			r.downTimerExpired(now, i, false, i.expiryReason(now))
		}
	case Active:
		if due(i.due, now) {
			r.adverTimerExpired(now, i)
		}
		r.reannounce(now, i)
	case Initialize, Fault, Stopped:
	}
}

// stepPermit lets a group become Active that has asked, and moves the end of
// the right of one that is. A permit that nobody waits for any more is void:
// the advert that made it so may be the new holder's.
func (r *Router) stepPermit(now Instant, g *group, ev *Permit) {
	if ev.Until != 0 && ev.Until <= now {
		return
	}
	if a := g.asker(); a != nil && g.ready(a) {
		r.becomeActive(now, g, a, a.expiryReason(now))
	}
	for _, m := range g.members {
		if m.state == Active {
			m.until, m.epoch = ev.Until, ev.Epoch
			r.timers.sooner(m)
		}
	}
}

// stepRefuse keeps the asker in Backup until Retry, or a whole
// Active_Down_Interval where no Retry is given.
func (r *Router) stepRefuse(now Instant, g *group, ev *Refuse) {
	a := g.asker()
	if a == nil {
		return
	}
	g.unask()
	a.verdict = ev.Verdict
	wait := ev.Retry
	if wait <= 0 {
		wait = a.down()
	}
	a.due = now.Add(wait)
	r.timers.sooner(a)
}

// revoke takes the right away: priority 0 once, so that the successor waits
// its Skew_Time only.
func (r *Router) revoke(now Instant, i *instance, reason string) {
	g := i.group
	g.unask()
	for _, m := range g.members {
		if m.state == Active {
			r.leave(now, g, i, Backup, once, reason)
			return
		}
	}
}

// addressLost follows keepalived: the group resigns and comes back after
// Skew_Time unless somebody else takes over.
func (r *Router) addressLost(now Instant, i *instance, what string) {
	r.leave(now, i.group, i, Backup, once, what+" was deleted")
	for _, m := range i.group.members {
		if m.state == Backup {
			m.due = now.Add(m.skew())
			r.timers.sooner(m)
		}
	}
}

func (r *Router) holdFailed(now Instant, i *instance, ev *HoldFailed) {
	i.holdFault = ev.Reason
	if i.holdFault == "" {
		i.holdFault = "the kernel refused the addresses"
	}
	wait := ev.Retry
	if wait <= 0 {
		wait = i.down()
	}
	r.settle(now, i.group)
	i.retryAt = now.Add(wait)
	r.timers.sooner(i)
}

func (r *Router) stepStop(now Instant) {
	for _, g := range r.units {
		r.leave(now, g, g.members[0], Stopped, once, "stopped")
	}
	r.open, r.openAt, r.stopped = false, 0, true
}
