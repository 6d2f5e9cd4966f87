package script

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The wanted words are what execve received from keepalived 2.2.7 for the
// same text.
func TestSplitCutsWordsAsKeepalived(t *testing.T) {
	for _, tc := range []struct {
		line string
		want []string
	}{
		{`/x/y.sh`, []string{"/x/y.sh"}},
		{`   /x/y.sh   lead   trail  `, []string{"/x/y.sh", "lead", "trail"}},
		{`pidof nginx && exit 0 || exit 1`, []string{"pidof", "nginx", "&&", "exit", "0", "||", "exit", "1"}},
		{`/x 'a b' "c d" e f $HOME`, []string{"/x", "a b", "c d", "e", "f", "$HOME"}},
		{`/x e\ f g\\h \n 'q\n' x'y z'w "" '' end`, []string{"/x", "e f", `g\h`, "\n", "q\n", "xy zw", "", "", "end"}},
		{`/x 'a"b' "a'b"`, []string{"/x", `a"b`, "a'b"}},
		{`/bin/sh -c 'exit 7'`, []string{"/bin/sh", "-c", "exit 7"}},
		{`/x > /tmp/x 2>&1`, []string{"/x", ">", "/tmp/x", "2>&1"}},
		{`\x41\102\cA\E \q\"`, []string{"AB\x01\x1b", `q"`}},
		{``, nil},
	} {
		got, err := Split(tc.line)
		if err != nil {
			t.Errorf("Split(%q): %v", tc.line, err)
		}
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("Split(%q) (-want +got):\n%s", tc.line, d)
		}
	}
}

func TestSplitNamesTheOpenQuote(t *testing.T) {
	_, err := Split("/x it's open")
	if err == nil || !strings.Contains(err.Error(), "missing terminating '") {
		t.Errorf("got %v, want the missing quote named", err)
	}
}

func TestShellLineQuotesEveryWordButARedirection(t *testing.T) {
	// What keepalived 2.2.7 gave to sh -c for this line.
	words, _ := Split(`</etc/passwd foo | cat`)
	if got, want := shellLine(words), `</etc/passwd 'foo' '|' 'cat'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := shellLine([]string{"/a b", "it's"}), `'/a b' 'it'\''s'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzSplit(f *testing.F) {
	f.Add(`/x 'a b' \x41 "`)
	f.Fuzz(func(t *testing.T, line string) {
		words, err := Split(line)
		if err == nil && len(strings.Join(words, "")) > len(line) {
			t.Errorf("words of %q are longer than it: %q", line, words)
		}
	})
}
