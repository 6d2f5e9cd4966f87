package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestRunGivesStreamsAndExitStatus(t *testing.T) {
	h := lanHost(t, newTestLab(t, Options{}), "a", 1)
	ctx := testContext(t, 30*time.Second)
	res, err := h.Run(ctx, "sh", "-c", "echo out; echo err >&2; exit 3")
	if err == nil || !strings.Contains(err.Error(), "err") {
		t.Errorf("the error is %v, want one that quotes standard error", err)
	}
	want := Result{Stdout: "out\n", Stderr: "err\n", Status: ExitStatus{Code: 3}}
	if diff := cmp.Diff(want, res); diff != "" {
		t.Error(diff)
	}
	if _, err := h.Run(ctx, "no-such-program"); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("a missing program gives %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := h.Run(short, "sleep", "60"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a command that outlives its context gives %v", err)
	}
	if left, err := h.Processes(); err != nil || len(left) != 0 {
		t.Errorf("still running: %v, %v", left, err)
	}
}

func TestStartedProcessIsFedReadAndNumbered(t *testing.T) {
	h := lanHost(t, newTestLab(t, Options{}), "a", 1)
	ctx := testContext(t, 30*time.Second)
	var tee bytes.Buffer
	p, err := h.Start(Cmd{
		Argv:  []string{"sh", "-c", `echo "pid $$ in $PWD with $COLOUR on $(hostname 2>/dev/null || cat /proc/sys/kernel/hostname)"; cat`},
		Stdin: strings.NewReader("fed\n"), Stdout: &tee, Env: []string{"COLOUR=blue"}, Dir: "/etc",
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := p.WaitOutput(ctx, regexp.MustCompile(`pid (\d+) in /etc with blue on a\n`))
	if err != nil {
		t.Fatal(err)
	}
	outside, inside := p.PID()
	if strconv.Itoa(inside) != m[1] {
		t.Errorf("the process calls itself %s, the lab %d", m[1], inside)
	}
	if status, err := p.Wait(ctx); err != nil || status != (ExitStatus{}) {
		t.Fatalf("ended with %v, %v", status, err)
	}
	if outside <= 0 || outside == inside {
		t.Errorf("pid seen from outside is %d, from inside %d", outside, inside)
	}
	if !strings.HasSuffix(tee.String(), "fed\n") {
		t.Errorf("output %q lacks what was fed", tee.String())
	}
	file, err := os.ReadFile(p.LogFile())
	if err != nil || string(file) != p.Output() {
		t.Errorf("log file %q, %v; output %q", file, err, p.Output())
	}
	_, err = p.WaitOutput(ctx, regexp.MustCompile("never printed"))
	if err == nil || !strings.Contains(err.Error(), "fed") {
		t.Errorf("waiting for output of an ended process gives %v", err)
	}
}

func TestInitReapsOrphansAndKnowsTheTree(t *testing.T) {
	h := lanHost(t, newTestLab(t, Options{}), "a", 1)
	ctx := testContext(t, 30*time.Second)
	// The shell leaves an orphan that lives for ever, and one that dies at once.
	p, err := h.Start(Cmd{Argv: []string{"sh", "-c", "(sleep 600 >/dev/null 2>&1 & sh -c : & ) ; echo left; sleep 600"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.WaitOutput(ctx, regexp.MustCompile("left")); err != nil {
		t.Fatal(err)
	}
	err = poll(ctx, func() (bool, error) {
		list, err := h.Processes()
		orphans := 0
		for _, q := range list {
			if q.State == 'Z' {
				return false, err
			}
			if q.PPID == 1 && q.Comm == "sleep" {
				orphans++
			}
		}
		return orphans == 1, err
	}, func() string { list, _ := h.Processes(); return fmt.Sprint(list) })
	if err != nil {
		t.Fatal(err)
	}
	// The shell prints before it forks the sleep that it waits for.
	var tree []int
	err = poll(ctx, func() (bool, error) {
		tree, err = p.Tree()
		return len(tree) == 2, err
	}, func() string { return fmt.Sprintf("the shell and its sleep are %v", tree) })
	if err != nil {
		t.Error(err)
	}
}

func TestFrozenProcessesStandStillUntilThawed(t *testing.T) {
	h := lanHost(t, newTestLab(t, Options{}), "a", 1)
	ctx := testContext(t, 30*time.Second)
	p, err := h.Start(Cmd{Argv: []string{"sh", "-c", "while read x; do echo got $x; done"}, Stdin: endless{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.WaitOutput(ctx, regexp.MustCompile("got")); err != nil {
		t.Fatal(err)
	}
	_, pid := p.PID()
	if err := h.Freeze(ctx, pid); err != nil {
		t.Fatal(err)
	}
	list, err := h.Processes()
	if err != nil || len(list) != 1 || list[0].State != 'T' {
		t.Errorf("frozen, the processes are %v, %v", list, err)
	}
	if err := h.Thaw(ctx, pid); err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if status, err := p.Wait(ctx); err != nil || status.Signal != unix.SIGKILL || status.Killed {
		t.Errorf("killed, it ended with %+v, %v", status, err)
	}
	if err := h.Signal(unix.SIGKILL, 1); err == nil {
		t.Error("the init of the host may be signalled")
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { b[0] = '\n'; return 1, nil }

func TestHostHasItsOwnFilesAndLeavesTheMachineAlone(t *testing.T) {
	l := newTestLab(t, Options{})
	a, b := lanHost(t, l, "a", 1), lanHost(t, l, "b", 2)
	ctx := testContext(t, 30*time.Second)
	for _, name := range []string{"/etc/keepalived/x.conf", "/etc/passwd", "/run/sub/x", "/var/lib/keepmesh/raft/x"} {
		machine, _ := os.ReadFile(name)
		if err := a.WriteFile(name, 0o640, []byte("mine")); err != nil {
			t.Fatal(err)
		}
		res, err := a.Run(ctx, "sh", "-c", "cat "+name+"; stat -c %a "+name)
		if err != nil || res.Stdout != "mine640\n" {
			t.Errorf("%s reads %q inside, %v", name, res.Stdout, err)
		}
		if data, err := a.ReadFile(name); err != nil || string(data) != "mine" {
			t.Errorf("%s reads %q from outside, %v", name, data, err)
		}
		if res, _ := b.Run(ctx, "cat", name); strings.Contains(res.Stdout, "mine") {
			t.Errorf("%s of host a shows in host b", name)
		}
		if now, _ := os.ReadFile(name); !bytes.Equal(machine, now) {
			t.Fatalf("%s of the machine has changed", name)
		}
	}
	if err := a.Remove("/etc/keepalived/x.conf"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"/usr/bin/x", "/etc/../usr/bin/x", "/run/.lab/etc/x", "relative", "/etc"} {
		if err := a.WriteFile(name, 0o644, nil); err == nil {
			t.Errorf("%s may be written", name)
		}
	}
	res, err := a.Run(ctx, "cat", "/etc/group")
	group, _ := os.ReadFile("/etc/group")
	if err != nil || res.Stdout != string(group) {
		t.Errorf("the machine's other files are not visible: %v", err)
	}
}

func TestPowerLossKeepsTheDiskAndLosesTheRest(t *testing.T) {
	l := newTestLab(t, Options{})
	h := lanHost(t, l, "a", 1)
	ctx := testContext(t, 30*time.Second)
	for _, name := range []string{"/etc/keepmesh/x", "/var/lib/keepmesh/x", "/run/x"} {
		if err := h.WriteFile(name, 0o644, []byte("kept")); err != nil {
			t.Fatal(err)
		}
	}
	p, err := h.Start(Cmd{Argv: []string{"sleep", "600"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Kill(); err != nil {
		t.Fatal(err)
	}
	if status, err := p.Wait(ctx); err != nil || !status.Killed {
		t.Errorf("a process of the dead host ended with %+v, %v", status, err)
	}
	if _, err := h.Run(ctx, "true"); err == nil || h.Alive() {
		t.Error("a dead host runs commands")
	}
	if held, err := h.Holds(netip.MustParseAddr("10.9.0.1")); err != nil || held {
		t.Errorf("a dead host holds its address: %v, %v", held, err)
	}
	if err := h.Boot(ctx); err != nil {
		t.Fatal(err)
	}
	if held, err := h.Holds(netip.MustParseAddr("10.9.0.1")); err != nil || !held {
		t.Errorf("after boot the host holds its address: %v, %v", held, err)
	}
	if _, err := h.Run(ctx, "cat", "/etc/keepmesh/x", "/var/lib/keepmesh/x"); err != nil {
		t.Error(err)
	}
	if _, err := h.Run(ctx, "cat", "/run/x"); err == nil {
		t.Error("/run survived the power loss")
	}
}

func TestStateIsReadFromTheKernel(t *testing.T) {
	l := newTestLab(t, Options{})
	h := lanHost(t, l, "a", 1)
	ctx := testContext(t, 30*time.Second)
	if _, err := h.Run(ctx, "ip", "addr", "add", "10.9.0.100/32", "dev", "eth0", "label", "eth0:vip"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Run(ctx, "ip", "route", "add", "default", "via", "10.9.0.254", "src", "10.9.0.100", "metric", "7", "table", "100"); err != nil {
		t.Fatal(err)
	}
	addresses, err := h.Addresses("eth0")
	if err != nil {
		t.Fatal(err)
	}
	addresses = slices.DeleteFunc(addresses, func(a Address) bool { return a.Prefix.Addr().Is6() })
	want := []Address{
		{Prefix: netip.MustParsePrefix("10.9.0.1/24"), Dev: "eth0", Label: "eth0", Broadcast: netip.MustParseAddr("10.9.0.255")},
		{Prefix: netip.MustParsePrefix("10.9.0.100/32"), Dev: "eth0", Label: "eth0:vip"},
	}
	if diff := cmp.Diff(want, addresses, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	routes, err := h.Routes()
	if err != nil {
		t.Fatal(err)
	}
	wantRoute := Route{
		Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.9.0.254"),
		Src: vip, Dev: "eth0", Table: 100, Protocol: unix.RTPROT_BOOT, Metric: 7,
	}
	if !slices.Contains(routes, wantRoute) {
		t.Errorf("routes %+v lack %+v", routes, wantRoute)
	}
	if holders, err := l.Holders(vip); err != nil || !slices.Equal(holders, []string{"a"}) {
		t.Errorf("holders are %v, %v", holders, err)
	}
	if _, err := h.Addresses("eth9"); err == nil {
		t.Error("an unknown interface has addresses")
	}
}

func TestConnectionsIntoAHost(t *testing.T) {
	l := newTestLab(t, Options{})
	a, b := lanHost(t, l, "a", 1), lanHost(t, l, "b", 2)
	ctx := testContext(t, 30*time.Second)
	ln, err := b.Listen("tcp4", "10.9.0.2:80")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, c.RemoteAddr())
			c.Close()
		}
	}()
	c, err := a.DialContext(ctx, "tcp", "10.9.0.2:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(got), "10.9.0.1:") {
		t.Errorf("b saw a connection from %q, %v", got, err)
	}
	// A daemon's socket in the host's own /run, reached from outside.
	path, err := a.Outside("/run/api.sock")
	if err != nil {
		t.Fatal(err)
	}
	unixLn, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer unixLn.Close()
	if _, err := a.Run(ctx, "test", "-S", "/run/api.sock"); err != nil {
		t.Error(err)
	}
}

func TestPrivateFoldersAndRouting(t *testing.T) {
	l := newTestLab(t, Options{Switches: []string{"lan", "far"}})
	ctx := testContext(t, 30*time.Second)
	prefix := netip.MustParsePrefix
	router, err := l.Host(ctx, "r", HostOptions{
		Interfaces: []Iface{
			{Name: "eth0", Addr: prefix("10.9.0.254/24")},
			{Name: "eth1", Addr: prefix("10.8.0.254/24"), Switch: "far"},
		},
		Sysctls:    map[string]string{"net.ipv4.ip_forward": "1"},
		Private:    []string{"/usr/local/bin", "/dev"},
		PrivateTmp: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	near := lanOptions(1)
	near.Gateway = netip.MustParseAddr("10.9.0.254")
	a, err := l.Host(ctx, "a", near)
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Host(ctx, "b", HostOptions{
		Interfaces: []Iface{{Name: "eth0", Addr: prefix("10.8.0.2/24"), Switch: "far"}},
		Gateway:    netip.MustParseAddr("10.8.0.254"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if !reaches(t, a, b, "10.8.0.2", true) {
		t.Error("a does not reach b through the router")
	}

	if err := router.WriteFile("/usr/local/bin/hello", 0o755, []byte("#!/bin/sh\necho hello > /tmp/greeting; cat /tmp/greeting; echo > /dev/null\n")); err != nil {
		t.Fatal(err)
	}
	if res, err := router.Run(ctx, "hello"); err != nil || res.Stdout != "hello\n" {
		t.Errorf("the host's own program says %q, %v", res.Stdout, err)
	}
	for _, name := range []string{"/usr/local/bin/hello", "/tmp/greeting"} {
		if _, err := os.Stat(name); err == nil {
			t.Errorf("%s is on the machine", name)
		}
	}
	// A syslog of the host's own.
	path, err := router.Outside("/dev/log")
	if err != nil {
		t.Fatal(err)
	}
	log, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, err := router.Run(ctx, "logger", "-t", "lab", "hello"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 200)
	_ = log.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := log.Read(buf); err != nil || !strings.Contains(string(buf[:n]), "hello") {
		t.Errorf("syslog received %q, %v", buf[:n], err)
	}
}

func TestDaemonsAreStartedAsOperatorsDo(t *testing.T) {
	h := lanHost(t, newTestLab(t, Options{}), "a", 1)
	ctx := testContext(t, 30*time.Second)
	bin := t.TempDir() + "/bin"
	if err := os.WriteFile(bin, []byte("#!/bin/sh\necho \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		start func() (*Proc, error)
		want  string
	}{
		"as keepalived": {
			func() (*Proc, error) { return h.KeepmeshAsKeepalived(bin, "conf", "-i", "x") },
			"keepalived -n -l -D -f /etc/keepalived/keepalived.conf -p /run/keepalived/keepalived.pid" +
				" -r /run/keepalived/vrrp.pid -c /run/keepalived/checkers.pid -i x\n",
		},
		"plain": {
			func() (*Proc, error) { return h.Keepmesh(bin, "conf", "") },
			"run -f /etc/keepalived/keepalived.conf --run-dir /run/keepmesh\n",
		},
		"with a mesh": {
			func() (*Proc, error) { return h.Keepmesh(bin, "conf", "mesh", "-v") },
			"run -f /etc/keepalived/keepalived.conf --run-dir /run/keepmesh --mesh /etc/keepmesh/mesh.conf -v\n",
		},
	} {
		p, err := c.start()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Wait(ctx); err != nil || p.Output() != c.want {
			t.Errorf("%s: %q, %v", name, p.Output(), err)
		}
	}
	for name, want := range map[string]string{KeepalivedConf: "conf", MeshConf: "mesh"} {
		if got, err := h.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v", name, got, err)
		}
	}
}
