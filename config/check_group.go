package config

import (
	"fmt"
	"slices"
)

func (g *SyncGroup) path() string { return "vrrp_sync_group " + g.Name }

// checkGroups resolves members, drops groups without any, and takes from the
// members the weights that a group does not allow.
func (d *decoder) checkGroups() {
	d.cfg.SyncGroups = slices.DeleteFunc(d.cfg.SyncGroups, func(g *SyncGroup) bool {
		d.checkMembers(g)
		d.checkGroupTracking(g)
		switch len(g.Members) {
		case 0:
			d.object(&g.Block, g.path(), "group", Error, General, "has no members, the vrrp_sync_group is removed", "group { INSTANCE ... }")
			return true
		case 1:
			d.object(&g.Block, g.path(), "group", Warning, General, "has only one member", "a group moves several instances together")
		}
		if !g.GlobalTracking {
			for _, m := range g.Members {
				d.checkMemberWeights(d.instance(m.Name))
			}
		}
		return false
	})
}

func (d *decoder) checkMembers(g *SyncGroup) {
	g.Members = slices.DeleteFunc(g.Members, func(m Ref) bool {
		say := func(message, hint string) bool {
			d.out(Problem{Pos: m.Pos, Severity: Error, Code: General, Path: g.path(), Keyword: "group", Message: message, Hint: hint})
			return true
		}
		i := d.instance(m.Name)
		switch {
		case i == nil:
			return say(fmt.Sprintf("there is no vrrp_instance %s, the member is ignored", printable(m.Name)), d.suggestInstance(m.Name))
		case i.SyncGroup != "":
			return say(fmt.Sprintf("%s is already a member of vrrp_sync_group %s", m.Name, i.SyncGroup), "an instance can be in one group only")
		}
		i.SyncGroup = g.Name
		return false
	})
}

func (d *decoder) checkGroupTracking(g *SyncGroup) {
	g.TrackScripts = slices.DeleteFunc(g.TrackScripts, func(t Track) bool {
		if d.script(t.Name) != nil {
			return false
		}
		message, hint, sev := d.unknownTracker("vrrp_script", t.Name, d.scriptNames())
		d.out(Problem{Pos: t.Pos, Severity: sev, Code: General, Path: g.path(), Keyword: "track_script", Message: message, Hint: hint})
		return true
	})
	d.scriptWeights(g.TrackScripts)
	d.checkOtherTrackers(&g.Tracking, g.path())
}

// checkMemberWeights: members of a group move together, so that a weight on
// one of them would never act. Interfaces then fault instead, scripts go.
func (d *decoder) checkMemberWeights(i *Instance) {
	hint := "use sync_group_tracking_weight in the group, or weight 0"
	for n := range i.TrackInterfaces {
		if t := &i.TrackInterfaces[n]; t.Weight != 0 {
			d.out(Problem{Pos: t.Pos, Severity: Warning, Code: General, Path: i.path(), Keyword: "track_interface",
				Message: fmt.Sprintf("the weight of %s is ignored in vrrp_sync_group %s, its loss is a fault", t.Name, i.SyncGroup), Hint: hint})
			t.Weight = 0
		}
	}
	i.TrackScripts = slices.DeleteFunc(i.TrackScripts, func(t Track) bool {
		if t.Weight == 0 {
			return false
		}
		d.out(Problem{Pos: t.Pos, Severity: Warning, Code: General, Path: i.path(), Keyword: "track_script",
			Message: fmt.Sprintf("%s has a weight and is ignored in vrrp_sync_group %s", t.Name, i.SyncGroup), Hint: hint})
		return true
	})
}
