package e2e

import (
	"crypto/hmac"
	"crypto/md5"
	endian "encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keepmesh/keepmesh/daemon/status"
	"github.com/keepmesh/keepmesh/lab"
)

// ahFits checks the integrity check value of a captured frame, which tshark does
// not, and its SPI; it returns the sequence number.
func ahFits(t *testing.T, x lab.Packet, password string, unicast bool) uint32 {
	t.Helper()
	ip := slices.Clone(x.Raw[14:])
	ip = ip[:ipLength(ip)]
	if ip[9] != 51 || len(ip) < 52 {
		t.Fatalf("%s sends protocol %d", x.Host, ip[9])
	}
	ah := ip[20:44]
	value, spi := slices.Clone(ah[12:]), endian.BigEndian.Uint32(ah[4:])
	ip[1] = 0
	clear(ip[6:8])
	clear(ip[10:12])
	clear(ah[12:])
	if unicast {
		ip[8] = 0
	}
	key := make([]byte, 8)
	copy(key, password)
	mac := hmac.New(md5.New, key)
	mac.Write(ip)
	if !hmac.Equal(mac.Sum(nil)[:12], value) {
		t.Errorf("%s sends priority %d with a wrong check value", x.Host, x.Priority)
	}
	if source := endian.BigEndian.Uint32(ip[12:]); spi != source {
		t.Errorf("the SPI of %s is %x", x.Host, spi)
	}
	return endian.BigEndian.Uint32(ah[8:])
}

// auth_type AH: each program as master and as backup, over a takeover, an end by
// TERM and the return; each advert's value fits, and the numbers of the whole
// group only grow, or the other would call it a recording.
func TestAHBesideKeepalived(t *testing.T) {
	for _, unicast := range []bool{false, true} {
		t.Run(map[bool]string{false: "multicast", true: "unicast"}[unicast], func(t *testing.T) {
			beside(t, func(t *testing.T, w *world, first, second starter) {
				conf := func(self, priority int) string {
					return edit(t, pair{self: self, priority: priority, unicast: unicast}.String(), "auth_type PASS", "auth_type AH",
						`    notify "/etc/keepalived/note.sh"`+"\n", "")
				}
				a, b := w.host("n1", "eth0", "10.9.0.1/24"), w.host("n2", "eth0", "10.9.0.2/24")
				c := w.capture()
				q := second(w, b, conf(2, 100))
				w.holds(pairVIP, "n2")
				p := first(w, a, conf(1, 150))
				w.holds(pairVIP, "n1")
				w.stop(p)
				w.holds(pairVIP, "n2")
				again := first(w, a, conf(1, 150))
				w.holds(pairVIP, "n1")
				if err := a.Kill(); err != nil {
					t.Fatal(err)
				}
				w.holds(pairVIP, "n2")
				var last uint32
				seen := map[string]int{}
				for _, x := range w.judged(c) {
					if x.Auth != 2 || x.Version != 2 || x.TOS != 0xc0 {
						t.Errorf("a packet reads %+v", x)
					}
					number := ahFits(t, x, "secret12", unicast)
					if number <= last {
						t.Errorf("%s sends number %d after %d", x.Host, number, last)
					}
					last = number
					seen[x.Host]++
				}
				if seen["n1"] == 0 || seen["n2"] == 0 {
					t.Errorf("adverts captured: %v", seen)
				}
				w.quiet(p, q, again)
			})
		})
	}
}

// With another password nobody believes the other.
func TestAHWithAnotherPasswordIsRefusedByBoth(t *testing.T) {
	t.Parallel()
	lab.Require(t, lab.Keepalived)
	w := newWorld(t)
	a, b := w.host("n1", "eth0", "10.9.0.1/24"), w.host("n2", "eth0", "10.9.0.2/24")
	conf := func(self, priority int) string {
		return edit(t, pair{self: self, priority: priority}.String(), "auth_type PASS", "auth_type AH", `    notify "/etc/keepalived/note.sh"`+"\n", "")
	}
	p := w.keepmesh(a, conf(1, 150))
	q := w.keepalived(b, edit(t, conf(2, 100), "secret12", "another1"))
	w.holds(pairVIP, "n1", "n2")
	w.says(p, `wrong AH check value`)
	w.says(q, `invalid IPSEC HMAC-MD5 value`)
}

// auth_hmac: keys are rotated by reloads while one node holds; no advert is
// refused at any step, and a node without the key moves nobody.
func TestHMACKeysRotateWithoutATransition(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.host("n1", "eth0", "10.9.0.1/24"), w.host("n2", "eth0", "10.9.0.2/24")
	conf := func(self, priority, active int, keys ...string) string {
		block := "auth_hmac {\n        " + strings.Join(keys, "\n        ") + fmt.Sprintf("\n        active_key %d\n    }", active)
		return v3{self: self, priority: priority, interval: "0.1", extra: block}.String()
	}
	one, two := "key 1 hex:"+strings.Repeat("11", 32), "key 2 file:/etc/keepalived/key2"
	for _, h := range []*lab.Host{a, b} {
		w.write(h, "/etc/keepalived/key2", 0o600, strings.Repeat("k", 40)+"\n")
	}
	p := w.keepmesh(a, conf(1, 150, 1, one))
	w.holds(pairVIP, "n1")
	q := w.keepmesh(b, conf(2, 100, 1, one))
	w.inState(b, "VI_1", "BACKUP")
	begin := lab.Now()
	reload := func(h *lab.Host, x *lab.Proc, text string) {
		before := strings.Count(x.Output(), "configuration")
		w.reload(h, x, text)
		w.eventually("the reload", func() bool { return strings.Count(x.Output(), "configuration") > before }, x.Output)
	}
	reload(b, q, conf(2, 100, 1, one, two))
	reload(a, p, conf(1, 150, 1, one, two))
	reload(a, p, conf(1, 150, 2, one, two))
	reload(b, q, conf(2, 100, 2, one, two))
	reload(a, p, conf(1, 150, 2, two))
	reload(b, q, conf(2, 100, 2, two))
	w.next(t, lab.Now(), patience, "after the rotation", func(x heard) bool { return x.Host == "n1" })
	w.speaks(t, begin, lab.Now(), "n1", 51)
	for _, x := range []*lab.Proc{p, q} {
		if strings.Contains(x.Output(), "refused") {
			t.Errorf("an advert was refused:\n%s", x.Output())
		}
	}
	// The key is lost: what cannot sign must neither send nor listen.
	reload(b, q, edit(t, conf(2, 100, 2, two), "file:/etc/keepalived/key2", "file:/etc/keepalived/none"))
	w.reports(b, "VI_1", "to say which key is missing", func(i *status.Instance) bool {
		return i.State == "FAULT" && strings.Contains(i.Reason, "auth_hmac key 2")
	})
	w.stop(q)
	// A keepmesh without the block believes nobody, and nobody believes it.
	r := w.keepmesh(b, v3{self: 2, priority: 200, interval: "0.1"}.String())
	w.holds(pairVIP, "n1", "n2")
	w.says(p, `no authentication trailer`)
	w.reports(a, "VI_1", "to count it by its cause", func(i *status.Instance) bool { return i.Stats.AuthExtMissing > 0 })
	w.says(r, `wrong length`)
}

// Two instances with one VRID on an interface: the first runs, the second stays
// in FAULT and says why; its adverts are not taken for the other's.
func TestVRIDTwiceOneRunsTheOtherSaysWhy(t *testing.T) {
	t.Parallel()
	lab.Require(t, lab.Keepalived)
	w := newWorld(t)
	a, b := w.host("n1", "eth0", "10.9.0.1/24"), w.host("n2", "eth0", "10.9.0.2/24")
	first := v3{self: 1, priority: 100, interval: "0.1"}.String()
	p := w.keepmesh(a, first+edit(t, first, "VI_1", "VI_2", "priority 100", "priority 200"))
	w.holds(pairVIP, "n1")
	w.reports(a, "VI_2", "to say why", func(i *status.Instance) bool {
		return i.State == "FAULT" && strings.Contains(i.Reason, "virtual_router_id 51 is already used on eth0 by VI_1")
	})
	q := w.keepalived(b, v3{self: 2, priority: 150, interval: "0.1"}.String())
	w.holds(pairVIP, "n2")
	w.inState(a, "VI_1", "BACKUP")
	w.stop(q)
	w.holds(pairVIP, "n1")
	if got := w.course(0, 51); slices.Contains(got, "n1 200") {
		t.Errorf("the barred instance speaks: %q", got)
	}
	w.stop(p)
	if list := w.addresses(a); slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, pairVIP) }) {
		t.Errorf("left behind: %v", list)
	}
}

// unicast_fault_no_peer: no peer, no adverts, and a reason.
func TestUnicastWithoutAPeerSaysWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.host("n1", "eth0", "10.9.0.1/24")
	w.keepmesh(a, v3{self: 1, priority: 100, interval: "0.1", extra: "unicast_src_ip 10.9.0.1\n    unicast_fault_no_peer"}.String())
	w.reports(a, "VI_1", "to say why", func(i *status.Instance) bool {
		return i.State == "FAULT" && strings.Contains(i.Reason, "there is no unicast peer")
	})
	w.pass(time.Second) // ten intervals
	if got := w.course(0, 51); len(got) != 0 {
		t.Errorf("it speaks: %q", got)
	}
}
