package vrrp

import "strconv"

// tracker is what is known of one tracked condition.
type tracker struct {
	state    TrackerState
	value    int
	cause    string
	number   bool // a Track.Value tracker: value is what counts
	watchers []*instance
}

// effect is what one tracker does to one instance.
type effect struct {
	amount  int  // added to the priority
	fault   bool // holds the instance in Fault
	unknown bool // holds it in Initialize
}

// The range of one number's contribution: at or below the lower end the
// instance goes to Fault.
const (
	minContribution = -254
	maxContribution = 253
)

// effect follows keepalived: a positive weight counts while the condition is
// up, a negative one while it is down; reverse negates the amount, and for
// weight 0 the condition. What is not known counts nothing, and holds the
// instance back only where it could put it into Fault.
func (t *Track) effect(k *tracker) effect {
	if k == nil || k.state == Unknown {
		return effect{unknown: t.Weight == 0}
	}
	if t.Value {
		return t.valueEffect(k.value)
	}
	amount := t.Weight
	if t.Reverse {
		amount = -amount
	}
	switch {
	case t.Weight == 0:
		return effect{fault: (k.state == Down) != t.Reverse}
	case (t.Weight > 0) == (k.state == Up):
		return effect{amount: amount}
	}
	return effect{}
}

func (t *Track) valueEffect(value int) effect {
	if t.Weight == 0 {
		return effect{fault: (value != 0) != t.Reverse}
	}
	// The value is clamped first so that no file can overflow the product.
	amount := min(max(value, -1<<20), 1<<20) * t.Weight
	if t.Reverse {
		amount = -amount
	}
	if amount <= minContribution {
		return effect{fault: true}
	}
	return effect{amount: min(amount, maxContribution)}
}

// effectivePriority is the configured priority and the sum of all weights,
// between 1 and 254; an owner's never changes, unless it has conceded to another.
func (r *Router) effectivePriority(i *instance) uint8 {
	if i.owner() {
		if i.rogue.to.IsValid() {
			return Owner - 1
		}
		return Owner
	}
	sum := int(i.cfg.Priority)
	for n := range i.tracks {
		t := &i.tracks[n]
		sum += t.effect(r.trackers[t.ID]).amount
	}
	return uint8(min(max(sum, 1), Owner-1))
}

// reprioritise takes a changed sum over. A running Active_Down_Timer moves by
// the difference of the two down intervals, so that a router which rises above
// the Active one takes over when its own timer ends.
func (r *Router) reprioritise(i *instance, reason string) {
	to := r.effectivePriority(i)
	if to == i.priority {
		return
	}
	from, before := i.priority, i.down()
	i.priority = to
	if i.state == Backup {
		i.due = i.due.Add(i.down() - before)
		r.timers.sooner(i)
	}
	if r.open {
		r.emit(&PriorityChanged{Instance: i.id, From: from, To: to, Reason: reason})
	}
}

// fault is the first reason for which the instance must be in Fault, or empty.
func (r *Router) fault(i *instance) string {
	if i.sourceKnown && !i.source.IsValid() {
		return "no source address"
	}
	if i.holdFault != "" {
		return i.holdFault
	}
	for n := range i.tracks {
		t := &i.tracks[n]
		if k := r.trackers[t.ID]; t.effect(k).fault {
			return describe(t.ID, k)
		}
	}
	return ""
}

// waiting says whether something is still unknown that the instance must know
// before it may leave Initialize.
func (r *Router) waiting(i *instance) bool {
	if !i.sourceKnown {
		return true
	}
	for n := range i.tracks {
		t := &i.tracks[n]
		if t.effect(r.trackers[t.ID]).unknown {
			return true
		}
	}
	return false
}

func describe(id TrackerID, k *tracker) string {
	text := string(id) + " is up"
	switch {
	case k.state == Unknown:
		text = string(id) + " is unknown"
	case k.number:
		text = string(id) + " is " + strconv.Itoa(k.value)
	case k.state == Down:
		text = string(id) + " is down"
	}
	if k.cause == "" {
		return text
	}
	return text + ": " + k.cause
}

func (r *Router) stepTracker(now Instant, ev *TrackerChanged) {
	k := r.trackers[ev.ID]
	if k == nil {
		k = &tracker{}
		r.trackers[ev.ID] = k
	}
	if k.state == ev.State && k.value == ev.Value {
		k.cause = ev.Cause
		return
	}
	k.state, k.value, k.cause = ev.State, ev.Value, ev.Cause
	reason := describe(ev.ID, k)
	for _, i := range k.watchers {
		r.reprioritise(i, reason)
	}
	for _, i := range k.watchers {
		r.settle(now, i.group)
	}
}
