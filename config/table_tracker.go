package config

import (
	"net/netip"
	"time"
)

// trackerKeywords is what can be tracked besides scripts.
func trackerKeywords() []Keyword {
	return []Keyword{
		{Section: "vrrp_track_process", Name: "process", Tier: B, Args: "PATH [PARAMS]", set: processCommand},
		{Section: "vrrp_track_process", Name: "param_match", Tier: C, Args: "[initial|partial]", set: paramMatch},
		{Section: "vrrp_track_process", Name: "weight", Tier: B, bare: "report", Args: "-254..254 [reverse]", set: weight(254, pf(func(p *TrackProcess) *int { return &p.Weight }), pf(func(p *TrackProcess) *bool { return &p.Reverse }))},
		{Section: "vrrp_track_process", Name: "quorum", Tier: C, Args: "1-65535", set: num(1, 65535, pf(func(p *TrackProcess) *int { return &p.Quorum }))},
		{Section: "vrrp_track_process", Name: "quorum_max", Tier: C, Args: "0-65535", set: num(0, 65535, pf(func(p *TrackProcess) *int { return &p.QuorumMax }))},
		{Section: "vrrp_track_process", Name: "delay", Tier: C, Args: "SECS 0.000001-3600", set: processDelay},
		{Section: "vrrp_track_process", Name: "terminate_delay", Tier: C, Args: "SECS", set: secs(0.000001, 3600, pf(func(p *TrackProcess) *time.Duration { return &p.TerminateDelay }))},
		{Section: "vrrp_track_process", Name: "fork_delay", Tier: C, Args: "SECS", set: secs(0.000001, 3600, pf(func(p *TrackProcess) *time.Duration { return &p.ForkDelay }))},
		{Section: "vrrp_track_process", Name: "full_command", Tier: C, set: setTrue(pf(func(p *TrackProcess) *bool { return &p.FullCommand }))},
		{Section: "bfd_instance", Name: "source_ip", Tier: B, Args: "ADDR", set: addr(0, bf(func(b *BFD) *netip.Addr { return &b.Source }))},
		{Section: "bfd_instance", Name: "neighbor_ip", Tier: B, Args: "ADDR", set: addr(0, bf(func(b *BFD) *netip.Addr { return &b.Neighbor }))},
		{Section: "bfd_instance", Name: "neighbour_ip", Tier: C, Args: "ADDR", set: addr(0, bf(func(b *BFD) *netip.Addr { return &b.Neighbor }))},
		{Section: "bfd_instance", Name: "min_rx", Tier: B, Args: "MS 1-4294967 (µs decimals)", set: millis(1, 4294967, bf(func(b *BFD) *time.Duration { return &b.MinRx }))},
		{Section: "bfd_instance", Name: "min_tx", Tier: B, Args: "MS 1-4294967", set: millis(1, 4294967, bf(func(b *BFD) *time.Duration { return &b.MinTx }))},
		{Section: "bfd_instance", Name: "idle_tx", Tier: B, Args: "MS >=1000", set: millis(1000, 4294967, bf(func(b *BFD) *time.Duration { return &b.IdleTx }))},
		{Section: "bfd_instance", Name: "multiplier", Tier: B, Args: "1-255", set: num(1, 255, bf(func(b *BFD) *int { return &b.Multiplier }))},
		{Section: "bfd_instance", Name: "passive", Tier: C, set: setTrue(bf(func(b *BFD) *bool { return &b.Passive }))},
		{Section: "bfd_instance", Name: "ttl", Tier: C, Args: "1-255", set: num(1, 255, bf(func(b *BFD) *int { return &b.TTL }))},
		{Section: "bfd_instance", Name: "hoplimit", Tier: C, Args: "1-255", set: num(1, 255, bf(func(b *BFD) *int { return &b.TTL }))},
		{Section: "bfd_instance", Name: "max_hops", Tier: C, Args: "-1..255", set: num(-1, 255, bf(func(b *BFD) *int { return &b.MaxHops }))},
		{Section: "bfd_instance", Name: "multihop", Tier: C, Since: "2.2.8", set: setTrue(bf(func(b *BFD) *bool { return &b.Multihop }))},
		{Section: "bfd_instance", Name: "weight", Tier: B, Args: "-253..253 [reverse]", set: weight(253, bf(func(b *BFD) *int { return &b.Weight }), bf(func(b *BFD) *bool { return &b.Reverse }))},
		{Section: "bfd_instance", Name: "vrrp", Tier: C, set: setTrue(bf(func(b *BFD) *bool { return &b.VRRP }))},
		{Section: "bfd_instance", Name: "checker", Tier: C, set: setTrue(bf(func(b *BFD) *bool { return &b.Checker }))},
		{Section: "track_file", Name: "file", Tier: B, bare: "report", Args: "PATH", set: trackedPath},
		{Section: "track_file", Name: "weight", Tier: B, bare: "report", Args: "-254..254 [reverse]", set: weight(254, ff(func(f *TrackFile) *int { return &f.Weight }), ff(func(f *TrackFile) *bool { return &f.Reverse }))},
		{Section: "track_file", Name: "init_file", Tier: C, Args: "[VALUE] [overwrite]", set: initFile},
		{Section: "vrrp_track_file", Name: "file", Tier: C, bare: "report", Args: "PATH", set: trackedPath},
		{Section: "vrrp_track_file", Name: "weight", Tier: C, bare: "report", Args: "-254..254 [reverse]", set: weight(254, ff(func(f *TrackFile) *int { return &f.Weight }), ff(func(f *TrackFile) *bool { return &f.Reverse }))},
		{Section: "vrrp_track_file", Name: "init_file", Tier: C, Args: "[VALUE] [overwrite]", set: initFile},
	}
}
