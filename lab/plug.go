package lab

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// MAC is the hardware address of the i-th interface, the same after each
// boot.
func (h *Host) MAC(i int) net.HardwareAddr {
	return net.HardwareAddr{0x02, 0xab, 0, 0, byte(h.index), byte(i)}
}

// Port is the name of the switch port that an interface is cabled to, in the
// namespace of the switch.
func (h *Host) Port(iface string) (string, error) {
	for i, f := range h.opts.Interfaces {
		if f.Name == iface {
			return h.portName(i), nil
		}
	}
	return "", fmt.Errorf("host %s has no interface %q", h.name, iface)
}

// portName is host-interface, or a number where that is too long for the
// kernel.
func (h *Host) portName(i int) string {
	if name := h.name + "-" + h.opts.Interfaces[i].Name; len(name) <= maxIfName {
		return name
	}
	return fmt.Sprintf("p%d-%d", h.index, i)
}

// plug makes the i-th interface and its port, and gives it its addresses.
func (h *Host) plug(_ context.Context, i int, f Iface) error {
	run, err := h.running()
	if err != nil {
		return err
	}
	sw, err := h.lab.sw.running()
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = f.Name
	attrs.HardwareAddr = h.MAC(i)
	veth := netlink.NewVeth(attrs)
	veth.PeerName = h.portName(i)
	veth.PeerHardwareAddr = net.HardwareAddr{0x02, 0xac, 0, 0, byte(h.index), byte(i)}
	veth.PeerNamespace = netlink.NsFd(int(sw.ns))
	if err := run.nl.LinkAdd(veth); err != nil {
		return fmt.Errorf("adding the cable: %w", err)
	}
	p, err := sw.nl.LinkByName(veth.PeerName)
	if err != nil {
		return fmt.Errorf("finding port %s: %w", veth.PeerName, err)
	}
	bridge, err := sw.nl.LinkByName(bridgeName(f.Switch))
	if err != nil {
		return fmt.Errorf("finding switch %s: %w", f.Switch, err)
	}
	h.lab.registerPort(p.Attrs().Index, port{name: veth.PeerName, host: h.name, iface: f.Name})
	if err := sw.nl.LinkSetMaster(p, bridge); err != nil {
		return fmt.Errorf("putting port %s into switch %s: %w", veth.PeerName, f.Switch, err)
	}
	if err := sw.nl.LinkSetAlias(p, h.name+" "+f.Name); err != nil {
		return fmt.Errorf("labelling port %s: %w", veth.PeerName, err)
	}
	if err := sw.nl.LinkSetUp(p); err != nil {
		return fmt.Errorf("setting port %s up: %w", veth.PeerName, err)
	}
	return h.configure(run, f)
}

func (h *Host) configure(run *incarnation, f Iface) error {
	link, err := run.nl.LinkByName(f.Name)
	if err != nil {
		return err
	}
	if err := run.nl.LinkSetUp(link); err != nil {
		return fmt.Errorf("setting it up: %w", err)
	}
	prefixes := f.More
	if f.Addr.IsValid() {
		prefixes = append([]netip.Prefix{f.Addr}, prefixes...)
	}
	for _, p := range prefixes {
		addr := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := run.nl.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("adding address %s: %w", p, err)
		}
	}
	return nil
}

// unplug removes the ports of a dead host, and so its ends of the cables.
func (h *Host) unplug() {
	if h.lab.sw == nil {
		return
	}
	sw, err := h.lab.sw.running()
	if err != nil {
		return
	}
	for i := range h.opts.Interfaces {
		if p, err := sw.nl.LinkByName(h.portName(i)); err == nil {
			// The kernel may have been faster.
			_ = sw.nl.LinkDel(p)
		}
	}
}

// setPort sets the switch's end of the i-th cable up or down.
func (h *Host) setPort(i int, up bool) error {
	sw, err := h.lab.sw.running()
	if err != nil {
		return err
	}
	p, err := sw.nl.LinkByName(h.portName(i))
	if err != nil {
		return fmt.Errorf("finding port %s: %w", h.portName(i), err)
	}
	set := sw.nl.LinkSetDown
	if up {
		set = sw.nl.LinkSetUp
	}
	if err := set(p); err != nil {
		return fmt.Errorf("setting port %s: %w", h.portName(i), err)
	}
	return nil
}

// registerPort is written under mu and read without it by sniffers. Indices
// of removed ports stay: the kernel does not reuse them soon.
func (l *Lab) registerPort(index int, p port) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ports := maps.Clone(*l.ports.Load())
	ports[index] = p
	l.ports.Store(&ports)
}

// hostBit is the bit of a host in the prober's holder sets.
func (l *Lab) hostBits() map[string]uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	bits := make(map[string]uint32, len(l.order))
	for i, name := range l.order {
		bits[name] = 1 << i
	}
	return bits
}
