package lab

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
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
func (h *Host) plug(i int, f Iface) error {
	name := h.portName(i)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = f.Name
	attrs.HardwareAddr = h.MAC(i)
	veth := netlink.NewVeth(attrs)
	veth.PeerName = name
	veth.PeerHardwareAddr = net.HardwareAddr{0x02, 0xac, 0, 0, byte(h.index), byte(i)}
	err := h.lab.sw.use(func(_ *netlink.Handle, sw netns.NsHandle) error {
		veth.PeerNamespace = netlink.NsFd(int(sw))
		return h.use(func(nl *netlink.Handle, _ netns.NsHandle) error { return nl.LinkAdd(veth) })
	})
	if err != nil {
		return fmt.Errorf("adding the cable: %w", err)
	}
	err = h.lab.sw.use(func(nl *netlink.Handle, _ netns.NsHandle) error {
		p, err := nl.LinkByName(name)
		if err != nil {
			return err
		}
		bridge, err := nl.LinkByName(bridgeName(f.Switch))
		if err != nil {
			return fmt.Errorf("finding the switch: %w", err)
		}
		h.lab.registerPort(p.Attrs().Index, port{name: name, host: h.name, iface: f.Name})
		return errors.Join(nl.LinkSetMaster(p, bridge), nl.LinkSetAlias(p, h.name+" "+f.Name), nl.LinkSetUp(p))
	})
	if err != nil {
		return fmt.Errorf("cabling it to port %s of switch %s: %w", name, f.Switch, err)
	}
	return h.use(func(nl *netlink.Handle, _ netns.NsHandle) error { return configure(nl, f) })
}

// configure sets an interface up and adds its addresses.
func configure(nl *netlink.Handle, f Iface) error {
	link, err := nl.LinkByName(f.Name)
	if err != nil {
		return err
	}
	if err := nl.LinkSetUp(link); err != nil {
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
		if err := nl.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("adding address %s: %w", p, err)
		}
	}
	return nil
}

// unplug removes the ports of a dead host, and so its ends of the cables.
func (h *Host) unplug() {
	if h.lab.sw == nil || h == h.lab.sw {
		return
	}
	// Fails only when the switch is gone too, and the ports with it.
	_ = h.lab.sw.use(func(nl *netlink.Handle, _ netns.NsHandle) error {
		for i := range h.opts.Interfaces {
			if p, err := nl.LinkByName(h.portName(i)); err == nil {
				_ = nl.LinkDel(p) // the kernel may have been faster
			}
		}
		return nil
	})
}

// setPort sets the switch's end of the i-th cable up or down.
func (h *Host) setPort(i int, up bool) error {
	name := h.portName(i)
	err := h.lab.sw.use(func(nl *netlink.Handle, _ netns.NsHandle) error {
		p, err := nl.LinkByName(name)
		if err != nil {
			return err
		}
		if up {
			return nl.LinkSetUp(p)
		}
		return nl.LinkSetDown(p)
	})
	if err != nil {
		return fmt.Errorf("setting port %s: %w", name, err)
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

// hostBits are the bits of the hosts in the prober's holder sets.
func (l *Lab) hostBits() map[string]uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	bits := make(map[string]uint32, len(l.order))
	for i, name := range l.order {
		bits[name] = 1 << i
	}
	return bits
}
