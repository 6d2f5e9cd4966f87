package e2e

import (
	"net/netip"
	"testing"
	"time"

	"github.com/keepmesh/keepmesh/lab"
)

func mustPrefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// Tutorial 004: unicast with nopreempt. A node that was restarted, or whose
// host was lost, returns as backup and does not take the address back.
func TestUnicastWithoutPreemption(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const vip = "172.18.5.148"
	a := w.host("n144", "ens192", "172.18.5.144/24")
	b := w.host("n145", "ens192", "172.18.5.145/24")
	confA, confB := tutorial(t, "004-node144"), tutorial(t, "004-node145")
	procA := w.keepmesh(a, confA)
	w.holds(vip, "n144")
	// The peer with the higher address comes later and does not take over.
	w.keepmesh(b, confB)
	w.inState(b, "VI_1", "BACKUP")
	begin := lab.Now()

	// The process is restarted.
	w.stop(procA)
	w.holds(vip, "n145")
	w.from(t, begin, "n144", 147, 0)
	w.from(t, begin, "n145", 147, 100)
	w.keepmesh(a, confA)
	w.inState(a, "VI_1", "BACKUP")
	// Longer than its timer of 3.6 s: only adverts that it accepts restart it.
	begin = lab.Now()
	w.pass(4 * time.Second)
	w.speaks(t, begin, lab.Now(), "n145", 147)
	w.still(vip, "n145")
	if i := w.inState(a, "VI_1", "BACKUP"); i.EffectivePriority != 100 {
		t.Errorf("the effective priority is %d", i.EffectivePriority)
	}

	// The host is lost, and comes back.
	if err := b.Kill(); err != nil {
		t.Fatal(err)
	}
	w.holds(vip, "n144")
	if err := b.Boot(deadline(t, patience)); err != nil {
		t.Fatal(err)
	}
	w.keepmesh(b, confB)
	w.inState(b, "VI_1", "BACKUP")
	begin = lab.Now()
	w.pass(4 * time.Second)
	w.speaks(t, begin, lab.Now(), "n144", 147)
	w.still(vip, "n144")

	for _, x := range w.between(0, 0, "", 0) {
		want := map[string]string{"n144": "172.18.5.145", "n145": "172.18.5.144"}[x.Host]
		if x.Dst.String() != want || x.TTL != 255 {
			t.Fatalf("%s sends an advert to %s with TTL %d", x.Host, x.Dst, x.TTL)
		}
	}
}
