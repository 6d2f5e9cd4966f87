package netif

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Address is one address as it shall stand in the kernel. Its zero fields mean
// what keepalived leaves out: scope global, no broadcast, no label, valid and
// preferred for ever.
type Address struct {
	Prefix    netip.Prefix // the address with its own host bits and its prefix length
	Dev       string       // interface name
	Label     string       // IPv4 only, at most 15 bytes; empty: the interface name
	Broadcast netip.Addr   // IPv4 only; the zero Addr: none
	Scope     int          // RT_SCOPE_*, 0 is global; the kernel derives that of IPv6 itself
	Peer      netip.Prefix // point-to-point peer; the zero Prefix: none

	// NoDAD skips duplicate address detection (IPv6 only): the address answers
	// at once. keepalived sets it unless the configuration has `-nodad`.
	NoDAD bool
	// Deprecated is a preferred lifetime of 0: the address serves what comes
	// in and is never chosen as source. keepalived sets it for an IPv6 /128.
	Deprecated bool
	// PreferredSeconds is the preferred lifetime in seconds; 0 is for ever.
	PreferredSeconds uint32
	// Flags holds further IFA_F_* bits: IFA_F_HOMEADDRESS,
	// IFA_F_MANAGETEMPADDR, IFA_F_NOPREFIXROUTE, IFA_F_MCAUTOJOIN.
	Flags uint32
}

// VIP returns prefix on dev with the attributes that keepalived gives an
// address configured by nothing else. A prefix without a length is the
// caller's matter: keepalived takes it as /32 or /128.
func VIP(prefix netip.Prefix, dev string) Address {
	v6 := prefix.Addr().Is6()
	return Address{Prefix: prefix, Dev: dev, NoDAD: v6, Deprecated: v6 && prefix.Bits() == 128}
}

// BroadcastOf returns the address of p's network with all host bits set, the
// meaning of `brd +`. It returns the zero Addr where the network has none: IPv6
// and prefixes longer than /30.
func BroadcastOf(p netip.Prefix) netip.Addr {
	if !p.Addr().Is4() || p.Bits() > 30 || p.Bits() < 0 {
		return netip.Addr{}
	}
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

// flags returns the IFA_F_* bits that are asked of the kernel.
func (a Address) flags() uint32 {
	f := a.Flags
	if a.NoDAD && a.Prefix.Addr().Is6() {
		f |= unix.IFA_F_NODAD
	}
	return f
}

// String returns the address as a person writes it: "10.0.0.1/24 dev eth0".
func (a Address) String() string { return a.Prefix.String() + " dev " + a.Dev }

// AddAddresses adds addresses in the given order, many per system call, and
// returns one error per address, nil where the address is in place. One that
// already exists on the interface with its prefix is adopted; if its
// attributes differ, those that the kernel can change in place (flags and
// lifetimes) are changed. It is not deleted for the sake of the others:
// deleting an IPv4 address takes the secondary addresses of its network along.
func (k *Kernel) AddAddresses(addrs []Address) []error {
	const create = unix.NLM_F_CREATE | unix.NLM_F_EXCL
	reqs, errs := k.addressRequests(addrs, unix.RTM_NEWADDR, create)
	var existing []netlink.Addr
	for i, err := range k.batch.run(reqs) {
		switch {
		case errs[i] != nil:
		case errors.Is(err, unix.EEXIST):
			if existing == nil {
				if existing, err = k.addresses(); err != nil {
					errs[i] = fmt.Errorf("comparing %s with what exists: %w", addrs[i], err)
					continue
				}
			}
			errs[i] = k.adopt(addrs[i], existing)
		case err != nil:
			errs[i] = fmt.Errorf("adding %s: %w", addrs[i], err)
		}
	}
	return errs
}

// DelAddresses removes addresses, in reverse order so that the secondary ones
// of a network go before the primary one, and returns one error per address. An
// address or interface that is absent is success. Only address, prefix length,
// peer and interface are compared, so that what an earlier configuration left
// with another label goes too.
func (k *Kernel) DelAddresses(addrs []Address) []error {
	_, errs := k.delAddresses(addrs)
	return errs
}

func (k *Kernel) delAddresses(addrs []Address) (removed int, errs []error) {
	reversed := make([]Address, len(addrs))
	for i, a := range addrs {
		reversed[len(addrs)-1-i] = a
	}
	reqs, build := k.addressRequests(reversed, unix.RTM_DELADDR, 0)
	errs = make([]error, len(addrs))
	for i, err := range k.batch.run(reqs) {
		at := len(addrs) - 1 - i
		switch {
		case absent(build[i]), absent(err):
		case build[i] != nil:
			errs[at] = build[i]
		case err != nil:
			errs[at] = fmt.Errorf("removing %s: %w", reversed[i], err)
		default:
			removed++
		}
	}
	return removed, errs
}

// absent reports whether an error says that there is nothing to remove: no
// such address, interface, route, rule, or no such family in this kernel.
func absent(err error) bool {
	for _, errno := range []unix.Errno{
		unix.EADDRNOTAVAIL, unix.ENODEV, unix.ENXIO, unix.ESRCH, unix.ENOENT, unix.EAFNOSUPPORT, unix.EOPNOTSUPP,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// addressRequests builds one request per address; where that fails the request
// is nil and the error says why.
func (k *Kernel) addressRequests(addrs []Address, msgType, flags int) ([]*nl.NetlinkRequest, []error) {
	reqs := make([]*nl.NetlinkRequest, len(addrs))
	errs := make([]error, len(addrs))
	indexes := make(map[string]int, 4)
	for i, a := range addrs {
		index, err := k.indexOnce(indexes, a.Dev)
		if err == nil {
			err = a.check()
		}
		if err != nil {
			errs[i] = fmt.Errorf("address %s: %w", a.Prefix, err)
			continue
		}
		reqs[i] = a.request(index, msgType, flags)
	}
	return reqs, errs
}

// indexOnce looks an interface up at most once per call of an operation.
func (k *Kernel) indexOnce(seen map[string]int, dev string) (int, error) {
	if index, ok := seen[dev]; ok {
		return index, nil
	}
	index, err := k.names.index(dev)
	if err == nil {
		seen[dev] = index
	}
	return index, err
}

func (a Address) check() error {
	switch {
	case !a.Prefix.IsValid() || a.Prefix.Addr().Is4In6() || a.Prefix.Addr().IsUnspecified():
		return fmt.Errorf("not an address for an interface: %w", unix.EINVAL)
	case a.Peer.IsValid() && a.Peer.Addr().Is4() != a.Prefix.Addr().Is4():
		return fmt.Errorf("peer %s is of the other family: %w", a.Peer, unix.EINVAL)
	case a.Broadcast.IsValid() && !a.Broadcast.Is4():
		return fmt.Errorf("broadcast %s is not an IPv4 address: %w", a.Broadcast, unix.EINVAL)
	case len(a.Label) >= unix.IFNAMSIZ:
		return fmt.Errorf("label %q is longer than 15 bytes: %w", a.Label, unix.EINVAL)
	}
	return nil
}

func (a Address) request(index, msgType, flags int) *nl.NetlinkRequest {
	v4 := a.Prefix.Addr().Is4()
	req := nl.NewNetlinkRequest(msgType, flags)
	msg := nl.NewIfAddrmsg(family(a.Prefix.Addr()))
	msg.Index = uint32(index)
	msg.Prefixlen = uint8(a.Prefix.Bits())
	req.AddData(msg)

	local := a.Prefix.Addr().WithZone("").AsSlice()
	far := local
	if a.Peer.IsValid() {
		msg.Prefixlen = uint8(a.Peer.Bits())
		far = a.Peer.Addr().WithZone("").AsSlice()
	}
	req.AddData(nl.NewRtAttr(unix.IFA_LOCAL, local))
	req.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, far))
	if msgType == unix.RTM_DELADDR {
		return req
	}

	msg.Scope = uint8(a.Scope)
	if f := a.flags(); f != 0 {
		req.AddData(nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(f)))
	}
	if v4 && a.Broadcast.IsValid() {
		req.AddData(nl.NewRtAttr(unix.IFA_BROADCAST, a.Broadcast.AsSlice()))
	}
	if v4 && a.Label != "" {
		req.AddData(nl.NewRtAttr(unix.IFA_LABEL, nl.ZeroTerminated(a.Label)))
	}
	if a.Deprecated || a.PreferredSeconds != 0 {
		life := nl.IfaCacheInfo{IfaCacheinfo: unix.IfaCacheinfo{Valid: forever, Prefered: a.preferred()}}
		req.AddData(nl.NewRtAttr(unix.IFA_CACHEINFO, life.Serialize()))
	}
	return req
}

// forever is the lifetime that does not run out (INFINITY_LIFE_TIME).
const forever = ^uint32(0)

func (a Address) preferred() uint32 {
	switch {
	case a.Deprecated:
		return 0
	case a.PreferredSeconds != 0:
		return a.PreferredSeconds
	}
	return forever
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// addresses dumps all addresses of both families, in kernel order.
func (k *Kernel) addresses() ([]netlink.Addr, error) {
	return complete(func() ([]netlink.Addr, error) { return k.dump.AddrList(nil, netlink.FAMILY_ALL) })
}

// adopt makes an existing address ours.
func (k *Kernel) adopt(a Address, existing []netlink.Addr) error {
	index, err := k.names.index(a.Dev)
	if err != nil {
		return fmt.Errorf("adopting %s: %w", a, err)
	}
	for i := range existing {
		if e := &existing[i]; e.LinkIndex == index && a.sameKey(e) && a.sameAttributes(e) {
			return nil
		}
	}
	req := a.request(index, unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	if err := k.batch.run([]*nl.NetlinkRequest{req})[0]; err != nil {
		return fmt.Errorf("adopting %s: %w", a, err)
	}
	k.log.Warn("address existed with other attributes and was kept", "vip", a.Prefix.String(), "iface", a.Dev)
	return nil
}

// sameKey compares what the kernel regards as the identity of an address.
func (a Address) sameKey(e *netlink.Addr) bool {
	if !prefixOf(e.IPNet).Addr().IsValid() || prefixOf(e.IPNet).Addr() != a.Prefix.Addr() {
		return false
	}
	if a.Peer.IsValid() {
		return prefixOf(e.Peer) == a.Peer
	}
	return prefixOf(e.IPNet) == a.Prefix
}

func (a Address) sameAttributes(e *netlink.Addr) bool {
	// The kernel sets these by itself: they say nothing of who added it.
	const own = unix.IFA_F_SECONDARY | unix.IFA_F_PERMANENT | unix.IFA_F_DEPRECATED | unix.IFA_F_TENTATIVE
	if uint32(e.Flags)&^own != a.flags() {
		return false
	}
	if uint32(e.PreferedLft) != a.preferred() && (a.PreferredSeconds == 0 || uint32(e.PreferedLft) > a.PreferredSeconds) {
		return false
	}
	if !a.Prefix.Addr().Is4() {
		return true
	}
	label := a.Label
	if label == "" {
		label = a.Dev
	}
	return e.Scope == a.Scope && e.Label == label && bytes.Equal(e.Broadcast.To4(), a.Broadcast.AsSlice())
}

// prefixOf converts an address with mask. The zero Prefix stands for nil.
func prefixOf(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	ip, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	if !ok || bits == 0 {
		return netip.Prefix{}
	}
	if bits == 32 {
		ip = ip.Unmap()
	}
	return netip.PrefixFrom(ip, ones)
}
