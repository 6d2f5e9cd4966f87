package config

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// WriteVRRP writes the effective VRRP configuration as a keepalived.conf:
// globals that VRRP uses, static objects, scripts, groups and instances with
// every default spelt out. Loading it gives the same model.
func (c *Config) WriteVRRP(w io.Writer) error {
	d := &dumper{w: bufio.NewWriter(w)}
	d.global(&c.Global)
	d.list("static_ipaddress", len(c.StaticAddresses), func(i int) string { return rawLine(c.StaticAddresses[i].Raw) })
	d.list("static_routes", len(c.StaticRoutes), func(i int) string { return rawLine(c.StaticRoutes[i].Raw) })
	d.list("static_rules", len(c.StaticRules), func(i int) string { return rawLine(c.StaticRules[i].Raw) })
	for _, s := range c.Scripts {
		d.script(s)
	}
	for _, f := range c.TrackFiles {
		d.open("track_file", f.Name)
		d.set("file", quote(f.Path))
		d.set("weight", weightText(f.Weight, f.Reverse))
		d.close()
	}
	for _, p := range c.TrackProcesses {
		d.process(p)
	}
	for _, b := range c.BFDs {
		d.bfd(b)
	}
	for _, g := range c.SyncGroups {
		d.group(g)
	}
	for _, i := range c.Instances {
		d.instance(i)
	}
	return d.w.Flush()
}

// dumper writes blocks; bufio keeps the first error until Flush.
type dumper struct {
	w     *bufio.Writer
	depth int
}

func (d *dumper) line(s string) {
	fmt.Fprintf(d.w, "%s%s\n", strings.Repeat("    ", d.depth), s)
}

func (d *dumper) open(words ...string) {
	d.line(strings.Join(words, " ") + " {")
	d.depth++
}

func (d *dumper) close() {
	d.depth--
	d.line("}")
}

func (d *dumper) set(keyword string, value any) { d.line(fmt.Sprintf("%s %v", keyword, value)) }

func (d *dumper) flag(keyword string, on bool) {
	if on {
		d.line(keyword)
	}
}

// truth writes a keyword that takes a truth value, whatever it is.
func (d *dumper) truth(keyword string, on bool) {
	word := "off"
	if on {
		word = "on"
	}
	d.set(keyword, word)
}

func (d *dumper) text(keyword, value string) {
	if value != "" {
		d.set(keyword, quote(value))
	}
}

func (d *dumper) addr(keyword string, a netip.Addr) {
	if a.IsValid() {
		d.set(keyword, a)
	}
}

func (d *dumper) list(keyword string, n int, line func(int) string) {
	if n == 0 {
		return
	}
	d.open(keyword)
	for i := range n {
		d.line(line(i))
	}
	d.close()
}

// quote writes a word so that it is read back as it is.
func quote(s string) string {
	if s != "" && !strings.ContainsAny(s, " \t#!{}\"\\$~@") {
		return s
	}
	return `"` + s + `"`
}

// quoteScript writes a command, of which escapes are interpreted.
func quoteScript(s *ScriptSpec) string {
	out := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(s.Line) + `"`
	if s.User != "" {
		out += " " + s.User
		if s.Group != "" {
			out += " " + s.Group
		}
	}
	return out
}

func rawLine(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = quote(w)
	}
	return strings.Join(out, " ")
}

// units writes a duration as a decimal number of units.
func units(t, unit time.Duration) string {
	return strconv.FormatFloat(float64(t)/float64(unit), 'f', -1, 64)
}

func secsText(t time.Duration) string { return units(t, time.Second) }

func weightText(w int, reverse bool) string {
	if reverse {
		return fmt.Sprintf("%d reverse", w)
	}
	return strconv.Itoa(w)
}

func (d *dumper) spec(keyword string, s *ScriptSpec) {
	if s != nil {
		d.set(keyword, quoteScript(s))
	}
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

func (d *dumper) global(g *Global) {
	d.open("global_defs")
	d.text("router_id", g.RouterID)
	if g.ScriptUser != "" {
		d.set("script_user", strings.TrimSpace(g.ScriptUser+" "+g.ScriptGroup))
	}
	d.flag("enable_script_security", g.ScriptSecurity)
	d.set("vrrp_mcast_group4", g.McastGroup4)
	d.set("vrrp_mcast_group6", g.McastGroup6)
	d.set("vrrp_version", g.Version)
	d.set("default_interface", g.DefaultInterface)
	switch g.DynamicInterfaces {
	case DynamicOff:
	case DynamicOn:
		d.line("dynamic_interfaces")
	case DynamicAllowChanges:
		d.line("dynamic_interfaces allow_if_changes")
	}
	d.garp("vrrp_", &g.GARP, 1)
	d.set("vrrp_down_timer_adverts", g.DownTimerAdverts)
	if g.GARPInterval > 0 {
		d.set("vrrp_garp_interval", secsText(g.GARPInterval))
	}
	if g.GNAInterval > 0 {
		d.set("vrrp_gna_interval", secsText(g.GNAInterval))
	}
	if g.StartupDelay > 0 {
		d.set("vrrp_startup_delay", secsText(g.StartupDelay))
	}
	d.truth("vrrp_strict", g.Strict)
	d.truth("vrrp_skip_check_adv_addr", g.SkipCheckAdvAddr)
	d.truth("vrrp_lower_prio_no_advert", g.LowerPrioNoAdvert)
	d.truth("vrrp_higher_prio_send_advert", g.HigherPrioSendAdv)
	d.flag("vrrp_check_unicast_src", g.CheckUnicastSrc)
	if g.VRRP.RTPriority > 0 {
		d.set("vrrp_rt_priority", g.VRRP.RTPriority)
	}
	d.flag("vrrp_no_swap", g.VRRP.NoSwap)
	d.fifo("notify_fifo", &g.NotifyFIFO)
	d.fifo("vrrp_notify_fifo", &g.VRRPNotifyFIFO)
	d.close()
}

// garp writes the announcement settings; extraMin is the least interval that
// garp_extra_if takes here.
func (d *dumper) garp(prefix string, g *GARP, extraMin time.Duration) {
	d.set(prefix+"garp_master_delay", secsText(g.MasterDelay))
	d.set(prefix+"garp_master_repeat", g.MasterRepeat)
	d.set(prefix+"garp_master_refresh", secsText(g.MasterRefresh))
	d.set(prefix+"garp_master_refresh_repeat", g.MasterRefreshRepeat)
	d.set(prefix+"garp_lower_prio_delay", secsText(g.LowerPrioDelay))
	d.set(prefix+"garp_lower_prio_repeat", g.LowerPrioRepeat)
	if g.ExtraIf >= extraMin && g.ExtraIf > 0 {
		all := ""
		if g.ExtraIfAll {
			all = "all "
		}
		d.set(prefix+"garp_extra_if", all+secsText(g.ExtraIf))
	}
}

func (d *dumper) script(s *Script) {
	d.open("vrrp_script", s.Name)
	spec := s.Spec
	spec.User = ""
	d.spec("script", &spec)
	d.set("interval", secsText(s.Interval))
	d.set("timeout", secsText(s.Timeout))
	d.set("weight", weightText(s.Weight, s.Reverse))
	d.set("rise", s.Rise)
	d.set("fall", s.Fall)
	if s.Spec.User != "" {
		d.set("user", strings.TrimSpace(s.Spec.User+" "+s.Spec.Group))
	}
	d.flag("init_fail", s.InitFail)
	d.close()
}

func (d *dumper) process(p *TrackProcess) {
	d.open("vrrp_track_process", p.Name)
	d.set("process", rawLine(p.Process))
	switch p.Match {
	case ParamNone:
		d.flag("full_command", p.FullCommand)
	case ParamExact:
		if p.FullCommand {
			d.line("param_match")
		}
	case ParamInitial:
		d.line("param_match initial")
	case ParamPartial:
		d.line("param_match partial")
	}
	d.set("weight", weightText(p.Weight, p.Reverse))
	d.set("quorum", p.Quorum)
	if p.QuorumMax != math.MaxInt {
		d.set("quorum_max", p.QuorumMax)
	}
	if p.TerminateDelay > 0 {
		d.set("terminate_delay", secsText(p.TerminateDelay))
	}
	if p.ForkDelay > 0 {
		d.set("fork_delay", secsText(p.ForkDelay))
	}
	d.close()
}

func (d *dumper) bfd(b *BFD) {
	d.open("bfd_instance", b.Name)
	d.addr("source_ip", b.Source)
	d.addr("neighbor_ip", b.Neighbor)
	d.set("min_rx", units(b.MinRx, time.Millisecond))
	d.set("min_tx", units(b.MinTx, time.Millisecond))
	d.set("idle_tx", units(b.IdleTx, time.Millisecond))
	d.set("multiplier", b.Multiplier)
	d.flag("passive", b.Passive)
	d.set("ttl", b.TTL)
	d.set("max_hops", b.MaxHops)
	d.flag("multihop", b.Multihop)
	d.set("weight", weightText(b.Weight, b.Reverse))
	d.flag("vrrp", b.VRRP)
	d.flag("checker", b.Checker)
	d.close()
}

func (d *dumper) tracking(t *Tracking) {
	for _, l := range []struct {
		keyword string
		tracks  []Track
	}{
		{"track_interface", t.TrackInterfaces}, {"track_script", t.TrackScripts}, {"track_file", t.TrackFiles},
		{"track_process", t.TrackProcesses}, {"track_bfd", t.TrackBFDs},
	} {
		d.list(l.keyword, len(l.tracks), func(i int) string {
			tr := l.tracks[i]
			if !tr.HasWeight {
				return quote(tr.Name)
			}
			return quote(tr.Name) + " weight " + weightText(tr.Weight, tr.Reverse)
		})
	}
}

func (d *dumper) notify(n *Notify) {
	d.spec("notify_master", n.Master)
	d.spec("notify_backup", n.Backup)
	d.spec("notify_fault", n.Fault)
	d.spec("notify_stop", n.Stop)
	d.spec("notify", n.Any)
	d.spec("notify_master_rx_lower_pri", n.MasterRxLowerPri)
	d.spec("notify_deleted", n.Deleted)
	d.flag("notify_deleted", n.DeletedBare)
}

func (d *dumper) group(g *SyncGroup) {
	d.open("vrrp_sync_group", g.Name)
	d.list("group", len(g.Members), func(i int) string { return quote(g.Members[i].Name) })
	d.flag("sync_group_tracking_weight", g.GlobalTracking)
	d.tracking(&g.Tracking)
	d.notify(&g.Notify)
	d.truth("smtp_alert", g.SMTPAlert)
	d.truth("notify_priority_changes", g.NotifyPriorityChanges)
	if g.FencingPolicy != "" {
		d.set("#keepmesh: fencing_policy", g.FencingPolicy)
	}
	d.close()
}
