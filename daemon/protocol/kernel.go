package protocol

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/keepmesh/keepmesh/netif"
	"github.com/keepmesh/keepmesh/vrrp"
)

// holdRetry is when an instance whose every address was refused tries again.
const holdRetry = 10 * time.Second

// Hold implements speaker.Kernel: the addresses of all ids go to the kernel in
// as few system calls as it takes, then routes, then rules. It returns the
// instances that could not get a single address.
func (p *process) Hold(ids []vrrp.InstanceID, failed func(vrrp.HoldFailed)) {
	var addrs []netif.Address
	p.holdSpans = p.holdSpans[:0]
	for _, id := range ids {
		i := p.instances[id]
		i.holding, p.claimsStale = true, true
		p.block(i)
		all := i.set.Addresses()
		addrs = append(addrs, all...)
		p.holdSpans = append(p.holdSpans, len(all))
	}
	errs := p.kernel.AddAddresses(addrs)
	at := 0
	for n, id := range ids {
		i := p.instances[id]
		span := errs[at : at+p.holdSpans[n]]
		at += p.holdSpans[n]
		bad := p.complain(i, "address", span)
		if len(span) > 0 && bad == len(span) {
			failed(vrrp.HoldFailed{Instance: id, Reason: "no address could be added: " + firstError(span), Retry: holdRetry})
			continue
		}
		p.complain(i, "route", p.kernel.AddRoutes(i.set.Routes))
		p.complain(i, "rule", p.kernel.AddRules(i.set.Rules))
	}
}

// Release implements speaker.Kernel: rules, routes, then addresses, as
// keepalived does. Of an address owner that never held, nothing is touched:
// the addresses are its interface's own; nor of a barred instance, which may list
// the addresses of the one whose VRID it has.
func (p *process) Release(id vrrp.InstanceID) {
	i := p.instances[id]
	if !i.holding && (i.cfg.Priority == vrrp.Owner || i.cfg.Key.Barred != "") {
		return
	}
	i.holding, i.claimedBy, p.claimsStale = false, netif.MAC{}, true
	if p.stopping && p.cfg.KeepOnStop {
		return
	}
	p.complain(i, "rule", p.kernel.DelRules(i.set.Rules))
	p.complain(i, "route", p.kernel.DelRoutes(i.set.Routes))
	p.complain(i, "address", p.kernel.DelAddresses(i.set.Addresses()))
	p.unblock(i)
}

// Announce implements speaker.Kernel.
func (p *process) Announce(id vrrp.InstanceID, repeat int) {
	i := p.instances[id]
	p.announce(i, i.byIf, max(repeat, 1))
}

// complain logs what failed and counts it.
func (p *process) complain(i *instance, what string, errs []error) int {
	bad := 0
	for _, err := range errs {
		if err == nil {
			continue
		}
		bad++
		p.log.Error("the kernel refused", "what", what, "instance", i.cfg.Name, "err", err)
		p.event("kernel", i.cfg.Name, fmt.Sprintf("the kernel refused a %s: %v", what, err))
	}
	return bad
}

func firstError(errs []error) string {
	for _, err := range errs {
		if err != nil {
			return err.Error()
		}
	}
	return ""
}

// repairs counts how often somebody else deleted an instance's addresses.
type repairs struct {
	first time.Time
	count int
}

// A foreign deletion is repaired at once; the fourth within a minute hands the
// instance over, since two programs that undo each other help nobody.
const (
	repairLimit  = 3
	repairWindow = time.Minute
)

// addressRemoved repairs, or hands over.
func (p *process) addressRemoved(ev netif.AddrRemoved) {
	for _, i := range p.instances {
		if i == nil || !i.holding || !i.owns(ev.Prefix.Addr()) {
			continue
		}
		if p.present(ev) {
			continue // our own removal and addition, seen late
		}
		now := time.Now()
		if now.Sub(i.repairs.first) > repairWindow {
			i.repairs = repairs{first: now}
		}
		i.repairs.count++
		what := ev.Prefix.String()
		if i.repairs.count > repairLimit {
			p.event("ALARM", i.cfg.Name, fmt.Sprintf("%s was deleted by another program %d times within %s: handing over; find what removes it", what, i.repairs.count, repairWindow))
			p.speaker.Inject(&vrrp.AddressLost{Instance: i.id, What: what})
			continue
		}
		p.log.Warn("an address was deleted by another program: adding it again", "instance", i.cfg.Name, "vip", what)
		p.event("kernel", i.cfg.Name, what+" was deleted by another program: added again")
		p.restore(i)
		p.Announce(i.id, 1)
	}
}

// restore adds whatever of a holder's state is missing; all of it is
// idempotent.
func (p *process) restore(i *instance) {
	p.complain(i, "address", p.kernel.AddAddresses(i.set.Addresses()))
	p.complain(i, "route", p.kernel.AddRoutes(i.set.Routes))
	p.complain(i, "rule", p.kernel.AddRules(i.set.Rules))
}

// present asks the kernel whether the address is there after all.
func (p *process) present(ev netif.AddrRemoved) bool {
	links, err := p.kernel.Links()
	if err != nil {
		return false
	}
	for _, l := range links {
		if l.Index != ev.Index {
			continue
		}
		for _, a := range l.Addrs {
			if a == ev.Prefix {
				return true
			}
		}
	}
	return false
}

// statics adds or removes the static addresses and routes.
func (p *process) statics(add bool, addrs []netif.Address, routes []netif.Route) {
	var errs []error
	if add {
		errs = append(p.kernel.AddAddresses(addrs), p.kernel.AddRoutes(routes)...)
	} else {
		errs = append(p.kernel.DelRoutes(routes), p.kernel.DelAddresses(addrs)...)
	}
	for _, err := range errs {
		if err != nil {
			p.log.Error("the kernel refused a static address or route", "err", err)
		}
	}
}

// Report implements speaker.Kernel: what the Router says becomes log lines and
// messages.
func (p *process) Report(a vrrp.Action) {
	switch a := a.(type) {
	case *vrrp.StateChanged:
		p.stateChanged(a)
	case *vrrp.GroupChanged:
		p.groupChanged(a)
	case *vrrp.PriorityChanged:
		i := p.instances[a.Instance]
		p.log.Info("priority changed", "instance", i.cfg.Name, "from", a.From, "to", a.To, "reason", a.Reason)
		p.event("priority", i.cfg.Name, fmt.Sprintf("priority %d -> %d: %s", a.From, a.To, a.Reason))
		p.priorityChanged(i, a)
	case *vrrp.Note:
		p.noted(a)
	case *vrrp.SendAdvert, *vrrp.Hold, *vrrp.Release, *vrrp.Announce, *vrrp.WantHold:
		// The speaker's own.
	}
}

func (p *process) stateChanged(a *vrrp.StateChanged) {
	i := p.instances[a.Instance]
	level := slog.LevelInfo
	if a.To == vrrp.Fault {
		level = slog.LevelWarn
	}
	p.log.Log(p.ctx, level, "state changed", "instance", i.cfg.Name, "from", a.From.String(), "to", a.To.String(), "priority", a.Priority, "reason", a.Reason)
	if i.removed && a.To == vrrp.Stopped {
		return // what is removed by a reload is told as DELETED alone
	}
	p.sendState(stateMessage(i, a))
}

var noteTexts = map[vrrp.NoteKind]string{
	vrrp.LowerPriorityDiscarded: "received a lower priority advert: discarded, the timer runs on",
	vrrp.LowerPriorityRejected:  "received a lower priority advert while MASTER: stays",
	vrrp.SameAddress:            "received an advert with our own address and priority: two routers share an address",
	vrrp.TwoOwners:              "another router claims to own the addresses (priority 255): one of the two configurations is wrong",
	vrrp.PreemptDelayed:         "would preempt, waits for preempt_delay",
	vrrp.GroupNotReady:          "would be MASTER, but its sync group is not ready",
	vrrp.IntervalLearnt:         "learnt the master's advert interval",
}

func (p *process) noted(a *vrrp.Note) {
	i := p.instances[a.Instance]
	p.log.Debug(noteTexts[a.Kind], "instance", i.cfg.Name, "priority", a.Priority)
	switch a.Kind {
	case vrrp.LowerPriorityRejected:
		if i.cfg.Priority != 0 {
			p.rxLowerPriority(i)
		}
	case vrrp.SameAddress, vrrp.TwoOwners:
		p.event("ALARM", i.cfg.Name, noteTexts[a.Kind])
	case vrrp.LowerPriorityDiscarded, vrrp.PreemptDelayed, vrrp.GroupNotReady, vrrp.IntervalLearnt:
	}
}
