package e2e

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepmesh/keepmesh/lab"
)

// twoNICs is a host of tutorial 000: the inner network and the outer one.
func (w *world) twoNICs(name, inside, outside string) *lab.Host {
	w.t.Helper()
	prefix := func(s string) (p netip.Prefix) {
		if s != "" {
			p = netip.MustParsePrefix(s)
		}
		return p
	}
	return w.hostWith(name, lab.HostOptions{Interfaces: []lab.Iface{
		{Name: "eth0", Switch: "inside", Addr: prefix(inside)},
		{Name: "eth1", Switch: "outside", Addr: prefix(outside)},
	}})
}

// Tutorial 000: a sync group over two networks whose default route moves with
// the addresses, switched by hand through priority and reload.
func TestSyncGroupOverTwoNetworksMovesWithItsRoutes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "inside", "outside")
	const inside, outside = "10.210.214.253", "202.102.152.253"
	a := w.twoNICs("host163", "10.210.214.163/24", "202.102.152.163/24")
	b := w.twoNICs("host113", "10.210.214.113/24", "202.102.152.113/24")
	confA, confB := tutorial(t, "000-host163"), tutorial(t, "000-host113")
	procA := w.keepmesh(a, confA)
	procB := w.keepmesh(b, confB)
	routes := []string{"0.0.0.0/0 via 202.102.152.1 dev eth1", "172.16.0.0/12 via 10.210.214.1 dev eth0"}
	heldBy := func(holder, other *lab.Host) {
		t.Helper()
		w.holds(inside, holder.Name())
		w.holds(outside, holder.Name())
		for _, i := range []string{"inside_network", "outside_network"} {
			w.inState(holder, i, "MASTER")
		}
		w.eventually("the routes to be on "+holder.Name()+" alone", func() bool {
			return slices.Equal(w.routes(holder), routes) && len(w.routes(other)) == 0
		}, func() string { return cmp.Diff(w.routes(holder), w.routes(other)) })
	}
	heldBy(a, b)
	list, err := a.Addresses("eth0")
	if err != nil {
		t.Fatal(err)
	}
	vip := slices.IndexFunc(list, func(x lab.Address) bool { return x.Prefix.Addr().String() == inside })
	if vip < 0 || list[vip].Prefix.Bits() != 24 || list[vip].Broadcast.String() != "10.210.214.255" {
		t.Errorf("the inner address is %+v", list)
	}

	// By hand: the backup gets a higher priority and reads its file again.
	begin := lab.Now()
	w.reload(b, procB, edit(t, confB, "priority 150", "priority 250"))
	heldBy(b, a)
	w.inState(a, "inside_network", "BACKUP")
	for vrid := uint8(1); vrid <= 2; vrid++ {
		if got := w.course(begin, vrid); !slices.Equal(got, []string{"host163 200", "host113 250"}) {
			t.Errorf("vrid %d: the course of the switch is %v", vrid, got)
		}
	}
	// And back.
	w.reload(b, procB, confB)
	heldBy(a, b)

	// One network lost is both given up.
	fault, err := a.CarrierDown("eth1")
	if err != nil {
		t.Fatal(err)
	}
	heldBy(b, a)
	if i := w.inState(a, "outside_network", "FAULT"); i.Reason == "" {
		t.Error("status gives no reason for the FAULT")
	}
	w.undo(fault)
	heldBy(a, b)

	w.stop(procA)
	heldBy(b, a)
	if got, want := w.addresses(a), []string{"eth0 10.210.214.163/24", "eth1 202.102.152.163/24"}; !slices.Equal(got, want) {
		t.Errorf("the stopped daemon leaves %v", got)
	}
}

// Tutorial 000: VRRP on one interface, a VIP on the other as well, static
// addresses and routes, dont_track_primary, track_interface, preempt_delay.
func TestAddressOnAnotherInterfaceThanVRRP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "inside", "outside")
	const inner, public = "10.210.214.253", "192.168.1.11"
	a := w.twoNICs("host163", "", "202.102.152.163/24") // eth0 gets its static address from the daemon
	b := w.twoNICs("host113", "10.210.214.113/24", "202.102.152.113/24")
	conf := tutorial(t, "000-static")
	procA := w.keepmesh(a, conf)
	w.eventually("the static address", func() bool { return slices.Contains(w.addresses(a), "eth0 10.210.214.163/24") },
		func() string { return procA.Output() })
	w.keepmesh(b, edit(t, conf, "10.210.214.163", "10.210.214.113", "priority 100", "priority 50"))
	w.holds(inner, "host163")
	w.holds(public, "host163")
	want := []string{
		"0.0.0.0/0 via 202.102.152.1 dev eth1", "10.0.0.0/8 via 10.210.214.1 dev eth0",
		"172.16.0.0/12 via 10.210.214.1 dev eth0", "192.168.1.0/24 via 192.168.1.1 dev eth1",
	}
	w.eventually("all routes", func() bool { return slices.Equal(w.routes(a), want) },
		func() string { return cmp.Diff(want, w.routes(a)) })
	if got, want := w.routes(b), []string{"10.0.0.0/8 via 10.210.214.1 dev eth0"}; !slices.Equal(got, want) {
		t.Errorf("the backup's routes are %v", got)
	}
	if n := w.announced(0, "host163", netip.MustParseAddr(public)); n == 0 {
		t.Error("the address on the other interface was not announced")
	}

	// The tracked interface is lost: the other host takes over, and keeps the
	// address afterwards, since preempt_delay is long.
	fault, err := a.CarrierDown("eth1")
	if err != nil {
		t.Fatal(err)
	}
	w.holds(public, "host113")
	w.holds(inner, "host113")
	w.inState(a, "VI_1", "FAULT")
	w.undo(fault)
	w.inState(a, "VI_1", "BACKUP")

	// The interface of VRRP itself is not tracked: without a word from the
	// other the host takes the address, and the higher priority wins later.
	fault, err = a.CarrierDown("eth0")
	if err != nil {
		t.Fatal(err)
	}
	w.inState(a, "VI_1", "MASTER")
	w.holds(public, "host163", "host113")
	w.undo(fault)
	w.holds(public, "host163")
	w.holds(inner, "host163")

	w.stop(procA)
	if got := w.addresses(a); !slices.Equal(got, []string{"eth1 202.102.152.163/24"}) {
		t.Errorf("the stopped daemon leaves the addresses %v", got)
	}
	if got := w.routes(a); len(got) != 0 {
		t.Errorf("the stopped daemon leaves the routes %v", got)
	}
}
