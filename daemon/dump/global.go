package dump

import (
	"net/netip"
	"strconv"

	"github.com/keepmesh/keepmesh/config"
)

// globals writes the section of global_defs, in keepalived's order.
func (d *dumper) globals() {
	g := &d.c.Global
	d.line("------< Global definitions >------")
	d.given(" Config save dir = %s", g.ConfigSaveDir)
	d.line(" Network namespace = %s", choose(g.NetNamespace == "", "(default)", g.NetNamespace))
	ipvs := "(main namespace)"
	if g.Has("net_namespace_ipvs") {
		ipvs = choose(g.NetNamespaceIPVS == "", "(default)", g.NetNamespaceIPVS)
	}
	d.line(" Network namespace ipvs = %s", ipvs)
	d.given(" Instance name = %s", g.Instance)
	d.given(" Parent process name = %s", g.ProcessName)
	d.processName("VRRP", g.VRRPProcessName, "keepalived_vrrp")
	d.processName("LVS", g.CheckerProcessName, "keepalived_lvs")
	d.processName("BFD", g.BFDProcessName, "keepalived_bfd")
	d.line(" Router ID = %s", choose(g.RouterID == "", d.env.Hostname, g.RouterID))
	d.globalMail()
	d.globalReload()
	d.globalInterfaces()
	d.globalLVS()
	d.fifo("Global", &g.NotifyFIFO)
	d.fifo("VRRP", &g.VRRPNotifyFIFO)
	d.fifo("LVS", &g.LVSNotifyFIFO)
	d.globalVRRP()
	d.globalFirewall()
	d.line(" VRRP check unicast_src = %t", g.CheckUnicastSrc)
	d.line(" VRRP skip check advert addresses = %t", g.SkipCheckAdvAddr)
	d.line(" VRRP strict mode = %t", g.Strict)
	if g.MaxAutoPriority == -1 {
		d.line(" Max auto priority = Disabled")
	} else {
		d.line(" Max auto priority = %d", g.MaxAutoPriority)
	}
	d.line(" Min auto priority delay = %d usecs", g.MinAutoPriorityDelay)
	d.sched("VRRP", &g.VRRP)
	d.sched("Checker", &g.Checker)
	d.sched("BFD", &g.BFD)
	d.globalAgents()
	d.globalBuffers()
}

func (d *dumper) given(format, value string) {
	if value != "" {
		d.line(format, value)
	}
}

// processName shows the name of a child, or the default that process_names sets.
func (d *dumper) processName(kind, name, otherwise string) {
	if name == "" && d.c.Global.ProcessNames {
		name = otherwise
	}
	d.given(" "+kind+" process name = %s", name)
}

// relay is the address and port of smtp_server; an empty host is none.
func (d *dumper) relay() (host string, port int) {
	srv := d.c.Global.SMTPServer
	if srv == nil {
		return "", 0
	}
	if port = srv.Port; port == 0 {
		port = 25
	}
	if a, err := netip.ParseAddr(srv.Host); err == nil {
		return a.String(), port
	}
	if d.env.Resolve == nil {
		return "", port
	}
	return d.env.Resolve(srv.Host), port
}

func (d *dumper) globalMail() {
	g := &d.c.Global
	helo, from := g.SMTPHelo, g.NotificationEmailFrom
	if host, port := d.relay(); host != "" {
		d.line(" Smtp server = %s", host)
		d.line(" Smtp server port = %d", port)
		if helo == "" {
			helo = d.env.Hostname
		}
		if from == "" && d.env.Hostname != "" {
			from = d.env.Username + "@" + d.env.Hostname
		}
	}
	d.given(" Smtp HELO name = %s", helo)
	if host, _ := d.relay(); host != "" || g.Has("smtp_connect_timeout") {
		d.line(" Smtp server connection timeout = %d", seconds(g.SMTPConnectTimeout))
	}
	if from != "" {
		d.line(" Email notification from = %s", from)
		d.line(" Email notification to:")
		for _, to := range g.NotificationEmail {
			d.line("   %s", to)
		}
	}
	d.line(" Default smtp_alert = %s", toggle(g.SMTPAlert))
	d.line(" Default smtp_alert_vrrp = %s", toggle(g.SMTPAlertVRRP))
	d.line(" Default smtp_alert_checker = %s", toggle(g.SMTPAlertChecker))
	d.line(" Checkers log all failures = %t", g.CheckerLogAllFailures)
}

func (d *dumper) globalReload() {
	g := &d.c.Global
	if g.ReloadCheckConfig {
		log := g.ReloadCheckLog
		if log == "" {
			log = "/dev/null"
		}
		d.line(" Test config before reload, log to %s", log)
	} else {
		d.line(" No test config before reload")
	}
	if g.ReloadTimeFile != "" {
		d.line(" Reload time file = %s%s", g.ReloadTimeFile, choose(g.ReloadRepeat, " (repeat)", ""))
		d.line(" No reload scheduled")
	}
	if f := g.ReloadFile; f != "" {
		if f == "-" {
			f = "/run/keepalived.reload"
		}
		d.line(" Reload_file = %s", f)
	}
	d.given(" config save directory = %s", g.TmpConfigDir)
	if g.DataUseInstance {
		d.line(" Use instance name in data dumps")
	}
}

// globalInterfaces leaves the startup and shutdown scripts out: keepalived's
// VRRP process, which writes this file, has dropped them.
func (d *dumper) globalInterfaces() {
	g := &d.c.Global
	d.line(" Dynamic interfaces = %t", g.DynamicInterfaces != config.DynamicOff)
	if g.DynamicInterfaces != config.DynamicOff {
		d.line(" Allow interface changes = %t", g.DynamicInterfaces == config.DynamicAllowChanges)
	}
	if g.NoEmailFaults {
		d.line(" Send emails for fault transitions = off")
	}
}

func (d *dumper) globalLVS() {
	g := &d.c.Global
	// The third line's wording is keepalived's own.
	for _, t := range []struct {
		name  string
		value uint
	}{{"TCP", g.LVSTimeouts.TCP}, {"TCP FIN", g.LVSTimeouts.TCPFin}, {"TCP", g.LVSTimeouts.UDP}} {
		if t.value != 0 {
			d.line(" LVS %s timeout = %d", t.name, t.value)
		}
	}
	d.line(" Default interface = %s", g.DefaultInterface)
	d.line(" Disable local IGMP = %s", choose(g.DisableLocalIGMP, "yes", "no"))
	if s := g.LVSSync; s != nil && s.Interface != "" {
		d.lvsSync(s)
	}
	flush := map[config.FlushOnStop]string{config.FlushNone: "disabled", config.FlushAll: "full", config.FlushVS: "VS"}
	d.line(" LVS flush = %t", g.LVSFlush)
	d.line(" LVS flush on stop = %s", flush[g.LVSFlushOnStop])
}

func (d *dumper) lvsSync(s *config.LVSSync) {
	id := max(s.ID, 0)
	if s.Instance != "" {
		d.line(" LVS syncd vrrp instance = %s", s.Instance)
		for _, i := range d.c.Instances {
			if i.Name == s.Instance && s.ID < 0 {
				id = i.VRID
			}
		}
	}
	d.line(" LVS syncd interface = %s", s.Interface)
	d.line(" LVS syncd syncid = %d", id)
	if s.MaxLen != 0 {
		d.line(" LVS syncd maxlen = %d", s.MaxLen)
	}
	if s.Group.IsValid() {
		d.line(" LVS mcast group %s", s.Group)
	}
	if s.Port != 0 {
		d.line(" LVS syncd mcast port = %d", s.Port)
	}
	if s.TTL != 0 {
		d.line(" LVS syncd mcast ttl = %d", s.TTL)
	}
}

func (d *dumper) fifo(kind string, f *config.FIFO) {
	if f.Path == "" {
		return
	}
	uid, gid := d.owner(&config.ScriptSpec{User: f.User, Group: f.Group})
	d.line(" %s notify fifo = %s, uid:gid %d:%d", kind, f.Path, uid, gid)
	if d.runs(f.Script) {
		uid, gid := d.owner(f.Script)
		d.line(" %s notify fifo script = %s, uid:gid %d:%d", kind, d.command(f.Script), uid, gid)
	}
}

func (d *dumper) globalVRRP() {
	g := &d.c.Global
	d.line(" FIFO write vrrp states on reload = %t", g.FIFOStatesOnReload)
	d.line(" VRRP notify priority changes = %t", g.NotifyPriorityChanges)
	d.line(" VRRP IPv4 mcast group = %s", g.McastGroup4)
	d.line(" VRRP IPv6 mcast group = %s", g.McastGroup6)
	d.line(" Gratuitous ARP delay = %d", seconds(g.GARP.MasterDelay))
	d.line(" Gratuitous ARP repeat = %d", g.GARP.MasterRepeat)
	d.line(" Gratuitous ARP refresh timer = %d", seconds(g.GARP.MasterRefresh))
	d.line(" Gratuitous ARP refresh repeat = %d", g.GARP.MasterRefreshRepeat)
	d.line(" Gratuitous ARP lower priority delay = %d", seconds(g.GARP.LowerPrioDelay))
	d.line(" Gratuitous ARP lower priority repeat = %d", g.GARP.LowerPrioRepeat)
	d.line(" Num adverts before down = %d", g.DownTimerAdverts)
	d.line(" Gratuitous ARP for each secondary %s = %ds", choose(g.GARP.ExtraIfAll, "i/f", "VMAC"), seconds(g.GARP.ExtraIf))
	d.line(" Send advert after receive lower priority advert = %t", !g.LowerPrioNoAdvert)
	d.line(" Send advert after receive higher priority advert = %t", g.HigherPrioSendAdv)
	d.line(" Gratuitous ARP interval = %f", g.GARPInterval.Seconds())
	d.line(" Gratuitous NA interval = %f", g.GNAInterval.Seconds())
	d.line(" VRRP default protocol version = %d", g.Version)
}

// globalFirewall shows the table that keepalived uses of itself as soon as an
// instance has a VMAC or does not accept traffic to its addresses.
func (d *dumper) globalFirewall() {
	g := &d.c.Global
	table := g.NFTables.Table
	if table == "" && d.filtersTraffic() {
		table = "keepalived"
	}
	if table != "" {
		d.line(" nftables table name = %s", table)
		d.line(" nftables base chain priority = %d", g.NFTables.Priority)
		d.line(" nftables %sforce use ifindex for link local IPv6", choose(g.NFTablesIfindex, "", "don't "))
	}
	if t := g.NFTablesIPVS; t.Table != "" {
		d.line(" ipvs nftables table name = %s", t.Table)
		d.line(" ipvs nftables base chain priority = %d", t.Priority)
		d.line(" ipvs nftables start fwmark = %d", g.IPVSFwmark)
	}
	d.line(" nftables with%s counters", choose(g.NFTablesCounters, "", "out"))
	d.line(" libnftnl version %s", d.env.Version)
}

func (d *dumper) filtersTraffic() bool {
	for _, i := range d.c.Instances {
		if !i.Accept || i.VMAC != nil {
			return true
		}
	}
	return false
}

func (d *dumper) sched(kind string, s *config.Sched) {
	d.line(" %s process priority = %d", kind, s.Nice)
	d.line(" %s don't swap = %t", kind, s.NoSwap)
	d.line(" %s realtime priority = %d", kind, s.RTPriority)
	if len(s.CPUAffinity) > 0 {
		cpus := ""
		for _, c := range s.CPUAffinity {
			cpus += strconv.Itoa(c) + " "
		}
		d.line(" %s CPU Affinity = %s", kind, cpus)
	}
	d.line(" %s realtime limit = %d", kind, s.RLimitRTTime)
}

func (d *dumper) globalAgents() {
	g := &d.c.Global
	for _, s := range []struct {
		name string
		on   bool
	}{{"vrrp", g.SNMPVRRP}, {"checker", g.SNMPChecker}, {"RFCv2", g.SNMPRFCv2}, {"RFCv3", g.SNMPRFCv3}, {"traps", g.Traps}} {
		d.line(" SNMP %s %s", s.name, choose(s.on, "enabled", "disabled"))
	}
	d.line(" SNMP socket = %s", choose(g.SNMPSocket == "", "default (unix:/var/agentx/master)", g.SNMPSocket))
	d.line(" DBus %s", choose(g.DBus, "enabled", "disabled"))
	d.line(" DBus service name = %s", choose(g.Has("dbus_service_name"), g.DBusServiceName, ""))
	d.line(" Script security %s", choose(g.ScriptSecurity, "enabled", "disabled"))
	if uid, gid, ok := d.defaultOwner(); ok {
		d.line(" Default script uid:gid %d:%d", uid, gid)
	}
}

func (d *dumper) globalBuffers() {
	g := &d.c.Global
	for _, name := range []string{"vrrp_netlink_cmd_rcv_bufs", "vrrp_netlink_monitor_rcv_bufs", "process_monitor_rcv_bufs", "lvs_netlink_cmd_rcv_bufs", "lvs_netlink_monitor_rcv_bufs"} {
		d.line(" %s = %d", name, g.RcvBufs[name])
		d.line(" %s_force = %d", name, g.RcvBufs[name+"_force"])
	}
	d.line(" rs_init_notifies = %d", bit(g.RSInitNotifies))
	d.line(" no_checker_emails = %d", bit(g.NoCheckerEmails))
	switch g.RxBufsPolicy {
	case "":
	case "MTU", "ADVERT":
		d.line(" rx_bufs_policy = %s", g.RxBufsPolicy)
	default:
		d.line(" rx_bufs_size = %s", g.RxBufsPolicy)
	}
	d.line(" rx_bufs_multiples = %d", g.RxBufsMultiplier)
	umask := uint32(0o177)
	if g.Umask != nil {
		umask = *g.Umask
	}
	d.line(" umask = 0%o", umask)
	if g.StartupDelay > 0 {
		d.line(" vrrp_startup_delay = %s", general(g.StartupDelay.Seconds()))
	}
	if g.LogUnknownVRIDs {
		d.line(" log_unknown_vrids")
	}
	if g.Has("vmac_prefix") {
		d.line(" VMAC prefix = %s", g.VMACPrefix)
	}
	if g.Has("vmac_addr_prefix") {
		d.line(" VMAC address prefix = %s", g.VMACAddrPrefix)
	}
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
