package dump

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/keepmesh/keepmesh/config"
)

// protocolKeepalived is RTPROT_KEEPALIVED, which marks tracked routes and rules.
const protocolKeepalived = 18

// route writes one route as keepalived does. It prints what it parsed, so that
// names of tables and scopes come out as numbers.
func (d *dumper) route(r *config.Route) string {
	var b strings.Builder
	verb := "prepend"
	switch {
	case slices.Contains(r.Raw, "add"), r.Type != "":
		verb = "add"
	case r.Append:
		verb = "append"
	}
	b.WriteString(verb)
	if r.Type != "" && r.Type != "unicast" {
		b.WriteString(" " + string(r.Type))
	}
	b.WriteString(" " + destination(r))
	if r.From.IsValid() {
		b.WriteString(" from " + prefix(r.From))
	}
	if r.Src.IsValid() {
		b.WriteString(" src " + r.Src.String())
	}
	word(&b, " tos ", number(r.TOS, nil))
	if len(r.Encap) > 0 {
		b.WriteString(" encap " + strings.Join(r.Encap, " "))
	}
	if r.Via.IsValid() {
		b.WriteString(" via " + inet(r.Via.Is6()) + " " + r.Via.String())
	}
	word(&b, " dev ", r.Dev)
	if t := number(r.Table, tables); t != "" && t != "254" {
		b.WriteString(" table " + t)
	}
	b.WriteString(protocol(" proto ", r.Protocol, slices.Contains(r.Raw, "no_track")))
	word(&b, " scope ", number(r.Scope, scopes))
	if r.Metric != nil {
		fmt.Fprintf(&b, " metric %d", *r.Metric)
	}
	if r.OnLink && r.Family == config.IPv4 {
		b.WriteString(" onlink")
	}
	b.WriteString(realms(r.Realms))
	if r.Expires != nil {
		fmt.Fprintf(&b, " expires %dsec", *r.Expires)
	}
	d.metrics(&b, r)
	for n := range r.NextHops {
		nextHop(&b, &r.NextHops[n])
	}
	// Without an interface of its own a route cannot be tracked.
	if r.NoTrack || r.Dev == "" {
		b.WriteString(" no_track")
	}
	word(&b, " track_group ", r.TrackGroup)
	return b.String()
}

// protocol is what marks a route or rule; one that was asked not to be tracked
// has none unless given, while one that cannot be tracked has keepalived's.
func protocol(label, given string, asked bool) string {
	switch {
	case given != "":
		return label + number(given, protocols)
	case asked:
		return ""
	}
	return label + strconv.Itoa(protocolKeepalived)
}

func destination(r *config.Route) string {
	switch {
	case !r.Default:
		return prefix(r.Dst)
	case r.Family == config.IPv6:
		return "::/0"
	}
	return "0.0.0.0/0"
}

func inet(six bool) string { return choose(six, "inet6", "inet") }

func word(b *strings.Builder, label, value string) {
	if value != "" {
		b.WriteString(label + value)
	}
}

// The kernel's well-known names; others come from the iproute2 files, which
// are not read here, and stay as written.
var (
	tables    = map[string]string{"unspec": "0", "default": "253", "main": "254", "local": "255"}
	scopes    = map[string]string{"global": "0", "universe": "0", "site": "200", "link": "253", "host": "254", "nowhere": "255"}
	protocols = map[string]string{"redirect": "1", "kernel": "2", "boot": "3", "static": "4", "keepalived": "18"}
)

// number writes a number in any of C's notations in decimal, or a known name's.
func number(s string, names map[string]string) string {
	if n, ok := names[s]; ok {
		return n
	}
	if n, err := strconv.ParseUint(s, 0, 32); err == nil {
		return strconv.FormatUint(n, 10)
	}
	return s
}

func realms(s string) string {
	if s == "" {
		return ""
	}
	if from, to, ok := strings.Cut(s, "/"); ok {
		return " realms " + number(from, nil) + "/" + number(to, nil)
	}
	return " realm " + number(s, nil)
}

// metrics writes the metrics in keepalived's order, with its placing of "lock".
func (d *dumper) metrics(b *strings.Builder, r *config.Route) {
	lock := func(name, text string) string { return choose(slices.Contains(r.Locked, name), text, "") }
	if v, ok := r.Metrics["congctl"]; ok {
		b.WriteString(" congctl " + v + lock("congctl", "lock "))
	}
	for _, t := range []struct {
		name string
		unit float64
	}{{"rtt", 8}, {"rttvar", 4}, {"rto_min", 1}} {
		if v, ok := r.Metrics[t.name]; ok {
			b.WriteString(" " + t.name + lock(t.name, " lock") + " " + milliseconds(v, t.unit))
		}
	}
	if strings.EqualFold(r.Metrics["features"], "ecn") {
		b.WriteString(" features ecn")
	}
	for _, name := range []string{"mtu", "window", "ssthresh", "cwnd", "advmss", "reordering", "hoplimit", "initcwnd", "initrwnd", "quickack"} {
		if v, ok := r.Metrics[name]; ok {
			b.WriteString(" " + name + " " + lock(name, "lock ") + number(v, nil))
		}
	}
	word(b, " pref ", r.Pref)
	if v, ok := r.Metrics["fastopen_no_cookie"]; ok {
		b.WriteString(" fastopen_no_cookie " + number(v, nil))
	}
	if v, ok := r.Metrics["ttl-propagate"]; ok {
		b.WriteString(" ttl-propagate " + choose(v == "enabled", "enabled", "disabled"))
	}
}

// milliseconds writes a time as iproute2 understands it: a bare number is in
// the kernel's unit, of which so many make a millisecond.
func milliseconds(s string, unit float64) string {
	scale := 1 / unit
	switch {
	case strings.HasSuffix(s, "ms"):
		s, scale = strings.TrimSuffix(s, "ms"), 1
	case strings.HasSuffix(s, "s"):
		s, scale = strings.TrimSuffix(s, "s"), 1000
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return s
	}
	if v *= scale; math.Abs(v) >= 1000 {
		return general(v/1000) + "s"
	}
	return general(v) + "ms"
}

func nextHop(b *strings.Builder, n *config.NextHop) {
	b.WriteString(" nexthop")
	if n.Via.IsValid() {
		b.WriteString(" via " + inet(n.Via.Is6()) + " " + n.Via.String())
	}
	word(b, " dev ", n.Dev)
	if n.Weight > 1 {
		fmt.Fprintf(b, " weight %d", n.Weight)
	}
	if n.OnLink {
		b.WriteString(" onlink")
	}
	b.WriteString(realms(n.Realms))
	if len(n.Encap) > 0 {
		b.WriteString(" encap " + strings.Join(n.Encap, " "))
	}
}

// rule writes one routing rule as keepalived does.
func (d *dumper) rule(r *config.Rule) string {
	var b strings.Builder
	if !r.From.IsValid() && !r.To.IsValid() && r.Family == config.IPv6 {
		b.WriteString("inet6 ")
	}
	b.WriteString(choose(r.Not, "not ", ""))
	from := "all"
	if r.From.IsValid() {
		from = prefix(r.From)
	}
	b.WriteString("from " + from)
	if r.To.IsValid() {
		b.WriteString(" to " + prefix(r.To))
	}
	if r.Priority != nil {
		fmt.Fprintf(&b, " priority %d", *r.Priority)
	}
	b.WriteString(" tos 0x" + hex(choose(r.TOS == "", "0", r.TOS)))
	if r.FwMark != "" {
		mark, mask, masked := strings.Cut(r.FwMark, "/")
		b.WriteString(" fwmark 0x" + hex(mark))
		if masked && hex(mask) != "ffffffff" {
			b.WriteString("/0x" + hex(mask))
		}
	}
	word(&b, " iif ", r.IIF)
	word(&b, " oif ", r.OIF)
	if r.SuppressPrefixLen != nil {
		fmt.Fprintf(&b, " suppress_prefixlen %d", *r.SuppressPrefixLen)
	}
	word(&b, " suppress_ifgroup ", number(r.SuppressIfGroup, nil))
	word(&b, " tunnel-id ", number(r.TunnelID, nil))
	word(&b, " uidrange ", r.UIDRange)
	if r.L3MDev {
		b.WriteString(" l3mdev")
	}
	b.WriteString(protocol(" protocol ", r.Protocol, r.NoTrack))
	word(&b, " ipproto ", number(r.IPProto, map[string]string{"icmp": "1", "tcp": "6", "udp": "17", "sctp": "132"}))
	word(&b, " sport ", ports(r.SPort))
	word(&b, " dport ", ports(r.DPort))
	if from, to, ok := strings.Cut(r.Realms, "/"); ok {
		b.WriteString(" realms " + number(from, nil) + "/" + number(to, nil))
	} else if r.Realms != "" {
		b.WriteString(" realms 0/" + number(r.Realms, nil))
	}
	switch r.Action {
	case "":
		b.WriteString(" lookup " + number(choose(r.Table == "", "main", r.Table), tables))
	case "goto":
		fmt.Fprintf(&b, " goto %d", r.Goto)
	case "nop":
		b.WriteString(" nop")
	default:
		b.WriteString(" type " + r.Action)
	}
	if r.NoTrack {
		b.WriteString(" no_track")
	}
	word(&b, " track_group ", r.TrackGroup)
	return b.String()
}

func hex(s string) string {
	if n, err := strconv.ParseUint(s, 0, 32); err == nil {
		return strconv.FormatUint(n, 16)
	}
	return s
}

func ports(s string) string {
	if s == "" || strings.Contains(s, "-") {
		return s
	}
	return s + "-" + s
}
