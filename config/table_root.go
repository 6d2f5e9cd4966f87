package config

import (
	"time"
)

// rootKeywords is the top level and its small blocks.
func rootKeywords() []Keyword {
	return []Keyword{
		{Section: "root", Name: "global_defs", Tier: A, Args: "{ statements }", sub: "global_defs", set: beginGlobal},
		{Section: "root", Name: "linkbeat_use_polling", Tier: C, set: setTrue(gl(func(g *Global) *bool { return &g.LinkBeatPolling }))},
		{Section: "root", Name: "net_namespace", Tier: B, Args: "NAME", set: str(gl(func(g *Global) *string { return &g.NetNamespace }))},
		{Section: "root", Name: "net_namespace_ipvs", Tier: C, Args: "[NAME]", set: optStr("", gl(func(g *Global) *string { return &g.NetNamespaceIPVS }))},
		{Section: "root", Name: "namespace_with_ipsets", Tier: C, set: setTrue(gl(func(g *Global) *bool { return &g.NamespaceIPSets }))},
		{Section: "root", Name: "use_pid_dir", Tier: C, set: setTrue(gl(func(g *Global) *bool { return &g.UsePidDir }))},
		{Section: "root", Name: "instance", Tier: B, Args: "NAME", set: str(gl(func(g *Global) *string { return &g.Instance }))},
		{Section: "root", Name: "child_wait_time", Tier: C, Args: "SECS (>=0)", set: wholeSecs(0, maxSeconds, gl(func(g *Global) *time.Duration { return &g.ChildWaitTime }))},
		{Section: "root", Name: "track_group", Tier: C, Args: "NAME { statements }", sub: "track_group", set: beginTrackGroup},
		{Section: "root", Name: "static_ipaddress", Tier: B, Args: "{ address lines }", lines: staticAddress},
		{Section: "root", Name: "static_routes", Tier: B, Args: "{ route lines }", lines: staticRoute},
		{Section: "root", Name: "static_rules", Tier: B, Args: "{ rule lines }", lines: staticRule},
		{Section: "root", Name: "vrrp_sync_group", Tier: A, Args: "NAME { statements }", sub: "vrrp_sync_group", set: beginSyncGroup, done: endSyncGroup},
		{Section: "root", Name: "garp_group", Tier: C, Args: "{ statements }", sub: "garp_group", set: beginGARPGroup, done: endGARPGroup},
		{Section: "root", Name: "linkbeat_interfaces", Tier: C, Args: "{ lines: IF [MII|ETHTOOL|IOCTL] }", lines: linkBeatLine},
		{Section: "root", Name: "vrrp_instance", Tier: A, Args: "NAME { statements }", sub: "vrrp_instance", set: beginInstance},
		{Section: "root", Name: "vrrp_script", Tier: A, Args: "NAME { statements }", sub: "vrrp_script", set: beginScript, done: endScript},
		{Section: "root", Name: "vrrp_track_process", Tier: B, Args: "NAME { statements }", sub: "vrrp_track_process", set: beginProcess, done: endProcess},
		{Section: "root", Name: "interface_up_down_delays", Tier: B, Args: "{ lines: IF DOWN_SECS [UP_SECS] }", lines: upDownLine},
		{Section: "root", Name: "SSL", Tier: C, Args: "{ statements }", sub: "SSL", set: beginSSL},
		{Section: "root", Name: "virtual_server_group", Tier: B, Args: "NAME { entries }", lines: groupEntryLine, set: beginServerGroup, done: endServerGroup},
		{Section: "root", Name: "virtual_server", Tier: A, Args: "IP [PORT] { | fwmark N { | group NAME {", sub: "virtual_server", set: beginServer, done: endServer},
		{Section: "root", Name: "bfd_instance", Tier: B, Args: "NAME { statements }", sub: "bfd_instance", set: beginBFD, done: endBFD},
		{Section: "root", Name: "track_file", Tier: B, Args: "NAME { statements }", sub: "track_file", set: beginTrackFile, done: endTrackFile},
		{Section: "root", Name: "vrrp_track_file", Tier: C, Args: "NAME { statements }", sub: "vrrp_track_file", set: beginOldTrackFile, done: endTrackFile},
		{Section: "track_group", Name: "group", Tier: C, Args: "{ instance names }", lines: trackGroupMember},
		{Section: "SSL", Name: "password", Tier: C, bare: "report", Args: "STRING", set: str(sslf(func(c *Config) *string { return &c.SSL.Password }))},
		{Section: "SSL", Name: "ca", Tier: C, bare: "report", Args: "FILE", set: str(sslf(func(c *Config) *string { return &c.SSL.CA }))},
		{Section: "SSL", Name: "certificate", Tier: C, bare: "report", Args: "FILE", set: str(sslf(func(c *Config) *string { return &c.SSL.Certificate }))},
		{Section: "SSL", Name: "key", Tier: C, bare: "report", Args: "FILE", set: str(sslf(func(c *Config) *string { return &c.SSL.Key }))},
		{Section: "garp_group", Name: "garp_interval", Tier: C, Args: "SECS (µs)", set: secs(0, maxSeconds, agf(func(g *GARPGroup) *time.Duration { return &g.GARPInterval }))},
		{Section: "garp_group", Name: "gna_interval", Tier: C, Args: "SECS (µs)", set: secs(0, maxSeconds, agf(func(g *GARPGroup) *time.Duration { return &g.GNAInterval }))},
		{Section: "garp_group", Name: "interface", Tier: C, Args: "IF", set: ifName(agf(func(g *GARPGroup) *string { return &g.Interface }))},
		{Section: "garp_group", Name: "interfaces", Tier: C, Args: "{ IF... }", lines: garpGroupInterface},
	}
}
