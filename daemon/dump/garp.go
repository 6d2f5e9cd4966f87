package dump

import (
	"slices"
	"time"
)

// gaps are the pauses between announcements that some interfaces share. A
// negative one is not set.
type gaps struct {
	group      int // 0 for an interface on its own
	garp, gna  time.Duration
	interfaces []string
}

const unset = time.Duration(-1)

// gapGroups lists the garp_group blocks that set a gap, and then one for every
// further physical interface in use, where vrrp_garp_interval or
// vrrp_gna_interval stands in global_defs.
func (d *dumper) gapGroups() []gaps {
	var out []gaps
	taken := map[string]bool{}
	group := 0
	for _, g := range d.c.GARPGroups {
		x := gaps{garp: unset, gna: unset}
		if g.Has("garp_interval") {
			x.garp = g.GARPInterval
		}
		if g.Has("gna_interval") {
			x.gna = g.GNAInterval
		}
		if x.garp == unset && x.gna == unset {
			continue
		}
		if g.Interface != "" {
			x.interfaces = append(x.interfaces, g.Interface)
		}
		if len(g.Interfaces) > 0 {
			group++
			x.group = group
		}
		for _, r := range g.Interfaces {
			x.interfaces = append(x.interfaces, r.Name)
		}
		for _, name := range x.interfaces {
			taken[name] = true
		}
		out = append(out, x)
	}
	global := &d.c.Global
	if global.GARPInterval == 0 && global.GNAInterval == 0 {
		return out
	}
	for _, i := range d.c.Instances {
		for _, name := range append([]string{i.Interface}, addressDevices(i)...) {
			if name == "" || taken[name] {
				continue
			}
			taken[name] = true
			x := gaps{garp: unset, gna: unset, interfaces: []string{name}}
			if global.GARPInterval > 0 {
				x.garp = global.GARPInterval
			}
			if global.GNAInterval > 0 {
				x.gna = global.GNAInterval
			}
			out = append(out, x)
		}
	}
	return out
}

// garpGroups writes the groups. When the next announcement may go is not known
// here: it is the epoch, as before the first one.
func (d *dumper) garpGroups() {
	groups := d.gapGroups()
	if len(groups) > 0 {
		d.line("------< Gratuitous ARP delays >------")
	}
	next := "0.000000 (" + time.Unix(0, 0).In(d.env.Location).Format("Mon Jan _2 15:04:05") + ".000000)"
	for _, g := range groups {
		d.line("------< GARP delay group %d >------", g.group)
		if g.garp != unset {
			d.line(" GARP interval = %s", general(g.garp.Seconds()))
			d.line(" GARP next time %s", next)
		}
		if g.gna != unset {
			d.line(" GNA interval = %s", general(g.gna.Seconds()))
			d.line(" GNA next time %s", next)
		}
		d.line(" Interfaces")
		for _, name := range g.interfaces {
			d.line("  %s", name)
		}
	}
}

// ifaceGARP writes an interface's share of the above.
func (d *dumper) ifaceGARP(name string) {
	for _, g := range d.gapGroups() {
		if !slices.Contains(g.interfaces, name) {
			continue
		}
		if g.garp != unset {
			d.line("   Gratuitous ARP interval %dms", g.garp.Milliseconds())
		}
		if g.gna != unset {
			d.line("   Gratuitous NA interval %dms", g.gna.Milliseconds())
		}
		if g.group != 0 {
			d.line("   Gratuitous ARP aggregation group %d", g.group)
		}
	}
}
