package protocol

import (
	"net/netip"
	"slices"

	"github.com/keepmesh/keepmesh/daemon/settings"
	"github.com/keepmesh/keepmesh/netif"
	"github.com/keepmesh/keepmesh/vrrp"
)

// virtuals are the interfaces made for instances (use_vmac, use_ipvlan). They
// live as long as the instances are configured, whatever their state: what
// hears a master's adverts must be there before there is anything to hold.
type virtuals struct {
	wanted   map[string]netif.Virtual // by name
	order    []string                 // of the configuration: they are made in it
	wrong    map[string]string        // why one could not be made
	settings *netif.Sysctls
}

func newVirtuals(settings *netif.Sysctls) *virtuals {
	return &virtuals{wanted: map[string]netif.Virtual{}, wrong: map[string]string{}, settings: settings}
}

// makeVirtuals makes the interfaces of a configuration before its instances
// begin. It returns those that nothing wants any more: they are still needed
// while farewells are sent.
func (p *process) makeVirtuals(cfg *settings.VRRP) (unwanted []netif.Virtual) {
	next := map[string]netif.Virtual{}
	p.virtuals.order = nil
	for i := range cfg.Instances {
		for _, v := range cfg.Instances[i].Virtuals {
			if _, twice := next[v.Name]; !twice {
				p.virtuals.order = append(p.virtuals.order, v.Name)
			}
			next[v.Name] = v
		}
	}
	for name, v := range p.virtuals.wanted {
		switch n, still := next[name]; {
		case !still:
			unwanted = append(unwanted, v)
		case n != v:
			p.removeVirtuals([]netif.Virtual{v})
		}
	}
	p.virtuals.wanted = next
	clear(p.virtuals.wrong)
	if len(next) > 0 {
		p.repairVirtuals()
	}
	return unwanted
}

// repairVirtuals makes what is missing, and reads the links again if it made
// anything. A parent that is absent is no error: it may come.
func (p *process) repairVirtuals() {
	made := false
	for _, name := range p.virtuals.order {
		v := p.virtuals.wanted[name]
		if l := p.linkNamed(name); l != nil && p.virtuals.wrong[name] == "" && p.linkNamed(v.Parent) != nil && l.Parent == p.linkNamed(v.Parent).Index && l.AdminUp {
			continue
		}
		if p.linkNamed(v.Parent) == nil {
			delete(p.virtuals.wrong, name)
			continue
		}
		err := p.kernel.AddVirtual(v, p.virtuals.settings)
		if err == nil {
			delete(p.virtuals.wrong, name)
			p.log.Info("virtual interface made", "iface", name, "on", v.Parent, "mac", v.MAC)
			made = true
			continue
		}
		if p.virtuals.wrong[name] != err.Error() {
			p.virtuals.wrong[name] = err.Error()
			p.log.Error("no virtual interface", "iface", name, "err", err)
			p.event("ALARM", "", err.Error())
		}
	}
	if !made {
		return
	}
	p.readLinks()
	p.updateFirewall() // knows interfaces by index
	for _, i := range p.instances {
		if i != nil && i.holding && len(i.set.Virtuals) > 0 {
			p.restore(i)
			p.Announce(i.id, 1)
		}
	}
}

// removeVirtuals removes interfaces with whatever is on them.
func (p *process) removeVirtuals(all []netif.Virtual) {
	for _, v := range all {
		if l := p.linkNamed(v.Name); l != nil {
			delete(p.links, l.Index)
		}
		if _, err := p.kernel.DelVirtual(v); err != nil {
			p.log.Error("cannot remove a virtual interface", "iface", v.Name, "err", err)
		}
	}
}

// closeVirtuals removes all of them and puts the kernel's settings back,
// unless what was held stays too.
func (p *process) closeVirtuals() {
	if p.cfg.KeepOnStop {
		return
	}
	for _, v := range p.virtuals.wanted {
		p.removeVirtuals([]netif.Virtual{v})
	}
	clear(p.virtuals.wanted)
	p.virtuals.order = nil
	if err := p.virtuals.settings.Restore(); err != nil {
		p.log.Error("cannot restore the kernel's settings", "err", err)
	}
}

// base is the interface whose addresses and neighbours are those of dev.
func (p *process) base(dev string) string {
	if v, ok := p.virtuals.wanted[dev]; ok {
		return v.Parent
	}
	return dev
}

// tellVirtuals tells the Router which of the interfaces are there.
func (p *process) tellVirtuals() {
	for name, v := range p.virtuals.wanted {
		ev := vrrp.TrackerChanged{ID: vrrp.TrackerID("vmac:" + name), State: vrrp.Down}
		switch l := p.linkNamed(name); {
		case p.virtuals.wrong[name] != "":
			ev.Cause = p.virtuals.wrong[name]
		case l == nil:
			ev.Cause = "interface " + name + " cannot be made: there is no " + v.Parent
		case !l.AdminUp:
			ev.Cause = "interface " + name + " is switched off"
		default:
			ev.State = vrrp.Up
		}
		p.speaker.Inject(&ev)
	}
}

// lendSources puts the source address of adverts on the virtual interfaces by
// which they go: of IPv6 the parent's link-local address, as keepalived does,
// and what use_ipvlan names.
func (p *process) lendSources() {
	for _, i := range p.instances {
		if i == nil {
			continue
		}
		dev := i.cfg.Key.Interface
		l := p.linkNamed(dev)
		if _, ours := p.virtuals.wanted[dev]; !ours || l == nil {
			continue
		}
		lent := i.set.VirtualSource
		if !lent.IsValid() && i.cfg.Key.Family == 6 {
			if a := p.primary(p.base(dev), true); a.IsValid() {
				lent = netip.PrefixFrom(a, 64)
			}
		}
		if !lent.IsValid() || slices.Contains(l.Addrs, lent) {
			continue
		}
		a := netif.VIP(lent, dev)
		a.Deprecated = lent.Addr().Is6() // never chosen by anybody else
		if p.complain(i, "source address", p.kernel.AddAddresses([]netif.Address{a})) == 0 {
			l.Addrs = append(l.Addrs, lent)
		}
	}
}
