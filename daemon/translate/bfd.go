package translate

import (
	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/daemon/settings"
)

// noLimit and anyHops are the values of max_hops that switch the check of the
// TTL off.
const noLimit, anyHops = -1, 255

// bfds translates the sessions that VRRP may hear of.
func bfds(list []*config.BFD) []settings.BFD {
	var out []settings.BFD
	for _, b := range list {
		if b.Checker && !b.VRRP {
			continue
		}
		s := settings.BFD{
			Name: b.Name, Neighbor: b.Neighbor, Source: b.Source, MinRx: b.MinRx, MinTx: b.MinTx, IdleTx: b.IdleTx,
			Multiplier: b.Multiplier, Passive: b.Passive, Multihop: b.Multihop, TTL: b.TTL,
		}
		if b.MaxHops != noLimit && b.MaxHops != anyHops {
			s.MinTTL = max(b.TTL-b.MaxHops, 1)
		}
		out = append(out, s)
	}
	return out
}
