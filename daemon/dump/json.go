package dump

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/daemon/ipc"
)

// JSON writes keepalived.json: one array with an object of "data" and "stats"
// per instance, on one line. Without instances keepalived writes no file, and
// JSON writes nothing.
func JSON(w io.Writer, c *config.Config, s *ipc.Snapshot) error {
	return writeJSON(w, c, s, Env{})
}

func writeJSON(w io.Writer, c *config.Config, s *ipc.Snapshot, env Env) error {
	d := newDumper(w, c, s, env)
	if len(c.Instances) == 0 {
		return nil
	}
	for n, i := range c.Instances {
		st := d.status(i)
		d.w.WriteString(choose(n == 0, "[", ","))
		d.w.WriteString(`{"data":{` + d.jsonData(i, st) + `},"stats":{` + jsonStats(&st.Stats) + `}}`)
	}
	d.w.WriteString("]\n")
	return d.flush()
}

// fields collects members of an object in their order.
type fields struct{ b strings.Builder }

func (f *fields) raw(name, value string) {
	if f.b.Len() > 0 {
		f.b.WriteByte(',')
	}
	f.b.WriteString(quote(name) + ":" + value)
}

func (f *fields) text(name, value string)     { f.raw(name, quote(value)) }
func (f *fields) count(name string, n uint64) { f.raw(name, strconv.FormatUint(n, 10)) }
func (f *fields) truth(name string, on bool)  { f.raw(name, strconv.FormatBool(on)) }
func (f *fields) digit(name string, on bool)  { f.raw(name, strconv.Itoa(bit(on))) }
func (f *fields) int(name string, n int64)    { f.raw(name, strconv.FormatInt(n, 10)) }

// list leaves an empty list out, as keepalived does.
func (f *fields) list(name string, values []string) {
	if len(values) == 0 {
		return
	}
	quoted := make([]string, len(values))
	for n, v := range values {
		quoted[n] = quote(v)
	}
	f.raw(name, "["+strings.Join(quoted, ",")+"]")
}

// quote escapes as keepalived does, slashes included. What it would write as
// broken JSON is escaped here: a backslash, which it turns into a line feed,
// and other control characters, which it leaves bare.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch r {
		case '\t':
			b.WriteString(`\t`)
		case '\n':
			b.WriteString(`\n`)
		case '\r':
			b.WriteString(`\r`)
		case '\f':
			b.WriteString(`\f`)
		case '\b':
			b.WriteString(`\b`)
		case '\\', '"', '/':
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			if r < ' ' {
				fmt.Fprintf(&b, `\u%04x`, r)
			} else {
				b.WriteRune(r)
			}
		}
	}
	b.WriteByte('"')
	return b.String()
}

func (d *dumper) jsonData(i *config.Instance, s *ipc.InstanceStatus) string {
	f := &fields{}
	f.text("iname", i.Name)
	f.digit("dont_track_primary", i.DontTrackPrimary)
	f.digit("skip_check_adv_addr", i.SkipCheckAdvAddr)
	f.digit("strict_mode", i.Strict)
	vmac := ""
	if i.VMAC != nil || i.IPVlan != nil {
		vmac = d.device(i)
	}
	f.text("vmac_ifname", vmac)
	if i.Interface != "" {
		f.text("ifp_ifname", d.device(i))
	}
	f.int("master_priority", int64(s.MasterPriority))
	sec, usec := epoch(s.Since)
	f.raw("last_transition", fmt.Sprintf("%d.%06d", sec, usec))
	d.jsonTiming(f, i)
	f.int("vrid", int64(i.VRID))
	f.int("base_priority", int64(i.Priority))
	f.int("effective_priority", int64(s.Effective))
	f.truth("vipset", s.State == "MASTER")
	f.truth("promote_secondaries", i.PromoteSecondaries)
	f.raw("adver_int", general(i.AdvertInterval.Seconds()))
	f.raw("master_adver_int", general(advertInterval(i, s).Seconds()))
	f.digit("accept", i.Accept)
	f.truth("nopreempt", i.NoPreempt)
	f.int("preempt_delay", seconds(preemptDelay(i)))
	state, wanted := states(i, s)
	f.int("state", stateNumber(state))
	f.int("wantstate", stateNumber(wanted))
	f.int("version", int64(i.Version))
	f.truth("smtp_alert", i.SMTPAlert)
	f.truth("notify_deleted", deletedIsNotified(i))
	d.jsonScripts(f, &i.Notify)
	d.jsonVirtual(f, i, s)
	d.jsonTracked(f, i)
	f.int("auth_type", int64(i.Auth.Type))
	if i.Auth.Type != config.AuthNone {
		f.text("auth_data", i.Auth.Pass)
	}
	return f.b.String()
}

func (d *dumper) jsonTiming(f *fields, i *config.Instance) {
	g := &i.GARP
	f.raw("garp_delay", general(g.MasterDelay.Seconds()))
	f.int("garp_refresh", seconds(g.MasterRefresh))
	f.int("garp_rep", int64(g.MasterRepeat))
	f.int("garp_refresh_rep", int64(g.MasterRefreshRepeat))
	f.int("garp_lower_prio_delay", seconds(g.LowerPrioDelay))
	f.int("garp_lower_prio_rep", int64(g.LowerPrioRepeat))
	f.digit("lower_prio_no_advert", i.LowerPrioNoAdvert)
	f.digit("higher_prio_send_advert", i.HigherPrioSendAdvert)
}

func (d *dumper) jsonScripts(f *fields, n *config.Notify) {
	for _, s := range []struct {
		name   string
		script *config.ScriptSpec
	}{
		{"script_backup", n.Backup}, {"script_master", n.Master}, {"script_fault", n.Fault}, {"script_stop", n.Stop},
		{"script_deleted", n.Deleted}, {"script", n.Any}, {"script_master_rx_lower_pri", n.MasterRxLowerPri},
	} {
		if d.runs(s.script) {
			f.text(s.name, d.command(s.script))
		}
	}
}

func (d *dumper) jsonVirtual(f *fields, i *config.Instance, s *ipc.InstanceStatus) {
	var vips, evips, routes, rules []string
	for n := range i.VIPs {
		vips = append(vips, d.address(&i.VIPs[n], i, s.State == "MASTER"))
	}
	for n := range i.VIPsExcluded {
		evips = append(evips, d.address(&i.VIPsExcluded[n], i, s.State == "MASTER"))
	}
	for n := range i.VirtualRoutes {
		routes = append(routes, d.route(&i.VirtualRoutes[n]))
	}
	for n := range i.VirtualRules {
		rules = append(rules, d.rule(&i.VirtualRules[n]))
	}
	f.list("vips", vips)
	f.list("evips", evips)
	f.list("vroutes", routes)
	f.list("vrules", rules)
}

func (d *dumper) jsonTracked(f *fields, i *config.Instance) {
	var interfaces, scripts []string
	t := d.tracking[i.Name]
	for _, x := range t.TrackInterfaces {
		interfaces = append(interfaces, x.Name)
	}
	for _, x := range t.TrackScripts {
		for _, s := range d.c.Scripts {
			if s.Name == x.Name {
				scripts = append(scripts, d.command(&s.Spec))
			}
		}
	}
	f.list("track_ifp", interfaces)
	f.list("track_script", scripts)
}

func jsonStats(n *ipc.Stats) string {
	f := &fields{}
	f.count("advert_rcvd", n.AdvertsReceived)
	f.count("advert_sent", n.AdvertsSent)
	f.count("become_master", n.BecameMaster)
	f.count("release_master", n.ReleasedMaster)
	f.count("packet_len_err", n.PacketLenErrors)
	f.count("advert_interval_err", n.IntervalErrors)
	f.count("ip_ttl_err", n.TTLErrors)
	f.count("invalid_type_rcvd", n.TypeErrors)
	f.count("addr_list_err", n.AddrListErrors)
	f.count("invalid_authtype", n.AuthTypeInvalid)
	f.count("authtype_mismatch", n.AuthTypeMismatch)
	f.count("auth_failure", n.AuthFailure)
	f.count("pri_zero_rcvd", n.PriZeroReceived)
	f.count("pri_zero_sent", n.PriZeroSent)
	return f.b.String()
}
