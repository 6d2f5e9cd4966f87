package e2e

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keepmesh/keepmesh/lab"
)

// fast is the interval of the tests that need no whole seconds.
const fast = "0.3"

// One backup does not hear the holder, the other does: vetoed, and the event
// names the direction.
func TestWireVetoedOneBackupDeafToTheHolder(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{advert: fast})
	f.startAll()
	from := lab.Now()
	loss := f.drop(lab.ProtoVRRP, lab.OneWay("n1", "n2")...)
	i := f.verdict(f.node(2), "vetoed")
	if i.State != "BACKUP" || i.Owner != "n1" {
		t.Errorf("the vetoed backup says %s, owner %q", i.State, i.Owner)
	}
	f.happened(f.node(2), `ALARM VI_1 one-way VRRP loss n1 -> n2: .*deaf to n1`)
	f.reports(f.node(2).Host, fleetName, "to name the direction", func(i *instanceOf) bool {
		return strings.Contains(i.Fencing.Text, "this node is deaf to it, others hear it")
	})
	f.verdict(f.node(3), "")
	f.alone(from, "n1", 4*f.down(3))
	f.heal(loss)
	f.verdict(f.node(2), "")
	f.happened(f.node(2), `the verdict vetoed is lifted`)
	f.alone(from, "n1", 0)
}

// The holder's adverts reach nobody: every backup is vetoed and nothing moves;
// when the holder then dies, its successor needs no VRRP to know.
func TestWireVetoedHolderMuteOfVRRP(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{advert: fast})
	f.startAll()
	from := lab.Now()
	loss := f.drop(lab.ProtoVRRP, lab.From("n1")...)
	f.verdict(f.node(2), "vetoed")
	f.verdict(f.node(3), "vetoed")
	f.happened(f.node(2), `ALARM VI_1 n1 is mute: no member hears its adverts`)
	f.alone(from, "n1", 4*f.down(3))
	died := f.powerOff(f.node(1))
	f.holds(fleetVIP, "n2")
	t.Logf("takeover without VRRP: %s after its timer", f.takeover(died, "n1", 2))
	f.heal(loss)
	f.verdict(f.node(3), "")
}

// The holder's service port is dead while the mesh is on another switch: the
// address moves, the holder goes to FAULT, and takes it back later.
func TestWireMuteServicePortBlackholed(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{advert: fast, apart: true})
	f.startAll()
	from := lab.Now()
	hole, err := f.node(1).Blackhole(deadline(t, patience), "eth0")
	if err != nil {
		t.Fatal(err)
	}
	first := f.next(t, from, patience, "n2 takes over", func(a heard) bool { return a.Host == "n2" })
	t.Logf("moved after %s, M of n2 is %s", first.At-from, f.down(2))
	if took := first.At - from; took > 3*f.down(2) {
		t.Errorf("the address has moved after %s, about %s are allowed", took, 2*f.down(2))
	}
	i := f.inState(f.node(1).Host, fleetName, "FAULT")
	if !strings.Contains(i.Reason, "LAN test failed") {
		t.Errorf("the former holder's reason is %q", i.Reason)
	}
	f.holds(fleetVIP, "n2")
	f.happened(f.node(1), `ALARM VI_1 n1 shut: its address is silent on the LAN \(told by n[23]\)`)
	f.undo(hole)
	f.holds(fleetVIP, "n1")
	f.inState(f.node(1).Host, fleetName, "MASTER")
	f.inState(f.node(2).Host, fleetName, "BACKUP")
}

// A backup that hears nothing at all takes nothing over.
func TestWireDeafBackup(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{advert: fast, apart: true})
	f.startAll()
	from := lab.Now()
	undo := f.deafen(f.node(2), "eth0")
	f.verdict(f.node(2), "deaf")
	f.happened(f.node(2), `ALARM VI_1 n2 is deaf: nothing answers on its LAN, while n1 holds`)
	f.verdict(f.node(3), "")
	f.alone(from, "n1", 4*f.down(3))
	undo()
	f.verdict(f.node(2), "")
	f.alone(from, "n1", 0)
}

// The vrrp process of the holder stands still: it neither advertises nor
// answers, and is taken over at M. Woken up, it resolves as VRRP has it.
func TestWireWedgedHolder(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{advert: fast, apart: true})
	f.startAll()
	pid := f.pid(f.node(1), pidVRRP)
	f.freeze(f.node(1), pid)
	at := lab.Now()
	f.inState(f.node(2).Host, fleetName, "MASTER")
	late := f.takeover(at, "n1", 2)
	t.Logf("takeover from a frozen holder: %s after its timer", late)
	if late > f.interval() {
		t.Errorf("the takeover came %s after M", late)
	}
	f.thaw(f.node(1), pid)
	f.holds(fleetVIP, "n1")
	f.inState(f.node(1).Host, fleetName, "MASTER")
	f.inState(f.node(2).Host, fleetName, "BACKUP")
}

// A holder that becomes unfit says so on the second wire when VRRP is blocked.
func TestWireUnfitHolder(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{
		advert: fast, more: []lab.Iface{{Name: "up0"}},
		conf: func(_ int, text string) string {
			return edit(t, text, "    virtual_ipaddress", "    track_interface {\n        up0\n    }\n    virtual_ipaddress")
		},
	})
	f.startAll()
	block := f.drop(lab.ProtoVRRP)
	f.verdict(f.node(2), "vetoed")
	f.verdict(f.node(3), "vetoed")
	at := lab.Now()
	pulled, err := f.node(1).CarrierDown("up0")
	if err != nil {
		t.Fatal(err)
	}
	first := f.next(t, at, patience, "n2 takes over", func(a heard) bool { return a.Host == "n2" })
	t.Logf("the successor of an unfit holder speaks after %s, its skew is %s", first.At-at, f.down(2)-3*f.interval())
	i := f.inState(f.node(1).Host, fleetName, "FAULT")
	if !strings.Contains(i.Reason, "up0") {
		t.Errorf("the unfit node's reason is %q", i.Reason)
	}
	f.holds(fleetVIP, "n2")
	f.verdict(f.node(3), "vetoed")
	f.undo(pulled)
	f.holds(fleetVIP, "n1") // preemption works over the second wire
	f.heal(block)
	f.verdict(f.node(2), "")
	f.holds(fleetVIP, "n1")
}

// Nodes whose addresses differ are no members of one instance: each goes by
// VRRP alone, and says that the configurations differ.
func TestWireUnknownInstanceWhereAddressesDiffer(t *testing.T) {
	t.Parallel()
	const other = "10.7.0.101"
	f := newFleet(t, fleetOptions{advert: fast, conf: func(n int, text string) string {
		if n == 1 {
			return text
		}
		return edit(t, text, fleetVIP, other)
	}})
	for _, m := range f.nodes {
		f.start(m)
	}
	f.holds(fleetVIP, "n1")
	for _, m := range f.nodes {
		f.cluster(m, "have a quorum of three", func(s *statusOf) bool { return s.Quorum.Have && s.Quorum.Alive == 3 })
	}
	f.inState(f.node(2).Host, fleetName, "BACKUP")
	block := f.drop(lab.ProtoVRRP)
	at := lab.Now()
	f.holds(other, "n2")
	t.Logf("takeover of a differing instance: %s after its timer", f.takeover(at, "n1", 2))
	f.happened(f.node(2), `ALARM VI_1 configurations differ`)
	f.verdict(f.node(3), "vetoed") // n2 and n3 agree: one of them holds
	f.heal(block)
	f.holds(other)
	f.still(fleetVIP, "n1")
}

// The mesh is blocked and the LAN is well: nothing moves, nothing is said.
func TestWireMeshBlockedMovesNothing(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{advert: fast, apart: true})
	f.startAll()
	from := lab.Now()
	cut := f.cutMesh()
	f.alone(from, "n1", 5*f.down(3))
	for _, m := range f.nodes[1:] {
		if i := f.instance(m.Host, fleetName); i == nil || i.Fencing.Verdict != "" || i.State != "BACKUP" {
			t.Errorf("%s says %+v", m.Name(), i)
		}
	}
	died := f.powerOff(f.node(1))
	f.holds(fleetVIP, "n2")
	t.Logf("takeover with the mesh blocked: %s after its timer", f.takeover(died, "n1", 2))
	f.heal(cut...)
	f.holds(fleetVIP, "n2")
}

// With no path at all the nodes are plain VRRP routers; the first path that
// comes back leaves one holder.
func TestWireBothBlockedIsPlainVRRP(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{advert: fast})
	f.startAll()
	cut := f.cutMesh()
	block := f.drop(lab.ProtoVRRP)
	at := lab.Now()
	f.holds(fleetVIP, f.names()...)
	for n := 2; n <= 3; n++ {
		t.Logf("n%d takes over %s after its timer", n, f.takeover(at, "n1", n))
	}
	f.heal(cut...) // the second wire alone settles it
	f.holds(fleetVIP, "n1")
	f.heal(block)
	f.holds(fleetVIP, "n1")
}

// Two holders that formed before the nodes knew each other resolve over the
// second wire alone.
func TestWireTwoMastersResolveWhenTheMeshJoins(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{advert: fast})
	block := f.drop(lab.ProtoVRRP)
	cut := f.cutMesh()
	for _, m := range f.nodes {
		f.start(m)
	}
	f.holds(fleetVIP, f.names()...)
	for _, x := range cut {
		f.undo(x) // the second wire had no members yet, so nothing to lose
	}
	f.holds(fleetVIP, "n1")
	f.verdict(f.node(2), "vetoed")
	f.verdict(f.node(3), "vetoed")
	f.heal(block)
	f.verdict(f.node(2), "")
	f.verdict(f.node(3), "")
	f.holds(fleetVIP, "n1")
}

// Raft, gossip and the disks are lost on all nodes at once, while only the
// second wire keeps the backups quiet: no address moves.
func TestWireSurvivesTheLossOfRaftGossipAndDisk(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{advert: fast})
	for _, m := range f.nodes {
		f.run(m.Host, "mkdir", "-p", "/var/lib/keepmesh")
		f.run(m.Host, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/var/lib/keepmesh")
	}
	f.startAll()
	from := lab.Now()
	block := f.drop(lab.ProtoVRRP)
	f.verdict(f.node(2), "vetoed")
	for _, m := range f.nodes {
		code, _ := f.code(m.Host, "sh", "-c", "dd if=/dev/zero of=/var/lib/keepmesh/fill bs=4k 2>/dev/null")
		if code == 0 {
			t.Errorf("the disk of %s is not full", m.Name())
		}
	}
	raft := f.cutPort(7946)
	f.alone(from, "n1", 2*time.Second)
	for _, m := range f.nodes {
		f.killPID(m, f.pid(m, pidMesh))
	}
	f.alone(from, "n1", 6*time.Second)
	f.heal(raft, block)
	f.alone(from, "n1", 7*time.Second)
	// With room on the disks the mesh comes back by itself, and the address
	// has not moved at any time.
	for _, m := range f.nodes {
		f.run(m.Host, "rm", "/var/lib/keepmesh/fill")
	}
	f.joined()
	f.alone(from, "n1", 0)
}

// Without any other node the holder keeps the address.
func TestWireLastNodeKeepsTheAddress(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{advert: fast})
	f.startAll()
	from := lab.Now()
	f.powerOff(f.node(2))
	f.powerOff(f.node(3))
	s := f.cluster(f.node(1), "have lost quorum", func(s *statusOf) bool { return !s.Quorum.Have })
	if i := found(&s); i == nil || i.Owner != "n1" || i.State != "MASTER" {
		t.Errorf("the last node says %s", brief(&s))
	}
	f.alone(from, "n1", 5*f.down(3))
	code, text := f.cli(f.node(1), "status")
	if code != 0 || !regexp.MustCompile(`no quorum .*addresses are not affected`).MatchString(text) {
		t.Errorf("status prints code %d\n%s", code, text)
	}
}
