package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzFormat lays out any text: what it says stays, twice is once, and the
// effective form of what it loads to loads again.
func FuzzFormat(f *testing.F) {
	names, _ := filepath.Glob("testdata/*/*.conf")
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<14 || strings.Contains(text, "_RANDOM") {
			return
		}
		once, err := Format(text)
		if err != nil {
			return // refused, and left as it was
		}
		if twice, err := Format(once); err != nil || twice != once {
			t.Fatalf("%q became %q, then %q (%v)", text, once, twice, err)
		}
		a, _ := Load(bundleOf(text), Options{NodeID: "n"})
		b, _ := Load(bundleOf(once), Options{NodeID: "n"})
		if a == nil || b == nil {
			return
		}
		if changes := Diff(a, b); len(changes) > 0 {
			t.Fatalf("%q became %q: %v", text, once, changes)
		}
	})
}
