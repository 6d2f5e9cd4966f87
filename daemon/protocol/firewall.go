package protocol

import (
	"slices"

	"github.com/keepmesh/keepmesh/netif"
)

// updateFirewall makes the nftables tables what the configuration needs: none
// for most. It opens the firewall when the first is needed.
func (p *process) updateFirewall() {
	var guard4, guard6 bool
	for n := range p.cfg.Instances {
		set := &p.cfg.Instances[n]
		if !set.NoAccept {
			continue
		}
		for _, a := range set.Addresses() {
			guard6 = guard6 || a.Prefix.Addr().Is6()
			guard4 = guard4 || a.Prefix.Addr().Is4()
		}
	}
	var virtuals []netif.Virtual
	for _, v := range p.virtuals.wanted {
		virtuals = append(virtuals, v)
	}
	if p.firewall == nil {
		if !guard4 && !guard6 && len(virtuals) == 0 {
			return
		}
		f, err := netif.NewFirewall(p.cfg.Firewall.Table, p.cfg.Firewall.Priority, p.log)
		if err != nil {
			p.firewallFailed(err)
			return
		}
		p.firewall = f
	}
	if err := p.firewall.Set(virtuals, guard4, guard6); err != nil {
		p.firewallFailed(err)
	}
}

// firewallFailed says what no longer holds, once for each reason: an address
// that answers is a smaller evil than one that nobody has.
func (p *process) firewallFailed(err error) {
	if p.firewallWrong == err.Error() {
		return
	}
	p.firewallWrong = err.Error()
	p.log.Error("no_accept, and the reports of virtual interfaces, are not filtered", "err", err)
	p.event("ALARM", "", "no_accept, and the reports of virtual interfaces, are not filtered: "+err.Error())
}

// block drops what is sent to an instance's addresses, where it says no_accept.
func (p *process) block(i *instance) {
	if !i.set.NoAccept || len(i.blocked) > 0 || p.firewall == nil {
		return
	}
	i.blocked = i.set.Addresses()
	if err := p.firewall.Block(i.blocked); err != nil {
		p.firewallFailed(err)
	}
}

func (p *process) unblock(i *instance) {
	if len(i.blocked) == 0 || p.firewall == nil {
		return
	}
	if err := p.firewall.Unblock(i.blocked); err != nil {
		p.firewallFailed(err)
	}
	i.blocked = nil
}

// blockAgain follows a holder's new list of addresses.
func (p *process) blockAgain(i *instance) {
	if !i.holding || i.set.NoAccept && slices.Equal(i.blocked, i.set.Addresses()) {
		return
	}
	old := i.blocked
	i.blocked = nil
	p.block(i)
	if len(old) > 0 && p.firewall != nil {
		if err := p.firewall.Unblock(old); err != nil {
			p.firewallFailed(err)
		}
	}
}

func (p *process) closeFirewall() {
	if p.firewall == nil {
		return
	}
	if err := p.firewall.Close(); err != nil {
		p.log.Error("cannot remove the nftables tables", "err", err)
	}
	p.firewall = nil
}
