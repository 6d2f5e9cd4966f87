package dump

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/keepmesh/keepmesh/config"
)

// statics writes static_ipaddress, static_routes, static_rules and
// track_group. Static addresses are always set.
func (d *dumper) statics() {
	if len(d.c.StaticAddresses) > 0 {
		d.line("------< Static Addresses >------")
	}
	for n := range d.c.StaticAddresses {
		d.line("     %s", d.address(&d.c.StaticAddresses[n], nil, true))
	}
	if len(d.c.StaticRoutes) > 0 {
		d.line("------< Static Routes >------")
	}
	for n := range d.c.StaticRoutes {
		d.line("     %s", d.route(&d.c.StaticRoutes[n]))
	}
	if len(d.c.StaticRules) > 0 {
		d.line("------< Static Rules >------")
	}
	for n := range d.c.StaticRules {
		d.line("     %s", d.rule(&d.c.StaticRules[n]))
	}
	if len(d.c.TrackGroups) > 0 {
		d.line("------< Static Track groups >------")
	}
	for _, g := range d.c.TrackGroups {
		d.line(" Static Track Group = %s", g.Name)
		d.members(g.Members)
	}
}

func (d *dumper) members(refs []config.Ref) {
	if len(refs) > 0 {
		d.line("   VRRP member instances :")
	}
	for _, m := range refs {
		d.line("     %s", m.Name)
	}
}

// prefix writes an address, with its length unless it is a host's.
func prefix(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// address writes an address as keepalived does, in both .data and .json. The
// instance is nil for a static address; held says that it is on its interface.
func (d *dumper) address(a *config.Address, i *config.Instance, held bool) string {
	var b strings.Builder
	if a.Peer.IsValid() {
		b.WriteString(a.Prefix.Addr().String())
		if a.Peer.Bits() != a.Peer.Addr().BitLen() {
			b.WriteString("/" + strconv.Itoa(a.Peer.Bits()))
		}
	} else {
		b.WriteString(prefix(a.Prefix))
	}
	if brd := broadcast(a); brd.IsValid() {
		b.WriteString(" brd " + brd.String())
	}
	b.WriteString(" dev " + d.addressDevice(a, i))
	if a.UseVMAC {
		b.WriteString(" use_vmac")
	}
	b.WriteString(" scope " + scopeName(a.Scope))
	if a.Label != "" {
		b.WriteString(" label " + a.Label)
	}
	if a.Peer.IsValid() {
		b.WriteString(" peer " + a.Peer.String())
	}
	for _, f := range []struct {
		on   bool
		text string
	}{{a.Home, " home"}, {a.DAD, " -nodad"}, {a.ManageTemp, " mngtmpaddr"}, {a.NoPrefixRoute, " noprefixroute"}, {a.AutoJoin, " autojoin"}, {a.NoTrack, " no_track"}} {
		if f.on {
			b.WriteString(f.text)
		}
	}
	if a.TrackGroup != "" {
		b.WriteString(" track_group " + a.TrackGroup)
	}
	if a.Prefix.Addr().Is6() {
		b.WriteString(preferred(a))
	}
	if held {
		b.WriteString(" set")
		if i != nil && !i.Accept {
			b.WriteString(" nftable_set")
		}
	}
	return b.String()
}

// preferred writes the preferred lifetime of an IPv6 address. Unless told
// otherwise a host address is deprecated, so that it is no source address.
func preferred(a *config.Address) string {
	lft := uint32(0xffffffff)
	if a.PreferredLft != nil {
		lft = *a.PreferredLft
	} else if a.Prefix.IsSingleIP() {
		lft = 0
	}
	switch lft {
	case 0:
		return " deprecated"
	case 0xffffffff:
		return " preferred_lft forever"
	}
	return " preferred_lft " + strconv.FormatUint(uint64(lft), 10)
}

func broadcast(a *config.Address) netip.Addr {
	if !a.Prefix.Addr().Is4() {
		return netip.Addr{}
	}
	switch a.BroadcastMode {
	case config.BroadcastAddr:
		return a.Broadcast
	case config.BroadcastClear:
		return a.Prefix.Masked().Addr()
	case config.BroadcastSet:
		b := a.Prefix.Addr().As4()
		for bit := a.Prefix.Bits(); bit < 32; bit++ {
			b[bit/8] |= 0x80 >> (bit % 8)
		}
		return netip.AddrFrom4(b)
	case config.BroadcastNone:
	}
	return netip.Addr{}
}

func (d *dumper) addressDevice(a *config.Address, i *config.Instance) string {
	switch {
	case i == nil:
		return choose(a.Dev == "", d.c.Global.DefaultInterface, a.Dev)
	case a.Dev != "" && a.Dev != i.Interface:
		return a.Dev
	case d.device(i) != i.Interface:
		return d.device(i) + "@" + i.Interface
	}
	return i.Interface
}

// scopeName is the kernel's name of an address scope; -1 is global.
func scopeName(n int) string {
	names := map[int]string{-1: "global", 0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}
	if s, ok := names[n]; ok {
		return s
	}
	return strconv.Itoa(n)
}
