package config

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// nameKind is a table of names that iproute2 keeps in files: routing tables,
// protocols and so on. A word is good as a number in range, as one of the
// names that are always known, or as a name of the files.
type nameKind struct {
	word   string
	file   string
	lo, hi uint64
	known  []string
}

var (
	tableNames  = nameKind{"routing table", "rt_tables", 1, 1<<32 - 1, []string{"main", "local", "default"}}
	routeTables = nameKind{"routing table", "rt_tables", 0, 1<<32 - 1, []string{"main", "local", "default"}}
	scopeNames  = nameKind{"scope", "rt_scopes", 0, 255, []string{"global", "universe", "site", "link", "host", "nowhere"}}
	protoNames  = nameKind{"protocol", "rt_protos", 0, 255, []string{"kernel", "boot", "static", "redirect", "ra", "dhcp", "keepalived", "zebra", "bird", "bgp", "ospf", "rip", "isis", "babel"}}
	tosNames    = nameKind{"TOS value", "rt_dsfield", 0, 255, nil}
	ipProtocols = nameKind{"IP protocol", "", 0, 255, []string{"tcp", "udp", "icmp", "icmpv6", "ipv6-icmp", "sctp", "dccp", "udplite", "gre", "esp", "ah", "igmp", "ospf", "pim", "vrrp", "ipip", "ipv6", "l2tp"}}
)

// maxNameFile bounds what is read of one of the files.
const maxNameFile = 1 << 20

// ipName reads one of these words into p; when it is unknown the line is
// dropped.
func (c *cursor) ipName(t Token, kind nameKind, p *string) {
	v, ok := c.value(t)
	if !ok {
		return
	}
	if !c.d.knows(kind, v.Text) {
		c.d.failAt(c.l, v, fmt.Sprintf("%s %q is not known, the line is ignored", kind.word, printable(v.Text)), fmt.Sprintf("a number from %d to %d, or a name", kind.lo, kind.hi))
		c.bad = true
		return
	}
	*p = v.Text
}

func (d *decoder) knows(kind nameKind, word string) bool {
	if n, err := strconv.ParseUint(word, 0, 64); err == nil {
		return n >= kind.lo && n <= kind.hi
	}
	if n, err := strconv.ParseUint(word, 16, 8); kind.file == "rt_dsfield" && err == nil {
		return n <= kind.hi
	}
	if slices.Contains(kind.known, word) || d.opt.Scripts == nil {
		return true
	}
	return kind.file != "" && slices.Contains(d.namesOf(kind.file), word)
}

// namesOf reads the names of one file, once.
func (d *decoder) namesOf(file string) []string {
	if names, done := d.ipNames[file]; done {
		return names
	}
	var names []string
	for _, dir := range []string{"etc/iproute2/", "usr/share/iproute2/", "usr/lib/iproute2/"} {
		f, err := d.opt.Scripts.Open(dir + file)
		if err != nil {
			continue
		}
		text, err := io.ReadAll(io.LimitReader(f, maxNameFile))
		f.Close()
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			line, _, _ = strings.Cut(line, "#")
			if w := strings.Fields(line); len(w) == 2 {
				names = append(names, w[1])
			}
		}
	}
	if d.ipNames == nil {
		d.ipNames = map[string][]string{}
	}
	d.ipNames[file] = names
	return names
}

// oneOf reads one of a few words into p; another one is reported and dropped.
func (c *cursor) oneOf(t Token, p *string, words ...string) {
	v, ok := c.value(t)
	if !ok {
		return
	}
	if !slices.Contains(words, v.Text) {
		c.d.failAt(c.l, v, fmt.Sprintf("%s %q is unknown", t.Text, printable(v.Text)), "one of "+strings.Join(words, ", "))
		return
	}
	*p = v.Text
}

// pairOfNumbers reads N, or A SEP B; anything else is reported and dropped.
func (c *cursor) pairOfNumbers(t Token, sep string, hi uint64, p *string) {
	v, ok := c.value(t)
	if !ok {
		return
	}
	a, b, two := strings.Cut(v.Text, sep)
	for i, s := range []string{a, b} {
		if i == 1 && !two {
			continue
		}
		if n, err := strconv.ParseUint(s, 0, 64); err != nil || n > hi {
			c.d.failAt(c.l, v, fmt.Sprintf("%s %q is not valid", t.Text, printable(v.Text)), fmt.Sprintf("N or N%sN, up to %d", sep, hi))
			return
		}
	}
	*p = v.Text
}
