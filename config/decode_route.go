package config

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
)

func staticRoute(d *decoder, l *stmt) {
	if r, ok := d.routeLine(l, true); ok {
		d.cfg.StaticRoutes = append(d.cfg.StaticRoutes, r)
	}
}

func instanceRoute(d *decoder, l *stmt) {
	if r, ok := d.routeLine(l, false); ok {
		d.inst.VirtualRoutes = append(d.inst.VirtualRoutes, r)
	}
}

var routeTypes = map[string]RouteType{
	"local": "local", "nat": "nat", "broadcast": "broadcast", "brd": "broadcast", "anycast": "anycast", "multicast": "multicast",
	"prohibit": "prohibit", "unreachable": "unreachable", "blackhole": "blackhole", "xresolve": "xresolve", "unicast": "unicast", "throw": "throw",
}

// metricMax bounds the metrics that are plain numbers.
var metricMax = map[string]int64{
	"mtu": math.MaxUint32, "hoplimit": 255, "advmss": math.MaxUint32, "reordering": math.MaxUint32, "window": math.MaxUint32,
	"cwnd": math.MaxUint32, "ssthresh": math.MaxUint32, "initcwnd": math.MaxUint32, "initrwnd": math.MaxUint32, "quickack": 1, "fastopen_no_cookie": 1,
}

// metricWords lists the values of the metrics that are words.
var metricWords = map[string][]string{
	"features": {"ecn"}, "ttl-propagate": {"enabled", "disabled"},
}

// routeTimes lists the metrics that are times.
var routeTimes = map[string]bool{"rtt": true, "rttvar": true, "rto_min": true}

// routeMetrics are the options that take one value and are kept by name.
var routeMetrics = map[string]bool{
	"mtu": true, "hoplimit": true, "advmss": true, "rtt": true, "rttvar": true, "reordering": true, "window": true, "cwnd": true,
	"ssthresh": true, "rto_min": true, "initcwnd": true, "initrwnd": true, "features": true, "quickack": true, "congctl": true,
	"ttl-propagate": true, "fastopen_no_cookie": true,
}

var routeWords = map[string]bool{
	"inet": true, "inet6": true, "via": true, "gw": true, "or": true, "src": true, "as": true, "from": true, "tos": true, "dsfield": true,
	"table": true, "protocol": true, "scope": true, "metric": true, "priority": true, "preference": true, "dev": true, "oif": true,
	"onlink": true, "encap": true, "expires": true, "realms": true, "pref": true, "add": true, "prepend": true, "append": true,
	"nexthop": true, "no_track": true, "track_group": true, "vrf": true, "to": true,
}

// cursor walks the words of one line.
type cursor struct {
	d   *decoder
	l   *stmt
	all []Token
	i   int
	bad bool // the line is to be dropped
}

func newCursor(d *decoder, l *stmt) *cursor {
	return &cursor{d: d, l: l, all: append([]Token{l.key}, l.args...)}
}

func (c *cursor) more() bool { return c.i < len(c.all) }

func (c *cursor) take() Token {
	t := c.all[c.i]
	c.i++
	return t
}

// value takes the value of the option t; without one the line is dropped.
func (c *cursor) value(t Token) (Token, bool) {
	if !c.more() {
		c.d.problemAt(t.Pos, Error, MissingArgument, c.l.name(), t.Text+" has no value", "")
		c.bad = true
		return Token{}, false
	}
	return c.take(), true
}

func (c *cursor) word(t Token, p *string) {
	if v, ok := c.value(t); ok {
		*p = v.Text
	}
}

func (c *cursor) addr(t Token, p *netip.Addr) {
	v, ok := c.value(t)
	if !ok {
		return
	}
	a, ok := c.d.address(c.l, v, 0)
	if !ok {
		c.bad = true
		return
	}
	*p = a
}

func (c *cursor) uint32(t Token, lo int64, p **uint32) {
	v, ok := c.value(t)
	if !ok {
		return
	}
	n, ok := c.d.number(c.l, v, lo, math.MaxUint32)
	if !ok {
		c.bad = true
		return
	}
	u := uint32(n)
	*p = &u
}

func (c *cursor) ifname(t Token, p *string) {
	v, ok := c.value(t)
	if !ok {
		return
	}
	if !c.d.iface(c.l, v) {
		c.bad = true
		return
	}
	*p = v.Text
}

// gateway reads [inet|inet6] ADDRESS; cross tells that the family was named,
// so that it may differ from the route's.
func (c *cursor) gateway(t Token, p *netip.Addr) (cross bool) {
	if c.more() && (c.all[c.i].Text == "inet" || c.all[c.i].Text == "inet6") {
		c.i++
		cross = true
	}
	c.addr(t, p)
	return cross
}

func (d *decoder) routeLine(l *stmt, static bool) (Route, bool) {
	c := newCursor(d, l)
	r := Route{Pos: l.key.Pos, Raw: append([]string{l.key.Text}, l.words()...)}
	haveDst := false
	for c.more() && !c.bad {
		t := c.take()
		if typ, ok := routeTypes[t.Text]; ok && !haveDst {
			r.Type = typ
			continue
		}
		if d.routeOption(c, t, &r, static) {
			continue
		}
		if p, err := parsePrefix(t.Text); haveDst && err == nil && familyOf(p.Addr()) == r.Family {
			d.problemAt(t.Pos, Error, OursOnly, l.name(), fmt.Sprintf("%s is a second destination and replaces the first", t.Text), "via "+t.Text+" was meant?")
			r.Dst, r.Default = p, false
			continue
		}
		if haveDst {
			d.failAt(l, t, fmt.Sprintf("%q is unknown, the route is ignored", printable(t.Text)), nearest(t.Text, routeWords))
			return r, false
		}
		if haveDst = d.destination(c, t, &r); !haveDst {
			return r, false
		}
	}
	if c.bad {
		return r, false
	}
	if !haveDst {
		d.fail(l, "the route has no destination", "PREFIX or default")
		return r, false
	}
	d.finishRoute(l, &r)
	return r, true
}

func (d *decoder) destination(c *cursor, t Token, r *Route) bool {
	switch t.Text {
	case "default", "any", "all":
		r.Default = true
		return true
	case "default6":
		d.advise(c.l, "default6 is deprecated", "inet6 default")
		r.Default, r.Family = true, IPv6
		return true
	}
	p, err := parsePrefix(t.Text)
	if err != nil {
		hint := nearest(t.Text, routeWords)
		if hint == "" {
			hint = "PREFIX or default"
		}
		d.failAt(c.l, t, fmt.Sprintf("%q is not a destination, the route is ignored", printable(t.Text)), hint)
		return false
	}
	r.Dst = p
	r.Family = familyOf(p.Addr())
	return true
}

// routeOption reads one option; false when t is none.
func (d *decoder) routeOption(c *cursor, t Token, r *Route, static bool) bool {
	switch t.Text {
	case "to":
	case "inet":
		r.Family = IPv4
	case "inet6":
		r.Family = IPv6
	case "via":
		r.crossVia = c.gateway(t, &r.Via)
	case "gw":
		d.warn(c.l, "gw is deprecated", "use via")
		c.gateway(t, &r.Via)
	case "or":
		d.warn(c.l, "or is deprecated", "use nexthop via ... nexthop via ...")
		var n NextHop
		c.gateway(t, &n.Via)
		n.Weight = 1
		if r.Via.IsValid() {
			r.NextHops = append(r.NextHops, NextHop{Via: r.Via, Dev: r.Dev, Weight: 1})
			r.Via = netip.Addr{}
		}
		r.NextHops = append(r.NextHops, n)
	case "src":
		c.addr(t, &r.Src)
	case "as":
		if c.more() && c.all[c.i].Text == "to" {
			c.i++
		}
		var ignored netip.Addr
		c.addr(t, &ignored)
	case "from":
		if v, ok := c.value(t); ok {
			if r.From, ok = d.prefix(c.l, v); !ok {
				c.bad = true
			}
		}
	case "tos", "dsfield":
		c.ipName(t, tosNames, &r.TOS)
	case "table":
		c.ipName(t, routeTables, &r.Table)
	case "protocol":
		c.ipName(t, protoNames, &r.Protocol)
	case "scope":
		c.ipName(t, scopeNames, &r.Scope)
	case "metric", "priority", "preference":
		c.uint32(t, 0, &r.Metric)
	case "dev", "oif":
		c.ifname(t, &r.Dev)
	case "onlink":
		r.OnLink = true
	case "encap":
		r.Encap = c.encap(t)
	case "expires":
		c.uint32(t, 0, &r.Expires)
	case "realms":
		c.pairOfNumbers(t, "/", 65535, &r.Realms)
	case "pref":
		c.oneOf(t, &r.Pref, "low", "medium", "high", "0", "1", "3")
	case "add", "prepend":
	case "append":
		r.Append = true
	case "nexthop":
		r.NextHops = append(r.NextHops, d.nextHop(c))
	case "no_track":
		r.NoTrack = true
	case "track_group":
		c.word(t, &r.TrackGroup)
		if !static {
			d.failAt(c.l, t, "belongs to static_routes only", "")
			r.TrackGroup = ""
		}
	case "vrf":
		c.ifname(t, &r.VRF)
	default:
		if !routeMetrics[t.Text] {
			return false
		}
		if c.more() && c.all[c.i].Text == "lock" {
			c.i++
			r.Locked = append(r.Locked, t.Text)
		}
		if v, ok := c.value(t); ok {
			if routeTimes[t.Text] && !isRouteTime(v.Text) {
				d.failAt(c.l, v, fmt.Sprintf("%s %q is not a time", t.Text, printable(v.Text)), "a number of milliseconds, or with s, ms or us")
				return true
			}
			if words := metricWords[t.Text]; words != nil && !slices.Contains(words, v.Text) {
				d.failAt(c.l, v, fmt.Sprintf("%s %q is unknown", t.Text, printable(v.Text)), "one of "+strings.Join(words, ", "))
				return true
			}
			if hi, numeric := metricMax[t.Text]; numeric {
				if _, ok := d.number(c.l, v, 0, hi); !ok {
					return true
				}
			}
			if r.Metrics == nil {
				r.Metrics = map[string]string{}
			}
			r.Metrics[t.Text] = v.Text
		}
	}
	return true
}

func (d *decoder) nextHop(c *cursor) NextHop {
	n := NextHop{Weight: 1}
	for c.more() && !c.bad {
		switch t := c.all[c.i]; t.Text {
		case "via":
			c.i++
			c.gateway(t, &n.Via)
		case "dev":
			c.i++
			c.ifname(t, &n.Dev)
		case "weight":
			c.i++
			if v, ok := c.value(t); ok {
				if w, ok := d.number(c.l, v, 1, 256); ok {
					n.Weight = int(w)
				}
			}
		case "onlink":
			c.i++
			n.OnLink = true
		case "encap":
			c.i++
			n.Encap = c.encap(t)
		case "realms":
			c.i++
			c.word(t, &n.Realms)
		case "as":
			c.i++
			var ignored netip.Addr
			c.addr(t, &ignored)
		default:
			return n
		}
	}
	return n
}

func (d *decoder) finishRoute(l *stmt, r *Route) {
	if r.Family == FamilyUnset {
		r.Family = IPv4
		for _, a := range []netip.Addr{r.Via, r.Src} {
			if a.IsValid() {
				r.Family = familyOf(a)
			}
		}
	}
	for _, a := range []netip.Addr{r.Src, r.Via, r.From.Addr()} {
		if a.IsValid() && familyOf(a) != r.Family && !(r.crossVia && a == r.Via) {
			d.fail(l, fmt.Sprintf("%s is not of the route's family", a), "via inet6 ADDRESS names another family on purpose")
		}
	}
	if r.Family == IPv4 && (r.Pref != "" || r.Expires != nil) {
		d.fail(l, "pref and expires are for IPv6 only, they are ignored", "")
		r.Pref, r.Expires = "", nil
	}
	if r.Protocol != "" && !r.NoTrack {
		d.warn(l, "protocol is ignored on a tracked route", "add no_track to keep it")
		r.Protocol = ""
	}
	if !r.NoTrack && r.Dev == "" {
		dst := "default"
		if !r.Default {
			dst = r.Dst.String()
		}
		d.warn(l, fmt.Sprintf("route %s has no interface, so that its loss goes unseen", dst), "add dev IFNAME, or no_track to say so")
		r.NoTrack = true
	}
	if r.VRF != "" && r.Table != "" {
		d.fail(l, "has both vrf and table", "use one of them")
	}
	if strings.EqualFold(r.Table, "main") {
		r.Table = ""
	}
}
