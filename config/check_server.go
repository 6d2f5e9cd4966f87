package config

import (
	"fmt"
	"slices"
	"time"
)

// checkServer looks at a virtual server whose group, if any, is known.
func (d *decoder) checkServer(v *VirtualServer) {
	say := func(keyword string, sev Severity, message, hint string) {
		pos, _ := v.At(keyword)
		d.out(Problem{Pos: pos, Severity: sev, Code: General, Path: "virtual_server " + v.name, Keyword: keyword, Message: message, Hint: hint})
	}
	d.checkRealServers(v)
	if len(v.RealServers) == 0 && v.SorryServer == nil {
		say("real_server", Error, "there is none, the virtual_server is ignored", "real_server ADDRESS PORT { ... }")
		return
	}
	if v.Addr.IsValid() && v.Port == 0 && v.Persistence == 0 {
		say("virtual_server", Warning, "port 0 needs persistence, which is switched on", "give a port, or persistence_timeout")
		v.Persistence = 360 * time.Second
	}
	if v.Scheduler == "" {
		say("lvs_sched", Warning, "is not given, wlc is used", "lvs_sched SCHEDULER")
		v.Scheduler = "wlc"
	}
	if v.OnePacket && v.Protocol != "UDP" && v.FwMark == 0 && v.Group == "" {
		say("ops", Warning, "needs protocol UDP, it is cleared", "")
		v.OnePacket = false
	}
	total := 0
	for _, r := range v.RealServers {
		total += r.Weight
	}
	if v.Quorum > total && len(v.RealServers) > 0 {
		say("quorum", Warning, fmt.Sprintf("%d is above the total weight %d, which is used", v.Quorum, total), "")
		v.Quorum = max(1, total)
	}
	if v.Hysteresis >= v.Quorum && v.Hysteresis > 0 {
		say("hysteresis", Warning, fmt.Sprintf("%d is not below quorum %d", v.Hysteresis, v.Quorum), "it is lowered")
		v.Hysteresis = v.Quorum - 1
	}
}

// checkChecker resolves the tracked objects that a checker names.
func (d *decoder) checkChecker(c *Checker, path string) bool {
	known, kind := true, ""
	switch c.Kind {
	case CheckBFD:
		kind = "bfd_instance"
		known = slices.ContainsFunc(d.cfg.BFDs, func(b *BFD) bool { return b.Name == c.Name })
	case CheckFile:
		kind = "track_file"
		known = slices.ContainsFunc(d.cfg.TrackFiles, func(f *TrackFile) bool { return f.Name == c.Name })
	case CheckTCP, CheckHTTP, CheckSSL, CheckSMTP, CheckDNS, CheckUDP, CheckPing, CheckMisc:
	}
	if !known {
		pos, _ := c.At("name")
		if c.Kind == CheckFile {
			pos, _ = c.At("track_file")
		}
		d.out(Problem{Pos: pos, Severity: Error, Code: General, Path: path, Keyword: string(c.Kind),
			Message: fmt.Sprintf("there is no %s %s, the checker is removed", kind, printable(c.Name)), Hint: "define it with " + kind + " " + printable(c.Name) + " { ... }"})
	}
	return known
}

// checkRealServers drops duplicates and what is of the wrong family, in one
// pass however many there are.
func (d *decoder) checkRealServers(v *VirtualServer) {
	path := "virtual_server " + v.name
	seen := make(map[Endpoint]Pos, len(v.RealServers))
	v.RealServers = slices.DeleteFunc(v.RealServers, func(r *RealServer) bool {
		sayAt := func(pos Pos, sev Severity, message, hint string) bool {
			d.out(Problem{Pos: pos, Severity: sev, Code: General, Path: path, Keyword: "real_server", Message: message, Hint: hint})
			return true
		}
		say := func(sev Severity, message, hint string) bool { return sayAt(r.Pos, sev, message, hint) }
		forward := v.Forward
		if r.Forward != nil {
			forward = *r.Forward
		}
		if v.Family != FamilyUnset && familyOf(r.Addr) != v.Family && forward.Method != "TUN" {
			return sayAt(r.End, Error, fmt.Sprintf("%s is not of the virtual server's family, it is ignored", r.Addr), "only tunnels cross families")
		}
		if first, dup := seen[r.Endpoint]; dup {
			return say(Error, fmt.Sprintf("%s port %d is given twice, this one is ignored", r.Addr, r.Port), "first at "+first.String())
		}
		seen[r.Endpoint] = r.Pos
		r.Checkers = slices.DeleteFunc(r.Checkers, func(c *Checker) bool {
			return !d.checkChecker(c, path+" > real_server "+r.Addr.String())
		})
		if forward.Method != "NAT" && v.Port != 0 && r.Port != v.Port {
			say(Warning, fmt.Sprintf("port %d is not the service's %d, which is used", r.Port, v.Port), forward.Method+" cannot change the port")
			r.Port = v.Port
		}
		return false
	})
}
