package netif

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

type listener struct {
	*Prober
	t *testing.T
}

func newProber(t *testing.T, dev string) *listener {
	t.Helper()
	p, err := NewProber(dev)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return &listener{p, t}
}

// await returns the first packet that fits.
func (l *listener) await(what string, fits func(ARPSeen) bool) ARPSeen {
	l.t.Helper()
	var found *ARPSeen
	for deadline := time.Now().Add(10 * time.Second); found == nil; {
		if !readable(l.t, l.FD(), time.Until(deadline)) {
			l.t.Fatalf("not heard: %s", what)
		}
		if err := l.Drain(func(s ARPSeen) {
			if found == nil && fits(s) {
				found = &s
			}
		}); err != nil {
			l.t.Fatal(err)
		}
	}
	return *found
}

func (l *listener) probe(target string) {
	l.t.Helper()
	if err := l.Probe(addr(target)); err != nil {
		l.t.Fatal(err)
	}
}

var sameAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func TestAProbeIsAnsweredByTheHolder(t *testing.T) {
	l := newLAN(t)
	l.atPeer(func() { ip(t, "addr add 10.1.0.2/24 dev peer0") })
	p := newProber(t, "eth0") // without any address of its own
	tp := l.tap("peer0")
	p.probe("10.1.0.9") // nobody's
	p.probe("10.1.0.2")
	got := p.await("an answer", func(s ARPSeen) bool { return s.IsReply })
	want := ARPSeen{Sender: addr("10.1.0.2"), Target: addr("0.0.0.0"), MAC: MAC{2, 0, 0, 0, 0, 2}, IsReply: true, ToMe: true}
	if diff := cmp.Diff(want, got, sameAddr); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	frame := tp.announcements(1)[0]
	for name, ok := range map[string]bool{
		"a broadcast":              MAC(frame[:6]) == MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"a request":                frame[21] == 1,
		"from 0.0.0.0":             [4]byte(frame[28:32]) == [4]byte{},
		"of no known target":       MAC(frame[32:38]) == MAC{},
		"for the address":          [4]byte(frame[38:42]) == [4]byte{10, 1, 0, 9},
		"with our MAC as sender":   MAC(frame[22:28]) == MAC{2, 0, 0, 0, 0, 1},
		"without trailing padding": len(frame) == 42,
	} {
		if !ok {
			t.Errorf("the probe is not %s: %x", name, frame)
		}
	}
	l.atPeer(func() {
		if got := ip(t, "neigh show dev peer0"); got != "" {
			t.Errorf("the probe left an entry in the peer's cache: %s", got)
		}
	})
}

func TestAProberHearsWhoClaimsAnAddress(t *testing.T) {
	l := newLAN(t)
	p := newProber(t, "eth0")
	l.atPeer(func() {
		noErrors(t, newAnnouncer(t).GratuitousARP("peer0", []netip.Addr{addr("10.1.0.7")}))
	})
	got := p.await("the announcement", func(s ARPSeen) bool { return s.Sender == addr("10.1.0.7") })
	want := ARPSeen{Sender: addr("10.1.0.7"), Target: addr("10.1.0.7"), MAC: MAC{2, 0, 0, 0, 0, 2}}
	if diff := cmp.Diff(want, got, sameAddr); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAProberKnowsItsOwnMACOnTheWire(t *testing.T) {
	l := newLAN(t)
	p := newProber(t, "eth0")
	// A twin with our MAC, as a virtual MAC is on both nodes.
	l.atPeer(func() {
		ip(t, "link set peer0 address 02:00:00:00:00:01")
		noErrors(t, newAnnouncer(t).GratuitousARP("peer0", []netip.Addr{addr("10.1.0.7")}))
	})
	if got := p.await("the announcement", func(s ARPSeen) bool { return s.Sender == addr("10.1.0.7") }); !got.IsMine {
		t.Errorf("%+v, want IsMine", got)
	}
}

func TestAProberHearsNothingOfItself(t *testing.T) {
	l := newLAN(t)
	l.atPeer(func() { ip(t, "addr add 10.1.0.2/24 dev peer0") })
	p := newProber(t, "eth0")
	noErrors(t, newAnnouncer(t).GratuitousARP("eth0", []netip.Addr{addr("10.1.0.7")}))
	p.probe("10.1.0.2")
	p.await("the answer, after all that went out", func(s ARPSeen) bool {
		if s.Sender == addr("10.1.0.7") {
			t.Errorf("heard our own announcement: %+v", s)
		}
		return s.IsReply
	})
}

func TestAProberFollowsItsInterface(t *testing.T) {
	l := newLAN(t)
	ip(t, "link del eth0")
	p := newProber(t, "eth0") // absent yet
	fd := p.FD()
	if err := p.Probe(addr("10.1.0.2")); !errors.Is(err, unix.ENODEV) {
		t.Errorf("probing on no interface: %v, want ENODEV", err)
	}
	answered := func(when string) {
		t.Helper()
		l.atPeer(func() { ip(t, "addr replace 10.1.0.2/24 dev peer0") })
		p.probe("10.1.0.2")
		p.await(when, func(s ARPSeen) bool { return s.IsReply })
		if p.FD() != fd {
			t.Errorf("%s: the descriptor changed", when)
		}
	}
	l.cable("eth0", "peer0")
	answered("when it appeared")
	ip(t, "link del eth0")
	l.cable("eth0", "peer0")
	answered("when it was recreated")
	index := indexOf(t, "eth0")
	ip(t, "link del eth0")
	l.cableAt(index, "eth0", "peer0")
	if indexOf(t, "eth0") != index {
		t.Fatal("the interface did not come back under its index: the test shows nothing")
	}
	answered("when it was recreated under the same index")
	ip(t, "link set eth0 down")
	if err := p.Probe(addr("10.1.0.2")); !errors.Is(err, unix.ENETDOWN) {
		t.Errorf("probing while down: %v, want ENETDOWN", err)
	}
	if err := p.Drain(func(ARPSeen) {}); err != nil {
		t.Errorf("draining while down: %v", err)
	}
	if readable(t, fd, 0) {
		t.Error("the descriptor stays readable while the interface is down: the owner's loop would spin")
	}
	ip(t, "link set eth0 up")
	l.awaitCarrier("eth0")
	answered("when it was up again")
	ip(t, "link set eth0 name lan0")
	if err := p.Probe(addr("10.1.0.2")); !errors.Is(err, unix.ENODEV) {
		t.Errorf("probing after a rename: %v, want ENODEV", err)
	}
	announce := func(vip string) {
		l.atPeer(func() { noErrors(t, newAnnouncer(t).GratuitousARP("peer0", []netip.Addr{addr(vip)})) })
	}
	announce("10.1.0.8")
	ip(t, "link set lan0 name eth0")
	if err := p.Attach(); err != nil {
		t.Fatal(err)
	}
	announce("10.1.0.7")
	p.await("an announcement after it had its name again", func(s ARPSeen) bool {
		if s.Sender == addr("10.1.0.8") {
			t.Error("heard an interface of another name")
		}
		return s.Sender == addr("10.1.0.7")
	})
}

func TestAListenerAttachesWithoutProbing(t *testing.T) {
	l := newLAN(t)
	p := newProber(t, "eth0")
	ip(t, "link del eth0")
	l.cable("eth0", "peer0")
	if err := p.Attach(); err != nil {
		t.Fatal(err)
	}
	l.atPeer(func() {
		noErrors(t, newAnnouncer(t).GratuitousARP("peer0", []netip.Addr{addr("10.1.0.7")}))
	})
	p.await("the announcement", func(s ARPSeen) bool { return s.Sender == addr("10.1.0.7") })
}

func TestProbingIPv6IsRefused(t *testing.T) {
	newLAN(t)
	p := newProber(t, "eth0")
	if err := p.Probe(addr("fd00::1")); !errors.Is(err, unix.EAFNOSUPPORT) {
		t.Errorf("got %v, want EAFNOSUPPORT", err)
	}
}
