package lab

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// envHelper makes the test program do something else than test.
const (
	envHelper    = "LAB_TEST_HELPER"
	helperHang   = "hang"
	helperReexec = "reexec"
)

func TestMain(m *testing.M) {
	if os.Getenv(envInit) == "" {
		switch os.Getenv(envHelper) {
		case helperHang:
			buildAndHang()
		case helperReexec:
			Main()
			_, err := ReexecRootless()
			fmt.Println(err)
			os.Exit(0)
		}
	}
	os.Exit(RunTests(m))
}

var vip = netip.MustParseAddr("10.9.0.100")

func testContext(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// newTestLab builds a lab that ends with the test.
func newTestLab(t *testing.T, opts Options) *Lab {
	t.Helper()
	Require(t, Netns)
	l, err := New(testContext(t, time.Minute), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func lanOptions(n byte) HostOptions {
	return HostOptions{Interfaces: []Iface{
		{Name: "eth0", Addr: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, 0, n}), 24)},
	}}
}

// lanHost adds a host with eth0 10.9.0.n/24.
func lanHost(t *testing.T, l *Lab, name string, n byte) *Host {
	t.Helper()
	h, err := l.Host(testContext(t, time.Minute), name, lanOptions(n))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// reaches reports whether a datagram from one host arrives at another. Where
// it is expected to, there is time for ARP's retries, one second apart; where
// it is not, a third of a second is long for a path inside one kernel.
func reaches(t *testing.T, from, to *Host, address string, expected bool) bool {
	t.Helper()
	server, err := to.ListenPacket("udp", hostPort(address, 9))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := from.DialContext(t.Context(), "udp", hostPort(address, 9))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	tries := 15
	if expected {
		tries = 500
	}
	buf := make([]byte, 16)
	for range tries {
		_, _ = client.Write([]byte("hello")) // unreachable is an answer too
		_ = server.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, _, err := server.ReadFrom(buf); err == nil {
			return true
		}
	}
	return false
}

func hostPort(address string, port uint16) string {
	return netip.AddrPortFrom(netip.MustParseAddr(address), port).String()
}

func TestHostsReachEachOtherThroughTheirSwitchOnly(t *testing.T) {
	l := newTestLab(t, Options{Switches: []string{"lan", "mesh"}})
	ctx := testContext(t, 30*time.Second)
	prefix := netip.MustParsePrefix
	a, err := l.Host(ctx, "a", HostOptions{Interfaces: []Iface{
		{Name: "eth0", Addr: prefix("10.9.0.1/24"), More: []netip.Prefix{prefix("fd00:9::1/64")}},
		{Name: "eth1", Addr: prefix("10.8.0.1/24"), Switch: "mesh"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Host(ctx, "b", HostOptions{Interfaces: []Iface{
		{Name: "eth0", Addr: prefix("10.9.0.2/24"), More: []netip.Prefix{prefix("fd00:9::2/64")}},
		{Name: "eth1", Addr: prefix("10.8.0.2/24"), Switch: "mesh"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"10.9.0.2", "10.8.0.2", "fd00:9::2"} {
		if !reaches(t, a, b, address, true) {
			t.Errorf("a does not reach %s", address)
		}
	}
	// The two switches are two networks.
	if _, err := b.Run(ctx, "ip", "addr", "add", "10.8.0.77/24", "dev", "eth0"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Run(ctx, "sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1"); err != nil {
		t.Fatal(err)
	}
	if reaches(t, a, b, "10.8.0.77", false) {
		t.Error("an address of the one switch is reached through the other")
	}
}

func TestNamesAreChecked(t *testing.T) {
	l := newTestLab(t, Options{})
	ctx := testContext(t, 30*time.Second)
	lanHost(t, l, "a", 1)
	for name, opts := range map[string]HostOptions{
		"sw": {}, "a": {}, "": {}, "far-too-long-name": {}, "x/y": {},
		"b": {Interfaces: []Iface{{Name: "eth0", Switch: "none"}}},
		"c": {Private: []string{"relative"}},
		"e": {Private: []string{"/etc/keepalived"}},
		"f": {Private: []string{"/opt", "/opt"}},
		"g": {Private: []string{"/var"}},
		"d": {Interfaces: []Iface{{Name: ""}}},
	} {
		if _, err := l.Host(ctx, name, opts); err == nil {
			t.Errorf("host %q %+v was accepted", name, opts)
		}
	}
	if _, err := New(ctx, Options{Switches: []string{"much-too-long"}}); err == nil {
		t.Error("a switch name that does not fit was accepted")
	}
}

// footprint is what this process has of the kernel's goods: children, open
// namespace descriptors, and the network namespaces of its threads.
type footprint struct {
	children, namespaces []string
	dirs                 []string
}

func takeFootprint(t *testing.T) footprint {
	t.Helper()
	var f footprint
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, s := range stats {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(s)))
		if p, err := readProcess("/", pid); err == nil && p.PPID == os.Getpid() {
			f.children = append(f.children, fmt.Sprint(p))
		}
	}
	seen := map[string]bool{}
	for _, pattern := range []string{"/proc/self/task/*/ns/net", "/proc/self/fd/*"} {
		links, _ := filepath.Glob(pattern)
		for _, link := range links {
			if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, "net:") {
				seen[target] = true
			}
		}
	}
	f.namespaces = slices.Sorted(maps.Keys(seen))
	f.dirs, _ = filepath.Glob(filepath.Join(os.TempDir(), "keepmesh-lab-footprint-*"))
	return f
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	Require(t, Netns, Nftables)
	before := takeFootprint(t)
	ctx := testContext(t, time.Minute)
	l, err := New(ctx, Options{Name: "footprint"})
	if err != nil {
		t.Fatal(err)
	}
	client := lanHost(t, l, "client", 200)
	h := lanHost(t, l, "a", 1)
	if _, err := h.Start(Cmd{Argv: []string{"sh", "-c", "sleep 600 & sleep 600"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.DropAll(ctx, Between("a", "client")...); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Probe(ctx, ProbeOptions{Client: client, VIP: vip}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Sniff(ctx, func(Frame) {}); err != nil {
		t.Fatal(err)
	}
	var held []string
	for _, x := range append(l.Hosts(), l.Switch()) {
		path, err := x.NetNS()
		if err != nil {
			t.Fatal(err)
		}
		ns, err := os.Readlink(path)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, ns)
	}
	during := takeFootprint(t)
	if len(during.children) != len(before.children)+3 {
		t.Errorf("a lab of a switch and two hosts has the children %v, before it %v", during.children, before.children)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error("closing twice:", err)
	}
	if _, err := l.Host(ctx, "late", HostOptions{}); err == nil {
		t.Error("a closed lab takes hosts")
	}
	// Threads that entered a namespace end on their own time.
	var after footprint
	err = poll(ctx, func() (bool, error) {
		after = takeFootprint(t)
		return slices.Equal(after.children, before.children) && slices.Equal(after.namespaces, before.namespaces) &&
			slices.Equal(after.dirs, before.dirs), nil
	}, func() string { return fmt.Sprintf("before %v, after %v", before, after) })
	if err != nil {
		t.Error(err)
	}
	for _, ns := range held {
		if user := anyProcessIn(ns); user != "" {
			t.Errorf("namespace %s is still used by %s", ns, user)
		}
	}
}

// anyProcessIn finds a process of the machine in a network namespace.
func anyProcessIn(ns string) string {
	links, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == ns {
			return link
		}
	}
	return ""
}

// buildAndHang is the life of a helper process: it builds a lab, prints the
// pids of everything in it, and waits to be killed.
func buildAndHang() {
	Main()
	ctx := context.Background()
	l, err := New(ctx, Options{Name: "hang"})
	if err == nil {
		var h *Host
		if h, err = l.Host(ctx, "a", lanOptions(1)); err == nil {
			var p *Proc
			if p, err = h.Start(Cmd{Argv: []string{"sleep", "600"}}); err == nil {
				init, _ := h.PID()
				sw, _ := l.Switch().PID()
				outside, _ := p.PID()
				fmt.Println(init, sw, outside)
				select {}
			}
		}
	}
	fmt.Println("failed:", err)
	os.Exit(1)
}

func TestKilledLabTakesItsHostsAlong(t *testing.T) {
	Require(t, Netns)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), envHelper+"="+helperHang, "TMPDIR="+t.TempDir())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, f := range strings.Fields(line) {
		pid, err := strconv.Atoi(f)
		if err != nil {
			t.Fatalf("the helper said %q", line)
		}
		if err := unix.Kill(pid, 0); err != nil {
			t.Fatalf("pid %d does not run before the kill: %v", pid, err)
		}
		pids = append(pids, pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	err = poll(testContext(t, 20*time.Second), func() (bool, error) {
		return !slices.ContainsFunc(pids, alive), nil
	}, func() string { return fmt.Sprintf("of %v some still run", pids) })
	if err != nil {
		t.Error(err)
	}
}

// alive is false for a zombie that its adoptive parent has not reaped yet.
func alive(pid int) bool {
	p, err := readProcess("/", pid)
	return err == nil && p.State != 'Z'
}

func TestRefusedUserNamespaceIsAnError(t *testing.T) {
	Require(t, UserNS)
	for name, c := range map[string]struct{ obstacle, want string }{
		// The limit is of the user namespace that unshare makes, not the machine's.
		"not allowed to make one": {"echo 0 > /proc/sys/user/max_user_namespaces", "no space left"},
		"no rights in it":         {"mount -t tmpfs none /proc/sys", "mounting /proc"},
	} {
		cmd := exec.CommandContext(testContext(t, 30*time.Second), "unshare", "-Urm", "sh", "-ec", c.obstacle+`; exec "$0"`, "")
		program, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Args[len(cmd.Args)-1] = program
		cmd.Env = append(os.Environ(), envHelper+"="+helperReexec)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "run as root") || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: the program says %q, %v", name, out, err)
		}
	}
}

func TestOrdinaryUserRunsALab(t *testing.T) {
	Require(t, Root, UserNS)
	// A place that the user can read the program from.
	dir := t.TempDir()
	program := filepath.Join(dir, "lab.test")
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, data, 0o755); err != nil {
		t.Fatal(err)
	}
	for d := dir; d != "/"; d = filepath.Dir(d) {
		info, err := os.Stat(d)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode()&0o005 != 0o005 {
			if err := os.Chmod(d, info.Mode()|0o055); err != nil {
				t.Fatal(err)
			}
		}
	}
	home := filepath.Join(dir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(home, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	const selected = "^(TestHostsReach.*|TestHostHasItsOwn.*|TestPowerLossKeeps.*|TestPrivate.*|TestDroppedProtocol.*|TestProber.*|TestCapture.*|TestKeepalivedIsAcquitted.*)$"
	for name, argv := range map[string][]string{
		"by itself":  {program},
		"by unshare": {"unshare", "-Urmpn", "--mount-proc", "--fork", program},
	} {
		t.Run(name, func(t *testing.T) {
			argv := append(argv, "-test.run="+selected, "-test.v", "-test.count=1")
			cmd := exec.CommandContext(testContext(t, 2*time.Minute), argv[0], argv[1:]...)
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + home, "HOME=" + home, RequireVariable + "=all"}
			cmd.Dir = "/"
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			out, err := cmd.CombinedOutput()
			passed := strings.Count(string(out), "\n--- PASS: ")
			if err != nil || passed < 9 || strings.Contains(string(out), "--- SKIP") {
				t.Errorf("%d tests passed, %v\n%s", passed, err, out)
			}
		})
	}
}
