package translate

import (
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/netif"
)

// words reads the text of attributes; bad is the first that has no number.
type words struct{ bad string }

func (w *words) named(names map[string]int, word string) int {
	n, ok := numbered(names, word)
	if !ok {
		w.wrong(word)
	}
	return n
}

func (w *words) number(word string, bits int) uint64 {
	if word == "" {
		return 0
	}
	n, err := strconv.ParseUint(word, 0, bits)
	if err != nil {
		w.wrong(word)
	}
	return n
}

func (w *words) wrong(word string) {
	if w.bad == "" {
		w.bad = word
	}
}

// realms reads `realms [SOURCE/]DESTINATION`.
func (w *words) realms(word string) uint32 {
	from, to, two := strings.Cut(word, "/")
	if !two {
		from, to = "", word
	}
	return uint32(w.number(from, 16))<<16 | uint32(w.number(to, 16))
}

// between reads FIRST-LAST, or one number that is both.
func (w *words) between(word string, bits int) (first, last uint64) {
	a, b, two := strings.Cut(word, "-")
	if !two {
		b = a
	}
	return w.number(a, bits), w.number(b, bits)
}

func (w *words) ports(word string) [2]uint16 {
	first, last := w.between(word, 16)
	return [2]uint16{uint16(first), uint16(last)}
}

var ipProtocols = map[string]int{
	"": 0, "icmp": unix.IPPROTO_ICMP, "igmp": unix.IPPROTO_IGMP, "ipip": unix.IPPROTO_IPIP, "tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP,
	"dccp": unix.IPPROTO_DCCP, "ipv6": unix.IPPROTO_IPV6, "gre": unix.IPPROTO_GRE, "esp": unix.IPPROTO_ESP, "ah": unix.IPPROTO_AH,
	"icmpv6": unix.IPPROTO_ICMPV6, "ipv6-icmp": unix.IPPROTO_ICMPV6, "ospf": 89, "pim": unix.IPPROTO_PIM, "vrrp": 112,
	"l2tp": unix.IPPROTO_L2TP, "sctp": unix.IPPROTO_SCTP, "udplite": unix.IPPROTO_UDPLITE,
}

var ruleActions = map[string]int{
	"": 0, "goto": unix.FR_ACT_GOTO, "nop": unix.FR_ACT_NOP, "blackhole": unix.FR_ACT_BLACKHOLE,
	"unreachable": unix.FR_ACT_UNREACHABLE, "prohibit": unix.FR_ACT_PROHIBIT,
}

// rule translates one rule line. A word whose number is not known leaves the
// rule out with a note: half a rule is a wrong rule.
func (t *translator) rule(r *config.Rule) (netif.Rule, bool) {
	var w words
	out := netif.Rule{V6: r.Family == config.IPv6, Not: r.Not, From: r.From, To: r.To, IIF: r.IIF, OIF: r.OIF, Goto: int(r.Goto)}
	out.Table = w.named(tables, r.Table)
	out.TOS = w.named(map[string]int{"": 0}, r.TOS)
	out.Action = w.named(ruleActions, r.Action)
	out.IPProto = w.named(ipProtocols, r.IPProto)
	if proto := w.named(protocols, r.Protocol); proto != 0 && proto != netif.ProtocolKeepalived {
		// By that number alone it is known at the end whose it was.
		t.note(r.Pos, "rule %v: protocol has no effect, the rule is marked as keepalived's", r.Raw)
	}
	mark, mask, _ := strings.Cut(r.FwMark, "/")
	out.Mark, out.Mask = uint32(w.number(mark, 32)), uint32(w.number(mask, 32))
	out.Realms, out.TunnelID, out.L3MDev = w.realms(r.Realms), w.number(r.TunnelID, 64), r.L3MDev
	out.SPort, out.DPort = w.ports(r.SPort), w.ports(r.DPort)
	if r.UIDRange != "" {
		first, last := w.between(r.UIDRange, 32)
		out.UIDs, out.HasUIDs = [2]uint32{uint32(first), uint32(last)}, true
	}
	if r.SuppressIfGroup != "" {
		out.Suppress = netif.SuppressIfs{Group: uint32(w.named(map[string]int{"default": 0}, r.SuppressIfGroup)), Set: true}
	}
	if r.Priority != nil {
		out.Priority = int(*r.Priority)
	}
	if r.SuppressPrefixLen != nil {
		out.SuppressPrefix, out.HasSuppressPrefix = int(*r.SuppressPrefixLen), true
	}
	if w.bad != "" {
		t.note(r.Pos, "rule %v: %q has no number here: the rule is left out", r.Raw, w.bad)
		return out, false
	}
	return out, true
}

var preferences = map[string]netif.RouterPref{
	"": netif.PrefUnset, "low": netif.PrefLow, "medium": netif.PrefMedium, "high": netif.PrefHigh,
}

// metricKinds are the metrics that are plain numbers.
var metricKinds = map[string]int{
	"mtu": unix.RTAX_MTU, "hoplimit": unix.RTAX_HOPLIMIT, "advmss": unix.RTAX_ADVMSS, "reordering": unix.RTAX_REORDERING,
	"window": unix.RTAX_WINDOW, "cwnd": unix.RTAX_CWND, "ssthresh": unix.RTAX_SSTHRESH, "initcwnd": unix.RTAX_INITCWND,
	"initrwnd": unix.RTAX_INITRWND, "quickack": unix.RTAX_QUICKACK, "fastopen_no_cookie": unix.RTAX_FASTOPEN_NO_COOKIE,
}

// timeKinds are the metrics that are times, with the kernel's units in a
// millisecond: RTTs are kept with a fraction of 3 and 2 bits.
var timeKinds = map[string]struct {
	kind  int
	units float64
}{"rtt": {unix.RTAX_RTT, 8}, "rttvar": {unix.RTAX_RTTVAR, 4}, "rto_min": {unix.RTAX_RTO_MIN, 1}}

// metricOrder makes the list of metrics the same for the same line.
var metricOrder = []string{
	"mtu", "hoplimit", "advmss", "rtt", "rttvar", "reordering", "window", "cwnd", "ssthresh", "rto_min",
	"initcwnd", "initrwnd", "quickack", "fastopen_no_cookie", "features",
}

// metrics translates what a route says beyond its way.
func (w *words) metrics(r *config.Route, out *netif.Route) {
	locked := map[string]bool{}
	for _, name := range r.Locked {
		locked[name] = true
	}
	for _, name := range metricOrder {
		word, given := r.Metrics[name]
		if !given {
			continue
		}
		m := netif.Metric{Locked: locked[name]}
		if k, isTime := timeKinds[name]; isTime {
			m.Kind, m.Value = k.kind, w.milliseconds(word, k.units)
		} else if name == "features" {
			m.Kind, m.Value = unix.RTAX_FEATURES, unix.RTAX_FEATURE_ECN
		} else {
			m.Kind, m.Value = metricKinds[name], uint32(w.number(word, 32))
		}
		out.Metrics = append(out.Metrics, m)
	}
	out.CongCtl = r.Metrics["congctl"]
	switch r.Metrics["ttl-propagate"] {
	case "enabled":
		out.TTLPropagate = 1
	case "disabled":
		out.TTLPropagate = -1
	}
}

// milliseconds reads a time: a bare number is in the kernel's own units, as
// ip(8) has it, with s or ms it is a time.
func (w *words) milliseconds(word string, units float64) uint32 {
	if n, err := strconv.ParseUint(word, 10, 32); err == nil {
		return uint32(n)
	}
	d, err := time.ParseDuration(word)
	if err != nil || d < 0 {
		w.wrong(word)
	}
	return uint32(float64(d) / float64(time.Millisecond) * units)
}

// route translates one route line, with the same care.
func (t *translator) route(r *config.Route) (netif.Route, bool) {
	var w words
	out := netif.Route{
		Dst: r.Dst, Via: r.Via, Dev: r.Dev, Src: r.Src, From: r.From, OnLink: r.OnLink, Append: r.Append,
		V6: r.Family == config.IPv6, Realms: w.realms(r.Realms), Pref: preferences[r.Pref],
	}
	if r.Default {
		out.Dst = r.Dst.Masked()
		if r.Dst.IsValid() && r.Dst.Bits() != 0 {
			out.Dst = r.Dst
		}
	}
	kind, known := routeTypes[r.Type]
	if out.Type = kind; !known {
		w.wrong(string(r.Type))
	}
	out.Scope, out.Table = w.named(scopes, r.Scope), w.named(tables, r.Table)
	out.Proto, out.TOS = w.named(protocols, r.Protocol), w.named(map[string]int{"": 0}, r.TOS)
	w.metrics(r, &out)
	if r.Metric != nil {
		out.Metric = int(*r.Metric)
	}
	if r.Expires != nil {
		out.Expires = *r.Expires
	}
	encap := len(r.Encap) > 0
	for _, h := range r.NextHops {
		encap = encap || len(h.Encap) > 0
		out.NextHops = append(out.NextHops, netif.NextHop{Via: h.Via, Dev: h.Dev, Weight: h.Weight, OnLink: h.OnLink, Realms: w.realms(h.Realms)})
	}
	switch {
	case encap || r.VRF != "":
		t.note(r.Pos, "route %v: encap and vrf have no effect yet: the route is left out", r.Raw)
		return out, false
	case w.bad != "":
		t.note(r.Pos, "route %v: %q has no number here: the route is left out", r.Raw, w.bad)
		return out, false
	}
	return out, true
}
