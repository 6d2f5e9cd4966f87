package vrrp

import (
	"net/netip"
	"time"
)

// instance is one virtual router: RFC 9568 section 6 for one VRID.
type instance struct {
	id    InstanceID
	cfg   InstanceConfig
	group *group
	// tracks are the trackers that apply: its own and its group's, after the
	// rules for sync groups.
	tracks []Track

	state  State
	since  Instant
	reason string

	source      netip.Addr
	sourceKnown bool // configured, or reported by the shell
	priority    uint8
	learnt      time.Duration // Active_Adver_Interval
	verdict     string        // of the last Refuse

	sentAt     Instant // the last advert, in Active
	due        Instant // Active_Down_Timer in Backup, Adver_Timer in Active
	preemptAt  Instant // end of the preempt delay; zero: not running
	announceAt Instant // second set after becoming Active
	lowerAt    Instant // second set after a lower-priority advert
	refreshAt  Instant
	until      Instant // end of the right to hold
	retryAt    Instant // end of a fault reported by HoldFailed
	epoch      uint64

	// wants says that the Active_Down_Timer has expired since the last
	// accepted advert: the instance would be Active if its group let it
	// (keepalived's wantstate).
	wants bool
	// asked says that WantHold is out, unanswered.
	asked bool
	// resigned says that the last thing heard from the Active router was
	// priority 0.
	resigned  bool
	rogue     rogue // the other address owner, where there is one
	holdFault string
	lower     Heard // the last advert discarded for its lower priority
	heard     [2]Heard

	key Instant
	pos int

	// The actions of the steady state, one value each, so that a Step that
	// only sends or discards does not allocate.
	advert   SendAdvert
	announce Announce
	note     Note
}

func newInstance(id InstanceID, cfg InstanceConfig) *instance {
	i := &instance{id: id, cfg: cfg, priority: cfg.Priority, learnt: cfg.AdvertInterval}
	i.setSource(cfg.Source)
	i.sourceKnown = i.source.IsValid()
	return i
}

func (i *instance) setSource(a netip.Addr) { i.source = plain(a) }

// plain strips what must not decide between two addresses.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

func (i *instance) owner() bool { return i.cfg.Priority == Owner }

// up says that the instance takes part in the protocol.
func (i *instance) up() bool { return i.state == Backup || i.state == Active }

// settled forgets what belongs to the state being left.
func (i *instance) settled(now Instant, to State, reason string) {
	i.state, i.since, i.reason = to, now, reason
	i.due, i.preemptAt = 0, 0
	i.announceAt, i.lowerAt, i.refreshAt = 0, 0, 0
	i.until, i.epoch = 0, 0
	i.wants, i.asked, i.resigned = false, false, false
	i.lower = Heard{}
	i.rogue.adverts, i.rogue.until = 0, 0
}

// repeated says whether ev is the copy of an advert that has just come in on
// the other wire. Half an interval tells a late copy from the next advert.
func (i *instance) repeated(now Instant, ev *Advert, source netip.Addr) bool {
	other := &i.heard[LAN]
	if ev.Wire == LAN {
		other = &i.heard[Mesh]
	}
	interval := i.cfg.AdvertInterval
	if ev.Interval > 0 && ev.Interval < interval {
		interval = ev.Interval
	}
	return other.At != 0 && other.Priority == ev.Priority && other.Source == source &&
		now.Sub(other.At) < interval/2
}

// learn takes the sender's interval over (RFC 9568 section 6.4.2); VRRPv2
// has none to learn, a differing one is refused by the packet's checks.
func (r *Router) learn(i *instance, ev *Advert) {
	if i.cfg.Version != 3 || ev.Interval <= 0 || ev.Interval == i.learnt {
		return
	}
	i.learnt = ev.Interval
	r.emit(&Note{Instance: i.id, Kind: IntervalLearnt, Wire: ev.Wire, Priority: ev.Priority, Source: plain(ev.Source)})
}
