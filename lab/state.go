package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Address is an address that an interface has.
type Address struct {
	Prefix    netip.Prefix
	Dev       string
	Label     string
	Broadcast netip.Addr // zero: none
	Scope     int        // RT_SCOPE_*: 0 global, 253 link, 254 host
}

// Route is a unicast route.
type Route struct {
	Dst      netip.Prefix // 0.0.0.0/0 or ::/0 for a default route
	Gateway  netip.Addr
	Src      netip.Addr // preferred source
	Dev      string
	Table    int
	Protocol int
	Metric   int
}

// Addresses lists the addresses of an interface, or of all when dev is "".
func (h *Host) Addresses(dev string) ([]Address, error) {
	var (
		links map[int]string
		list  []netlink.Addr
	)
	err := h.use(func(nl *netlink.Handle, _ netns.NsHandle) (err error) {
		if links, err = linkNames(nl); err != nil {
			return err
		}
		list, err = retryDump(func() ([]netlink.Addr, error) { return nl.AddrList(nil, netlink.FAMILY_ALL) })
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("host %s: listing addresses: %w", h.name, err)
	}
	if dev != "" && !slices.Contains(slices.Collect(maps.Values(links)), dev) {
		return nil, fmt.Errorf("host %s has no interface %q", h.name, dev)
	}
	var found []Address
	for _, a := range list {
		if name := links[a.LinkIndex]; dev == "" || name == dev {
			found = append(found, Address{
				Prefix: prefixOf(a.IPNet), Dev: name, Label: a.Label,
				Broadcast: addrOf(a.Broadcast), Scope: a.Scope,
			})
		}
	}
	return found, nil
}

// Holds reports whether any interface of the host has the address. A host
// that is off holds nothing.
func (h *Host) Holds(vip netip.Addr) (bool, error) {
	list, err := h.Addresses("")
	if !h.Alive() {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list, func(a Address) bool { return a.Prefix.Addr() == vip }), nil
}

// Holders names the hosts that have the address, in order of creation.
func (l *Lab) Holders(vip netip.Addr) ([]string, error) {
	var names []string
	for _, h := range l.Hosts() {
		has, err := h.Holds(vip)
		if err != nil {
			return nil, err
		}
		if has {
			names = append(names, h.name)
		}
	}
	return names, nil
}

// WaitHolders waits until exactly the named hosts, in any order, have the
// address.
func (l *Lab) WaitHolders(ctx context.Context, vip netip.Addr, want ...string) error {
	slices.Sort(want)
	return poll(ctx, func() (bool, error) {
		got, err := l.Holders(vip)
		slices.Sort(got)
		return err == nil && slices.Equal(got, want), err
	}, func() string {
		got, _ := l.Holders(vip)
		return fmt.Sprintf("%s is on %v, not on %v", vip, got, want)
	})
}

// pollEvery is how often a state of the kernel without notification is read.
const pollEvery = 10 * time.Millisecond

// poll waits until done reports true or fails; why describes the state that
// it gave up on.
func poll(ctx context.Context, done func() (bool, error), why func() string) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", why(), ctx.Err())
		}
	}
}

// Routes lists the unicast routes of both families and all tables, without
// those that the kernel keeps for local addresses.
func (h *Host) Routes() ([]Route, error) {
	var (
		links map[int]string
		list  []netlink.Route
	)
	err := h.use(func(nl *netlink.Handle, _ netns.NsHandle) (err error) {
		if links, err = linkNames(nl); err != nil {
			return err
		}
		list, err = retryDump(func() ([]netlink.Route, error) {
			filter := &netlink.Route{Table: unix.RT_TABLE_UNSPEC, Type: unix.RTN_UNICAST}
			return nl.RouteListFiltered(netlink.FAMILY_ALL, filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_TYPE)
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("host %s: listing routes: %w", h.name, err)
	}
	routes := make([]Route, 0, len(list))
	for _, r := range list {
		dst := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if r.Family == netlink.FAMILY_V6 {
			dst = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		if r.Dst != nil {
			dst = prefixOf(r.Dst)
		}
		routes = append(routes, Route{
			Dst: dst, Gateway: addrOf(r.Gw), Src: addrOf(r.Src), Dev: links[r.LinkIndex],
			Table: r.Table, Protocol: int(r.Protocol), Metric: r.Priority,
		})
	}
	return routes, nil
}

func linkNames(nl *netlink.Handle) (map[int]string, error) {
	list, err := retryDump(nl.LinkList)
	names := make(map[int]string, len(list))
	for _, l := range list {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	return names, err
}

// retryDump repeats a dump that the kernel marked as inconsistent because
// something changed under it.
func retryDump[T any](dump func() ([]T, error)) ([]T, error) {
	for tries := 0; ; tries++ {
		list, err := dump()
		if !errors.Is(err, netlink.ErrDumpInterrupted) || tries == 20 {
			return list, err
		}
	}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func prefixOf(n *net.IPNet) netip.Prefix {
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(addrOf(n.IP), bits)
}

func addrOf(ip net.IP) netip.Addr {
	addr, _ := netip.AddrFromSlice(ip)
	return addr.Unmap()
}
