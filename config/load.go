package config

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Options say what the text is read against. The zero value reads the text
// alone, with this host's name for @id lines.
type Options struct {
	// NodeID decides @id lines; empty is the host name up to its first dot.
	NodeID string
	// Interfaces lists what exists; nil leaves existence unchecked.
	Interfaces func() ([]string, error)
	// Env gives ${_ENV NAME}; nil is the process's environment.
	Env func(string) string
	// Scripts is the file system on which scripts are looked for, rooted at /.
	// Nil leaves scripts unchecked. MachineFiles gives the machine's own.
	Scripts fs.FS
	// User looks a user (and a group, when not empty) up; nil leaves them
	// unchecked.
	User func(user, group string) error
	// Resolve says whether a host name resolves; nil leaves it unchecked.
	Resolve func(host string) bool
}

// Load reads a configuration, fills in defaults and checks it. Problems come
// in the order of the text. The Config is nil only when the main file cannot
// be read; whether a Config with errors may be used is the caller's choice.
func Load(src Source, opt Options) (*Config, []Problem) {
	d, r, problems := newLoad(src, &opt, theTable())
	if err := r.open(src.Main(), nil); err != nil {
		message, hint := readError(src.Main(), err)
		code := Fatal
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			code = NoConfigFile
		}
		return nil, []Problem{{Pos: Pos{File: src.Main()}, Severity: Error, Code: code, Message: message, Hint: hint}}
	}
	p := &parser{r: r, d: d, table: d.table}
	p.parse("root")
	d.cfg.Bundle = r.finishBundle(src.Main())
	if !d.stopped {
		d.fillDefaults()
		d.check()
		d.advice(func() []*Config { return othersOf(src, opt, r.ids) })
	}
	sortProblems(*problems, r.order)
	return d.cfg, *problems
}

// othersOf reads the text as the other nodes that it names do.
func othersOf(src Source, opt Options, ids []string) []*Config {
	var out []*Config
	for _, id := range ids {
		if id == opt.NodeID {
			continue
		}
		other := Options{NodeID: id, Env: opt.Env}
		d, r, _ := newLoad(src, &other, theTable())
		if r.open(src.Main(), nil) != nil {
			continue
		}
		(&parser{r: r, d: d, table: d.table}).parse("root")
		if !d.stopped {
			d.fillDefaults()
			d.check()
			out = append(out, d.cfg)
		}
	}
	return out
}

// newLoad wires a reader and a decoder to one list of problems.
func newLoad(src Source, opt *Options, table *keywordTable) (*decoder, *reader, *[]Problem) {
	if opt.NodeID == "" {
		if h, err := os.Hostname(); err == nil {
			opt.NodeID, _, _ = strings.Cut(h, ".")
		}
	}
	if opt.Env == nil {
		opt.Env = os.Getenv
	}
	problems := new([]Problem)
	var r *reader
	report := func(p Problem) {
		switch n := len(*problems); {
		case p.Code == Fatal || p.Code == MissingArgument:
		case n >= maxProblems:
			return
		case n == maxProblems-1:
			p = Problem{Pos: p.Pos, Severity: Error, Code: General, Message: "too many problems, later ones are not shown", Hint: "repair these first"}
		}
		if len(p.Chain) == 0 {
			p.Chain = r.chain(p.Pos)
		}
		*problems = append(*problems, p)
	}
	r = newReader(src, opt, report)
	d := &decoder{
		cfg: &Config{}, opt: opt, table: table, out: report,
		names: map[string]Pos{}, rules: map[Family]int{},
	}
	d.presetGlobals()
	d.loadInterfaces()
	return d, r, problems
}

// maxProblems bounds the list; nobody reads more.
const maxProblems = 10000

// chain gives the expansion and include sites that lead to a place.
func (r *reader) chain(p Pos) []Pos {
	var c []Pos
	c = append(c, r.chains[Pos{File: p.File, Line: p.Line}]...)
	return append(c, r.includes[p.File]...)
}

// finishBundle makes the paths of the read files relative to the main file.
func (r *reader) finishBundle(main string) Bundle {
	b := Bundle{Name: path.Base(main), Dir: path.Dir(main)}
	if src, ok := r.src.(interface{ dirOf(name string) string }); ok {
		b.Dir = src.dirOf(main)
	}
	dir := path.Dir(main)
	for _, f := range r.bundle.Files {
		if rel, err := filepath.Rel(dir, f.Path); err == nil && filepath.IsLocal(rel) {
			f.Path = filepath.ToSlash(rel)
		}
		b.Files = append(b.Files, f)
	}
	return b
}
