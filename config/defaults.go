package config

import (
	"math"
	"net/netip"
	"time"
)

const (
	defaultSNMPInterval = 5 * time.Second
	defaultDBusName     = "org.keepalived.Vrrp1"
)

// presetGlobals gives the values that stand before any text is read.
func (d *decoder) presetGlobals() {
	g := &d.cfg.Global
	g.ChildWaitTime = 5 * time.Second
	g.SMTPConnectTimeout = 30 * time.Second
	g.StartupTimeout, g.ShutdownTimeout = 10*time.Second, 10*time.Second
	g.DefaultInterface = "eth0"
	g.McastGroup4 = netip.AddrFrom4([4]byte{224, 0, 0, 18})
	g.McastGroup6 = netip.MustParseAddr("ff02::12")
	g.Version = 2
	g.GARP = GARP{
		MasterDelay: 5 * time.Second, MasterRepeat: 5, MasterRefreshRepeat: 1,
		LowerPrioDelay: -1, LowerPrioRepeat: -1,
	}
	g.DownTimerAdverts = 3
	g.VMACPrefix = "vrrp"
	g.RxBufsMultiplier = 3
	g.NFTables.Priority, g.NFTablesIPVS.Priority = -1, -1
	g.IPVSFwmark = 1000
	g.MinAutoPriorityDelay = 1000000
	for _, p := range []*Sched{&g.VRRP, &g.Checker, &g.BFD} {
		p.RLimitRTTime = 10000
	}
	g.SNMPVSInterval = defaultSNMPInterval
	g.DBusServiceName = defaultDBusName
	g.JSONVersion = 1
}

// fillDefaults is the one place where unset values get their defaults, once
// everything is read: globals may follow the instances that use them.
func (d *decoder) fillDefaults() {
	g := &d.cfg.Global
	if g.GARP.LowerPrioDelay < 0 {
		g.GARP.LowerPrioDelay = g.GARP.MasterDelay
	}
	if g.GARP.LowerPrioRepeat < 0 {
		g.GARP.LowerPrioRepeat = g.GARP.MasterRepeat
	}
	if g.SNMPRSInterval == 0 {
		g.SNMPRSInterval = g.SNMPVSInterval
	}
	if g.VMACAddrPrefix == "" {
		g.VMACAddrPrefix = g.VMACPrefix
	}
	for i := range d.cfg.StaticAddresses {
		if a := &d.cfg.StaticAddresses[i]; a.Dev == "" {
			a.Dev = g.DefaultInterface
		}
	}
	for _, s := range d.cfg.Scripts {
		if !s.Has("timeout") {
			s.Timeout = s.Interval
		}
	}
	for _, i := range d.cfg.Instances {
		i.fillDefaults(g)
	}
	for _, s := range d.cfg.SyncGroups {
		if !s.Has("notify_priority_changes") {
			s.NotifyPriorityChanges = g.NotifyPriorityChanges
		}
		if !s.Has("smtp_alert") {
			s.SMTPAlert = alert(g.SMTPAlertVRRP, g.SMTPAlert, false)
		}
	}
	for _, v := range d.cfg.VirtualServers {
		if !v.Has("smtp_alert") {
			v.SMTPAlert = alert(g.SMTPAlertChecker, g.SMTPAlert, false)
		}
		for _, r := range v.RealServers {
			if !r.Has("smtp_alert") {
				r.SMTPAlert = alert(g.SMTPAlertChecker, g.SMTPAlert, true)
			}
			for _, c := range r.Checkers {
				c.fillDefaults(&r.Timing, &v.Timing)
			}
		}
	}
}

// Times of checkers where neither checker, real server nor virtual server says
// anything. They are shared, and never written to.
var (
	checkDelayLoop      = 60 * time.Second
	checkConnectTimeout = 5 * time.Second
	checkRetryDelay     = time.Second
	checkRetryDelayHTTP = 3 * time.Second
	checkRetry          = 1
	checkRetryMisc      = 0
	checkRetryDNS       = 3
)

// first gives the first value that is there.
func first[T any](values ...*T) *T {
	for _, v := range values {
		if v != nil {
			return v
		}
	}
	return nil
}

// fillDefaults settles the times of a checker.
func (c *Checker) fillDefaults(rs, vs *Timing) {
	t := &c.Timing
	t.DelayLoop = first(t.DelayLoop, rs.DelayLoop, vs.DelayLoop, &checkDelayLoop)
	t.Warmup = first(t.Warmup, rs.Warmup, vs.Warmup, t.DelayLoop)
	t.ConnectTimeout = first(t.ConnectTimeout, rs.ConnectTimeout, vs.ConnectTimeout, &checkConnectTimeout)
	retry, delay := &checkRetry, &checkRetryDelay
	switch c.Kind {
	case CheckHTTP, CheckSSL:
		delay = &checkRetryDelayHTTP
	case CheckDNS:
		retry, delay = &checkRetryDNS, t.DelayLoop
	case CheckMisc:
		retry = &checkRetryMisc
	case CheckFile, CheckBFD, CheckTCP, CheckSMTP, CheckUDP, CheckPing:
	}
	t.Retry = first(t.Retry, rs.Retry, vs.Retry, retry)
	t.DelayBeforeRetry = first(t.DelayBeforeRetry, rs.DelayBeforeRetry, vs.DelayBeforeRetry, delay)
}

func alert(special, general *bool, otherwise bool) bool {
	switch {
	case special != nil:
		return *special
	case general != nil:
		return *general
	}
	return otherwise
}

// inherit copies a global value unless the keyword stood in the block.
func inherit[T any](b *Block, keyword string, to *T, from T) {
	if !b.Has(keyword) {
		*to = from
	}
}

func (i *Instance) fillDefaults(g *Global) {
	if i.Priority == 0 {
		if i.Priority = 100; i.State == Master {
			i.Priority = 255
		}
	}
	if i.State == StateUnset {
		if i.State = Backup; i.Priority == 255 {
			i.State = Master
		}
	}
	if i.Family == FamilyUnset {
		i.Family = IPv4
		if len(i.VIPsExcluded) > 0 {
			i.Family = familyOf(i.VIPsExcluded[0].Prefix.Addr())
		}
	}
	if i.Version == 0 {
		if i.Version = g.Version; i.Family == IPv6 {
			i.Version = 3
		}
	}
	if i.AdvertInterval == 0 {
		i.AdvertInterval = time.Second
	}
	if !i.McastDstIP.IsValid() {
		if i.McastDstIP = g.McastGroup4; i.Family == IPv6 {
			i.McastDstIP = g.McastGroup6
		}
	}
	i.Unicast = len(i.UnicastPeers) > 0
	for _, p := range i.UnicastPeers {
		if p.HasTTL {
			i.CheckUnicastSrc = true
		}
	}
	b := &i.Block
	inherit(b, "check_unicast_src", &i.CheckUnicastSrc, g.CheckUnicastSrc || i.CheckUnicastSrc)
	inherit(b, "strict_mode", &i.Strict, g.Strict)
	inherit(b, "skip_check_adv_addr", &i.SkipCheckAdvAddr, g.SkipCheckAdvAddr)
	inherit(b, "v3_checksum_as_v2", &i.V3ChecksumAsV2, g.V3ChecksumAsV2)
	inherit(b, "higher_prio_send_advert", &i.HigherPrioSendAdvert, g.HigherPrioSendAdv)
	inherit(b, "lower_prio_no_advert", &i.LowerPrioNoAdvert, g.LowerPrioNoAdvert || i.Strict)
	inherit(b, "owner_ignore_adverts", &i.OwnerIgnoreAdverts, g.OwnerIgnoreAdverts || i.Strict)
	inherit(b, "notify_priority_changes", &i.NotifyPriorityChanges, g.NotifyPriorityChanges)
	inherit(b, "smtp_alert", &i.SMTPAlert, alert(g.SMTPAlertVRRP, g.SMTPAlert, false))
	if !b.Has("accept") && !b.Has("no_accept") {
		i.Accept = i.Priority == 255 || !i.Strict
	}
	inherit(b, "down_timer_adverts", &i.DownTimerAdverts, g.DownTimerAdverts)
	if i.DownTimerAdverts == 0 {
		i.DownTimerAdverts = g.DownTimerAdverts
	}
	i.fillGARP(g)
	if !b.Has("linkbeat_use_polling") {
		i.LinkBeatPolling = g.LinkBeatPolling
	}
}

func (i *Instance) fillGARP(g *Global) {
	b, a := &i.Block, &i.GARP
	inherit(b, "garp_master_delay", &a.MasterDelay, g.GARP.MasterDelay)
	if a.MasterRepeat == 0 {
		a.MasterRepeat = g.GARP.MasterRepeat
	}
	inherit(b, "garp_master_refresh", &a.MasterRefresh, g.GARP.MasterRefresh)
	if a.MasterRefreshRepeat == 0 {
		a.MasterRefreshRepeat = g.GARP.MasterRefreshRepeat
	}
	// An instance's own garp_master_... say nothing about these.
	inherit(b, "garp_lower_prio_delay", &a.LowerPrioDelay, g.GARP.LowerPrioDelay)
	inherit(b, "garp_lower_prio_repeat", &a.LowerPrioRepeat, g.GARP.LowerPrioRepeat)
	if !b.Has("garp_extra_if") && !b.Has("vmac_garp_intvl") {
		a.ExtraIf, a.ExtraIfAll = g.GARP.ExtraIf, g.GARP.ExtraIfAll
	}
	if i.Strict {
		a.LowerPrioDelay, a.LowerPrioRepeat = 0, 0
	}
	a.MasterRepeat = min(a.MasterRepeat, math.MaxInt32)
}
