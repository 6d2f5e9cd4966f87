package vrrp

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Plan is a checked configuration, ready for Commit.
type Plan struct {
	// IDs names each instance of Config.Instances, in its order.
	IDs                  []InstanceID
	Kept, Added, Removed []InstanceID
	// GroupIDs names each group of Config.Groups, in its order.
	GroupIDs []GroupID

	cfg        Config
	generation uint64
}

// Prepare checks the whole configuration and gives out identities: an instance
// whose Key is known keeps its own. It changes nothing, and keeps no reference
// to cfg. The error joins everything found. IDs of instances to be removed are
// not given out again by the same Plan.
func (r *Router) Prepare(cfg Config) (*Plan, error) {
	if err := validate(&cfg); err != nil {
		return nil, err
	}
	p := &Plan{cfg: clone(cfg), generation: r.generation}
	known := make(map[Key]InstanceID)
	for _, i := range r.instances {
		if i != nil {
			known[i.cfg.Key] = i.id
		}
	}
	var free InstanceID
	for n := range cfg.Instances {
		key := cfg.Instances[n].Key
		id, kept := known[key]
		if kept {
			delete(known, key)
			p.Kept = append(p.Kept, id)
		} else {
			for r.lookup(free) != nil {
				free++
			}
			id = free
			free++
			p.Added = append(p.Added, id)
		}
		p.IDs = append(p.IDs, id)
	}
	for _, id := range known {
		p.Removed = append(p.Removed, id)
	}
	slices.Sort(p.Removed)
	p.GroupIDs = r.groupIDs(cfg.Groups)
	return p, nil
}

func (r *Router) groupIDs(groups []GroupConfig) []GroupID {
	var ids []GroupID
	var free GroupID
	for n := range groups {
		at := slices.IndexFunc(r.groups, func(g *group) bool { return g != nil && g.name == groups[n].Name })
		if at >= 0 {
			ids = append(ids, GroupID(at))
			continue
		}
		for int(free) < len(r.groups) && r.groups[free] != nil {
			free++
		}
		ids = append(ids, free)
		free++
	}
	return ids
}

func clone(cfg Config) Config {
	cfg.Instances = slices.Clone(cfg.Instances)
	for n := range cfg.Instances {
		cfg.Instances[n].Trackers = slices.Clone(cfg.Instances[n].Trackers)
	}
	cfg.Groups = slices.Clone(cfg.Groups)
	for n := range cfg.Groups {
		cfg.Groups[n].Members = slices.Clone(cfg.Groups[n].Members)
		cfg.Groups[n].Trackers = slices.Clone(cfg.Groups[n].Trackers)
	}
	return cfg
}

// Commit puts the Plan into force. Removed Active instances resign; kept ones
// keep their state and timers, with their new priority and intervals from now
// on; added ones start as if the Router had. A Plan made before another Commit
// is a programming error, and panics.
func (r *Router) Commit(now Instant, p *Plan) []Action {
	r.out = r.out[:0]
	if p.generation != r.generation {
		panic("vrrp: Commit of a Plan that another Commit has overtaken")
	}
	r.generation++
	if r.stopped {
		return r.out
	}
	r.startup0 = p.cfg.StartupDelay
	for _, id := range p.Removed {
		r.remove(now, id)
	}
	for n := range p.IDs {
		r.put(p.IDs[n], p.cfg.Instances[n])
	}
	r.regroup(now, p)
	r.rewatch()
	for _, g := range r.units {
		for _, m := range g.members {
			r.reprioritise(m, "configuration")
		}
		r.settle(now, g)
	}
	return r.out
}

func (r *Router) remove(now Instant, id InstanceID) {
	i := r.instances[id]
	// Its former group goes on without it.
	r.leave(now, &group{id: NoGroup, members: []*instance{i}, state: i.state}, i, Stopped, once, "removed from the configuration")
	r.timers.remove(i)
	r.instances[id] = nil
}

func (r *Router) put(id InstanceID, cfg InstanceConfig) {
	for int(id) >= len(r.instances) {
		r.instances = append(r.instances, nil)
	}
	i := r.instances[id]
	if i == nil {
		i = newInstance(id, cfg)
		r.instances[id] = i
		r.timers.add(i)
		return
	}
	r.reconfigure(i, cfg)
}

// reconfigure gives a kept instance its new settings. Priorities follow with
// the trackers.
func (r *Router) reconfigure(i *instance, cfg InstanceConfig) {
	old, before := i.cfg, i.down()
	i.cfg = cfg
	if cfg.Priority != old.Priority {
		i.rogue = rogue{}
	}
	if source := plain(cfg.Source); source.IsValid() {
		i.source, i.sourceKnown = source, true
	}
	if cfg.Version != old.Version || cfg.AdvertInterval != old.AdvertInterval {
		if i.state == Active && i.due != 0 {
			i.due = i.due.Add(min(cfg.AdvertInterval-old.AdvertInterval, 0))
		}
		i.learnt = cfg.AdvertInterval
	}
	if i.state == Backup {
		i.due = i.due.Add(i.down() - before)
	}
	if cfg.PreemptDelay != old.PreemptDelay || cfg.NoPreempt {
		i.preemptAt = 0
	}
	if i.state == Active {
		if cfg.Announce.Refresh != old.Announce.Refresh {
			i.refreshAt = later(i.due, cfg.Announce.Refresh)
		}
	}
	r.timers.sooner(i)
}

// regroup builds the groups anew over the instances of the plan. A group is in
// the state of its members; where a reload has joined members in different
// states, the highest of them is the group's until an advert or a timer has
// brought them together.
func (r *Router) regroup(now Instant, p *Plan) {
	old := r.groups
	r.groups, r.units = nil, nil
	byName := make(map[string]*instance)
	for _, id := range p.IDs {
		i := r.instances[id]
		i.group, i.tracks = nil, i.cfg.Trackers
		byName[i.cfg.Name] = i
	}
	for n := range p.cfg.Groups {
		gc, id := &p.cfg.Groups[n], p.GroupIDs[n]
		g := &group{id: id, name: gc.Name, since: now}
		for _, name := range gc.Members {
			g.members = append(g.members, byName[name])
			byName[name].group = g
		}
		g.state = g.highest()
		if int(id) < len(old) && old[id] != nil && old[id].state == g.state {
			g.since, g.reason = old[id].since, old[id].reason
		}
		g.bindTrackers(gc)
		was := Initialize
		if int(id) < len(old) && old[id] != nil {
			was = old[id].state
		}
		if g.state != was && g.state != Initialize {
			r.emit(&GroupChanged{Group: id, From: was, To: g.state, Reason: "configuration"})
		}
		for int(id) >= len(r.groups) {
			r.groups = append(r.groups, nil)
		}
		r.groups[id] = g
	}
	r.order(p)
}

// order lists the units in the order of the instances.
func (r *Router) order(p *Plan) {
	seen := make(map[*group]bool)
	for _, id := range p.IDs {
		i := r.instances[id]
		if i.group == nil {
			i.group = &group{id: NoGroup, name: i.cfg.Name, members: []*instance{i}, state: i.state, since: i.since}
		}
		if !seen[i.group] {
			seen[i.group] = true
			r.units = append(r.units, i.group)
		}
	}
}

func (g *group) highest() State {
	state := Initialize
	for _, s := range []State{Fault, Backup, Active} {
		for _, m := range g.members {
			if m.state == s {
				state = s
			}
		}
	}
	return state
}

// bindTrackers gives the members the trackers of the group; an entry of the
// group replaces a member's for the same condition. Without TrackWeights, or
// with an address owner among them, members of a group have no weights of
// their own: a priority that moves for one member alone would tear the group
// apart. A number of weight 1 or -1 then means Fault, other weights are
// dropped.
func (g *group) bindTrackers(gc *GroupConfig) {
	owner := slices.ContainsFunc(g.members, (*instance).owner)
	for _, m := range g.members {
		var tracks []Track
		for _, t := range m.cfg.Trackers {
			shadowed := slices.ContainsFunc(gc.Trackers, func(o Track) bool { return o.ID == t.ID })
			if shadowed {
				continue
			}
			if t.Weight != 0 && (owner || !gc.TrackWeights) {
				if !t.Value || t.Weight < -1 || t.Weight > 1 {
					continue
				}
				t.Weight = 0
			}
			tracks = append(tracks, t)
		}
		for _, t := range gc.Trackers {
			if owner {
				t.Weight = 0
			}
			tracks = append(tracks, t)
		}
		m.tracks = tracks
	}
}

// rewatch rebuilds who depends on which condition, and forgets conditions that
// nobody depends on any more.
func (r *Router) rewatch() {
	watched := make(map[TrackerID]bool)
	for id, k := range r.trackers {
		watched[id] = len(k.watchers) > 0
		k.watchers = nil
	}
	for _, g := range r.units {
		for _, m := range g.members {
			for n := range m.tracks {
				id := m.tracks[n].ID
				k := r.trackers[id]
				if k == nil {
					k = &tracker{}
					r.trackers[id] = k
				}
				k.number = m.tracks[n].Value
				if !slices.Contains(k.watchers, m) {
					k.watchers = append(k.watchers, m)
				}
			}
		}
	}
	for id, k := range r.trackers {
		if watched[id] && len(k.watchers) == 0 {
			delete(r.trackers, id)
		}
	}
}

// validate is the last line of defence behind the configuration's own checks.
func validate(cfg *Config) error {
	var errs []error
	names, keys := make(map[string]bool), make(map[Key]string)
	for n := range cfg.Instances {
		c := &cfg.Instances[n]
		for _, err := range c.problems() {
			errs = append(errs, fmt.Errorf("instance %q: %w", c.Name, err))
		}
		if names[c.Name] {
			errs = append(errs, fmt.Errorf("instance %q is configured twice: give each its own name", c.Name))
		}
		if other, taken := keys[c.Key]; taken {
			errs = append(errs, fmt.Errorf("instance %q: VRID %d on %q belongs to %q already", c.Name, c.Key.VRID, c.Key.Interface, other))
		}
		names[c.Name], keys[c.Key] = true, c.Name
	}
	grouped, groups := make(map[string]string), make(map[string]bool)
	for n := range cfg.Groups {
		g := &cfg.Groups[n]
		if g.Name == "" || groups[g.Name] {
			errs = append(errs, fmt.Errorf("sync group %q: give each group its own name", g.Name))
		}
		groups[g.Name] = true
		if len(g.Members) == 0 {
			errs = append(errs, fmt.Errorf("sync group %q has no members", g.Name))
		}
		for _, m := range g.Members {
			if !names[m] {
				errs = append(errs, fmt.Errorf("sync group %q: no instance %q", g.Name, m))
			}
			if in, taken := grouped[m]; taken {
				errs = append(errs, fmt.Errorf("sync group %q: instance %q is in %q already", g.Name, m, in))
			}
			grouped[m] = g.Name
		}
	}
	if cfg.StartupDelay < 0 {
		errs = append(errs, errors.New("the startup delay is negative"))
	}
	return errors.Join(errs...)
}

func (c *InstanceConfig) problems() []error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	const centisecond = 10 * time.Millisecond
	if c.Name == "" {
		bad("the name is missing")
	}
	if c.Key.Family != 4 && c.Key.Family != 6 {
		bad("family %d is neither 4 nor 6", c.Key.Family)
	}
	if c.Key.VRID == 0 {
		bad("the VRID must be 1 to 255")
	}
	if c.Priority == 0 {
		bad("the priority must be 1 to 255")
	}
	if c.TimerExpiredBackup == Owner {
		bad("timer_expired_backup must be 1 to 254")
	}
	switch i := c.AdvertInterval; {
	case c.Version != 2 && c.Version != 3:
		bad("VRRP version %d is neither 2 nor 3", c.Version)
	case c.Version == 2 && (i < time.Second || i > 255*time.Second || i%time.Second != 0):
		bad("VRRPv2 needs an advert interval of 1 to 255 whole seconds, not %s", i)
	case c.Version == 3 && (i < centisecond || i > 4095*centisecond || i%centisecond != 0):
		bad("VRRPv3 needs an advert interval of 0.01 to 40.95 s in hundredths, not %s", i)
	}
	if c.DownTimerAdverts < 1 || c.DownTimerAdverts > 100 {
		bad("down_timer_adverts must be 1 to 100, not %d", c.DownTimerAdverts)
	}
	if c.PreemptDelay < 0 || c.PreemptDelay > 1000*time.Second {
		bad("the preempt delay must be 0 to 1000 s, not %s", c.PreemptDelay)
	}
	if c.Source.IsValid() && c.Source.Unmap().Is4() != (c.Key.Family == 4) {
		bad("the source address %s is not of family %d", c.Source, c.Key.Family)
	}
	if a := &c.Announce; a.Repeat < 0 || a.RefreshRepeat < 0 || a.LowerPrioRepeat < 0 ||
		a.Delay < 0 || a.Refresh < 0 || a.LowerPrioDelay < 0 {
		bad("announcement settings must not be negative")
	}
	return errs
}
