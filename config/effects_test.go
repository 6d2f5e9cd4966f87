package config

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var testFunction = regexp.MustCompile(`(?m)^func (Test[A-Z]\w*)\(\w+ \*testing\.T\)`)

// testsOutside gives the names of all tests of the repository outside of this
// package.
func testsOutside(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (e.Name() == "config" || e.Name() == "testdata" || strings.HasPrefix(e.Name(), ".") && e.Name() != ".."):
			return filepath.SkipDir
		case e.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range testFunction.FindAllSubmatch(text, -1) {
			names[string(m[1])] = true
		}
		return err
	})
	if err != nil || len(names) < 100 {
		t.Fatalf("found %d tests: %v", len(names), err)
	}
	return names
}

func TestEachWorkingKeywordNamesATestOfAnotherPackage(t *testing.T) {
	tests := testsOutside(t)
	works := 0
	for _, k := range append(Keywords(), MeshKeywords()...) {
		switch {
		case k.Support == Works && !tests[k.Test]:
			t.Errorf("%s %s works by %q, which does not exist", k.Section, k.Name, k.Test)
		case k.Support != Works && k.Test != "":
			t.Errorf("%s %s is %s and names a test", k.Section, k.Name, k.Support)
		case k.Support == Works:
			works++
		}
	}
	if works < 80 {
		t.Errorf("only %d keywords work", works)
	}
}

func TestCompatibilityDocumentIsUpToDate(t *testing.T) {
	var want bytes.Buffer
	if err := WriteCompatibility(&want); err != nil {
		t.Fatal(err)
	}
	const file = "../docs/compat.md"
	if *update {
		if err := os.WriteFile(file, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), want.String()); diff != "" {
		t.Errorf("run go generate ./config (-file +table):\n%s", diff)
	}
}
