package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// openFile is a file being read; next is the offset of the unread text.
type openFile struct {
	name string
	text string
	next int
	line int32
	from []Pos // include sites, innermost first
}

func (f *openFile) dir() string { return path.Dir(f.name) }

// queued is a line that expansion produced and that is still to be read.
type queued struct {
	text  string
	pos   Pos
	chain []Pos
	depth int
}

// reader turns a source into pieces. It reports what is wrong with the text
// itself; what the words mean is the parser's.
type reader struct {
	src      Source
	opt      *Options
	report   func(Problem)
	stack    []*openFile
	queue    []queued // lines to be read next, the last one first
	defs     map[string]*definition
	bundle   Bundle
	order    map[string]int   // file name to order of first reading
	includes map[string][]Pos // file name to its include sites
	chains   map[Pos][]Pos    // (file, line) to expansion sites, Col 0
	total    int
	expanded int
	stopped  bool
	pieces   []piece
	at       int
	arena    []Token  // the words of pieces; reused once all pieces are taken
	last     Pos      // of the line last read
	ids      []string // that @id lines name
	noChance bool     // ${_RANDOM} gives its least value
}

func newReader(src Source, opt *Options, report func(Problem)) *reader {
	return &reader{
		src: src, opt: opt, report: report,
		defs:     map[string]*definition{},
		order:    map[string]int{},
		includes: map[string][]Pos{},
		chains:   map[Pos][]Pos{},
	}
}

// open starts reading a file. It returns an error instead of a problem, since
// only the caller knows how bad an unreadable file is.
func (r *reader) open(name string, from []Pos) error {
	for _, f := range r.stack {
		if f.name == name {
			return fmt.Errorf("%s includes itself", name)
		}
	}
	switch {
	case len(r.stack) >= maxDepth:
		return fmt.Errorf("more than %d nested includes", maxDepth)
	case len(r.order) >= maxFiles:
		return fmt.Errorf("more than %d files", maxFiles)
	}
	text, err := r.src.Read(name)
	if err != nil {
		return err
	}
	if i := bytes.IndexByte(text, 0); i >= 0 {
		return fmt.Errorf("%s has a NUL byte at offset %d: %w", name, i, ErrNotText)
	}
	if r.total += len(text); r.total > maxTotalSize {
		return fmt.Errorf("all files together have more than %d bytes", maxTotalSize)
	}
	f := &openFile{name: name, text: string(text), from: from}
	if _, seen := r.order[name]; !seen {
		r.order[name] = len(r.order)
		if len(from) > 0 {
			r.includes[name] = from
		}
		r.bundle.Files = append(r.bundle.Files, BundleFile{Path: name, Text: f.text})
	}
	r.stack = append(r.stack, f)
	return nil
}

// peek gives the next piece without taking it; false at the end.
func (r *reader) peek() (*piece, bool) {
	for r.at >= len(r.pieces) {
		r.pieces, r.at, r.arena = r.pieces[:0], 0, r.arena[:0]
		if !r.readLine() {
			return nil, false
		}
	}
	return &r.pieces[r.at], true
}

// second gives the piece after the next one, without taking either.
func (r *reader) second() (*piece, bool) {
	if _, ok := r.peek(); !ok {
		return nil, false
	}
	for r.at+1 >= len(r.pieces) {
		// Lines are appended behind the next piece, which stays valid.
		first := r.pieces[r.at]
		r.pieces, r.at = append(r.pieces[:0], first), 0
		if !r.readLine() {
			return nil, false
		}
	}
	return &r.pieces[r.at+1], true
}

// next takes the next piece; false at the end.
func (r *reader) next() (piece, bool) {
	p, ok := r.peek()
	if !ok {
		return piece{}, false
	}
	r.at++
	return *p, true
}

// physical takes one line of the innermost file, without its line end.
func (r *reader) physical() (text string, pos Pos, ok bool) {
	for len(r.stack) > 0 {
		f := r.stack[len(r.stack)-1]
		if f.next >= len(f.text) {
			r.stack = r.stack[:len(r.stack)-1]
			continue
		}
		rest := f.text[f.next:]
		n := strings.IndexByte(rest, '\n')
		if n < 0 {
			n = len(rest)
			f.next = len(f.text)
		} else {
			f.next += n + 1
		}
		f.line++
		return strings.TrimRight(rest[:n], "\r"), Pos{File: f.name, Line: f.line, Col: 1}, true
	}
	return "", Pos{}, false
}

// readLine processes one line into r.pieces, which may stay empty; false at
// the end of everything.
func (r *reader) readLine() bool {
	if r.stopped {
		return false
	}
	if len(r.queue) > 0 {
		q := r.queue[len(r.queue)-1]
		r.queue = r.queue[:len(r.queue)-1]
		r.last = q.pos
		r.expandLine(q)
		return true
	}
	text, pos, ok := r.physical()
	if !ok {
		return false
	}
	r.last = pos
	if len(text) > maxLine {
		r.problem(pos, Error, General, fmt.Sprintf("line of %d bytes ignored", len(text)),
			fmt.Sprintf("at most %d bytes", maxLine))
		return true
	}
	s := decomment(text)
	if ours, ok := ourComment(s.comment); ok {
		col := strings.Index(text, s.comment) + len(s.comment) - len(ours)
		if s.text != "" {
			defer r.oursPieces(ours, pos, col)
		} else {
			r.oursPieces(ours, pos, col)
		}
	}
	if s.text == "" {
		return true
	}
	pos.Col = int32(s.indent) + 1
	if s.openQuote {
		r.problem(pos, Error, General, "quote is not closed", `a " starts a word that ends with the next "`)
	}
	line, ok := r.filterID(s.text, &pos)
	if !ok || line == "" {
		return true
	}
	if r.define(line, pos) {
		return true
	}
	r.expandLine(queued{text: line, pos: pos})
	return true
}

// maxIDs bounds how many nodes a text is read for.
const maxIDs = 16

const ourMark = "keepmesh:"

// ourComment recognises "#keepmesh: KEYWORD ARGS".
func ourComment(comment string) (string, bool) {
	if comment == "" {
		return "", false
	}
	c := strings.TrimLeft(comment[1:], blanks)
	rest, ok := strings.CutPrefix(c, ourMark)
	return strings.TrimLeft(rest, blanks), ok
}

func (r *reader) oursPieces(text string, pos Pos, col int) {
	n := len(r.pieces)
	s := decomment(text)
	if s.text == "" {
		r.problem(pos, Warning, OursOnly, "#keepmesh: without a keyword", "such as #keepmesh: fencing_policy quorum")
		return
	}
	r.pieces, _ = splitPieces(s.text, func(i int) Pos { return Pos{pos.File, pos.Line, int32(col + i + 1)} }, r.pieces, &r.arena)
	for i := n; i < len(r.pieces); i++ {
		r.pieces[i].ours = true
	}
}

// filterID applies "@id" and "@^id" at the start of a line. pos moves past it.
func (r *reader) filterID(line string, pos *Pos) (string, bool) {
	if line[0] != '@' {
		return line, true
	}
	id := line[1:]
	id, inverse := strings.CutPrefix(id, "^")
	n := strings.IndexAny(id, blanks)
	rest := ""
	if n >= 0 {
		rest = strings.TrimLeft(id[n:], blanks)
		id = id[:n]
	}
	if id == "" {
		r.problem(*pos, Warning, OursOnly, "@ without an id: line ignored", "@ID or @^ID directly before the line")
	}
	if len(r.ids) < maxIDs && !slices.Contains(r.ids, id) {
		r.ids = append(r.ids, id)
	}
	if (id == r.opt.NodeID) == inverse {
		return "", false
	}
	pos.Col += int32(len(line) - len(rest))
	return rest, true
}

// emit splits a finished line into pieces. exact tells that no expansion
// changed the text, so that columns are those of the file.
func (r *reader) emit(line string, pos Pos, exact bool) {
	at := func(i int) Pos { return Pos{pos.File, pos.Line, pos.Col + int32(i)} }
	if !exact {
		at = func(int) Pos { return pos }
	}
	var unmatched bool
	r.pieces, unmatched = splitPieces(line, at, r.pieces, &r.arena)
	if unmatched && !exact {
		r.problem(pos, Error, General, "quote is not closed after expansion", `a " starts a word that ends with the next "`)
	}
}

func (r *reader) problem(pos Pos, sev Severity, code Code, message, hint string) {
	r.report(Problem{Pos: pos, Severity: sev, Code: code, Message: message, Hint: hint})
}

// readError describes why a file could not be opened, with what to do.
func readError(name string, err error) (message, hint string) {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no file " + name, "check the path"
	case errors.Is(err, fs.ErrPermission):
		return "no permission to read " + name, "check its owner and mode"
	case errors.Is(err, ErrNotText):
		return err.Error(), "a regular text file that is not executable was expected"
	}
	return err.Error(), ""
}

// include handles the include lines; false when the line is another statement.
func (r *reader) include(line string, pos Pos) bool {
	word, pattern, _ := strings.Cut(line, " ")
	if i := strings.IndexByte(word, '\t'); i >= 0 {
		word, pattern = line[:i], line[i+1:]
	}
	kind, ok := strings.CutPrefix(word, "include")
	if !ok || strings.Trim(kind, "rmwba") != "" {
		return false
	}
	pattern = strings.Trim(strings.TrimSpace(pattern), `"`)
	if pattern == "" {
		r.report(Problem{Pos: pos, Severity: Error, Code: MissingArgument, Keyword: word,
			Message: "has no file name", Hint: "include PATTERN"})
		return true
	}
	bad := func(sev Severity, code Code, message, hint string) {
		r.report(Problem{Pos: pos, Severity: sev, Code: code, Keyword: word, Message: message, Hint: hint})
	}
	f := r.stack[len(r.stack)-1]
	names, err := r.src.Glob(f.dir(), pattern)
	if err != nil {
		bad(Error, General, fmt.Sprintf("pattern %q: %v", pattern, err), "")
		return true
	}
	if len(names) == 0 {
		// A plain include of nothing passes in keepalived too; m asks for a
		// match of a plain name, w and a of a pattern as well.
		sev, code := Warning, OursOnly
		pure := !strings.ContainsAny(pattern, "*?[{")
		if strings.ContainsAny(kind, "wa") || pure && strings.Contains(kind, "m") {
			sev, code = Error, NoConfigFile
		}
		bad(sev, code, fmt.Sprintf("no file matches %q", pattern), "paths are relative to "+f.dir())
		return true
	}
	from := append([]Pos{pos}, f.from...)
	for i := len(names) - 1; i >= 0; i-- {
		if err := r.open(names[i], from); err != nil {
			message, hint := readError(names[i], err)
			switch {
			case errors.Is(err, ErrNotText):
				bad(Warning, OursOnly, message+", skipped", hint)
			default:
				bad(Error, General, message, hint)
			}
		}
	}
	return true
}
