package config

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTableHoldsTheWholeInventory(t *testing.T) {
	raw, err := os.ReadFile("testdata/inventory.tsv")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for line := range strings.Lines(string(raw)) {
		if section, name, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			want[section+" "+name] = true
		}
	}
	if len(want) != 531+125 {
		t.Fatalf("the inventory has %d keywords, want 531 and 125 words of lines", len(want))
	}
	got := map[string]bool{}
	for _, k := range Keywords() {
		id := k.Section + " " + k.Name
		if got[id] {
			t.Errorf("%s stands twice in the table", id)
		}
		if !k.word && k.set == nil && k.lines == nil && k.sub == "" {
			t.Errorf("%s is neither decoded nor a block", id)
		}
		if !k.Ours {
			got[id] = true
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keywords (-inventory +table):\n%s", diff)
	}
}

func TestProblemsNameTheirPlace(t *testing.T) {
	p := Problem{Pos: Pos{"a.conf", 3, 5}, Path: "vrrp_instance VI_1", Keyword: "priority", Message: "300 is out of range", Hint: "must be 1 to 255", Chain: []Pos{{"k.conf", 1, 1}}}
	want := "a.conf:3:5: vrrp_instance VI_1: priority: 300 is out of range (must be 1 to 255), from k.conf:1:1"
	if got := p.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		problems   []Problem
		check, ofT int
	}{
		{nil, 0, 0},
		{[]Problem{{Severity: Note}}, 0, 0},
		{[]Problem{{Severity: Warning}}, 1, 0},
		{[]Problem{{Severity: Warning, Code: General}}, 1, 5},
		{[]Problem{{Severity: Error, Code: General}, {Severity: Warning, Code: ScriptSecurity}}, 2, 6},
		{[]Problem{{Severity: Error, Code: NoInterface}, {Severity: Warning, Code: ScriptSecurity}}, 2, 5},
		{[]Problem{{Severity: Error, Code: General}, {Severity: Error, Code: MissingArgument}}, 2, 2},
		{[]Problem{{Severity: Error, Code: NoConfigFile}}, 2, 6},
		{[]Problem{{Severity: Error, Code: Fatal}}, 2, 4},
	} {
		if got := CheckCode(c.problems); got != c.check {
			t.Errorf("CheckCode(%v) = %d, want %d", c.problems, got, c.check)
		}
		if got := KeepalivedCode(c.problems); got != c.ofT {
			t.Errorf("KeepalivedCode(%v) = %d, want %d", c.problems, got, c.ofT)
		}
	}
}
