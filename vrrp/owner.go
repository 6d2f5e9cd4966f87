package vrrp

import (
	"fmt"
	"net/netip"
	"time"
)

// rogue is what an address owner knows of another one, which there must not be.
// The owner with the lower address yields. The one with the higher address gives
// the other two of its own adverts to do so and then, until the instant below,
// one interval and a little more; an advert within that time says that the other
// will not yield, and the owner concedes: two holders are worse than the wrong one
// (keepalived 2.3.3 and later).
type rogue struct {
	adverts  int           // of our own still to be sent
	interval time.Duration // of the other's adverts
	until    Instant
	// to is whom the owner has conceded to, invalid where it has not. Its
	// priority is 254 until somebody else is heard, or to with another priority.
	to netip.Addr
}

// ownersMeet deals with an advert of priority 255 that an Active address owner
// hears; order says whether the other's address is the greater. It may lower the
// owner's priority.
func (r *Router) ownersMeet(now Instant, i *instance, ev *Advert, source netip.Addr, order int) {
	switch g := &i.rogue; {
	case order > 0:
		r.emit(&Note{Instance: i.id, Kind: TwoOwners, Wire: ev.Wire, Priority: ev.Priority, Source: source})
	case now < g.until:
		g.to = source
		r.reprioritise(i, fmt.Sprintf("%s is an address owner too and does not yield", source))
	case g.adverts == 0:
		g.adverts, g.interval = 2, ev.Interval
		r.emit(&Note{Instance: i.id, Kind: TwoOwners, Wire: ev.Wire, Priority: ev.Priority, Source: source})
	}
}

// rogueAnswered counts the owner's own adverts after a conflict.
func (i *instance) rogueAnswered(now Instant) {
	g := &i.rogue
	if g.adverts == 0 {
		return
	}
	if g.adverts--; g.adverts == 0 {
		g.until = now.Add(max(g.interval, i.cfg.AdvertInterval) * 12 / 10)
	}
}

// reclaim gives an owner that has conceded its priority back, once the other has
// lowered its own or somebody else is heard.
func (r *Router) reclaim(i *instance, ev *Advert, source netip.Addr) {
	if i.rogue.to.IsValid() && (ev.Priority != Owner || source != i.rogue.to) {
		i.rogue.to = netip.Addr{}
		r.reprioritise(i, "no other address owner is heard")
	}
}

// overslept takes an Active router, with its group, to Backup whose loop did not
// run for so long that another must have taken over, and says whether it did.
func (r *Router) overslept(now Instant, i *instance) bool {
	other := i.cfg.TimerExpiredBackup
	if other == 0 || i.state != Active {
		return false
	}
	silence := 3*i.cfg.AdvertInterval + skewTime(i.cfg.Version, other, i.cfg.AdvertInterval)
	if now.Sub(i.sentAt) < silence {
		return false
	}
	r.leave(now, i.group, i, Backup, silent, fmt.Sprintf("no advert could be sent for %s", now.Sub(i.sentAt).Round(time.Millisecond)))
	return true
}
