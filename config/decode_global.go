package config

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

func beginGlobal(d *decoder, s *stmt) {
	if d.cfg.Global.Pos.Line == 0 {
		d.cfg.Global.Pos = s.key.Pos
	}
	d.opened = &d.cfg.Global.Block
}

// keepBlock leaves the enclosing object's record open for an inner block.
func keepBlock(d *decoder, _ *stmt) {
	if len(d.stack) > 1 {
		d.opened = d.stack[len(d.stack)-2].block
	}
}

func beginEmails(d *decoder, _ *stmt) { d.lineCount = 0 }

func emailLine(d *decoder, l *stmt) {
	d.lineCount++
	d.cfg.Global.NotificationEmail = append(d.cfg.Global.NotificationEmail, append([]string{l.key.Text}, l.words()...)...)
}

func endEmails(d *decoder) {
	if d.lineCount == 0 {
		d.problemAt(d.closed, Warning, General, "notification_email", "the block is empty", "no mail will be sent")
	}
}

func smtpServer(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	if !ok {
		return
	}
	srv := &SMTPServer{Host: t.Text, Port: 25}
	if len(s.args) > 1 {
		if n, ok := d.number(s, s.args[1], 1, 65535); ok {
			srv.Port = int(n)
		}
	}
	d.cfg.Global.SMTPServer = srv
	if _, err := netip.ParseAddr(t.Text); err != nil && d.opt.Resolve != nil && !d.opt.Resolve(t.Text) {
		d.warn(s, fmt.Sprintf("host %q does not resolve", printable(t.Text)), "no mail will be sent; keepalived resolves it once, when it starts")
	}
}

func smtpTimeout(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	if !ok {
		return
	}
	n, ok := d.number(s, t, 0, maxSeconds)
	if !ok {
		return
	}
	if n == 0 {
		d.warn(s, "0 becomes 1", "must be greater than 0")
		n = 1
	}
	d.cfg.Global.SMTPConnectTimeout = time.Duration(n) * time.Second
}

func maxAutoPriority(d *decoder, s *stmt) {
	d.cfg.Global.MaxAutoPriority = 99
	if len(s.args) > 0 {
		if n, ok := d.number(s, s.args[0], -1, 99); ok {
			d.cfg.Global.MaxAutoPriority = int(n)
		}
	}
}

func dynamicInterfaces(d *decoder, s *stmt) {
	d.cfg.Global.DynamicInterfaces = DynamicOn
	if len(s.args) == 0 {
		return
	}
	if s.args[0].Text != "allow_if_changes" {
		d.failAt(s, s.args[0], fmt.Sprintf("%q is unknown", printable(s.args[0].Text)), "allow_if_changes or nothing")
		return
	}
	d.cfg.Global.DynamicInterfaces = DynamicAllowChanges
}

func lvsTimeouts(d *decoder, s *stmt) {
	if len(s.args) < 2 {
		d.fail(s, "needs at least one timeout", "[tcp N] [tcpfin N] [udp N]")
		return
	}
	to := &d.cfg.Global.LVSTimeouts
	for i := 0; i < len(s.args); i += 2 {
		var p *uint
		switch s.args[i].Text {
		case "tcp":
			p = &to.TCP
		case "tcpfin":
			p = &to.TCPFin
		case "udp":
			p = &to.UDP
		default:
			d.failAt(s, s.args[i], fmt.Sprintf("%q is unknown", printable(s.args[i].Text)), "tcp, tcpfin or udp")
			return
		}
		t, ok := d.need(s, i+1)
		if !ok {
			return
		}
		if n, ok := d.number(s, t, 0, 2678400); ok {
			*p = uint(n)
		}
	}
}

func flushOnStop(d *decoder, s *stmt) {
	d.cfg.Global.LVSFlushOnStop = FlushAll
	if len(s.args) == 0 {
		return
	}
	if s.args[0].Text != "VS" {
		d.failAt(s, s.args[0], fmt.Sprintf("%q is unknown", printable(s.args[0].Text)), "VS or nothing")
		return
	}
	d.cfg.Global.LVSFlushOnStop = FlushVS
}

func lvsSync(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	if !ok {
		return
	}
	y := &LVSSync{Interface: t.Text, ID: -1, Pos: s.key.Pos}
	d.cfg.Global.LVSSync = y
	for i := 1; i < len(s.args); i++ {
		word := s.args[i].Text
		var p *int
		var lo, hi int64
		switch word {
		case "inst":
			if t, ok := d.need(s, i+1); ok {
				y.Instance = t.Text
			}
			i++
			continue
		case "id":
			p, lo, hi = &y.ID, 0, 255
		case "maxlen":
			p, lo, hi = &y.MaxLen, 1, 65507
		case "port":
			p, lo, hi = &y.Port, 1, 65535
		case "ttl":
			p, lo, hi = &y.TTL, 1, 255
		case "group":
			if t, ok := d.need(s, i+1); ok {
				if a, ok := d.address(s, t, 0); ok {
					y.Group = a
				}
			}
			i++
			continue
		default:
			if i == 1 {
				y.Instance = word
				continue
			}
			d.failAt(s, s.args[i], fmt.Sprintf("%q is unknown", printable(word)), "id, maxlen, port, ttl or group")
			continue
		}
		i++
		if t, ok := d.need(s, i); ok {
			if n, ok := d.number(s, t, lo, hi); ok {
				*p = int(n)
			}
		}
	}
}

// mcastGroup reads a multicast address of a family (0: any).
func mcastGroup(fam Family, f field[netip.Addr]) setter {
	return func(d *decoder, s *stmt) {
		t, ok := d.need(s, 0)
		if !ok {
			return
		}
		a, ok := d.address(s, t, fam)
		switch {
		case !ok:
		case !a.IsMulticast():
			d.failAt(s, t, a.String()+" is not a multicast address", "such as 224.0.0.18 or ff02::12")
		default:
			*f(d) = a
		}
	}
}

func garpGap(f field[time.Duration]) setter {
	return func(d *decoder, s *stmt) {
		t, ok := d.need(s, 0)
		if !ok {
			return
		}
		v, ok := d.seconds(s, t, time.Second, 0.000001, maxSeconds)
		if !ok {
			return
		}
		if v >= time.Second {
			d.advise(s, fmt.Sprintf("a gap of %v is very large", v), "each address adds one gap to a failover")
		}
		*f(d) = v
	}
}

func minGARP(d *decoder, s *stmt) {
	v, ok := boolArg(d, s)
	if !ok || !v {
		return
	}
	g := &d.cfg.Global
	g.MinGARP = true
	for k, set := range map[string]func(){
		"vrrp_garp_master_repeat":     func() { g.GARP.MasterRepeat = 1 },
		"vrrp_garp_lower_prio_repeat": func() { g.GARP.LowerPrioRepeat = 1 },
		"vrrp_garp_master_delay":      func() { g.GARP.MasterDelay = 0 },
		"vrrp_garp_lower_prio_delay":  func() { g.GARP.LowerPrioDelay = 0 },
	} {
		if !g.Has(k) {
			set()
		}
	}
}

func garpExtraIf(lo int64, f field[GARP]) setter {
	return func(d *decoder, s *stmt) {
		i := 0
		g := f(d)
		if s.arg(0).Text == "all" {
			g.ExtraIfAll = true
			i = 1
		}
		t, ok := d.need(s, i)
		if !ok {
			return
		}
		if n, ok := d.number(s, t, lo, 86400); ok {
			g.ExtraIf = time.Duration(n) * time.Second
		}
	}
}

func ipTables(d *decoder, s *stmt) {
	d.warn(s, "nftables is used instead of iptables", "write nftables")
	t := &d.cfg.Global.IPTables
	t.On, t.In, t.Out = true, "INPUT", "OUTPUT"
	if len(s.args) > 0 {
		t.In, t.Out = s.args[0].Text, s.arg(1).Text
	}
	for _, a := range s.args {
		if len(a.Text) > 28 {
			d.failAt(s, a, "chain name is too long", "at most 28 characters")
		}
	}
}

func ipSets(d *decoder, s *stmt) {
	d.warn(s, "has no effect, nftables sets are used", "write nftables")
	t := &d.cfg.Global.IPTables
	if len(s.args) == 0 {
		t.NoSets = true
		return
	}
	for _, a := range s.args {
		if len(a.Text) > 31 {
			d.failAt(s, a, "ipset name is too long", "at most 31 characters")
		}
	}
	t.IPSets = s.words()
}

func nfTables(name string, f field[NFTables]) setter {
	return func(d *decoder, s *stmt) {
		f(d).Table = name
		if len(s.args) > 0 {
			f(d).Table = s.args[0].Text
		}
	}
}

func nice(f field[int]) setter { return num(-20, 19, f) }

func rtPriority(f field[int]) setter {
	return func(d *decoder, s *stmt) {
		t, ok := d.need(s, 0)
		if !ok {
			return
		}
		n, err := strconv.Atoi(t.Text)
		switch {
		case err != nil:
			d.failAt(s, t, fmt.Sprintf("%q is not a whole number", printable(t.Text)), rangeHint(1, 99))
			return
		case n < 1 || n > 99:
			d.warn(s, fmt.Sprintf("%d is out of range, the nearest value is used", n), rangeHint(1, 99))
		}
		*f(d) = max(1, min(n, 99))
	}
}

func cpuList(f field[[]int]) setter {
	return func(d *decoder, s *stmt) {
		if _, ok := d.need(s, 0); !ok {
			return
		}
		for _, t := range s.args {
			if n, ok := d.number(s, t, 0, 8191); ok {
				*f(d) = append(*f(d), int(n))
			}
		}
	}
}

func deprecated(use string, then setter) setter {
	return func(d *decoder, s *stmt) {
		d.warn(s, "is deprecated", "use "+use)
		then(d, s)
	}
}

// outdated is deprecated without keepalived saying so.
func outdated(use string, then setter) setter {
	return func(d *decoder, s *stmt) {
		d.advise(s, "is deprecated", "use "+use)
		then(d, s)
	}
}

func fifo(f field[FIFO]) setter {
	return func(d *decoder, s *stmt) {
		t, ok := d.need(s, 0)
		if !ok {
			return
		}
		q := f(d)
		if q.Path != "" {
			d.fail(s, "is given twice", "the first one, "+q.Path+", is used")
			return
		}
		q.Path, q.User, q.Group = t.Text, s.arg(1).Text, s.arg(2).Text
	}
}

func snmpRFC(d *decoder, _ *stmt) {
	d.cfg.Global.SNMPRFCv2 = true
	d.cfg.Global.SNMPRFCv3 = true
}

func scriptUser(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	if !ok {
		return
	}
	g := &d.cfg.Global
	group := s.arg(1).Text
	if !d.user(s, t, group) {
		d.badScriptUser = true
		return
	}
	g.ScriptUser, g.ScriptGroup = t.Text, group
}

func rcvBufs(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	if !ok {
		return
	}
	if n, ok := d.number(s, t, 0, math.MaxInt32); ok {
		d.setRcvBufs(s.key.Text, uint(n))
	}
}

func rcvBufsForce(d *decoder, s *stmt) {
	if v, ok := boolArg(d, s); ok {
		n := uint(0)
		if v {
			n = 1
		}
		d.setRcvBufs(s.key.Text, n)
	}
}

func (d *decoder) setRcvBufs(name string, n uint) {
	if d.cfg.Global.RcvBufs == nil {
		d.cfg.Global.RcvBufs = map[string]uint{}
	}
	d.cfg.Global.RcvBufs[name] = n
}

func rxBufsPolicy(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	if !ok {
		return
	}
	if u := strings.ToUpper(t.Text); u == "MTU" || u == "ADVERT" {
		d.cfg.Global.RxBufsPolicy = u
		return
	}
	if _, ok := d.number(s, t, 0, math.MaxInt32); ok {
		d.cfg.Global.RxBufsPolicy = t.Text
	}
}

func ifPrefix(f field[string]) setter {
	return func(d *decoder, s *stmt) {
		t, ok := d.need(s, 0)
		switch {
		case !ok:
		case len(t.Text) > 11:
			d.failAt(s, t, "is too long for an interface name", "at most 11 characters")
		default:
			*f(d) = t.Text
		}
	}
}

func umaskArg(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	if !ok {
		return
	}
	var mask uint32
	if n, err := strconv.ParseUint(t.Text, 0, 32); err == nil {
		mask = uint32(n)
	} else {
		bits := map[string]uint32{"IRWXU": 0o700, "IRUSR": 0o400, "IWUSR": 0o200, "IXUSR": 0o100, "IRWXG": 0o70, "IRGRP": 0o40,
			"IWGRP": 0o20, "IXGRP": 0o10, "IRWXO": 7, "IROTH": 4, "IWOTH": 2, "IXOTH": 1}
		for _, w := range strings.FieldsFunc(strings.Join(s.words(), ""), func(r rune) bool { return r == '|' }) {
			b, ok := bits[w]
			if !ok {
				d.failAt(s, t, fmt.Sprintf("%q is not a mode", printable(w)), "an octal number, or IRUSR|IRWXG and so on")
				return
			}
			mask |= b
		}
	}
	if mask > 0o777 {
		d.failAt(s, t, "has bits beyond 0777", "")
		return
	}
	d.cfg.Global.Umask = &mask
}

func reloadCheck(d *decoder, s *stmt) {
	d.cfg.Global.ReloadCheckConfig = true
	d.cfg.Global.ReloadCheckLog = s.arg(0).Text
	if len(s.args) == 0 {
		d.cfg.Global.ReloadCheckLog = ""
	}
}

func absPath(f field[string]) setter {
	return func(d *decoder, s *stmt) {
		t, ok := d.need(s, 0)
		switch {
		case !ok:
		case !strings.HasPrefix(t.Text, "/"):
			d.failAt(s, t, fmt.Sprintf("%q is not an absolute path", printable(t.Text)), "must begin with /")
		default:
			*f(d) = t.Text
		}
	}
}

func includeCheck(d *decoder, s *stmt) {
	d.cfg.Global.IncludeCheck = s.words()
	for _, t := range s.args {
		switch strings.TrimLeft(t.Text, "+-") {
		case "read", "match", "wildcard_match", "brace_match":
		default:
			d.failAt(s, t, fmt.Sprintf("%q is unknown", printable(t.Text)), "read, match, wildcard_match or brace_match, with + or -")
		}
	}
}

func linkBeatLine(d *decoder, l *stmt) {
	b := LinkBeat{Interface: l.key.Text, Pos: l.key.Pos}
	if len(l.args) > 0 {
		b.Method = strings.ToUpper(l.args[0].Text)
		switch b.Method {
		case "MII", "ETHTOOL", "IOCTL":
		default:
			d.failAt(l, l.args[0], fmt.Sprintf("%q is unknown", printable(l.args[0].Text)), "MII, ETHTOOL or IOCTL")
			b.Method = ""
		}
	}
	d.cfg.LinkBeat = append(d.cfg.LinkBeat, b)
}

func upDownLine(d *decoder, l *stmt) {
	u := UpDownDelay{Interface: l.key.Text, Pos: l.key.Pos}
	t, ok := d.need(l, 0)
	if !ok {
		return
	}
	if u.Down, ok = d.seconds(l, t, time.Second, 0, 255); !ok {
		return
	}
	if len(l.args) > 1 {
		if u.Up, ok = d.seconds(l, l.args[1], time.Second, 0, 255); !ok {
			return
		}
	}
	d.cfg.UpDownDelays = append(d.cfg.UpDownDelays, u)
}

func beginTrackGroup(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	if !ok {
		d.skip = true
		return
	}
	d.tg = &TrackGroup{Name: t.Text, Block: Block{Pos: s.key.Pos}}
	d.opened = &d.tg.Block
	d.cfg.TrackGroups = append(d.cfg.TrackGroups, d.tg)
}

func trackGroupMember(d *decoder, l *stmt) {
	d.tg.Members = append(d.tg.Members, refs(l)...)
}

// refs gives every word of a line as a reference.
func refs(l *stmt) []Ref {
	out := []Ref{{l.key.Text, l.key.Pos}}
	for _, t := range l.args {
		out = append(out, Ref{t.Text, t.Pos})
	}
	return out
}

func beginGARPGroup(d *decoder, s *stmt) {
	d.garp = &GARPGroup{Block: Block{Pos: s.key.Pos}}
	d.opened = &d.garp.Block
	d.cfg.GARPGroups = append(d.cfg.GARPGroups, d.garp)
}

func garpGroupInterface(d *decoder, l *stmt) {
	d.garp.Interfaces = append(d.garp.Interfaces, refs(l)...)
}

func endGARPGroup(d *decoder) {
	g := d.garp
	if g.Interface != "" && len(g.Interfaces) > 0 {
		d.problemAt(g.Pos, Error, General, "garp_group", "has both interface and interfaces", "use one of them")
	}
	if g.GARPInterval == 0 && g.GNAInterval == 0 {
		d.problemAt(g.Pos, Error, General, "garp_group", "sets no interval", "garp_interval or gna_interval")
	}
}

func beginSSL(d *decoder, s *stmt) {
	d.cfg.SSL = &SSL{Block: Block{Pos: s.key.Pos}}
	d.opened = &d.cfg.SSL.Block
}
