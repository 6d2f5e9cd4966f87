package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// maxMPLSLabel is what 20 bits hold.
const maxMPLSLabel = 1<<20 - 1

// encapOptions are the options of each type of encapsulation: the largest
// value of a number, or 0 for an address.
var encapOptions = map[string]map[string]int64{
	"ip":  {"id": 1<<63 - 1, "dst": 0, "src": 0, "tos": 255, "ttl": 255, "flags": 65535},
	"ip6": {"id": 1<<63 - 1, "dst": 0, "src": 0, "tc": 255, "hoplimit": 255, "flags": 65535},
}

// encap reads TYPE and its options. What follows the last one belongs to the
// route; a bad value drops the route, as what it would reach is unknown.
func (c *cursor) encap(t Token) []string {
	bad := func(v Token, message, hint string) []string {
		c.d.failAt(c.l, v, message, hint)
		c.bad = true
		return nil
	}
	if !c.more() {
		return bad(t, "encap has no type, the route is ignored", "ip, ip6, mpls or ila")
	}
	typ := c.take()
	words := []string{typ.Text}
	switch typ.Text {
	case "mpls", "ila":
		v, ok := c.value(typ)
		if !ok {
			return nil
		}
		if typ.Text == "ila" {
			if !isLocator(v.Text) {
				return bad(v, fmt.Sprintf("ila locator %q is not valid, the route is ignored", printable(v.Text)), "four groups of hexadecimal digits: 1:2:3:4")
			}
		} else if !areLabels(v.Text) {
			return bad(v, fmt.Sprintf("mpls label %q is not valid, the route is ignored", printable(v.Text)), fmt.Sprintf("labels up to %d, joined by /", maxMPLSLabel))
		}
		return append(words, v.Text)
	case "ip", "ip6":
	default:
		return bad(typ, fmt.Sprintf("encap type %q is unknown, the route is ignored", printable(typ.Text)), "ip, ip6, mpls or ila")
	}
	for c.more() {
		o := c.all[c.i]
		hi, known := encapOptions[typ.Text][o.Text]
		if !known {
			return words
		}
		c.i++
		v, ok := c.value(o)
		if !ok {
			return nil
		}
		if hi == 0 {
			if a, err := netip.ParseAddr(v.Text); err != nil || a.Is4() != (typ.Text == "ip") {
				return bad(v, fmt.Sprintf("encap %s %q is not an address of the family, the route is ignored", o.Text, printable(v.Text)), "")
			}
		} else if n, err := strconv.ParseUint(v.Text, 0, 64); err != nil || n > uint64(hi) {
			return bad(v, fmt.Sprintf("encap %s %q is not valid, the route is ignored", o.Text, printable(v.Text)), rangeHint(0, hi))
		}
		words = append(words, o.Text, v.Text)
	}
	return words
}

func areLabels(s string) bool {
	for l := range strings.SplitSeq(s, "/") {
		if n, err := strconv.ParseUint(l, 0, 32); err != nil || n > maxMPLSLabel {
			return false
		}
	}
	return true
}

func isLocator(s string) bool {
	groups := strings.Split(s, ":")
	for _, g := range groups {
		if _, err := strconv.ParseUint(g, 16, 16); err != nil {
			return false
		}
	}
	return len(groups) == 4
}

// isRouteTime reads what rtt, rttvar and rto_min take: a number, of
// milliseconds or with s, ms, us or ns.
func isRouteTime(s string) bool {
	for _, unit := range []string{"msecs", "msec", "ms", "usecs", "usec", "us", "nsecs", "nsec", "ns", "secs", "sec", "s"} {
		if n, ok := strings.CutSuffix(s, unit); ok {
			s = n
			break
		}
	}
	v, err := strconv.ParseFloat(s, 64)
	return err == nil && v >= 0
}
