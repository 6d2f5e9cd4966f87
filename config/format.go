package config

import (
	"errors"
	"slices"
	"strings"
)

// errFormat means that a layout would have changed what the text says.
var errFormat = errors.New("the layout of this text cannot be changed without changing its meaning")

const indentUnit = "    "

// Format lays out a configuration anew: one statement a line, four blanks for
// each level, opening braces at the end of the statement, single blank lines,
// one of them between blocks of the top level. Comments stay where they are.
// What expansion or a condition could change as a whole (lines with $ or ~ or
// a backslash, @id lines, includes, definitions) keeps its words on one line.
//
// The result reads as the text did, which is checked; formatting it once more
// changes nothing. Included files are not touched.
func Format(text string) (string, error) {
	f := &formatter{}
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		f.physical(strings.TrimRight(line, "\r\n"))
	}
	out := f.result()
	for _, id := range idsOf(text) {
		if !sameWords(text, out, id) {
			return text, errFormat
		}
	}
	return out, nil
}

// formatted is one line of the result.
type formatted struct {
	depth   int
	text    string
	comment string
	join    bool // an opening brace may follow on this line
}

type formatter struct {
	out        []formatted
	depth      int
	blank      bool // an empty line came before
	ended      bool // a block of the top level ended
	definition bool // the next line continues a definition
	idLine     bool // the last line was an @id line that opened a block
}

func (f *formatter) emit(depth int, text string) *formatted {
	closing := strings.HasPrefix(text, "}")
	if n := len(f.out); n > 0 && !closing && (f.ended || f.blank) && !strings.HasSuffix(f.out[n-1].text, "{") {
		f.out = append(f.out, formatted{})
	}
	f.blank, f.ended = false, closing && depth == 0
	f.out = append(f.out, formatted{depth: max(depth, 0), text: text})
	return &f.out[len(f.out)-1]
}

func (f *formatter) physical(line string) {
	if f.definition {
		body := decomment(line).text
		f.definition = strings.HasSuffix(body, `\`)
		f.out = append(f.out, formatted{depth: f.depth + 1, text: strings.Trim(line, blanks)})
		return
	}
	s := decomment(line)
	body := trimRight(strings.TrimSuffix(line[s.indent:], s.comment))
	switch {
	case body == "" && s.comment == "":
		f.blank = true
	case body == "":
		f.emit(f.depth, trimRight(s.comment))
		f.idLine = false
	case s.openQuote || len(line) > maxLine || body[0] == '@' || strings.ContainsAny(body, `$~\`) || includeLine(body):
		f.whole(line, body, s.comment)
	default:
		f.pieces(body, trimRight(s.comment))
	}
}

func includeLine(body string) bool {
	word, _, _ := strings.Cut(strings.ReplaceAll(body, "\t", " "), " ")
	kind, ok := strings.CutPrefix(word, "include")
	return ok && strings.Trim(kind, "rmwba") == ""
}

// whole keeps the words of a line together and only moves it.
func (f *formatter) whole(line, body, comment string) {
	opens, closes, lead := braces(body)
	depth := f.depth - lead
	text := strings.Trim(line, blanks)
	if comment != "" && !isDefinition(body) {
		text = body
	}
	e := f.emit(depth, text)
	if text == body {
		e.comment = trimRight(comment)
	}
	if isDefinition(body) {
		f.definition = strings.HasSuffix(decomment(line).text, `\`)
		return
	}
	// Several @id lines in a row are alternatives: one of them opens the block.
	conditional := body[0] == '@' && opens > closes
	if !conditional || !f.idLine {
		f.depth = max(0, f.depth+opens-closes)
	}
	f.idLine = conditional
}

func isDefinition(body string) bool {
	if body[0] != '$' {
		return false
	}
	n := nameEnd(body[1:]) + 1
	return n > 1 && n < len(body) && body[n] == '='
}

// braces counts those outside quotes and references; lead is the number of
// closing ones that the line begins with.
func braces(body string) (opens, closes, lead int) {
	quote, leading := false, true
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case c == '\\':
			i++
		case c == '"':
			quote = !quote
		case quote:
		case c == '$' && i+1 < len(body) && body[i+1] == '{':
			if n := strings.IndexByte(body[i:], '}'); n > 0 {
				i += n
			}
		case c == '{':
			opens++
		case c == '}':
			closes++
			if leading {
				lead++
			}
			continue
		case isBlank(c):
			continue
		}
		leading = false
	}
	return opens, closes, lead
}

// pieces lays out the statements and braces of an ordinary line.
func (f *formatter) pieces(body, comment string) {
	f.idLine = false
	var arena []Token
	list, _ := splitPieces(body, func(int) Pos { return Pos{} }, nil, &arena)
	for n, p := range list {
		switch p.kind {
		case pieceWords:
			f.emit(f.depth, singleBlanks(p.raw)).join = true
		case pieceOpen:
			if last := len(f.out) - 1; last >= 0 && f.out[last].join && f.out[last].comment == "" && (n > 0 || !f.blank) {
				f.out[last].text += " {"
				f.out[last].join = false
			} else {
				f.emit(f.depth, "{")
			}
			f.depth++
		case pieceClose:
			f.depth = max(0, f.depth-1)
			f.emit(f.depth, "}")
		}
	}
	if last := len(f.out) - 1; comment != "" {
		f.out[last].comment = comment
	}
}

// singleBlanks makes every run of blanks outside quotes one.
func singleBlanks(s string) string {
	out := make([]byte, 0, len(s))
	quote := false
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '"' {
			quote = !quote
		}
		if !quote && isBlank(c) {
			if len(out) > 0 && !isBlank(s[i-1]) {
				out = append(out, ' ')
			}
			continue
		}
		out = append(out, c)
	}
	return string(out)
}

func (f *formatter) result() string {
	var b strings.Builder
	for _, l := range f.out {
		if l.text != "" {
			for range l.depth {
				b.WriteString(indentUnit)
			}
			b.WriteString(l.text)
		}
		if l.comment != "" {
			b.WriteString(" " + l.comment)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// idsOf gives the ids that @id lines of a text name, and one that none names.
func idsOf(text string) []string {
	ids := []string{"-"}
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(strings.TrimLeft(line, blanks), "@")
		if !ok {
			continue
		}
		rest = strings.TrimPrefix(rest, "^")
		if n := strings.IndexAny(rest, blanks+"\n"); n > 0 {
			rest = rest[:n]
		}
		if len(ids) < maxFormatIDs && !slices.Contains(ids, rest) {
			ids = append(ids, rest)
		}
	}
	return ids
}

// maxFormatIDs bounds how often a text is compared.
const maxFormatIDs = 32

// sameWords tells whether two texts read the same for a node, up to positions.
func sameWords(a, b, id string) bool {
	opt := &Options{NodeID: id, Env: func(name string) string { return name }}
	readers := make([]*reader, 2)
	for i, text := range []string{a, b} {
		readers[i] = newReader(textAlone(text), opt, func(Problem) {})
		readers[i].noChance = true
		if readers[i].open("text", nil) != nil {
			return false
		}
	}
	for {
		p, ok := readers[0].next()
		q, more := readers[1].next()
		if ok != more || !ok {
			return ok == more
		}
		if p.kind != q.kind || p.ours != q.ours || p.cut != q.cut || len(p.toks) != len(q.toks) {
			return false
		}
		for i := range p.toks {
			if p.toks[i].Text != q.toks[i].Text || p.toks[i].Quoted != q.toks[i].Quoted {
				return false
			}
		}
	}
}

// textAlone is a source of one text whose includes match nothing.
type textAlone string

func (t textAlone) Main() string                          { return "text" }
func (t textAlone) Read(string) ([]byte, error)           { return []byte(t), nil }
func (t textAlone) Glob(string, string) ([]string, error) { return nil, nil }
