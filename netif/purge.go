package netif

import "errors"

// Purge removes what exists of the given rules, routes and addresses, in that
// order: the leftovers of a daemon that died. It returns how many there were,
// and all errors joined; what is absent is none.
func (k *Kernel) Purge(addrs []Address, routes []Route, rules ...Rule) (removed int, err error) {
	nRules, ruleErrs := k.delRules(rules)
	nRoutes, routeErrs := k.delRoutes(routes)
	nAddrs, addrErrs := k.delAddresses(addrs)
	return nRules + nRoutes + nAddrs,
		errors.Join(errors.Join(ruleErrs...), errors.Join(routeErrs...), errors.Join(addrErrs...))
}
