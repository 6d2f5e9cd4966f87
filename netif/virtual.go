package netif

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Kinds of a Virtual, named as the kernel names them.
const (
	MACVLAN = "macvlan"
	IPVLAN  = "ipvlan"
)

// Virtual is an interface that stands on another one and carries the addresses
// of a virtual router: use_vmac and use_ipvlan.
type Virtual struct {
	Name   string
	Parent string
	Kind   string // MACVLAN or IPVLAN
	MAC    MAC    // of a MACVLAN; an IPVLAN has its parent's
	V6     bool   // of an IPv6 instance; else IPv6 is switched off on it
	Group  uint32 // of interfaces (`ip link set group`), 0 is the default one
	// Mode is that of an IPVLAN: "" or "bridge", "private", "vepa". A MACVLAN
	// is always private: two virtual routers of one host do not talk.
	Mode string
}

// VirtualMAC is the virtual router's MAC address of RFC 9568 section 7.3.
func VirtualMAC(vrid uint8, v6 bool) MAC {
	if v6 {
		return MAC{0, 0, 0x5e, 0, 2, vrid}
	}
	return MAC{0, 0, 0x5e, 0, 1, vrid}
}

// String returns the interface as a person writes it: "vrrp.51 on eth0".
func (v Virtual) String() string { return v.Name + " on " + v.Parent }

// AddVirtual makes an interface and switches it on. One that is already there
// is adopted if it is of the same kind and MAC and stands on the same parent;
// any other of that name is an error that wraps EEXIST. A kernel without the
// kind gives an error that wraps EOPNOTSUPP, an absent parent one that wraps
// ENODEV. IPv6 of an interface for IPv4 is switched off through settings, which
// must not be nil, before anything can be sent.
func (k *Kernel) AddVirtual(v Virtual, settings *Sysctls) error {
	parent, err := k.names.index(v.Parent)
	if err != nil {
		return fmt.Errorf("making %s: %w", v, err)
	}
	switch there, err := k.existing(v, parent); {
	case err != nil:
		return err
	case !there:
		if err := k.batch.run([]*nl.NetlinkRequest{v.create(parent)})[0]; err != nil {
			if errors.Is(err, unix.EOPNOTSUPP) {
				return fmt.Errorf("making %s: this kernel has no %s; load its module (modprobe %s) or do without: %w", v, v.Kind, v.Kind, err)
			}
			return fmt.Errorf("making %s: %w", v, err)
		}
	}
	return k.prepareVirtual(v, settings)
}

// prepareVirtual sets what can be set only when the interface exists, and
// before it is up: its link-local address would be that of every other router.
func (k *Kernel) prepareVirtual(v Virtual, settings *Sysctls) error {
	index, err := k.names.index(v.Name)
	if err != nil {
		return fmt.Errorf("making %s: %w", v, err)
	}
	quiet := k.batch.run([]*nl.NetlinkRequest{withoutLinkLocal(index)})[0]
	settings.prepare(v)
	if quiet != nil && !absent(quiet) { // a kernel without IPv6
		return fmt.Errorf("keeping %s without an address of its own: %w", v, quiet)
	}
	if err := k.batch.run([]*nl.NetlinkRequest{switchOn(index)})[0]; err != nil && !errors.Is(err, unix.ENETDOWN) {
		return fmt.Errorf("switching on %s: %w", v, err)
	}
	return nil
}

// DelVirtual removes the interface with all its addresses and reports whether
// there was one. Another interface of that name stays.
func (k *Kernel) DelVirtual(v Virtual) (bool, error) {
	link, err := k.linkNamed(v.Name)
	if link == nil || err != nil {
		return false, err
	}
	if !v.isKind(link) {
		return false, nil
	}
	req := nl.NewNetlinkRequest(unix.RTM_DELLINK, 0)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(link.Attrs().Index)
	req.AddData(msg)
	switch err := k.batch.run([]*nl.NetlinkRequest{req})[0]; {
	case err == nil:
		return true, nil
	case absent(err):
		return false, nil
	default:
		return false, fmt.Errorf("removing %s: %w", v, err)
	}
}

// existing reports whether the very interface is there; another one of that
// name is an error.
func (k *Kernel) existing(v Virtual, parent int) (bool, error) {
	link, err := k.linkNamed(v.Name)
	if link == nil || err != nil {
		return false, err
	}
	if !v.isKind(link) || link.Attrs().ParentIndex != parent {
		return false, fmt.Errorf("making %s: another interface has this name; remove it, or name another one after use_vmac: %w", v, unix.EEXIST)
	}
	return true, nil
}

func (v Virtual) isKind(link netlink.Link) bool {
	mac := link.Attrs().HardwareAddr
	return link.Type() == v.Kind && (v.Kind != MACVLAN || len(mac) == len(v.MAC) && MAC(mac) == v.MAC)
}

// linkNamed returns nil where there is no such interface.
func (k *Kernel) linkNamed(name string) (netlink.Link, error) {
	link, err := k.dump.LinkByName(name)
	var none netlink.LinkNotFoundError
	switch {
	case errors.As(err, &none) || errors.Is(err, unix.ENODEV):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("looking for interface %s: %w", name, err)
	}
	return link, nil
}

// Attributes of struct ifla_ipvlan, if_link.h.
const (
	ipvlanModeL2      = 0
	ipvlanFlagPrivate = 1
	ipvlanFlagVEPA    = 2
)

func (v Virtual) create(parent int) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(v.Name)))
	req.AddData(nl.NewRtAttr(unix.IFLA_LINK, nl.Uint32Attr(uint32(parent))))
	if v.Group != 0 {
		req.AddData(nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(v.Group)))
	}
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(v.Kind))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	if v.Kind == MACVLAN {
		req.AddData(nl.NewRtAttr(unix.IFLA_ADDRESS, v.MAC[:]))
		data.AddRtAttr(nl.IFLA_MACVLAN_MODE, nl.Uint32Attr(nl.MACVLAN_MODE_PRIVATE))
	} else {
		data.AddRtAttr(nl.IFLA_IPVLAN_MODE, nl.Uint16Attr(ipvlanModeL2))
		switch v.Mode {
		case "private":
			data.AddRtAttr(nl.IFLA_IPVLAN_FLAG, nl.Uint16Attr(ipvlanFlagPrivate))
		case "vepa":
			data.AddRtAttr(nl.IFLA_IPVLAN_FLAG, nl.Uint16Attr(ipvlanFlagVEPA))
		}
	}
	req.AddData(info)
	return req
}

// withoutLinkLocal sets addr_gen_mode none.
func withoutLinkLocal(index int) *nl.NetlinkRequest {
	const addrGenModeNone = 1 // IN6_ADDR_GEN_MODE_NONE
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, 0)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	req.AddData(msg)
	spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	spec.AddRtAttr(unix.AF_INET6, nil).AddRtAttr(unix.IFLA_INET6_ADDR_GEN_MODE, nl.Uint8Attr(addrGenModeNone))
	req.AddData(spec)
	return req
}

func switchOn(index int) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, 0)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index, msg.Flags, msg.Change = int32(index), unix.IFF_UP, unix.IFF_UP
	req.AddData(msg)
	return req
}
