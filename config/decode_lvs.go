package config

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

func beginServer(d *decoder, s *stmt) {
	v := &VirtualServer{Block: Block{Pos: s.key.Pos}, Quorum: 1, Weight: 1}
	d.vs = v
	t, ok := d.need(s, 0)
	if !ok {
		d.skip = true
		return
	}
	v.name = strings.Join(s.words(), " ")
	switch t.Text {
	case "fwmark":
		n, ok := d.need(s, 1)
		if !ok {
			d.skip = true
			return
		}
		m, ok := d.number(s, n, 1, math.MaxUint32)
		if !ok {
			d.skip = true
			return
		}
		v.FwMark = uint32(m)
	case "group":
		n, ok := d.need(s, 1)
		if !ok {
			d.skip = true
			return
		}
		v.Group = n.Text
	default:
		e, ok := d.endpoint(s, 0)
		if !ok {
			d.skip = true
			return
		}
		v.Addr, v.Port, v.Family = e.Addr, e.Port, familyOf(e.Addr)
	}
	d.opened = &v.Block
	d.cfg.VirtualServers = append(d.cfg.VirtualServers, v)
}

// endpoint reads ADDRESS [PORT] at the i-th argument.
func (d *decoder) endpoint(s *stmt, i int) (Endpoint, bool) {
	t, ok := d.need(s, i)
	if !ok {
		return Endpoint{}, false
	}
	if host, _, masked := strings.Cut(t.Text, "/"); masked {
		d.advise(s, "a server is one address, the length is ignored", host)
		t.Text = host
	}
	a, ok := d.address(s, t, 0)
	if !ok {
		return Endpoint{}, false
	}
	e := Endpoint{Addr: a}
	if i+1 < len(s.args) {
		n, ok := d.number(s, s.args[i+1], 0, 65535)
		if !ok {
			return e, false
		}
		e.Port = int(n)
	}
	return e, true
}

func endServer(d *decoder) {
	v := d.vs
	d.vs = nil
	if v == nil || v.Pos.Line == 0 {
		return
	}
	fwmark := v.FwMark != 0
	switch {
	case fwmark && v.Protocol != "":
		d.problemAt(v.Pos, Warning, General, "protocol", "is ignored for a firewall mark", "remove it")
		v.Protocol = ""
	case !fwmark && v.Protocol == "" && v.Group == "":
		d.problemAt(v.Pos, Warning, General, "protocol", "is not given, UDP is used", "protocol TCP, UDP or SCTP")
		v.Protocol = "UDP"
	}
	if v.Forward.Method == "" {
		d.problemAt(v.Pos, Warning, General, "lvs_method", "is not given, NAT is used", "lvs_method NAT, DR or TUN")
		v.Forward.Method = "NAT"
	}
}

func ipFamily(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	if !ok {
		return
	}
	switch t.Text {
	case "inet":
		d.vs.Family = IPv4
	case "inet6":
		d.vs.Family = IPv6
	default:
		d.failAt(s, t, fmt.Sprintf("%q is unknown", printable(t.Text)), "inet or inet6")
	}
}

var schedulers = []string{"rr", "wrr", "lc", "wlc", "lblc", "sh", "mh", "dh", "fo", "ovf", "lblcr", "sed", "nq", "twos"}

func scheduler(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	if !ok {
		return
	}
	if !slices.Contains(schedulers, t.Text) {
		d.failAt(s, t, fmt.Sprintf("scheduler %q is unknown", printable(t.Text)), "one of "+strings.Join(schedulers, ", "))
		return
	}
	d.vs.Scheduler = t.Text
}

func hashed(d *decoder, s *stmt) {
	d.warn(s, "has no effect in keepalived either", "remove it")
}

func serverFlag(d *decoder, s *stmt) {
	if sched, _, dep := strings.Cut(s.key.Text, "-"); dep && (sched == "sh" || sched == "mh") && d.vs.Scheduler != sched {
		d.fail(s, "needs scheduler "+sched+" named before it", "put lvs_sched "+sched+" first")
		return
	}
	d.vs.Flags = append(d.vs.Flags, s.key.Text)
}

func forwardTo(f field[Forward]) setter {
	return func(d *decoder, s *stmt) {
		if fw, ok := d.forward(s); ok {
			*f(d) = fw
		}
	}
}

func optForwardTo(f field[*Forward]) setter {
	return func(d *decoder, s *stmt) {
		if fw, ok := d.forward(s); ok {
			*f(d) = &fw
		}
	}
}

// forward reads NAT, DR or TUN with its tunnel options.
func (d *decoder) forward(s *stmt) (Forward, bool) {
	t, ok := d.need(s, 0)
	if !ok {
		return Forward{}, false
	}
	fw := Forward{Method: t.Text}
	switch t.Text {
	case "NAT", "DR":
		if len(s.args) > 1 {
			d.failAt(s, s.args[1], fmt.Sprintf("%q is unknown", printable(s.args[1].Text)), "options are for TUN only")
		}
		return fw, true
	case "TUN":
	default:
		d.failAt(s, t, fmt.Sprintf("forwarding method %q is unknown", printable(t.Text)), "NAT, DR or TUN")
		return fw, false
	}
	fw.Tunnel = "ipip"
	for i := 1; i < len(s.args); i++ {
		switch a := s.args[i]; a.Text {
		case "type":
			i++
			v, ok := d.need(s, i)
			if !ok {
				return fw, false
			}
			if v.Text != "ipip" && v.Text != "gue" && v.Text != "gre" {
				d.failAt(s, v, fmt.Sprintf("tunnel type %q is unknown", printable(v.Text)), "ipip, gue or gre")
				return fw, false
			}
			fw.Tunnel = v.Text
		case "port":
			i++
			v, ok := d.need(s, i)
			if !ok {
				return fw, false
			}
			n, ok := d.number(s, v, 1, 65535)
			if !ok {
				return fw, false
			}
			fw.Port = int(n)
		case "nocsum", "csum", "remcsum":
			fw.Csum = a.Text
		default:
			d.failAt(s, a, fmt.Sprintf("%q is unknown", printable(a.Text)), "type, port, nocsum, csum or remcsum")
			return fw, false
		}
	}
	switch {
	case fw.Tunnel == "gue" && fw.Port == 0:
		d.fail(s, "a gue tunnel needs a port", "port N")
	case fw.Tunnel != "gue" && fw.Port != 0:
		d.fail(s, "port is for gue tunnels only", "")
	case fw.Tunnel == "ipip" && fw.Csum != "", fw.Tunnel == "gre" && fw.Csum == "remcsum":
		d.fail(s, fw.Csum+" is not possible with "+fw.Tunnel, "")
	default:
		return fw, true
	}
	return fw, false
}

func persistence(d *decoder, s *stmt) {
	d.vs.Persistence = 360 * time.Second
	if len(s.args) == 0 {
		return
	}
	if n, ok := d.number(s, s.args[0], 1, 2678400); ok {
		d.vs.Persistence = time.Duration(n) * time.Second
	}
}

func granularity(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	if !ok {
		return
	}
	if n, err := strconv.Atoi(t.Text); err == nil && n >= 1 && n <= 128 {
		d.vs.Granularity = t.Text
		return
	}
	if a, err := netip.ParseAddr(t.Text); err == nil && a.Is4() && a != netip.IPv4Unspecified() {
		d.vs.Granularity = t.Text
		return
	}
	d.failAt(s, t, fmt.Sprintf("%q is not a netmask", printable(t.Text)), "such as 255.255.255.0, or a length of 1 to 128")
}

func protocolArg(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	if !ok {
		return
	}
	switch u := strings.ToUpper(t.Text); u {
	case "TCP", "UDP", "SCTP":
		d.vs.Protocol = u
	default:
		d.failAt(s, t, fmt.Sprintf("%q is unknown", printable(t.Text)), "TCP, UDP or SCTP")
	}
}

func sorryServer(d *decoder, s *stmt) {
	if e, ok := d.endpoint(s, 0); ok {
		d.vs.SorryServer = &e
	}
}

// afterSorry is for what belongs to a sorry_server given before it.
func afterSorry(then setter) setter {
	return func(d *decoder, s *stmt) {
		if d.vs.SorryServer == nil {
			d.fail(s, "stands before or without sorry_server, it is ignored", "put sorry_server first")
			return
		}
		then(d, s)
	}
}

func beginRealServer(d *decoder, s *stmt) {
	d.rs = &RealServer{Block: Block{Pos: s.key.Pos}, Weight: -1, SMTPAlert: true}
	e, ok := d.endpoint(s, 0)
	if !ok {
		d.skip = true
		return
	}
	d.rs.Endpoint = e
	d.opened = &d.rs.Block
}

func endRealServer(d *decoder) {
	r := d.rs
	d.rs = nil
	if r == nil || !r.Addr.IsValid() {
		return
	}
	if r.Weight < 0 {
		r.Weight = d.vs.Weight
	}
	if d.vs.Port != 0 && r.Port == 0 {
		r.Port = d.vs.Port
	}
	d.vs.RealServers = append(d.vs.RealServers, r)
}

func beginServerGroup(d *decoder, s *stmt) {
	d.vsg = &VirtualServerGroup{Block: Block{Pos: s.key.Pos}}
	t, ok := d.need(s, 0)
	if !ok {
		d.skip = true
		return
	}
	if first, ok := d.define("virtual_server_group", t); !ok {
		d.fail(s, fmt.Sprintf("%s is already defined", t.Text), "first defined at "+first.String())
	}
	d.vsg.Name = t.Text
	d.cfg.VirtualServerGroups = append(d.cfg.VirtualServerGroups, d.vsg)
}

func endServerGroup(d *decoder) {
	if d.vsg != nil && d.vsg.Name != "" && len(d.vsg.Entries) == 0 {
		d.problemAt(d.vsg.Pos, Error, OursOnly, "virtual_server_group", "is empty", "ADDRESS PORT or fwmark N")
	}
	d.vsg = nil
}

// groupEntryLine reads ADDRESS[/LEN] [PORT], FIRST-LAST [PORT] or fwmark N.
func groupEntryLine(d *decoder, l *stmt) {
	e := GroupEntry{Pos: l.key.Pos}
	if l.key.Text == "fwmark" {
		t, ok := d.need(l, 0)
		if !ok {
			return
		}
		n, ok := d.number(l, t, 1, math.MaxUint32)
		if !ok {
			return
		}
		e.FwMark, e.Family = uint32(n), IPv4
		if l.arg(1).Text == "inet6" {
			e.Family = IPv6
		}
		d.vsg.Entries = append(d.vsg.Entries, e)
		return
	}
	first, last, isRange := strings.Cut(l.key.Text, "-")
	var err error
	if e.Prefix, err = parsePrefix(first); err != nil {
		d.fail(l, fmt.Sprintf("%q is not an address or a range", printable(l.key.Text)), "ADDRESS[/LEN], FIRST-LAST or fwmark N")
		return
	}
	e.First, e.Last, e.Family = e.Prefix.Addr(), e.Prefix.Addr(), familyOf(e.Prefix.Addr())
	if e.Prefix != e.Prefix.Masked() {
		d.fail(l, fmt.Sprintf("%s has host bits", e.Prefix), "write "+e.Prefix.Masked().String())
		return
	}
	if isRange {
		if e.Last, err = rangeEnd(e.First, last); err != nil {
			d.fail(l, err.Error(), "FIRST-LAST, which differ in the last octet only")
			return
		}
	}
	if len(l.args) > 0 {
		n, ok := d.number(l, l.args[0], 0, 65535)
		if !ok {
			return
		}
		e.Port = int(n)
	}
	d.vsg.Entries = append(d.vsg.Entries, e)
}

// rangeEnd gives the last address of a range whose end is an address or the
// value of the last octet (IPv4, decimal) or group (IPv6, hexadecimal).
func rangeEnd(first netip.Addr, end string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(end); err == nil {
		n := 24
		if a.Is6() {
			n = 112
		}
		p, err := first.Prefix(n)
		if err != nil || !p.Contains(a) || a.Less(first) {
			return a, fmt.Errorf("%s to %s is not a range of the last part", first, a)
		}
		return a, nil
	}
	if first.Is4() {
		n, err := strconv.ParseUint(end, 10, 8)
		b := first.As4()
		if err != nil || byte(n) < b[3] {
			return first, fmt.Errorf("%q is not the end of a range", printable(end))
		}
		b[3] = byte(n)
		return netip.AddrFrom4(b), nil
	}
	n, err := strconv.ParseUint(end, 16, 16)
	b := first.As16()
	if err != nil || uint16(n) < uint16(b[14])<<8|uint16(b[15]) {
		return first, fmt.Errorf("%q is not the end of a range", printable(end))
	}
	b[14], b[15] = byte(n>>8), byte(n)
	return netip.AddrFrom16(b), nil
}
