package vrrp_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// requirement is a line of docs/rfc9568.tsv.
type requirement struct {
	id, level, section, text string
	tests                    []string
	divergence               string
}

func requirements(t *testing.T) []requirement {
	t.Helper()
	text, err := os.ReadFile("../docs/rfc9568.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var list []requirement
	for n, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		if n < 2 { // the comment and the names of the columns
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != 6 {
			t.Fatalf("line %d has %d columns", n+1, len(f))
		}
		r := requirement{id: f[0], level: f[1], section: f[2], text: f[3], divergence: f[5]}
		if f[4] != "" {
			r.tests = strings.Split(f[4], "|")
		}
		list = append(list, r)
	}
	return list
}

// sources are the test files of a folder, as one text.
func sources(t *testing.T, folder string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", folder, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests in %s: %v", folder, err)
	}
	var all strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}

// exists says whether folder.Test/case names a test: a function of the folder,
// and, as its case, a string in its files or a file of its testdata.
func exists(t *testing.T, name string) bool {
	folder, rest, _ := strings.Cut(name, ".")
	test, row, hasRow := strings.Cut(rest, "/")
	code := sources(t, folder)
	if !strings.Contains(code, "\nfunc "+test+"(t *testing.T) {\n") {
		return false
	}
	if !hasRow || strings.Contains(code, `"`+row+`"`) {
		return true
	}
	_, err := os.Stat(filepath.Join("..", folder, "testdata", row+".txt"))
	return err == nil
}

func TestEachRequirementOfRFC9568HasATestOrAReason(t *testing.T) {
	list := requirements(t)
	if len(list) < 50 {
		t.Fatalf("only %d requirements", len(list))
	}
	seen := map[string]bool{}
	for _, r := range list {
		section, _, _ := strings.Cut(r.id, "-")
		if section != r.section || seen[r.id] || r.text == "" || !slices.Contains([]string{"MUST", "MUST NOT", "SHOULD", "SHOULD NOT"}, r.level) {
			t.Errorf("%s: the line is not whole, or is there twice", r.id)
		}
		seen[r.id] = true
		if len(r.tests) == 0 && r.divergence == "" {
			t.Errorf("%s has neither a test nor a reason", r.id)
		}
		for _, name := range r.tests {
			if !exists(t, name) {
				t.Errorf("%s: there is no test %s", r.id, name)
			}
		}
	}
}

// What a test claims about the RFC by its name must be in the table.
func TestEachTestOfRFC9568IsInTheTable(t *testing.T) {
	listed := map[string]bool{}
	for _, r := range requirements(t) {
		for _, name := range r.tests {
			listed[name] = true
		}
	}
	function := regexp.MustCompile(`\nfunc (TestRFC9568\w+)\(t \*testing\.T\)`)
	row := regexp.MustCompile(`\{"(RFC 9568 [^"]+)"`)
	claimed := map[string]bool{}
	for _, folder := range []string{"vrrp", "vrrp/packet", "vrrp/speaker"} {
		code := sources(t, folder)
		for _, m := range function.FindAllStringSubmatch(code, -1) {
			claimed[folder+"."+m[1]] = true
		}
		for _, m := range row.FindAllStringSubmatch(code, -1) {
			claimed[folder+".TestCheck/"+m[1]] = true
		}
	}
	if len(claimed) < 20 {
		t.Fatalf("only %d claims found", len(claimed))
	}
	for _, name := range slices.Sorted(maps.Keys(claimed)) {
		if !listed[name] {
			t.Errorf("%s is in no line of docs/rfc9568.tsv", name)
		}
	}
}
