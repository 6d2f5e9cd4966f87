package netif

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestOnlyForeignClaimsOfHeldAddressesAreHeard lets a stranger, another host
// and this one speak, the claims of interest last.
func TestOnlyForeignClaimsOfHeldAddressesAreHeard(t *testing.T) {
	l := newLAN(t)
	w, err := NewClaimWatch("eth0")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	vip4, vip6 := addr("10.9.0.100"), addr("fd00::100")
	if err := w.Watch([]netip.Addr{addr("10.9.0.99"), vip4, vip6}); err != nil {
		t.Fatal(err)
	}
	own := newAnnouncer(t)
	noErrors(t, own.GratuitousARP("eth0", []netip.Addr{vip4, vip6}))
	l.atPeer(func() {
		theirs := newAnnouncer(t)
		noErrors(t, theirs.GratuitousARP("peer0", []netip.Addr{addr("10.9.0.101"), addr("fd00::101"), addr("fd01::100"), vip4, vip6}))
	})
	mac := MAC{2, 0, 0, 0, 0, 2}
	want := []Claim{{vip4, mac}, {vip6, mac}}
	var got []Claim
	for i, fd := range w.FDs() {
		if !readable(t, fd, 10*time.Second) {
			t.Fatalf("nothing heard on descriptor %d", i)
		}
	}
	if err := w.Drain(func(c Claim) { got = append(got, c) }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestManyWatchedAddressesFitTheFilter(t *testing.T) {
	newLAN(t)
	w, err := NewClaimWatch("eth0")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var all []netip.Addr
	for n := range 2 * claimFilterMax {
		if n == claimFilterMax || n == 2*claimFilterMax-1 {
			if err := w.Watch(all); err != nil {
				t.Errorf("%d addresses: %v", len(all), err)
			}
		}
		all = append(all, netip.AddrFrom4([4]byte{10, 8, byte(n >> 8), byte(n)}))
	}
}
