package config

import "strings"

// Token is one word of the text. Quoted words have lost their quotes; their
// escapes are still as written, because only some keywords interpret them.
type Token struct {
	Text   string
	Quoted bool
	Pos    Pos
}

type pieceKind uint8

const (
	pieceWords pieceKind = iota
	pieceOpen
	pieceClose
)

// piece is what lies between braces and line ends: one statement's words, or
// one brace. raw is the text of the words as written, without comments.
type piece struct {
	kind pieceKind
	toks []Token
	raw  string
	pos  Pos
	ours bool // from a "#keepmesh:" comment
	cut  bool // an unclosed quote ended the statement
}

const blanks = " \t\v\f\r"

func isBlank(c byte) bool {
	return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f'
}

func trimLeft(s string) string {
	for s != "" && isBlank(s[0]) {
		s = s[1:]
	}
	return s
}

func trimRight(s string) string {
	for s != "" && isBlank(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// stripped is what decomment makes of a physical line.
type stripped struct {
	text      string
	indent    int    // bytes of leading blanks that were removed
	comment   string // the comment with its mark, if any
	continued bool   // ended in a backslash outside a comment
	openQuote bool
}

// decomment removes leading and trailing blanks and a comment. A comment
// starts at any # or ! outside double quotes, also glued to a word; \# and \!
// stand for the characters themselves.
func decomment(line string) stripped {
	s := stripped{}
	text := trimLeft(line)
	s.indent = len(line) - len(text)
	quote := false
	var edited []byte
	keep := 0 // bytes of text already copied to edited
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			quote = !quote
		case '\\':
			if i+1 == len(text) {
				s.continued = true
				break
			}
			if !quote && (text[i+1] == '#' || text[i+1] == '!') {
				edited = append(edited, text[keep:i]...)
				keep = i + 1
			}
			i++
		case '#', '!':
			if !quote {
				s.comment = text[i:]
				text = text[:i]
			}
		}
	}
	s.openQuote = quote
	if edited != nil {
		text = string(append(edited, text[keep:]...))
	}
	s.text = trimRight(text)
	return s
}

// splitPieces cuts a line at braces outside quotes and at blanks. at gives the
// position of a byte of the line. unmatched tells that a quote was not closed;
// the words before it are kept, what follows it is not. Words are appended to
// arena, of which the pieces hold parts.
func splitPieces(line string, at func(i int) Pos, out []piece, arena *[]Token) (_ []piece, unmatched bool) {
	start := -1 // of the current words
	first := 0  // their index in the arena
	flush := func(end int) {
		if start >= 0 {
			toks := (*arena)[first:len(*arena):len(*arena)]
			out = append(out, piece{kind: pieceWords, toks: toks, raw: trimRight(line[start:end]), pos: toks[0].Pos})
			start = -1
		}
	}
	for i := 0; i < len(line); {
		switch c := line[i]; {
		case isBlank(c):
			i++
		case c == '{':
			flush(i)
			out = append(out, piece{kind: pieceOpen, pos: at(i)})
			i++
		case c == '}':
			flush(i)
			out = append(out, piece{kind: pieceClose, pos: at(i)})
			i++
		default:
			tok := Token{Pos: at(i)}
			begin := i
			if c == '"' {
				n := closingQuote(line[i+1:])
				if n < 0 {
					flush(i)
					if len(out) > 0 {
						out[len(out)-1].cut = true
					}
					return out, true
				}
				tok.Text, tok.Quoted = line[i+1:i+1+n], true
				i += n + 2
			} else {
				for i < len(line) && !isBlank(line[i]) && line[i] != '"' && line[i] != '{' && line[i] != '}' {
					i++
				}
				tok.Text = line[begin:i]
			}
			if start < 0 {
				start, first = begin, len(*arena)
			}
			*arena = append(*arena, tok)
		}
	}
	flush(len(line))
	return out, false
}

// closingQuote finds the quote that ends a quoted word; a backslash protects
// the next character.
func closingQuote(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// unescape interprets the backslash escapes of keywords that take a command or
// a pattern: \a \b \E \f \n \r \t \v, octal \nnn, \xXX, \cC and \other.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	const letters, values = "abEfnrtv", "\a\b\x1b\f\n\r\t\v"
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out = append(out, s[i])
			continue
		}
		i++
		c := s[i]
		switch k := strings.IndexByte(letters, c); {
		case k >= 0:
			out = append(out, values[k])
		case c == 'x' && i+1 < len(s) && hexDigit(s[i+1]) >= 0:
			v := 0
			for n := 0; n < 2 && i+1 < len(s) && hexDigit(s[i+1]) >= 0; n++ {
				i++
				v = v*16 + hexDigit(s[i])
			}
			out = append(out, byte(v))
		case c == 'c' && i+1 < len(s):
			i++
			out = append(out, s[i]&0x1f)
		case c >= '0' && c <= '7':
			v := int(c - '0')
			for n := 1; n < 3 && i+1 < len(s) && s[i+1] >= '0' && s[i+1] <= '7'; n++ {
				i++
				v = v*8 + int(s[i]-'0')
			}
			out = append(out, byte(v))
		default:
			out = append(out, c)
		}
	}
	return string(out)
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// splitCommand splits a command as keepalived does before running it: blanks
// separate words, single and double quotes keep them together, a backslash
// outside quotes protects a character.
func splitCommand(s string) []string {
	var args []string
	var word []byte
	in := false
	var quote byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			} else {
				word = append(word, c)
			}
		case c == '"' || c == '\'':
			quote, in = c, true
		case c == '\\' && i+1 < len(s):
			i++
			word, in = append(word, s[i]), true
		case strings.IndexByte(blanks, c) >= 0 || c == '\n':
			if in {
				args = append(args, string(word))
				word, in = nil, false
			}
		default:
			word, in = append(word, c), true
		}
	}
	if in {
		args = append(args, string(word))
	}
	return args
}
