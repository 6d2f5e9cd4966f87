package vrrp

import "iter"

// group is what changes state together: a sync group, or one instance alone,
// which is a group of its own that nobody is told about.
type group struct {
	id      GroupID // NoGroup for a lone instance
	name    string
	members []*instance
	state   State
	since   Instant
	reason  string
}

// startingWith goes through the members, first at the head and the others in the
// order of the configuration.
func (g *group) startingWith(first *instance) iter.Seq[*instance] {
	return func(yield func(*instance) bool) {
		if !yield(first) {
			return
		}
		for _, m := range g.members {
			if m != first && !yield(m) {
				return
			}
		}
	}
}

// ready says whether i may become Active: the group is Active already, or
// every other member wants to be (keepalived prefers Backup otherwise, so that
// a group does not flap).
func (g *group) ready(i *instance) bool {
	if g.state == Active {
		return true
	}
	for _, m := range g.members {
		if m != i && !m.wants {
			return false
		}
	}
	return true
}

// asks says whether the right to hold must be asked for.
func (g *group) asks() bool {
	for _, m := range g.members {
		if m.cfg.AskPermit {
			return true
		}
	}
	return false
}

func (g *group) asker() *instance {
	for _, m := range g.members {
		if m.asked {
			return m
		}
	}
	return nil
}

func (g *group) unask() {
	for _, m := range g.members {
		m.asked = false
	}
}

func (g *group) owner() bool {
	for _, m := range g.members {
		if !m.owner() {
			return false
		}
	}
	return true
}

// resigning says how many adverts of priority 0 an Active member sends when it
// leaves.
type resigning struct{ first, others int }

var (
	silent = resigning{}
	once   = resigning{1, 1}
	// In keepalived the member whose own fault it is sends one for the change
	// of state and one for letting its addresses go; receivers only see their
	// Skew_Time start twice.
	ownFault = resigning{2, 1}
)

// leave takes every member of the group to a state below Active.
func (r *Router) leave(now Instant, g *group, first *instance, to State, zero resigning, reason string) {
	from := g.state
	for m := range g.startingWith(first) {
		times := zero.others
		if m == first {
			times = zero.first
		}
		for ; m.state == Active && times > 0; times-- {
			r.emit(&SendAdvert{Instance: m.id})
		}
	}
	for m := range g.startingWith(first) {
		// What a dead run left is removed with the first state.
		if m.state == Active || (m.state == Initialize && to != Stopped && !r.staysOut(m, to)) {
			r.emit(&Release{Instance: m.id})
		}
	}
	// keepalived tells of a group before its members at the start, and after
	// them from then on.
	starts := from == Initialize && to == Backup
	if starts {
		r.groupMoved(now, g, from, to, reason)
	}
	for m := range g.startingWith(first) {
		if m.state == to {
			m.wants, m.asked = false, false
			continue
		}
		if r.staysOut(m, to) {
			continue
		}
		was := m.state
		m.settled(now, to, reason)
		if was != Active {
			m.learnt = m.cfg.AdvertInterval
		}
		if to == Backup {
			m.due = max(now, r.openAt).Add(m.down())
			r.timers.sooner(m)
		}
		r.emit(&StateChanged{Instance: m.id, From: was, To: to, Priority: m.priority, Reason: reason})
	}
	if !starts {
		r.groupMoved(now, g, from, to, reason)
	}
}

// staysOut says whether a member that a reload brought is not ready yet to
// follow its group to Backup.
func (r *Router) staysOut(m *instance, to State) bool {
	return to == Backup && m.state == Initialize && r.waiting(m)
}

func (r *Router) groupMoved(now Instant, g *group, from, to State, reason string) {
	if from == to {
		return
	}
	g.state, g.since, g.reason = to, now, reason
	if g.id != NoGroup {
		r.emit(&GroupChanged{Group: g.id, From: from, To: to, Reason: reason})
	}
}

// settle brings the group to the state that its members' conditions ask for:
// one fault takes all to Fault; all leave Initialize or Fault together once no
// fault is left and everything needed is known. Members that a reload added to a
// group which is up enter Backup one by one and follow by their own timer.
func (r *Router) settle(now Instant, g *group) {
	if !r.open || g.state == Stopped {
		return
	}
	waiting, down := false, 0
	for _, m := range g.members {
		if fault := r.fault(m); fault != "" {
			r.becomeFault(now, g, m, fault)
			return
		}
		if !m.up() {
			down++
			waiting = waiting || r.waiting(m)
		}
	}
	switch {
	case down == 0:
	case down < len(g.members):
		r.enterBackup(now, g)
	case !waiting:
		r.startup(now, g)
	}
}

func (r *Router) becomeFault(now Instant, g *group, first *instance, reason string) {
	for _, m := range g.members {
		if m.state != Fault {
			r.leave(now, g, first, Fault, ownFault, reason)
			return
		}
	}
	first.reason = reason
}

// startup is RFC 9568 section 6.4.1. The address owner becomes Active at once,
// everybody else Backup with the full Active_Down_Timer, whatever
// `state MASTER` may say. After a fault keepalived sends the owner to Backup
// as well, so that a condition that comes and goes does not tear the address
// to and fro; so do we.
func (r *Router) startup(now Instant, g *group) {
	reason := "startup"
	recovered := g.state == Fault
	if recovered {
		reason = "fault cleared"
	}
	first := g.members[0]
	if recovered || !g.owner() {
		r.leave(now, g, first, Backup, silent, reason)
		return
	}
	if r.delayed(now) {
		r.leave(now, g, first, Backup, silent, reason)
		for _, m := range g.members {
			m.wants, m.due = true, r.openAt
			r.timers.sooner(m)
		}
		return
	}
	if !g.asks() {
		r.becomeActive(now, g, first, "address owner")
		return
	}
	r.leave(now, g, first, Backup, silent, reason)
	for _, m := range g.members {
		m.wants = true
	}
	r.downTimerExpired(now, first, false, "address owner")
}

// enterBackup takes those members to Backup that are not up and know what they
// must, leaving the others as they are.
func (r *Router) enterBackup(now Instant, g *group) {
	const reason = "startup"
	for _, m := range g.members {
		if m.up() || r.waiting(m) {
			continue
		}
		was := m.state
		if was == Initialize {
			r.emit(&Release{Instance: m.id})
		}
		m.settled(now, Backup, reason)
		m.learnt = m.cfg.AdvertInterval
		m.due = max(now, r.openAt).Add(m.down())
		r.timers.sooner(m)
		r.emit(&StateChanged{Instance: m.id, From: was, To: Backup, Priority: m.priority, Reason: reason})
	}
}
