package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keepmesh/keepmesh/lab"
)

const (
	liveTime = 100 * time.Millisecond
	cellTime = 200 * time.Millisecond // one block
	margin   = 8                      // columns of a row before its blocks
)

// screen is where the demonstration is seen: a terminal that is drawn on, or a
// stream of lines.
type screen struct {
	out     io.Writer
	live    bool
	colours bool
	width   int
	full    string // a block of a node that answers
	empty   string // of one that does not
	under   string // points at the moment of a mark, with its text to the right
	over    string // and with its text to the left
}

func newScreen(out io.Writer, plain bool) *screen {
	s := &screen{out: out, width: 80, full: "#", empty: ".", under: "^", over: "^"}
	for _, v := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if set := os.Getenv(v); set != "" {
			if set = strings.ToLower(set); strings.Contains(set, "utf-8") || strings.Contains(set, "utf8") {
				s.full, s.empty, s.under, s.over = "▇", "▁", "└", "┘"
			}
			break
		}
	}
	f, ok := out.(*os.File)
	if !ok {
		return s
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || os.Getenv("TERM") == "dumb" {
		return s
	}
	s.colours = os.Getenv("NO_COLOR") == ""
	s.live = !plain
	if size.Col >= 40 {
		s.width = int(size.Col)
	}
	return s
}

func (s *screen) paint(code, text string) string {
	if !s.colours {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s *screen) bold(text string) string { return s.paint("1", text) }
func (s *screen) good(text string) string { return s.paint("32", text) }
func (s *screen) bad(text string) string  { return s.paint("31", text) }

// quote prints another command's output, indented; sentences are folded at the
// width, tables are not.
func (s *screen) quote(text string) {
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		const indent = "   | "
		sentence := strings.HasPrefix(line, "! ")
		for len(indent)+len(line) > s.width && sentence {
			cut := strings.LastIndexByte(line[:s.width-len(indent)], ' ')
			if cut <= 2 {
				break
			}
			fmt.Fprintln(s.out, indent+line[:cut])
			line = "  " + line[cut+1:]
		}
		fmt.Fprintln(s.out, strings.TrimRight(indent+line, " "))
	}
}

// cell is who answered in one cellTime.
type cell struct {
	holders []string
	windows int // of liveTime
	dual    int // of them, with two or more holders
}

// strip is the course of one measurement: a row of blocks for each node, drawn
// as time passes, or a line for each change.
type strip struct {
	*screen
	mu    sync.Mutex
	from  time.Duration // of the first cell
	cells []cell
	marks []stripMark
	drawn bool
	ended bool

	// For lines: what was said last, and what the latest window showed.
	said, latest []string
	began        bool
}

type stripMark struct {
	cell int
	text string
}

func (s *screen) strip() *strip { return &strip{screen: s, from: -1} }

// update takes what the prober saw last.
func (s *strip) update(l lab.Live) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	if s.from < 0 {
		s.from = l.At
	}
	if !s.live {
		s.line(l)
		return
	}
	n := s.column(l.At)
	for len(s.cells) <= n {
		s.cells = append(s.cells, cell{})
	}
	c := &s.cells[n]
	c.windows++
	if len(l.Holders) > 1 {
		c.dual++
	}
	for _, h := range l.Holders {
		if !slices.Contains(c.holders, h) {
			c.holders = append(c.holders, h)
		}
	}
	s.draw()
}

func (s *strip) column(at time.Duration) int { return int(max(0, at-s.from) / cellTime) }

// line says a change once it has lasted two windows: a window in which the
// address moved has seen both nodes.
func (s *strip) line(l lab.Live) {
	stable := slices.Equal(l.Holders, s.latest) && s.began
	changed := !stable
	s.latest, s.began = l.Holders, true
	if changed || slices.Equal(l.Holders, s.said) {
		return
	}
	s.said = append([]string{}, l.Holders...)
	switch len(l.Holders) {
	case 0:
		s.say(l.At-liveTime, "nobody answers")
	case 1:
		s.say(l.At-liveTime, l.Holders[0]+" answers")
	default:
		s.say(l.At-liveTime, strings.Join(l.Holders, " and ")+" answer")
	}
}

func (s *strip) say(at time.Duration, text string) {
	fmt.Fprintf(s.out, "   +%5.1f s  %s\n", max(0, at-s.from).Seconds(), text)
}

// mark notes what is done at a moment.
func (s *strip) mark(at time.Duration, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.from < 0:
		s.from = at
		fallthrough
	default:
		s.marks = append(s.marks, stripMark{s.column(at), text})
	}
	if !s.live {
		s.say(at, "* "+text)
	}
}

// end leaves the picture as it is. Further calls do nothing.
func (s *strip) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}

var nodeColours = []string{"32", "36", "33"}

// draw writes all rows, over those that stand there.
func (s *strip) draw() {
	var b strings.Builder
	if s.drawn {
		fmt.Fprintf(&b, "\x1b[%dA", len(demoNodes)+1)
	}
	s.drawn = true
	first := max(0, len(s.cells)-(s.width-margin-1))
	for i, n := range demoNodes {
		fmt.Fprintf(&b, "\r\x1b[K   %-*s", margin-3, n.name)
		for _, c := range s.cells[first:] {
			switch {
			case !slices.Contains(c.holders, n.name):
				b.WriteString(s.paint("90", s.empty))
			case c.dual == c.windows:
				b.WriteString(s.paint("31", s.full))
			default:
				b.WriteString(s.paint(nodeColours[i], s.full))
			}
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "\r\x1b[K%s\n", s.ruler(first))
	_, _ = io.WriteString(s.out, b.String())
}

// ruler is the row under the blocks, with the marks where they happened.
func (s *strip) ruler(first int) string {
	row, used := strings.Repeat(" ", margin), margin
	for _, m := range s.marks {
		at := margin + m.cell - first
		text := s.under + " " + m.text
		length := len(m.text) + 2
		if at+length >= s.width { // no room to the right of it
			text, at = m.text+" "+s.over, at-length+1
		}
		if at < used {
			continue
		}
		row += strings.Repeat(" ", at-used) + text
		used = at + length
	}
	return row
}
