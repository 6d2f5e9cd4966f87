package e2e

import (
	stdcmp "cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepmesh/keepmesh/lab"
)

// complaint is what either program says of a packet that it does not like.
var complaint = regexp.MustCompile(`(?i)^.*(invalid|mismatch|incorrect|wrong|bogus|checksum|auth|malformed|unexpected|expecting|does not match|dropped).*$`)

// quiet checks that no process complained about a packet.
func (w *world) quiet(procs ...*lab.Proc) {
	w.t.Helper()
	for _, p := range procs {
		for _, line := range strings.Split(p.Output(), "\n") {
			if complaint.MatchString(line) {
				w.t.Errorf("a complaint: %s", line)
			}
		}
	}
}

// judged ends a capture and checks every packet of it.
func (w *world) judged(c *lab.Capture) []lab.Packet {
	w.t.Helper()
	p, err := c.Stop(deadline(w.t, time.Minute))
	if err != nil {
		w.t.Fatal(err)
	}
	if bad := p.Complaints(); len(bad) > 0 {
		w.t.Errorf("tshark complains: %q", bad)
	}
	list := p.VRRP()
	if len(list) == 0 || p.Dropped > 0 {
		w.t.Errorf("%d packets captured, %d lost", len(list), p.Dropped)
	}
	return list
}

func (w *world) capture() *lab.Capture {
	w.t.Helper()
	lab.Require(w.t, lab.Tcpdump, lab.Tshark)
	c, err := w.Capture(deadline(w.t, 3*time.Minute), lab.CaptureVRRP)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// pair is the configuration of one of the hosts 10.9.0.1 and 10.9.0.2.
type pair struct {
	self     int
	priority int
	unicast  bool
	version  int
	interval string
	extra    string
}

const pairVIP = "10.9.0.100"

func (c pair) String() string {
	peer := ""
	if c.unicast {
		peer = fmt.Sprintf("unicast_src_ip 10.9.0.%d\n    unicast_peer {\n        10.9.0.%d\n    }\n", c.self, 3-c.self)
	}
	return fmt.Sprintf(`vrrp_instance VI_1 {
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority %d
    version %d
    advert_int %s
    authentication {
        auth_type PASS
        auth_pass secret12
    }
    %s
    %s
    virtual_ipaddress {
        %s/24
        10.9.0.101/24
    }
    notify "/etc/keepalived/note.sh"
}
`, c.priority, max(c.version, 2), stdcmp.Or(c.interval, "1"), peer, c.extra, pairVIP)
}

// starter starts one of the two programs.
type starter func(*world, *lab.Host, string, ...string) *lab.Proc

var programs = map[string]starter{"keepmesh": (*world).keepmesh, "keepalived": (*world).keepalived}

// record is what a run showed.
type record struct {
	Adverts     []string // who, with which priority, repetitions left out
	NotifyFirst []string // arguments of notify on the first host
	NotifyOther []string
}

// play runs the same course of events with any two programs: start, an end by
// TERM, the return, loss of the host, its return, and the loss of the backup.
func play(t *testing.T, first, second string, unicast bool) record {
	w := newWorld(t)
	a, b := w.host("n1", "eth0", "10.9.0.1/24"), w.host("n2", "eth0", "10.9.0.2/24")
	for _, h := range []*lab.Host{a, b} {
		w.write(h, "/etc/keepalived/note.sh", 0o755, "#!/bin/sh\necho \"$*\" >>/etc/notes\n")
	}
	c := w.capture()
	startA := func() *lab.Proc {
		return programs[first](w, a, pair{self: 1, priority: 150, unicast: unicast}.String())
	}
	procA := startA()
	procB := programs[second](w, b, pair{self: 2, priority: 100, unicast: unicast}.String())
	var got record
	notes := func(h *lab.Host, count int) (lines []string) {
		w.eventually("the notifications of "+h.Name(), func() bool {
			b, _ := h.ReadFile("/etc/notes")
			lines = strings.Split(strings.TrimSpace(string(b)), "\n")
			// A power loss takes the cables first. A daemon that has the time to
			// see it says so, and either program sometimes has.
			lines = slices.DeleteFunc(lines, func(l string) bool { return strings.Contains(l, " FAULT ") })
			return len(lines) >= count
		}, func() string { return strings.Join(lines, "; ") })
		return lines
	}
	w.holds(pairVIP, "n1")
	w.from(t, 0, "n1", 51, 150)
	notes(a, 2) // scripts that run at once finish in any order
	w.stop(procA)
	w.holds(pairVIP, "n2")
	again := startA()
	w.holds(pairVIP, "n1")
	notes(a, 5) // before the power goes
	if err := a.Kill(); err != nil {
		t.Fatal(err)
	}
	w.holds(pairVIP, "n2")
	if err := a.Boot(deadline(t, patience)); err != nil {
		t.Fatal(err)
	}
	last := startA()
	w.holds(pairVIP, "n1")
	begin := lab.Now()
	w.from(t, begin, "n1", 51, 150)

	got.Adverts = w.course(0, 51)
	got.NotifyFirst, got.NotifyOther = notes(a, 7), notes(b, 5)
	for _, p := range w.judged(c) {
		if p.Version != 2 || p.Auth != 1 || p.TOS != 0xc0 || p.VRID != 51 {
			t.Errorf("a packet reads %+v", p)
		}
		if p.Dst.IsMulticast() == unicast {
			t.Errorf("a packet goes to %s", p.Dst)
		}
	}
	w.quiet(procA, procB, again, last)
	return got
}

// keepmesh and keepalived in one group, each as master and as backup: the same
// transitions, adverts and notifications as two keepalived show.
func TestOneGroupWithKeepalived(t *testing.T) {
	for _, unicast := range []bool{false, true} {
		mode := map[bool]string{false: "multicast", true: "unicast"}[unicast]
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			lab.Require(t, lab.Root, lab.Keepalived) // keepalived runs no script in a user namespace
			pairs := [][2]string{{"keepalived", "keepalived"}, {"keepmesh", "keepalived"}, {"keepalived", "keepmesh"}, {"keepmesh", "keepmesh"}}
			records := make([]record, len(pairs))
			t.Run("run", func(t *testing.T) {
				for n, p := range pairs {
					t.Run(p[0]+"+"+p[1], func(t *testing.T) {
						t.Parallel()
						records[n] = play(t, p[0], p[1], unicast)
					})
				}
			})
			if want := []string{"n1 150", "n1 0", "n2 100", "n1 150", "n2 100", "n1 150"}; !slices.Equal(records[0].Adverts, want) && !t.Failed() {
				t.Errorf("two keepalived advertise (-expected +seen):\n%s", cmp.Diff(want, records[0].Adverts))
			}
			for n, p := range pairs[1:] {
				if diff := cmp.Diff(records[0], records[n+1]); diff != "" && !t.Failed() {
					t.Errorf("%s as first and %s as second (-two keepalived +these):\n%s", p[0], p[1], diff)
				}
			}
		})
	}
}

// Of two masters with equal priority the one with the higher address stays,
// whichever program it is; a third node of either kind follows.
func TestTieOfPriorityIsDecidedByAddress(t *testing.T) {
	for _, higher := range []string{"keepmesh", "keepalived"} {
		lower := map[string]string{"keepmesh": "keepalived", "keepalived": "keepmesh"}[higher]
		t.Run(higher+" has the higher address", func(t *testing.T) {
			t.Parallel()
			lab.Require(t, lab.Nftables)
			w := newWorld(t)
			var hosts [3]*lab.Host
			for n := range hosts {
				hosts[n] = w.host(fmt.Sprintf("n%d", n+1), "eth0", fmt.Sprintf("10.9.0.%d/24", n+1))
			}
			fault, err := w.DropProtocol(deadline(t, patience), lab.ProtoVRRP)
			if err != nil {
				t.Fatal(err)
			}
			c := w.capture()
			conf := func(n, priority int) string { return pair{self: n, priority: priority}.String() }
			low := programs[lower](w, hosts[0], conf(1, 100))
			high := programs[higher](w, hosts[1], conf(2, 100))
			w.holds(pairVIP, "n1", "n2")
			w.undo(fault)
			w.holds(pairVIP, "n2")
			third := programs[lower](w, hosts[2], conf(3, 50))
			// The two masters go one after the other: the higher of the two that
			// remain takes over each time.
			w.says(third, `(?i)backup`)
			w.stop(high)
			w.holds(pairVIP, "n1")
			w.stop(low)
			w.holds(pairVIP, "n3")
			begin := lab.Now()
			w.from(t, begin, "n3", 51, 50)
			w.judged(c)
			w.quiet(low, high, third)
		})
	}
}

// A node with nopreempt that returns does not take the address from the other
// program, in both directions.
func TestNoPreemptBesideTheOtherProgram(t *testing.T) {
	for _, holder := range []string{"keepmesh", "keepalived"} {
		other := map[string]string{"keepmesh": "keepalived", "keepalived": "keepmesh"}[holder]
		t.Run(holder+" holds", func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a, b := w.host("n1", "eth0", "10.9.0.1/24"), w.host("n2", "eth0", "10.9.0.2/24")
			c := w.capture()
			p := programs[holder](w, a, pair{self: 1, priority: 100}.String())
			w.holds(pairVIP, "n1")
			q := programs[other](w, b, pair{self: 2, priority: 150, extra: "nopreempt"}.String())
			w.says(q, `(?i)backup`)
			begin := lab.Now()
			w.pass(4 * time.Second) // longer than the newcomer's timer
			w.speaks(t, begin, lab.Now(), "n1", 51)
			w.still(pairVIP, "n1")
			w.stop(p)
			w.holds(pairVIP, "n2")
			w.judged(c)
			w.quiet(p, q)
		})
	}
}

// Version 3 with an interval below a second, without authentication.
func TestVersion3BesideKeepalived(t *testing.T) {
	for _, first := range []string{"keepmesh", "keepalived"} {
		second := map[string]string{"keepmesh": "keepalived", "keepalived": "keepmesh"}[first]
		t.Run(first+" is preferred", func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a, b := w.host("n1", "eth0", "10.9.0.1/24"), w.host("n2", "eth0", "10.9.0.2/24")
			conf := func(self, priority int) string {
				return pinned(t, pair{self: self, priority: priority, version: 3, interval: "0.1"}.String())
			}
			c := w.capture()
			q := programs[second](w, b, conf(2, 100))
			w.holds(pairVIP, "n2")
			p := programs[first](w, a, conf(1, 150))
			w.holds(pairVIP, "n1")
			w.stop(p)
			w.holds(pairVIP, "n2")
			if got, want := w.course(0, 51), []string{"n2 100", "n1 150", "n1 0", "n2 100"}; !slices.Equal(got, want) {
				t.Errorf("the course differs (-want +got):\n%s", cmp.Diff(want, got))
			}
			for _, x := range w.judged(c) {
				if x.Version != 3 || x.Interval != 100*time.Millisecond {
					t.Errorf("a packet reads %+v", x)
				}
			}
			w.quiet(p, q)
		})
	}
}

// pinned removes the authentication, which version 3 does not have.
func pinned(t *testing.T, conf string) string {
	t.Helper()
	return edit(t, conf, "authentication {\n        auth_type PASS\n        auth_pass secret12\n    }\n", "")
}

// The judge of the logs must see a real complaint: with another password both
// programs complain, and each keeps the address.
func TestBothComplainOfAWrongPassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.host("n1", "eth0", "10.9.0.1/24"), w.host("n2", "eth0", "10.9.0.2/24")
	p := w.keepmesh(a, pair{self: 1, priority: 150}.String())
	q := w.keepalived(b, edit(t, pair{self: 2, priority: 100}.String(), "secret12", "another1"))
	w.holds(pairVIP, "n1", "n2")
	for _, x := range []*lab.Proc{p, q} {
		w.eventually("a complaint", func() bool {
			return slices.ContainsFunc(strings.Split(x.Output(), "\n"), complaint.MatchString)
		}, x.Output)
	}
	if n := w.announced(0, "n1", netip.MustParseAddr(pairVIP)); n == 0 {
		t.Error("nothing was announced")
	}
}
