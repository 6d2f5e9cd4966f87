package translate

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/netif"
)

// interfacesOf are the names that a virtual interface may not be given.
func interfacesOf(c *config.Config) map[string]bool {
	out := map[string]bool{c.Global.DefaultInterface: true}
	for _, i := range c.Instances {
		out[i.Interface] = true
		for _, v := range []*config.VMAC{i.VMAC, i.IPVlan} {
			if v != nil && v.Name != "" {
				out[v.Name] = true
			}
		}
	}
	return out
}

// virtuals are the virtual interfaces of one instance.
type virtuals struct {
	t      *translator
	i      *config.Instance
	main   string // that of use_vmac or use_ipvlan; empty for none
	made   []netif.Virtual
	source netip.Prefix
}

func (t *translator) virtuals(i *config.Instance) *virtuals {
	on := &virtuals{t: t, i: i}
	switch {
	case i.VMAC != nil:
		v := netif.Virtual{Parent: i.Interface, Kind: netif.MACVLAN, MAC: netif.VirtualMAC(uint8(i.VRID), i.Family == config.IPv6)}
		if i.VMAC.MAC != "" {
			v.MAC = on.mac(i.VMAC.MAC, v.MAC)
		}
		on.add(v, i.VMAC)
	case i.IPVlan != nil:
		on.source = i.IPVlan.Addr
		on.add(netif.Virtual{Parent: i.Interface, Kind: netif.IPVLAN, Mode: i.IPVlan.Mode}, i.IPVlan)
	}
	return on
}

// add puts the instance's own virtual interface in place.
func (on *virtuals) add(v netif.Virtual, words *config.VMAC) {
	v.V6 = on.i.Family == config.IPv6
	if v.Name = words.Name; v.Name == "" {
		v.Name = on.name(on.t.c.Global.VMACPrefix, v.V6)
	}
	if words.Group != "" {
		group, err := strconv.ParseUint(words.Group, 0, 32)
		if err != nil {
			on.t.note(on.i.Pos, "interface group %q is no number: the interface stays in the default group", words.Group)
		}
		v.Group = uint32(group)
	}
	on.main = v.Name
	on.made = append(on.made, v)
}

// name is the first free one in keepalived's order: vrrp.51, for IPv6 then
// vrrp6.51, then vrrp1.51, vrrp2.51 ...
func (on *virtuals) name(prefix string, v6 bool) string {
	try := []string{prefix}
	if v6 {
		try = append(try, prefix+"6")
	}
	for n := 1; ; n++ {
		for _, p := range try {
			name := fmt.Sprintf("%s.%d", p, on.i.VRID)
			if !on.t.taken[name] {
				on.t.taken[name] = true
				return name
			}
		}
		try = []string{prefix + strconv.Itoa(n)}
	}
}

// mac reads a MAC of six octets, or five to which the VRID is appended.
func (on *virtuals) mac(text string, standard netif.MAC) netif.MAC {
	hw, err := net.ParseMAC(text)
	if err != nil {
		hw, err = net.ParseMAC(fmt.Sprintf("%s:%02x", text, on.i.VRID))
	}
	if err != nil || len(hw) != len(standard) {
		on.t.note(on.i.Pos, "%q is no MAC address: %s is used", text, standard)
		return standard
	}
	return netif.MAC(hw)
}

// sender is the interface by which adverts go. keepalived sends unicast from
// the base interface always: peers answer to its own MAC.
func (on *virtuals) sender() string {
	if on.main == "" || on.i.VMACXmitBase || on.i.Unicast {
		return on.i.Interface
	}
	return on.main
}

// carrier is the interface on which an address of the instance goes.
func (on *virtuals) carrier(a *config.Address) string {
	dev := a.Dev
	if dev == "" {
		dev = on.i.Interface
	}
	switch {
	case on.main != "" && dev == on.i.Interface:
		return on.main
	case !a.UseVMAC && !on.i.UseVMACAddr:
		return dev
	}
	v := netif.Virtual{
		Parent: dev, Kind: netif.MACVLAN, V6: a.Prefix.Addr().Is6(),
		MAC: netif.VirtualMAC(uint8(on.i.VRID), a.Prefix.Addr().Is6()),
	}
	if a.VMACAddr != "" {
		v.MAC = on.mac(a.VMACAddr, v.MAC)
	}
	for _, have := range on.made {
		if have.Parent == v.Parent && have.MAC == v.MAC && (a.VMACName == "" || a.VMACName == have.Name) {
			return have.Name
		}
	}
	if v.Name = a.VMACName; v.Name == "" {
		v.Name = on.name(on.t.c.Global.VMACAddrPrefix, v.V6)
	}
	on.made = append(on.made, v)
	return v.Name
}
