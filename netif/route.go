package netif

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// NextHop is one path of a multipath route.
type NextHop struct {
	Via    netip.Addr // the zero Addr: on link
	Dev    string     // empty: found by the kernel from Via
	Weight int        // 1 to 256; 0 is taken as 1
	OnLink bool       // Via is reachable on Dev although no address covers it
	Realms uint32     // as of a Route
}

// Metric is one RTAX_* value of a route, such as RTAX_MTU.
type Metric struct {
	Kind   int    // RTAX_*
	Value  uint32 // in the kernel's unit for that metric
	Locked bool   // the kernel does not adapt it
}

// Route is one route as it shall stand in the kernel. Its zero fields mean what
// keepalived leaves out: unicast, main table, scope global also for a
// destination on link, protocol keepalived, the kernel's default metric.
type Route struct {
	Dst      netip.Prefix // the zero Prefix, 0.0.0.0/0 and ::/0 are the default route
	Via      netip.Addr   // gateway, also of the other family; the zero Addr: on link
	Dev      string       // interface name; empty: found by the kernel
	Src      netip.Addr   // preferred source; the zero Addr: chosen by the kernel
	Metric   int          // RTA_PRIORITY, 0 is unset (IPv6 then has 1024)
	Table    int          // routing table, 0 is main
	Scope    int          // RT_SCOPE_*, IPv4 only
	Proto    int          // RTPROT_*, 0 is ProtocolKeepalived
	Type     int          // RTN_*, 0 is RTN_UNICAST
	TOS      int          // 0 to 255
	OnLink   bool         // Via is reachable on Dev although no address covers it
	V6       bool         // family of a default route that neither Dst, Via nor Src tells
	NextHops []NextHop    // a multipath route; Via and Dev are then unused
	Metrics  []Metric
	CongCtl  string       // RTAX_CC_ALGO
	From     netip.Prefix // sources that the route is for, IPv6 only; the zero Prefix: all
	Realms   uint32       // source realm << 16 | destination realm, IPv4 only
	Pref     RouterPref   // IPv6 only
	Expires  uint32       // seconds until the kernel removes it, IPv6 only; 0: never
	// TTLPropagate says whether MPLS copies the TTL: 0 leaves it to the system,
	// 1 is yes, -1 is no.
	TTLPropagate int
	Append       bool // put behind equal routes; keepalived's default is in front
}

// RouterPref is the preference of a router (RFC 4191).
type RouterPref uint8

// The preferences; without one the kernel takes medium.
const (
	PrefUnset RouterPref = iota
	PrefLow
	PrefMedium
	PrefHigh
)

// String returns the route as `ip route` writes it, as far as it identifies.
func (r Route) String() string {
	s := r.Dst.String()
	if !r.Dst.IsValid() || r.Dst.Bits() == 0 {
		s = "default"
	}
	if r.Via.IsValid() {
		s += " via " + r.Via.String()
	}
	if r.Dev != "" {
		s += " dev " + r.Dev
	}
	if r.Table != 0 && r.Table != unix.RT_TABLE_MAIN {
		s += fmt.Sprintf(" table %d", r.Table)
	}
	return s
}

// AddRoutes adds routes in the given order and returns one error per route. A
// route that exists with the same attributes is success. Equal destinations
// with other attributes stay and stand behind the new route, which is what
// keepalived does too. Addresses come first: a gateway or preferred source that
// depends on one is refused before it exists.
func (k *Kernel) AddRoutes(routes []Route) []error {
	reqs, errs := k.routeRequests(routes, unix.RTM_NEWROUTE)
	for i, err := range k.batch.run(reqs) {
		if errs[i] == nil && err != nil && !errors.Is(err, unix.EEXIST) {
			errs[i] = fmt.Errorf("adding route %s: %w", routes[i], err)
		}
	}
	return errs
}

// DelRoutes removes routes in reverse order and returns one error per route. A
// route or interface that is absent is success. Only routes of the same
// protocol number are removed, so that nobody else's is taken.
func (k *Kernel) DelRoutes(routes []Route) []error {
	_, errs := k.delRoutes(routes)
	return errs
}

func (k *Kernel) delRoutes(routes []Route) (removed int, errs []error) {
	reversed := make([]Route, len(routes))
	for i, r := range routes {
		reversed[len(routes)-1-i] = r
	}
	reqs, build := k.routeRequests(reversed, unix.RTM_DELROUTE)
	errs = make([]error, len(routes))
	for i, err := range k.batch.run(reqs) {
		at := len(routes) - 1 - i
		switch {
		case absent(build[i]), absent(err):
		case build[i] != nil:
			errs[at] = build[i]
		case err != nil:
			errs[at] = fmt.Errorf("removing route %s: %w", reversed[i], err)
		default:
			removed++
		}
	}
	return removed, errs
}

func (k *Kernel) routeRequests(routes []Route, msgType int) ([]*nl.NetlinkRequest, []error) {
	reqs := make([]*nl.NetlinkRequest, len(routes))
	errs := make([]error, len(routes))
	indexes := make(map[string]int, 4)
	for i, r := range routes {
		req, err := k.routeRequest(r, msgType, indexes)
		if err != nil {
			errs[i] = fmt.Errorf("route %s: %w", r, err)
			continue
		}
		reqs[i] = req
	}
	return reqs, errs
}

func (k *Kernel) routeRequest(r Route, msgType int, indexes map[string]int) (*nl.NetlinkRequest, error) {
	flags := 0
	if msgType == unix.RTM_NEWROUTE {
		flags = unix.NLM_F_CREATE
		if r.Append {
			flags |= unix.NLM_F_APPEND
		}
	}
	req := nl.NewNetlinkRequest(msgType, flags)
	msg := r.header()
	req.AddData(msg)
	attr := func(typ int, value []byte) { req.AddData(nl.NewRtAttr(typ, value)) }

	if r.Dst.IsValid() && r.Dst.Bits() > 0 {
		attr(unix.RTA_DST, r.Dst.Masked().Addr().WithZone("").AsSlice())
	}
	if r.Table > 255 {
		attr(unix.RTA_TABLE, nl.Uint32Attr(uint32(r.Table)))
	}
	if r.Metric != 0 {
		attr(unix.RTA_PRIORITY, nl.Uint32Attr(uint32(r.Metric)))
	}
	if r.Src.IsValid() {
		attr(unix.RTA_PREFSRC, r.Src.WithZone("").AsSlice())
	}
	r.encodeRest(attr)
	if len(r.NextHops) > 0 {
		paths, err := k.encodeNextHops(r.NextHops, int(msg.Family), indexes)
		if err != nil {
			return nil, err
		}
		attr(unix.RTA_MULTIPATH, paths)
	} else {
		if r.Via.IsValid() {
			typ, value := gateway(r.Via, int(msg.Family))
			attr(typ, value)
		}
		if r.Dev != "" {
			index, err := k.indexOnce(indexes, r.Dev)
			if err != nil {
				return nil, err
			}
			attr(unix.RTA_OIF, nl.Uint32Attr(uint32(index)))
		}
	}
	if m := r.encodeMetrics(); m != nil && msgType == unix.RTM_NEWROUTE {
		req.AddData(m)
	}
	return req, nil
}

// encodeRest adds the attributes that few routes have.
func (r Route) encodeRest(attr func(int, []byte)) {
	if r.From.IsValid() && r.From.Bits() > 0 {
		attr(unix.RTA_SRC, r.From.Masked().Addr().AsSlice())
	}
	if r.Realms != 0 {
		attr(unix.RTA_FLOW, nl.Uint32Attr(r.Realms))
	}
	if r.Pref != PrefUnset {
		// ICMPV6_ROUTER_PREF_LOW, _MEDIUM and _HIGH
		attr(unix.RTA_PREF, nl.Uint8Attr(map[RouterPref]uint8{PrefLow: 3, PrefMedium: 0, PrefHigh: 1}[r.Pref]))
	}
	if r.Expires != 0 {
		attr(unix.RTA_EXPIRES, nl.Uint32Attr(r.Expires))
	}
	if r.TTLPropagate != 0 {
		attr(unix.RTA_TTL_PROPAGATE, nl.Uint8Attr(uint8(max(r.TTLPropagate, 0))))
	}
}

func (r Route) header() *nl.RtMsg {
	msg := &nl.RtMsg{RtMsg: unix.RtMsg{
		Family:   unix.AF_INET,
		Tos:      uint8(r.TOS),
		Table:    unix.RT_TABLE_MAIN,
		Scope:    uint8(r.Scope),
		Protocol: ProtocolKeepalived,
		Type:     unix.RTN_UNICAST,
	}}
	if r.v6() {
		msg.Family = unix.AF_INET6
	}
	if r.Dst.IsValid() {
		msg.Dst_len = uint8(r.Dst.Bits())
	}
	if r.From.IsValid() {
		msg.Src_len = uint8(r.From.Bits())
	}
	switch {
	case r.Table > 255:
		msg.Table = unix.RT_TABLE_UNSPEC
	case r.Table != 0:
		msg.Table = uint8(r.Table)
	}
	if r.Proto != 0 {
		msg.Protocol = uint8(r.Proto)
	}
	if r.Type != 0 {
		msg.Type = uint8(r.Type)
	}
	if r.OnLink {
		msg.Flags |= unix.RTNH_F_ONLINK
	}
	return msg
}

// v6 reports the family of the route. An IPv4 destination may have an IPv6
// gateway, so the destination is asked first.
func (r Route) v6() bool {
	switch {
	case r.Dst.IsValid():
		return r.Dst.Addr().Is6()
	case r.Src.IsValid():
		return r.Src.Is6()
	case r.Via.IsValid():
		return r.Via.Is6()
	case len(r.NextHops) > 0 && r.NextHops[0].Via.IsValid():
		return r.NextHops[0].Via.Is6()
	}
	return r.V6
}

// ipv6DefaultMetric is what the kernel gives an IPv6 route without a metric.
const ipv6DefaultMetric = 1024

// destination returns Dst with its host bits zero, 0.0.0.0/0 or ::/0 for a
// default route.
func (r Route) destination() netip.Prefix {
	switch {
	case r.Dst.IsValid():
		return netip.PrefixFrom(r.Dst.Addr().WithZone(""), r.Dst.Bits()).Masked()
	case r.v6():
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}

// gateway returns the attribute for a gateway, which is RTA_VIA with a family
// where it is not of the route's own.
func gateway(via netip.Addr, fam int) (int, []byte) {
	b := via.WithZone("").AsSlice()
	if family(via) == fam {
		return unix.RTA_GATEWAY, b
	}
	return unix.RTA_VIA, append(binary.NativeEndian.AppendUint16(nil, uint16(family(via))), b...)
}

func (k *Kernel) encodeNextHops(hops []NextHop, fam int, indexes map[string]int) ([]byte, error) {
	var out []byte
	for _, h := range hops {
		hop := nl.RtNexthop{RtNexthop: unix.RtNexthop{Hops: uint8(max(h.Weight, 1) - 1)}}
		if h.OnLink {
			hop.Flags |= unix.RTNH_F_ONLINK
		}
		if h.Dev != "" {
			index, err := k.indexOnce(indexes, h.Dev)
			if err != nil {
				return nil, err
			}
			hop.Ifindex = int32(index)
		}
		if h.Via.IsValid() {
			typ, value := gateway(h.Via, fam)
			hop.Children = append(hop.Children, nl.NewRtAttr(typ, value))
		}
		if h.Realms != 0 {
			hop.Children = append(hop.Children, nl.NewRtAttr(unix.RTA_FLOW, nl.Uint32Attr(h.Realms)))
		}
		out = append(out, hop.Serialize()...)
	}
	return out, nil
}

func (r Route) encodeMetrics() *nl.RtAttr {
	if len(r.Metrics) == 0 && r.CongCtl == "" {
		return nil
	}
	all := nl.NewRtAttr(unix.RTA_METRICS, nil)
	var lock uint32
	for _, m := range r.Metrics {
		all.AddRtAttr(m.Kind, nl.Uint32Attr(m.Value))
		if m.Locked {
			lock |= 1 << m.Kind
		}
	}
	if r.CongCtl != "" {
		all.AddRtAttr(unix.RTAX_CC_ALGO, nl.ZeroTerminated(r.CongCtl))
	}
	if lock != 0 {
		all.AddRtAttr(unix.RTAX_LOCK, nl.Uint32Attr(lock))
	}
	return all
}
