package config

import "strings"

// stmt is a statement: a keyword with its words. For a line of a plain block,
// key is the line's first word and kw is the block's.
type stmt struct {
	kw   *Keyword
	key  Token
	args []Token
	raw  string // the whole statement as written
	ours bool
	cut  bool // an unclosed quote ended it
}

// arg gives the i-th word after the keyword, or an empty token at the keyword.
func (s *stmt) arg(i int) Token {
	if i < len(s.args) {
		return s.args[i]
	}
	return Token{Pos: s.key.Pos}
}

// words gives the arguments' texts.
func (s *stmt) words() []string {
	w := make([]string, len(s.args))
	for i, t := range s.args {
		w[i] = t.Text
	}
	return w
}

// frame is an open block.
type frame struct {
	kw    *Keyword
	raw   string // the opening statement
	pos   Pos
	block *Block
}

// title names the block by its statement's words.
func (f *frame) title() string { return strings.Join(strings.Fields(f.raw), " ") }

// parser drives the decoder by the keyword table.
type parser struct {
	r        *reader
	d        *decoder
	table    *keywordTable
	unknowns int
	unwind   bool // a closing brace is missing: go back to the top level
	mesh     bool // mesh.conf: every keyword is ours
}

// maxSuggestions bounds the search for misspelt keywords: a text that has more
// unknown words is no configuration.
const maxSuggestions = 200

// parse reads everything at the top level.
func (p *parser) parse(section string) {
	for {
		p.unwind = false
		pc, ok := p.r.next()
		if !ok {
			return
		}
		switch pc.kind {
		case pieceOpen:
			p.d.problemAt(pc.pos, Error, General, "{", "does not follow a block keyword", "skipped with its block")
			p.skipBlock(pc.pos)
		case pieceClose:
			p.d.problemAt(pc.pos, Error, General, "}", "closes nothing", "remove it, or look for a block that ended too early")
		case pieceWords:
			p.statement(section, pc)
		}
	}
}

// body reads a block's statements up to its closing brace. The opening one has
// been taken.
func (p *parser) body(section string, brace Pos) {
	for !p.unwind {
		if p.lostBrace(section, brace) {
			return
		}
		pc, ok := p.r.next()
		if !ok {
			p.unclosed(brace)
			return
		}
		switch pc.kind {
		case pieceOpen:
			p.d.problemAt(pc.pos, Error, General, "{", "does not follow a block keyword", "skipped with its block")
			p.skipBlock(pc.pos)
		case pieceClose:
			p.d.closed = pc.pos
			return
		case pieceWords:
			p.statement(section, pc)
		}
	}
}

// lostBrace finds a block of the top level inside another one: then the outer
// one's closing brace is missing. It reports where that was opened and sends
// the parser back to the top level, so that what follows is still read.
func (p *parser) lostBrace(section string, brace Pos) bool {
	pc, ok := p.r.peek()
	if !ok || pc.kind != pieceWords {
		return false
	}
	word := pc.toks[0]
	kw := p.table.section["root"][word.Text]
	if kw == nil || !kw.block() || p.table.section[section][word.Text] != nil {
		return false
	}
	if open, ok := p.r.second(); !ok || open.kind != pieceOpen {
		return false
	}
	p.missing(word, brace)
	p.unwind = true
	return true
}

// nextBlock finds a block of the enclosing section inside a plain list, which
// then lacks its closing brace.
func (p *parser) nextBlock(s *stmt, brace Pos) bool {
	pc, ok := p.r.peek()
	if !ok || pc.kind != pieceWords {
		return false
	}
	word := pc.toks[0]
	kw := p.table.section[s.kw.Section][word.Text]
	if kw == nil || !kw.block() {
		return false
	}
	if open, ok := p.r.second(); !ok || open.kind != pieceOpen {
		return false
	}
	p.missing(word, brace)
	return true
}

func (p *parser) missing(before Token, brace Pos) {
	if p.d.lost.Line == 0 {
		p.d.lost = before.Pos
	}
	p.d.closed = before.Pos
	title := "a block"
	if f := p.d.top(); f != nil {
		title = f.title()
	}
	p.d.problemAt(before.Pos, Error, General, "", "} is missing before "+before.Text, title+" was opened at "+brace.String())
}

// unclosed reports the innermost block only: its brace explains the outer ones.
func (p *parser) unclosed(brace Pos) {
	if p.d.unclosed {
		return
	}
	p.d.unclosed = true
	p.d.closed = p.r.last
	hint := "a block was opened at " + brace.String()
	if f := p.d.top(); f != nil {
		hint = f.title() + " was opened at " + brace.String()
	}
	p.d.problemAt(p.r.last, Error, General, "", "} is missing at the end of the file", hint)
}

// skipBlock passes over a block whose opening brace was taken.
func (p *parser) skipBlock(brace Pos) {
	for depth := 1; depth > 0; {
		if p.lostBrace("", brace) {
			return
		}
		pc, ok := p.r.next()
		if !ok {
			p.unclosed(brace)
			return
		}
		switch pc.kind {
		case pieceOpen:
			depth++
		case pieceClose:
			depth--
		case pieceWords:
		}
	}
}

// skipIfBlock skips a block that follows a statement; true when there was one.
func (p *parser) skipIfBlock() bool {
	if pc, ok := p.r.peek(); ok && pc.kind == pieceOpen {
		brace := pc.pos
		p.r.next()
		p.skipBlock(brace)
		return true
	}
	return false
}

func (p *parser) statement(section string, pc piece) {
	d := p.d
	s := &stmt{key: pc.toks[0], args: pc.toks[1:], raw: pc.raw, ours: pc.ours, cut: pc.cut}
	kw := p.table.section[section][s.key.Text]
	if kw == nil || s.ours && !kw.Ours {
		p.unknown(section, s)
		return
	}
	s.kw = kw
	if kw.Ours && !s.ours && !p.mesh {
		d.problemAt(s.key.Pos, Note, OursOnly, kw.Name, "is a keyword of keepmesh alone", "write #keepmesh: "+s.raw+" where keepalived reads the file too")
	}
	if f := d.top(); f != nil && f.block != nil && kw.recorded && !f.block.Has(kw.Name) {
		f.block.Seen = append(f.block.Seen, Seen{kw.Name, s.key.Pos})
	}
	d.noteSupport(s)
	if !kw.block() {
		if kw.set != nil {
			kw.set(d, s)
		}
		if pc, ok := p.r.peek(); ok && pc.kind == pieceOpen {
			d.fail(s, "takes no { }", "the block is skipped")
			p.skipIfBlock()
		}
		return
	}
	p.block(s)
}

// block handles a keyword that is followed by braces.
func (p *parser) block(s *stmt) {
	d, kw := p.d, s.kw
	d.stack = append(d.stack, frame{kw: kw, raw: s.raw, pos: s.key.Pos})
	defer func() { d.stack = d.stack[:len(d.stack)-1] }()
	d.skip = false
	d.opened = nil
	d.closed = s.key.Pos
	if kw.set != nil {
		kw.set(d, s)
	}
	if d.stopped {
		return
	}
	skip := d.skip
	d.skip = false
	d.top().block = d.opened
	pc, ok := p.r.peek()
	if !ok || pc.kind != pieceOpen {
		d.fail(s, "{ is missing", "the block must follow, on this line or the next")
		if skip {
			return // there is no object that what follows could belong to
		}
		if !ok || pc.kind == pieceClose || kw.lines != nil || !p.belongs(kw.sub, pc) {
			if kw.done != nil {
				kw.done(d)
			}
			return
		}
		p.body(kw.sub, s.key.Pos)
	} else {
		brace := pc.pos
		p.r.next()
		switch {
		case skip:
			p.skipBlock(brace)
			return
		case kw.lines != nil:
			p.plainLines(s, brace)
		default:
			p.body(kw.sub, brace)
		}
	}
	if b := d.top().block; b != nil && kw.set != nil && b.Pos == s.key.Pos {
		b.End = d.closed
	}
	if !skip && kw.done != nil {
		kw.done(d)
	}
}

// belongs tells whether the next words are a statement of the section.
func (p *parser) belongs(section string, pc *piece) bool {
	return pc.kind == pieceWords && p.table.section[section][pc.toks[0].Text] != nil
}

// plainLines hands the lines of a block without keywords to its decoder.
func (p *parser) plainLines(s *stmt, brace Pos) {
	for {
		if p.lostBrace("", brace) || p.nextBlock(s, brace) {
			return
		}
		pc, ok := p.r.next()
		if !ok {
			p.unclosed(brace)
			return
		}
		switch pc.kind {
		case pieceOpen:
			p.d.problemAt(pc.pos, Error, General, s.kw.Name, "{ inside a list", "skipped with its block")
			p.skipBlock(pc.pos)
		case pieceClose:
			p.d.closed = pc.pos
			return
		case pieceWords:
			if pc.ours {
				p.d.problemAt(pc.pos, Warning, OursOnly, pc.toks[0].Text, "#keepmesh: inside a list is ignored", "put it beside "+s.kw.Name)
				continue
			}
			s.kw.lines(p.d, &stmt{kw: s.kw, key: pc.toks[0], args: pc.toks[1:], raw: pc.raw})
			if p.d.stopped {
				return
			}
		}
	}
}

func (p *parser) unknown(section string, s *stmt) {
	code, sev := General, Error
	if s.ours {
		code, sev = OursOnly, Error
	}
	message := "unknown keyword, ignored"
	if pc, ok := p.r.peek(); ok && pc.kind == pieceOpen {
		message = "unknown keyword, ignored with its block"
	}
	hint := ""
	if p.unknowns++; p.unknowns <= maxSuggestions {
		hint = p.table.suggest(section, s.key.Text)
	}
	if s.ours && hint == "" {
		hint = "not a keyword of keepmesh here"
	}
	if len(s.key.Text) > 64 {
		s.key.Text = s.key.Text[:64] + "..."
	}
	p.d.problemAt(s.key.Pos, sev, code, printable(s.key.Text), message, hint)
	p.skipIfBlock()
}

// printable replaces what would disturb a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\ufffd' {
			return '?'
		}
		return r
	}, s)
}
