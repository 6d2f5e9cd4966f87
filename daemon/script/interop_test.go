package script

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// The same lines must reach a script with the same words and the same $0 as
// with keepalived.
func TestWordsAndPathsEqualKeepaliveds(t *testing.T) {
	missing := func(why string, err error) {
		if os.Getenv("HA_REQUIRE") == "all" {
			t.Fatalf("%s: %v", why, err)
		}
		t.Skipf("%s: %v", why, err)
	}
	if _, err := exec.LookPath("keepalived"); err != nil {
		missing("keepalived is not installed", err)
	}
	if b, err := os.ReadFile("/proc/self/setgroups"); err == nil && string(b) == "deny\n" {
		missing("keepalived starts no script in such a user namespace", errors.New("setgroups is denied"))
	}
	netns := fmt.Sprintf("kmscript%d", os.Getpid())
	if out, err := exec.Command("ip", "netns", "add", netns).CombinedOutput(); err != nil {
		missing("no network namespace can be made", fmt.Errorf("%w: %s", err, out))
	}
	defer exec.Command("ip", "netns", "del", netns).Run()
	for _, c := range []string{"link add eth0 type veth peer name eth1", "link set eth0 up", "link set eth1 up", "addr add 10.77.0.1/24 dev eth0"} {
		args := append([]string{"-n", netns}, strings.Fields(c)...)
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}

	dir := t.TempDir()
	rec := filepath.Join(dir, "rec.sh")
	text := "#!/bin/sh\nout=$1; shift\n{ echo \"$0\"; for a; do printf '<%s>\\n' \"$a\"; done; } > $out.tmp; mv $out.tmp $out\n"
	if err := os.WriteFile(rec, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sub", "real.sh"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	mustLink(t, "sub/real.sh", filepath.Join(dir, "away.sh"))
	mustLink(t, "rec.sh", filepath.Join(dir, "near.sh"))
	mustLink(t, "sub", filepath.Join(dir, "linked"))

	programs := []string{"rec.sh", "away.sh", "near.sh", "linked/real.sh", "sub/../rec.sh"}
	rests := []string{
		``, `a b  c`, `'a b' "c d"`, `x'y z'w`, `"" ''`, `'a"b' "a'b"`, `a\ b c\\d`, `'a\'b' \"`,
		`\x41\102\cA`, `\n\t'\n'`, `$HOME $(id) *`, `&& exit 0 || exit 1`, `> /dev/null 2>&1`, `\q\a\E`, `ü {x} #y`,
	}
	type line struct{ program, rest string }
	var lines []line
	for i, rest := range rests {
		lines = append(lines, line{programs[i%len(programs)], rest})
	}
	full := func(who string, i int) (text, out string) {
		out = fmt.Sprintf("%s/%s%d", dir, who, i)
		return fmt.Sprintf("%s/%s %s %s", dir, lines[i].program, out, lines[i].rest), out
	}
	conf, tracked := "global_defs {\n  script_user root\n}\n", ""
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	for i := range lines {
		text, _ := full("theirs", i)
		conf += fmt.Sprintf("vrrp_script s%d {\n  script \"%s\"\n  interval 100\n}\n", i, quote.Replace(text))
		tracked += fmt.Sprintf("    s%d\n", i)
	}
	conf += "vrrp_instance VI_1 {\n  interface eth0\n  virtual_router_id 5\n  virtual_ipaddress { 10.77.0.100/24 }\n  track_script {\n" + tracked + "  }\n}\n"
	if err := os.WriteFile(dir+"/k.conf", []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	var log syncBuffer
	cmd := exec.Command("ip", "netns", "exec", netns, "keepalived", "-n", "-l", "-P", "-G",
		"-f", dir+"/k.conf", "-p", dir+"/p", "-r", dir+"/r", "-c", dir+"/c")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Signal(unix.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	}()

	e := newExecutor(t, Options{})
	for i := range lines {
		text, ours := full("ours", i)
		if r := run(t, e, text); !r.OK() {
			t.Errorf("%s: %v", text, r)
		}
		_, theirs := full("theirs", i)
		for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			if _, err := os.Stat(theirs); err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("keepalived did not run %s", text)
			}
		}
		if d := cmp.Diff(read(t, theirs), read(t, ours)); d != "" {
			t.Errorf("%s (-keepalived +keepmesh):\n%s", lines[i].rest, d)
		}
	}
}
