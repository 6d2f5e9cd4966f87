package netif

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// Purge removes what exists of the given rules, routes and addresses, in that
// order: the leftovers of a daemon that died. An interface that carried one of
// the addresses goes too if it is a virtual router's: a private macvlan with
// the MAC of RFC 9568. Purge returns how many there were, and all errors
// joined; what is absent is none.
func (k *Kernel) Purge(addrs []Address, routes []Route, rules ...Rule) (removed int, err error) {
	nRules, ruleErrs := k.delRules(rules)
	nRoutes, routeErrs := k.delRoutes(routes)
	nAddrs, addrErrs := k.delAddresses(addrs)
	nLinks, linkErr := k.purgeVirtuals(addrs)
	return nRules + nRoutes + nAddrs + nLinks,
		errors.Join(errors.Join(ruleErrs...), errors.Join(routeErrs...), errors.Join(addrErrs...), linkErr)
}

func (k *Kernel) purgeVirtuals(addrs []Address) (removed int, err error) {
	seen := map[string]bool{}
	var errs []error
	for _, a := range addrs {
		if seen[a.Dev] {
			continue
		}
		seen[a.Dev] = true
		link, err := k.linkNamed(a.Dev)
		if err != nil || link == nil {
			errs = append(errs, err)
			continue
		}
		v, ok := virtualRouter(link)
		if !ok {
			continue
		}
		gone, err := k.DelVirtual(v)
		if gone {
			removed++
		}
		errs = append(errs, err)
	}
	return removed, errors.Join(errs...)
}

// virtualRouter recognises an interface made for use_vmac by what it is.
func virtualRouter(link netlink.Link) (Virtual, bool) {
	m, ok := link.(*netlink.Macvlan)
	hw := link.Attrs().HardwareAddr
	if !ok || m.Mode != netlink.MACVLAN_MODE_PRIVATE || len(hw) != len(MAC{}) {
		return Virtual{}, false
	}
	mac := MAC(hw)
	if mac != VirtualMAC(mac[5], false) && mac != VirtualMAC(mac[5], true) {
		return Virtual{}, false
	}
	return Virtual{Name: link.Attrs().Name, Kind: MACVLAN, MAC: mac}, true
}
