package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepmesh/keepmesh/lab"
)

// notifyLog writes the script of tutorial 001, which notes its arguments.
func (w *world) notifyLog(h *lab.Host) {
	w.t.Helper()
	w.write(h, "/etc/keepalived/notify.sh", 0o755, "#!/bin/sh\necho \"$*\" >>/run/notify.log\n")
}

// told waits until the script has noted exactly these lines.
func (w *world) told(h *lab.Host, want ...string) {
	w.t.Helper()
	var got []string
	w.eventually("the notifications of "+h.Name(), func() bool {
		got = w.noted(h)
		return slices.Equal(got, want)
	}, func() string { return cmp.Diff(want, got) })
}

// noted are the lines so far.
func (w *world) noted(h *lab.Host) []string {
	b, _ := h.ReadFile("/run/notify.log")
	return strings.Fields(string(b))
}

// program starts a process of the given name, which does nothing.
func (w *world) program(h *lab.Host, name string) *lab.Proc {
	w.t.Helper()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		w.t.Fatal(err)
	}
	b, err := os.ReadFile(sleep)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(h, "/run/"+name, 0o755, string(b))
	p, err := h.Start(lab.Cmd{Argv: []string{"/run/" + name, "1000"}})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// Tutorial 001: a multicast group of its own; the down file and the nginx
// check whose effective priorities show in the adverts.
func TestCheckScriptsMoveTheAddressByPriority(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const vip = "192.168.1.198"
	a := w.host("n1", "ens34", "192.168.1.200/24")
	b := w.host("n2", "ens34", "192.168.1.201/24")
	w.write(a, "/etc/keepalived/down.sh", 0o755, "#!/bin/sh\n[ -f /etc/keepalived/down ] && exit 1 || exit 0\n")
	w.notifyLog(a)
	w.notifyLog(b)
	nginx := w.program(a, "nginx")
	w.keepmesh(a, tutorial(t, "001-scripts"))
	w.inState(a, "VI_1", "BACKUP") // its timer is shorter by 4 ms only
	w.keepmesh(b, edit(t, tutorial(t, "001-node2"), "priority 96", "priority 99", "192.168.1.199", vip+"/24"))
	w.holds(vip, "n1")
	first := w.from(t, 0, "n1", 51, 100)
	if first.Dst != netip.MustParseAddr("224.1.101.33") {
		t.Errorf("the adverts go to %s", first.Dst)
	}

	// The down file: 100 -> 80, seen in the adverts, and the backup takes over
	// when its own timer ends, which the discarded adverts did not restart.
	w.write(a, "/etc/keepalived/down", 0o644, "")
	fell := w.from(t, first.At, "n1", 51, 80)
	w.holds(vip, "n2")
	took := w.from(t, fell.At, "n2", 51, 99)
	good := w.between(0, fell.At, "n1", 51)
	last := good[len(good)-2] // the one before the first of 80
	if wait := took.At - last.At; last.Priority != 100 || wait < 3500*time.Millisecond {
		t.Errorf("the backup took over %s after the last advert of priority %d, before its timer of 3.6 s", wait, last.Priority)
	}
	if n := len(w.between(fell.At-1, took.At, "n1", 51)); n < 2 {
		t.Errorf("priority 80 was advertised %d times before the backup answered", n)
	}
	if err := a.Remove("/etc/keepalived/down"); err != nil {
		t.Fatal(err)
	}
	w.holds(vip, "n1")

	// nginx: two failures, 100 -> 97, and two successes back.
	if err := nginx.Signal(sigKILL); err != nil {
		t.Fatal(err)
	}
	back := w.from(t, took.At, "n1", 51, 100)
	w.from(t, back.At, "n1", 51, 97)
	w.holds(vip, "n2")
	w.program(a, "nginx")
	w.holds(vip, "n1")
	want := []string{"n1 100", "n1 80", "n2 99", "n1 100", "n1 97", "n2 99", "n1 100"}
	w.from(t, w.between(0, 0, "n2", 51)[len(w.between(0, 0, "n2", 51))-1].At, "n1", 51, 100)
	if got := w.course(0, 51); !slices.Equal(got, want) {
		t.Errorf("the course differs (-want +got):\n%s", cmp.Diff(want, got))
	}
	w.told(a, "backup", "master", "backup", "master", "backup", "master")
	w.told(b, "backup", "master", "backup", "master", "backup")
}

// Tutorial 001: two masters crossed, and the label.
func TestTwoMastersCrossed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const one, two = "192.168.1.198", "192.168.1.197"
	a := w.host("n1", "ens34", "192.168.1.200/24")
	b := w.host("n2", "ens34", "192.168.1.201/24")
	conf := tutorial(t, "001-double-master")
	w.notifyLog(a)
	w.notifyLog(b)
	w.keepmesh(a, conf)
	crossed := edit(t, conf, "router_id node1", "router_id node2", "state MASTER", "state X", "state BACKUP", "state MASTER", "state X", "state BACKUP",
		"priority 100", "priority X", "priority 98", "priority 100", "priority X", "priority 98")
	w.keepmesh(b, crossed)
	w.holds(one, "n1")
	w.holds(two, "n2")
	// Which of two timers 8 ms apart ends first is chance when both start.
	w.inState(a, "VI_2", "BACKUP")
	var begun []string
	w.eventually("the first notifications", func() bool {
		begun = w.noted(a)
		return len(begun) == 3 || len(begun) == 5
	}, func() string { return fmt.Sprint(begun) })
	list, err := a.Addresses("ens34")
	if err != nil {
		t.Fatal(err)
	}
	n := slices.IndexFunc(list, func(x lab.Address) bool { return x.Prefix.Addr().String() == one })
	if n < 0 || list[n].Label != "ens34:0" || list[n].Prefix.Bits() != 32 {
		t.Errorf("the address reads %+v", list)
	}
	if err := b.Kill(); err != nil {
		t.Fatal(err)
	}
	w.holds(two, "n1")
	w.holds(one, "n1")
	if err := b.Boot(deadline(t, patience)); err != nil {
		t.Fatal(err)
	}
	w.keepmesh(b, crossed)
	w.holds(two, "n2")
	w.holds(one, "n1")
	w.told(a, append(begun, "master", "backup")...)
}

// Tutorial 000 and 001: syntax of bash in a script that sh runs is named.
func TestCheckNamesBashSyntax(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.host("n1", "ens34", "192.168.1.200/24")
	w.write(h, "/etc/keepalived/down.sh", 0o755, "[[ -f /etc/keepalived/down ]] && exit 1 || exit 0\n")
	w.write(h, "/etc/keepalived/keepalived.conf", 0o644, edit(t, tutorial(t, "001-scripts"),
		`script "pidof nginx && exit 0 || exit 1"`, `script "</dev/tcp/127.0.0.1/80"`))
	code, out := w.code(h, binary, "check", "/etc/keepalived/keepalived.conf")
	if code == 0 || !strings.Contains(out, "/dev/tcp") || !strings.Contains(out, "bash") || !strings.Contains(out, "[[") {
		t.Errorf("check ends with %d and says:\n%s", code, out)
	}
	for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
		if strings.Contains(line, "bash") && !strings.Contains(line, "keepalived.conf:") {
			t.Errorf("no place in %q", line)
		}
	}
}
