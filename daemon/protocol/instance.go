package protocol

import (
	"net/netip"
	"reflect"
	"slices"

	"github.com/keepmesh/keepmesh/daemon/settings"
	"github.com/keepmesh/keepmesh/netif"
	"github.com/keepmesh/keepmesh/vrrp"
)

// instance is what the process keeps of one instance beside the Router.
type instance struct {
	id   vrrp.InstanceID
	cfg  vrrp.InstanceConfig
	set  settings.Instance
	vips []netip.Addr            // advertised and excluded: what is announced
	byIf map[string][]netip.Addr // the same, by interface

	holding bool
	blocked []netif.Address // by no_accept, while holding
	removed bool            // by the reload that is being put into force
	garp    uint64          // announcements sent

	claimedBy netif.MAC    // the last host that claimed an address
	claimedAt vrrp.Instant // when that was answered
	extraAt   vrrp.Instant // of garp_extra_if
	repairs   repairs
}

func newInstance(id vrrp.InstanceID, cfg vrrp.InstanceConfig, set settings.Instance) *instance {
	i := &instance{id: id}
	i.configure(cfg, set)
	return i
}

func (i *instance) configure(cfg vrrp.InstanceConfig, set settings.Instance) {
	i.cfg, i.set = cfg, set
	i.vips, i.byIf = nil, map[string][]netip.Addr{}
	for _, a := range set.Addresses() {
		i.vips = append(i.vips, a.Prefix.Addr())
		i.byIf[a.Dev] = append(i.byIf[a.Dev], a.Prefix.Addr())
	}
}

// owns says whether the address is one of the instance's.
func (i *instance) owns(a netip.Addr) bool { return slices.Contains(i.vips, a) }

// dropped are the addresses, routes and rules that next no longer has.
func (i *instance) dropped(next *settings.Instance) ([]netif.Address, []netif.Route, []netif.Rule) {
	return without(i.set.Addresses(), next.Addresses(), sameAddress),
		without(i.set.Routes, next.Routes, sameRoute),
		without(i.set.Rules, next.Rules, func(a, b netif.Rule) bool { return a == b })
}

// gained are the addresses of next that the instance did not have, by
// interface.
func (i *instance) gained(next *settings.Instance) map[string][]netip.Addr {
	out := map[string][]netip.Addr{}
	for _, a := range without(next.Addresses(), i.set.Addresses(), sameAddress) {
		out[a.Dev] = append(out[a.Dev], a.Prefix.Addr())
	}
	return out
}

func sameAddress(a, b netif.Address) bool { return a == b }

func sameRoute(a, b netif.Route) bool { return reflect.DeepEqual(a, b) }

// without gives what of a has no equal in b.
func without[T any](a, b []T, same func(x, y T) bool) []T {
	var out []T
	for _, x := range a {
		if !slices.ContainsFunc(b, func(y T) bool { return same(x, y) }) {
			out = append(out, x)
		}
	}
	return out
}
