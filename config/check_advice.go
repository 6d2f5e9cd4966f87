package config

import (
	"fmt"
	"slices"
)

// advice finds what loads and runs, and does not do what it was written for.
// others reads the text as the other nodes do that @id lines name.
func (d *decoder) advice(others func() []*Config) {
	var peers []*Config
	for _, i := range d.cfg.Instances {
		if len(weighted(&i.Tracking)) > 0 {
			peers = others()
			break
		}
	}
	for _, i := range d.cfg.Instances {
		d.adviseWeights(i, peers)
		d.adviseStrict(i)
	}
	for _, g := range d.cfg.SyncGroups {
		d.adviseMembers(g)
	}
}

// weightedTrack is a tracked line that moves the priority.
type weightedTrack struct {
	keyword string
	track   *Track
}

// weighted gives the lines with a weight whose condition is up or down; files
// may carry any number and are left out.
func weighted(t *Tracking) []weightedTrack {
	var out []weightedTrack
	for _, l := range []struct {
		keyword string
		tracks  []Track
	}{
		{"track_interface", t.TrackInterfaces}, {"track_script", t.TrackScripts},
		{"track_process", t.TrackProcesses}, {"track_bfd", t.TrackBFDs},
	} {
		for n := range l.tracks {
			if tr := &l.tracks[n]; tr.Weight != 0 {
				out = append(out, weightedTrack{l.keyword, tr})
			}
		}
	}
	return out
}

// priorities gives an instance's priority with every condition up, and with
// every one down.
func priorities(i *Instance) (up, down int) {
	up, down = i.Priority, i.Priority
	for _, w := range weighted(&i.Tracking) {
		amount := w.track.Weight
		if w.track.Reverse {
			amount = -amount
		}
		if w.track.Weight > 0 {
			up += amount
		} else {
			down += amount
		}
	}
	return max(1, min(up, 254)), max(1, min(down, 254))
}

// adviseWeights reports weights that cannot move the address.
func (d *decoder) adviseWeights(i *Instance, peers []*Config) {
	list := weighted(&i.Tracking)
	if len(list) == 0 || i.Priority == 255 || len(i.TrackFiles) > 0 {
		return
	}
	say := func(message, hint string) {
		first := list[0]
		d.out(Problem{Pos: first.track.Pos, Severity: Warning, Path: i.path(), Keyword: first.keyword, Message: message, Hint: hint})
	}
	up, down := priorities(i)
	best, who := 0, ""
	for _, c := range peers {
		n := slices.IndexFunc(c.Instances, func(o *Instance) bool { return o.Name == i.Name && o.VRID == i.VRID })
		if n < 0 {
			continue
		}
		if theirs, _ := priorities(c.Instances[n]); theirs > best {
			at, _ := c.Instances[n].At("priority")
			best, who = theirs, at.String()
		}
	}
	switch {
	case best > 0 && up > best && down > best:
		say(fmt.Sprintf("priority %d falls to %d when everything tracked is down, never below the best peer's %d: the address will not move", up, down, best),
			fmt.Sprintf("the weights must add up to more than %d, or be 0; the peer's is at %s", up-best, who))
	case i.NoPreempt:
		say(fmt.Sprintf("priority %d falls to %d, but a peer with nopreempt takes nothing over from a living one: the address will not move", up, down),
			"weight 0 gives the address up at once; or preempt_delay instead of nopreempt")
	}
}

// adviseStrict reports that nobody reaches the addresses.
func (d *decoder) adviseStrict(i *Instance) {
	if !i.Strict || i.Accept || len(i.VIPs)+len(i.VIPsExcluded) == 0 {
		return
	}
	block, keyword := &i.Block, "strict_mode"
	if !i.Has(keyword) {
		block, keyword = &d.cfg.Global.Block, "vrrp_strict"
	}
	pos, _ := block.At(keyword)
	hint := "remove vrrp_strict, unless the address is only routed through"
	if i.Version == 3 {
		hint = "accept in the instance, or remove vrrp_strict"
	}
	d.out(Problem{Pos: pos, Severity: Warning, Path: i.path(), Keyword: keyword,
		Message: "under it what is sent to the addresses is dropped, ping and services included", Hint: hint})
}

// adviseMembers reports members of a sync group that want different things:
// they can only move together.
func (d *decoder) adviseMembers(g *SyncGroup) {
	var first *Instance
	for _, m := range g.Members {
		i := d.instance(m.Name)
		if i == nil {
			continue
		}
		if first == nil {
			first = i
			continue
		}
		for _, c := range []struct {
			keyword   string
			one, this any
		}{
			{"state", first.State.String(), i.State.String()},
			{"priority", first.Priority, i.Priority},
			{"nopreempt", onOff(first.NoPreempt), onOff(i.NoPreempt)},
			{"preempt_delay", first.PreemptDelay, i.PreemptDelay},
		} {
			if c.one != c.this {
				d.out(Problem{Pos: m.Pos, Severity: Warning, Path: g.path(), Keyword: "group",
					Message: fmt.Sprintf("members disagree: %s has %s %v, %s has %v", first.Name, c.keyword, c.one, i.Name, c.this),
					Hint:    "a group moves as one: give its members the same " + c.keyword + " on each node"})
			}
		}
	}
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
