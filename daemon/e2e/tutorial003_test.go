package e2e

import (
	"net/netip"
	"testing"
)

// Tutorial 003: master and backup by multicast with mcast_src_ip.
func TestMasterAndBackupWithSourceAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const vip = "192.168.2.233"
	a := w.host("n1", "eth0", "192.168.2.115/24")
	b := w.host("n2", "eth0", "192.168.2.227/24")
	master := w.keepmesh(a, tutorial(t, "003-master"))
	w.keepmesh(b, tutorial(t, "003-backup"))
	w.holds(vip, "n1")

	first := w.from(t, 0, "n1", 51, 101)
	if first.Src != netip.MustParseAddr("192.168.2.115") || first.Dst != netip.MustParseAddr("224.0.0.18") {
		t.Errorf("the first advert goes from %s to %s", first.Src, first.Dst)
	}
	if len(first.VIPs) != 1 || first.VIPs[0] != netip.MustParseAddr(vip) || first.TTL != 255 || first.Version != 2 {
		t.Errorf("the first advert reads %+v", first)
	}
	w.inState(b, "VI_1", "BACKUP")

	// The master goes, says so, and comes back.
	w.stop(master)
	w.holds(vip, "n2")
	if got := w.addresses(a); len(got) != 1 || got[0] != "eth0 192.168.2.115/24" {
		t.Errorf("the stopped master has left %v behind", got)
	}
	farewell := w.from(t, first.At, "n1", 51, 0)
	successor := w.from(t, farewell.At, "n2", 51, 100)
	if successor.Src != netip.MustParseAddr("192.168.2.227") {
		t.Errorf("the successor sends from %s", successor.Src)
	}
	w.keepmesh(a, tutorial(t, "003-master"))
	w.holds(vip, "n1")
	w.inState(b, "VI_1", "BACKUP")
	if n := w.announced(successor.At, "n1", netip.MustParseAddr(vip)); n < 5 {
		t.Errorf("the returned master has announced the address %d times, want 5", n)
	}
}
