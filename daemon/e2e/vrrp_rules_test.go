package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keepmesh/keepmesh/lab"
)

// timer_expired_backup: a master whose process stood still until the other had
// taken over goes to BACKUP without one more advert.
func TestTimerExpiredBackupYieldsWithoutAnAdvert(t *testing.T) {
	t.Parallel()
	lab.Require(t, lab.Keepalived)
	w := newWorld(t)
	a, b := w.host("n1", "eth0", "10.9.0.1/24"), w.host("n2", "eth0", "10.9.0.2/24")
	p := w.keepmesh(a, v3{self: 1, priority: 150, interval: "0.1", extra: "nopreempt\n    timer_expired_backup 100"}.String())
	w.holds(pairVIP, "n1")
	w.keepalived(b, v3{self: 2, priority: 100, interval: "0.1", extra: "nopreempt"}.String())
	pid := w.family(a)["vrrp"]
	if err := a.Freeze(deadline(t, patience), pid); err != nil {
		t.Fatal(err)
	}
	frozen := lab.Now()
	w.from(t, frozen, "n2", 51, 100)
	w.pass(time.Second) // more than three intervals and a skew
	if err := a.Thaw(deadline(t, patience), pid); err != nil {
		t.Fatal(err)
	}
	w.says(p, `no advert could be sent for`)
	w.holds(pairVIP, "n2")
	w.from(t, lab.Now(), "n2", 51, 100)
	if got := w.between(frozen, 0, "n1", 51); len(got) > 0 {
		t.Errorf("it advertised priority %d after it had stood still", got[0].Priority)
	}
}

// Two address owners: the one with the lower address yields, whichever program
// it is, and ours says that there are two.
func TestOfTwoOwnersTheLowerAddressYields(t *testing.T) {
	beside(t, func(t *testing.T, w *world, higher, lower starter) {
		a, b := w.host("n1", "eth0", "10.9.0.1/24"), w.host("n2", "eth0", "10.9.0.2/24")
		conf := func(self int) string {
			return edit(t, v3{self: self, priority: 255, interval: "0.1"}.String(), "state BACKUP", "state MASTER")
		}
		p := lower(w, a, conf(1))
		w.holds(pairVIP, "n1")
		q := higher(w, b, conf(2))
		w.holds(pairVIP, "n2")
		begin := lab.Now()
		w.pass(2 * time.Second) // twenty intervals
		if got := w.course(begin, 51); !slices.Equal(got, []string{"n2 255"}) {
			t.Errorf("the adverts were %v", got)
		}
		if strings.Contains(p.Output(), "keepmesh starts") {
			w.says(p, `claims to own the addresses`)
		}
		w.stop(q)
		w.holds(pairVIP, "n1")
	})
}

// unicast_ttl is sent, and the window of a peer is obeyed, over both families.
func TestUnicastTTLAndWindow(t *testing.T) {
	for _, six := range []bool{false, true} {
		t.Run(map[bool]string{false: "IPv4", true: "IPv6"}[six], func(t *testing.T) {
			t.Parallel()
			lab.Require(t, lab.Keepalived)
			w := newWorld(t)
			a, b := w.dual(1), w.dual(2)
			peer := map[bool]string{false: "10.9.0.2", true: "fd09::2"}[six]
			conf := func(self, priority, ttl int) v3 {
				return v3{self: self, priority: priority, interval: "0.1", six: six, unicast: true, extra: fmt.Sprintf("unicast_ttl %d", ttl)}
			}
			c := w.capture()
			near := edit(t, conf(1, 100, 7).String(), "        "+peer+"\n    }", "        "+peer+" min_ttl 60 max_ttl 64\n    }")
			p := w.keepmesh(a, near)
			q := w.keepalived(b, conf(2, 150, 64).String())
			w.holds(conf(1, 1, 1).vip(), "n2")
			w.quiet(p, q)
			w.stop(q)
			w.holds(conf(1, 1, 1).vip(), "n1")
			// From further away than the window allows.
			r := w.keepalived(b, conf(2, 150, 59).String())
			w.says(p, `TTL outside the peer's window`)
			w.holds(conf(1, 1, 1).vip(), "n1", "n2")
			got, err := c.Stop(deadline(t, time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			ttls := map[string]int{}
			for _, x := range got.VRRP() {
				ttls[fmt.Sprintf("%s %d", x.Host, x.TTL)]++
			}
			if ttls["n1 7"] == 0 || ttls["n2 64"] == 0 || ttls["n2 59"] == 0 || len(ttls) != 3 {
				t.Errorf("sent with %v", ttls)
			}
			if strings.Contains(r.Output(), "not in range") {
				t.Errorf("keepalived has no window:\n%s", r.Output())
			}
		})
	}
}
