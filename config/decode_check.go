package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

func beginChecker(d *decoder, s *stmt) {
	c := &Checker{Block: Block{Pos: s.key.Pos}, Kind: CheckerKind(s.key.Text)}
	switch c.Kind {
	case CheckHTTP, CheckSSL:
		c.HTTP = &HTTPCheck{Protocol: "1.0"}
	case CheckMisc:
		c.Misc = &MiscCheck{}
	case CheckDNS:
		c.DNS = &DNSCheck{Type: "SOA"}
	case CheckUDP:
		c.UDP = &UDPCheck{Max: 255}
	case CheckSMTP:
		c.Helo = "smtpchecker.keepalived.org"
	case CheckTCP, CheckPing, CheckFile, CheckBFD:
	}
	d.chk = c
	d.opened = &c.Block
}

// connect gives the checker's own connection, which is made when first needed.
func (c *Checker) connect() *Connection {
	if c.Connect == nil {
		c.Connect = new(Connection)
	}
	return c.Connect
}

func endChecker(d *decoder) {
	c := d.chk
	d.chk = nil
	missing := func(keyword, hint string) {
		d.problemAt(d.closed, Error, General, keyword, "is missing, the "+string(c.Kind)+" is removed", hint)
	}
	switch c.Kind {
	case CheckHTTP, CheckSSL:
		if len(c.HTTP.URLs) == 0 {
			missing("url", "url { path / }")
			return
		}
	case CheckMisc:
		if len(c.Misc.Script.Args) == 0 {
			missing("misc_path", `misc_path "COMMAND"`)
			return
		}
		if c.Misc.badUser {
			return // said at its user line
		}
	case CheckFile:
		if c.Name == "" {
			missing("track_file", "track_file NAME")
			return
		}
	case CheckBFD:
		if c.Name == "" {
			missing("name", "name BFD_INSTANCE")
			return
		}
	case CheckUDP:
		if c.UDP.Min > c.UDP.Max {
			d.problemAt(c.Pos, Error, General, "min_reply_length", fmt.Sprintf("%d is above max_reply_length %d", c.UDP.Min, c.UDP.Max), "")
		}
	case CheckTCP, CheckSMTP, CheckDNS, CheckPing:
	}
	if c.Misc != nil {
		d.scripts = append(d.scripts, scriptUse{spec: &c.Misc.Script, keyword: "misc_path", path: d.path(0)})
	}
	d.rs.Checkers = append(d.rs.Checkers, c)
}

func miscPath(d *decoder, s *stmt) {
	if sp, ok := d.scriptArg(s); ok {
		if len(s.args) > 1 {
			d.advise(s, "what follows the first word is ignored", fmt.Sprintf("quote the whole command: misc_path \"%s\"", strings.Join(s.words(), " ")))
		}
		sp.User, sp.Group = d.chk.Misc.Script.User, d.chk.Misc.Script.Group
		d.chk.Misc.Script = *sp
	}
}

func miscUser(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	if !ok {
		return
	}
	group := ""
	if len(s.args) > 1 {
		group = s.args[1].Text
	}
	if !d.user(s, t, group) {
		d.chk.Misc.badUser = true
		return
	}
	d.chk.Misc.Script.User, d.chk.Misc.Script.Group = t.Text, group
}

// beginHost reads the deprecated host block as one more connection: the
// checker's own is set aside and put back at its end.
func beginHost(d *decoder, s *stmt) {
	d.advise(s, "is deprecated", "put connect_ip and so on directly into SMTP_CHECK")
	d.hostOuter, d.chk.Connect = d.chk.Connect, nil
	d.opened = &d.chk.Block
}

func endHost(d *decoder) {
	d.chk.Hosts = append(d.chk.Hosts, *d.chk.connect())
	d.chk.Connect = d.hostOuter
}

// hexString reads hexadecimal digits; wild allows X for any digit.
func (d *decoder) hexString(s *stmt, t Token, wild bool) (string, bool) {
	for i := 0; i < len(t.Text); i++ {
		if c := t.Text[i]; hexDigit(c) < 0 && !(wild && (c == 'X' || c == 'x')) {
			d.failAt(s, t, "is not hexadecimal", "two digits for each byte")
			return "", false
		}
	}
	if len(t.Text)%2 != 0 {
		d.advise(s, "has an odd number of digits", "two digits for each byte")
		return "", false
	}
	return t.Text, true
}

func udpPayload(d *decoder, s *stmt) {
	if _, ok := d.need(s, 0); !ok {
		return
	}
	t := s.args[0]
	t.Text = strings.Join(s.words(), "")
	if h, ok := d.hexString(s, t, false); ok {
		d.chk.UDP.Payload = h
	}
}

func udpReply(d *decoder, s *stmt) {
	d.chk.UDP.RequireReply = true
	if len(s.args) == 0 {
		return
	}
	t := s.args[0]
	t.Text = strings.Join(s.words(), "")
	if h, ok := d.hexString(s, t, true); ok {
		d.chk.UDP.Reply = h
	}
}

var dnsTypes = []string{"A", "NS", "CNAME", "SOA", "MX", "TXT", "AAAA", "RRSIG", "DNSKEY"}

func dnsType(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	if !ok {
		return
	}
	if u := strings.ToUpper(t.Text); slices.Contains(dnsTypes, u) {
		d.chk.DNS.Type = u
		return
	}
	d.failAt(s, t, fmt.Sprintf("record type %q is unknown", printable(t.Text)), "one of "+strings.Join(dnsTypes, ", "))
}

func fileCheckWeight(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	if !ok {
		return
	}
	n, ok := d.number(s, t, -math.MaxInt32, math.MaxInt32)
	if !ok {
		return
	}
	w := int(n)
	d.chk.Weight = &w
	d.chk.Reverse = len(s.args) > 1 && s.args[1].Text == "reverse"
}

func httpProtocol(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	if !ok {
		return
	}
	switch t.Text {
	case "1.0", "1.1":
		d.chk.HTTP.Protocol = t.Text
	case "1.0c", "1.0C":
		d.chk.HTTP.Protocol = "1.0C"
	default:
		d.failAt(s, t, fmt.Sprintf("%q is unknown", printable(t.Text)), "1.0, 1.0C or 1.1")
	}
}

func sniName(d *decoder, s *stmt) {
	if t, ok := d.need(s, 0); ok {
		d.chk.HTTP.SNI, d.chk.HTTP.SNIName = true, t.Text
	}
}

func beginURL(d *decoder, s *stmt) {
	d.url = &URL{Block: Block{Pos: s.key.Pos}}
	d.opened = &d.url.Block
}

func endURL(d *decoder) {
	if d.url.Path == "" {
		d.problemAt(d.closed, Error, General, "path", "is missing, the url is removed", "path /")
		d.url = nil
		return
	}
	if len(d.url.Status) == 0 {
		d.url.Status = []StatusRange{{200, 299}}
	}
	d.chk.HTTP.URLs = append(d.chk.HTTP.URLs, d.url)
	d.url = nil
}

func digest(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	if !ok {
		return
	}
	bad := len(t.Text) != 32
	for i := 0; i < len(t.Text) && !bad; i++ {
		bad = hexDigit(t.Text[i]) < 0
	}
	if bad {
		d.failAt(s, t, fmt.Sprintf("%q is not an MD5 digest", printable(t.Text)), "32 hexadecimal digits, as genhash prints")
		return
	}
	if d.url.Digest != "" {
		d.fail(s, "is given twice, the last is used", "")
	}
	d.url.Digest = strings.ToLower(t.Text)
}

// statusCode reads codes and ranges of codes.
func statusCode(d *decoder, s *stmt) {
	if _, ok := d.need(s, 0); !ok {
		return
	}
	for _, t := range s.args {
		lo, hi, isRange := strings.Cut(t.Text, "-")
		if !isRange {
			hi = lo
		}
		a, err1 := strconv.Atoi(lo)
		b, err2 := strconv.Atoi(hi)
		if err1 != nil || err2 != nil || a < 100 || b > 599 || a > b {
			d.failAt(s, t, fmt.Sprintf("%q is not a status code", printable(t.Text)), "100 to 599, or a range such as 200-204")
			continue
		}
		d.url.Status = append(d.url.Status, StatusRange{a, b})
	}
}

func regexArg(d *decoder, s *stmt) {
	if t, ok := d.need(s, 0); ok {
		d.url.Regex = t.Text
		if t.Quoted {
			d.url.Regex = unescape(t.Text)
		}
	}
}

// regexNames are the options of PCRE2 that keepalived has words for.
var regexNames = strings.Fields("allow_empty_class alt_bsux auto_callout caseless dollar_endonly dotall dupnames extended firstline match_unset_backref multiline " +
	"never_ucp never_utf no_auto_capture no_auto_possess no_dotstar_anchor no_start_optimize ucp ungreedy utf never_backslash_c alt_circumflex alt_verbnames use_offset_limit")

// regexOptions reads names; keepalived passes over unknown ones in silence.
func regexOptions(d *decoder, s *stmt) {
	if _, ok := d.need(s, 0); !ok {
		return
	}
	for _, t := range s.args {
		if !slices.Contains(regexNames, t.Text) {
			have := map[string]bool{}
			for _, n := range regexNames {
				have[n] = true
			}
			d.problemAt(t.Pos, Warning, OursOnly, s.kw.Name, fmt.Sprintf("%q is unknown, ignored", printable(t.Text)), nearest(t.Text, have))
			continue
		}
		d.url.RegexOptions = append(d.url.RegexOptions, t.Text)
	}
}

// regexNumber reads a number whose mistakes keepalived passes over in silence.
func (d *decoder) regexNumber(s *stmt, t Token, lo uint64) (uint, bool) {
	n, err := strconv.ParseUint(t.Text, 10, 32)
	if err != nil || n < lo {
		d.problemAt(t.Pos, Error, OursOnly, s.kw.Name, fmt.Sprintf("%q is not a number of bytes, ignored", printable(t.Text)), rangeHint(int64(lo), math.MaxUint32))
		return 0, false
	}
	return uint(n), true
}

func regexOffset(f field[uint]) setter {
	return func(d *decoder, s *stmt) {
		if t, ok := d.need(s, 0); ok {
			if n, ok := d.regexNumber(s, t, 0); ok {
				*f(d) = n
			}
		}
	}
}

func dnsName(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	switch {
	case !ok:
	case t.Text != "." && (strings.HasPrefix(t.Text, ".") || strings.Contains(t.Text, "..")):
		d.failAt(s, t, fmt.Sprintf("%q has an empty label, it is ignored", printable(t.Text)), "labels joined by single dots")
	default:
		d.chk.DNS.Name = t.Text
	}
}

func regexStack(d *decoder, s *stmt) {
	for i := range 2 {
		t, ok := d.need(s, i)
		if !ok {
			return
		}
		n, ok := d.regexNumber(s, t, 1)
		if !ok {
			return
		}
		d.url.RegexStack[i] = n
	}
}
