package config

import (
	"fmt"
	"slices"
	"time"
)

func (i *Instance) path() string { return "vrrp_instance " + i.Name }

// maxV3Interval is what 12 bits of centiseconds hold.
const maxV3Interval = 40950 * time.Millisecond

// checkInstance looks at one instance; false when it cannot be run at all and
// is dropped, as keepalived drops it.
func (d *decoder) checkInstance(i *Instance) bool {
	usable := true
	say := func(keyword string, sev Severity, code Code, message, hint string) {
		d.object(&i.Block, i.path(), keyword, sev, code, message, hint)
	}
	if i.Interface == "" && i.VRF == "" {
		say("interface", Error, General, "is missing, the instance is ignored", "interface IFNAME")
		usable = false
	} else if i.Interface == "lo" {
		say("interface", Error, General, "lo cannot carry VRRP, the instance is ignored", "name the interface that reaches the peers")
		usable = false
	}
	if i.VRID == 0 {
		usable = false
		if i.Has("virtual_router_id") {
			say("virtual_router_id", Error, General, "has no valid value, the instance is ignored", "must be 1 to 255")
		} else {
			say("virtual_router_id", Error, General, "is missing, the instance is ignored", "virtual_router_id N, 1 to 255, the same on all peers")
		}
	}
	if len(i.VIPs) == 0 && !i.NoVIP {
		if i.Strict {
			say("virtual_ipaddress", Error, General, "no address is given", "vrrp_strict requires one")
		} else {
			say("virtual_ipaddress", Warning, General, "no address is given", "virtual_ipaddress { ADDRESS ... }")
		}
	}
	d.checkPreemption(i, say)
	d.checkInterval(i, say)
	d.checkAuth(i, say)
	d.checkUnicast(i, say)
	if i.Strict {
		d.checkStrict(i, say)
	}
	if i.VMACXmitBase && i.VMAC == nil && i.IPVlan == nil {
		say("vmac_xmit_base", Warning, General, "needs use_vmac", "remove it, or add use_vmac")
		i.VMACXmitBase = false
	}
	if i.VMAC != nil && i.IPVlan != nil {
		say("use_ipvlan", Error, General, "excludes use_vmac", "keep one of them")
	}
	if v := i.IPVlan; v != nil && i.Family == IPv4 && !v.Addr.IsValid() {
		say("use_ipvlan", Error, General, "needs a source address, the instance stays in FAULT", "use_ipvlan ADDRESS/LENGTH")
		i.Fault = "use_ipvlan has no source address"
	}
	d.checkTracking(i)
	return usable
}

type sayFunc = func(keyword string, sev Severity, code Code, message, hint string)

func (d *decoder) checkPreemption(i *Instance, say sayFunc) {
	if i.NoPreempt {
		switch {
		case i.Priority == 255:
			say("nopreempt", Warning, General, "does not go with priority 255, it is cleared", "the address owner always takes over; lower the priority")
			i.NoPreempt = false
		case i.State == Master:
			say("nopreempt", Warning, General, "does not go with state MASTER, it is cleared", "use state BACKUP on all nodes")
			i.NoPreempt = false
		}
	}
	if i.PreemptDelay > 0 {
		switch {
		case i.Strict:
			say("preempt_delay", Warning, General, "does not go with vrrp_strict, it is cleared", "")
			i.PreemptDelay = 0
		case i.NoPreempt:
			say("preempt_delay", Warning, General, "does not go with nopreempt, it is cleared", "keep one of them")
			i.PreemptDelay = 0
		case i.State == Master:
			say("preempt_delay", Warning, General, "does not go with state MASTER, it is cleared", "use state BACKUP on all nodes")
			i.PreemptDelay = 0
		}
	}
}

func (d *decoder) checkInterval(i *Instance, say sayFunc) {
	switch {
	case i.Version == 2 && i.AdvertInterval%time.Second != 0:
		rounded := max(i.AdvertInterval.Round(time.Second), time.Second)
		say("advert_int", Warning, General, fmt.Sprintf("%v is not a whole second, %v is used", i.AdvertInterval, rounded), "VRRP version 2 counts whole seconds; version 3 counts centiseconds")
		i.AdvertInterval = rounded
	case i.Version == 3 && i.AdvertInterval > maxV3Interval:
		say("advert_int", Warning, General, fmt.Sprintf("%v is too long, %v is used", i.AdvertInterval, maxV3Interval), "VRRP version 3 holds at most 40.95 s")
		i.AdvertInterval = maxV3Interval
	}
}

func (d *decoder) checkAuth(i *Instance, say sayFunc) {
	given := i.Auth.Type != AuthNone
	drop := func(message, hint string) {
		say("authentication", Warning, General, message, hint)
		i.Auth = Auth{}
	}
	switch {
	case i.Version == 3 && given:
		drop("VRRP version 3 has no authentication, it is ignored", "remove it, or use version 2 on all peers")
	case i.Strict && given:
		drop("does not go with vrrp_strict, it is ignored", "RFC 3768 removed it")
	case given && i.Auth.Pass == "":
		drop("has no auth_pass, it is ignored", "auth_pass PASSWORD, the same on all peers")
	case !given && i.Auth.Pass != "" && !i.Has("auth_type"):
		say("auth_pass", Warning, OursOnly, "has no effect without auth_type", "auth_type PASS")
		i.Auth = Auth{}
	}
	if i.Auth.Type == AuthAH && i.State == Master && i.Priority < 255 {
		say("state", Warning, General, "MASTER does not go with AH authentication, BACKUP is used", "auth_type PASS, or state BACKUP")
		i.State = Backup
	}
}

func (d *decoder) checkUnicast(i *Instance, say sayFunc) {
	if len(i.UnicastPeers) > 0 {
		for _, p := range i.UnicastPeers {
			if p.Addr == i.UnicastSrcIP {
				d.out(Problem{Pos: p.Pos, Severity: Warning, Path: i.path(), Keyword: "unicast_peer",
					Message: p.Addr.String() + " is this node's own unicast_src_ip", Hint: "list the other nodes only"})
			}
		}
		if i.Strict && i.Has("mcast_src_ip") {
			say("mcast_src_ip", Warning, OursOnly, "has no effect with unicast peers", "unicast_src_ip")
		}
		return
	}
	if i.UnicastFaultNoPeer {
		i.Fault = "there is no unicast peer"
	}
	if i.Has("unicast_ttl") {
		d.out(Problem{Pos: i.End, Severity: Warning, Code: General, Path: i.path(), Keyword: "unicast_ttl",
			Message: "needs unicast_peer, it is ignored", Hint: "unicast_peer { ADDRESS ... }"})
		i.UnicastTTL = -1
	}
	for _, k := range []string{"unicast_src_ip", "unicast_peer", "check_unicast_src", "old_unicast_checksum"} {
		if i.Has(k) && !i.UnicastFaultNoPeer {
			say(k, Warning, General, "there is no unicast peer, so adverts go by multicast", "unicast_peer { ADDRESS ... }")
			return
		}
	}
}

func (d *decoder) checkStrict(i *Instance, say sayFunc) {
	reset := func(keyword, message string) {
		say(keyword, Warning, General, message+" does not go with vrrp_strict, it is reset", "")
	}
	if owner := i.Priority == 255; owner != (i.State == Master) {
		say("state", Warning, General, fmt.Sprintf("%v does not go with priority %d under vrrp_strict", i.State, i.Priority), "MASTER is for the address owner, priority 255")
		if i.State = Backup; owner {
			i.State = Master
		}
	}
	if i.DownTimerAdverts != 3 {
		reset("down_timer_adverts", "a number other than 3")
		i.DownTimerAdverts = 3
	}
	if i.Has("accept") && i.Version == 2 && i.Priority != 255 {
		reset("accept", "accept mode in version 2")
		i.Accept = false
	}
	if i.Has("garp_lower_prio_repeat") || i.Has("garp_lower_prio_delay") {
		for _, k := range []string{"garp_lower_prio_delay", "garp_lower_prio_repeat"} {
			if i.Has(k) {
				reset(k, k)
			}
		}
	}
	if i.Has("lower_prio_no_advert") && !i.LowerPrioNoAdvert {
		reset("lower_prio_no_advert", "off")
		i.LowerPrioNoAdvert = true
	}
	if i.HigherPrioSendAdvert {
		reset("higher_prio_send_advert", "on")
		i.HigherPrioSendAdvert = false
	}
	if i.VMACXmitBase {
		reset("vmac_xmit_base", "vmac_xmit_base")
		i.VMACXmitBase = false
	}
	if i.NoVIP {
		reset("no_virtual_ipaddress", "no_virtual_ipaddress")
	}
}

// checkTracking drops what cannot be tracked, as keepalived does.
func (d *decoder) checkTracking(i *Instance) {
	owner := i.Priority == 255
	keep := func(list *[]Track, keyword, kind string, ok func(*Track) (string, string, Severity)) {
		*list = slices.DeleteFunc(*list, func(t Track) bool {
			message, hint, sev := ok(&t)
			if message == "" {
				return false
			}
			d.out(Problem{Pos: t.Pos, Severity: sev, Code: General, Path: i.path(), Keyword: keyword, Message: message, Hint: hint})
			return true
		})
	}
	weightless := func(weight int, what string) (string, string, Severity) {
		if owner && weight != 0 {
			return what + " has a weight, which an address owner cannot use; it is not tracked", "priority 255 never changes; lower the priority", Warning
		}
		return "", "", Note
	}
	keep(&i.TrackInterfaces, "track_interface", "interface", func(t *Track) (string, string, Severity) {
		if t.Name == i.Interface && !i.DontTrackPrimary {
			return t.Name + " is the instance's own interface, which is tracked anyway", "remove the line", Warning
		}
		return weightless(t.Weight, t.Name)
	})
	keep(&i.TrackScripts, "track_script", "script", func(t *Track) (string, string, Severity) {
		s := d.script(t.Name)
		if s == nil {
			return d.unknownTracker("vrrp_script", t.Name, d.scriptNames())
		}
		weight := t.Weight
		if !t.HasWeight {
			weight = s.Weight
		}
		return weightless(weight, t.Name)
	})
	d.scriptWeights(i.TrackScripts)
	d.checkOtherTrackers(&i.Tracking, i.path())
}

// scriptWeights gives lines without a weight the script's own.
func (d *decoder) scriptWeights(list []Track) {
	for n := range list {
		if t := &list[n]; !t.HasWeight {
			s := d.script(t.Name)
			t.Weight, t.Reverse = s.Weight, s.Reverse
		}
	}
}

func (d *decoder) unknownTracker(kind, name string, have map[string]bool) (string, string, Severity) {
	hint := nearest(name, have)
	if hint == "" {
		hint = "define it with " + kind + " " + printable(name) + " { ... }"
	}
	return fmt.Sprintf("there is no %s %s, the line is ignored", kind, printable(name)), hint, Error
}

func (d *decoder) checkOtherTrackers(t *Tracking, path string) {
	files, procs, bfds := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, f := range d.cfg.TrackFiles {
		files[f.Name] = true
	}
	for _, p := range d.cfg.TrackProcesses {
		procs[p.Name] = true
	}
	for _, b := range d.cfg.BFDs {
		bfds[b.Name] = true
	}
	for _, k := range []struct {
		keyword, kind string
		list          *[]Track
		have          map[string]bool
	}{
		{"track_file", "track_file", &t.TrackFiles, files},
		{"track_process", "vrrp_track_process", &t.TrackProcesses, procs},
		{"track_bfd", "bfd_instance", &t.TrackBFDs, bfds},
	} {
		*k.list = slices.DeleteFunc(*k.list, func(t Track) bool {
			if k.have[t.Name] {
				return false
			}
			message, hint, sev := d.unknownTracker(k.kind, t.Name, k.have)
			d.out(Problem{Pos: t.Pos, Severity: sev, Code: General, Path: path, Keyword: k.keyword, Message: message, Hint: hint})
			return true
		})
	}
}

func (d *decoder) script(name string) *Script {
	for _, s := range d.cfg.Scripts {
		if s.Name == name {
			return s
		}
	}
	return nil
}

func (d *decoder) scriptNames() map[string]bool {
	have := map[string]bool{}
	for _, s := range d.cfg.Scripts {
		have[s.Name] = true
	}
	return have
}
