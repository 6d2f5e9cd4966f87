package speaker

import (
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/keepmesh/keepmesh/vrrp"
	"github.com/keepmesh/keepmesh/vrrp/packet"
	"github.com/keepmesh/keepmesh/vrrp/veto"
)

// recorder is a Kernel that writes down what it is told.
type recorder struct {
	log    []string
	fail   bool
	probes []netip.Addr
}

func (r *recorder) Hold(ids []vrrp.InstanceID, failed func(vrrp.HoldFailed)) {
	for _, id := range ids {
		r.log = append(r.log, "hold "+string(rune('A'+id)))
		if r.fail {
			failed(vrrp.HoldFailed{Instance: id, Reason: "refused", Retry: time.Hour})
		}
	}
}
func (r *recorder) Release(id vrrp.InstanceID) {
	r.log = append(r.log, "release "+string(rune('A'+id)))
}
func (r *recorder) Announce(id vrrp.InstanceID, _ int) {
	r.log = append(r.log, "announce "+string(rune('A'+id)))
}
func (r *recorder) Report(a vrrp.Action) {
	if s, ok := a.(*vrrp.StateChanged); ok {
		r.log = append(r.log, s.To.String()+" "+string(rune('A'+s.Instance)))
	}
}
func (r *recorder) Event(kind string, _ vrrp.InstanceID, _ string) { r.log = append(r.log, kind) }
func (r *recorder) Probe(_ string, targets []netip.Addr) error {
	r.probes = append(r.probes, targets...)
	return nil
}
func (r *recorder) Neighbours(string) []netip.Addr {
	return []netip.Addr{netip.MustParseAddr("10.0.0.254")}
}

var (
	vip   = netip.MustParseAddr("10.0.0.100")
	ownIP = netip.MustParseAddr("10.0.0.1")
	other = netip.MustParseAddr("10.0.0.2")
	group = netip.MustParseAddr("224.0.0.18")
)

func instance(name string, vrid uint8, priority uint8) (vrrp.InstanceConfig, Instance) {
	return vrrp.InstanceConfig{
			Name: name, Key: vrrp.Key{Family: 4, VRID: vrid, Interface: "lo"}, Version: 2, Priority: priority,
			AdvertInterval: time.Second, DownTimerAdverts: 3, Source: ownIP, Announce: vrrp.AnnounceConfig{Repeat: 1},
		}, Instance{
			Group: group, TTL: 255, VIPs: []netip.Addr{vip},
		}
}

// start makes a speaker with instances A, B, ... of the priority, started, on
// no interface.
func start(t *testing.T, k Kernel, priority uint8, count int, edit func(*vrrp.InstanceConfig, *Instance)) *Speaker {
	t.Helper()
	loop, err := NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	s := New(loop, k, slog.New(slog.DiscardHandler))
	var cfg vrrp.Config
	var insts []Instance
	for n := range count {
		c, i := instance(string(rune('A'+n)), uint8(n+1), priority)
		if edit != nil {
			edit(&c, &i)
		}
		cfg.Instances = append(cfg.Instances, c)
		insts = append(insts, i)
	}
	plan, err := s.Prepare(cfg, insts)
	if err != nil {
		t.Fatal(err)
	}
	s.Commit(plan)
	s.Inject(&vrrp.Start{})
	t.Cleanup(s.Close)
	return s
}

// heardAdvert is a packet of the other router.
func heardAdvert(t *testing.T, priority uint8) []byte {
	t.Helper()
	e, err := packet.NewEncoder(packet.Spec{
		Family: 4, Version: 2, VRID: 1, Interval: time.Second, Addresses: []netip.Addr{vip}, Source: other, Destination: group,
	})
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(e.Encode(priority))
}

func TestAdvertIsCountedHeardAndDelivered(t *testing.T) {
	s := start(t, &recorder{}, 100, 1, nil)
	s.rxSocket, s.rxNow = &socket{socketKey: socketKey{dev: "lo", family: 4}}, Now()
	s.receivedPacket(&arrival{bytes: heardAdvert(t, 150)})
	if got := s.Stats(0); got.AdvertsReceived != 1 {
		t.Errorf("stats %+v", got)
	}
	h := s.Heard(0)
	if len(h) != 1 || h[0].Source != other || h[0].Priority != 150 || h[0].Wire != vrrp.LAN {
		t.Errorf("heard %+v", h)
	}
	if v, _ := s.Instance(0); v.Heard[vrrp.LAN].Source != other {
		t.Errorf("the Router heard %+v", v.Heard)
	}
}

func TestBadPacketChangesNothingButItsCounter(t *testing.T) {
	k := &recorder{}
	s := start(t, k, 100, 1, nil)
	s.rxSocket, s.rxNow = &socket{socketKey: socketKey{dev: "lo", family: 4}}, Now()
	bytes := heardAdvert(t, 150)
	b := &arrival{bytes: bytes}
	bytes[len(bytes)-1] ^= 0xff // the checksum no longer fits
	for range 3 {
		s.receivedPacket(b)
	}
	if got := s.Stats(0); got.ChecksumErrors != 3 || got.AdvertsReceived != 0 {
		t.Errorf("stats %+v", got)
	}
	if len(s.Heard(0)) != 0 {
		t.Error("a bad packet counts as heard")
	}
	if n := slices.Index(k.log, "VRRP"); n < 0 || slices.Contains(k.log[n+1:], "VRRP") {
		t.Errorf("told %v, want one event for the row of refusals", k.log)
	}
}

func TestOtherInterfaceIsAnotherLAN(t *testing.T) {
	s := start(t, &recorder{}, 100, 1, nil)
	s.rxSocket, s.rxNow = &socket{socketKey: socketKey{dev: "eth9", family: 4}}, Now()
	s.receivedPacket(&arrival{bytes: heardAdvert(t, 150)})
	if got := s.Stats(0); got.AdvertsReceived != 0 {
		t.Errorf("stats %+v", got)
	}
}

// An owner becomes MASTER in the first step: its adverts, then the addresses of
// a window of instances in one exchange, then each one's announcement.
func TestHoldsAreDrawnTogetherAndOrderIsKept(t *testing.T) {
	k := &recorder{}
	start(t, k, vrrp.Owner, 3, nil)
	for n, id := range []string{"A", "B", "C"} {
		hold, announce, told := slices.Index(k.log, "hold "+id), slices.Index(k.log, "announce "+id), slices.Index(k.log, "MASTER "+id)
		if hold < 0 || !(hold < announce && announce < told) {
			t.Errorf("instance %d: hold %d, announce %d, told %d in %v", n, hold, announce, told, k.log)
		}
	}
}

func TestRefusedAddressesFaultTheInstance(t *testing.T) {
	k := &recorder{fail: true}
	s := start(t, k, vrrp.Owner, 1, nil)
	if v, _ := s.Instance(0); v.State != vrrp.Fault {
		t.Errorf("state %s after every address was refused", v.State)
	}
	if !slices.Contains(k.log, "release A") {
		t.Errorf("what was added is not taken back: %v", k.log)
	}
}

func TestSendersHeardAreBounded(t *testing.T) {
	m := &member{heard: make([]Heard, 0, 8)}
	for n := range 1000 {
		m.hear(Heard{Source: netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), At: vrrp.Instant(n + 1)})
	}
	if len(m.heard) != 8 || cap(m.heard) != 8 {
		t.Fatalf("%d senders kept, room for %d", len(m.heard), cap(m.heard))
	}
	for _, h := range m.heard {
		if h.At < 993 {
			t.Errorf("an old sender was kept: %v", h.At)
		}
	}
}

func TestReceivingMakesNoGarbage(t *testing.T) {
	s := start(t, &recorder{}, 100, 1, nil)
	s.rxSocket = &socket{socketKey: socketKey{dev: "lo", family: 4}}
	b := &arrival{bytes: heardAdvert(t, 150)}
	s.rxNow = Now()
	s.receivedPacket(b)
	if n := testing.AllocsPerRun(2000, func() {
		s.rxNow = Now()
		s.receivedPacket(b)
	}); n != 0 {
		t.Errorf("%v allocations for each advert received", n)
	}
}

// wired makes a speaker with a second wire on loopback.
func wired(t *testing.T, k Kernel, self, peer byte, priority uint8, source netip.Addr, port, peerPort uint16) *Speaker {
	t.Helper()
	s := start(t, k, priority, 1, func(c *vrrp.InstanceConfig, _ *Instance) {
		c.AskPermit, c.Source = true, source
		c.Trackers = []vrrp.Track{{ID: "mute:A"}}
	})
	key := make([]byte, 32)
	err := s.SetWire(WireConfig{
		Self: [16]byte{self}, SelfName: string(rune('a' + self)), Boot: uint64(self), Bind: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port),
		Peers: []WirePeer{{Node: [16]byte{peer}, Name: string(rune('a' + peer)), Addr: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), peerPort), Key: key}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func freePorts(t *testing.T) (a, b uint16) {
	t.Helper()
	var ports []uint16
	for range 2 {
		c, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ports = append(ports, c.LocalAddr().(*net.UDPAddr).AddrPort().Port())
	}
	return ports[0], ports[1]
}

func TestAdvertOnTheSecondWireRestartsTheTimer(t *testing.T) {
	a, b := freePorts(t)
	holder := wired(t, &recorder{}, 1, 2, 150, ownIP, a, b)
	backup := wired(t, &recorder{}, 2, 1, 100, other, b, a)
	before, _ := backup.Instance(0)
	holder.member(0).lanSent = true
	holder.sendMesh([]vrrp.Action{&vrrp.SendAdvert{Instance: 0, Priority: 150}})
	deadline := time.Now().Add(5 * time.Second)
	for backup.Stats(0).MeshReceived == 0 && time.Now().Before(deadline) {
		backup.receiveWire()
	}
	after, _ := backup.Instance(0)
	if after.Heard[vrrp.Mesh].Source != ownIP || after.DownAt <= before.DownAt {
		t.Errorf("heard %+v, timer %d -> %d", after.Heard[vrrp.Mesh], before.DownAt, after.DownAt)
	}
	if h := backup.Heard(0); len(h) != 1 || h[0].Node != (veto.NodeID{1}) {
		t.Errorf("heard %+v", h)
	}
}

func TestAdvertThatDidNotLeaveIsNotVouchedFor(t *testing.T) {
	a, b := freePorts(t)
	s := wired(t, &recorder{}, 1, 2, 150, ownIP, a, b)
	s.sendMesh([]vrrp.Action{&vrrp.SendAdvert{Instance: 0, Priority: 150}})
	if n := s.Stats(0).MeshSent; n != 0 {
		t.Errorf("%d mesh adverts although the LAN copy did not leave", n)
	}
	s.sendMesh([]vrrp.Action{&vrrp.SendAdvert{Instance: 0, Priority: 0}})
	if n := s.Stats(0).MeshSent; n != 1 {
		t.Errorf("%d resignations on the mesh, want 1", n)
	}
}

func TestSecondWireOnATakenPortSaysWhich(t *testing.T) {
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := start(t, &recorder{}, 100, 1, nil)
	err = s.SetWire(WireConfig{Self: [16]byte{1}, Bind: c.LocalAddr().(*net.UDPAddr).AddrPort()})
	if err == nil || s.wire != nil {
		t.Fatalf("a taken port was bound: %v", err)
	}
}

func TestVetoHeapGivesTheEarliest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h vetoHeap
		members := make([]*member, 8)
		for n := range members {
			members[n] = &member{heapPos: -1}
		}
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			m := rapid.SampledFrom(members).Draw(t, "member")
			h.set(m, vrrp.Instant(rapid.IntRange(0, 50).Draw(t, "at")))
			want := vrrp.Instant(0)
			for _, x := range members {
				if x.vetoAt != 0 && (want == 0 || x.vetoAt < want) {
					want = x.vetoAt
				}
			}
			if got := h.first(); got != want {
				t.Fatalf("first is %d, want %d", got, want)
			}
		}
	})
}

func TestLoopServesDeadlineAndDescriptorAndStops(t *testing.T) {
	loop, err := NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	var read, ticks int
	loop.Watch(int(r.Fd()), func() {
		var b [1]byte
		_, _ = r.Read(b[:])
		read++
	})
	at := Now().Add(5 * time.Millisecond)
	var early atomic.Bool
	done := make(chan error, 1)
	go func() {
		done <- loop.Run(&funcTimers{func() (vrrp.Instant, bool) { return at, true }, func(now vrrp.Instant) {
			if now < at {
				early.Store(true)
			}
			ticks++
			at = now.Add(2 * time.Millisecond)
			if ticks == 3 {
				_, _ = w.Write([]byte{1})
			}
			if ticks > 3 && read > 0 {
				loop.Stop()
			}
		}})
	}()
	select {
	case err := <-done:
		if err != nil || read != 1 || early.Load() {
			t.Errorf("err %v, %d reads, early %v", err, read, early.Load())
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the loop does not end")
	}
}

func TestProbeAsksForAddressNeighbourAndNobody(t *testing.T) {
	a, b := freePorts(t)
	k := &recorder{}
	s := wired(t, k, 2, 1, 100, other, a, b)
	s.links["lo"] = Link{Name: "lo", Up: true, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")}}
	m := s.member(0)
	s.startProbe(Now(), m, &m.probe, 7, time.Second, true, true)
	for _, want := range []string{"10.0.0.100", "10.0.0.254", "10.0.0.0"} {
		if !slices.Contains(k.probes, netip.MustParseAddr(want)) {
			t.Errorf("%s was not asked for: %v", want, k.probes)
		}
	}
	s.ARPSeen("lo", vip, false, false)
	if !m.probe.found.VIP || m.probe.found.Neighbour || m.probe.found.Nobody {
		t.Errorf("an announcement of the address: %+v", m.probe.found)
	}
	s.ARPSeen("lo", netip.MustParseAddr("10.0.0.9"), false, false)
	if m.probe.found.Neighbour {
		t.Error("an overheard frame counts as an answer")
	}
	s.ARPSeen("lo", netip.MustParseAddr("10.0.0.254"), true, false)
	s.ARPSeen("lo", netip.MustParseAddr("10.0.0.0"), true, false)
	if !m.probe.found.Neighbour || !m.probe.found.Nobody {
		t.Errorf("answers: %+v", m.probe.found)
	}
}
