package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// addSeeds gives a fuzz target the corpus, the tutorials and the diagnostics.
func addSeeds(f *testing.F) {
	f.Helper()
	n := 0
	for _, pattern := range []string{"testdata/corpus/*.conf", "testdata/tutorials/*.conf", "testdata/diag/*.txt"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(text))
			n++
		}
	}
	if n < 150 {
		f.Fatalf("only %d seeds", n)
	}
}

// FuzzLexer asserts that words lie inside the line they come from.
func FuzzLexer(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, text string) {
		for line := range strings.Lines(text) {
			s := decomment(strings.TrimRight(line, "\r\n"))
			if len(s.text) > len(line) {
				t.Fatalf("%q grew to %q", line, s.text)
			}
			pieces, _ := splitPieces(s.text, func(i int) Pos { return Pos{Line: 1, Col: int32(i + 1)} }, nil, new([]Token))
			for _, p := range pieces {
				if p.kind == pieceWords && len(p.toks) == 0 {
					t.Fatalf("%q has a statement without words", line)
				}
				for _, tok := range p.toks {
					if tok.Pos.Col < 1 || int(tok.Pos.Col) > len(s.text) || !strings.Contains(s.text, tok.Text) {
						t.Fatalf("%q: word %q at %d", line, tok.Text, tok.Pos.Col)
					}
				}
			}
			splitCommand(unescape(s.text))
		}
	})
}

// FuzzExpander asserts that expansion ends and stays within its budget.
func FuzzExpander(f *testing.F) {
	addSeeds(f)
	for _, s := range []string{"$A=$A\n$A\n", "~SEQ(a,9) ~SEQ(b,9) $a$b\n", "~LST({a,b},{1,2}) ${a}\n", "$A=x \\\n $A\n$A\n", "include keepalived.conf\n", "${_RANDOM 1 2} ${_PWD}\n", "@x y\n@^x z\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		opt := bench()
		r := newReader(bundleOf(text), &opt, func(Problem) {})
		if r.open("keepalived.conf", nil) != nil {
			return
		}
		size := 0
		for {
			p, ok := r.next()
			if !ok {
				break
			}
			if size += len(p.raw); size > len(text)+2*maxExpanded {
				t.Fatalf("%d bytes came of %d", size, len(text))
			}
		}
	})
}

// FuzzDecoder asserts that any text is judged in bounded time, that problems
// have a place in it, and that its bundle loads to the same verdict.
func FuzzDecoder(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "_RANDOM") {
			return
		}
		start := time.Now()
		cfg, problems := Load(bundleOf(text), bench())
		if d := time.Since(start); d > 20*time.Second {
			t.Fatalf("took %v", d)
		}
		lines := strings.Count(text, "\n") + 1
		for _, p := range problems {
			if p.Pos.File != "keepalived.conf" || int(p.Pos.Line) > lines || p.Message == "" {
				t.Fatalf("problem %+v in a text of %d lines", p, lines)
			}
		}
		if cfg == nil {
			return
		}
		_, again := Load(cfg.Bundle, bench())
		if KeepalivedCode(problems) != KeepalivedCode(again) || len(problems) != len(again) {
			t.Fatalf("the bundle is judged differently: %d problems, then %d", len(problems), len(again))
		}
	})
}
