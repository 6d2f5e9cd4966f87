package dump

import (
	"math"
	"strings"

	"github.com/keepmesh/keepmesh/config"
)

// effectiveTracking is what an instance watches in keepalived's eyes: members
// of a sync group that does not track by weight, and address owners, lose
// their weighted trackers.
func (d *dumper) effectiveTracking(i *config.Instance) config.Tracking {
	t := d.withWeights(&i.Tracking)
	owner, grouped := i.Priority == 255, false
	for _, g := range d.c.SyncGroups {
		grouped = grouped || g.Name == i.SyncGroup && !g.GlobalTracking
	}
	if !owner && !grouped {
		return t
	}
	var out config.Tracking
	for _, x := range t.TrackInterfaces {
		if x.Weight != 0 && !grouped {
			continue
		}
		x.Weight = 0
		out.TrackInterfaces = append(out.TrackInterfaces, x)
	}
	out.TrackScripts = unweighted(t.TrackScripts)
	for _, x := range t.TrackFiles {
		// A weight of 1 is the default of a file, and taken for unsaid.
		if x.Weight == 0 || x.Weight == 1 {
			x.Weight = 0
			out.TrackFiles = append(out.TrackFiles, x)
		}
	}
	out.TrackProcesses = t.TrackProcesses
	out.TrackBFDs = unweighted(t.TrackBFDs)
	return out
}

func unweighted(list []config.Track) []config.Track {
	var out []config.Track
	for _, x := range list {
		if x.Weight == 0 {
			out = append(out, x)
		}
	}
	return out
}

// withWeights gives each line the weight of the tracker that it names, unless
// it has its own. A line that names no tracker is left out.
func (d *dumper) withWeights(t *config.Tracking) config.Tracking {
	scripts, files := map[string]config.Track{}, map[string]config.Track{}
	processes, bfds := map[string]config.Track{}, map[string]config.Track{}
	for _, s := range d.c.Scripts {
		if d.runs(&s.Spec) {
			scripts[s.Name] = config.Track{Weight: s.Weight, Reverse: s.Reverse}
		}
	}
	for _, f := range d.c.TrackFiles {
		files[f.Name] = config.Track{Weight: f.Weight, Reverse: f.Reverse}
	}
	for _, p := range d.c.TrackProcesses {
		processes[p.Name] = config.Track{Weight: p.Weight, Reverse: p.Reverse}
	}
	for _, b := range d.c.BFDs {
		bfds[b.Name] = config.Track{Weight: b.Weight, Reverse: b.Reverse}
	}
	return config.Tracking{
		TrackInterfaces: t.TrackInterfaces,
		TrackScripts:    inheritWeights(t.TrackScripts, scripts),
		TrackFiles:      inheritWeights(t.TrackFiles, files),
		TrackProcesses:  inheritWeights(t.TrackProcesses, processes),
		TrackBFDs:       inheritWeights(t.TrackBFDs, bfds),
	}
}

func inheritWeights(list []config.Track, from map[string]config.Track) []config.Track {
	var out []config.Track
	for _, x := range list {
		f, ok := from[x.Name]
		if !ok {
			continue
		}
		if !x.HasWeight {
			x.Weight, x.Reverse = f.Weight, f.Reverse
		}
		out = append(out, x)
	}
	return out
}

// tracked writes the lists of an instance or a group; the heading of processes
// differs between the two.
func (d *dumper) tracked(t config.Tracking, processes string) {
	for _, l := range []struct {
		heading, separator string
		list               []config.Track
	}{
		{"interfaces", " ", t.TrackInterfaces}, {"scripts", " ", t.TrackScripts}, {"files", ", ", t.TrackFiles},
		{processes, ", ", t.TrackProcesses}, {"BFDs", ": ", t.TrackBFDs},
	} {
		if len(l.list) > 0 {
			d.line("   Tracked %s :", l.heading)
		}
		for _, x := range l.list {
			d.line("     %s%sweight %d%s", x.Name, l.separator, x.Weight, reverse(x.Reverse))
		}
	}
}

func reverse(on bool) string { return choose(on, " reverse", "") }

func (d *dumper) groups() {
	if len(d.c.SyncGroups) == 0 {
		return
	}
	d.line("------< VRRP Sync groups >------")
	for _, g := range d.c.SyncGroups {
		d.group(g)
	}
}

func (d *dumper) group(g *config.SyncGroup) {
	state := "INIT"
	for _, s := range d.s.Groups {
		if s.Name == g.Name {
			state = stateWord(s.State)
		}
	}
	var fault, starting int
	for _, m := range g.Members {
		for n := range d.s.Instances {
			s := &d.s.Instances[n]
			if s.Name != m.Name {
				continue
			}
			// keepalived counts the members that would be in FAULT by
			// themselves, not those that follow their group there.
			if i := d.instanceNamed(m.Name); i != nil {
				own, waiting, _ := terms(i, s)
				fault += min(own, 1)
				starting += min(waiting, 1)
			}
		}
	}
	if state == "INIT" && starting > 0 {
		state = "FAULT"
	}
	d.line(" VRRP Sync Group = %s, %s", g.Name, state)
	d.line("   Num member fault %d, num member init %d", fault, starting)
	d.members(g.Members)
	if g.GlobalTracking {
		d.line("   sync group tracking weight set")
	}
	d.line("   Using smtp notification = %s", choose(g.SMTPAlert, "yes", "no"))
	if g.Has("notify_priority_changes") {
		d.line("   Notify priority changes = %s", choose(g.NotifyPriorityChanges, "yes", "no"))
	}
	d.tracked(d.withWeights(&g.Tracking), "process")
	d.notify("Backup", g.Notify.Backup)
	d.notify("Master", g.Notify.Master)
	d.notify("Fault", g.Notify.Fault)
	d.notify("Stop", g.Notify.Stop)
	d.notify("Generic", g.Notify.Any)
}

func (d *dumper) instanceNamed(name string) *config.Instance {
	for _, i := range d.c.Instances {
		if i.Name == name {
			return i
		}
	}
	return nil
}

// tracker is one line of "Tracking instances".
type tracker struct {
	instance string
	weight   int
	reverse  bool
}

// trackers lists who watches a tracker: instances of their own accord, then
// members of groups. A group's weight replaces one of the instance.
func (d *dumper) trackers(name string, pick func(*config.Tracking) []config.Track) []tracker {
	var out []tracker
	for _, i := range d.c.Instances {
		t := d.tracking[i.Name]
		for _, x := range pick(&t) {
			if x.Name == name {
				out = append(out, tracker{i.Name, x.Weight, x.Reverse})
			}
		}
	}
	for _, g := range d.c.SyncGroups {
		t := d.withWeights(&g.Tracking)
		for _, x := range pick(&t) {
			if x.Name != name {
				continue
			}
			for _, m := range g.Members {
				out = addTracker(out, tracker{m.Name, x.Weight, x.Reverse})
			}
		}
	}
	return out
}

func addTracker(list []tracker, t tracker) []tracker {
	for n := range list {
		if list[n].instance == t.instance {
			if list[n].weight != 0 {
				list[n] = t
			}
			return list
		}
	}
	return append(list, t)
}

func (d *dumper) trackerLines(heading string, list []tracker) {
	if len(list) > 0 {
		d.line("   %s :", heading)
	}
	for _, t := range list {
		d.line("     %s, weight %d%s", t.instance, t.weight, reverse(t.reverse))
	}
}

// scripts writes the scripts that somebody tracks; keepalived forgets others.
func (d *dumper) scripts() {
	heading := "------< VRRP Scripts >------"
	for _, s := range d.c.Scripts {
		list := d.trackers(s.Name, func(t *config.Tracking) []config.Track { return t.TrackScripts })
		if len(list) == 0 {
			continue
		}
		d.given("%s", heading)
		heading = ""
		d.script(s, list)
	}
}

func (d *dumper) script(s *config.Script, list []tracker) {
	// keepalived's counter of a script that has settled: full marks, or none.
	result, starting := s.Rise+s.Fall-1, "unknown"
	switch d.trackerState("script:" + s.Name) {
	case "down":
		result = 0
	case "unknown":
		result, starting = 0, choose(s.InitFail, "INIT/FAILED", "INIT")
	}
	timeout := int64(0)
	if s.Has("timeout") {
		timeout = seconds(s.Timeout)
	}
	uid, gid := d.owner(&s.Spec)
	d.line(" VRRP Script = %s", s.Name)
	d.line("   Command = %s", d.command(&s.Spec))
	d.line("   Interval = %d sec", seconds(s.Interval))
	d.line("   Timeout = %d sec", timeout)
	d.line("   Weight = %d%s", s.Weight, reverse(s.Reverse))
	d.line("   Rise = %d", s.Rise)
	d.line("   Fall = %d", s.Fall)
	d.line("   Result = %d", result)
	d.line("   Insecure = no")
	d.line("   Init state = %s", starting)
	d.line("   Status = %s", choose(result >= s.Rise, "GOOD", "BAD"))
	d.line("   Script uid:gid = %d:%d", uid, gid)
	d.line("   VRRP instances :")
	d.trackerLines("Tracking instances", list)
	d.line("   State = %s", choose(d.env.Running != nil && d.env.Running(s.Name), "running", "idle"))
}

// trackerState is the state of a tracker in the snapshot, which mentions only
// those that are not quietly up.
func (d *dumper) trackerState(id string) string {
	for n := range d.s.Instances {
		for _, t := range d.s.Instances[n].Terms {
			if t.Tracker == id && t.State != "" {
				return t.State
			}
		}
	}
	return "up"
}

func (d *dumper) trackFiles() {
	if len(d.c.TrackFiles) == 0 {
		return
	}
	d.line("------< VRRP Track files >------")
	for _, f := range d.c.TrackFiles {
		var value int64
		if d.env.FileValue != nil {
			value = d.env.FileValue(f.Name)
		}
		d.line(" Track file = %s", f.Name)
		d.line("   File = %s", f.Path)
		d.line("   Status = %d", value)
		d.line("   Weight = %d%s", f.Weight, reverse(f.Reverse))
		d.trackerLines("Tracking instances", d.trackers(f.Name, func(t *config.Tracking) []config.Track { return t.TrackFiles }))
	}
}

func (d *dumper) trackProcesses() {
	if len(d.c.TrackProcesses) == 0 {
		return
	}
	d.line("------< VRRP Track processes >------")
	for _, p := range d.c.TrackProcesses {
		d.line(" VRRP Track process = %s", p.Name)
		if len(p.Process) > 0 {
			d.line("   Process = %s", p.Process[0])
		}
		if len(p.Process) > 1 {
			d.line("   Parameters = %s", strings.Join(p.Process[1:], " "))
		}
		match := map[config.ParamMatch]string{config.ParamExact: "", config.ParamPartial: " = partial", config.ParamInitial: " = initial"}
		if m, ok := match[p.Match]; ok {
			d.line("   Param match%s", m)
		}
		d.line("   Min processes = %d", p.Quorum)
		if p.QuorumMax < math.MaxUint32 {
			d.line("   Max processes = %d", p.QuorumMax)
		}
		have, count := d.trackerState("process:"+p.Name) == "up", 0
		if have {
			count = p.Quorum
		}
		d.line("   Current processes = %d", count)
		d.line("   Have quorum = %t", have)
		d.line("   Weight = %d%s", p.Weight, reverse(p.Reverse))
		d.line("   Terminate delay = %fs", p.TerminateDelay.Seconds())
		d.line("   Fork delay = %fs", p.ForkDelay.Seconds())
		d.line("   Fork delay timer not running")
		d.line("   Terminate delay timer not running")
		d.line("   Full command = %t", p.FullCommand)
		d.trackerLines("Tracking instances", d.trackers(p.Name, func(t *config.Tracking) []config.Track { return t.TrackProcesses }))
	}
}

func (d *dumper) trackBFDs() {
	heading := "------< VRRP Track BFDs >------"
	for _, b := range d.c.BFDs {
		if b.Checker && !b.VRRP {
			continue
		}
		d.given("%s", heading)
		heading = ""
		d.line(" VRRP Track BFD = %s", b.Name)
		d.line("   Weight = %d%s", b.Weight, reverse(b.Reverse))
		d.line("   Bfd is %s", choose(d.trackerState("bfd:"+b.Name) == "up", "up", "down"))
		d.line("   Tracking VRRP instances :")
		d.trackerLines("Tracking instances", d.trackers(b.Name, func(t *config.Tracking) []config.Track { return t.TrackBFDs }))
	}
}
