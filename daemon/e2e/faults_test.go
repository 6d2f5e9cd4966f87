package e2e

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepmesh/keepmesh/lab"
)

// hooks gives every script of an instance or a group a file of its own, since
// scripts that run at once finish in any order.
func hooks(tag string) string {
	var b strings.Builder
	for _, h := range []string{"master", "backup", "fault", "stop"} {
		fmt.Fprintf(&b, "notify_%s \"/etc/keepalived/note.sh %s.%s 'two words'\"\n    ", h, tag, h)
	}
	fmt.Fprintf(&b, "notify \"/etc/keepalived/note.sh %s.any\"", tag)
	return b.String()
}

// heardScripts is what scripts and FIFO were told.
type heardScripts struct {
	FIFO    []string
	Scripts map[string][]string
	Zeros   int // adverts of priority 0
}

// notifications runs one program alone through every state and notes what it tells.
func notifications(t *testing.T, program string) heardScripts {
	w := newWorld(t, "lan", "other")
	h := w.hostWith("n1", lab.HostOptions{Interfaces: []lab.Iface{
		{Name: "eth0", Addr: mustPrefix("10.9.0.1/24"), Switch: "lan"}, {Name: "eth1", Addr: mustPrefix("10.8.0.1/24"), Switch: "other"},
	}})
	w.write(h, "/etc/keepalived/note.sh", 0o755, "#!/bin/sh\nf=$1\nshift\necho \"$# $*\" >>/etc/notes.$f\n")
	w.run(h, "mkfifo", "/run/vrrp.fifo")
	reader, err := h.Start(lab.Cmd{Argv: []string{"cat", "/run/vrrp.fifo"}})
	w.started(h, reader, err)
	conf := "global_defs {\n    vrrp_notify_fifo /run/vrrp.fifo\n}\n" +
		"vrrp_sync_group VG_1 {\n    group {\n        VI_1\n        VI_2\n    }\n    " + hooks("group") + "\n}\n" +
		quick("VI_1", 51, 100, hooks("one")+"\n    track_interface {\n        eth1\n    }", "10.9.0.100/24") +
		quick("VI_2", 52, 110, hooks("two"), "10.9.0.101/24") +
		quick("VI_3", 53, 40, hooks("three")+"\n    track_interface {\n        eth1\n    }", "10.9.0.102/24")
	p := programs[program](w, h, conf)
	fifo := func(lines int) []string {
		var got []string
		w.eventually(fmt.Sprintf("%d lines of the FIFO of %s", lines, program), func() bool {
			got = strings.Split(strings.TrimSpace(reader.Output()), "\n")
			return len(got) >= lines
		}, func() string { return strings.Join(got, "\n") })
		return got
	}
	fifo(8) // BACKUP and MASTER of three instances and the group
	w.holds("10.9.0.100", "n1")
	w.holds("10.9.0.102", "n1")
	fault, err := h.CarrierDown("eth1")
	if err != nil {
		t.Fatal(err)
	}
	fifo(12)
	w.holds("10.9.0.100")
	w.holds("10.9.0.101")
	w.holds("10.9.0.102")
	var r heardScripts
	for _, a := range w.between(0, 0, "n1", 0) {
		if a.Priority == 0 {
			r.Zeros++
		}
	}
	w.undo(fault)
	fifo(20)
	w.holds("10.9.0.100", "n1")
	w.stop(p)
	r.FIFO = fifo(24)
	r.Scripts = map[string][]string{}
	for _, tag := range []string{"group", "one", "two", "three"} {
		for _, hook := range []string{"master", "backup", "fault", "stop", "any"} {
			b, _ := h.ReadFile("/etc/notes." + tag + "." + hook)
			lines := strings.Split(strings.TrimSpace(string(b)), "\n")
			if hook == "any" {
				slices.Sort(lines)
			}
			r.Scripts[tag+"."+hook] = lines
		}
	}
	return r
}

// Scripts and the FIFO are told the same, in the same order, by both programs.
func TestNotificationsEqualKeepalived(t *testing.T) {
	t.Parallel()
	lab.Require(t, lab.Root, lab.Keepalived) // keepalived runs no script in a user namespace
	var seen [2]heardScripts
	t.Run("run", func(t *testing.T) {
		for n, program := range []string{"keepalived", "keepmesh"} {
			t.Run(program, func(t *testing.T) {
				t.Parallel()
				seen[n] = notifications(t, program)
			})
		}
	})
	if len(seen[0].FIFO) < 24 || len(seen[1].FIFO) < 24 || seen[0].Scripts["group.any"] == nil {
		t.Fatalf("they told %+v", seen)
	}
	for n := range seen {
		sortRuns(seen[n].FIFO)
	}
	if diff := cmp.Diff(seen[0], seen[1]); diff != "" {
		t.Errorf("the notifications differ (-keepalived +keepmesh):\n%s\nthe FIFO of keepalived:\n%s\nand of keepmesh:\n%s", diff,
			strings.Join(seen[0].FIFO, "\n"), strings.Join(seen[1].FIFO, "\n"))
	}
}

// sortRuns orders lines that tell of instances entering the same state one
// after the other: whose timer of several ends first is chance in both programs.
func sortRuns(lines []string) {
	kind := func(line string) string {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != "INSTANCE" {
			return line
		}
		return words[2]
	}
	for from := 0; from < len(lines); {
		to := from + 1
		for to < len(lines) && kind(lines[to]) == kind(lines[from]) {
			to++
		}
		slices.Sort(lines[from:to])
		from = to
	}
}

// family is the daemon's processes by their role.
func (w *world) family(h *lab.Host) map[string]int {
	w.t.Helper()
	out := map[string]int{}
	for role, file := range map[string]string{"vrrp": "/run/keepalived/vrrp.pid", "cluster": "/run/keepalived/checkers.pid", "guardian": "/run/keepalived/keepalived.pid"} {
		b, err := h.ReadFile(file)
		if err != nil {
			continue
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			out[role] = n
		}
	}
	return out
}

// The death and the standstill of the cluster process: no advert is missed and
// no address moves.
func TestClusterProcessKilledOrFrozenMovesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.host("n1", "eth0", "10.9.0.1/24"), w.host("n2", "eth0", "10.9.0.2/24")
	w.write(a, "/etc/keepalived/ok.sh", 0o755, "#!/bin/sh\n[ ! -e /run/down ]\n")
	script := "vrrp_script ok {\n    script /etc/keepalived/ok.sh\n    interval 1\n    weight -60\n    fall 1\n    rise 1\n}\n"
	conf := pair{self: 1, priority: 150, extra: "track_script {\n        ok\n    }"}.String()
	w.keepmesh(a, script+conf)
	w.keepmesh(b, pair{self: 2, priority: 100}.String())
	w.holds(pairVIP, "n1")
	begin := w.from(t, 0, "n1", 51, 150).At
	before := w.family(a)

	if err := a.Signal(sigKILL, before["cluster"]); err != nil {
		t.Fatal(err)
	}
	w.eventually("a new cluster process", func() bool {
		now := w.family(a)["cluster"]
		return now != 0 && now != before["cluster"]
	}, func() string { return fmt.Sprint(w.family(a)) })
	if i := w.inState(a, "VI_1", "MASTER"); i.EffectivePriority != 150 {
		t.Errorf("after the respawn the priority is %d", i.EffectivePriority)
	}
	w.from(t, w.from(t, lab.Now(), "n1", 51, 150).At, "n1", 51, 150)

	now := w.family(a)
	if now["vrrp"] != before["vrrp"] || now["guardian"] != before["guardian"] {
		t.Errorf("the processes were %v and are %v", before, now)
	}
	if err := a.Freeze(deadline(t, patience), now["cluster"]); err != nil {
		t.Fatal(err)
	}
	w.pass(5 * time.Second) // longer than the backup's timer
	if err := a.Thaw(deadline(t, patience), now["cluster"]); err != nil {
		t.Fatal(err)
	}
	end := w.from(t, lab.Now(), "n1", 51, 150).At
	w.speaks(t, begin, end, "n1", 51)
	w.still(pairVIP, "n1")
	if got := w.course(begin, 51); !slices.Equal(got, []string{"n1 150"}) {
		t.Errorf("the adverts were %v", got)
	}
	// The process that was frozen watches again.
	w.write(a, "/run/down", 0o644, "")
	w.holds(pairVIP, "n2")
}

// The death of the vrrp process: its addresses are taken from the kernel at
// once, the other node takes over, and the process is started again.
func TestVRRPProcessKilledIsPurgedAndStartedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.host("n1", "eth0", "10.9.0.1/24"), w.host("n2", "eth0", "10.9.0.2/24")
	p := w.keepmesh(a, pair{self: 1, priority: 150, extra: "virtual_routes {\n        10.8.0.0/16 via 10.9.0.254\n    }"}.String())
	w.keepmesh(b, pair{self: 2, priority: 100}.String())
	w.holds(pairVIP, "n1")
	w.inState(a, "VI_1", "MASTER")
	w.from(t, 0, "n1", 51, 150)
	before := w.family(a)
	if err := a.Signal(sigKILL, before["vrrp"]); err != nil {
		t.Fatal(err)
	}
	killed := lab.Now()
	w.holds(pairVIP) // nobody, long before anybody's timer
	if since := lab.Now() - killed; since > 2500*time.Millisecond {
		t.Errorf("the address stayed for %s", since)
	}
	if got := w.routes(a); len(got) > 0 {
		t.Errorf("routes are left: %v", got)
	}
	w.says(p, `process=vrrp`)
	w.eventually("a new vrrp process", func() bool {
		now := w.family(a)["vrrp"]
		return now != 0 && now != before["vrrp"]
	}, func() string { return fmt.Sprint(w.family(a)) })
	w.holds(pairVIP, "n1") // its own timer is the shorter one
	w.from(t, killed, "n1", 51, 150)
	w.inState(a, "VI_1", "MASTER")
	if w.family(a)["cluster"] != before["cluster"] {
		t.Error("the cluster process was replaced too")
	}
	w.stop(p)
	if got := w.addresses(a); !slices.Equal(got, []string{"eth0 10.9.0.1/24"}) {
		t.Errorf("addresses are left: %v", got)
	}
}

// The death of the guardian: the others end in good order and leave nothing.
func TestGuardianKilledEndsEverythingInGoodOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.host("n1", "eth0", "10.9.0.1/24")
	p := w.keepmesh(h, quick("VI_1", 51, 100, "", "10.9.0.100/24"))
	w.holds("10.9.0.100", "n1")
	begin := w.from(t, 0, "n1", 51, 100).At
	w.signal(p, sigKILL)
	w.from(t, begin, "n1", 51, 0)
	w.holds("10.9.0.100")
	w.eventually("the end of all processes", func() bool {
		list, err := h.Processes()
		return err == nil && len(list) == 0
	}, func() string { return fmt.Sprint(h.Processes()) })
}

// Loss of the carrier, of the source address and of a VIP, beside a backup.
func TestLossOfLinkAndAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.host("n1", "eth0", "10.9.0.1/24"), w.host("n2", "eth0", "10.9.0.2/24")
	p := w.keepmesh(a, quick("VI_1", 51, 150, "garp_master_delay 0", "10.9.0.100/24"))
	w.keepmesh(b, quick("VI_1", 51, 100, "", "10.9.0.100/24"))
	w.holds("10.9.0.100", "n1")
	w.inState(a, "VI_1", "MASTER")
	w.from(t, 0, "n1", 51, 150)
	vip := mustAddr("10.9.0.100")
	cut := func(f *lab.Fault, err error) *lab.Fault {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return f
	}

	fault := cut(a.CarrierDown("eth0"))
	w.holds("10.9.0.100", "n2")
	if i := w.inState(a, "VI_1", "FAULT"); !strings.Contains(i.Reason, "carrier") {
		t.Errorf("the reason is %q", i.Reason)
	}
	healed := lab.Now()
	w.undo(fault)
	w.holds("10.9.0.100", "n1")
	w.inState(b, "VI_1", "BACKUP")
	w.eventually("an announcement on return", func() bool { return w.announced(healed, "n1", vip) > 0 }, p.Output)

	// The address that adverts come from: FAULT, said by priority 0 or not at
	// all since there is nothing to send from.
	fault = cut(a.DeleteAddress("eth0", mustPrefix("10.9.0.1/24")))
	w.holds("10.9.0.100", "n2")
	if i := w.inState(a, "VI_1", "FAULT"); !strings.Contains(i.Reason, "address") {
		t.Errorf("the reason is %q", i.Reason)
	}
	w.undo(fault)
	w.holds("10.9.0.100", "n1")
	w.inState(b, "VI_1", "BACKUP")

	// A VIP that somebody deletes is put back and announced again.
	begin := w.from(t, lab.Now(), "n1", 51, 150).At
	cut(a.DeleteAddress("eth0", netip.PrefixFrom(vip, 24)))
	w.eventually("the address to be back", func() bool {
		return w.announced(begin, "n1", vip) > 0
	}, p.Output)
	w.still("10.9.0.100", "n1")
	w.inState(a, "VI_1", "MASTER")
	if !regexp.MustCompile(`deleted by another program`).MatchString(p.Output()) {
		t.Error("nothing was said about the deletion")
	}
}
