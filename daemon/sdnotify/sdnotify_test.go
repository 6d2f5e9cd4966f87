package sdnotify

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func listen(t *testing.T, addr string) func() string {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: addr, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return func() string {
		t.Helper()
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		b := make([]byte, 4096)
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
}

func TestEveryMessageOverBothKindsOfSocket(t *testing.T) {
	for _, addr := range []string{
		filepath.Join(t.TempDir(), "notify"),
		fmt.Sprintf("@keepmesh-sdnotify-test-%d", os.Getpid()),
	} {
		next := listen(t, addr)
		t.Setenv(Variable, addr)
		n, err := FromEnv()
		if err != nil || n == nil {
			t.Fatalf("%s: %v %v", addr, n, err)
		}
		if v, set := os.LookupEnv(Variable); set {
			t.Errorf("children would inherit %s=%s", Variable, v)
		}
		for _, tc := range []struct {
			send func() error
			want string
		}{
			{n.Ready, "READY=1"},
			{func() error { return n.ReadyAs(42) }, "READY=1\nMAINPID=42"},
			{func() error { return n.MainPID(43) }, "MAINPID=43"},
			{func() error { return n.Status("2 MASTER\n1 BACKUP") }, "STATUS=2 MASTER 1 BACKUP"},
			{n.Stopping, "STOPPING=1"},
		} {
			if err := tc.send(); err != nil {
				t.Fatal(err)
			}
			if got := next(); got != tc.want {
				t.Errorf("%s: got %q, want %q", addr, got, tc.want)
			}
		}
	}
}

func TestReloadingCarriesTheMonotonicClock(t *testing.T) {
	addr := filepath.Join(t.TempDir(), "notify")
	next := listen(t, addr)
	n, err := New(addr)
	if err != nil {
		t.Fatal(err)
	}
	clock := func() int64 {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			t.Fatal(err)
		}
		return ts.Nano() / 1000
	}
	before := clock()
	if err := n.Reloading(); err != nil {
		t.Fatal(err)
	}
	after := clock()
	usec, ok := strings.CutPrefix(next(), "RELOADING=1\nMONOTONIC_USEC=")
	got, err := strconv.ParseInt(usec, 10, 64)
	if !ok || err != nil || got < before || got > after {
		t.Errorf("got %q, want a time from %d to %d", usec, before, after)
	}
}

func TestWithoutAManagerNothingHappens(t *testing.T) {
	t.Setenv(Variable, "")
	n, err := FromEnv()
	if n != nil || err != nil {
		t.Fatalf("got %v %v, want nothing", n, err)
	}
	for _, err := range []error{n.Ready(), n.ReadyAs(1), n.Status("x"), n.Reloading(), n.Stopping(), n.MainPID(1)} {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestErrorsAreReturned(t *testing.T) {
	if _, err := New("relative"); err == nil {
		t.Error("a relative address is accepted")
	}
	n, err := New(filepath.Join(t.TempDir(), "nobody"))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Ready(); err == nil {
		t.Error("sending to nobody succeeds")
	}
}
