package netif

import "net/netip"

// Event is what a [Monitor] reports. The set is closed: LinkChanged, LinkGone,
// AddrAdded, AddrRemoved, RouteRemoved and Overrun.
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

// RouteRemoved reports that a route of protocol keepalived is gone. IPv4 routes
// that the kernel drops because an interface went down or an address left are
// not announced by it: after LinkChanged and AddrRemoved the owner adds its
// routes again, which is idempotent.
type RouteRemoved struct {
	Index  int          // output interface, 0 for none or several
	Dst    netip.Prefix // 0.0.0.0/0 or ::/0 for a default route
	Via    netip.Addr
	Table  int
	Metric int
}

// Overrun reports that events were lost: the owner reads the whole state again
// with [Kernel.Links] and adds what it wants to be there.
type Overrun struct{}

func (LinkChanged) event()  {}
func (LinkGone) event()     {}
func (AddrAdded) event()    {}
func (AddrRemoved) event()  {}
func (RouteRemoved) event() {}
func (Overrun) event()      {}
