package script

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pretendShell makes the package believe that /bin/sh is a link to name.
func pretendShell(t *testing.T, name string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	mustLink(t, name, filepath.Join(dir, "sh"))
	old := shPath
	shPath = filepath.Join(dir, "sh")
	t.Cleanup(func() { shPath = old })
}

func TestDoubtsNameBashSyntaxAndStrayOperators(t *testing.T) {
	pretendShell(t, "dash")
	for line, want := range map[string]string{
		"</dev/tcp/127.0.0.1/80":                    "`/dev/tcp/` is bash syntax, but this line is run by sh, where it fails every time; write /bin/bash -c '</dev/tcp/127.0.0.1/80' or use nc -z",
		"/bin/sh -c '[[ -e /x ]] && exit 1'":        "`[[` is bash syntax, but this line is run by sh, where it fails every time; write /bin/bash instead of /bin/sh",
		"pidof nginx && exit 0 || exit 1":           "`&&` is passed to pidof as an argument, since no shell is involved; write /bin/sh -c '...' if it is meant for one",
		"/bin/bash -c '</dev/tcp/127.0.0.1/80'":     "",
		"/bin/sh -c 'test -e /x && exit 1; exit 0'": "",
		"killall -0 haproxy":                        "",
		"/usr/bin/test 3 = 3":                       "",
	} {
		c, err := Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(c.Doubts(), "\n"); got != want {
			t.Errorf("%s:\n got %q\nwant %q", line, got, want)
		}
	}
	pretendShell(t, "bash")
	c, _ := Parse("</dev/tcp/127.0.0.1/80")
	if got := c.Doubts(); got != nil {
		t.Errorf("where sh is bash: %q", got)
	}
}

func TestDoubtsReadTheScriptFile(t *testing.T) {
	pretendShell(t, "dash")
	for text, want := range map[string]string{
		"#!/bin/sh\n# [[ in a comment\nif [[ $1 == a ]]; then exit 1; fi\n": "`[[` is bash syntax, but ",
		"#!/bin/sh\n# [[ in a comment\nexit 0\n":                            "",
		"#! /bin/bash\nif [[ $1 == a ]]; then exit 1; fi\n":                 "",
		"#!/usr/bin/env bash\n[[ a ]]\n":                                    "",
		"exit 0\n":                                                          "has no #! line",
	} {
		c := resolved(t, writeScript(t, text))
		got := strings.Join(c.Doubts(), "\n")
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
