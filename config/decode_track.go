package config

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// trackKind is what a track_... block names.
type trackKind struct {
	word  string
	limit int64
	list  func(*Tracking) *[]Track
}

var (
	trackInterface = trackKind{"interface", 253, func(t *Tracking) *[]Track { return &t.TrackInterfaces }}
	trackScript    = trackKind{"script", 253, func(t *Tracking) *[]Track { return &t.TrackScripts }}
	trackFile      = trackKind{"file", 254, func(t *Tracking) *[]Track { return &t.TrackFiles }}
	trackProcess   = trackKind{"process", 254, func(t *Tracking) *[]Track { return &t.TrackProcesses }}
	trackBFD       = trackKind{"bfd", 253, func(t *Tracking) *[]Track { return &t.TrackBFDs }}
)

// trackLine reads NAME [weight N [reverse|noreverse]].
func trackLine(kind trackKind) setter {
	return func(d *decoder, l *stmt) {
		owner := &Tracking{}
		if d.group != nil {
			owner = &d.group.Tracking
		} else if d.inst != nil {
			owner = &d.inst.Tracking
		}
		list := kind.list(owner)
		if kind.word == "interface" && !d.iface(l, l.key) {
			return
		}
		t := Track{Name: l.key.Text, Pos: l.key.Pos}
		for _, o := range *list {
			if o.Name == t.Name {
				d.fail(l, fmt.Sprintf("%s is tracked twice, the second is ignored", t.Name), "first at "+o.Pos.String())
				return
			}
		}
		for i := 0; i < len(l.args); i++ {
			switch w := l.args[i]; w.Text {
			case "weight":
				i++
				if i >= len(l.args) {
					d.failAt(l, w, "weight has no value, the line is ignored", fmt.Sprintf("weight N, -%d to %d", kind.limit, kind.limit))
					return
				}
				v := l.args[i]
				if n, ok := d.number(l, v, -kind.limit, kind.limit); ok {
					t.Weight, t.HasWeight = int(n), true
				}
			case "reverse":
				t.Reverse = true
			case "noreverse":
				t.Reverse = false
			default:
				d.failAt(l, w, fmt.Sprintf("%q is unknown", printable(w.Text)), "weight N [reverse]")
			}
		}
		*list = append(*list, t)
	}
}

func beginScript(d *decoder, s *stmt) {
	d.scr = &Script{Block: Block{Pos: s.key.Pos}, Interval: time.Second, Rise: 1, Fall: 1}
	t, ok := d.need(s, 0)
	if !ok {
		d.stopped = true
		return
	}
	d.scr.Name = t.Text
	d.opened = &d.scr.Block
}

func scriptCommand(d *decoder, s *stmt) {
	if sp, ok := d.scriptArg(s); ok {
		if len(s.args) > 1 {
			d.problemAt(s.args[1].Pos, Warning, OursOnly, s.kw.Name, "what follows the first word is ignored", fmt.Sprintf("quote the whole command: script \"%s\"", strings.Join(s.words(), " ")))
		}
		sp.User, sp.Group = d.scr.Spec.User, d.scr.Spec.Group
		d.scr.Spec = *sp
	}
}

func scriptRunUser(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	if !ok {
		return
	}
	group := ""
	if len(s.args) > 1 {
		group = s.args[1].Text
	}
	if !d.user(s, t, group) {
		d.scr.badUser = true
		return
	}
	d.scr.Spec.User, d.scr.Spec.Group = t.Text, group
}

// scriptInterval reads seconds of which 0 becomes 1.
func scriptInterval(f field[time.Duration]) setter {
	return func(d *decoder, s *stmt) {
		t, ok := d.need(s, 0)
		if !ok {
			return
		}
		v, ok := d.seconds(s, t, time.Second, 0, maxSeconds)
		if !ok {
			return
		}
		if v == 0 {
			d.warn(s, "0 becomes 1", "must be greater than 0")
			v = time.Second
		}
		if v%time.Second != 0 {
			d.warn(s, t.Text+" is not a whole number of seconds, which keepalived up to 2.2.7 refuses", "newer versions and keepmesh take it")
		}
		*f(d) = v
	}
}

func endScript(d *decoder) {
	s := d.scr
	d.scr = nil
	if s == nil || s.Name == "" {
		return
	}
	if len(s.Spec.Args) == 0 {
		d.problemAt(d.closed, Error, General, "script", "is missing, the vrrp_script is removed", `script "COMMAND"`)
		return
	}
	if first, ok := d.define("vrrp_script", Token{Text: s.Name, Pos: s.Pos}); !ok {
		d.problemAt(s.Pos, Error, General, "vrrp_script", s.Name+" is already defined, this one is ignored", "first defined at "+first.String())
		return
	}
	d.cfg.Scripts = append(d.cfg.Scripts, s)
}

func beginProcess(d *decoder, s *stmt) {
	d.proc = &TrackProcess{Block: Block{Pos: s.key.Pos}, Quorum: 1, QuorumMax: math.MaxInt}
	t, ok := d.need(s, 0)
	if !ok {
		d.skip = true
		return
	}
	d.proc.Name = t.Text
	d.opened = &d.proc.Block
}

func processCommand(d *decoder, s *stmt) {
	if _, ok := d.need(s, 0); !ok {
		return
	}
	if len(d.proc.Process) > 0 {
		d.fail(s, "is given twice, this one is ignored", "")
		return
	}
	d.proc.Process = s.words()
	if len(s.args) == 1 && s.args[0].Quoted {
		d.proc.Process = splitCommand(s.args[0].Text)
	}
}

func paramMatch(d *decoder, s *stmt) {
	d.proc.FullCommand = true
	d.proc.Match = ParamExact
	if len(s.args) == 0 {
		return
	}
	switch s.args[0].Text {
	case "initial":
		d.proc.Match = ParamInitial
	case "partial":
		d.proc.Match = ParamPartial
	default:
		d.failAt(s, s.args[0], fmt.Sprintf("%q is unknown", printable(s.args[0].Text)), "initial, partial or nothing")
	}
}

func processDelay(d *decoder, s *stmt) {
	if t, ok := d.need(s, 0); ok {
		if v, ok := d.seconds(s, t, time.Second, 0.000001, 3600); ok {
			d.proc.TerminateDelay, d.proc.ForkDelay = v, v
		}
	}
}

func endProcess(d *decoder) {
	p := d.proc
	d.proc = nil
	if p == nil || p.Name == "" {
		return
	}
	if len(p.Process) == 0 {
		if !p.Has("process") {
			d.problemAt(d.closed, Error, General, "process", "is missing, the vrrp_track_process is removed", "process PATH")
		}
		return
	}
	if p.Match == ParamNone && len(p.Process) > 1 {
		p.Match = ParamExact
	}
	if p.QuorumMax < p.Quorum && p.QuorumMax != 0 {
		d.problemAt(p.Pos, Error, General, "quorum_max", fmt.Sprintf("%d is below quorum %d", p.QuorumMax, p.Quorum), "")
	}
	if first, ok := d.define("vrrp_track_process", Token{Text: p.Name, Pos: p.Pos}); !ok {
		d.problemAt(p.Pos, Error, General, "vrrp_track_process", p.Name+" is already defined, this one is ignored", "first defined at "+first.String())
		return
	}
	d.cfg.TrackProcesses = append(d.cfg.TrackProcesses, p)
}

func beginTrackFile(d *decoder, s *stmt) {
	d.tf = &TrackFile{Block: Block{Pos: s.key.Pos}, Weight: 1}
	t, ok := d.need(s, 0)
	if !ok {
		d.skip = true
		return
	}
	d.tf.Name = t.Text
	d.opened = &d.tf.Block
}

func beginOldTrackFile(d *decoder, s *stmt) {
	d.advise(s, "is deprecated", "use track_file")
	beginTrackFile(d, s)
}

func trackedPath(d *decoder, s *stmt) {
	t, ok := d.need(s, 0)
	switch {
	case !ok:
	case d.tf.Path != "":
		d.fail(s, "is given twice, this one is ignored", "the first is "+d.tf.Path)
	default:
		d.tf.Path = t.Text
	}
}

func initFile(d *decoder, s *stmt) {
	d.tf.Init = true
	for _, t := range s.args {
		if t.Text == "overwrite" {
			d.tf.Overwrite = true
			continue
		}
		if n, ok := d.number(s, t, -254, 254); ok {
			d.tf.InitValue = int(n)
		}
	}
}

func endTrackFile(d *decoder) {
	f := d.tf
	d.tf = nil
	if f == nil || f.Name == "" {
		return
	}
	if f.Path == "" {
		d.problemAt(d.closed, Error, General, "file", "is missing, the track_file is removed", "file PATH")
		return
	}
	if first, ok := d.define("track_file", Token{Text: f.Name, Pos: f.Pos}); !ok {
		d.problemAt(f.Pos, Error, General, "track_file", f.Name+" is already defined, this one is ignored", "first defined at "+first.String())
		return
	}
	d.cfg.TrackFiles = append(d.cfg.TrackFiles, f)
}

func beginBFD(d *decoder, s *stmt) {
	d.bfd = &BFD{
		Block: Block{Pos: s.key.Pos}, MinRx: 10 * time.Millisecond, MinTx: 10 * time.Millisecond,
		IdleTx: time.Second, Multiplier: 5,
	}
	t, ok := d.need(s, 0)
	if !ok {
		d.skip = true
		return
	}
	if len(t.Text) > 31 {
		d.failAt(s, t, "name is too long", "at most 31 characters")
		d.skip = true
		return
	}
	if first, ok := d.define("bfd_instance", t); !ok {
		d.fail(s, fmt.Sprintf("%s is already defined", t.Text), "first defined at "+first.String())
		d.skip = true
		return
	}
	d.bfd.Name = t.Text
	d.opened = &d.bfd.Block
}

func endBFD(d *decoder) {
	b := d.bfd
	d.bfd = nil
	if b == nil || b.Name == "" {
		return
	}
	switch {
	case !b.Neighbor.IsValid():
		d.problemAt(d.closed, Error, General, "neighbor_ip", "is missing, the bfd_instance is removed", "neighbor_ip ADDRESS")
		return
	case b.Source.IsValid() && b.Source.Is4() != b.Neighbor.Is4():
		d.problemAt(b.Pos, Error, General, "source_ip", "is not of neighbor_ip's family, the bfd_instance is removed", "")
		return
	}
	if b.TTL == 0 {
		if b.TTL = 255; b.Neighbor.Is6() {
			b.TTL = 64
		}
	}
	d.cfg.BFDs = append(d.cfg.BFDs, b)
}
