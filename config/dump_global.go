package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// root writes what stands outside of blocks.
func (d *dumper) root(g *Global) {
	d.text("net_namespace", g.NetNamespace)
	d.text("net_namespace_ipvs", g.NetNamespaceIPVS)
	d.flag("namespace_with_ipsets", g.NamespaceIPSets)
	d.text("instance", g.Instance)
	d.flag("use_pid_dir", g.UsePidDir)
	d.flag("linkbeat_use_polling", g.LinkBeatPolling)
	d.set("child_wait_time", secsText(g.ChildWaitTime))
}

func (d *dumper) global(g *Global) {
	d.open("global_defs")
	d.text("router_id", g.RouterID)
	d.identity(g)
	d.mail(g)
	d.globalScripts(g)
	d.globalVRRP(g)
	d.firewall(g)
	d.globalLVS(g)
	d.sched("vrrp", &g.VRRP)
	d.sched("checker", &g.Checker)
	d.sched("bfd", &g.BFD)
	d.monitoring(g)
	d.files(g)
	d.close()
}

// identity writes the names of processes and who runs scripts.
func (d *dumper) identity(g *Global) {
	d.flag("process_names", g.ProcessNames)
	d.text("process_name", g.ProcessName)
	d.text("vrrp_process_name", g.VRRPProcessName)
	d.text("checker_process_name", g.CheckerProcessName)
	d.text("bfd_process_name", g.BFDProcessName)
	if g.ScriptUser != "" {
		d.set("script_user", strings.TrimSpace(g.ScriptUser+" "+g.ScriptGroup))
	}
	d.flag("enable_script_security", g.ScriptSecurity)
	d.newer("use_symlink_paths", g.UseSymlinkPaths)
	d.flag("set_supplementary_groups", g.SupplementaryGroups)
}

// newer writes a truth value that 2.2.7 has no word for, when it is on.
func (d *dumper) newer(keyword string, on bool) {
	if on {
		d.truth(keyword, true)
	}
}

// differs writes a truth value where it is not what would be inherited: for
// keywords that 2.2.7 does not know, or whose value it does not look at.
func (d *dumper) differs(keyword string, on, inherited bool) {
	if on != inherited {
		d.truth(keyword, on)
	}
}

func (d *dumper) optTruth(keyword string, on *bool) {
	if on != nil {
		d.truth(keyword, *on)
	}
}

// number writes a number unless it is the value that means nothing was said.
func number[T integer](d *dumper, keyword string, n, unset T) {
	if n != unset {
		d.set(keyword, n)
	}
}

func (d *dumper) seconds(keyword string, t time.Duration) {
	if t > 0 {
		d.set(keyword, secsText(t))
	}
}

func (d *dumper) mail(g *Global) {
	d.text("notification_email_from", g.NotificationEmailFrom)
	d.list("notification_email", len(g.NotificationEmail), func(i int) string { return quote(g.NotificationEmail[i]) })
	if s := g.SMTPServer; s != nil {
		d.set("smtp_server", fmt.Sprintf("%s %d", quote(s.Host), s.Port))
	}
	d.text("smtp_helo_name", g.SMTPHelo)
	if g.SMTPServer != nil || g.Has("smtp_connect_timeout") {
		d.set("smtp_connect_timeout", secsText(g.SMTPConnectTimeout))
	}
	d.optTruth("smtp_alert", g.SMTPAlert)
	d.optTruth("smtp_alert_vrrp", g.SMTPAlertVRRP)
	d.optTruth("smtp_alert_checker", g.SMTPAlertChecker)
	d.flag("no_email_faults", g.NoEmailFaults)
	if g.NoCheckerEmails {
		d.truth("no_checker_emails", true)
	}
}

func (d *dumper) globalScripts(g *Global) {
	d.spec("startup_script", g.StartupScript)
	d.set("startup_script_timeout", secsText(g.StartupTimeout))
	d.spec("shutdown_script", g.ShutdownScript)
	d.set("shutdown_script_timeout", secsText(g.ShutdownTimeout))
	d.fifo("notify_fifo", &g.NotifyFIFO)
	d.fifo("vrrp_notify_fifo", &g.VRRPNotifyFIFO)
	d.fifo("lvs_notify_fifo", &g.LVSNotifyFIFO)
	d.truth("vrrp_notify_priority_changes", g.NotifyPriorityChanges)
	d.flag("fifo_write_vrrp_states_on_reload", g.FIFOStatesOnReload)
	d.flag("rs_init_notifies", g.RSInitNotifies)
	d.flag("checker_log_all_failures", g.CheckerLogAllFailures)
}

func (d *dumper) globalVRRP(g *Global) {
	d.set("vrrp_mcast_group4", g.McastGroup4)
	d.set("vrrp_mcast_group6", g.McastGroup6)
	d.set("vrrp_version", g.Version)
	d.text("default_interface", g.DefaultInterface)
	switch g.DynamicInterfaces {
	case DynamicOff:
	case DynamicOn:
		d.line("dynamic_interfaces")
	case DynamicAllowChanges:
		d.line("dynamic_interfaces allow_if_changes")
	}
	d.flag("disable_local_igmp", g.DisableLocalIGMP)
	d.garp("vrrp_", &g.GARP, &GARP{LowerPrioDelay: g.GARP.MasterDelay, LowerPrioRepeat: g.GARP.MasterRepeat}, time.Second)
	d.flag("vrrp_min_garp", g.MinGARP) // after what it would change
	d.seconds("vrrp_garp_interval", g.GARPInterval)
	d.seconds("vrrp_gna_interval", g.GNAInterval)
	d.set("vrrp_down_timer_adverts", g.DownTimerAdverts)
	d.seconds("vrrp_startup_delay", g.StartupDelay)
	d.seconds("vrrp_delay_after_boot", g.DelayAfterBoot)
	d.flag("vrrp_strict", g.Strict) // 2.2.7 takes any value as on
	d.flag("vrrp_skip_check_adv_addr", g.SkipCheckAdvAddr)
	d.truth("vrrp_lower_prio_no_advert", g.LowerPrioNoAdvert)
	d.truth("vrrp_higher_prio_send_advert", g.HigherPrioSendAdv)
	d.newer("vrrp_owner_ignore_adverts", g.OwnerIgnoreAdverts)
	d.newer("v3_checksum_as_v2", g.V3ChecksumAsV2)
	d.flag("vrrp_check_unicast_src", g.CheckUnicastSrc)
	d.flag("log_unknown_vrids", g.LogUnknownVRIDs)
	if g.VMACPrefix != "vrrp" {
		d.text("vmac_prefix", g.VMACPrefix)
	}
	if g.VMACAddrPrefix != g.VMACPrefix {
		d.text("vmac_addr_prefix", g.VMACAddrPrefix)
	}
	d.text("vrrp_rx_bufs_policy", g.RxBufsPolicy)
	d.set("vrrp_rx_bufs_multiplier", g.RxBufsMultiplier)
	number(d, "max_auto_priority", g.MaxAutoPriority, 0)
	d.set("min_auto_priority_delay", g.MinAutoPriorityDelay)
}

func (d *dumper) firewall(g *Global) {
	if t := g.IPTables; t.On {
		d.line(strings.TrimRight("vrrp_iptables "+t.In+" "+t.Out, " "))
	}
	if t := g.IPTables; t.NoSets || len(t.IPSets) > 0 {
		d.line(strings.TrimRight("vrrp_ipsets "+rawLine(t.IPSets), " "))
	}
	d.text("nftables", g.NFTables.Table)
	number(d, "nftables_priority", g.NFTables.Priority, -1)
	d.flag("nftables_counters", g.NFTablesCounters)
	d.flag("nftables_ifindex", g.NFTablesIfindex)
}

func (d *dumper) globalLVS(g *Global) {
	if t := g.LVSTimeouts; t != (LVSTimeouts{}) {
		words := []string{"lvs_timeouts"}
		for _, w := range []struct {
			name  string
			value uint
		}{{"tcp", t.TCP}, {"tcpfin", t.TCPFin}, {"udp", t.UDP}} {
			if w.value > 0 {
				words = append(words, w.name, fmt.Sprint(w.value))
			}
		}
		d.line(strings.Join(words, " "))
	}
	d.flag("lvs_flush", g.LVSFlush)
	switch g.LVSFlushOnStop {
	case FlushNone:
	case FlushAll:
		d.line("lvs_flush_on_stop")
	case FlushVS:
		d.line("lvs_flush_on_stop VS")
	}
	if y := g.LVSSync; y != nil {
		d.lvsSync(y)
	}
	d.text("nftables_ipvs", g.NFTablesIPVS.Table)
	number(d, "nftables_ipvs_priority", g.NFTablesIPVS.Priority, -1)
	number(d, "nftables_ipvs_start_fwmark", g.IPVSFwmark, 1000)
}

func (d *dumper) lvsSync(y *LVSSync) {
	words := []string{"lvs_sync_daemon", quote(y.Interface)}
	if y.Instance != "" {
		words = append(words, "inst", quote(y.Instance))
	}
	for _, w := range []struct {
		name         string
		value, unset int
	}{{"id", y.ID, -1}, {"maxlen", y.MaxLen, 0}, {"port", y.Port, 0}, {"ttl", y.TTL, 0}} {
		if w.value != w.unset {
			words = append(words, w.name, strconv.Itoa(w.value))
		}
	}
	if y.Group.IsValid() {
		words = append(words, "group", y.Group.String())
	}
	d.line(strings.Join(words, " "))
}

func (d *dumper) sched(process string, s *Sched) {
	number(d, process+"_priority", s.Nice, 0)
	d.flag(process+"_no_swap", s.NoSwap)
	number(d, process+"_rt_priority", s.RTPriority, 0)
	if len(s.CPUAffinity) > 0 {
		d.set(process+"_cpu_affinity", strings.Trim(fmt.Sprint(s.CPUAffinity), "[]"))
	}
	number(d, process+"_rlimit_rttime", s.RLimitRTTime, 10000)
}

// monitoring writes SNMP, DBus and the socket buffers.
func (d *dumper) monitoring(g *Global) {
	d.text("snmp_socket", g.SNMPSocket)
	d.flag("enable_traps", g.Traps)
	d.flag("enable_snmp_vrrp", g.SNMPVRRP)
	d.flag("enable_snmp_rfcv2", g.SNMPRFCv2)
	d.flag("enable_snmp_rfcv3", g.SNMPRFCv3)
	d.flag("enable_snmp_checker", g.SNMPChecker)
	if g.SNMPVSInterval != defaultSNMPInterval {
		d.seconds("snmp_vs_stats_update_interval", g.SNMPVSInterval)
	}
	if g.SNMPRSInterval != g.SNMPVSInterval {
		d.seconds("snmp_rs_stats_update_interval", g.SNMPRSInterval)
	}
	d.flag("enable_dbus", g.DBus)
	if g.DBusServiceName != defaultDBusName {
		d.text("dbus_service_name", g.DBusServiceName)
	}
	d.text("dbus_no_interface_name", g.DBusNoInterface)
	for _, name := range slices.Sorted(maps.Keys(g.RcvBufs)) {
		if n := g.RcvBufs[name]; strings.HasSuffix(name, "_force") {
			d.truth(name, n != 0)
		} else {
			d.set(name, n)
		}
	}
}

func (d *dumper) files(g *Global) {
	if g.Umask != nil {
		d.set("umask", fmt.Sprintf("0%o", *g.Umask))
	}
	if g.RandomSeed != nil {
		d.set("random_seed", *g.RandomSeed)
	}
	if g.ReloadCheckConfig {
		d.line(strings.TrimRight("reload_check_config "+strings.Trim(quote(g.ReloadCheckLog), `"`), " "))
	}
	d.text("reload_time_file", g.ReloadTimeFile)
	d.flag("reload_repeat", g.ReloadRepeat)
	if g.ReloadFile == "-" {
		d.line("reload_file")
	} else {
		d.text("reload_file", g.ReloadFile)
	}
	if len(g.IncludeCheck) > 0 {
		d.set("include_check", rawLine(g.IncludeCheck))
	}
	d.text("config_save_dir", g.ConfigSaveDir)
	d.text("tmp_config_directory", g.TmpConfigDir)
	d.truth("data_use_instance", g.DataUseInstance)
	number(d, "json_version", g.JSONVersion, 1)
	d.text("iproute_usr_dir", g.IPRouteUsrDir)
	d.text("iproute_etc_dir", g.IPRouteEtcDir)
	d.text("state_dump_file", g.StateDumpFile)
	d.text("stats_dump_file", g.StatsDumpFile)
	d.text("json_dump_file", g.JSONDumpFile)
}

// objects writes what belongs to the host rather than to an instance.
func (d *dumper) objects(c *Config) {
	for _, g := range c.TrackGroups {
		d.open("track_group", quote(g.Name))
		d.list("group", len(g.Members), func(i int) string { return quote(g.Members[i].Name) })
		d.close()
	}
	d.list("static_ipaddress", len(c.StaticAddresses), func(i int) string { return rawLine(c.StaticAddresses[i].Raw) })
	d.list("static_routes", len(c.StaticRoutes), func(i int) string { return rawLine(c.StaticRoutes[i].Raw) })
	d.list("static_rules", len(c.StaticRules), func(i int) string { return rawLine(c.StaticRules[i].Raw) })
	for _, g := range c.GARPGroups {
		d.open("garp_group")
		d.seconds("garp_interval", g.GARPInterval)
		d.seconds("gna_interval", g.GNAInterval)
		d.text("interface", g.Interface)
		d.list("interfaces", len(g.Interfaces), func(i int) string { return quote(g.Interfaces[i].Name) })
		d.close()
	}
	d.list("linkbeat_interfaces", len(c.LinkBeat), func(i int) string {
		return strings.TrimSpace(quote(c.LinkBeat[i].Interface) + " " + c.LinkBeat[i].Method)
	})
	d.list("interface_up_down_delays", len(c.UpDownDelays), func(i int) string {
		u := c.UpDownDelays[i]
		return fmt.Sprintf("%s %s %s", quote(u.Interface), secsText(u.Down), secsText(u.Up))
	})
}

func (d *dumper) fifo(prefix string, f *FIFO) {
	if f.Path != "" {
		words := []string{quote(f.Path)}
		if f.User != "" {
			words = append(words, f.User)
		}
		if f.Group != "" {
			words = append(words, f.Group)
		}
		d.set(prefix, strings.Join(words, " "))
	}
	d.spec(prefix+"_script", f.Script)
}
