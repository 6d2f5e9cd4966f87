package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepmesh/keepmesh/daemon/status"
	"github.com/keepmesh/keepmesh/lab"
)

// quick is a configuration with adverts each 0.1 s, in version 3.
func quick(name string, vrid, priority int, body string, vips ...string) string {
	return fmt.Sprintf(`vrrp_instance %s {
    state BACKUP
    interface eth0
    virtual_router_id %d
    priority %d
    version 3
    advert_int 0.1
    %s
    virtual_ipaddress {
        %s
    }
}
`, name, vrid, priority, body, strings.Join(vips, "\n        "))
}

func mustAddr(s string) netip.Addr { return netip.MustParseAddr(s) }

// HUP: an instance that did not change neither misses an advert nor changes
// its state nor announces anything; a changed list of addresses changes those
// addresses only; a broken file changes nothing and is named.
func TestReloadDisturbsNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.host("n1", "eth0", "10.9.0.1/24")
	note := `notify "/etc/keepalived/notify.sh"
    garp_master_delay 0`
	w.notifyLog(h)
	one := pair{self: 1, priority: 100, extra: note}.String()
	one = edit(t, one, `notify "/etc/keepalived/note.sh"`, "")
	two := func(vips ...string) string { return one + quick("VI_2", 52, 100, note, vips...) }
	conf := two("10.9.0.102/24", "10.9.0.103/24")
	p := w.keepmesh(h, conf)
	w.holds(pairVIP, "n1")
	w.holds("10.9.0.103", "n1")
	before := w.inState(h, "VI_1", "MASTER")
	w.text(h, "/run/notify.log", `(?s)(VI_1 MASTER.*VI_2 MASTER|VI_2 MASTER.*VI_1 MASTER)`)
	notes, _ := h.ReadFile("/run/notify.log")
	begin := w.from(t, 0, "n1", 51, 100).At

	reloads := 0
	again := func(conf string) {
		t.Helper()
		w.reload(h, p, conf)
		reloads++
		w.says(p, fmt.Sprintf(`(?s)(configuration reloaded.*){%d}`, reloads))
	}
	again(conf)
	again(conf)
	changed := lab.Now()
	again(two("10.9.0.102/24", "10.9.0.104/24"))
	w.holds("10.9.0.104", "n1")
	w.holds("10.9.0.103")
	w.eventually("an announcement of the new address", func() bool { return w.announced(changed, "n1", mustAddr("10.9.0.104")) > 0 }, p.Output)
	for _, other := range []string{pairVIP, "10.9.0.101", "10.9.0.102"} {
		if n := w.announced(changed, "n1", mustAddr(other)); n > 0 {
			t.Errorf("%s was announced %d times by a reload that did not touch it", other, n)
		}
	}

	// Broken files: the old configuration stays.
	w.reload(h, p, "vrrp_instance VI_1 {\n    interface eth0\n    virtual_router_id 300\n    virtual_ipaddress {\n        10.9.0.999\n    }\n}\n")
	w.says(p, `reload refused.*keepalived\.conf:\d+`)
	if err := h.Remove(lab.KeepalivedConf); err != nil {
		t.Fatal(err)
	}
	w.signal(p, sigHUP)
	w.says(p, `(?s)reload refused.*reload refused.*keepalived\.conf`)
	w.from(t, lab.Now(), "n1", 51, 100)
	w.speaks(t, begin, lab.Now(), "n1", 51)
	for _, vip := range []string{pairVIP, "10.9.0.101", "10.9.0.102", "10.9.0.104"} {
		w.still(vip, "n1")
	}
	after := w.instance(h, "VI_1")
	if after == nil || after.Since.Sub(before.Since).Abs() > time.Second || after.State != "MASTER" {
		t.Errorf("the instance was %+v and is %+v", before, after)
	}
	if now, _ := h.ReadFile("/run/notify.log"); string(now) != string(notes) {
		t.Errorf("the reloads have notified:\n%s", cmp.Diff(string(notes), string(now)))
	}
	if code, out := w.code(h, binary, "events"); code != 0 || !strings.Contains(out, "reload refused") {
		t.Errorf("events does not tell of the refused reload:\n%s", out)
	}
}

// TERM: no address, route, rule, file, FIFO or process is left.
func TestTermLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.host("n1", "eth0", "10.9.0.1/24")
	state := func() string {
		rules, files := w.run(h, "ip", "rule", "list"), w.run(h, "find", "/run", "/etc/keepalived", "-name", ".lab", "-prune", "-o", "-not", "-type", "d", "-print")
		names := strings.Fields(files.Stdout)
		slices.Sort(names)
		return strings.Join(w.addresses(h), "\n") + "\n" + strings.Join(w.routes(h), "\n") + "\n" + rules.Stdout + strings.Join(names, "\n")
	}
	w.write(h, "/etc/keepalived/fifo.sh", 0o755, "#!/bin/sh\nexec cat \"$1\" >/dev/null\n")
	conf := "global_defs {\n    vrrp_notify_fifo /run/vrrp.fifo\n    vrrp_notify_fifo_script /etc/keepalived/fifo.sh\n}\n" +
		"static_ipaddress {\n    10.9.1.1/24 dev eth0\n}\n" +
		quick("VI_1", 51, 100, `virtual_ipaddress_excluded {
        10.9.2.1/24
    }
    virtual_routes {
        10.8.0.0/16 via 10.9.0.254
    }
    virtual_rules {
        from 10.9.0.100 table 100 priority 5000
    }`, "10.9.0.100/24 label eth0:vip")
	w.write(h, lab.KeepalivedConf, 0o644, conf)
	before := state()
	p := w.keepmesh(h, conf)
	w.holds("10.9.0.100", "n1")
	w.inState(h, "VI_1", "MASTER")
	w.eventually("everything to be there", func() bool {
		s := state()
		return strings.Contains(s, "10.9.2.1/24") && strings.Contains(s, "10.8.0.0/16") && strings.Contains(s, "5000:") &&
			strings.Contains(s, "10.9.1.1/24") && strings.Contains(s, "/run/vrrp.fifo") && strings.Contains(s, "keepalived.pid")
	}, state)
	w.stop(p)
	if diff := cmp.Diff(before, state()); diff != "" {
		t.Errorf("the stopped daemon leaves behind (-before +after):\n%s", diff)
	}
	if list, err := h.Processes(); err != nil || len(list) > 0 {
		t.Errorf("processes are left: %v, %v", list, err)
	}
	if w.from(t, 0, "n1", 51, 0).Host != "n1" {
		t.Error("no farewell")
	}
}

// datagrams listens on a Unix socket of a host.
func (w *world) datagrams(h *lab.Host, name string) (read func() string) {
	w.t.Helper()
	path, err := h.Outside(name)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	var all strings.Builder
	buf := make([]byte, 64<<10)
	return func() string {
		for {
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			n, err := c.Read(buf)
			if err != nil {
				return all.String()
			}
			all.Write(buf[:n])
			all.WriteByte('\n')
		}
	}
}

func (w *world) receives(read func() string, expr string) string {
	w.t.Helper()
	re := regexp.MustCompile(expr)
	w.eventually(expr, func() bool { return re.MatchString(read()) }, read)
	return re.FindString(read())
}

// Without -n: the starter returns 0 when the daemon works; pid files name the
// three processes; -S 3 logs to local3.
func TestDaemonModeUnderItsOldName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.hostWith("n1", lab.HostOptions{
		Interfaces: []lab.Iface{{Name: "eth0", Addr: mustPrefix("10.9.0.1/24")}}, Private: []string{"/dev"},
	})
	syslog := w.datagrams(h, "/dev/log")
	w.write(h, lab.KeepalivedConf, 0o644, quick("VI_1", 51, 100, "", "10.9.0.100/24"))
	w.write(h, "/run/old/.keep", 0o644, "")
	w.run(h, "ln", "-s", binary, "/run/old/keepalived")
	pids := map[string]string{"-p": "/run/k.pid", "-r": "/run/v.pid", "-c": "/run/c.pid"}
	argv := []string{"/run/old/keepalived", "-D", "-S", "3", "-f", lab.KeepalivedConf}
	for flag, file := range pids {
		argv = append(argv, flag, file)
	}
	code, out := w.code(h, argv...)
	if code != 0 || out != "" {
		t.Fatalf("the starter ends with %d and says %q", code, out)
	}
	// Ready means: both files are there when the starter has returned.
	number := map[string]int{}
	for _, file := range pids {
		b, err := h.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if number[file], err = strconv.Atoi(strings.TrimSpace(string(b))); err != nil {
			t.Fatal(err)
		}
	}
	list, err := h.Processes()
	if err != nil {
		t.Fatal(err)
	}
	var running []int
	for _, p := range list {
		running = append(running, p.PID)
		if p.PID != number["/run/k.pid"] && p.PPID != number["/run/k.pid"] {
			t.Errorf("%+v is no child of the guardian %d", p, number["/run/k.pid"])
		}
	}
	for file, pid := range number {
		if !slices.Contains(running, pid) {
			t.Errorf("%s names %d, which is none of %v", file, pid, running)
		}
	}
	w.holds("10.9.0.100", "n1")
	// 19 is local3, 6 is info: 158.
	w.receives(syslog, `<158>.*keepmesh_vrrp\[\d+\]: .*to=MASTER`)
	if err := h.Signal(15, number["/run/k.pid"]); err != nil {
		t.Fatal(err)
	}
	w.eventually("the end", func() bool {
		list, err := h.Processes()
		return err == nil && len(list) == 0
	}, func() string { return fmt.Sprint(h.Processes()) })
	w.holds("10.9.0.100")
	for _, file := range pids {
		if _, err := h.ReadFile(file); err == nil {
			t.Errorf("%s is left", file)
		}
	}
}

// The starter of a daemon that cannot run says why and fails.
func TestDaemonModeFailsInTheForeground(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.host("n1", "eth0", "10.9.0.1/24")
	code, out := w.code(h, binary, "keepalived", "-G", "-f", "/etc/keepalived/absent.conf", "-p", "/run/k.pid", "-r", "/run/v.pid", "-c", "/run/c.pid")
	if code != 6 || !strings.Contains(out, "absent.conf") {
		t.Errorf("the starter ends with %d and says %q", code, out)
	}
	if _, err := h.ReadFile("/run/k.pid"); err == nil {
		t.Error("a pid file is left")
	}
}

// The dumps of SIGUSR1, SIGUSR2 and SIGRTMIN+2, and sd_notify.
func TestSignalsAndServiceManager(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.hostWith("n1", lab.HostOptions{Interfaces: []lab.Iface{{Name: "eth0", Addr: mustPrefix("10.9.0.1/24")}}, PrivateTmp: true})
	manager := w.datagrams(h, "/run/manager")
	conf := quick("VI_1", 51, 100, "", "10.9.0.100/24")
	w.write(h, lab.KeepalivedConf, 0o644, conf)
	p, err := h.Start(lab.Cmd{Argv: []string{binary, "keepalived", "-n", "-l", "-D", "-G", "-f", lab.KeepalivedConf}, Env: []string{"NOTIFY_SOCKET=/run/manager"}})
	w.started(h, p, err)
	w.receives(manager, `(?m)^READY=1`)
	w.inState(h, "VI_1", "MASTER")
	w.from(t, 0, "n1", 51, 100)

	w.signal(p, sigUSR1)
	if data := w.text(h, "/tmp/keepalived.data", `(?s)VRRP Instance = VI_1.*State = MASTER`); !strings.Contains(data, "10.9.0.100") {
		t.Errorf("keepalived.data has no address:\n%s", data)
	}
	w.signal(p, sigUSR2)
	w.text(h, "/tmp/keepalived.stats", `(?s)VRRP Instance: VI_1.*Sent: [1-9]`)
	if code, out := w.code(h, binary, "keepalived", "--signum=JSON"); code != 0 || strings.TrimSpace(out) != "36" {
		t.Errorf("--signum=JSON ends with %d and says %q", code, out)
	}
	w.signal(p, 36)
	w.text(h, "/tmp/keepalived.json", `"iname": *"VI_1"`)

	w.signal(p, sigHUP)
	w.receives(manager, `(?s)READY=1.*RELOADING=1.*READY=1`)
	w.stop(p)
	w.receives(manager, `(?s)READY=1.*RELOADING=1.*READY=1.*STOPPING=1`)
}

// -t ends with keepalived's codes, -v with 0.
func TestConfigTestEndsWithKeepalivedsCodes(t *testing.T) {
	t.Parallel()
	lab.Require(t, lab.Keepalived)
	w := newWorld(t)
	h := w.host("n1", "eth0", "10.9.0.1/24")
	good := quick("VI_1", 51, 100, "", "10.9.0.100/24")
	for name, conf := range map[string]string{
		"clean":           good,
		"unknown keyword": edit(t, good, "version 3", "version 3\n    verzion 3"),
		"missing brace":   strings.TrimSuffix(strings.TrimSpace(good), "}"),
		"bad vrid":        edit(t, good, "virtual_router_id 51", "virtual_router_id 300"),
		"bad address":     edit(t, good, "10.9.0.100/24", "10.9.0.999/24"),
		"no interface":    edit(t, good, "interface eth0", "interface eth9"),
		"vrid twice":      good + quick("VI_2", 51, 100, "", "10.9.0.101/24"),
		"no argument":     edit(t, good, "virtual_router_id 51", "virtual_router_id"),
		"missing script":  edit(t, good, "version 3", "version 3\n    track_script {\n        x\n    }") + "vrrp_script x {\n    script /etc/absent\n}\n",
		"root's script":   edit(t, good, "version 3", "version 3\n    notify /bin/true"),
	} {
		w.write(h, lab.KeepalivedConf, 0o644, conf)
		want, theirs := w.code(h, "keepalived", "-t", "-f", lab.KeepalivedConf)
		got, ours := w.code(h, binary, "keepalived", "-t", "-f", lab.KeepalivedConf)
		if got != want {
			t.Errorf("%s: code %d, keepalived's is %d\nours: %s\nkeepalived's: %s", name, got, want, ours, theirs)
		}
		if got != 0 && !regexp.MustCompile(`keepalived\.conf:\d+`).MatchString(ours) {
			t.Errorf("%s: no place is named in %q", name, ours)
		}
	}
	if code, out := w.code(h, binary, "keepalived", "-t", "-f", "/etc/keepalived/absent.conf"); code != 6 || !strings.Contains(out, "absent.conf") {
		t.Errorf("a missing file gives %d, %q", code, out)
	}
	if code, out := w.code(h, binary, "keepalived", "-v"); code != 0 || !strings.Contains(out, "Keepalived") {
		t.Errorf("-v gives %d, %q", code, out)
	}
	if code, out := w.code(h, binary, "keepalived", "--no-such-flag"); code == 0 || !strings.Contains(out, "no-such-flag") {
		t.Errorf("an unknown flag gives %d, %q", code, out)
	}
}

// A second daemon in another network namespace on the same /run starts with
// the default names; one in the same namespace is refused and disturbs nothing.
func TestSecondDaemonOnTheSameRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.host("n1", "eth0", "10.9.0.1/24")
	w.write(h, lab.KeepalivedConf, 0o644, quick("VI_1", 51, 100, "", "10.9.0.100/24"))
	argv := []string{binary, "keepalived", "-n", "-l", "-D", "-G", "-f", lab.KeepalivedConf}
	start := func(argv ...string) *lab.Proc {
		p, err := h.Start(lab.Cmd{Argv: argv})
		return w.started(h, p, err)
	}
	first := start(argv...)
	w.holds("10.9.0.100", "n1")
	begin := w.from(t, 0, "n1", 51, 100).At
	other := start(append([]string{"unshare", "-n"}, argv...)...)
	w.says(other, `ready`)
	code, out := w.code(h, argv...)
	if code == 0 || !strings.Contains(out, "/run/keepalived.pid") || !strings.Contains(out, "another daemon is running") {
		t.Errorf("a second daemon in the same namespace ends with %d and says %q", code, out)
	}
	w.still("10.9.0.100", "n1")
	w.inState(h, "VI_1", "MASTER")
	w.stop(other)
	w.reports(h, "VI_1", "to be MASTER still", func(i *status.Instance) bool { return i.State == "MASTER" })
	if b, err := h.ReadFile("/run/keepalived.pid"); err != nil || len(b) == 0 {
		t.Errorf("the first one's pid file reads %q, %v", b, err)
	}
	if gap := w.longestGap(begin, lab.Now(), "n1", 51); gap > time.Second {
		t.Errorf("the first one was silent for %s", gap)
	}
	w.stop(first)
	if left, _ := filepath.Glob("/run/keepmesh/ns-*"); len(left) > 0 {
		t.Errorf("the machine's own /run has %v", left)
	}
}
