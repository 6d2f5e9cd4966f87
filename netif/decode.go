package netif

import (
	"encoding/binary"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func (m *Monitor) decode(h header, body []byte, f func(Event)) {
	switch h.typ {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		m.decodeLink(h, body, f)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		decodeAddr(h, body, f)
	case unix.RTM_DELROUTE:
		decodeRoute(body, f)
	case unix.RTM_DELRULE:
		decodeRule(body, f)
	}
}

func (m *Monitor) decodeLink(h header, body []byte, f func(Event)) {
	// A bridge reports its ports with a family of its own: RTM_DELLINK then
	// says that a port left the bridge, not that an interface is gone.
	if len(body) < unix.SizeofIfInfomsg || body[0] != unix.AF_UNSPEC {
		return
	}
	device, err := netlink.LinkDeserialize(nil, body)
	if err != nil {
		m.log.Warn("unreadable link event", "err", err)
		f(Overrun{})
		return
	}
	l := linkOf(device)
	if h.typ == unix.RTM_DELLINK {
		f(LinkGone{Index: l.Index, Name: l.Name})
		return
	}
	f(LinkChanged{Link: l})
}

func decodeAddr(h header, body []byte, f func(Event)) {
	if len(body) < unix.SizeofIfAddrmsg {
		return
	}
	bits, flags := int(body[1]), uint32(body[2])
	index := int(binary.NativeEndian.Uint32(body[4:]))
	var local, address netip.Addr
	eachAttr(body[unix.SizeofIfAddrmsg:], func(typ uint16, v []byte) {
		switch typ {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(v)
		case unix.IFA_ADDRESS:
			address, _ = netip.AddrFromSlice(v)
		case unix.IFA_FLAGS:
			if len(v) >= 4 {
				flags = binary.NativeEndian.Uint32(v)
			}
		}
	})
	// With a peer the prefix length is the peer's, and the local address stands
	// alone. IPv6 without a peer has no IFA_LOCAL.
	ip := local
	switch {
	case !local.IsValid():
		ip = address
	case address.IsValid() && address != local:
		bits = local.BitLen()
	}
	prefix := netip.PrefixFrom(ip, bits)
	if !prefix.IsValid() {
		return
	}
	if h.typ == unix.RTM_DELADDR {
		f(AddrRemoved{Index: index, Prefix: prefix})
		return
	}
	const unready = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED
	ready := flags&unready == 0 || flags&unix.IFA_F_OPTIMISTIC != 0 && flags&unix.IFA_F_DADFAILED == 0
	f(AddrAdded{Index: index, Prefix: prefix, Ready: ready})
}

func decodeRoute(body []byte, f func(Event)) {
	if len(body) < unix.SizeofRtMsg {
		return
	}
	// The destination of a default route is left out.
	e := RouteRemoved{Table: int(body[4]), TOS: int(body[3]), Dst: netip.PrefixFrom(unspecified(body[0]), int(body[1]))}
	eachAttr(body[unix.SizeofRtMsg:], func(typ uint16, v []byte) {
		switch {
		case typ == unix.RTA_DST:
			if ip, ok := netip.AddrFromSlice(v); ok {
				e.Dst = netip.PrefixFrom(ip, e.Dst.Bits())
			}
		case typ == unix.RTA_GATEWAY:
			e.Via, _ = netip.AddrFromSlice(v)
		case typ == unix.RTA_VIA && len(v) > 2:
			e.Via, _ = netip.AddrFromSlice(v[2:])
		case len(v) < 4:
		case typ == unix.RTA_OIF:
			e.Index = int(binary.NativeEndian.Uint32(v))
		case typ == unix.RTA_TABLE:
			e.Table = int(binary.NativeEndian.Uint32(v))
		case typ == unix.RTA_PRIORITY:
			e.Metric = int(binary.NativeEndian.Uint32(v))
		}
	})
	f(e)
}

func unspecified(family uint8) netip.Addr {
	if family == unix.AF_INET6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

func decodeRule(body []byte, f func(Event)) {
	if len(body) < unix.SizeofRtMsg {
		return
	}
	r := Rule{
		V6:     body[0] == unix.AF_INET6,
		TOS:    int(body[3]),
		Table:  int(body[4]),
		Action: int(body[7]),
		Not:    binary.NativeEndian.Uint32(body[8:])&unix.FIB_RULE_INVERT != 0,
	}
	var protocol uint8
	eachAttr(body[unix.SizeofRtMsg:], func(typ uint16, v []byte) {
		r.decode(typ, v)
		switch typ {
		case unix.FRA_DST:
			r.To = addressedPrefix(v, body[1])
		case unix.FRA_SRC:
			r.From = addressedPrefix(v, body[2])
		case unix.FRA_IIFNAME:
			r.IIF = unix.ByteSliceToString(v)
		case unix.FRA_OIFNAME:
			r.OIF = unix.ByteSliceToString(v)
		case unix.FRA_PROTOCOL:
			if len(v) > 0 {
				protocol = v[0]
			}
		}
		if len(v) < 4 {
			return
		}
		n := binary.NativeEndian.Uint32(v)
		switch typ {
		case unix.FRA_PRIORITY:
			r.Priority = int(n)
		case unix.FRA_FWMARK:
			r.Mark = n
		case unix.FRA_FWMASK:
			r.Mask = n
		case unix.FRA_TABLE:
			r.Table = int(n)
		case unix.FRA_GOTO:
			r.Goto = int(n)
		case unix.FRA_SUPPRESS_PREFIXLEN:
			r.SuppressPrefix, r.HasSuppressPrefix = int(n), n != ^uint32(0)
		}
	})
	if protocol == ProtocolKeepalived {
		f(RuleRemoved{Rule: r.canonical()})
	}
}

func addressedPrefix(v []byte, bits uint8) netip.Prefix {
	ip, _ := netip.AddrFromSlice(v)
	return netip.PrefixFrom(ip, int(bits))
}
