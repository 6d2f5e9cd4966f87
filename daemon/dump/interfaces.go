package dump

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/keepmesh/keepmesh/config"
)

// Interface is what a dump tells of one network interface.
type Interface struct {
	Name  string
	Index int
	// Addrs are the addresses that are the host's own: those that the
	// configuration sets may be among them, they are left out of the dump.
	Addrs     []netip.Prefix
	MAC       net.HardwareAddr
	Broadcast net.HardwareAddr // empty is all ones
	Flags     net.Flags
	NoARP     bool
	MTU       int
	// Type is the kernel's ARPHRD number; 0 is derived from Flags and MAC.
	Type int
	// Base is the interface below a macvlan or ipvlan.
	Base string
	// Kind is VMAC or IPVLAN, Mode its mode (private, "L2 bridge", ...); both
	// are empty for other interfaces.
	Kind, Mode string
	// Ours says that this daemon made it.
	Ours bool
	// VRF is the master's name for a slave.
	VRF string
}

func (d *dumper) index(name string) int {
	for n := range d.env.Interfaces {
		if d.env.Interfaces[n].Name == name {
			return d.env.Interfaces[n].Index
		}
	}
	return 0
}

func (d *dumper) exists(name string) bool { return d.index(name) != 0 }

// sockets writes the pool: instances of one interface, family, protocol and
// unicast source share a pair.
func (d *dumper) sockets() {
	type key struct{ device, vrf, family, protocol, source string }
	var order []key
	users := map[key][]*config.Instance{}
	for _, i := range d.c.Instances {
		k := key{d.device(i), i.VRF, "IPv4", "VRRP", ""}
		if i.Family == config.IPv6 {
			k.family = "IPv6"
		}
		if i.Auth.Type == config.AuthAH {
			k.protocol = "AH"
		}
		if i.VMACXmitBase {
			k.device = i.Interface
		}
		if i.Unicast {
			if k.source = d.status(i).Source; i.UnicastSrcIP.IsValid() {
				k.source = i.UnicastSrcIP.String()
			}
		}
		if users[k] == nil {
			order = append(order, k)
		}
		users[k] = append(users[k], i)
	}
	if len(order) > 0 {
		d.line("------< VRRP Sockpool >------")
	}
	for _, k := range order {
		d.line(" fd_in %d fd_out = %d", noDescriptor, noDescriptor)
		d.line("   Interface = %s", k.device)
		d.given("   VRF = %s", k.vrf)
		d.line("   Family = %s", k.family)
		d.line("   Protocol = %s", k.protocol)
		unicast := users[k][0].Unicast
		d.line("   Type = %sicast", choose(unicast, "Un", "Mult"))
		if unicast {
			d.line("   Address = %s", k.source)
		}
		d.line("   Rx buf size = 0")
		d.line("   VRRP instances")
		slices.SortStableFunc(users[k], func(a, b *config.Instance) int { return a.VRID - b.VRID })
		for _, i := range users[k] {
			d.line("     %s vrid %d", i.Name, i.VRID)
		}
	}
}

func (d *dumper) interfaces() {
	if len(d.env.Interfaces) == 0 {
		return
	}
	d.line("------< Interfaces >------")
	ours := d.managed()
	for n := range d.env.Interfaces {
		d.iface(&d.env.Interfaces[n], ours)
	}
}

// managed lists the addresses that the configuration sets.
func (d *dumper) managed() map[netip.Addr]bool {
	out := map[netip.Addr]bool{}
	add := func(list []config.Address) {
		for n := range list {
			out[list[n].Prefix.Addr()] = true
		}
	}
	add(d.c.StaticAddresses)
	for _, i := range d.c.Instances {
		add(i.VIPs)
		add(i.VIPsExcluded)
	}
	return out
}

func (d *dumper) iface(f *Interface, ours map[netip.Addr]bool) {
	d.line(" Name = %s", f.Name)
	d.line("   index = %d%s", f.Index, choose(f.Index == 0, " (deleted)", ""))
	d.ifaceAddrs(f, ours)
	if len(f.MAC) > 0 {
		bcast := f.Broadcast
		if len(bcast) == 0 {
			bcast = net.HardwareAddr(strings.Repeat("\xff", len(f.MAC)))
		}
		d.line("   MAC = %s", f.MAC)
		d.line("   MAC broadcast = %s", bcast)
	}
	d.line("   State = %s", ifaceState(f))
	d.line("   Seen up = %d", bit(f.Flags&net.FlagUp != 0 && f.Flags&net.FlagRunning != 0))
	d.line("   Delayed state change running = false")
	var up, down int64
	for _, u := range d.c.UpDownDelays {
		if u.Interface == f.Name {
			up, down = u.Up.Microseconds(), u.Down.Microseconds()
		}
	}
	d.line("   Up debounce timer = %dus", up)
	d.line("   Down debounce timer = %dus", down)
	if f.Kind != "" {
		base := "down, not RUNNING"
		for n := range d.env.Interfaces {
			if b := &d.env.Interfaces[n]; b.Name == f.Base {
				base = choose(b.Flags&net.FlagUp != 0, "UP", "not UP") + ", " + choose(b.Flags&net.FlagRunning != 0, "RUNNING", "not RUNNING")
			}
		}
		d.line("   %s type %s, underlying interface = %s, state = %s", f.Kind, f.Mode, f.Base, base)
	}
	if f.Ours {
		d.line("   I/f created by keepalived")
	}
	d.line("   MTU = %d", f.MTU)
	d.hardware(f)
	if d.polled(f.Name) {
		d.line("   NIC ioctl refresh polling")
	} else {
		d.line("   NIC netlink status update")
	}
	if f.VRF != "" {
		d.line("   VRF slave of %s", f.VRF)
	}
	d.ifaceGARP(f.Name)
	d.line("   Reset ARP config counter 0")
	d.line("   Original arp_ignore 0")
	d.line("   Original arp_filter 0")
	d.line("   Original promote_secondaries 0")
	d.line("   Reset promote_secondaries counter 0")
	d.trackerLines("Tracking VRRP instances", d.ifaceTrackers(f.Name))
}

// ifaceAddrs writes the first address of each family, and others below it. Of
// IPv6 keepalived keeps link-local addresses only.
func (d *dumper) ifaceAddrs(f *Interface, ours map[netip.Addr]bool) {
	var four, six []string
	for _, p := range f.Addrs {
		a := p.Addr().WithZone("")
		switch {
		case ours[a]:
		case a.Is4():
			four = append(four, a.String())
		case a.IsLinkLocalUnicast():
			six = append(six, a.String())
		}
	}
	for _, l := range []struct {
		family string
		list   []string
	}{{"IPv4", four}, {"IPv6", six}} {
		if len(l.list) == 0 {
			d.line("   %s address = (none)", l.family)
			continue
		}
		d.line("   %s address = %s", l.family, l.list[0])
		if len(l.list) > 1 {
			d.line("   Additional %s addresses :", l.family)
			for _, a := range l.list[1:] {
				d.line("     %s", a)
			}
		}
	}
}

func ifaceState(f *Interface) string {
	s := choose(f.Flags&net.FlagUp != 0, "UP", "not UP") + ", " + choose(f.Flags&net.FlagRunning != 0, "RUNNING", "not RUNNING")
	for _, x := range []struct {
		on   bool
		text string
	}{
		{f.Flags&net.FlagBroadcast == 0, ", no broadcast"}, {f.Flags&net.FlagLoopback != 0, ", loopback"},
		{f.Flags&net.FlagPointToPoint != 0, ", point to point"}, {f.NoARP, ", no arp"}, {f.Flags&net.FlagMulticast == 0, ", no multicast"},
	} {
		if x.on {
			s += x.text
		}
	}
	return s
}

// The kernel's ARPHRD numbers that keepalived has a name for. INFINIBAND has
// one too, but goes to keepalived's log instead of the file.
const (
	arphrdEther      = 1
	arphrdInfiniband = 32
	arphrdLoopback   = 772
	arphrdNone       = 0xfffe
)

func (d *dumper) hardware(f *Interface) {
	t := f.Type
	if t == 0 {
		switch {
		case f.Flags&net.FlagLoopback != 0:
			t = arphrdLoopback
		case len(f.MAC) == 6:
			t = arphrdEther
		default:
			t = arphrdNone
		}
	}
	switch t {
	case arphrdLoopback:
		d.line("   HW Type = LOOPBACK")
	case arphrdEther:
		d.line("   HW Type = ETHERNET")
	case arphrdInfiniband:
	default:
		d.line("   HW Type = UNKNOWN (%d)", t)
	}
}

func (d *dumper) polled(name string) bool {
	for _, l := range d.c.LinkBeat {
		if l.Interface == name {
			return true
		}
	}
	for _, i := range d.c.Instances {
		if i.LinkBeatPolling && i.Interface == name {
			return true
		}
	}
	return d.c.Global.LinkBeatPolling
}

// notTracked is the weight by which keepalived marks dont_track_primary.
const notTracked = 255

// ifaceTrackers lists the instances that depend on an interface: because they
// track it, run on it, or have addresses, routes or rules on it. Weights are
// those of the text, before a sync group voids them.
func (d *dumper) ifaceTrackers(name string) []tracker {
	var out []tracker
	for _, i := range d.c.Instances {
		for _, t := range i.TrackInterfaces {
			if t.Name == name {
				out = append(out, tracker{i.Name, t.Weight, t.Reverse})
			}
		}
		primary := 0
		if i.DontTrackPrimary {
			primary = notTracked
		}
		if i.Interface == name || d.device(i) == name {
			out = addTracker(out, tracker{i.Name, primary, false})
		}
		if slices.Contains(d.dependencies(i), name) {
			out = addTracker(out, tracker{i.Name, 0, false})
		}
	}
	for _, g := range d.c.SyncGroups {
		for _, t := range g.TrackInterfaces {
			for _, m := range g.Members {
				if t.Name == name {
					out = addTracker(out, tracker{m.Name, t.Weight, t.Reverse})
				}
			}
		}
	}
	return out
}

// dependencies are the interfaces named by what an instance sets.
func (d *dumper) dependencies(i *config.Instance) []string {
	out := addressDevices(i)
	for n := range i.VirtualRoutes {
		if r := &i.VirtualRoutes[n]; !r.NoTrack && r.Dev != "" {
			out = append(out, r.Dev)
		}
	}
	for n := range i.VirtualRules {
		if r := &i.VirtualRules[n]; !r.NoTrack {
			out = append(out, r.IIF, r.OIF)
		}
	}
	return out
}

// addressDevices are the other interfaces on which an instance has addresses
// that it watches.
func addressDevices(i *config.Instance) []string {
	var out []string
	for _, list := range [][]config.Address{i.VIPs, i.VIPsExcluded} {
		for n := range list {
			if a := &list[n]; !a.NoTrack && a.Dev != "" && a.Dev != i.Interface {
				out = append(out, a.Dev)
			}
		}
	}
	return out
}
