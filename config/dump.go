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

// WriteEffective writes the whole model as a keepalived.conf with every default
// spelt out that 2.2.7 has a word for. Loading it gives the same model; what
// was refused, and what nothing uses, is left out.
func (c *Config) WriteEffective(w io.Writer) error {
	b := bufio.NewWriter(w)
	writeEntries(b, c.entries(), 0)
	return b.Flush()
}

// entry is one statement of a written configuration, or a block of them.
type entry struct {
	key  string // the keyword; empty for a line of a list
	text string // the whole statement
	id   string // what tells blocks of one keyword apart
	kind entryKind
	body []*entry
}

type entryKind uint8

const (
	entryLine entryKind = iota
	entryBlock
	entryList
)

func writeEntries(w *bufio.Writer, list []*entry, depth int) {
	for n, e := range list {
		if depth == 0 && n > 0 && (e.kind != entryLine || list[n-1].kind != entryLine) {
			w.WriteByte('\n')
		}
		for range depth {
			w.WriteString("    ")
		}
		w.WriteString(e.text)
		if e.kind == entryLine {
			w.WriteByte('\n')
			continue
		}
		w.WriteString(" {\n")
		writeEntries(w, e.body, depth+1)
		for range depth {
			w.WriteString("    ")
		}
		w.WriteString("}\n")
	}
}

// entries gives the model as statements, in the order of keepalived's manual.
func (c *Config) entries() []*entry {
	d := &dumper{g: &c.Global, stack: []*entry{{}}}
	d.root(&c.Global)
	d.global(&c.Global)
	d.objects(c)
	for _, s := range c.Scripts {
		d.script(s)
	}
	for _, f := range c.TrackFiles {
		d.trackFile(f)
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
	d.lvs(c)
	return d.stack[0].body
}

// dumper collects entries; the innermost open block is the last of the stack.
type dumper struct {
	g     *Global
	stack []*entry
}

func (d *dumper) add(e *entry) {
	top := d.stack[len(d.stack)-1]
	top.body = append(top.body, e)
}

// line adds a statement whose first word is its keyword, or a line of a list.
func (d *dumper) line(s string) {
	e := &entry{text: s}
	if d.stack[len(d.stack)-1].kind != entryList {
		e.key, _, _ = strings.Cut(s, " ")
	}
	d.add(e)
}

func (d *dumper) open(words ...string) *entry {
	text := strings.Join(words, " ")
	e := &entry{key: words[0], text: text, id: text, kind: entryBlock}
	d.add(e)
	d.stack = append(d.stack, e)
	return e
}

func (d *dumper) close() { d.stack = d.stack[:len(d.stack)-1] }

func (d *dumper) set(keyword string, value any) {
	d.add(&entry{key: keyword, text: fmt.Sprintf("%s %v", keyword, value)})
}

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
	d.open(keyword).kind = entryList
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

// escapes are what unescape undoes in a quoted command or pattern.
var escapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`)

// quoteScript writes a command, of which escapes are interpreted.
func quoteScript(s *ScriptSpec) string {
	out := `"` + escapes.Replace(s.Line) + `"`
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

// garp writes the announcement settings; extraMin is the least interval that
// garp_extra_if takes here, unset what the lower_prio ones are when not given.
func (d *dumper) garp(prefix string, g, unset *GARP, extraMin time.Duration) {
	d.set(prefix+"garp_master_delay", secsText(g.MasterDelay))
	d.set(prefix+"garp_master_repeat", g.MasterRepeat)
	d.set(prefix+"garp_master_refresh", secsText(g.MasterRefresh))
	d.set(prefix+"garp_master_refresh_repeat", g.MasterRefreshRepeat)
	if g.LowerPrioDelay != unset.LowerPrioDelay {
		d.set(prefix+"garp_lower_prio_delay", secsText(g.LowerPrioDelay))
	}
	if g.LowerPrioRepeat != unset.LowerPrioRepeat {
		d.set(prefix+"garp_lower_prio_repeat", g.LowerPrioRepeat)
	}
	if g.ExtraIf >= extraMin && g.ExtraIf > 0 {
		all := ""
		if g.ExtraIfAll {
			all = "all "
		}
		d.set(prefix+"garp_extra_if", all+secsText(g.ExtraIf))
	}
}

func (d *dumper) script(s *Script) {
	d.open("vrrp_script", quote(s.Name))
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

func (d *dumper) trackFile(f *TrackFile) {
	d.open("track_file", quote(f.Name))
	d.set("file", quote(f.Path))
	d.set("weight", weightText(f.Weight, f.Reverse))
	if f.Init {
		text := fmt.Sprintf("init_file %d", f.InitValue)
		if f.Overwrite {
			text += " overwrite"
		}
		d.line(text)
	}
	d.close()
}

func (d *dumper) process(p *TrackProcess) {
	d.open("vrrp_track_process", quote(p.Name))
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
	d.open("bfd_instance", quote(b.Name))
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
	d.open("vrrp_sync_group", quote(g.Name))
	d.list("group", len(g.Members), func(i int) string { return quote(g.Members[i].Name) })
	d.flag("sync_group_tracking_weight", g.GlobalTracking)
	d.tracking(&g.Tracking)
	d.notify(&g.Notify)
	d.truth("smtp_alert", g.SMTPAlert)
	d.differs("notify_priority_changes", g.NotifyPriorityChanges, d.g.NotifyPriorityChanges)
	if g.FencingPolicy != "" {
		d.set("#keepmesh: fencing_policy", g.FencingPolicy)
	}
	d.close()
}
