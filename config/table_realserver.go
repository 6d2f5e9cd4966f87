package config

import (
	"math"
	"time"
)

// realServerKeywords is real_server.
func realServerKeywords() []Keyword {
	return []Keyword{
		{Section: "virtual_server/real_server", Name: "weight", Tier: A, Args: "0..INT32_MAX", set: num(0, math.MaxInt32, rsf(func(r *RealServer) *int { return &r.Weight }))},
		{Section: "virtual_server/real_server", Name: "lvs_method", Tier: C, Args: "as VS", set: optForwardTo(rsf(func(r *RealServer) **Forward { return &r.Forward }))},
		{Section: "virtual_server/real_server", Name: "uthreshold", Tier: C, Args: "N", set: num(0, math.MaxUint32, rsf(func(r *RealServer) *uint { return &r.UThreshold }))},
		{Section: "virtual_server/real_server", Name: "lthreshold", Tier: C, Args: "N", set: num(0, math.MaxUint32, rsf(func(r *RealServer) *uint { return &r.LThreshold }))},
		{Section: "virtual_server/real_server", Name: "inhibit_on_failure", Tier: A, set: optBool(rsf(func(r *RealServer) **bool { return &r.InhibitOnFailure }))},
		{Section: "virtual_server/real_server", Name: "notify_up", Tier: B, Args: "SCRIPT [USER [GROUP]]", set: script(rsf(func(r *RealServer) **ScriptSpec { return &r.NotifyUp }))},
		{Section: "virtual_server/real_server", Name: "notify_down", Tier: B, Args: "SCRIPT [USER [GROUP]]", set: script(rsf(func(r *RealServer) **ScriptSpec { return &r.NotifyDown }))},
		{Section: "virtual_server/real_server", Name: "alpha", Tier: C, Args: "[BOOL]", set: optBool(rsf(func(r *RealServer) **bool { return &r.Alpha }))},
		{Section: "virtual_server/real_server", Name: "retry", Tier: B, Args: "N>=1", set: optNum(1, math.MaxInt32, rsf(func(r *RealServer) **int { return &r.Timing.Retry }))},
		{Section: "virtual_server/real_server", Name: "delay_before_retry", Tier: B, Args: "TIMER", set: optSecs(0, maxTimer, rsf(func(r *RealServer) **time.Duration { return &r.Timing.DelayBeforeRetry }))},
		{Section: "virtual_server/real_server", Name: "warmup", Tier: C, Args: "TIMER", set: optSecs(0, maxTimer, rsf(func(r *RealServer) **time.Duration { return &r.Timing.Warmup }))},
		{Section: "virtual_server/real_server", Name: "connect_timeout", Tier: B, Args: "TIMER", set: optSecs(0.000001, maxTimer, rsf(func(r *RealServer) **time.Duration { return &r.Timing.ConnectTimeout }))},
		{Section: "virtual_server/real_server", Name: "delay_loop", Tier: B, Args: "TIMER", set: optSecs(0.000001, maxTimer, rsf(func(r *RealServer) **time.Duration { return &r.Timing.DelayLoop }))},
		{Section: "virtual_server/real_server", Name: "smtp_alert", Tier: B, Args: "[BOOL]", set: smtpAlert(rsf(func(r *RealServer) *bool { return &r.SMTPAlert }))},
		{Section: "virtual_server/real_server", Name: "virtualhost", Tier: B, bare: "report", Args: "STRING", set: str(rsf(func(r *RealServer) *string { return &r.VirtualHost }))},
		{Section: "virtual_server/real_server", Name: "snmp_name", Tier: C, bare: "report", Args: "STRING", set: oneWord(rsf(func(r *RealServer) *string { return &r.SNMPName }))},
		{Section: "virtual_server/real_server", Name: "MISC_CHECK", Tier: A, Args: "{ statements }", sub: "virtual_server/real_server/MISC_CHECK", set: beginChecker, done: endChecker},
		{Section: "virtual_server/real_server", Name: "SMTP_CHECK", Tier: B, Args: "{ statements }", sub: "virtual_server/real_server/SMTP_CHECK", set: beginChecker, done: endChecker},
		{Section: "virtual_server/real_server", Name: "TCP_CHECK", Tier: A, Args: "{ statements }", sub: "virtual_server/real_server/TCP_CHECK", set: beginChecker, done: endChecker},
		{Section: "virtual_server/real_server", Name: "PING_CHECK", Tier: B, Args: "{ statements }", sub: "virtual_server/real_server/PING_CHECK", set: beginChecker, done: endChecker},
		{Section: "virtual_server/real_server", Name: "UDP_CHECK", Tier: B, Args: "{ statements }", sub: "virtual_server/real_server/UDP_CHECK", set: beginChecker, done: endChecker},
		{Section: "virtual_server/real_server", Name: "DNS_CHECK", Tier: B, Args: "{ statements }", sub: "virtual_server/real_server/DNS_CHECK", set: beginChecker, done: endChecker},
		{Section: "virtual_server/real_server", Name: "FILE_CHECK", Tier: C, Args: "{ statements }", sub: "virtual_server/real_server/FILE_CHECK", set: beginChecker, done: endChecker},
		{Section: "virtual_server/real_server", Name: "BFD_CHECK", Tier: C, Args: "{ statements }", sub: "virtual_server/real_server/BFD_CHECK", set: beginChecker, done: endChecker},
		{Section: "virtual_server/real_server", Name: "HTTP_GET", Tier: A, Args: "{ statements }", sub: "virtual_server/real_server/HTTP_GET", set: beginChecker, done: endChecker},
		{Section: "virtual_server/real_server", Name: "SSL_GET", Tier: A, Args: "{ statements }", sub: "virtual_server/real_server/SSL_GET", set: beginChecker, done: endChecker},
	}
}
