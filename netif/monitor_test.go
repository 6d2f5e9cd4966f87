package netif

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// watcher is a Monitor with the test it belongs to and what it has read ahead.
type watcher struct {
	*Monitor
	t       *testing.T
	waiting []Event
}

func newMonitor(t *testing.T) *watcher {
	t.Helper()
	m, err := NewMonitor(testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return &watcher{Monitor: m, t: t}
}

// events returns all that waits now.
func (w *watcher) events() []Event {
	w.t.Helper()
	for readable(w.t, w.FD(), 0) {
		if err := w.Drain(func(e Event) { w.waiting = append(w.waiting, e) }); err != nil {
			w.t.Fatal(err)
		}
	}
	got := w.waiting
	w.waiting = nil
	return got
}

// await returns the first event that fits and drops those before it.
func (w *watcher) await(what string, fits func(Event) bool) Event {
	w.t.Helper()
	var seen []Event
	for deadline := time.Now().Add(10 * time.Second); ; {
		got := w.events()
		for i, e := range got {
			if fits(e) {
				w.waiting = got[i+1:]
				return e
			}
		}
		seen = append(seen, got...)
		if !readable(w.t, w.FD(), time.Until(deadline)) {
			w.t.Fatalf("no event: %s; seen %v", what, seen)
		}
	}
}

func link(name string, ok func(Link) bool) func(Event) bool {
	return func(e Event) bool {
		c, is := e.(LinkChanged)
		return is && c.Link.Name == name && ok(c.Link)
	}
}

func TestMonitorSeesCarrierAndFlags(t *testing.T) {
	l := newLAN(t)
	m := newMonitor(t)
	up := func(l Link) bool { return l.Up }
	down := func(l Link) bool { return !l.Up && l.AdminUp }
	l.atPeer(func() { ip(t, "link set peer0 down") })
	m.await("carrier lost", link("eth0", down))
	l.atPeer(func() { ip(t, "link set peer0 up") })
	m.await("carrier back", link("eth0", up))
	ip(t, "link set eth0 down")
	m.await("switched off", link("eth0", func(l Link) bool { return !l.Up && !l.AdminUp }))
	ip(t, "link set eth0 up")
	m.await("switched on", link("eth0", up))
}

func TestMonitorSeesAddressesComeAndGo(t *testing.T) {
	newLAN(t)
	m := newMonitor(t)
	for _, s := range []string{"10.1.0.1/24", "fd00::1/64"} {
		want := prefix(s)
		ip(t, "addr add "+s+" dev eth0")
		m.await("added "+s, func(e Event) bool { a, ok := e.(AddrAdded); return ok && a.Prefix == want && a.Ready })
		ip(t, "addr del "+s+" dev eth0")
		m.await("removed "+s, func(e Event) bool { a, ok := e.(AddrRemoved); return ok && a.Prefix == want })
	}
	ip(t, "addr add 10.1.0.1 peer 10.2.0.0/24 dev eth0")
	m.await("added with peer", func(e Event) bool { a, ok := e.(AddrAdded); return ok && a.Prefix == prefix("10.1.0.1/32") })
}

func TestMonitorSaysWhenAnAddressIsNotReady(t *testing.T) {
	l := newLAN(t)
	m := newMonitor(t)
	// Nobody answers, and detection waits for the carrier.
	l.atPeer(func() { ip(t, "link set peer0 down") })
	m.await("carrier lost", link("eth0", func(l Link) bool { return !l.Up }))
	ip(t, "addr add fd00::1/64 dev eth0")
	m.await("tentative", func(e Event) bool { a, ok := e.(AddrAdded); return ok && a.Prefix == prefix("fd00::1/64") && !a.Ready })
}

func TestMonitorSeesLinksRenamedDeletedAndRecreated(t *testing.T) {
	l := newLAN(t)
	m := newMonitor(t)
	k := newKernel(t)
	index, err := k.names.index("eth0")
	if err != nil {
		t.Fatal(err)
	}
	ip(t, "addr add 10.1.0.1/24 dev eth0")
	ip(t, "link set eth0 name lan0")
	m.await("renamed", link("lan0", func(l Link) bool { return l.Index == index }))
	ip(t, "link del lan0")
	m.await("its address", func(e Event) bool {
		a, ok := e.(AddrRemoved)
		return ok && a.Index == index && a.Prefix == prefix("10.1.0.1/24")
	})
	m.await("gone", func(e Event) bool { g, ok := e.(LinkGone); return ok && g == LinkGone{index, "lan0"} })
	l.cable("eth0", "peer0")
	m.await("back", link("eth0", func(l Link) bool { return l.Index != index && l.Up }))
}

func TestMonitorDoesNotTakeABridgePortForALink(t *testing.T) {
	newLAN(t)
	ip(t, "link add br0 type bridge")
	m := newMonitor(t)
	ip(t, "link set eth0 master br0")
	ip(t, "link set eth0 nomaster")
	ip(t, "addr add 10.1.0.1/24 dev eth0")
	m.await("the address, after all of the bridge's notices", func(e Event) bool {
		if g, ok := e.(LinkGone); ok {
			t.Errorf("reported as gone: %v", g)
		}
		a, ok := e.(AddrAdded)
		return ok && a.Prefix == prefix("10.1.0.1/24")
	})
}

func TestMonitorSeesOurRoutesGoAndNoOthers(t *testing.T) {
	newLAN(t)
	m := newMonitor(t)
	k := newKernel(t)
	ip(t, "addr add 10.1.0.5/24 dev eth0")
	index, _ := k.names.index("eth0")
	ip(t, "route add 10.6.0.0/16 via 10.1.0.9")
	ip(t, "route del 10.6.0.0/16") // protocol boot
	noErrors(t, k.AddRoutes([]Route{
		{Dst: prefix("10.7.0.0/16"), Via: addr("10.1.0.9"), Table: 1000, Metric: 7},
		{Via: addr("10.1.0.9")},
		{Dst: prefix("fd07::/64"), Dev: "eth0"},
	}))
	ip(t, "route del 10.7.0.0/16 table 1000")
	ip(t, "route del default")
	ip(t, "-6 route del fd07::/64")
	for _, want := range []RouteRemoved{
		{Index: index, Dst: prefix("10.7.0.0/16"), Via: addr("10.1.0.9"), Table: 1000, Metric: 7},
		{Index: index, Dst: prefix("0.0.0.0/0"), Via: addr("10.1.0.9"), Table: unix.RT_TABLE_MAIN},
		{Index: index, Dst: prefix("fd07::/64"), Table: unix.RT_TABLE_MAIN, Metric: 1024},
	} {
		got := m.await(fmt.Sprint(want), func(e Event) bool { _, ok := e.(RouteRemoved); return ok })
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func TestMonitorReportsAnOverrunAndGoesOn(t *testing.T) {
	newLAN(t)
	m := newMonitor(t)
	k := newKernel(t)
	// The smallest buffer that the kernel grants.
	if err := unix.SetsockoptInt(m.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil {
		t.Fatal(err)
	}
	var addrs []Address
	for i := range 200 {
		addrs = append(addrs, VIP(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, 1, byte(i)}), 32), "eth0"))
	}
	noErrors(t, k.AddAddresses(addrs))
	if diff := cmp.Diff([]Event{Overrun{}}, m.events()); diff != "" {
		t.Errorf("what was queued before the loss is stale (-want +got):\n%s", diff)
	}
	noErrors(t, k.DelAddresses(addrs[:1]))
	m.await("an event after it", func(e Event) bool { _, ok := e.(AddrRemoved); return ok })
}

func TestDrainOfNothingAllocatesNothing(t *testing.T) {
	newLAN(t)
	m := newMonitor(t)
	p, err := NewProber("eth0")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	m.events()
	onEvent, onARP := func(Event) {}, func(ARPSeen) {}
	if n := testing.AllocsPerRun(100, func() { m.Drain(onEvent); p.Drain(onARP) }); n != 0 {
		t.Errorf("allocations: %v", n)
	}
}

func TestLinksShowStateAndAddressesInOrder(t *testing.T) {
	l := newLAN(t)
	k := newKernel(t)
	ip(t, "addr add 10.1.0.1/24 dev eth0")
	ip(t, "addr add 10.1.0.2/24 dev eth0")
	ip(t, "addr add 10.2.0.1/24 dev eth0")
	ip(t, "link set eth0 mtu 1400")
	links, err := k.Links()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]Link{}
	for _, l := range links {
		byName[l.Name] = l
	}
	eth0 := byName["eth0"]
	var v4 []string
	for _, p := range eth0.Addrs {
		if p.Addr().Is4() {
			v4 = append(v4, p.String())
		}
	}
	if got, want := strings.Join(v4, " "), "10.1.0.1/24 10.2.0.1/24 10.1.0.2/24"; got != want {
		t.Errorf("addresses %s, want %s", got, want)
	}
	if !eth0.Up || !eth0.AdminUp || !eth0.Multicast || eth0.Loopback || eth0.MTU != 1400 || eth0.Kind != "veth" ||
		eth0.HardwareAddr.String() != "02:00:00:00:00:01" {
		t.Errorf("eth0 is %+v", eth0)
	}
	if !byName["lo"].Loopback {
		t.Errorf("lo is %+v", byName["lo"])
	}
	l.atPeer(func() { ip(t, "link set peer0 down") })
	eventually(t, "eth0 without carrier", func() bool {
		links, err := k.Links()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range links {
			if l.Name == "eth0" {
				return !l.Up && l.AdminUp
			}
		}
		return false
	})
}
