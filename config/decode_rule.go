package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

func staticRule(d *decoder, l *stmt) {
	if r, ok := d.ruleLine(l, true); ok {
		d.cfg.StaticRules = append(d.cfg.StaticRules, r)
	}
}

func instanceRule(d *decoder, l *stmt) {
	if r, ok := d.ruleLine(l, false); ok {
		d.inst.VirtualRules = append(d.inst.VirtualRules, r)
	}
}

var ruleWords = map[string]bool{
	"from": true, "to": true, "inet": true, "inet6": true, "table": true, "lookup": true, "not": true, "preference": true, "order": true,
	"priority": true, "tos": true, "dsfield": true, "fwmark": true, "realms": true, "suppress_prefixlength": true, "sup_pl": true,
	"suppress_ifgroup": true, "sup_group": true, "iif": true, "dev": true, "oif": true, "tunnel-id": true, "uidrange": true, "l3mdev": true,
	"protocol": true, "ipproto": true, "sport": true, "dport": true, "no_track": true, "track_group": true, "type": true,
	"goto": true, "nop": true, "blackhole": true, "unreachable": true, "prohibit": true,
}

func (d *decoder) ruleLine(l *stmt, static bool) (Rule, bool) {
	c := newCursor(d, l)
	r := Rule{Pos: l.key.Pos, Raw: append([]string{l.key.Text}, l.words()...)}
	for c.more() && !c.bad {
		t := c.take()
		if !d.ruleOption(c, t, &r, static) {
			d.failAt(l, t, fmt.Sprintf("%q is unknown, the rule is ignored", printable(t.Text)), nearest(t.Text, ruleWords))
			return r, false
		}
	}
	if c.bad {
		return r, false
	}
	return r, d.finishRule(l, &r)
}

func (c *cursor) prefix(t Token, p *netip.Prefix) {
	v, ok := c.value(t)
	if !ok || v.Text == "all" || v.Text == "any" || v.Text == "default" {
		return
	}
	got, ok := c.d.prefix(c.l, v)
	if !ok {
		c.bad = true
		return
	}
	*p = got
}

// ruleOption reads one option; false when t is none.
func (d *decoder) ruleOption(c *cursor, t Token, r *Rule, static bool) bool {
	switch t.Text {
	case "from":
		c.prefix(t, &r.From)
	case "to":
		c.prefix(t, &r.To)
	case "inet":
		r.Family = IPv4
	case "inet6":
		r.Family = IPv6
	case "table", "lookup":
		c.ipName(t, tableNames, &r.Table)
	case "not":
		r.Not = true
	case "preference", "order", "priority":
		c.uint32(t, 0, &r.Priority)
	case "tos", "dsfield":
		c.ipName(t, tosNames, &r.TOS)
	case "fwmark":
		c.pairOfNumbers(t, "/", 1<<32-1, &r.FwMark)
	case "realms":
		c.pairOfNumbers(t, "/", 65535, &r.Realms)
	case "suppress_prefixlength", "sup_pl":
		c.uint32(t, 0, &r.SuppressPrefixLen)
	case "suppress_ifgroup", "sup_group":
		c.word(t, &r.SuppressIfGroup)
	case "iif", "dev":
		c.ifname(t, &r.IIF)
	case "oif":
		c.ifname(t, &r.OIF)
	case "tunnel-id":
		var n *uint32
		c.uint32(t, 0, &n)
		if n != nil {
			r.TunnelID = strconv.FormatUint(uint64(*n), 10)
		}
	case "uidrange":
		c.word(t, &r.UIDRange)
		c.pair(t, r.UIDRange)
	case "l3mdev":
		r.L3MDev = true
	case "protocol":
		c.ipName(t, protoNames, &r.Protocol)
	case "ipproto":
		c.ipName(t, ipProtocols, &r.IPProto)
	case "sport":
		c.word(t, &r.SPort)
		c.pair(t, r.SPort)
	case "dport":
		c.word(t, &r.DPort)
		c.pair(t, r.DPort)
	case "no_track":
		r.NoTrack = true
	case "track_group":
		c.word(t, &r.TrackGroup)
		if !static {
			d.failAt(c.l, t, "belongs to static_rules only", "")
			r.TrackGroup = ""
		}
	case "type":
	case "goto":
		var n *uint32
		c.uint32(t, 0, &n)
		if n != nil {
			r.Action, r.Goto = "goto", *n
		}
	case "nop", "blackhole", "unreachable", "prohibit":
		r.Action = t.Text
	default:
		return false
	}
	return true
}

// pair requires A-B; keepalived refuses a single number.
func (c *cursor) pair(t Token, v string) {
	if v != "" && !strings.Contains(v, "-") {
		c.d.failAt(c.l, t, fmt.Sprintf("%q is not a range", printable(v)), "FIRST-LAST, also for one: 80-80")
		c.bad = true
	}
}

func (d *decoder) finishRule(l *stmt, r *Rule) bool {
	for _, p := range []netip.Prefix{r.From, r.To} {
		if !p.IsValid() {
			continue
		}
		if f := familyOf(p.Addr()); r.Family == FamilyUnset {
			r.Family = f
		} else if r.Family != f {
			d.fail(l, "mixes IPv4 and IPv6", "")
			return false
		}
	}
	if r.Family == FamilyUnset {
		r.Family = IPv4
	}
	if r.Table == "" && r.Action == "" && !r.L3MDev {
		d.fail(l, "the rule has no table and no action, it is ignored", "table N, goto N, blackhole, ...")
		return false
	}
	if r.Priority == nil {
		d.rules[r.Family]++
		p := uint32(16384 - (d.rules[r.Family] - 1))
		d.warn(l, fmt.Sprintf("has no preference, %d is used", p), "add preference N; the kernel orders rules by it")
		r.Priority = &p
	}
	if r.Action == "goto" && r.Goto <= *r.Priority {
		d.fail(l, fmt.Sprintf("goto %d must be above preference %d, the rule is ignored", r.Goto, *r.Priority), "")
		return false
	}
	if r.Protocol != "" && !r.NoTrack {
		d.warn(l, "protocol is ignored on a tracked rule", "add no_track to keep it")
		r.Protocol = ""
	}
	return true
}
