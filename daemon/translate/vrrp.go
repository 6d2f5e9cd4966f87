package translate

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/daemon/settings"
	"github.com/keepmesh/keepmesh/vrrp"
)

// Tracker ids: what they name is part of `status`, so they read like words.
func linkTracker(dev string) vrrp.TrackerID     { return vrrp.TrackerID("link:" + dev) }
func sourceTracker(name string) vrrp.TrackerID  { return vrrp.TrackerID("source:" + name) }
func virtualTracker(dev string) vrrp.TrackerID  { return vrrp.TrackerID("vmac:" + dev) }
func wireTracker(name string) vrrp.TrackerID    { return vrrp.TrackerID("mute:" + name) }
func scriptTracker(name string) vrrp.TrackerID  { return vrrp.TrackerID("script:" + name) }
func processTracker(name string) vrrp.TrackerID { return vrrp.TrackerID("process:" + name) }
func fileTracker(name string) vrrp.TrackerID    { return vrrp.TrackerID("file:" + name) }
func bfdTracker(name string) vrrp.TrackerID     { return vrrp.TrackerID("bfd:" + name) }

// VRRP translates everything that the vrrp process needs. mesh says whether
// the node has a mesh, and with it a second wire.
func VRRP(c *config.Config, mesh *config.Mesh) (settings.VRRP, []string) {
	t := translator{c: c, mesh: mesh, taken: interfacesOf(c)}
	out := settings.VRRP{
		RTPriority: c.Global.VRRP.RTPriority, RTTimeMicros: c.Global.VRRP.RLimitRTTime,
		NoSwap: c.Global.VRRP.NoSwap, Nice: c.Global.VRRP.Nice,
		Firewall: settings.Firewall{Table: "keepalived", Priority: -1},
		Mesh:     mesh != nil,
	}
	gaps(c, &out)
	if n := c.Global.NFTables; n.Table != "" {
		out.Firewall = settings.Firewall{Table: n.Table, Priority: n.Priority}
	}
	out.Router.StartupDelay, out.DelayAfterBoot = c.Global.StartupDelay, c.Global.DelayAfterBoot
	out.BFD = bfds(c.BFDs)
	for _, inst := range c.Instances {
		if why := t.unusable(inst); why != "" {
			t.note(inst.Pos, "vrrp_instance %s: %s: the instance is left out", inst.Name, why)
			continue
		}
		r, s := t.instance(inst)
		if why := t.barred(inst); why != "" {
			t.note(inst.Pos, "vrrp_instance %s: %s: it stays in FAULT", inst.Name, why)
			bar(&r, &s, why)
		}
		out.Router.Instances = append(out.Router.Instances, r)
		out.Instances = append(out.Instances, s)
	}
	for _, g := range c.SyncGroups {
		t.untie(g, out.Router.Instances)
		if gc, ok := t.group(g, out.Router.Instances); ok {
			out.Router.Groups = append(out.Router.Groups, gc)
		}
	}
	for i := range c.StaticAddresses {
		out.StaticAddresses = append(out.StaticAddresses, t.address(&c.StaticAddresses[i], cmp.Or(c.StaticAddresses[i].Dev, c.Global.DefaultInterface)))
	}
	for i := range c.StaticRoutes {
		if r, ok := t.route(&c.StaticRoutes[i]); ok {
			out.StaticRoutes = append(out.StaticRoutes, r)
		}
	}
	return out, t.notes
}

type translator struct {
	c     *config.Config
	mesh  *config.Mesh
	notes []string
	taken map[string]bool // names of interfaces, configured or given to virtual ones
}

func (t *translator) note(pos config.Pos, format string, a ...any) {
	t.notes = append(t.notes, pos.String()+": "+fmt.Sprintf(format, a...))
}

// unusable says why an instance cannot run at all; empty where it can. An
// interface that is absent is no reason: the instance waits for it in FAULT.
func (t *translator) unusable(i *config.Instance) string {
	switch {
	case i.Interface == "":
		return "it names no interface"
	case i.VRID == 0:
		return "it has no virtual_router_id"
	}
	return ""
}

func (t *translator) instance(i *config.Instance) (vrrp.InstanceConfig, settings.Instance) {
	source := i.McastSrcIP
	if i.Unicast {
		source = i.UnicastSrcIP
	}
	r := vrrp.InstanceConfig{
		Name: i.Name,
		Key: vrrp.Key{
			Family: uint8(i.Family), VRID: uint8(i.VRID), Interface: i.Interface, Unicast: i.Unicast, Source: source,
		},
		Version: uint8(i.Version), Priority: uint8(i.Priority), WantActive: i.State == config.Master,
		AdvertInterval: i.AdvertInterval, DownTimerAdverts: i.DownTimerAdverts,
		NoPreempt: i.NoPreempt, PreemptDelay: i.PreemptDelay,
		HigherPrioSendAdvert: i.HigherPrioSendAdvert, LowerPrioNoAdvert: i.LowerPrioNoAdvert,
		TimerExpiredBackup: t.timerExpired(i),
		Source:             source,
		Announce: vrrp.AnnounceConfig{
			Repeat: i.GARP.MasterRepeat, Delay: i.GARP.MasterDelay,
			Refresh: i.GARP.MasterRefresh, RefreshRepeat: i.GARP.MasterRefreshRepeat,
			LowerPrioRepeat: i.GARP.LowerPrioRepeat, LowerPrioDelay: i.GARP.LowerPrioDelay,
		},
		AskPermit: t.mesh != nil,
	}
	s := settings.Instance{
		Group: i.McastDstIP, CheckUnicastSrc: i.CheckUnicastSrc, TTL: 255, SkipCheckAdvAddr: i.SkipCheckAdvAddr,
		OwnerIgnore: i.OwnerIgnoreAdverts && i.Priority == int(vrrp.Owner), TrackSrc: i.TrackSrcIP, LANProbe: i.LANProbe, Policy: "availability",
		TrackLost: true, NoAccept: !i.Accept, ExtraIf: i.GARP.ExtraIf, ExtraIfAll: i.GARP.ExtraIfAll,
	}
	if s.LANProbe == config.Auto && t.mesh != nil {
		s.LANProbe = t.mesh.LANProbe
	}
	t.authentication(i, &s)
	t.checksum(i, &s)
	if i.Unicast {
		s.Group = netip.Addr{}
		if i.UnicastTTL >= 0 {
			s.TTL = i.UnicastTTL
		}
		for _, p := range i.UnicastPeers {
			s.Peers = append(s.Peers, settings.Peer{Addr: p.Addr, HasTTL: p.HasTTL, MinTTL: p.MinTTL, MaxTTL: p.MaxTTL})
			s.CheckUnicastSrc = s.CheckUnicastSrc || p.HasTTL
		}
	}
	r.Trackers = t.conditions(i)
	if s.HMAC != nil {
		// Whether its keys can be read, the vrrp process finds out.
		r.Trackers = append(r.Trackers, vrrp.Track{ID: configTracker(i.Name)})
	}
	s.WatchLinks = watched(i)
	on := t.virtuals(i)
	for k := range i.VIPs {
		s.VIPs = append(s.VIPs, t.address(&i.VIPs[k], on.carrier(&i.VIPs[k])))
	}
	for k := range i.VIPsExcluded {
		s.Excluded = append(s.Excluded, t.address(&i.VIPsExcluded[k], on.carrier(&i.VIPsExcluded[k])))
	}
	s.Base, s.Virtuals, s.VirtualSource = i.Interface, on.made, on.source
	r.Key.Interface = on.sender()
	for _, v := range on.made {
		r.Trackers = append(r.Trackers, vrrp.Track{ID: virtualTracker(v.Name)})
	}
	for k := range i.VirtualRoutes {
		if route, ok := t.route(&i.VirtualRoutes[k]); ok {
			s.Routes = append(s.Routes, route)
		}
	}
	for k := range i.VirtualRules {
		if rule, ok := t.rule(&i.VirtualRules[k]); ok {
			s.Rules = append(s.Rules, rule)
		}
	}
	return r, s
}

// conditions are the trackers of an instance, its own interface and source
// address among them.
func (t *translator) conditions(i *config.Instance) []vrrp.Track {
	var out []vrrp.Track
	if !i.DontTrackPrimary {
		out = append(out, vrrp.Track{ID: linkTracker(i.Interface)})
	}
	out = append(out, vrrp.Track{ID: sourceTracker(i.Name)})
	if t.mesh != nil {
		out = append(out, vrrp.Track{ID: wireTracker(i.Name)})
	}
	return append(out, t.tracking(&i.Tracking)...)
}

func (t *translator) tracking(tr *config.Tracking) []vrrp.Track {
	var out []vrrp.Track
	for _, x := range tr.TrackInterfaces {
		id := linkTracker(x.Name)
		if slices.ContainsFunc(out, func(o vrrp.Track) bool { return o.ID == id }) {
			continue
		}
		out = append(out, vrrp.Track{ID: id, Weight: x.Weight, Reverse: x.Reverse})
	}
	out = append(out, tracks(tr.TrackScripts, scriptTracker, t.c.Scripts, func(s *config.Script) definition {
		return definition{name: s.Name, weight: s.Weight, reverse: s.Reverse}
	})...)
	out = append(out, tracks(tr.TrackFiles, fileTracker, t.c.TrackFiles, func(f *config.TrackFile) definition {
		return definition{name: f.Name, weight: f.Weight, reverse: f.Reverse, value: true}
	})...)
	out = append(out, tracks(tr.TrackProcesses, processTracker, t.c.TrackProcesses, func(p *config.TrackProcess) definition {
		return definition{name: p.Name, weight: p.Weight, reverse: p.Reverse}
	})...)
	return append(out, tracks(tr.TrackBFDs, bfdTracker, t.c.BFDs, func(b *config.BFD) definition {
		return definition{name: b.Name, weight: b.Weight, reverse: b.Reverse}
	})...)
}

// definition is what the block of a tracked condition says of its weight.
type definition struct {
	name    string
	weight  int
	reverse bool
	value   bool // the condition is a number
}

// tracks binds the lines of a track_... block to the definitions they name; a
// line's own weight counts before the definition's. Names without a definition
// have been reported by the reader.
func tracks[T any](lines []config.Track, id func(string) vrrp.TrackerID, blocks []*T, of func(*T) definition) []vrrp.Track {
	var out []vrrp.Track
	for _, x := range lines {
		for _, b := range blocks {
			d := of(b)
			if d.name != x.Name {
				continue
			}
			if x.HasWeight {
				d.weight, d.reverse = x.Weight, x.Reverse
			}
			out = append(out, vrrp.Track{ID: id(x.Name), Weight: d.weight, Reverse: d.reverse, Value: d.value})
			break
		}
	}
	return out
}

// watched are the interfaces whose state the instance depends on.
func watched(i *config.Instance) []string {
	out := []string{i.Interface}
	for _, x := range i.TrackInterfaces {
		if !slices.Contains(out, x.Name) {
			out = append(out, x.Name)
		}
	}
	return out
}

// untie turns the interface weights of a group's members into faults, unless
// the group keeps weights: a priority that moves for one member alone would
// tear it apart (keepalived does the same; it drops the weights of scripts).
func (t *translator) untie(g *config.SyncGroup, instances []vrrp.InstanceConfig) {
	if g.GlobalTracking {
		return
	}
	for n := range instances {
		if !slices.ContainsFunc(g.Members, func(r config.Ref) bool { return r.Name == instances[n].Name }) {
			continue
		}
		for k := range instances[n].Trackers {
			if tr := &instances[n].Trackers[k]; strings.HasPrefix(string(tr.ID), "link:") {
				tr.Weight = 0
			}
		}
		instances[n].Trackers = slices.DeleteFunc(instances[n].Trackers, func(tr vrrp.Track) bool {
			drop := tr.Weight != 0 && strings.HasPrefix(string(tr.ID), "bfd:")
			if drop {
				t.note(g.Pos, "vrrp_instance %s is in a sync group: its weighted track_bfd is left out; give it weight 0, or the group sync_group_tracking_weight", instances[n].Name)
			}
			return drop
		})
	}
}

// group translates a sync group; members that were left out make it smaller.
func (t *translator) group(g *config.SyncGroup, have []vrrp.InstanceConfig) (vrrp.GroupConfig, bool) {
	out := vrrp.GroupConfig{Name: g.Name, TrackWeights: g.GlobalTracking, Trackers: t.tracking(&g.Tracking)}
	for _, m := range g.Members {
		if slices.ContainsFunc(have, func(i vrrp.InstanceConfig) bool { return i.Name == m.Name }) {
			out.Members = append(out.Members, m.Name)
		}
	}
	if len(out.Members) == 0 {
		t.note(g.Pos, "vrrp_sync_group %s has no usable member and is left out", g.Name)
		return out, false
	}
	return out, true
}
