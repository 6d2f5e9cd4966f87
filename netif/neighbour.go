package netif

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Neighbours returns the IPv4 addresses on dev whose answer to an ARP request
// shows that the LAN is alive, the most telling first: the gateway, then
// neighbours heard lately, then those heard once. Entries that failed or were
// never answered are left out.
func (k *Kernel) Neighbours(dev string) ([]netip.Addr, error) {
	index, err := k.names.index(dev)
	if err != nil {
		return nil, fmt.Errorf("listing neighbours: %w", err)
	}
	entries, err := complete(func() ([]netlink.Neigh, error) { return k.dump.NeighList(index, netlink.FAMILY_V4) })
	if err != nil {
		return nil, fmt.Errorf("listing neighbours on %s: %w", dev, err)
	}
	var out []netip.Addr
	if gw, ok := k.Gateway(dev); ok {
		out = append(out, gw)
	}
	slices.SortStableFunc(entries, func(a, b netlink.Neigh) int {
		return cmp.Compare(neighbourRank(a.State), neighbourRank(b.State))
	})
	for _, e := range entries {
		ip, ok := netip.AddrFromSlice(e.IP)
		ip = ip.Unmap()
		if ok && neighbourRank(e.State) < unheard && !slices.Contains(out, ip) && !ip.IsMulticast() {
			out = append(out, ip)
		}
	}
	return out, nil
}

// unheard is the rank of an entry that nobody ever answered for.
const unheard = 9

func neighbourRank(state int) int {
	switch {
	case state&unix.NUD_REACHABLE != 0:
		return 0
	case state&(unix.NUD_DELAY|unix.NUD_PROBE) != 0:
		return 1
	case state&unix.NUD_STALE != 0:
		return 2
	case state&unix.NUD_PERMANENT != 0:
		return 3
	}
	return unheard
}

// Gateway returns the IPv4 gateway of the default route through dev, of the
// lowest metric where there are several.
func (k *Kernel) Gateway(dev string) (netip.Addr, bool) {
	index, err := k.names.index(dev)
	if err != nil {
		return netip.Addr{}, false
	}
	filter := &netlink.Route{Table: unix.RT_TABLE_MAIN}
	routes, err := complete(func() ([]netlink.Route, error) {
		return k.dump.RouteListFiltered(netlink.FAMILY_V4, filter, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return netip.Addr{}, false
	}
	slices.SortStableFunc(routes, func(a, b netlink.Route) int { return cmp.Compare(a.Priority, b.Priority) })
	for _, r := range routes {
		if p := prefixOf(r.Dst); p.IsValid() && p.Bits() != 0 {
			continue
		}
		if gw, ok := netip.AddrFromSlice(r.Gw); ok && r.LinkIndex == index {
			return gw.Unmap(), true
		}
		for _, hop := range r.MultiPath {
			if gw, ok := netip.AddrFromSlice(hop.Gw); ok && hop.LinkIndex == index {
				return gw.Unmap(), true
			}
		}
	}
	return netip.Addr{}, false
}

// NetworkAddress returns p's address with all host bits zero. Nobody may have
// it where the prefix is shorter than /31, so that an answer for it tells that
// the network answers ARP for everything, as clouds do.
func NetworkAddress(p netip.Prefix) netip.Addr { return p.Masked().Addr() }
