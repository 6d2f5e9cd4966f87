package translate

import (
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/netif"
)

// address translates one address line; dev is the interface that carries it.
func (t *translator) address(a *config.Address, dev string) netif.Address {
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
