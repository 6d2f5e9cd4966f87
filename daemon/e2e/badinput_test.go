package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keepmesh/keepmesh/daemon/status"
	"github.com/keepmesh/keepmesh/lab"
)

// What ends the daemon at the start: the exit code, and a text that names the
// place and what to do.
func TestWhatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	lab.Require(t, lab.Root) // a second user, who has no rights
	w := newWorld(t)
	h := w.host("n1", "eth0", "10.9.0.1/24")
	good := quick("VI_1", 51, 100, "", "10.9.0.100/24")
	w.write(h, lab.KeepalivedConf, 0o644, good)
	w.write(h, "/etc/keepalived/noarg.conf", 0o644, edit(t, good, "virtual_router_id 51", "virtual_router_id"))
	w.write(h, "/etc/keepalived/twice.conf", 0o644, good+quick("VI_2", 51, 90, "", "10.9.0.102/24"))
	w.write(h, "/etc/keepalived/secret.conf", 0o600, good)
	w.write(h, "/etc/keepmesh/short.key", 0o600, "c2hvcnQ=\n")
	w.write(h, "/etc/keepmesh/good.key", 0o600, "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")
	mesh := func(key, bind string) string {
		return fmt.Sprintf("mesh {\n    cluster_name edge\n    node_name n1\n    bind %s\n    bootstrap_expect 1\n    data_dir /var/lib/keepmesh\n    encrypt_key_file %s\n}\n", bind, key)
	}
	w.write(h, "/etc/keepmesh/key.conf", 0o600, mesh("/etc/keepmesh/short.key", "10.9.0.1"))
	w.write(h, "/etc/keepmesh/bind.conf", 0o600, mesh("/etc/keepmesh/good.key", "10.9.0.77"))
	w.write(h, "/etc/keepmesh/taken.conf", 0o600, mesh("/etc/keepmesh/good.key", "10.9.0.1"))
	w.write(h, "/etc/keepmesh/brace.conf", 0o600, strings.TrimSuffix(strings.TrimSpace(mesh("/etc/keepmesh/good.key", "10.9.0.1")), "}"))
	taken, err := h.Listen("tcp", "10.9.0.1:7946")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	daemon := func(conf string, flags ...string) []string {
		return append([]string{binary, "keepalived", "-n", "-l", "-G", "-f", conf}, flags...)
	}
	for name, c := range map[string]struct {
		argv []string
		code int
		says string
	}{
		"no such file":          {daemon("/etc/keepalived/absent.conf"), 6, `absent\.conf`},
		"a folder":              {daemon("/etc/keepalived"), 2, `/etc/keepalived is a directory`},
		"no argument":           {daemon("/etc/keepalived/noarg.conf"), 2, `noarg\.conf:4:\d+: .*virtual_router_id`},
		"no rights":             {append([]string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}, daemon(lab.KeepalivedConf, "-p", "/tmp/x.pid")...), 4, `CAP_NET_ADMIN.*root`},
		"pid file":              {daemon(lab.KeepalivedConf, "-p", "/absent/x.pid"), 1, `/absent/x\.pid.*-p`},
		"mesh: no such file":    {daemon(lab.KeepalivedConf, "--mesh", "/etc/keepmesh/absent.conf"), 2, `keepmesh/absent\.conf`},
		"mesh: key too short":   {daemon(lab.KeepalivedConf, "--mesh", "/etc/keepmesh/key.conf"), -1, `short\.key|key\.conf:\d+`},
		"mesh: foreign address": {daemon(lab.KeepalivedConf, "--mesh", "/etc/keepmesh/bind.conf"), -1, `10\.9\.0\.77`},
		"mesh: port in use":     {daemon(lab.KeepalivedConf, "--mesh", "/etc/keepmesh/taken.conf"), -1, `7946.*in use`},
		"mesh: missing brace":   {daemon(lab.KeepalivedConf, "--mesh", "/etc/keepmesh/brace.conf"), 2, `brace\.conf:\d+`},
		"run: no such file":     {[]string{binary, "run", "-f", "/etc/keepalived/absent.conf"}, 6, `absent\.conf`},
	} {
		code, out := w.code(h, c.argv...)
		if code == 0 || c.code > 0 && code != c.code || !regexp.MustCompile(c.says).MatchString(out) {
			t.Errorf("%s: the daemon ends with %d and says:\n%s", name, code, out)
		}
		if strings.Contains(out, "goroutine ") {
			t.Errorf("%s: it panicked:\n%s", name, out)
		}
		// One clear message: the cause is on one line, or on the line of its
		// place and once more where the daemon ends.
		if n := strings.Count(out, "ERROR"); n > 3 {
			t.Errorf("%s: it says so in %d lines:\n%s", name, n, out)
		}
		if got := w.addresses(h); !slices.Equal(got, []string{"eth0 10.9.0.1/24"}) {
			t.Errorf("%s: addresses are left: %v", name, got)
		}
		if list, err := h.Processes(); err != nil || len(list) > 0 {
			t.Errorf("%s: processes are left: %v, %v", name, list, err)
		}
		if out := w.run(h, "find", "/run", "-name", "*.pid").Stdout; out != "" {
			t.Errorf("%s: pid files are left: %s", name, out)
		}
	}
	code, out := w.code(h, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", binary, "check", "/etc/keepalived/secret.conf")
	if code != 2 || !strings.Contains(out, "secret.conf") || !strings.Contains(out, "permission") {
		t.Errorf("check of an unreadable file ends with %d and says:\n%s", code, out)
	}
}

// What keepalived goes on with, so does keepmesh: the mistake is named with
// its place, and the rest runs.
func TestMistakesThatLeaveTheRestRunning(t *testing.T) {
	t.Parallel()
	good := quick("VI_1", 51, 100, "", "10.9.0.100/24", "10.9.0.101/24")
	for name, c := range map[string]struct {
		conf string
		says string
	}{
		"bad address":   {edit(t, good, "10.9.0.101/24", "10.9.0.999/24"), `keepalived\.conf:11:9: .*10\.9\.0\.999`},
		"missing brace": {strings.TrimSuffix(strings.TrimSpace(good), "}"), `keepalived\.conf:\d+:\d+: .*(brace|\})`},
		"missing script": {edit(t, good, "version 3", "version 3\n    track_script {\n        x\n    }") + "vrrp_script x {\n    script /etc/absent\n}\n",
			`keepalived\.conf:18:\d+: .*vrrp_script x.*/etc/absent is not found`},
		"unknown keyword": {edit(t, good, "version 3", "version 3\n    prioritty 200"), `keepalived\.conf:7:5: .*prioritty`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			h := w.host("n1", "eth0", "10.9.0.1/24")
			p := w.keepmesh(h, c.conf)
			w.says(p, c.says)
			w.holds("10.9.0.100", "n1")
			w.still("10.9.0.102")
			w.stop(p)
			if got := w.addresses(h); !slices.Equal(got, []string{"eth0 10.9.0.1/24"}) {
				t.Errorf("addresses are left: %v", got)
			}
		})
	}
}

// An interface that is not there: FAULT with its reason, and the instance runs
// when the interface appears.
func TestInterfaceThatAppearsLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.host("n1", "eth0", "10.9.0.1/24")
	p := w.keepmesh(h, quick("VI_0", 50, 100, "", "10.9.0.99/24")+edit(t, quick("VI_1", 51, 100, "", "10.9.9.100/24"), "interface eth0", "interface late0"))
	w.says(p, `keepalived\.conf:\d+:\d+: .*late0`)
	i := w.inState(h, "VI_1", "FAULT")
	if !strings.Contains(i.Reason, "late0") {
		t.Errorf("the reason is %q", i.Reason)
	}
	if code, out := w.code(h, binary, "status"); code != 0 || !strings.Contains(out, "late0") {
		t.Errorf("status does not name the interface:\n%s", out)
	}
	w.holds("10.9.0.99", "n1")
	w.run(h, "ip", "link", "add", "late0", "type", "veth", "peer", "name", "late1")
	w.run(h, "ip", "link", "set", "late1", "up")
	w.run(h, "ip", "link", "set", "late0", "up")
	w.reports(h, "VI_1", "to miss an address", func(i *status.Instance) bool {
		return i.State == "FAULT" && strings.Contains(i.Reason, "address")
	})
	w.run(h, "ip", "address", "add", "10.9.9.1/24", "dev", "late0")
	w.inState(h, "VI_1", "MASTER")
	w.holds("10.9.9.100", "n1")
	w.run(h, "ip", "link", "del", "late0")
	w.inState(h, "VI_1", "FAULT")
	w.still("10.9.0.99", "n1")
	w.stop(p)
}

// Nodes that cannot become one mesh say why, and VRRP goes on between them: a
// wrong key, and a seed whose name nobody knows.
func TestMeshThatCannotFormSaysWhyAndVRRPGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.host("n1", "eth0", "10.9.0.1/24"), w.host("n2", "eth0", "10.9.0.2/24")
	keys := []string{"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n", "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=\n"}
	start := func(n int, h *lab.Host, seed string, priority int) *lab.Proc {
		w.write(h, "/etc/keepmesh/gossip.key", 0o600, keys[n-1])
		mesh := fmt.Sprintf("mesh {\n    cluster_name edge\n    node_name n%d\n    bind 10.9.0.%d\n    join { %s }\n    bootstrap_expect 2\n    data_dir /var/lib/keepmesh\n    encrypt_key_file /etc/keepmesh/gossip.key\n}\n", n, n, seed)
		p, err := h.Keepmesh(binary, quick("VI_1", 51, priority, "", "10.9.0.100/24"), mesh)
		return w.started(h, p, err)
	}
	p := start(1, a, "nobody.invalid", 150)
	q := start(2, b, "10.9.0.1", 100)
	w.holds("10.9.0.100", "n1")
	w.says(p, `nobody\.invalid`)
	w.says(q, `(?i)10\.9\.0\.1.*(key|decrypt)|(key|decrypt).*10\.9\.0\.1`)
	w.inState(b, "VI_1", "BACKUP")
	w.stop(p)
	w.holds("10.9.0.100", "n2")
	w.stop(q)
	w.holds("10.9.0.100")
}
