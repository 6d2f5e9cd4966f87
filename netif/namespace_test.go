package netif

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// reexecuted marks the copy of the test binary that runs inside a user
// namespace of its own.
const reexecuted = "KEEPMESH_NETIF_USERNS"

// TestMain runs the tests in a user namespace where this user cannot make a
// network namespace otherwise.
func TestMain(m *testing.M) {
	if canMakeNamespace() == nil || os.Getenv(reexecuted) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), reexecuted+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	err := cmd.Start()
	if err != nil {
		os.Exit(m.Run()) // each test then says what it lacks
	}
	cmd.Wait()
	os.Exit(cmd.ProcessState.ExitCode())
}

// canMakeNamespace tries it on a thread that is thrown away.
func canMakeNamespace() error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		result <- unix.Unshare(unix.CLONE_NEWNET)
	}()
	return <-result
}

// require skips a test whose ability this machine lacks, or fails it where
// everything has to run.
func require(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if os.Getenv("HA_REQUIRE") == "all" {
		t.Fatalf("%s: %v", what, err)
	}
	t.Skipf("%s: %v", what, err)
}

func requireProgram(t *testing.T, name string) {
	t.Helper()
	_, err := exec.LookPath(name)
	require(t, "needs the program "+name, err)
}

// lan is two network namespaces joined by a veth pair eth0-peer0. The test's
// thread stands in the first one.
type lan struct {
	t        *testing.T
	us, peer netns.NsHandle
}

// newLAN locks the test to its thread for good: the thread dies with the test
// instead of returning to the pool in a foreign namespace.
func newLAN(t *testing.T) *lan {
	t.Helper()
	require(t, "needs network namespaces", canMakeNamespace())
	runtime.LockOSThread()
	l := &lan{t: t}
	for _, ns := range []*netns.NsHandle{&l.peer, &l.us} {
		var err error
		if *ns, err = netns.New(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ns.Close() })
		ip(t, "link set lo up")
		quietIPv6(t)
	}
	l.cable("eth0", "peer0")
	return l
}

// quietIPv6 keeps autoconfiguration and duplicate detection out of the tests.
func quietIPv6(t *testing.T) {
	t.Helper()
	for _, conf := range []string{"all", "default"} {
		for key, value := range map[string]string{"accept_dad": "0", "router_solicitations": "0"} {
			// /proc/sys/net shows the namespace of the thread that looks.
			if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+conf+"/"+key, []byte(value), 0); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// cable adds a veth pair with fixed MACs between the two namespaces and waits
// until both ends carry frames.
func (l *lan) cable(ours, theirs string) { l.cableAt(0, ours, theirs) }

// cableAt is cable with the index of our end, 0 for any.
func (l *lan) cableAt(index int, ours, theirs string) {
	l.t.Helper()
	at := ""
	if index != 0 {
		at = fmt.Sprintf("index %d", index)
	}
	ip(l.t, fmt.Sprintf("link add %s %s address 02:00:00:00:00:01 type veth peer name %s address 02:00:00:00:00:02 netns /proc/%d/fd/%d",
		ours, at, theirs, os.Getpid(), int(l.peer)))
	ip(l.t, "link set "+ours+" up")
	l.atPeer(func() { ip(l.t, "link set "+theirs+" up") })
	l.awaitCarrier(ours)
}

func (l *lan) awaitCarrier(dev string) {
	l.t.Helper()
	eventually(l.t, "carrier on "+dev, func() bool {
		return strings.Contains(ip(l.t, "link show dev "+dev), "state UP")
	})
}

// indexOf returns the index of an interface as the kernel has it now.
func indexOf(t *testing.T, dev string) int {
	t.Helper()
	index, err := newKernel(t).names.index(dev)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

// atPeer runs f in the other namespace.
func (l *lan) atPeer(f func()) {
	l.t.Helper()
	if err := netns.Set(l.peer); err != nil {
		l.t.Fatal(err)
	}
	defer func() {
		if err := netns.Set(l.us); err != nil {
			l.t.Fatal(err)
		}
	}()
	f()
}

// ip runs iproute2 in the namespace of the calling thread.
func ip(t *testing.T, args string) string {
	t.Helper()
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v\n%s", args, err, out)
	}
	return string(out)
}

// eventually polls a condition of the kernel that has no event to wait for.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// readable waits until a descriptor has something, at most d.
func readable(t *testing.T, fd int, d time.Duration) bool {
	t.Helper()
	deadline := time.Now().Add(d)
	for {
		left := max(time.Until(deadline), 0)
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int((left+time.Millisecond-1)/time.Millisecond))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
}

func newKernel(t *testing.T) *Kernel {
	t.Helper()
	k, err := New(testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

// testLog writes to the test's log.
func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(string(bytes.TrimSpace(b)))
	return len(b), nil
}

// noErrors fails the test with the first error of a batch.
func noErrors(t *testing.T, errs []error) {
	t.Helper()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("item %d: %v", i, err)
		}
	}
}
