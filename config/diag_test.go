package config

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the expected problems from what was found")

// bundleOf makes a source of one file.
func bundleOf(text string) Bundle {
	return Bundle{Name: "keepalived.conf", Files: []BundleFile{{Path: "keepalived.conf", Text: text}}}
}

// program is a file that belongs to root.
func program(text string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(text), Mode: 0o755, Sys: &syscall.Stat_t{}}
}

// bench is a small machine: two interfaces, a few programs, one user.
func bench() Options {
	return Options{
		NodeID:     "lb1",
		Env:        func(name string) string { return map[string]string{"SITE": "north"}[name] },
		Interfaces: func() ([]string, error) { return []string{"lo", "eth0", "eth1"}, nil },
		Scripts: fstest.MapFS{
			"bin/true": program("\x7fELF\x00"), "bin/false": program("\x7fELF\x00"), "bin/sh": program("\x7fELF\x00"), "bin/bash": program("\x7fELF\x00"),
			"usr/bin/pidof": program("\x7fELF\x00"), "bin/pidof": program("\x7fELF\x00"), "usr/bin/killall": program("\x7fELF\x00"),
			"srv/open.sh":   {Data: []byte("#!/bin/sh\n"), Mode: 0o777, Sys: &syscall.Stat_t{}},
			"srv/bash.sh":   program("if [[ -f /down ]]; then exit 1; fi\n"),
			"srv/good.sh":   program("#!/bin/bash\n[[ -f /down ]] && exit 1\n"),
			"srv/other.sh":  {Data: []byte("#!/bin/sh\n"), Mode: 0o755, Sys: &syscall.Stat_t{Uid: 1000}},
			"home":          {Mode: fs.ModeDir | 0o755, Sys: &syscall.Stat_t{Uid: 1000}},
			"home/check.sh": program("#!/bin/sh\n"),
		},
		User: func(user, group string) error {
			if user != "root" {
				return fmt.Errorf("there is no user %s", user)
			}
			if group != "" && group != "root" {
				return fmt.Errorf("there is no group %s", group)
			}
			return nil
		},
		Resolve: func(string) bool { return false },
	}
}

func problemLines(problems []Problem) string {
	var b strings.Builder
	for _, p := range problems {
		fmt.Fprintf(&b, "%s %s %s\n", p.Severity, p.Code, p)
	}
	return b.String()
}

const (
	rcMark       = "-- keepalived -t: "
	problemsMark = "-- problems --\n"
)

// TestDiagnostics holds one file per diagnostic: the text, the exit code of
// `keepalived -t` 2.2.7 for it, and the problems that are expected.
func TestDiagnostics(t *testing.T) {
	files, err := filepath.Glob("testdata/diag/*.txt")
	if err != nil || len(files) < 100 {
		t.Fatalf("found %d files: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text, rest, ok1 := strings.Cut(string(raw), rcMark)
			code, want, ok2 := strings.Cut(rest, " --\n"+problemsMark)
			if !ok1 || !ok2 {
				t.Fatalf("%s lacks its marks", file)
			}
			_, problems := Load(bundleOf(text), bench())
			got := problemLines(problems)
			if *update {
				if err := os.WriteFile(file, []byte(text+rcMark+code+" --\n"+problemsMark+got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("problems differ (-want +got):\n%s", diff)
			}
			rc, err := strconv.Atoi(code)
			if err != nil {
				t.Fatal(err)
			}
			if got := KeepalivedCode(problems); got != rc {
				t.Errorf("exit code of -t is %d, want keepalived's %d\n%s", got, rc, problemLines(problems))
			}
		})
	}
}
