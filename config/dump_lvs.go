package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// lvs writes client certificates, groups and virtual servers.
func (d *dumper) lvs(c *Config) {
	if s := c.SSL; s != nil {
		d.open("SSL")
		d.text("password", s.Password)
		d.text("ca", s.CA)
		d.text("certificate", s.Certificate)
		d.text("key", s.Key)
		d.close()
	}
	for _, g := range c.VirtualServerGroups {
		d.open("virtual_server_group", quote(g.Name)).kind = entryList
		for i := range g.Entries {
			d.line(groupEntryText(&g.Entries[i]))
		}
		d.close()
	}
	for _, v := range c.VirtualServers {
		d.virtualServer(v)
	}
}

func groupEntryText(e *GroupEntry) string {
	if e.FwMark != 0 {
		if e.Family == IPv6 {
			return fmt.Sprintf("fwmark %d inet6", e.FwMark)
		}
		return fmt.Sprintf("fwmark %d", e.FwMark)
	}
	text := e.First.String()
	switch {
	case e.First != e.Last:
		text += "-" + e.Last.String()
	case e.Prefix.Bits() < e.First.BitLen():
		text = e.Prefix.String()
	}
	if e.Port > 0 {
		text += fmt.Sprintf(" %d", e.Port)
	}
	return text
}

func endpointText(e Endpoint) string {
	if e.Port == 0 {
		return e.Addr.String()
	}
	return fmt.Sprintf("%s %d", e.Addr, e.Port)
}

func forwardText(f *Forward) string {
	text := f.Method
	if f.Tunnel == "" {
		return text
	}
	text += " type " + f.Tunnel
	if f.Port > 0 {
		text += fmt.Sprintf(" port %d", f.Port)
	}
	if f.Csum != "" {
		text += " " + f.Csum
	}
	return text
}

// serverText names a service as its opening statement does.
func serverText(v *VirtualServer) string {
	switch {
	case v.FwMark != 0:
		return fmt.Sprintf("fwmark %d", v.FwMark)
	case v.Group != "":
		return "group " + quote(v.Group)
	}
	return endpointText(Endpoint{v.Addr, v.Port})
}

func (d *dumper) virtualServer(v *VirtualServer) {
	e := d.open("virtual_server", serverText(v))
	e.id += " " + v.Protocol
	if v.FwMark != 0 {
		switch v.Family {
		case IPv4:
			d.line("ip_family inet")
		case IPv6:
			d.line("ip_family inet6")
		case FamilyUnset:
		}
	}
	d.timing(&v.Timing, nil)
	d.flag("inhibit_on_failure", v.InhibitOnFailure)
	d.text("lvs_sched", v.Scheduler)
	d.flag("ops", v.OnePacket)
	for _, f := range v.Flags {
		d.line(f)
	}
	if v.Forward.Method != "" {
		d.set("lvs_method", forwardText(&v.Forward))
	}
	d.text("persistence_engine", v.Engine)
	d.seconds("persistence_timeout", v.Persistence)
	d.text("persistence_granularity", v.Granularity)
	d.text("protocol", v.Protocol)
	d.flag("ha_suspend", v.HASuspend)
	d.truth("smtp_alert", v.SMTPAlert)
	d.text("virtualhost", v.VirtualHost)
	d.text("snmp_name", v.SNMPName)
	d.flag("alpha", v.Alpha)
	d.flag("omega", v.Omega)
	d.spec("quorum_up", v.QuorumUp)
	d.spec("quorum_down", v.QuorumDown)
	d.set("quorum", v.Quorum)
	d.set("hysteresis", v.Hysteresis)
	d.set("weight", v.Weight)
	if s := v.SorryServer; s != nil {
		d.set("sorry_server", endpointText(*s))
		d.flag("sorry_server_inhibit", v.SorryInhibit)
		if v.SorryForward != nil {
			d.set("sorry_server_lvs_method", forwardText(v.SorryForward))
		}
	}
	for _, r := range v.RealServers {
		d.realServer(r)
	}
	d.close()
}

func (d *dumper) realServer(r *RealServer) {
	d.open("real_server", endpointText(r.Endpoint))
	d.set("weight", r.Weight)
	if r.Forward != nil {
		d.set("lvs_method", forwardText(r.Forward))
	}
	number(d, "uthreshold", r.UThreshold, 0)
	number(d, "lthreshold", r.LThreshold, 0)
	d.optTruth("inhibit_on_failure", r.InhibitOnFailure)
	d.spec("notify_up", r.NotifyUp)
	d.spec("notify_down", r.NotifyDown)
	d.optTruth("alpha", r.Alpha)
	d.timing(&r.Timing, nil)
	d.truth("smtp_alert", r.SMTPAlert)
	d.text("virtualhost", r.VirtualHost)
	d.text("snmp_name", r.SNMPName)
	for _, c := range r.Checkers {
		d.checker(c)
	}
	d.close()
}

// timing writes the values that are set; known tells which keywords the block
// has, nil for all.
func (d *dumper) timing(t *Timing, known map[string]*Keyword) {
	has := func(keyword string) bool { return known == nil || known[keyword] != nil }
	for _, v := range []struct {
		keyword string
		value   *time.Duration
	}{
		{"delay_loop", t.DelayLoop}, {"connect_timeout", t.ConnectTimeout},
		{"warmup", t.Warmup}, {"delay_before_retry", t.DelayBeforeRetry},
	} {
		if v.value != nil && has(v.keyword) {
			d.set(v.keyword, secsText(*v.value))
		}
	}
	if t.Retry != nil && has("retry") {
		d.set("retry", *t.Retry)
	}
}

func (d *dumper) checker(c *Checker) {
	d.open(string(c.Kind))
	known := theTable().section["virtual_server/real_server/"+string(c.Kind)]
	switch {
	case c.HTTP != nil:
		d.http(c)
	case c.Misc != nil:
		d.misc(c.Misc)
	case c.DNS != nil:
		d.set("type", c.DNS.Type)
		d.text("name", c.DNS.Name)
	case c.UDP != nil:
		d.udp(c.UDP)
	case c.Kind == CheckSMTP:
		d.set("helo_name", quote(c.Helo))
	case c.Kind == CheckFile:
		d.set("track_file", quote(c.Name))
		if c.Weight != nil {
			d.set("weight", weightText(*c.Weight, c.Reverse))
		}
	case c.Kind == CheckBFD:
		d.set("name", quote(c.Name))
	}
	settings := func() {
		d.timing(&c.Timing, known)
		d.optTruth("alpha", c.Alpha)
		d.optTruth("log_all_failures", c.LogAll)
	}
	for i := range c.Hosts {
		d.open("host")
		d.connection(&c.Hosts[i])
		settings()
		d.close()
	}
	// Beside host blocks any of these would be one more host to keepalived.
	if len(c.Hosts) == 0 || c.Connect != nil {
		if c.Connect != nil {
			d.connection(c.Connect)
		}
		settings()
	}
	d.close()
}

func (d *dumper) connection(c *Connection) {
	d.addr("connect_ip", c.IP)
	number(d, "connect_port", c.Port, 0)
	d.addr("bindto", c.Bind)
	number(d, "bind_port", c.BindPort, 0)
	d.text("bind_if", c.BindIf)
	number(d, "fwmark", c.FwMark, 0)
}

func (d *dumper) misc(m *MiscCheck) {
	d.set("misc_path", quoteScript(&ScriptSpec{Line: m.Script.Line}))
	if m.Script.User != "" {
		d.set("user", strings.TrimSpace(m.Script.User+" "+m.Script.Group))
	}
	d.seconds("misc_timeout", m.Timeout)
	d.flag("misc_dynamic", m.Dynamic)
}

func (d *dumper) udp(u *UDPCheck) {
	d.text("payload", u.Payload)
	if u.RequireReply {
		d.line(strings.TrimRight("require_reply "+u.Reply, " "))
	}
	d.set("min_reply_length", u.Min)
	d.set("max_reply_length", u.Max)
}

func (d *dumper) http(c *Checker) {
	h := c.HTTP
	d.text("virtualhost", h.VirtualHost)
	d.set("http_protocol", h.Protocol)
	if h.SNI && h.SNIName == "" {
		d.truth("enable_sni", true)
	}
	d.text("sni_name", h.SNIName)
	if h.FastRecovery {
		d.truth("fast_recovery", true)
	}
	if h.TLSCompliant {
		d.truth("tls_compliant", true)
	}
	for _, u := range h.URLs {
		d.url(u)
	}
}

func (d *dumper) url(u *URL) {
	d.open("url").id += " " + u.Path
	d.set("path", quote(u.Path))
	d.text("digest", u.Digest)
	if len(u.Status) > 0 {
		codes := make([]string, len(u.Status))
		for i, s := range u.Status {
			if codes[i] = strconv.Itoa(s.First); s.Last != s.First {
				codes[i] += "-" + strconv.Itoa(s.Last)
			}
		}
		d.set("status_code", strings.Join(codes, " "))
	}
	d.text("virtualhost", u.VirtualHost)
	if u.Regex != "" {
		d.set("regex", `"`+escapes.Replace(u.Regex)+`"`)
	}
	d.flag("regex_no_match", u.RegexNoMatch)
	if len(u.RegexOptions) > 0 {
		d.set("regex_options", rawLine(u.RegexOptions))
	}
	number(d, "regex_min_offset", u.MinOffset, 0)
	number(d, "regex_max_offset", u.MaxOffset, 0)
	if u.RegexStack != [2]uint{} {
		d.set("regex_stack", fmt.Sprintf("%d %d", u.RegexStack[0], u.RegexStack[1]))
	}
	if u.TLSCompliant {
		d.truth("tls_compliant", true)
	}
	d.close()
}
