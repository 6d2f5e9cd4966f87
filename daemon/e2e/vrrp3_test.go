package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepmesh/keepmesh/daemon/status"
	"github.com/keepmesh/keepmesh/lab"
)

// other is the other of the two programs.
var other = map[string]string{"keepmesh": "keepalived", "keepalived": "keepmesh"}

// beside runs a test with each program as the preferred one.
func beside(t *testing.T, run func(t *testing.T, w *world, first, second starter)) {
	for _, first := range []string{"keepmesh", "keepalived"} {
		t.Run(first+" is preferred", func(t *testing.T) {
			t.Parallel()
			lab.Require(t, lab.Netns, lab.Keepalived)
			run(t, newWorld(t), programs[first], programs[other[first]])
		})
	}
}

// dual adds a host with an address of each family; number is its last byte.
func (w *world) dual(number int) *lab.Host {
	w.t.Helper()
	return w.hostWith(fmt.Sprintf("n%d", number), lab.HostOptions{
		Sysctls: map[string]string{"net.ipv6.conf.default.accept_dad": "0", "net.ipv6.conf.all.disable_ipv6": "0"},
		Interfaces: []lab.Iface{{
			Name: "eth0", Addr: netip.MustParsePrefix(fmt.Sprintf("10.9.0.%d/24", number)),
			More: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("fd09::%d/64", number))},
		}},
	})
}

// v3 is an instance of VRRPv3 over either family.
type v3 struct {
	self, priority int
	interval       string
	six, unicast   bool
	extra          string
}

func (c v3) vip() string {
	if c.six {
		return "fd09::100"
	}
	return pairVIP
}

func (c v3) String() string {
	address, length := "10.9.0.%d", "24"
	first := ""
	if c.six {
		address, length, first = "fd09::%d", "64", "fe80::100/64\n        "
	}
	extra := c.extra
	if c.unicast {
		extra += fmt.Sprintf("\n    unicast_src_ip "+address+"\n    unicast_peer {\n        "+address+"\n    }", c.self, 3-c.self)
	}
	return fmt.Sprintf(`vrrp_instance VI_1 {
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority %d
    version 3
    advert_int %s
    %s
    virtual_ipaddress {
        %s%s/%s
    }
}
`, c.priority, c.interval, extra, first, c.vip(), length)
}

// Sub-second intervals, both families, both casts: the preferred node takes the
// address from the other, gives it back by its end, and nobody complains.
func TestVersion3OfEveryKindBesideKeepalived(t *testing.T) {
	kinds := []v3{
		{interval: "0.1", six: true}, {interval: "0.1", unicast: true}, {interval: "0.1", six: true, unicast: true},
		{interval: "0.01"}, {interval: "0.01", six: true},
	}
	for _, kind := range kinds {
		name := map[bool]string{false: "IPv4", true: "IPv6"}[kind.six] + map[bool]string{false: " multicast ", true: " unicast "}[kind.unicast] + kind.interval
		t.Run(name, func(t *testing.T) {
			beside(t, func(t *testing.T, w *world, first, second starter) {
				conf := func(self, priority int) string {
					c := kind
					c.self, c.priority = self, priority
					return c.String()
				}
				a, b := w.dual(1), w.dual(2)
				c := w.capture()
				q := second(w, b, conf(2, 100))
				w.holds(kind.vip(), "n2")
				p := first(w, a, conf(1, 150))
				w.holds(kind.vip(), "n1")
				w.stop(p)
				w.holds(kind.vip(), "n2")
				if got, want := w.course(0, 51), []string{"n2 100", "n1 150", "n1 0", "n2 100"}; !slices.Equal(got, want) {
					t.Errorf("the course differs (-want +got):\n%s", cmp.Diff(want, got))
				}
				interval := map[string]time.Duration{"0.1": 100 * time.Millisecond, "0.01": 10 * time.Millisecond}[kind.interval]
				for _, x := range w.taken(c, !(kind.six && kind.unicast)) {
					if x.Version != 3 || x.Interval != interval || x.Src.Is6() != kind.six || x.Dst.IsMulticast() == kind.unicast {
						t.Errorf("a packet reads %+v", x)
					}
				}
				w.quiet(p, q)
			})
		})
	}
}

// taken ends a capture. keepalived sends unicast over IPv6 with the kernel's own
// hop limit, which tshark does not like: there only the checksums are judged.
func (w *world) taken(c *lab.Capture, everything bool) []lab.Packet {
	w.t.Helper()
	if everything {
		return w.judged(c)
	}
	p, err := c.Stop(deadline(w.t, time.Minute))
	if err != nil {
		w.t.Fatal(err)
	}
	list := p.VRRP()
	for _, x := range list {
		if x.Checksum != 1 {
			w.t.Errorf("checksum status %d from %s", x.Checksum, x.Host)
		}
	}
	if len(list) == 0 {
		w.t.Error("nothing was captured")
	}
	return list
}

// A backup learns the interval of the one it follows, not its own counts.
func TestIntervalIsLearntBesideKeepalived(t *testing.T) {
	beside(t, func(t *testing.T, w *world, first, second starter) {
		a, b := w.dual(1), w.dual(2)
		p := first(w, a, v3{self: 1, priority: 150, interval: "0.2"}.String())
		w.holds(pairVIP, "n1")
		q := second(w, b, v3{self: 2, priority: 100, interval: "3"}.String())
		w.says(q, `(?i)backup`)
		if w.instance(b, "VI_1") != nil {
			// 3 × 200 ms and 156/256 of one.
			w.reports(b, "VI_1", "to have learnt the interval", func(i *status.Instance) bool { return i.DownMS == 721 })
		}
		w.next(t, 0, patience, "of the one to be followed", func(x heard) bool { return x.Host == "n1" && x.Priority == 150 })
		w.pass(time.Second) // five of its adverts
		if err := a.Kill(); err != nil {
			t.Fatal(err)
		}
		gone := lab.Now()
		w.holds(pairVIP, "n2")
		// By its own interval of 3 s it would have waited 9 s at least.
		if at := w.from(t, gone, "n2", 51, 100).At; at-gone > 8*time.Second {
			t.Errorf("the backup waited %s: it counted its own interval", at-gone)
		}
		w.quiet(p, q)
	})
}

// onesSum is the internet checksum over parts, zero where it is right.
func onesSum(parts ...[]byte) uint16 {
	var sum uint32
	for _, b := range parts {
		for ; len(b) > 1; b = b[2:] {
			sum += uint32(b[0])<<8 | uint32(b[1])
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// oldForm says whether a frame's checksum is over the multicast group.
func oldForm(frame []byte) bool {
	ip := frame[14:]
	pdu := ip[20:ipLength(ip)]
	return onesSum(ip[12:16], []byte{224, 0, 0, 18, 0, 112, 0, byte(len(pdu))}, pdu) == 0
}

func ipLength(ip []byte) int { return int(ip[2])<<8 | int(ip[3]) }

// A keepalived that sends the checksum of old releases is understood and
// answered in the same form, whoever is preferred.
func TestOldUnicastChecksumOfKeepalivedIsAdopted(t *testing.T) {
	for _, preferred := range []string{"keepmesh", "keepalived"} {
		t.Run(preferred+" is preferred", func(t *testing.T) {
			t.Parallel()
			lab.Require(t, lab.Netns, lab.Keepalived)
			w := newWorld(t)
			a, b := w.dual(1), w.dual(2)
			mine, theirs := 100, 150
			if preferred == "keepmesh" {
				mine, theirs = 150, 100
			}
			c := w.capture()
			q := w.keepalived(b, v3{self: 2, priority: theirs, interval: "0.1", unicast: true, extra: "old_unicast_checksum"}.String())
			w.holds(pairVIP, "n2")
			p := w.keepmesh(a, v3{self: 1, priority: mine, interval: "0.1", unicast: true}.String())
			w.says(p, `old form`)
			if preferred == "keepmesh" {
				w.holds(pairVIP, "n1")
				w.stop(p)
				w.holds(pairVIP, "n2")
			} else {
				w.stop(q)
				w.holds(pairVIP, "n1")
			}
			got, err := c.Stop(deadline(t, time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]int{}
			for _, x := range got.VRRP() {
				seen[x.Host]++
				if !oldForm(x.Raw) {
					t.Errorf("%s sends priority %d with a checksum of the new form", x.Host, x.Priority)
				}
			}
			if seen["n1"] == 0 || seen["n2"] == 0 {
				t.Errorf("adverts captured: %v", seen)
			}
			w.quiet(q)
			if strings.Contains(p.Output(), "refused") {
				t.Errorf("an advert was refused:\n%s", p.Output())
			}
		})
	}
}
