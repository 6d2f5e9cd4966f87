package protocol

import (
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keepmesh/keepmesh/netif"
	"github.com/keepmesh/keepmesh/vrrp"
	"github.com/keepmesh/keepmesh/vrrp/speaker"
)

// pace keeps a gap between announcements on one interface, or on those of one
// garp_group, of one family: garp_interval and gna_interval.
type pace struct {
	gap   time.Duration
	next  vrrp.Instant // the earliest instant of the next one
	queue []queued
}

// queued is an announcement that waits for its turn.
type queued struct {
	of  vrrp.InstanceID
	dev string
	vip netip.Addr
}

// paceKey names a pace: a group by its number from 1, else an interface.
type paceKey struct {
	group int
	dev   string
	six   bool
}

// pacer holds back announcements. Interfaces without a gap never get here.
type pacer struct {
	paces map[paceKey]*pace
}

// paceOf finds the pace of an address on dev, nil where nothing is held back.
func (p *process) paceOf(dev string, six bool) *pace {
	key := paceKey{dev: p.base(dev), six: six}
	gap := p.cfg.GARPInterval
	if six {
		gap = p.cfg.GNAInterval
	}
	for n := range p.cfg.GARPGroups {
		if g := &p.cfg.GARPGroups[n]; g.Has(key.dev) {
			key.group, key.dev = n+1, ""
			gap = g.GARPInterval
			if six {
				gap = g.GNAInterval
			}
			break
		}
	}
	if gap <= 0 {
		return nil
	}
	x := p.pacer.paces[key]
	if x == nil {
		x = &pace{}
		p.pacer.paces[key] = x
	}
	x.gap = gap
	return x
}

// announce announces addresses of an instance repeat times: at once, or by the
// pace of their interface.
func (p *process) announce(i *instance, byIf map[string][]netip.Addr, repeat int) {
	now := speaker.Now()
	for range repeat {
		for dev, vips := range byIf {
			four, six := p.paceOf(dev, false), p.paceOf(dev, true)
			if four == nil && six == nil {
				p.announceNow(i, dev, vips)
				continue
			}
			for _, a := range vips {
				x := four
				if a.Is6() {
					x = six
				}
				if x == nil {
					p.announceNow(i, dev, []netip.Addr{a})
					continue
				}
				if len(x.queue) == 0 {
					x.next = max(x.next, now)
				}
				x.queue = append(x.queue, queued{i.id, dev, a})
			}
		}
	}
	p.sendPaced(now)
}

func (p *process) announceNow(i *instance, dev string, vips []netip.Addr) {
	for _, err := range p.announcer.GratuitousARP(dev, vips) {
		if err != nil {
			p.log.Warn("cannot announce an address", "instance", i.cfg.Name, "iface", dev, "err", err)
			continue
		}
		i.garp++
	}
}

// sendPaced sends what is due. What its instance no longer holds is dropped:
// an announcement that comes late would take the address from its new holder.
func (p *process) sendPaced(now vrrp.Instant) {
	for _, x := range p.pacer.paces {
		for len(x.queue) > 0 && x.next <= now {
			q := x.queue[0]
			x.queue = x.queue[1:]
			if i := p.lookup(q.of); i != nil && i.holding && i.owns(q.vip) {
				p.announceNow(i, q.dev, []netip.Addr{q.vip})
				x.next = x.next.Add(x.gap)
			}
		}
		if len(x.queue) == 0 {
			x.queue = nil
		}
	}
}

func (x *pacer) deadline() vrrp.Instant {
	var first vrrp.Instant
	for _, p := range x.paces {
		if len(p.queue) > 0 && (first == 0 || p.next < first) {
			first = p.next
		}
	}
	return first
}

// timers are the speaker's, and those of announcements.
type timers struct {
	p       *process
	extraAt vrrp.Instant  // of garp_extra_if; 0: nobody wants it
	slept   time.Duration // how long the machine was suspended since its start
	looked  vrrp.Instant
}

// Deadline implements speaker.Timers. It comes once in each turn of the loop,
// when everything urgent has been done: the time for what can wait.
func (t *timers) Deadline() (vrrp.Instant, bool) {
	if t.p.claimsStale {
		t.p.watchClaims()
	}
	at, ok := t.p.speaker.Deadline()
	for _, x := range [2]vrrp.Instant{t.p.pacer.deadline(), t.extraAt} {
		if x != 0 && (!ok || x < at) {
			at, ok = x, true
		}
	}
	return at, ok
}

// Precise implements speaker.Timers.
func (t *timers) Precise() bool { return t.p.speaker.Precise() }

// Due implements speaker.Timers. A process that was late by as much as a
// master's silence may last has perhaps been replaced and taken back in the
// meantime, without a change that it could see: its addresses are announced
// again, after the packets that waited have been heard.
func (t *timers) Due(now vrrp.Instant) {
	at, ok := t.p.speaker.Deadline()
	t.p.speaker.Due(now)
	late := t.suspended(now)
	if ok && at < now {
		late += now.Sub(at)
	}
	if late > shortestSilence {
		t.p.wasLate(late)
	}
	t.p.sendPaced(now)
	if t.extraAt != 0 && t.extraAt <= now {
		t.extraAt = t.p.announceExtra(now)
	}
}

// shortestSilence is below what any backup waits for: three intervals of 10 ms.
const shortestSilence = 30 * time.Millisecond

// lookEvery bounds what the question about a suspension costs.
const lookEvery = 500 * time.Millisecond

// suspended is for how long the machine slept since it was asked last. Such a
// time is in CLOCK_BOOTTIME and not in the clock of all timers.
func (t *timers) suspended(now vrrp.Instant) time.Duration {
	if now.Sub(t.looked) < lookEvery {
		return 0
	}
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return 0
	}
	slept := time.Duration(boot.Nano()) - time.Duration(speaker.Now())
	before, first := t.slept, t.looked == 0
	t.slept, t.looked = slept, now
	if first || slept-before < shortestSilence {
		return 0
	}
	return slept - before
}

// wasLate announces what is still held by instances whose backups may have
// lost patience.
func (p *process) wasLate(late time.Duration) {
	for _, i := range p.instances {
		if i != nil && i.holding && late >= i.cfg.AdvertInterval*time.Duration(max(i.cfg.DownTimerAdverts, 1)) {
			p.log.Warn("the process was late: announcing again", "instance", i.cfg.Name, "late", late.Round(time.Millisecond))
			p.event("kernel", i.cfg.Name, fmt.Sprintf("the process was late by %s: its addresses are announced again", late.Round(time.Millisecond)))
			p.Announce(i.id, i.cfg.Announce.Repeat)
		}
	}
}

// announceExtra is garp_extra_if: one announcement on interfaces other than
// that of the adverts, whose MAC switches would forget. It returns when the
// next is due, 0 where no instance wants any.
func (p *process) announceExtra(now vrrp.Instant) vrrp.Instant {
	var next vrrp.Instant
	for _, i := range p.instances {
		if i == nil || i.set.ExtraIf <= 0 {
			continue
		}
		if i.extraAt == 0 {
			i.extraAt = now.Add(i.set.ExtraIf)
		}
		if i.extraAt <= now {
			i.extraAt = now.Add(i.set.ExtraIf)
			if i.holding {
				p.announce(i, p.extraInterfaces(i), 1)
			}
		}
		if next == 0 || i.extraAt < next {
			next = i.extraAt
		}
	}
	return next
}

func (p *process) extraInterfaces(i *instance) map[string][]netip.Addr {
	out := map[string][]netip.Addr{}
	for dev, vips := range i.byIf {
		_, virtual := p.virtuals.wanted[dev]
		if l := p.linkNamed(dev); l != nil && l.Up && dev != i.cfg.Key.Interface && (virtual || i.set.ExtraIfAll) {
			out[dev] = vips
		}
	}
	return out
}

// armExtra begins the timers of a new configuration.
func (p *process) armExtra() { p.timers.extraAt = p.announceExtra(speaker.Now()) }

// claimGap is the least time between two answers to foreign claims: two hosts
// that both insist do not flood the LAN.
const claimGap = time.Second

// claims listens on one interface for other hosts that claim what is held.
type claims struct {
	*netif.ClaimWatch
	index int
}

// watchClaims listens where addresses are held now, and nowhere else.
func (p *process) watchClaims() {
	held := map[string][]netip.Addr{}
	for _, i := range p.instances {
		if i != nil && i.holding {
			for dev, vips := range i.byIf {
				held[dev] = append(held[dev], vips...)
			}
		}
	}
	for dev, c := range p.claims {
		if l := p.linkNamed(dev); len(held[dev]) == 0 || l == nil || l.Index != c.index {
			p.endClaims(dev, c)
		}
	}
	for dev, vips := range held {
		l := p.linkNamed(dev)
		if l == nil || l.NoARP || l.Loopback {
			continue
		}
		if p.claims[dev] == nil {
			w, err := netif.NewClaimWatch(dev)
			if err != nil {
				p.log.Debug("claims of other hosts are not heard", "iface", dev, "err", err)
				continue
			}
			c := &claims{w, l.Index}
			p.claims[dev] = c
			for _, fd := range w.FDs() {
				p.loop.Watch(fd, func() { p.readClaims(dev, c) })
			}
		}
		if err := p.claims[dev].Watch(vips); err != nil {
			p.log.Debug("claims of other hosts are not heard", "iface", dev, "err", err)
		}
	}
	p.claimsStale = false
}

func (p *process) endClaims(dev string, c *claims) {
	for _, fd := range c.FDs() {
		p.loop.Unwatch(fd)
	}
	c.Close()
	delete(p.claims, dev)
}

func (p *process) readClaims(dev string, c *claims) {
	if err := c.Drain(func(claim netif.Claim) { p.claimed(dev, claim) }); err != nil {
		p.endClaims(dev, c)
	}
}

// claimed answers a foreign claim of a held address by announcing it again:
// caches that it has misled point back here.
func (p *process) claimed(dev string, c netif.Claim) {
	now := speaker.Now()
	for _, i := range p.instances {
		if i == nil || !i.holding || !i.owns(c.VIP) || i.claimedAt != 0 && now.Sub(i.claimedAt) < claimGap {
			continue
		}
		if i.claimedBy != c.MAC {
			i.claimedBy = c.MAC
			p.event("ALARM", i.cfg.Name, fmt.Sprintf("%s is claimed by %s on %s too; it is announced again whenever that is heard", c.VIP, c.MAC, dev))
		}
		p.log.Warn("another host claims the address: announcing it again", "instance", i.cfg.Name, "vip", c.VIP, "mac", c.MAC, "iface", dev)
		i.claimedAt = now
		p.announce(i, map[string][]netip.Addr{dev: {c.VIP}}, 1)
	}
}

var _ speaker.Timers = (*timers)(nil)
