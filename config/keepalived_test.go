package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// needKeepalived skips where the real daemon cannot judge: it needs the
// program and a network namespace of its own.
func needKeepalived(t *testing.T) {
	t.Helper()
	out, err := exec.Command("unshare", "-rn", "keepalived", "--version").CombinedOutput()
	if err == nil && bytes.Contains(out, []byte("v2.2.7")) {
		return
	}
	reason := fmt.Sprintf("keepalived 2.2.7 in a network namespace: %v: %.100s", err, out)
	if os.Getenv("HA_REQUIRE") == "all" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// judge runs `keepalived -t` on all files of a directory in one namespace that
// has the interfaces, and gives the exit codes by file name.
func judge(t *testing.T, dir string, interfaces []string) map[string]int {
	t.Helper()
	script := `cd "$1"; shift; ip link set lo up; n=0
for i in "$@"; do n=$((n+1)); ip link add "$i" type veth peer name "p$n" && ip link set "$i" up || exit 99; done
for f in *.conf; do timeout -s KILL 20 keepalived -t -f "$f" >/dev/null 2>&1; echo "$f $?"; done`
	cmd := exec.Command("unshare", append([]string{"-rn", "sh", "-c", script, "sh", dir}, interfaces...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	codes := map[string]int{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) == 2 {
			codes[f[0]], _ = strconv.Atoi(f[1])
		}
	}
	if len(codes) == 0 {
		t.Fatalf("keepalived judged nothing: %v: %s", err, stderr.String())
	}
	return codes
}

// divergences are the diagnostics on which 2.2.7 is not followed, with why.
var divergences = map[string]string{
	"vs_nourl":            "2.2.7 crashes",
	"unclosed_quote":      "2.2.7 crashes",
	"newer_keyword":       "a keyword of 2.2.8",
	"hmac_keys":           "keywords of 2.4.0",
	"our_keyword_plain":   "a keyword of ours outside a comment",
	"script_not_secure":   "needs files that only the test has",
	"bash_in_script_file": "needs files that only the test has",
}

// TestDiagnosticsAgreeWithKeepalivedItself asks the real daemon for the codes
// that the diagnostics' files record.
func TestDiagnosticsAgreeWithKeepalivedItself(t *testing.T) {
	needKeepalived(t)
	dir := t.TempDir()
	names, err := filepath.Glob("testdata/diag/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{}
	for _, file := range names {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text, rest, _ := strings.Cut(string(raw), rcMark)
		code, _, _ := strings.Cut(rest, " ")
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		if divergences[name] != "" {
			continue
		}
		if want[name+".conf"], err = strconv.Atoi(code); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".conf"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := judge(t, dir, []string{"eth0", "eth1"})
	for name, rc := range want {
		if got[name] != rc {
			t.Errorf("%s records exit code %d, keepalived gives %d", name, rc, got[name])
		}
	}
}

// TestTutorialsAgreeWithKeepalivedItself loads the tutorials with both.
func TestTutorialsAgreeWithKeepalivedItself(t *testing.T) {
	needKeepalived(t)
	dir := t.TempDir()
	names, err := filepath.Glob("testdata/tutorials/*.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range names {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	interfaces := []string{"eth0", "eth1", "ens33", "ens34", "ens192"}
	opt := Machine()
	opt.Interfaces = func() ([]string, error) { return append([]string{"lo"}, interfaces...), nil }
	for name, rc := range judge(t, dir, interfaces) {
		_, problems := Load(File(filepath.Join(dir, name)), opt)
		if got := KeepalivedCode(problems); got != rc {
			t.Errorf("%s: ours %d, keepalived %d\n%s", name, got, rc, problemLines(problems))
		}
	}
}
