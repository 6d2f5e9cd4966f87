package protocol

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/keepmesh/keepmesh/netif"
	"github.com/keepmesh/keepmesh/vrrp"
	"github.com/keepmesh/keepmesh/vrrp/speaker"
)

// readLinks takes the whole state of the interfaces from the kernel.
func (p *process) readLinks() {
	links, err := p.kernel.Links()
	if err != nil {
		p.log.Error("cannot list interfaces; what is known stays", "err", err)
		return
	}
	clear(p.links)
	for n := range links {
		l := links[n]
		p.links[l.Index] = &l
	}
}

func (p *process) readMonitor() {
	dirty := false
	err := p.monitor.Drain(func(ev netif.Event) {
		switch ev := ev.(type) {
		case netif.LinkChanged:
			dirty = p.linkChanged(ev.Link) || dirty
		case netif.LinkGone:
			if p.links[ev.Index] != nil {
				p.log.Warn("interface is gone", "iface", ev.Name)
				delete(p.links, ev.Index)
				dirty = true
			}
		case netif.AddrAdded:
			if l := p.links[ev.Index]; l != nil && ev.Ready && !slices.Contains(l.Addrs, ev.Prefix) {
				l.Addrs = append(l.Addrs, ev.Prefix)
				dirty = dirty || !p.ours(ev.Prefix.Addr())
			}
		case netif.AddrRemoved:
			if l := p.links[ev.Index]; l != nil {
				l.Addrs = slices.DeleteFunc(l.Addrs, func(a netip.Prefix) bool { return a == ev.Prefix })
				dirty = dirty || !p.ours(ev.Prefix.Addr())
			}
			p.addressRemoved(ev)
		case netif.RouteRemoved:
			p.routeRemoved(ev)
		case netif.Overrun:
			p.log.Warn("the kernel reported more than could be read: reading everything again")
			p.readLinks()
			p.restoreAll()
			dirty = true
		}
	})
	if err != nil {
		p.log.Error("reading interface events", "err", err)
	}
	if dirty {
		p.publishLinks()
	}
}

// linkChanged updates one link; false where nothing that matters changed.
func (p *process) linkChanged(l netif.Link) bool {
	old := p.links[l.Index]
	if old != nil {
		l.Addrs = old.Addrs
		if old.Up == l.Up && old.Name == l.Name {
			*old = l
			return false
		}
	}
	p.links[l.Index] = &l
	if old == nil {
		p.log.Info("interface appeared", "iface", l.Name, "up", l.Up)
		return true
	}
	p.log.Info("interface changed", "iface", l.Name, "up", l.Up)
	if l.Up && !old.Up {
		// The kernel drops IPv4 routes with the link, without a word.
		for _, i := range p.instances {
			if i != nil && i.holding && i.byIf[l.Name] != nil {
				p.restore(i)
				p.Announce(i.id, 1)
			}
		}
	}
	return true
}

// routeRemoved adds a holder's routes again; adding what exists is nothing.
func (p *process) routeRemoved(ev netif.RouteRemoved) {
	for _, i := range p.instances {
		if i == nil || !i.holding {
			continue
		}
		if slices.ContainsFunc(i.set.Routes, func(r netif.Route) bool { return sameDestination(r, ev) }) {
			p.complain(i, "route", p.kernel.AddRoutes(i.set.Routes))
		}
	}
}

func sameDestination(r netif.Route, ev netif.RouteRemoved) bool {
	if !r.Dst.IsValid() || r.Dst.Bits() == 0 {
		return ev.Dst.Bits() == 0
	}
	return r.Dst.Masked() == ev.Dst
}

func (p *process) restoreAll() {
	for _, i := range p.instances {
		if i != nil && i.holding {
			p.restore(i)
		}
	}
}

// ours says whether any instance has the address: such a one is never a source.
func (p *process) ours(a netip.Addr) bool {
	for _, i := range p.instances {
		if i != nil && i.owns(a) {
			return true
		}
	}
	return false
}

func (p *process) linkNamed(name string) *netif.Link {
	for _, l := range p.links {
		if l.Name == name {
			return l
		}
	}
	return nil
}

// publishLinks tells the speaker and the Router what the interfaces are now.
func (p *process) publishLinks() {
	p.repairVirtuals()
	p.lendSources()
	var usable []speaker.Link
	for _, l := range p.links {
		on := speaker.Link{Index: l.Index, Name: l.Name, Up: l.Up, MTU: l.MTU, Prefixes: l.Addrs}
		if below := p.linkNamed(p.base(l.Name)); below != nil {
			on.Prefixes = below.Addrs // the LAN is the parent's
		}
		usable = append(usable, on)
	}
	p.speaker.SetLinks(usable)
	p.claimsStale = true
	p.tellVirtuals()
	told := map[string]bool{}
	for _, i := range p.instances {
		if i == nil {
			continue
		}
		for _, dev := range i.set.WatchLinks {
			if !told[dev] {
				told[dev] = true
				p.tellLink(dev)
			}
		}
		p.tellConfig(i)
		p.tellSource(i)
	}
}

func (p *process) tellLink(dev string) {
	ev := vrrp.TrackerChanged{ID: vrrp.TrackerID("link:" + dev), State: vrrp.Down}
	switch l := p.linkNamed(dev); {
	case l == nil:
		ev.Cause = "interface " + dev + " does not exist"
	case !l.AdminUp:
		ev.Cause = "interface " + dev + " is switched off"
	case !l.Up:
		ev.Cause = "interface " + dev + " has no carrier"
	default:
		ev.State = vrrp.Up
	}
	p.speaker.Inject(&ev)
}

// tellSource gives the instance its source address: the configured one, else
// the first address of its interface that is no VIP of ours.
func (p *process) tellSource(i *instance) {
	ev := vrrp.TrackerChanged{ID: vrrp.TrackerID("source:" + i.cfg.Name), State: vrrp.Up}
	source := i.cfg.Key.Source
	if !source.IsValid() {
		if source = i.set.VirtualSource.Addr(); !source.IsValid() {
			source = p.primary(p.base(i.cfg.Key.Interface), i.cfg.Key.Family == 6)
		}
		if !source.IsValid() {
			ev.State, ev.Cause = vrrp.Down, fmt.Sprintf("interface %s has no address to send from", p.base(i.cfg.Key.Interface))
		}
	} else if i.set.TrackSrc && !p.onHost(source) {
		ev.State, ev.Cause = vrrp.Down, fmt.Sprintf("source address %s is not on this host", source)
	}
	if source.IsValid() {
		p.speaker.Inject(&vrrp.SourceChanged{Instance: i.id, Source: source})
	}
	p.speaker.Inject(&ev)
}

func (p *process) primary(dev string, six bool) netip.Addr {
	l := p.linkNamed(dev)
	if l == nil {
		return netip.Addr{}
	}
	for _, a := range l.Addrs {
		if addr := a.Addr(); addr.Is6() == six && (!six || addr.IsLinkLocalUnicast()) && !p.ours(addr) {
			return addr
		}
	}
	return netip.Addr{}
}

func (p *process) onHost(a netip.Addr) bool {
	for _, l := range p.links {
		for _, x := range l.Addrs {
			if x.Addr() == a {
				return true
			}
		}
	}
	return false
}

// proberIdle is how long an ARP socket stays open after the last question: the
// process does not wake up for every ARP packet of a healthy LAN.
const proberIdle = 30 * time.Second

// prober is an ARP socket in use.
type prober struct {
	*netif.Prober
	used vrrp.Instant
}

// Probe implements speaker.Kernel.
func (p *process) Probe(dev string, targets []netip.Addr) error {
	dev = p.base(dev) // a virtual MAC speaks only for its holder
	pr := p.probers[dev]
	if pr == nil {
		opened, err := netif.NewProber(dev)
		if err != nil {
			return err
		}
		pr = &prober{Prober: opened}
		p.probers[dev] = pr
		p.loop.Watch(pr.FD(), func() { p.readProber(dev, pr) })
	}
	pr.used = speaker.Now()
	var errs []error
	for _, t := range targets {
		errs = append(errs, pr.Prober.Probe(t))
	}
	return errors.Join(errs...)
}

func (p *process) readProber(dev string, pr *prober) {
	if err := pr.Drain(func(seen netif.ARPSeen) { p.arpSeen(dev, &seen) }); err != nil {
		p.log.Debug("reading ARP", "iface", dev, "err", err)
	}
	if speaker.Now().Sub(pr.used) > proberIdle {
		p.loop.Unwatch(pr.FD())
		pr.Close()
		delete(p.probers, dev)
	}
}

// arpSeen tells of a packet on dev to the instances there and above it.
func (p *process) arpSeen(dev string, seen *netif.ARPSeen) {
	toMe := seen.ToMe && seen.IsReply
	p.speaker.ARPSeen(dev, seen.Sender, toMe, seen.IsMine)
	for name, v := range p.virtuals.wanted {
		if v.Parent == dev {
			p.speaker.ARPSeen(name, seen.Sender, toMe, seen.IsMine)
		}
	}
}

// Neighbours implements speaker.Kernel.
func (p *process) Neighbours(dev string) []netip.Addr {
	found, err := p.kernel.Neighbours(p.base(dev))
	if err != nil {
		p.log.Debug("reading neighbours", "iface", dev, "err", err)
	}
	return slices.DeleteFunc(found, func(a netip.Addr) bool { return !a.Is4() })
}
