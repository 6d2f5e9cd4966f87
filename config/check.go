package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// ifaceRef is an interface named somewhere; whether it must exist is known
// once all is read.
type ifaceRef struct {
	name          string
	pos           Pos
	path, keyword string
}

// loadInterfaces asks once which interfaces exist.
func (d *decoder) loadInterfaces() {
	if d.opt.Interfaces == nil {
		return
	}
	names, err := d.opt.Interfaces()
	if err != nil {
		return
	}
	d.ifaces = map[string]bool{}
	for _, n := range names {
		d.ifaces[n] = true
	}
}

// iface records an interface named on a line; false when it cannot be one.
func (d *decoder) iface(l *stmt, t Token) bool {
	if len(t.Text) > 15 || t.Text == "" || strings.Contains(t.Text, "/") {
		d.failAt(l, t, fmt.Sprintf("%q is not an interface name", printable(t.Text)), "1 to 15 characters without /")
		return false
	}
	if d.ifaces != nil {
		leave := 0
		if f := d.top(); f != nil && f.kw.lines != nil {
			leave = 1
		}
		d.ifaceRefs = append(d.ifaceRefs, ifaceRef{t.Text, t.Pos, d.path(leave), l.name()})
	}
	return true
}

func ifName(f field[string]) setter {
	return func(d *decoder, s *stmt) {
		if t, ok := d.need(s, 0); ok && d.iface(s, t) {
			*f(d) = t.Text
		}
	}
}

// checkInterfaces reports what does not exist, unless it may come later.
func (d *decoder) checkInterfaces() {
	if d.ifaces == nil || d.cfg.Global.DynamicInterfaces != DynamicOff {
		return
	}
	made := map[string]bool{}
	for _, i := range d.cfg.Instances {
		if i.VMAC != nil {
			made[i.VMAC.Name] = true
		}
		if i.IPVlan != nil {
			made[i.IPVlan.Name] = true
		}
	}
	for _, i := range d.cfg.Instances {
		if !d.ifaces[i.Interface] && !made[i.Interface] && i.Interface != "" {
			i.Fault = "there is no interface " + printable(i.Interface)
		}
	}
	for _, r := range d.ifaceRefs {
		if !d.ifaces[r.name] && !made[r.name] {
			d.out(Problem{Pos: r.pos, Severity: Error, Code: NoInterface, Path: r.path, Keyword: r.keyword,
				Message: fmt.Sprintf("there is no interface %s", printable(r.name)), Hint: d.ifaceHint(r.name)})
		}
	}
}

func (d *decoder) ifaceHint(name string) string {
	if hint := nearest(name, d.ifaces); hint != "" {
		return hint
	}
	var have []string
	for n := range d.ifaces {
		have = append(have, n)
	}
	slices.Sort(have)
	if len(have) > 8 {
		have = append(have[:8], "...")
	}
	return "this host has " + strings.Join(have, ", ") + "; dynamic_interfaces accepts later ones"
}

// user checks that a user and a group exist.
func (d *decoder) user(s *stmt, t Token, group string) bool {
	if d.opt.User == nil {
		return true
	}
	if err := d.opt.User(t.Text, group); err != nil {
		d.failAt(s, t, err.Error(), "create it, or name another")
		return false
	}
	return true
}

// check looks at the whole configuration once everything is read. It also
// resets what keepalived resets, so that the model is what will run.
func (d *decoder) check() {
	d.checkInterfaces()
	d.checkScriptUsers()
	d.vrrp = len(d.cfg.Instances) > 0
	d.cfg.Instances = slices.DeleteFunc(d.cfg.Instances, func(i *Instance) bool { return !d.checkInstance(i) })
	d.checkVRIDs()
	d.checkAddresses()
	d.checkGroups()
	for _, g := range d.cfg.TrackGroups {
		d.checkTrackGroup(g)
	}
	d.checkStatic()
	d.checkServerGroups()
	d.checkScripts()
}

// object reports on a named block; the place is the keyword's, or the block's
// own when the keyword is absent.
func (d *decoder) object(b *Block, path, keyword string, sev Severity, code Code, message, hint string) {
	pos, _ := b.At(keyword)
	d.out(Problem{Pos: pos, Severity: sev, Code: code, Path: path, Keyword: keyword, Message: message, Hint: hint})
}

func (d *decoder) checkVRIDs() {
	type key struct {
		iface string
		vrid  int
		fam   Family
	}
	first := map[key]*Instance{}
	for _, i := range d.cfg.Instances {
		if i.VRID == 0 || i.Interface == "" {
			continue
		}
		k := key{i.Interface, i.VRID, i.Family}
		if o := first[k]; o != nil {
			at, _ := o.At("virtual_router_id")
			d.object(&i.Block, i.path(), "virtual_router_id", Error, General,
				fmt.Sprintf("%d is already used on %s by vrrp_instance %s", i.VRID, i.Interface, o.Name), "must be unique per interface and family; the other is at "+at.String())
			i.Fault = fmt.Sprintf("virtual_router_id %d is already used on %s by %s", i.VRID, i.Interface, o.Name)
			continue
		}
		first[k] = i
	}
}

// checkAddresses finds an address that two instances would hold.
func (d *decoder) checkAddresses() {
	type owner struct {
		inst *Instance
		pos  Pos
	}
	type key struct {
		addr netip.Addr
		dev  string
	}
	seen := map[key]owner{}
	for _, i := range d.cfg.Instances {
		for _, list := range [][]Address{i.VIPs, i.VIPsExcluded} {
			for _, a := range list {
				k := key{a.Prefix.Addr(), a.Dev}
				if k.dev == "" {
					k.dev = i.Interface
				}
				if o, dup := seen[k]; dup && o.inst != i {
					d.out(Problem{Pos: a.Pos, Severity: Warning, Path: i.path(), Keyword: "virtual_ipaddress",
						Message: fmt.Sprintf("%s is also an address of vrrp_instance %s", k.addr, o.inst.Name), Hint: "the instances would take it from each other; the other is at " + o.pos.String()})
					continue
				}
				seen[k] = owner{i, a.Pos}
			}
		}
	}
}

func (d *decoder) checkTrackGroup(g *TrackGroup) {
	for _, m := range g.Members {
		if d.instance(m.Name) == nil {
			d.out(Problem{Pos: m.Pos, Severity: Error, Code: General, Path: "track_group " + g.Name, Keyword: "group",
				Message: fmt.Sprintf("there is no vrrp_instance %s", printable(m.Name)), Hint: d.suggestInstance(m.Name)})
		}
	}
}

// checkStatic resolves the track groups that static objects name.
func (d *decoder) checkStatic() {
	have := map[string]bool{}
	after := map[string]Pos{}
	for _, g := range d.cfg.TrackGroups {
		have[g.Name] = true
		after[g.Name] = g.Pos
	}
	say := func(name, block string, pos Pos) {
		if at := after[name]; at.File == pos.File && at.Line > pos.Line {
			d.out(Problem{Pos: pos, Severity: Warning, Code: General, Keyword: block,
				Message: "track_group " + name + " is defined later, keepalived does not find it", Hint: "put the block at " + at.String() + " before this one"})
		}
		if name != "" && !have[name] {
			d.out(Problem{Pos: pos, Severity: Error, Code: General, Keyword: block,
				Message: fmt.Sprintf("there is no track_group %s", printable(name)), Hint: nearest(name, have)})
		}
	}
	for _, a := range d.cfg.StaticAddresses {
		say(a.TrackGroup, "static_ipaddress", a.Pos)
	}
	for _, r := range d.cfg.StaticRoutes {
		say(r.TrackGroup, "static_routes", r.Pos)
	}
	for _, r := range d.cfg.StaticRules {
		say(r.TrackGroup, "static_rules", r.Pos)
	}
}

// checkServerOfGroup looks at what a group's entries do not go with.
func (d *decoder) checkServerOfGroup(v *VirtualServer) {
	say := func(keyword, message, hint string) {
		pos, _ := v.At(keyword)
		d.out(Problem{Pos: pos, Severity: Warning, Code: General, Path: "virtual_server " + v.name, Keyword: keyword, Message: message, Hint: hint})
	}
	n := slices.IndexFunc(d.cfg.VirtualServerGroups, func(g *VirtualServerGroup) bool { return g.Name == v.Group })
	entries := d.cfg.VirtualServerGroups[n].Entries
	marks, bare := 0, false
	for _, e := range entries {
		if e.FwMark != 0 {
			marks++
		} else if e.Port == 0 {
			bare = true
		}
	}
	if marks > 0 && marks == len(entries) && v.Protocol != "" {
		say("protocol", "is ignored, the group has firewall marks only", "")
	}
	for _, r := range v.RealServers {
		method := v.Forward.Method
		if r.Forward != nil {
			method = r.Forward.Method
		}
		for _, e := range entries {
			if method != "NAT" && e.FwMark == 0 && e.Port != r.Port {
				say("real_server", fmt.Sprintf("port %d of %s is not the group's %d", r.Port, r.Addr, e.Port), method+" cannot change the port")
				break
			}
		}
	}
	if bare && v.Persistence == 0 {
		say("persistence_timeout", "port 0 needs persistence, which is switched on", "give the group's addresses a port")
		v.Persistence = 360 * time.Second
	}
}

func (d *decoder) instance(name string) *Instance {
	if d.byName == nil {
		d.byName = make(map[string]*Instance, len(d.cfg.Instances))
		for _, i := range d.cfg.Instances {
			d.byName[i.Name] = i
		}
	}
	return d.byName[name]
}

func (d *decoder) suggestInstance(name string) string {
	have := map[string]bool{}
	for _, i := range d.cfg.Instances {
		have[i.Name] = true
	}
	return nearest(name, have)
}

func (d *decoder) checkServerGroups() {
	have := map[string]bool{}
	for _, g := range d.cfg.VirtualServerGroups {
		have[g.Name] = true
	}
	for _, v := range d.cfg.VirtualServers {
		if v.Group != "" && !have[v.Group] {
			d.out(Problem{Pos: v.Pos, Severity: Error, Path: "virtual_server " + v.name, Keyword: "group",
				Message: fmt.Sprintf("there is no virtual_server_group %s", printable(v.Group)), Hint: nearest(v.Group, have)})
			continue
		}
		if v.Group != "" {
			d.checkServerOfGroup(v)
		}
		d.checkServer(v)
	}
}
