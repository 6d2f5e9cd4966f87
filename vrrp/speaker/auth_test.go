package speaker

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/keepmesh/keepmesh/vrrp"
	"github.com/keepmesh/keepmesh/vrrp/packet"
)

// peerAdvert is what the other router sends of an instance configured like A.
func peerAdvert(t *testing.T, priority uint8, edit func(*packet.Spec)) *arrival {
	t.Helper()
	spec := packet.Spec{
		Family: 4, Version: 2, VRID: 1, Interval: time.Second, Addresses: []netip.Addr{vip}, Source: other, Destination: group,
	}
	edit(&spec)
	if spec.HMAC != nil {
		spec.HMAC.SetClock(time.Duration(time.Now().UnixNano()))
	}
	e, err := packet.NewEncoder(spec)
	if err != nil {
		t.Fatal(err)
	}
	return &arrival{bytes: slices.Clone(e.Encode(priority)), hopLimit: -1}
}

func (s *Speaker) take(k socketKey, a *arrival) {
	s.rxSocket, s.rxNow = &socket{socketKey: k}, Now()
	s.receivedPacket(a)
}

var (
	onLo   = socketKey{dev: "lo", family: 4}
	onLoAH = socketKey{dev: "lo", family: 4, ah: true}
)

func TestAHHasASocketOfItsOwnAndItsNumbersSurviveAReload(t *testing.T) {
	edit := func(_ *vrrp.InstanceConfig, i *Instance) { i.Auth, i.AH = []byte("secret\x00\x00"), true }
	s := start(t, &recorder{}, 100, 1, edit)
	if key := s.member(0).socketKey(); key != onLoAH {
		t.Errorf("the socket is %+v", key)
	}
	peer := packet.NewAH(packet.Password("secret"), 4000000000)
	first := peerAdvert(t, 150, func(p *packet.Spec) { p.AuthType, p.AH = packet.AuthAH, peer })
	s.take(onLoAH, first)
	if got := s.Stats(0); got.AdvertsReceived != 1 || got.AuthFailure != 0 {
		t.Fatalf("stats %+v", got)
	}
	s.take(onLoAH, peerAdvert(t, 150, func(*packet.Spec) {}))
	if got := s.Stats(0); got.AuthTypeMismatch != 1 {
		t.Errorf("an advert without AH: %+v", got)
	}
	c, i := instance("A", 1, 120)
	edit(&c, &i)
	plan, err := s.Prepare(vrrp.Config{Instances: []vrrp.InstanceConfig{c}}, []Instance{i})
	if err != nil {
		t.Fatal(err)
	}
	s.Commit(plan)
	s.take(onLoAH, first)
	if got := s.Stats(0); got.AuthFailure != 1 || got.AdvertsReceived != 1 {
		t.Errorf("a recording after the reload: %+v", got)
	}
	// What is sent is above what was heard, whatever the clock says.
	sent := s.member(0).encoder.Encode(120)
	if !bytes.Equal(sent[28:32], []byte{0xee, 0x6b, 0x28, 0x02}) {
		t.Errorf("number %x", sent[28:32])
	}
}

func hmacConfig(active uint8) *packet.HMACConfig {
	return &packet.HMACConfig{
		Keys: []packet.HMACKey{
			{ID: 1, Secret: bytes.Repeat([]byte{1}, 32)}, {ID: 2, Secret: bytes.Repeat([]byte{2}, 32)},
		}, Active: active, Window: 5 * time.Second,
	}
}

func TestHMACIsSignedAndCheckedByTheClock(t *testing.T) {
	k := &recorder{}
	s := start(t, k, 100, 1, func(_ *vrrp.InstanceConfig, i *Instance) { i.HMAC = hmacConfig(1) })
	peer, err := packet.NewHMAC(*hmacConfig(2), nil)
	if err != nil {
		t.Fatal(err)
	}
	signed := peerAdvert(t, 150, func(p *packet.Spec) { p.HMAC = peer })
	s.take(onLo, signed)
	s.take(onLo, signed)
	s.take(onLo, peerAdvert(t, 150, func(*packet.Spec) {}))
	stale := slices.Clone(signed.bytes)
	stale[len(stale)-22] ^= 1 // the third byte of the seconds
	s.take(onLo, &arrival{bytes: stale})
	got := s.Stats(0)
	if got.AdvertsReceived != 1 || got.AuthExtReplay != 1 || got.AuthExtMissing != 1 || got.AuthExtStale != 1 {
		t.Errorf("stats %+v", got)
	}
	if n := testing.AllocsPerRun(100, func() {
		m := s.member(0)
		m.clock()
		m.encoder.Encode(100)
		s.receivedPacket(signed)
	}); n != 0 {
		t.Errorf("%v allocations for an advert sent and one received", n)
	}
}

func TestAnUnusableKeyIsRefused(t *testing.T) {
	s := start(t, &recorder{}, 100, 1, nil)
	c, i := instance("A", 1, 100)
	i.HMAC = hmacConfig(9)
	if _, err := s.Prepare(vrrp.Config{Instances: []vrrp.InstanceConfig{c}}, []Instance{i}); err == nil {
		t.Error("adverts would go out without authentication")
	}
}

func TestOldUnicastChecksumIsAdopted(t *testing.T) {
	s := start(t, &recorder{}, 100, 1, func(c *vrrp.InstanceConfig, i *Instance) {
		c.Version, c.Key.Unicast = 3, true
		i.Group, i.ChecksumGroup, i.Peers = netip.Addr{}, group, []Peer{{Addr: other}}
	})
	m := s.member(0)
	before := slices.Clone(m.encoder.Encode(100))
	s.take(onLo, peerAdvert(t, 150, func(p *packet.Spec) {
		p.Version, p.Destination, p.OldUnicast, p.Group4 = 3, ownIP, true, group
	}))
	if got := s.Stats(0); got.AdvertsReceived != 1 || got.ChecksumErrors != 0 {
		t.Fatalf("stats %+v", got)
	}
	// The same in both forms: the sum of source, destination and group differs.
	sum := func(b []byte) uint16 { return uint16(b[26])<<8 | uint16(b[27]) }
	if sum(before) == sum(m.encoder.Encode(100)) {
		t.Error("the old form is not sent")
	}
	s.encode(m) // as after a reload
	if sum(before) == sum(m.encoder.Encode(100)) {
		t.Error("the old form is forgotten")
	}
	m.inst.OldUnicast = packet.OldUnicastNever
	s.encode(m)
	if sum(before) != sum(m.encoder.Encode(100)) {
		t.Error("never is not obeyed")
	}
}

func TestOwnerThatIgnoresAdvertsIsMovedByNone(t *testing.T) {
	s := start(t, &recorder{}, vrrp.Owner, 1, func(_ *vrrp.InstanceConfig, i *Instance) { i.OwnerIgnore = true })
	s.take(onLo, peerAdvert(t, vrrp.Owner, func(*packet.Spec) {}))
	s.deliver(Now(), s.member(0), vrrp.Mesh, [16]byte{2}, other, vrrp.Owner, time.Second)
	if v, _ := s.Instance(0); v.State != vrrp.Active {
		t.Errorf("in %s", v.State)
	}
	if got := s.Stats(0); got.Ignored != 1 || got.AdvertsReceived != 0 {
		t.Errorf("stats %+v", got)
	}
}

func TestSkipCheckAdvAddrLooksAtTheCountAndAtNewSenders(t *testing.T) {
	k := &recorder{}
	s := start(t, k, 100, 1, func(_ *vrrp.InstanceConfig, i *Instance) { i.SkipCheckAdvAddr = true })
	another := func(count int) *arrival {
		return peerAdvert(t, 150, func(p *packet.Spec) {
			p.Addresses = slices.Repeat([]netip.Addr{netip.MustParseAddr("10.0.0.77")}, count)
		})
	}
	for _, tt := range []struct {
		advert *arrival
		errors uint64
	}{{another(1), 1}, {another(1), 1}, {another(2), 2}} {
		s.take(onLo, tt.advert)
		if got := s.Stats(0).AddrListErrors; got != tt.errors {
			t.Errorf("%d errors of the address list, want %d", got, tt.errors)
		}
	}
}

// A barred instance shares its VRID with another: adverts are for the other.
func TestBarredInstanceHearsNothing(t *testing.T) {
	s := start(t, &recorder{}, 100, 2, func(c *vrrp.InstanceConfig, _ *Instance) {
		c.Key.VRID = 1
		if c.Name == "B" {
			c.Key.Barred = "B"
			c.Trackers = []vrrp.Track{{ID: "config:B"}}
		}
	})
	s.Inject(&vrrp.TrackerChanged{ID: "config:B", State: vrrp.Down, Cause: "virtual_router_id 1 is already used on lo by A"})
	s.take(onLo, peerAdvert(t, 150, func(*packet.Spec) {}))
	if a, b := s.Stats(0), s.Stats(1); a.AdvertsReceived != 1 || b.AdvertsReceived != 0 {
		t.Errorf("stats %+v, %+v", a, b)
	}
	if v, _ := s.Instance(1); v.State != vrrp.Fault || len(v.Faults) != 1 {
		t.Errorf("in %s, %q", v.State, v.Faults)
	}
	if v, _ := s.Instance(0); v.State != vrrp.Backup {
		t.Errorf("the other is in %s", v.State)
	}
}

// Every single bit of an authentic advert, changed on the way: none is accepted,
// except where routers and kernels may write, and none moves the Router.
func TestForgedAdvertsMoveNothing(t *testing.T) {
	tests := map[string]struct {
		key     socketKey
		edit    func(*vrrp.InstanceConfig, *Instance)
		advert  func(*packet.Spec)
		mutable []int
	}{
		"AH": {
			onLoAH, func(_ *vrrp.InstanceConfig, i *Instance) { i.Auth, i.AH = []byte("secret\x00\x00"), true },
			func(p *packet.Spec) {
				p.AuthType, p.AH = packet.AuthAH, packet.NewAH(packet.Password("secret"), 4000000000)
			},
			[]int{1, 6, 7, 10, 11}, // TOS, fragment bits, header checksum
		},
		"HMAC": {
			onLo, func(_ *vrrp.InstanceConfig, i *Instance) { i.HMAC = hmacConfig(1) },
			func(p *packet.Spec) {
				h, err := packet.NewHMAC(*hmacConfig(1), nil)
				if err != nil {
					t.Fatal(err)
				}
				p.HMAC = h
			},
			// Of the IPv4 header only the source is covered: by protocol and
			// destination the kernel has chosen the socket.
			[]int{1, 4, 5, 6, 7, 9, 10, 11, 16, 17, 18, 19},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			good := peerAdvert(t, 150, tt.advert)
			s := start(t, &recorder{}, 100, 1, tt.edit)
			for at := range good.bytes {
				for bit := range 8 {
					bad := slices.Clone(good.bytes)
					bad[at] ^= 1 << bit
					if slices.Contains(tt.mutable, at) {
						continue
					}
					s.take(tt.key, &arrival{bytes: bad})
					if v, _ := s.Instance(0); v.Heard[vrrp.LAN].At != 0 || s.Stats(0).AdvertsReceived != 0 {
						t.Fatalf("byte %d, bit %d: %+v", at, bit, v.Heard)
					}
				}
			}
			s.take(tt.key, good)
			s.take(tt.key, good)
			if got := s.Stats(0); got.AdvertsReceived != 1 {
				t.Errorf("the authentic one and its recording: %+v", got)
			}
		})
	}
}
