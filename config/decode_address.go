package config

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// parsePrefix reads ADDRESS[/LEN], keeping host bits; without a length the
// whole address counts.
func parsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, err
		}
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(s)
}

// prefix reads ADDRESS[/LEN]. A length out of range becomes the whole address,
// with a complaint, as keepalived does.
func (d *decoder) prefix(s *stmt, t Token) (netip.Prefix, bool) {
	t.Text = strings.TrimSuffix(t.Text, "/")
	p, err := parsePrefix(t.Text)
	if err == nil && !strings.Contains(t.Text, "%") {
		return p, true
	}
	host, bits, _ := strings.Cut(t.Text, "/")
	a, aerr := netip.ParseAddr(host)
	if aerr != nil || a.Zone() != "" {
		d.failAt(s, t, fmt.Sprintf("%q is not an address", printable(t.Text)), "ADDRESS[/LENGTH], such as 192.0.2.1/24 or 2001:db8::1/64")
		return netip.Prefix{}, false
	}
	d.failAt(s, t, fmt.Sprintf("prefix length %q is out of range, %d is used", printable(bits), a.BitLen()), rangeHint(0, int64(a.BitLen())))
	return netip.PrefixFrom(a, a.BitLen()), true
}

func staticAddress(d *decoder, l *stmt) {
	if a, ok := d.addressLine(l, true); ok {
		d.cfg.StaticAddresses = append(d.cfg.StaticAddresses, a)
	}
}

// vip reads the lines of virtual_ipaddress and virtual_ipaddress_excluded.
func vip(list field[[]Address]) setter {
	return func(d *decoder, l *stmt) {
		a, ok := d.addressLine(l, false)
		if !ok {
			return
		}
		if l.kw.Name == "virtual_ipaddress" && !d.sameFamily(l, l.key, a.Prefix.Addr()) {
			return
		}
		for _, other := range [][]Address{d.inst.VIPs, d.inst.VIPsExcluded} {
			for _, o := range other {
				if o.Prefix.Addr() == a.Prefix.Addr() && o.Dev == a.Dev {
					d.advise(l, fmt.Sprintf("%s is given twice", a.Prefix.Addr()), "first at "+o.Pos.String())
				}
			}
		}
		p := list(d)
		*p = append(*p, a)
	}
}

// addressLine reads one address with its options.
func (d *decoder) addressLine(l *stmt, static bool) (Address, bool) {
	a := Address{Scope: -1, Pos: l.key.Pos, Raw: append([]string{l.key.Text}, l.words()...)}
	var ok bool
	if a.Prefix, ok = d.prefix(l, l.key); !ok {
		return a, false
	}
	if a.Prefix.Addr().Is4In6() {
		d.failAt(l, l.key, "has a form that cannot be set on an interface", "write IPv4 in dots")
		return a, false
	}
	for i := 0; i < len(l.args); i++ {
		used, ok := d.addressOption(l, &a, i, static)
		if !ok {
			return a, false
		}
		i += used
	}
	if v6 := a.Prefix.Addr().Is6(); v6 && (a.BroadcastMode != BroadcastNone) {
		d.fail(l, "IPv6 has no broadcast address", "remove brd")
		a.BroadcastMode = BroadcastNone
	}
	return a, true
}

// addressOption reads the option at args[i]; used is the number of its
// arguments, ok false drops the address.
func (d *decoder) addressOption(l *stmt, a *Address, i int, static bool) (used int, ok bool) {
	t := l.args[i]
	arg := func() (Token, bool) {
		if i+1 >= len(l.args) {
			d.failAt(l, t, t.Text+" has no value", "")
			return Token{}, false
		}
		return l.args[i+1], true
	}
	switch t.Text {
	case "dev":
		v, ok := arg()
		if !ok {
			return 0, true
		}
		if !d.iface(l, v) {
			return 1, false
		}
		if a.Dev != "" {
			d.failAt(l, t, "dev is given twice, the first is used", a.Dev)
			return 1, true
		}
		a.Dev = v.Text
	case "scope":
		v, ok := arg()
		if !ok {
			return 0, true
		}
		n, ok := scopeNumber(v.Text)
		if !ok {
			d.failAt(l, v, fmt.Sprintf("scope %q is unknown", printable(v.Text)), "global, site, link, host, nowhere or 0 to 255")
			return 1, true
		}
		a.Scope = n
	case "broadcast", "brd":
		v, ok := arg()
		if !ok {
			return 0, true
		}
		return 1, d.broadcast(l, a, v)
	case "label":
		v, ok := arg()
		if !ok {
			return 0, true
		}
		if len(v.Text) > 15 {
			d.failAt(l, v, fmt.Sprintf("label %s is too long, the address is ignored", printable(v.Text)), "at most 15 characters")
			return 1, false
		}
		a.Label = v.Text
	case "peer":
		v, ok := arg()
		if !ok {
			return 0, true
		}
		p, ok := d.prefix(l, v)
		if !ok {
			return 1, false
		}
		if familyOf(p.Addr()) != familyOf(a.Prefix.Addr()) {
			d.failAt(l, v, "is not of the address's family", "")
			return 1, true
		}
		if strings.Contains(l.key.Text, "/") {
			d.fail(l, "a length belongs to the peer address, this one is ignored", "ADDRESS peer ADDRESS/LENGTH")
			a.Prefix = netip.PrefixFrom(a.Prefix.Addr(), a.Prefix.Addr().BitLen())
		}
		a.Peer = p
	case "home":
		a.Home = true
	case "-nodad":
		a.DAD = true
	case "mngtmpaddr":
		a.ManageTemp = true
	case "noprefixroute":
		a.NoPrefixRoute = true
	case "autojoin":
		a.AutoJoin = true
	case "no_track":
		a.NoTrack = true
	case "track_group":
		v, ok := arg()
		if !ok {
			return 0, true
		}
		if !static {
			d.failAt(l, t, "belongs to static_ipaddress only", "")
		} else {
			a.TrackGroup = v.Text
		}
	case "preferred_lft":
		v, ok := arg()
		if !ok {
			return 0, true
		}
		n := int64(math.MaxUint32)
		if v.Text != "forever" {
			if n, ok = d.number(l, v, 0, math.MaxUint32); !ok {
				return 1, true
			}
		}
		u := uint32(n)
		a.PreferredLft = &u
	case "use_vmac":
		if static {
			d.failAt(l, t, "use_vmac is for virtual addresses only", "")
			return 0, true
		}
		a.UseVMAC = true
		n := 0
		for n < 2 && i+1+n < len(l.args) && !addressWords[l.args[i+1+n].Text] {
			if v := l.args[i+1+n].Text; strings.Count(v, ":") >= 4 {
				a.VMACAddr = v
			} else {
				a.VMACName = v
			}
			n++
		}
		return n, true
	default:
		d.failAt(l, t, fmt.Sprintf("%q is unknown, ignored", printable(t.Text)), nearest(t.Text, addressWords))
		return 0, true
	}
	switch t.Text {
	case "home", "-nodad", "mngtmpaddr", "noprefixroute", "autojoin", "no_track":
		return 0, true
	}
	return 1, true
}

var addressWords = map[string]bool{
	"dev": true, "scope": true, "broadcast": true, "brd": true, "label": true, "peer": true, "home": true, "-nodad": true,
	"mngtmpaddr": true, "noprefixroute": true, "autojoin": true, "no_track": true, "track_group": true, "preferred_lft": true, "use_vmac": true,
}

// nearest suggests one of a set of words.
func nearest(word string, words map[string]bool) string {
	best, bestD := "", max(1, min(len(word)/3, 3))+1
	for w := range words {
		if n := editDistance(word, w, bestD+1); n < bestD || n == bestD && best != "" && w < best {
			best, bestD = w, n
		}
	}
	if best == "" {
		return ""
	}
	return "did you mean " + best + "?"
}

func (d *decoder) broadcast(l *stmt, a *Address, v Token) bool {
	switch v.Text {
	case "+":
		a.BroadcastMode = BroadcastSet
	case "-":
		a.BroadcastMode = BroadcastClear
	default:
		b, err := netip.ParseAddr(v.Text)
		if err != nil || !b.Is4() {
			d.failAt(l, v, fmt.Sprintf("%q is not a broadcast address, the address is ignored", printable(v.Text)), "an IPv4 address, + or -")
			return false
		}
		a.BroadcastMode, a.Broadcast = BroadcastAddr, b
	}
	if a.BroadcastMode != BroadcastAddr && a.Prefix.Bits() > 30 {
		d.failAt(l, v, fmt.Sprintf("a /%d has no broadcast address", a.Prefix.Bits()), "the prefix length must be at most 30")
		a.BroadcastMode = BroadcastNone
	}
	return true
}

var scopes = map[string]int{"global": 0, "universe": 0, "site": 200, "link": 253, "host": 254, "nowhere": 255}

func scopeNumber(s string) (int, bool) {
	if n, ok := scopes[s]; ok {
		return n, true
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 0 && n <= 255
}
