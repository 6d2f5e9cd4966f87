package netif

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// Event is what a [Monitor] reports. The set is closed: LinkChanged, LinkGone,
// AddrAdded, AddrRemoved, RouteRemoved, RuleRemoved and Overrun.
type Event interface{ event() }

// LinkChanged reports that an interface appeared, changed its flags or
// operational state, or was renamed: then Link.Index is a known one with
// another name. Link.Addrs is nil.
type LinkChanged struct{ Link Link }

// LinkGone reports that an interface was deleted or left the namespace. The
// kernel reports its addresses one by one, before this event.
type LinkGone struct {
	Index int
	Name  string
}

// AddrAdded reports that an address appeared or changed its flags. Ready is
// false while duplicate address detection runs or after it failed: such an
// IPv6 address cannot be a source yet.
type AddrAdded struct {
	Index  int
	Prefix netip.Prefix
	Ready  bool
}

// AddrRemoved reports that an address is gone, by whomever.
type AddrRemoved struct {
	Index  int
	Prefix netip.Prefix
}

// RouteRemoved reports that a route of protocol keepalived is gone; of an IPv6
// multipath route there is one event for each path. IPv4 routes
// that the kernel drops because an interface went down or an address left are
// not announced by it: after LinkChanged and AddrRemoved the owner adds its
// routes again, which is idempotent.
type RouteRemoved struct {
	Index  int          // output interface, 0 for none or several
	Dst    netip.Prefix // 0.0.0.0/0 or ::/0 for a default route
	Via    netip.Addr
	Table  int
	Metric int
	TOS    int
}

// Matches reports whether what is gone is r. The interface is not compared:
// the event has an index that may mean another name by now.
func (e RouteRemoved) Matches(r Route) bool {
	table := r.Table
	if table == 0 {
		table = unix.RT_TABLE_MAIN
	}
	metric := r.Metric
	if metric == 0 && r.v6() {
		metric = ipv6DefaultMetric
	}
	return e.Dst == r.destination() && e.Table == table && e.Metric == metric && e.TOS == r.TOS &&
		(len(r.NextHops) > 0 || e.Via == r.Via.WithZone(""))
}

// RuleRemoved reports that a rule of protocol keepalived is gone.
type RuleRemoved struct{ Rule Rule }

// Matches reports whether what is gone is r.
func (e RuleRemoved) Matches(r Rule) bool { return e.Rule.canonical() == r.canonical() }

// Overrun reports that events were lost: the owner reads the whole state again
// with [Kernel.Links] and adds what it wants to be there.
type Overrun struct{}

func (LinkChanged) event()  {}
func (LinkGone) event()     {}
func (AddrAdded) event()    {}
func (AddrRemoved) event()  {}
func (RouteRemoved) event() {}
func (RuleRemoved) event()  {}
func (Overrun) event()      {}
