package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keepmesh/keepmesh/daemon/status"
	"github.com/keepmesh/keepmesh/lab"
)

// session is a bfd_instance of the host 10.9.0.self with 10.9.0.other.
func session(self, other int, extra string) string {
	return fmt.Sprintf(`bfd_instance B1 {
    neighbor_ip 10.9.0.%d
    source_ip 10.9.0.%d
    min_rx 50
    min_tx 60
    multiplier 4
    %s
}
`, other, self, extra)
}

var bfdPairs = [][2]string{{"keepmesh", "keepalived"}, {"keepalived", "keepmesh"}, {"keepmesh", "keepmesh"}}

// An instance holds its address only while its session is Up, whichever
// program is at either end, and however the neighbour goes.
func TestBFDWithKeepalived(t *testing.T) {
	for _, pair := range bfdPairs {
		t.Run(strings.Join(pair[:], " hears "), func(t *testing.T) {
			t.Parallel()
			lab.Require(t, lab.Netns, lab.Keepalived)
			w := newWorld(t)
			a, b := w.host("n1", "eth0", "10.9.0.1/24"), w.host("n2", "eth0", "10.9.0.2/24")
			programs[pair[0]](w, a, session(1, 2, "")+alertInstance(1, "track_bfd {\n        B1\n    }"))
			if pair[0] == "keepmesh" {
				i := w.inState(a, "VI_1", "FAULT")
				if !strings.Contains(i.Reason, "BFD B1 to 10.9.0.2 is Down") {
					t.Errorf("the reason is %q", i.Reason)
				}
			}
			w.still("10.9.0.101")
			peer := func() *lab.Proc { return programs[pair[1]](w, b, session(2, 1, "")) }
			p := peer()
			w.holds("10.9.0.101", "n1")
			w.stop(p)
			w.holds("10.9.0.101")
			peer()
			w.holds("10.9.0.101", "n1")
			if err := b.Kill(); err != nil {
				t.Fatal(err)
			}
			w.holds("10.9.0.101")
			if err := b.Boot(deadline(t, patience)); err != nil {
				t.Fatal(err)
			}
			peer()
			w.holds("10.9.0.101", "n1")
		})
	}
}

// A weighted session moves the priority, and with it the address; a reload
// that changes its intervals keeps it Up.
func TestBFDMovesPriority(t *testing.T) {
	t.Parallel()
	lab.Require(t, lab.Netns, lab.Keepalived)
	w := newWorld(t)
	a, b := w.host("n1", "eth0", "10.9.0.1/24"), w.host("n2", "eth0", "10.9.0.2/24")
	other := w.host("n3", "eth0", "10.9.0.3/24")
	conf := func(extra string) string {
		return session(1, 3, extra) + alertInstance(1, "track_bfd {\n        B1 weight 50\n    }")
	}
	p := w.keepmesh(a, conf(""))
	w.keepmesh(b, edit(t, alertInstance(1, ""), "priority 100", "priority 120"))
	w.holds("10.9.0.101", "n2")
	third := w.keepalived(other, session(3, 1, "passive"))
	w.holds("10.9.0.101", "n1")
	w.reports(a, "VI_1", "to have priority 150", func(i *status.Instance) bool { return i.EffectivePriority == 150 })
	w.reload(a, p, edit(t, conf(""), "min_tx 60", "min_tx 200", "min_rx 50", "min_rx 100"))
	w.says(p, "configuration reloaded")
	w.still("10.9.0.101", "n1")
	if strings.Contains(p.Output(), "from=Up to=Down") {
		t.Error("the reload took the session down")
	}
	w.stop(third)
	w.holds("10.9.0.101", "n2")
	w.reports(a, "VI_1", "to have priority 100", func(i *status.Instance) bool { return i.EffectivePriority == 100 })
}

// A port that another program has is named, and taken when it is free.
func TestBFDPortThatIsTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.host("n1", "eth0", "10.9.0.1/24"), w.host("n2", "eth0", "10.9.0.2/24")
	thief, err := a.ListenPacket("udp4", "0.0.0.0:3784")
	if err != nil {
		t.Fatal(err)
	}
	w.keepmesh(a, session(1, 2, "")+alertInstance(1, "track_bfd {\n        B1\n    }"))
	w.keepmesh(b, session(2, 1, ""))
	w.reports(a, "VI_1", "to name the port", func(i *status.Instance) bool {
		return i.State == "FAULT" && strings.Contains(i.Reason, "listening for BFD on UDP port 3784")
	})
	if err := thief.Close(); err != nil {
		t.Fatal(err)
	}
	w.holds("10.9.0.101", "n1")
}

// The same over IPv6, with keepalived's hop limit of 64 there, and over the
// port of RFC 5883 between two keepmesh (keepalived 2.2.7 has no multihop).
func TestBFDOverIPv6AndMultihop(t *testing.T) {
	for name, c := range map[string]struct{ program, extra string }{
		"IPv6 with keepalived": {"keepalived", ""},
		"multihop":             {"keepmesh", "multihop\n    max_hops 3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lab.Require(t, lab.Netns, lab.Keepalived)
			w := newWorld(t)
			a, b := w.host("n1", "eth0", "10.9.0.1/24"), w.host("n2", "eth0", "10.9.0.2/24")
			for h, addr := range map[*lab.Host]string{a: "fd09::1/64", b: "fd09::2/64"} {
				w.run(h, "ip", "addr", "add", addr, "dev", "eth0", "nodad")
			}
			six := strings.NewReplacer("10.9.0.1\n", "fd09::1\n", "10.9.0.2\n", "fd09::2\n")
			w.keepmesh(a, six.Replace(session(1, 2, c.extra))+alertInstance(1, "track_bfd {\n        B1\n    }"))
			w.inState(a, "VI_1", "FAULT")
			p := programs[c.program](w, b, six.Replace(session(2, 1, c.extra)))
			w.holds("10.9.0.101", "n1")
			w.stop(p)
			w.holds("10.9.0.101")
		})
	}
}
