package config

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// decoder holds the configuration being built and the objects that are open.
type decoder struct {
	cfg   *Config
	opt   *Options
	table *keywordTable
	stack []frame
	out   func(Problem)

	opened   *Block // set by a block's opening: where its keywords are recorded
	skip     bool   // set by a block's opening: pass over it
	stopped  bool   // keepalived would have exited
	unclosed bool   // a missing brace was reported
	lost     Pos    // where the first missing brace was noticed; keepalived reads nothing right after it
	closed   Pos    // of the last closing brace, for what is found at a block's end

	// The objects that are open.
	inst      *Instance
	group     *SyncGroup
	scr       *Script
	tf        *TrackFile
	proc      *TrackProcess
	bfd       *BFD
	garp      *GARPGroup
	tg        *TrackGroup
	vsg       *VirtualServerGroup
	vs        *VirtualServer
	rs        *RealServer
	chk       *Checker
	hostOuter *Connection // the checker's own connection while a host block is open
	url       *URL
	mesh      *Mesh
	lineCount int // lines of the plain block that is open

	// What the checks at the end need.
	names         map[string]Pos  // "kind name" to the first definition
	rules         map[Family]int  // rules that were given a preference
	ifaces        map[string]bool // nil: not checked
	ifaceRefs     []ifaceRef
	scripts       []scriptUse
	noUser        map[*ScriptSpec]bool // will not be run
	badScriptUser bool
	vrrp          bool // there is an instance, so scripts are looked at
	byName        map[string]*Instance
	ipNames       map[string][]string // the names in the files of iproute2
}

func (d *decoder) top() *frame {
	if len(d.stack) == 0 {
		return nil
	}
	return &d.stack[len(d.stack)-1]
}

// path names the open blocks. depth leaves out the innermost n.
func (d *decoder) path(leave int) string {
	var parts []string
	for n := range max(0, len(d.stack)-leave) {
		parts = append(parts, d.stack[n].title())
	}
	return strings.Join(parts, " > ")
}

func (d *decoder) problemAt(pos Pos, sev Severity, code Code, keyword, message, hint string) {
	leave := 0
	if f := d.top(); f != nil && f.pos == pos {
		leave = 1 // the statement that opens the block is itself in question
	} else if f != nil && f.kw.lines != nil && f.kw.Name == keyword {
		leave = 1 // a line of a list is filed under the list
	}
	d.out(Problem{Pos: pos, Severity: sev, Code: code, Path: d.path(leave), Keyword: keyword, Message: message, Hint: hint})
}

// name gives the keyword a problem with s is filed under.
func (s *stmt) name() string {
	if s.kw != nil {
		return s.kw.Name
	}
	return s.key.Text
}

// fail reports an error at the statement.
func (d *decoder) fail(s *stmt, message, hint string) {
	d.problemAt(s.key.Pos, Error, d.code(s), s.name(), message, hint)
}

// failAt reports an error at one word of the statement.
func (d *decoder) failAt(s *stmt, t Token, message, hint string) {
	d.problemAt(t.Pos, Error, d.code(s), s.name(), message, hint)
}

// warn reports something that keepalived reports too, but accepts.
func (d *decoder) warn(s *stmt, message, hint string) {
	d.problemAt(s.key.Pos, Warning, d.code(s), s.name(), message, hint)
}

// advise reports something that keepalived does not.
func (d *decoder) advise(s *stmt, message, hint string) {
	d.problemAt(s.key.Pos, Warning, OursOnly, s.name(), message, hint)
}

func (d *decoder) code(s *stmt) Code {
	if s.ours || s.kw != nil && s.kw.Ours {
		return OursOnly
	}
	return General
}

// noteSupport says once per statement what the table knows against it.
func (d *decoder) noteSupport(s *stmt) {
	switch k := s.kw; {
	case k.Support == Refused:
		d.problemAt(s.key.Pos, Error, OursOnly, k.Name, "is not supported", "remove it")
	case k.Support == Accepted && d.quiet():
	case k.Support == Accepted:
		d.problemAt(s.key.Pos, Note, OursOnly, k.Name, "accepted, no effect yet", sinceHint(k))
	case k.Since != "":
		d.problemAt(s.key.Pos, Note, OursOnly, k.Name, sinceHint(k), "")
	}
}

// quiet says that an enclosing block was already reported as without effect.
func (d *decoder) quiet() bool {
	for _, f := range d.stack {
		if f.kw.Support == Accepted {
			return true
		}
	}
	return false
}

func sinceHint(k *Keyword) string {
	if k.Since == "" {
		return ""
	}
	return "needs keepalived " + k.Since + " on peers that run it"
}

// need gives the i-th argument; when it is missing keepalived exits with 2.
func (d *decoder) need(s *stmt, i int) (Token, bool) {
	if i < len(s.args) {
		return s.args[i], true
	}
	code := MissingArgument
	switch {
	case s.ours || s.cut || s.kw.Ours || s.kw.bare == "quiet":
		code = OursOnly
	case s.kw.bare == "report" || d.lost.Line > 0:
		code = General
	}
	hint := ""
	if s.kw.Args != "" && s.kw.lines == nil {
		hint = "usage: " + s.kw.Name + " " + s.kw.Args
	}
	d.problemAt(s.key.Pos, Error, code, s.name(), "has no value", hint)
	return Token{}, false
}

// field gives the place of a value in the object that is open.
type field[T any] func(*decoder) *T

type setter = func(*decoder, *stmt)

func setTrue(f field[bool]) setter {
	return func(d *decoder, s *stmt) { *f(d) = true }
}

func setFalse(f field[bool]) setter {
	return func(d *decoder, s *stmt) { *f(d) = false }
}

// parseBool reads keepalived's words for truth.
func parseBool(s string) (value, ok bool) {
	switch s {
	case "true", "on", "yes":
		return true, true
	case "false", "off", "no":
		return false, true
	}
	return false, false
}

// boolArg reads an optional truth value; bare means true.
func boolArg(d *decoder, s *stmt) (value, ok bool) {
	if len(s.args) == 0 {
		return true, true
	}
	v, ok := parseBool(s.args[0].Text)
	if !ok {
		d.failAt(s, s.args[0], fmt.Sprintf("%q is not a truth value", s.args[0].Text), "on, off, true, false, yes, no, or nothing for on")
	}
	return v, ok
}

func boolean(f field[bool]) setter {
	return func(d *decoder, s *stmt) {
		if v, ok := boolArg(d, s); ok {
			*f(d) = v
		}
	}
}

// looseBoolean is for the keywords whose value keepalived does not check.
func looseBoolean(f field[bool]) setter {
	return func(d *decoder, s *stmt) {
		*f(d) = true
		if len(s.args) == 0 {
			return
		}
		v, ok := parseBool(s.args[0].Text)
		if !ok {
			d.advise(s, fmt.Sprintf("%q is not a truth value, taken as on", printable(s.args[0].Text)), "on, off, true, false, yes, no, or nothing for on")
			return
		}
		if *f(d) = v; !v {
			d.advise(s, "keepalived 2.2.7 takes any value as on", "remove the line, which is off in every version")
		}
	}
}

func optBool(f field[*bool]) setter {
	return func(d *decoder, s *stmt) {
		if v, ok := boolArg(d, s); ok {
			*f(d) = &v
		}
	}
}

func str(f field[string]) setter {
	return func(d *decoder, s *stmt) {
		if t, ok := d.need(s, 0); ok {
			*f(d) = t.Text
		}
	}
}

// alone lets a statement be read only when it has no more than one word.
func alone(then setter) setter {
	return func(d *decoder, s *stmt) {
		if len(s.args) > 1 {
			d.failAt(s, s.args[1], fmt.Sprintf("%q is too much, the line is ignored", printable(s.args[1].Text)), "one word; quote what has blanks")
			return
		}
		then(d, s)
	}
}

func oneWord(f field[string]) setter { return alone(str(f)) }

// optStr reads an optional word; absent gives the value of bare.
func optStr(bare string, f field[string]) setter {
	return func(d *decoder, s *stmt) {
		if len(s.args) == 0 {
			*f(d) = bare
			return
		}
		*f(d) = s.args[0].Text
	}
}

type integer interface {
	~int | ~uint | ~uint32 | ~int64
}

// number reads a decimal integer in a range, both ends included.
func (d *decoder) number(s *stmt, t Token, lo, hi int64) (int64, bool) {
	n, err := strconv.ParseInt(strings.TrimPrefix(t.Text, "+"), 10, 64)
	switch {
	case err != nil:
		d.failAt(s, t, fmt.Sprintf("%q is not a whole number", printable(t.Text)), rangeHint(lo, hi))
	case n < lo || n > hi:
		d.failAt(s, t, fmt.Sprintf("%d is out of range", n), rangeHint(lo, hi))
	default:
		return n, true
	}
	return 0, false
}

func rangeHint(lo, hi int64) string {
	if hi >= math.MaxInt32 {
		return fmt.Sprintf("must be at least %d", lo)
	}
	return fmt.Sprintf("must be %d to %d", lo, hi)
}

func num[T integer](lo, hi int64, f field[T]) setter {
	return func(d *decoder, s *stmt) {
		if t, ok := d.need(s, 0); ok {
			if n, ok := d.number(s, t, lo, hi); ok {
				*f(d) = T(n)
			}
		}
	}
}

func optNum[T integer](lo, hi int64, f field[*T]) setter {
	return func(d *decoder, s *stmt) {
		if t, ok := d.need(s, 0); ok {
			if n, ok := d.number(s, t, lo, hi); ok {
				v := T(n)
				*f(d) = &v
			}
		}
	}
}

// atLeastOne reads a count of which 0 becomes 1 with a warning.
func atLeastOne(f field[int]) setter {
	return func(d *decoder, s *stmt) {
		t, ok := d.need(s, 0)
		if !ok {
			return
		}
		n, ok := d.number(s, t, 0, math.MaxInt32)
		if !ok {
			return
		}
		if n == 0 {
			d.warn(s, "0 becomes 1", "must be at least 1")
			n = 1
		}
		*f(d) = int(n)
	}
}

// seconds reads a decimal number of units; lo and hi are in the unit.
func (d *decoder) seconds(s *stmt, t Token, unit time.Duration, lo, hi float64) (time.Duration, bool) {
	v, err := strconv.ParseFloat(t.Text, 64)
	switch {
	case err != nil || strings.ContainsAny(t.Text, "eExXnNpP_"):
		d.failAt(s, t, fmt.Sprintf("%q is not a number", printable(t.Text)), decimalHint(lo, hi))
	case v < lo || v > hi:
		d.failAt(s, t, t.Text+" is out of range", decimalHint(lo, hi))
	default:
		return time.Duration(math.Round(min(v*float64(unit), math.MaxInt64/2))), true
	}
	return 0, false
}

func decimalHint(lo, hi float64) string {
	if hi > 1e6 {
		return "must be at least " + plain(lo)
	}
	return fmt.Sprintf("must be %s to %s", plain(lo), plain(hi))
}

func plain(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// maxSeconds is the longest time keepalived's timers hold: 2^32 microseconds.
const maxSeconds = 4294

// maxTimer bounds the checkers' times, which keepalived holds in 64 bits; it
// keeps a Duration from overflowing.
const maxTimer = 1e11

func secs(lo, hi float64, f field[time.Duration]) setter {
	return func(d *decoder, s *stmt) {
		if t, ok := d.need(s, 0); ok {
			if v, ok := d.seconds(s, t, time.Second, lo, hi); ok {
				*f(d) = v
			}
		}
	}
}

// wholeSecs reads a time that keepalived takes in whole seconds only.
func wholeSecs(lo, hi int64, f field[time.Duration]) setter {
	return func(d *decoder, s *stmt) {
		if t, ok := d.need(s, 0); ok {
			if n, ok := d.number(s, t, lo, hi); ok {
				*f(d) = time.Duration(n) * time.Second
			}
		}
	}
}

func optSecs(lo, hi float64, f field[*time.Duration]) setter {
	return func(d *decoder, s *stmt) {
		if t, ok := d.need(s, 0); ok {
			if v, ok := d.seconds(s, t, time.Second, lo, hi); ok {
				*f(d) = &v
			}
		}
	}
}

func millis(lo, hi float64, f field[time.Duration]) setter {
	return func(d *decoder, s *stmt) {
		if t, ok := d.need(s, 0); ok {
			if v, ok := d.seconds(s, t, time.Millisecond, lo, hi); ok {
				*f(d) = v
			}
		}
	}
}

// address reads an IP address; fam 0 takes both families.
func (d *decoder) address(s *stmt, t Token, fam Family) (netip.Addr, bool) {
	a, err := netip.ParseAddr(t.Text)
	switch {
	case err != nil:
		d.failAt(s, t, fmt.Sprintf("%q is not an IP address", printable(t.Text)), "such as 192.0.2.1 or 2001:db8::1")
	case fam == IPv4 && !a.Is4(), fam == IPv6 && a.Is4():
		d.failAt(s, t, fmt.Sprintf("%s is not an IPv%d address", a, fam), "")
	default:
		return a, true
	}
	return netip.Addr{}, false
}

func addr(fam Family, f field[netip.Addr]) setter {
	return func(d *decoder, s *stmt) {
		if t, ok := d.need(s, 0); ok {
			if a, ok := d.address(s, t, fam); ok {
				*f(d) = a
			}
		}
	}
}

// choice reads one of a few words into a string.
func choice(f field[string], words ...string) setter {
	return func(d *decoder, s *stmt) {
		t, ok := d.need(s, 0)
		if !ok {
			return
		}
		for _, w := range words {
			if t.Text == w {
				*f(d) = w
				return
			}
		}
		d.failAt(s, t, fmt.Sprintf("%q is unknown", printable(t.Text)), "one of "+strings.Join(words, ", "))
	}
}

// weight reads "N [reverse|noreverse]".
func weight(limit int64, w field[int], reverse field[bool]) setter {
	return func(d *decoder, s *stmt) {
		t, ok := d.need(s, 0)
		if !ok {
			return
		}
		n, ok := d.number(s, t, -limit, limit)
		if !ok {
			return
		}
		*w(d) = int(n)
		if len(s.args) > 1 {
			switch s.args[1].Text {
			case "reverse":
				*reverse(d) = true
			case "noreverse":
			default:
				d.failAt(s, s.args[1], fmt.Sprintf("%q is unknown", printable(s.args[1].Text)), "reverse or nothing")
			}
		}
	}
}

// scriptArg reads SCRIPT [USER [GROUP]]. What is quoted is one command, with
// escapes interpreted; a bare path is the command alone.
func (d *decoder) scriptArg(s *stmt) (*ScriptSpec, bool) {
	t, ok := d.need(s, 0)
	if !ok {
		return nil, false
	}
	sp := &ScriptSpec{Line: t.Text, Pos: t.Pos}
	if t.Quoted {
		sp.Line = unescape(t.Text)
	}
	sp.Args = splitCommand(sp.Line)
	if len(sp.Args) == 0 {
		d.failAt(s, t, "is empty", "a command was expected")
		return nil, false
	}
	sp.User = s.arg(1).Text
	sp.Group = s.arg(2).Text
	return sp, true
}

func script(f field[*ScriptSpec]) setter {
	return func(d *decoder, s *stmt) {
		sp, ok := d.scriptArg(s)
		if !ok {
			return
		}
		if first := *f(d); first != nil {
			d.fail(s, "is given twice, this one is ignored", "first at "+first.Pos.String())
			return
		}
		*f(d) = sp
		d.scripts = append(d.scripts, scriptUse{spec: sp, keyword: s.kw.Name, path: d.path(0)})
	}
}

// define records a name of a kind; false when it was defined before.
func (d *decoder) define(kind string, t Token) (first Pos, ok bool) {
	key := kind + " " + t.Text
	if p, dup := d.names[key]; dup {
		return p, false
	}
	d.names[key] = t.Pos
	return t.Pos, true
}
