package e2e

import (
	"strings"
	"testing"

	"github.com/keepmesh/keepmesh/lab"
)

// Two nodes of a mesh beside a real keepalived in the same group: its adverts
// count like any other's, a holder that is no member is shown by its address,
// and what the members say to each other does not disturb it.
func TestMeshBesideKeepalived(t *testing.T) {
	t.Parallel()
	lab.Require(t, lab.Keepalived, lab.Tcpdump, lab.Tshark)
	f := newFleet(t, fleetOptions{expect: 2, conf: func(n int, text string) string {
		if n == 3 {
			return edit(t, text, "priority 150", "priority 254")
		}
		return text
	}, mesh: func(_ int, text string) string { return edit(t, text, " 10.7.0.3 }", " }") }})
	packets, err := f.Capture(t.Context(), lab.CaptureVRRP)
	if err != nil {
		t.Fatal(err)
	}
	foreign := f.node(3)
	f.start(f.node(1))
	f.start(f.node(2))
	f.holds(fleetVIP, "n1")
	f.joined()

	// keepalived takes the address by its priority; both members say who has it.
	p := f.keepalived(foreign.Host, foreign.conf)
	f.holds(fleetVIP, "n3")
	for _, m := range f.nodes[:2] {
		s := f.cluster(m, "show the foreign holder by its address", func(s *statusOf) bool {
			i := found(s)
			return i != nil && i.State == "BACKUP" && i.Owner == "" && i.Master == "10.7.0.3" && i.Fencing.Verdict == ""
		})
		if len(s.Members) != 2 {
			t.Errorf("%s shows %s", m.Name(), brief(&s))
		}
		if code, text := f.cli(m, "status"); code != 0 || !strings.Contains(text, "10.7.0.3") {
			t.Errorf("status on %s prints, with code %d:\n%s", m.Name(), code, text)
		}
		f.happened(m, `ALARM VI_1 advert from a non-member: 10\.7\.0\.3`)
	}

	// Stopped, it says so, and the first member follows.
	from := lab.Now()
	f.stop(p)
	f.holds(fleetVIP, "n1")
	farewell := f.from(t, from, "n3", fleetVRID, 0)
	first := f.from(t, farewell.At, "n1", fleetVRID, 250)
	t.Logf("n1 follows keepalived's farewell after %s, its skew is %s", first.At-farewell.At, f.down(1)-3*f.interval())
	f.cluster(f.node(2), "name the new holder", func(s *statusOf) bool { i := found(s); return i != nil && i.Owner == "n1" && i.Master == "" })

	// Now keepalived is the backup of a member. VRRP between the members is
	// blocked: the second wire keeps n2 quiet, the LAN keeps keepalived so.
	foreign.conf = edit(t, foreign.conf, "priority 254", "priority 50")
	p = f.keepalived(foreign.Host, foreign.conf)
	f.says(p, `\(VI_1\) Entering BACKUP STATE`)
	from = lab.Now()
	block := f.drop(lab.ProtoVRRP, lab.Between("n1", "n2")...)
	f.verdict(f.node(2), "vetoed")
	f.alone(from, "n1", 2*f.down(2))
	f.heal(block)
	f.verdict(f.node(2), "")
	f.alone(from, "n1", 0)

	// Both members die at once: keepalived takes over.
	f.powerOff(f.node(1))
	f.powerOff(f.node(2))
	f.holds(fleetVIP, "n3")
	if text := p.Output(); strings.Contains(text, "bogus") || strings.Contains(text, "nvalid") || strings.Contains(text, "mismatch") {
		t.Errorf("keepalived complains:\n%s", text)
	}
	all, err := packets.Stop(deadline(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	if c := all.Complaints(); len(c) > 0 || len(all.VRRP()) < 10 {
		t.Errorf("of %d adverts tshark complains: %q", len(all.VRRP()), c)
	}
}
