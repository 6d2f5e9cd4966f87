package config

import (
	"bufio"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"
)

// verdict is what keepalived 2.2.7 said about a file of the corpus.
type verdict struct {
	file                      string
	interfaces                []string
	rc, rcWithout, rcEquipped int
}

func verdicts(t *testing.T) []verdict {
	t.Helper()
	f, err := os.Open("testdata/corpus/verdicts.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []verdict
	for sc := bufio.NewScanner(f); sc.Scan(); {
		w := strings.Split(sc.Text(), "\t")
		if w[0] == "file" {
			continue
		}
		v := verdict{file: w[0]}
		if w[1] != "" {
			v.interfaces = strings.Split(w[1], ",")
		}
		for i, p := range []*int{&v.rc, &v.rcWithout, &v.rcEquipped} {
			n, err := strconv.Atoi(w[2+i])
			if err != nil {
				t.Fatal(err)
			}
			*p = n
		}
		out = append(out, v)
	}
	if len(out) != 55 {
		t.Fatalf("the corpus has %d files, want 55", len(out))
	}
	return out
}

// everyScript is a file system on which every path is a program of root's.
type everyScript struct{}

type scriptInfo struct{ name string }

func (i scriptInfo) Name() string       { return i.name }
func (i scriptInfo) Size() int64        { return 0 }
func (i scriptInfo) Mode() fs.FileMode  { return 0o755 }
func (i scriptInfo) ModTime() time.Time { return time.Time{} }
func (i scriptInfo) IsDir() bool        { return false }
func (i scriptInfo) Sys() any           { return &syscall.Stat_t{} }

func (everyScript) Open(name string) (fs.File, error) {
	return fstest.MapFS{name: program("\x7fELF\x00")}.Open(name)
}
func (everyScript) Stat(name string) (fs.FileInfo, error) { return scriptInfo{name}, nil }

// TestCorpusVerdicts compares the class of every configuration with
// keepalived's: with its interfaces, without them, and on a machine that also
// has the scripts and the keepalived_script user.
func TestCorpusVerdicts(t *testing.T) {
	plain := bench()
	for _, v := range verdicts(t) {
		t.Run(v.file, func(t *testing.T) {
			src := File(filepath.Join("testdata/corpus", v.file))
			opt := plain
			opt.Interfaces = func() ([]string, error) { return append([]string{"lo"}, v.interfaces...), nil }
			_, problems := Load(src, opt)
			if got := KeepalivedCode(problems); got != v.rc {
				t.Errorf("with interfaces: -t gives %d, keepalived %d\n%s", got, v.rc, problemLines(problems))
			}
			equipped := opt
			equipped.Scripts = everyScript{}
			equipped.User = func(string, string) error { return nil }
			equipped.Resolve = nil
			_, problems = Load(src, equipped)
			if got := KeepalivedCode(problems); got != v.rcEquipped {
				t.Errorf("with scripts and user: -t gives %d, keepalived %d\n%s", got, v.rcEquipped, problemLines(problems))
			}
			bare := plain
			bare.Interfaces = func() ([]string, error) { return []string{"lo"}, nil }
			_, problems = Load(src, bare)
			if got := KeepalivedCode(problems); got != v.rcWithout {
				t.Errorf("without interfaces: -t gives %d, keepalived %d\n%s", got, v.rcWithout, problemLines(problems))
			}
		})
	}
}
