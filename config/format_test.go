package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// everyText gives all texts of the test data: the corpus, the tutorials, and
// the texts of the diagnostics, by a name.
func everyText(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, pattern := range []string{"testdata/corpus/*.conf", "testdata/tutorials/*.conf", "testdata/effective/*.conf", "testdata/diag/*.txt"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			text, _, _ := strings.Cut(string(raw), rcMark)
			texts[filepath.Base(filepath.Dir(name))+"/"+filepath.Base(name)] = text
		}
	}
	if len(texts) < 200 {
		t.Fatalf("only %d texts", len(texts))
	}
	return texts
}

func TestFormattedTextLoadsToTheSameModel(t *testing.T) {
	opt := bench()
	for name, text := range everyText(t) {
		once, err := Format(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if twice, err := Format(once); err != nil || twice != once {
			t.Errorf("%s: formatting again changes it: %v\n%s", name, err, cmp.Diff(once, twice))
		}
		want, problems := Load(bundleOf(text), opt)
		got, after := Load(bundleOf(once), opt)
		if diff := cmp.Diff(want, got, sameModel()); diff != "" {
			t.Errorf("%s (-before +after):\n%s", name, diff)
		}
		if KeepalivedCode(problems) != KeepalivedCode(after) || len(problems) != len(after) {
			t.Errorf("%s: the problems differ:\n%s\n%s", name, problemLines(problems), problemLines(after))
		}
		if a, b := comments(text), comments(once); a != b {
			t.Errorf("%s: comments differ:\n%s", name, cmp.Diff(a, b))
		}
	}
}

func comments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(trimRight(strings.TrimRight(decomment(strings.TrimRight(line, "\r\n")).comment, "\r\n")) + "\n")
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func TestTextWithChanceInItIsLaidOut(t *testing.T) {
	for range 10 {
		if out, err := Format("a  ${_RANDOM 1 1000000}\n"); err != nil || out != "a  ${_RANDOM 1 1000000}\n" {
			t.Fatalf("%q, %v", out, err)
		}
	}
}

func TestLayoutOfAnUntidyText(t *testing.T) {
	const untidy = "! head\n\n\nglobal_defs {router_id  a   \n}\nvrrp_instance V\n{ # c1\n\tstate BACKUP;\n\n\n  virtual_ipaddress { 10.0.0.1/24\n10.0.0.2/24 dev   eth0 } # c2\r\n" +
		"@lb1   priority 100\n @^lb1 priority 50\n\n}\n# tail\n$X=a \\\n   b\nvrrp_script s{script \"a   b\"}"
	const want = `! head

global_defs {
    router_id a
}

vrrp_instance V { # c1
    state BACKUP;

    virtual_ipaddress {
        10.0.0.1/24
        10.0.0.2/24 dev eth0
    } # c2
    @lb1   priority 100
    @^lb1 priority 50
}

# tail
$X=a \
    b
vrrp_script s {
    script "a   b"
}
`
	got, err := Format(untidy)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestFormatNeverChangesWhatAnyTextSays makes texts of what is hard to lay out.
func TestFormatNeverChangesWhatAnyTextSays(t *testing.T) {
	parts := rapid.SampledFrom([]string{
		"{", "}", " ", "\n", "\t", "\r\n", "a", "state", `"q {"`, `"`, "#c", "!c", `\#`, `\`, "@id ", "@^id ", "$X", "$X=1", "${X}", "~SEQ(1,2)", "include x", "\n\n", "#keepmesh: lan_probe on",
	})
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(parts, 0, 30).Draw(t, "parts"), "")
		once, err := Format(text)
		if err != nil {
			return // refused, and left as it was
		}
		for _, id := range []string{"id", "other"} {
			if !sameWords(text, once, id) {
				t.Fatalf("%q became %q", text, once)
			}
		}
		twice, err := Format(once)
		if err != nil || twice != once {
			t.Fatalf("%q became %q, then %q (%v)", text, once, twice, err)
		}
	})
}
