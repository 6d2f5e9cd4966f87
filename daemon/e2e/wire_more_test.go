package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keepmesh/keepmesh/lab"
)

// silenceVIP drops what one node says of the address by ARP, and its adverts,
// while everything else that it sends passes: its address is silent on the LAN
// and its own test of the LAN passes.
func (f *fleet) silenceVIP(m *member) (undo func()) {
	f.t.Helper()
	port, err := m.Port("eth0")
	if err != nil {
		f.t.Fatal(err)
	}
	f.run(f.Switch(), "nft", "table bridge silence { chain c { type filter hook forward priority 0; "+
		"iifname \""+port+"\" arp saddr ip "+fleetVIP+" drop; iifname \""+port+"\" ip protocol 112 drop; }; }")
	return func() {
		f.t.Helper()
		f.run(f.Switch(), "nft", "delete table bridge silence")
	}
}

// The holder's address is silent although its LAN works: two of three members
// say so, it shuts, and the next one takes over.
func TestWireMuteHolderShutsForAMajority(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{advert: fast, apart: true})
	f.startAll()
	undo := f.silenceVIP(f.node(1))
	f.holds(fleetVIP, "n2")
	i := f.inState(f.node(1).Host, fleetName, "FAULT")
	if !strings.Contains(i.Reason, "a majority of the fit members does not hear this node's address") {
		t.Errorf("the former holder's reason is %q", i.Reason)
	}
	undo()
	f.holds(fleetVIP, "n1")
}

// The same with one member against one: the holder insists and stays, and both
// sides say so.
func TestWireMuteHolderInsistsAgainstOne(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{advert: fast, apart: true})
	for _, m := range f.nodes[:2] {
		m.mesh = edit(t, m.mesh, "bootstrap_expect 3", "bootstrap_expect 2")
	}
	f.opt.expect = 2
	f.start(f.node(1))
	f.start(f.node(2))
	f.holds(fleetVIP, "n1")
	f.joined()
	from := lab.Now()
	undo := f.silenceVIP(f.node(1))
	f.verdict(f.node(2), "mute")
	f.happened(f.node(2), `ALARM VI_1 n1 insists: n2 finds its address silent on the LAN, n1's own LAN test passes`)
	f.alone(from, "n1", 5*f.down(2))
	undo()
	f.verdict(f.node(2), "")
	f.alone(from, "n1", 0)
}

// The holder's port is dead and no question reaches it, while its adverts
// still come by the mesh: it does not reply, so it is taken over.
func TestWireMuteHolderThatDoesNotReplyIsTakenOver(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{advert: fast, apart: true})
	f.startAll()
	oneWay, err := f.DropPort(deadline(t, patience), 7947, append(lab.OneWay("n2", "n1"), lab.OneWay("n3", "n1")...)...)
	if err != nil {
		t.Fatal(err)
	}
	from := lab.Now()
	hole, err := f.node(1).Blackhole(deadline(t, patience), "eth0")
	if err != nil {
		t.Fatal(err)
	}
	first := f.next(t, from, patience, "n2 takes over", func(a heard) bool { return a.Host == "n2" })
	t.Logf("taken over %s after the port died, M is %s", first.At-from, f.down(2))
	f.heal(oneWay)
	f.undo(hole)
	f.holds(fleetVIP, "n1")
	f.inState(f.node(2).Host, fleetName, "BACKUP")
}

// Where the LAN may not be probed the holder's word counts, even where nothing
// of it is to be heard.
func TestWireHoldersWordCountsWithoutALANProbe(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{advert: fast, apart: true, mesh: func(_ int, text string) string {
		return edit(t, text, "    data_dir", "    lan_probe off\n    data_dir")
	}})
	f.startAll()
	hole, err := f.node(1).Blackhole(deadline(t, patience), "eth0")
	if err != nil {
		t.Fatal(err)
	}
	from := lab.Now()
	i := f.verdict(f.node(2), "vetoed")
	if !strings.Contains(i.Fencing.Text, "no LAN evidence") {
		t.Errorf("the verdict says %q", i.Fencing.Text)
	}
	f.alone(from, "n1", 4*f.down(3))
	f.undo(hole)
	f.verdict(f.node(2), "")
	f.verdict(f.node(3), "")
	f.alone(from, "n1", 0)
}

// A holder that hears nothing on its LAN, but is heard, stays.
func TestWireDeafHolderStays(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{advert: fast, apart: true})
	f.startAll()
	from := lab.Now()
	undo := f.deafen(f.node(1), "eth0")
	f.alone(from, "n1", 4*f.down(3))
	f.verdict(f.node(2), "")
	f.verdict(f.node(3), "")
	undo()
	f.alone(from, "n1", 5*f.down(3))
}

// The vrrp process of the holder is held up for less than M, with VRRP blocked
// and without: nothing moves.
func TestWireShortStallMovesNothing(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{})
	f.startAll()
	stall := func() {
		pid := f.pid(f.node(1), pidVRRP)
		f.freeze(f.node(1), pid)
		f.pass(2 * f.interval())
		f.thaw(f.node(1), pid)
		f.pass(f.down(3))
	}
	from := lab.Now()
	stall()
	block := f.drop(lab.ProtoVRRP)
	f.verdict(f.node(2), "vetoed")
	stall()
	f.verdict(f.node(2), "vetoed")
	f.heal(block)
	f.verdict(f.node(2), "")
	for _, a := range f.between(from, 0, "", fleetVRID) {
		if a.Host != "n1" {
			t.Errorf("%s advertised priority %d", a.Host, a.Priority)
			break
		}
	}
	f.still(fleetVIP, "n1")
}

// Both backups are restarted at once while VRRP is blocked: they come back as
// backups of a holder that they hear on the second wire alone.
func TestWireBackupsRestartedTogether(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{})
	f.startAll()
	from := lab.Now()
	block := f.drop(lab.ProtoVRRP)
	f.verdict(f.node(2), "vetoed")
	f.verdict(f.node(3), "vetoed")
	for _, m := range f.nodes[1:] {
		f.stop(m.proc)
	}
	for _, m := range f.nodes[1:] {
		f.start(m)
	}
	f.verdict(f.node(2), "vetoed")
	f.verdict(f.node(3), "vetoed")
	f.alone(from, "n1", 0)
	f.heal(block)
	f.verdict(f.node(2), "")
	f.verdict(f.node(3), "")
	f.alone(from, "n1", 0)
}

// The vrrp process of the holder is killed while VRRP is blocked: its address
// is removed, and the nodes end with one holder again.
func TestWireVRRPProcessKilledWhileBlocked(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{})
	f.startAll()
	block := f.drop(lab.ProtoVRRP)
	f.verdict(f.node(2), "vetoed")
	from := lab.Now()
	f.killPID(f.node(1), f.pid(f.node(1), pidVRRP))
	f.holds(fleetVIP)
	f.from(t, from, "n1", fleetVRID, 250)
	f.holds(fleetVIP, "n1")
	f.verdict(f.node(2), "vetoed")
	f.verdict(f.node(3), "vetoed")
	f.heal(block)
	f.verdict(f.node(2), "")
}

// One node of three is started alone: VRRP waits for nobody.
func TestWireColdStartOfOneNode(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{advert: fast})
	from := lab.Now()
	f.start(f.node(3))
	f.holds(fleetVIP, "n3")
	t.Logf("alone after %s, M is %s", lab.Now()-from, f.down(3))
	f.cluster(f.node(3), "hold without quorum", func(s *statusOf) bool { i := found(s); return !s.Quorum.Have && i != nil && i.Owner == "n3" })
}

// The mesh loses what one node sends to another, the LAN is well: nothing moves.
func TestWireMeshLostOneWayMovesNothing(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{advert: fast})
	f.startAll()
	from := lab.Now()
	cut, err := f.DropPort(deadline(t, patience), 7947, lab.OneWay("n1", "n2")...)
	if err != nil {
		t.Fatal(err)
	}
	f.alone(from, "n1", 4*time.Second)
	f.verdict(f.node(2), "")
	f.heal(cut)
	f.alone(from, "n1", 0)
}

// advertSize is above what an advert of these fleets has as a UDP datagram of
// the second wire, and below what an answer has.
const advertSize = 110

// The holder's adverts are lost on both wires, but it answers when it is asked:
// its word alone keeps the backup where it is.
func TestWireVetoedByTheHoldersAnswerAlone(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{advert: fast})
	f.startAll()
	port, err := f.node(1).Port("eth0")
	if err != nil {
		t.Fatal(err)
	}
	from := lab.Now()
	f.run(f.Switch(), "nft", fmt.Sprintf("table bridge small { chain c { type filter hook forward priority 0; "+
		"iifname %q udp sport 7947 udp length < %d counter drop; }; }", port, advertSize))
	block := f.drop(lab.ProtoVRRP)
	f.verdict(f.node(2), "vetoed")
	f.verdict(f.node(3), "vetoed")
	f.alone(from, "n1", 6*f.down(3))
	// The test is one of adverts that are lost, not of adverts that arrive.
	i := f.instance(f.node(2).Host, fleetName)
	if i == nil || i.Fencing.Verdict != "vetoed" || !meshSilent(i, 3*f.interval()) {
		t.Errorf("n2 still hears the holder on the second wire: %+v", i)
	}
	f.run(f.Switch(), "nft", "delete table bridge small")
	f.heal(block)
	f.verdict(f.node(2), "")
	f.alone(from, "n1", 0)
}

// meshSilent says that n1 has not been heard on the second wire for as long.
func meshSilent(i *instanceOf, atLeast time.Duration) bool {
	for _, p := range i.Peers {
		if p.Node == "n1" {
			return p.MeshHeardMS == nil || *p.MeshHeardMS > atLeast.Milliseconds()
		}
	}
	return true
}

// Questions to the holder are lost while its adverts arrive on the second wire:
// nothing moves, and an alarm names the path to look at.
func TestWireVetoedByTheHoldersAdvertsAlone(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{advert: fast})
	f.startAll()
	from := lab.Now()
	cut, err := f.DropPort(deadline(t, patience), 7947, lab.OneWay("n2", "n1")...)
	if err != nil {
		t.Fatal(err)
	}
	block := f.drop(lab.ProtoVRRP)
	f.verdict(f.node(2), "vetoed")
	f.happened(f.node(2), `ALARM VI_1 n1's adverts arrive on the mesh but it does not answer n2: check UDP n2 -> n1`)
	f.alone(from, "n1", 5*f.down(3))
	f.heal(cut, block)
	f.verdict(f.node(2), "")
	f.alone(from, "n1", 0)
}

// The holder's kernel refuses its adverts: it vouches for none on the second
// wire, says that its last one is old, and is taken over at M.
func TestWireWedgedHolderWhoseKernelRefusesItsAdverts(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{})
	f.startAll()
	f.run(f.node(1).Host, "nft", "table ip wedge { chain c { type filter hook output priority 0; ip protocol 112 drop; }; }")
	at := lab.Now()
	f.happened(f.node(2), `state VI_1 BACKUP -> MASTER: the holder's adverts are older than two intervals`)
	t.Logf("taken over %s after its timer", f.takeover(at, "n1", 2))
	f.happened(f.node(1), `ALARM VI_1 two holders: n1 and n2`)
	f.run(f.node(1).Host, "nft", "delete table ip wedge")
	f.holds(fleetVIP, "n1")
	f.inState(f.node(2).Host, fleetName, "BACKUP")
}
