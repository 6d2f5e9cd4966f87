package netif

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }

// inetLines returns the address lines of `ip addr show dev`, IPv4 and IPv6
// without the automatic link-local one, each with its lifetimes.
func inetLines(t *testing.T, dev string) []string {
	t.Helper()
	var out []string
	lines := strings.Split(ip(t, "addr show dev "+dev), "\n")
	for i, line := range lines {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "inet") && !strings.HasPrefix(line, "inet6 fe80") {
			out = append(out, line+" | "+strings.TrimSpace(lines[i+1]))
		}
	}
	return out
}

func TestAddressesHaveTheAttributesAskedFor(t *testing.T) {
	newLAN(t)
	k := newKernel(t)
	lasting := " | valid_lft forever preferred_lft forever"
	for _, c := range []struct {
		name string
		add  Address
		want string
	}{
		{"plain", VIP(prefix("10.1.0.1/32"), "eth0"), "inet 10.1.0.1/32 scope global eth0" + lasting},
		{"label", Address{Prefix: prefix("10.1.0.1/24"), Dev: "eth0", Label: "eth0:1"}, "inet 10.1.0.1/24 scope global eth0:1" + lasting},
		{"broadcast", Address{Prefix: prefix("10.1.0.1/24"), Dev: "eth0", Broadcast: BroadcastOf(prefix("10.1.0.1/24"))},
			"inet 10.1.0.1/24 brd 10.1.0.255 scope global eth0" + lasting},
		{"scope", Address{Prefix: prefix("10.1.0.1/24"), Dev: "eth0", Scope: unix.RT_SCOPE_LINK}, "inet 10.1.0.1/24 scope link eth0" + lasting},
		{"peer", Address{Prefix: prefix("10.1.0.1/32"), Dev: "eth0", Peer: prefix("10.2.0.1/32")}, "inet 10.1.0.1 peer 10.2.0.1/32 scope global eth0" + lasting},
		{"noprefixroute", Address{Prefix: prefix("10.1.0.1/24"), Dev: "eth0", Flags: unix.IFA_F_NOPREFIXROUTE},
			"inet 10.1.0.1/24 scope global noprefixroute eth0" + lasting},
		{"v6 network", VIP(prefix("fd00::1/64"), "eth0"), "inet6 fd00::1/64 scope global nodad" + lasting},
		{"v6 host", VIP(prefix("fd00::1/128"), "eth0"), "inet6 fd00::1/128 scope global nodad deprecated | valid_lft forever preferred_lft 0sec"},
		{"v6 with DAD", Address{Prefix: prefix("fd00::1/64"), Dev: "eth0"}, "inet6 fd00::1/64 scope global" + lasting},
		{"v6 peer", Address{Prefix: prefix("fd00::1/128"), Dev: "eth0", Peer: prefix("fd00::2/128"), NoDAD: true},
			"inet6 fd00::1 peer fd00::2/128 scope global nodad" + lasting},
	} {
		noErrors(t, k.AddAddresses([]Address{c.add}))
		if diff := cmp.Diff([]string{c.want}, inetLines(t, "eth0")); diff != "" {
			t.Errorf("%s: after adding (-want +got):\n%s", c.name, diff)
		}
		noErrors(t, k.AddAddresses([]Address{c.add})) // adopted
		if diff := cmp.Diff([]string{c.want}, inetLines(t, "eth0")); diff != "" {
			t.Errorf("%s: after adding again (-want +got):\n%s", c.name, diff)
		}
		noErrors(t, k.DelAddresses([]Address{c.add}))
		if got := inetLines(t, "eth0"); len(got) != 0 {
			t.Errorf("%s: left behind: %v", c.name, got)
		}
		noErrors(t, k.DelAddresses([]Address{c.add})) // absent
	}
}

func TestAnErrorConcernsItsAddressOnly(t *testing.T) {
	newLAN(t)
	k := newKernel(t)
	addrs := []Address{
		VIP(prefix("10.1.0.1/24"), "eth0"),
		VIP(prefix("10.1.0.2/24"), "absent0"),
		{Prefix: prefix("10.1.0.3/24"), Dev: "eth0", Scope: unix.RT_SCOPE_LINK}, // the network's scope is global already
		VIP(prefix("10.1.0.4/24"), "eth0"),
		{Prefix: prefix("10.1.0.5/24"), Dev: "eth0", Label: "sixteen-bytes-xx"},
		VIP(netip.Prefix{}, "eth0"),
	}
	var got []error
	for _, err := range k.AddAddresses(addrs) {
		var errno unix.Errno
		if errors.As(err, &errno) {
			err = errno
		}
		got = append(got, err)
	}
	want := []error{nil, unix.ENODEV, unix.EINVAL, nil, unix.EINVAL, unix.EINVAL}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := inetLines(t, "eth0"); len(got) != 2 {
		t.Errorf("addresses in the kernel: %v", got)
	}
	noErrors(t, k.DelAddresses(addrs[:4]))
}

func TestLeftoversWithAnotherLabelAreRemoved(t *testing.T) {
	newLAN(t)
	k := newKernel(t)
	ip(t, "addr add 10.1.0.1/24 brd + label eth0:old dev eth0")
	ip(t, "addr add 10.9.0.1/24 dev eth0")
	noErrors(t, k.DelAddresses([]Address{VIP(prefix("10.1.0.1/24"), "eth0"), VIP(prefix("10.9.0.1/25"), "eth0")}))
	want := []string{"inet 10.9.0.1/24 scope global eth0 | valid_lft forever preferred_lft forever"}
	if diff := cmp.Diff(want, inetLines(t, "eth0")); diff != "" {
		t.Errorf("the other prefix length is another address (-want +got):\n%s", diff)
	}
}

func TestAnExistingAddressIsNeverDeletedToBeAdopted(t *testing.T) {
	newLAN(t)
	k := newKernel(t)
	m := newMonitor(t)
	ip(t, "addr add 10.1.0.1/24 label eth0:old dev eth0") // primary
	ip(t, "addr add 10.1.0.2/24 dev eth0")                // goes with it if it goes
	ip(t, "addr add fd00::1/64 dev eth0")
	noErrors(t, k.AddAddresses([]Address{VIP(prefix("10.1.0.1/24"), "eth0"), VIP(prefix("fd00::1/64"), "eth0")}))
	events := m.events()
	if len(events) == 0 {
		t.Error("no event at all: the test would see no removal")
	}
	for _, e := range events {
		if gone, ok := e.(AddrRemoved); ok {
			t.Errorf("removed on the way: %v", gone)
		}
	}
	want := []string{
		"inet 10.1.0.1/24 scope global eth0:old | valid_lft forever preferred_lft forever",
		"inet 10.1.0.2/24 scope global secondary eth0 | valid_lft forever preferred_lft forever",
		"inet6 fd00::1/64 scope global nodad | valid_lft forever preferred_lft forever",
	}
	if diff := cmp.Diff(want, inetLines(t, "eth0")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAThousandAddresses(t *testing.T) {
	newLAN(t)
	k := newKernel(t)
	var addrs []Address
	for i := range 1000 {
		p := prefix(fmt.Sprintf("10.%d.%d.1/32", i/250, i%250))
		if i%10 == 9 {
			p = prefix(fmt.Sprintf("fd00::%x/128", i))
		}
		addrs = append(addrs, VIP(p, "eth0"))
	}
	noErrors(t, k.AddAddresses(addrs))
	if got := len(inetLines(t, "eth0")); got != len(addrs) {
		t.Errorf("addresses in the kernel: %d, want %d", got, len(addrs))
	}
	noErrors(t, k.AddAddresses(addrs))
	removed, err := k.Purge(addrs, nil)
	if removed != len(addrs) || err != nil {
		t.Errorf("purged %d, %v; want %d", removed, err, len(addrs))
	}
	if got := inetLines(t, "eth0"); len(got) != 0 {
		t.Errorf("left behind: %d", len(got))
	}
}

func TestPurgeCountsWhatExisted(t *testing.T) {
	newLAN(t)
	k := newKernel(t)
	ip(t, "addr add 10.1.0.5/24 dev eth0")
	addrs := []Address{VIP(prefix("10.1.0.1/24"), "eth0"), VIP(prefix("10.1.0.2/24"), "eth0"), VIP(prefix("10.1.0.3/24"), "gone0")}
	routes := []Route{{Dst: prefix("10.7.0.0/16"), Via: addr("10.1.0.9")}, {Dst: prefix("10.8.0.0/16"), Via: addr("10.1.0.9")}}
	rules := []Rule{{From: prefix("10.1.0.1/32"), Table: 100, Priority: 500}, {From: prefix("10.1.0.2/32"), Table: 100, Priority: 501}}
	noErrors(t, k.AddAddresses(addrs[:1]))
	noErrors(t, k.AddRoutes(routes[:1]))
	noErrors(t, k.AddRules(rules[:1]))
	if removed, err := k.Purge(addrs, routes, rules...); removed != 3 || err != nil {
		t.Errorf("first purge: %d, %v; want 3", removed, err)
	}
	if removed, err := k.Purge(addrs, routes, rules...); removed != 0 || err != nil {
		t.Errorf("second purge: %d, %v; want 0", removed, err)
	}
	if got := inetLines(t, "eth0"); len(got) != 1 {
		t.Errorf("the host's own address: %v", got)
	}
}

func TestAnInterfaceIsFoundAgainAfterItWasRecreated(t *testing.T) {
	l := newLAN(t)
	k := newKernel(t)
	vip := []Address{VIP(prefix("10.1.0.1/32"), "eth0")}
	noErrors(t, k.AddAddresses(vip))
	before, _ := k.names.index("eth0")
	ip(t, "link del eth0")
	if err := k.AddAddresses(vip)[0]; !errors.Is(err, unix.ENODEV) {
		t.Errorf("adding to no interface: %v, want ENODEV", err)
	}
	noErrors(t, k.DelAddresses(vip))
	l.cable("eth0", "peer0")
	if after, _ := k.names.index("eth0"); after == before {
		t.Fatalf("the interface came back under the same index %d: the test shows nothing", after)
	}
	noErrors(t, k.AddAddresses(vip))
	if got := inetLines(t, "eth0"); len(got) != 1 {
		t.Errorf("addresses on the new interface: %v", got)
	}
	noErrors(t, k.DelAddresses(vip))
}

func TestBroadcastOf(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.1/24": "10.0.0.255", "10.0.0.1/30": "10.0.0.3", "10.0.0.1/31": "", "10.0.0.1/32": "", "10.0.0.1/0": "255.255.255.255",
		"10.0.0.1/9": "10.127.255.255", "fd00::1/64": "",
	} {
		got := ""
		if b := BroadcastOf(prefix(in)); b.IsValid() {
			got = b.String()
		}
		if got != want {
			t.Errorf("BroadcastOf(%s) = %q, want %q", in, got, want)
		}
	}
}

func TestNetworkAddress(t *testing.T) {
	if got, want := NetworkAddress(prefix("10.1.2.3/20")), addr("10.1.0.0"); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// BenchmarkAddAThousandAddresses counts the calls that add them; removing them
// is outside the clock.
func BenchmarkAddAThousandAddresses(b *testing.B) {
	runtime.LockOSThread() // for good: the thread ends in a namespace of its own
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		b.Fatal(err)
	}
	for _, args := range []string{"link add eth0 type veth peer name eth1", "link set eth0 up"} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
	}
	k, err := New(slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer k.Close()
	var addrs []Address
	for i := range 1000 {
		addrs = append(addrs, VIP(prefix(fmt.Sprintf("10.%d.%d.1/32", i/250, i%250)), "eth0"))
	}
	for b.Loop() {
		for _, err := range k.AddAddresses(addrs) {
			if err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		k.DelAddresses(addrs)
		b.StartTimer()
	}
}
