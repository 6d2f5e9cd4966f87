package translate

import (
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/netif"
)

// address translates one address line; dev is the interface it falls back to.
func (t *translator) address(a *config.Address, dev string) netif.Address {
	if a.Dev != "" {
		dev = a.Dev
	}
	out := netif.VIP(a.Prefix, dev)
	out.Label, out.Peer = a.Label, a.Peer
	if a.Scope > 0 {
		out.Scope = a.Scope
	}
	if a.DAD {
		out.NoDAD = false
	}
	switch a.BroadcastMode {
	case config.BroadcastNone:
	case config.BroadcastSet:
		out.Broadcast = netif.BroadcastOf(a.Prefix)
	case config.BroadcastClear:
		out.Broadcast = a.Prefix.Masked().Addr()
	case config.BroadcastAddr:
		out.Broadcast = a.Broadcast
	}
	if a.PreferredLft != nil {
		out.Deprecated = *a.PreferredLft == 0
		if *a.PreferredLft != 0 && *a.PreferredLft != ^uint32(0) {
			out.PreferredSeconds = *a.PreferredLft
		}
	}
	for _, f := range []struct {
		on  bool
		bit uint32
	}{
		{a.Home, unix.IFA_F_HOMEADDRESS}, {a.ManageTemp, unix.IFA_F_MANAGETEMPADDR},
		{a.NoPrefixRoute, unix.IFA_F_NOPREFIXROUTE}, {a.AutoJoin, unix.IFA_F_MCAUTOJOIN},
	} {
		if f.on {
			out.Flags |= f.bit
		}
	}
	return out
}

var routeTypes = map[config.RouteType]int{
	"": unix.RTN_UNICAST, "unicast": unix.RTN_UNICAST, "local": unix.RTN_LOCAL, "broadcast": unix.RTN_BROADCAST,
	"anycast": unix.RTN_ANYCAST, "multicast": unix.RTN_MULTICAST, "blackhole": unix.RTN_BLACKHOLE,
	"unreachable": unix.RTN_UNREACHABLE, "prohibit": unix.RTN_PROHIBIT, "throw": unix.RTN_THROW,
}

var scopes = map[string]int{
	"": unix.RT_SCOPE_UNIVERSE, "global": unix.RT_SCOPE_UNIVERSE, "universe": unix.RT_SCOPE_UNIVERSE,
	"site": unix.RT_SCOPE_SITE, "link": unix.RT_SCOPE_LINK, "host": unix.RT_SCOPE_HOST, "nowhere": unix.RT_SCOPE_NOWHERE,
}

var tables = map[string]int{"": 0, "main": unix.RT_TABLE_MAIN, "local": unix.RT_TABLE_LOCAL, "default": unix.RT_TABLE_DEFAULT}

var protocols = map[string]int{
	"": 0, "kernel": unix.RTPROT_KERNEL, "boot": unix.RTPROT_BOOT, "static": unix.RTPROT_STATIC, "keepalived": netif.ProtocolKeepalived,
}

// numbered looks a word up, or takes it as a number of any base.
func numbered(names map[string]int, word string) (int, bool) {
	if n, ok := names[word]; ok {
		return n, true
	}
	n, err := strconv.ParseUint(word, 0, 32)
	return int(n), err == nil
}

// route translates one route line. What the kernel interface does not carry
// yet leaves the route out with a note: half a route is a wrong route.
func (t *translator) route(r *config.Route) (netif.Route, bool) {
	out := netif.Route{
		Dst: r.Dst, Via: r.Via, Dev: r.Dev, Src: r.Src, OnLink: r.OnLink, Append: r.Append,
		V6: r.Family == config.IPv6,
	}
	if r.Default {
		out.Dst = r.Dst.Masked()
		if r.Dst.IsValid() && r.Dst.Bits() != 0 {
			out.Dst = r.Dst
		}
	}
	var ok [5]bool
	out.Type, ok[0] = routeTypes[r.Type]
	out.Scope, ok[1] = numbered(scopes, r.Scope)
	out.Table, ok[2] = numbered(tables, r.Table)
	out.Proto, ok[3] = numbered(protocols, r.Protocol)
	out.TOS, ok[4] = numbered(map[string]int{"": 0}, r.TOS)
	if ok != [5]bool{true, true, true, true, true} || len(r.Encap) > 0 || r.Realms != "" || r.Pref != "" ||
		r.Expires != nil || r.VRF != "" || len(r.Metrics) > 0 || r.From.IsValid() {
		t.note(r.Pos, "route %v uses an attribute that has no effect yet: the route is left out", r.Raw)
		return out, false
	}
	if r.Metric != nil {
		out.Metric = int(*r.Metric)
	}
	for _, h := range r.NextHops {
		if len(h.Encap) > 0 || h.Realms != "" {
			t.note(r.Pos, "route %v: encap and realms have no effect yet: the route is left out", r.Raw)
			return out, false
		}
		out.NextHops = append(out.NextHops, netif.NextHop{Via: h.Via, Dev: h.Dev, Weight: h.Weight, OnLink: h.OnLink})
	}
	return out, true
}

// rule translates one rule line, with the same care.
func (t *translator) rule(r *config.Rule) (netif.Rule, bool) {
	out := netif.Rule{V6: r.Family == config.IPv6, Not: r.Not, From: r.From, To: r.To, IIF: r.IIF, OIF: r.OIF}
	var ok [2]bool
	out.Table, ok[0] = numbered(tables, r.Table)
	out.TOS, ok[1] = numbered(map[string]int{"": 0}, r.TOS)
	if ok != [2]bool{true, true} || r.FwMark != "" || r.Realms != "" || r.SuppressIfGroup != "" || r.TunnelID != "" ||
		r.UIDRange != "" || r.L3MDev || r.Protocol != "" || r.IPProto != "" || r.SPort != "" || r.DPort != "" || r.Action != "" {
		t.note(r.Pos, "rule %v uses an attribute that has no effect yet: the rule is left out", r.Raw)
		return out, false
	}
	if r.Priority != nil {
		out.Priority = int(*r.Priority)
	}
	if r.SuppressPrefixLen != nil {
		out.SuppressPrefix, out.HasSuppressPrefix = int(*r.SuppressPrefixLen), true
	}
	return out, true
}
