package lab

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) { os.Exit(RunTests(m)) }

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

// lanHost adds a host with eth0 10.9.0.n/24.
func lanHost(t *testing.T, l *Lab, name string, n byte) *Host {
	t.Helper()
	h, err := l.Host(testContext(t, time.Minute), name, HostOptions{Interfaces: []Iface{
		{Name: "eth0", Addr: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, 0, n}), 24)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHostsReachEachOtherThroughTheSwitch(t *testing.T) {
	l := newTestLab(t, Options{})
	a := lanHost(t, l, "a", 1)
	lanHost(t, l, "b", 2)
	ctx := testContext(t, 30*time.Second)
	if _, err := a.Run(ctx, "ping", "-n", "-c", "2", "-i", "0.05", "-W", "2", "10.9.0.2"); err != nil {
		// Not every machine has ping.
		if strings.Contains(err.Error(), "not found") {
			_, err = a.Run(ctx, "bash", "-c", "echo > /dev/udp/10.9.0.2/9; until ip neigh show 10.9.0.2 | grep -q lladdr; do :; done")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
