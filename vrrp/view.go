package vrrp

import (
	"net/netip"
	"time"
)

// Heard is the last advert heard on one wire; At zero means none.
type Heard struct {
	Source   netip.Addr
	Priority uint8
	Interval time.Duration
	At       Instant
}

// Contribution is what one tracker does to an instance's priority.
type Contribution struct {
	ID     TrackerID
	State  TrackerState
	Value  int // of a Track.Value tracker
	Weight int
	Amount int  // added to the priority now
	Fault  bool // holds the instance in Fault
	Cause  string
}

// InstanceView is a copy of what a Router knows about an instance, for status.
type InstanceView struct {
	ID    InstanceID
	Name  string
	Key   Key
	Group GroupID

	State    State
	Since    Instant
	Reason   string // of the last change of state
	Source   netip.Addr
	Priority uint8 // configured
	// Effective is Priority and the sum of all Amounts, clamped to 1..254.
	Effective     uint8
	Contributions []Contribution
	Faults        []string    // every reason for Fault there is now
	Waiting       []TrackerID // what keeps the instance in Initialize

	Heard [2]Heard // by Wire
	// LearntInterval is Active_Adver_Interval.
	LearntInterval time.Duration
	SkewTime       time.Duration
	DownInterval   time.Duration

	DownAt    Instant // Backup: when the Active_Down_Timer fires
	AdvertAt  Instant // Active: the next advert
	PreemptAt Instant // end of a running preempt delay, or zero
	Wants     bool    // would be Active if its group let it
	Asked     bool    // waits for Permit
	Verdict   string  // of the last Refuse, while it stands
	Until     Instant // Active: end of the right to hold; zero: none
	Epoch     uint64
}

// GroupView is a copy of what a Router knows about a sync group.
type GroupView struct {
	ID      GroupID
	Name    string
	State   State
	Since   Instant
	Reason  string
	Members []InstanceID
}

// Instance returns the view of one instance; false where the ID names none.
func (r *Router) Instance(id InstanceID) (InstanceView, bool) {
	i := r.lookup(id)
	if i == nil {
		return InstanceView{}, false
	}
	return r.view(i), true
}

// Instances returns all views by InstanceID.
func (r *Router) Instances() []InstanceView {
	var views []InstanceView
	for _, i := range r.instances {
		if i != nil {
			views = append(views, r.view(i))
		}
	}
	return views
}

// Groups returns the sync groups by GroupID.
func (r *Router) Groups() []GroupView {
	var views []GroupView
	for _, g := range r.groups {
		if g == nil {
			continue
		}
		v := GroupView{ID: g.id, Name: g.name, State: g.state, Since: g.since, Reason: g.reason}
		for _, m := range g.members {
			v.Members = append(v.Members, m.id)
		}
		views = append(views, v)
	}
	return views
}

func (r *Router) view(i *instance) InstanceView {
	v := InstanceView{
		ID: i.id, Name: i.cfg.Name, Key: i.cfg.Key, Group: i.group.id,
		State: i.state, Since: i.since, Reason: i.reason,
		Source: i.source, Priority: i.cfg.Priority, Effective: i.priority,
		Heard: i.heard, LearntInterval: i.learnt, SkewTime: i.skew(), DownInterval: i.down(),
		PreemptAt: i.preemptAt, Wants: i.wants, Asked: i.asked, Verdict: i.verdict,
		Until: i.until, Epoch: i.epoch,
	}
	switch i.state {
	case Backup:
		v.DownAt = i.due
	case Active:
		v.AdvertAt = i.due
	case Initialize, Fault, Stopped:
	}
	if i.sourceKnown && !i.source.IsValid() {
		v.Faults = append(v.Faults, "no source address")
	}
	if i.holdFault != "" {
		v.Faults = append(v.Faults, i.holdFault)
	}
	for n := range i.tracks {
		t := &i.tracks[n]
		k := r.trackers[t.ID]
		e := t.effect(k)
		if i.owner() {
			e.amount = 0
		}
		v.Contributions = append(v.Contributions, Contribution{
			ID: t.ID, State: k.state, Value: k.value, Weight: t.Weight, Amount: e.amount, Fault: e.fault, Cause: k.cause,
		})
		if e.fault {
			v.Faults = append(v.Faults, describe(t.ID, k))
		}
		if e.unknown {
			v.Waiting = append(v.Waiting, t.ID)
		}
	}
	return v
}
