package config

import (
	"math"
	"time"
)

// serverKeywords is virtual_server.
func serverKeywords() []Keyword {
	return []Keyword{
		{Section: "virtual_server", Name: "ip_family", Tier: C, Args: "inet|inet6", set: ipFamily},
		{Section: "virtual_server", Name: "retry", Tier: A, Args: "N>=1", set: optNum(1, math.MaxInt32, vsf(func(v *VirtualServer) **int { return &v.Timing.Retry }))},
		{Section: "virtual_server", Name: "delay_before_retry", Tier: A, Args: "TIMER", set: optSecs(0, maxTimer, vsf(func(v *VirtualServer) **time.Duration { return &v.Timing.DelayBeforeRetry }))},
		{Section: "virtual_server", Name: "warmup", Tier: B, Args: "TIMER", set: optSecs(0, maxTimer, vsf(func(v *VirtualServer) **time.Duration { return &v.Timing.Warmup }))},
		{Section: "virtual_server", Name: "connect_timeout", Tier: A, Args: "TIMER", set: optSecs(0.000001, maxTimer, vsf(func(v *VirtualServer) **time.Duration { return &v.Timing.ConnectTimeout }))},
		{Section: "virtual_server", Name: "delay_loop", Tier: A, Args: "TIMER", set: optSecs(0.000001, maxTimer, vsf(func(v *VirtualServer) **time.Duration { return &v.Timing.DelayLoop }))},
		{Section: "virtual_server", Name: "inhibit_on_failure", Tier: B, set: setTrue(vsf(func(v *VirtualServer) *bool { return &v.InhibitOnFailure }))},
		{Section: "virtual_server", Name: "lb_algo", Tier: A, Args: "SCHEDULER", set: scheduler},
		{Section: "virtual_server", Name: "lvs_sched", Tier: A, Args: "rr|wrr|lc|wlc|lblc|sh|mh|dh|fo|ovf|lblcr|sed|nq|twos", set: scheduler},
		{Section: "virtual_server", Name: "hashed", Tier: C, set: hashed},
		{Section: "virtual_server", Name: "ops", Tier: B, set: setTrue(vsf(func(v *VirtualServer) *bool { return &v.OnePacket }))},
		{Section: "virtual_server", Name: "flag-1", Tier: C, set: serverFlag},
		{Section: "virtual_server", Name: "flag-2", Tier: C, set: serverFlag},
		{Section: "virtual_server", Name: "flag-3", Tier: C, set: serverFlag},
		{Section: "virtual_server", Name: "sh-port", Tier: C, set: serverFlag},
		{Section: "virtual_server", Name: "sh-fallback", Tier: C, set: serverFlag},
		{Section: "virtual_server", Name: "mh-port", Tier: C, set: serverFlag},
		{Section: "virtual_server", Name: "mh-fallback", Tier: C, set: serverFlag},
		{Section: "virtual_server", Name: "lb_kind", Tier: A, Args: "NAT|DR|TUN...", set: forwardTo(vsf(func(v *VirtualServer) *Forward { return &v.Forward }))},
		{Section: "virtual_server", Name: "lvs_method", Tier: A, Args: "NAT|DR|TUN [type ipip|gue|gre] [port N] [nocsum|csum|remc...", set: forwardTo(vsf(func(v *VirtualServer) *Forward { return &v.Forward }))},
		{Section: "virtual_server", Name: "persistence_engine", Tier: C, Args: "NAME", set: str(vsf(func(v *VirtualServer) *string { return &v.Engine }))},
		{Section: "virtual_server", Name: "persistence_timeout", Tier: A, Args: "[SECS 1-2678400]", set: persistence},
		{Section: "virtual_server", Name: "persistence_granularity", Tier: B, Args: "NETMASK | 1-128", set: granularity},
		{Section: "virtual_server", Name: "protocol", Tier: A, Args: "TCP|UDP|SCTP", set: protocolArg},
		{Section: "virtual_server", Name: "ha_suspend", Tier: B, set: setTrue(vsf(func(v *VirtualServer) *bool { return &v.HASuspend }))},
		{Section: "virtual_server", Name: "smtp_alert", Tier: B, Args: "[BOOL]", set: smtpAlert(vsf(func(v *VirtualServer) *bool { return &v.SMTPAlert }))},
		{Section: "virtual_server", Name: "virtualhost", Tier: B, bare: "report", Args: "STRING", set: str(vsf(func(v *VirtualServer) *string { return &v.VirtualHost }))},
		{Section: "virtual_server", Name: "snmp_name", Tier: C, bare: "report", Args: "STRING", set: oneWord(vsf(func(v *VirtualServer) *string { return &v.SNMPName }))},
		{Section: "virtual_server", Name: "alpha", Tier: B, set: setTrue(vsf(func(v *VirtualServer) *bool { return &v.Alpha }))},
		{Section: "virtual_server", Name: "omega", Tier: B, set: setTrue(vsf(func(v *VirtualServer) *bool { return &v.Omega }))},
		{Section: "virtual_server", Name: "quorum_up", Tier: B, Args: "SCRIPT [USER [GROUP]]", set: script(vsf(func(v *VirtualServer) **ScriptSpec { return &v.QuorumUp }))},
		{Section: "virtual_server", Name: "quorum_down", Tier: B, Args: "SCRIPT [USER [GROUP]]", set: script(vsf(func(v *VirtualServer) **ScriptSpec { return &v.QuorumDown }))},
		{Section: "virtual_server", Name: "quorum", Tier: B, Args: "N>=1", set: num(1, math.MaxInt32, vsf(func(v *VirtualServer) *int { return &v.Quorum }))},
		{Section: "virtual_server", Name: "hysteresis", Tier: B, Args: "N>=0", set: num(0, math.MaxInt32, vsf(func(v *VirtualServer) *int { return &v.Hysteresis }))},
		{Section: "virtual_server", Name: "weight", Tier: C, Args: "1..INT32_MAX", set: num(1, math.MaxInt32, vsf(func(v *VirtualServer) *int { return &v.Weight }))},
		{Section: "virtual_server", Name: "sorry_server", Tier: A, Args: "IP [PORT]", set: sorryServer},
		{Section: "virtual_server", Name: "sorry_server_inhibit", Tier: C, set: afterSorry(setTrue(vsf(func(v *VirtualServer) *bool { return &v.SorryInhibit })))},
		{Section: "virtual_server", Name: "sorry_server_lvs_method", Tier: C, bare: "report", Args: "as lvs_method", set: afterSorry(optForwardTo(vsf(func(v *VirtualServer) **Forward { return &v.SorryForward })))},
		{Section: "virtual_server", Name: "real_server", Tier: A, Args: "IP [PORT] { statements }", sub: "virtual_server/real_server", set: beginRealServer, done: endRealServer},
	}
}
