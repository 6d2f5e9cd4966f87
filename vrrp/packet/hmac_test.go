package packet

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// The adverts of the appendix of the auth_hmac draft, which keepalived tests
// itself by: key 00..1f, VRID 51, priority 200, sequence 0x6800000080000000.
const (
	draftIPv4 = "3133c80100644402c0000264" + "010100006800000080000000" + "1b84bc4e8e43892dc6d98448f8ee2265"
	draftIPv6 = "3133c8010064a2e9fe800000000000000000000000000100" + "010100006800000080000000" + "c8c56146ebfd66ee10ec4d8186461b78"
)

// draftClock is the time that the drafts' adverts were signed at: 0x68000000
// seconds and a half.
const draftClock = 0x68000000*time.Second + time.Second/2

var (
	draftKey = HMACKey{ID: 1, Secret: counted(32)}
	ipv4Node = netip.MustParseAddr("198.51.100.10")
	ipv6Node = netip.MustParseAddr("fe80::10")
)

func counted(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// hmacAt makes the state of a node whose clock shows the time.
func hmacAt(t testing.TB, clock time.Duration, edit func(*HMACConfig)) *HMAC {
	t.Helper()
	cfg := HMACConfig{Keys: []HMACKey{draftKey}, Active: 1, Window: 5 * time.Second}
	if edit != nil {
		edit(&cfg)
	}
	h, err := NewHMAC(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	h.SetClock(clock)
	return h
}

// received judges an IPv6 advert of a node by its trailer and all the rest.
func received(t testing.TB, h *HMAC, pdu []byte, source netip.Addr) (Verdict, Warning) {
	t.Helper()
	a, err := Decode(pdu, FamilyIPv6)
	if err != nil {
		t.Fatal(err)
	}
	return expect6(h).Check(&a, &Received{Source: source, Multicast: true, TTL: 255})
}

func expect6(h *HMAC) *Expect {
	return &Expect{
		Family: FamilyIPv6, Version: 3, Interval: time.Second, HMAC: h,
		Addresses: netip.MustParseAddr("fe80::100").AsSlice(),
	}
}

func specHMAC6(h *HMAC) Spec {
	return Spec{
		Family: FamilyIPv6, Version: 3, VRID: 51, Interval: time.Second, HMAC: h,
		Addresses: []netip.Addr{netip.MustParseAddr("fe80::100")}, Source: ipv6Node, Destination: netip.MustParseAddr("fe80::20"),
	}
}

func TestHMACEncodesTheDraftsAdverts(t *testing.T) {
	six := encoderOf(t, specHMAC6(hmacAt(t, draftClock, nil)))
	if got, want := six.Encode(200), unhex(t, draftIPv6); !bytes.Equal(got, want) {
		t.Errorf("IPv6\n got %x\nwant %x", got, want)
	}
	// The draft's IPv4 checksum is RFC 9568's, without a pseudo header.
	four := encoderOf(t, Spec{
		Family: FamilyIPv4, Version: 3, VRID: 51, Interval: time.Second, HMAC: hmacAt(t, draftClock, nil), ChecksumAsV2: true,
		Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.100")}, Source: ipv4Node, Destination: netip.MustParseAddr("224.0.0.18"),
	})
	frame := four.Encode(200)
	if want := unhex(t, draftIPv4); !bytes.Equal(frame[20:], want) {
		t.Errorf("IPv4\n got %x\nwant %x", frame[20:], want)
	}
	if n := binary.BigEndian.Uint16(frame[2:]); int(n) != len(frame) {
		t.Errorf("IPv4 length %d of %d", n, len(frame))
	}
	a, rx := decodeFrame(t, frame)
	e := expecting(a, rx)
	e.HMAC = hmacAt(t, draftClock, nil)
	if v, w := e.Check(&a, &rx); v != Accepted || w != PlainChecksum {
		t.Errorf("IPv4: %s, warnings %b", v, w)
	}
}

func TestHMACRefusesWhatWasChanged(t *testing.T) {
	for name, tt := range map[string]struct {
		at   int
		want Verdict
	}{
		"priority":                 {2, HMACWrong},
		"interval":                 {5, HMACWrong},
		"checksum is the kernel's": {7, Accepted},
		"address":                  {23, HMACWrong},
		"scheme":                   {24, HMACMalformed},
		"key":                      {25, HMACUnknownKey},
		"reserved":                 {26, HMACMalformed},
		"seconds":                  {31, HMACWrong},
		"fraction":                 {33, HMACWrong},
		"counter":                  {35, HMACWrong},
		"value":                    {51, HMACWrong},
	} {
		pdu := unhex(t, draftIPv6)
		pdu[tt.at] ^= 1
		if v, _ := received(t, hmacAt(t, draftClock, nil), pdu, ipv6Node); v != tt.want {
			t.Errorf("%s: %s, want %s", name, v, tt.want)
		}
	}
	if v, _ := received(t, hmacAt(t, draftClock, nil), unhex(t, draftIPv6), netip.MustParseAddr("fe80::20")); v != HMACWrong {
		t.Errorf("another source: %s", v)
	}
	pdu := unhex(t, draftIPv6)
	pdu[1] = 52 // another virtual router with the same key
	if v, _ := received(t, hmacAt(t, draftClock, nil), pdu, ipv6Node); v != HMACWrong {
		t.Errorf("another VRID: %s", v)
	}
	if v, _ := received(t, hmacAt(t, draftClock, nil), unhex(t, draftIPv6)[:50], ipv6Node); v != LengthWrong {
		t.Errorf("a trailer cut short: %s", v)
	}
	if v, _ := received(t, nil, unhex(t, draftIPv6), ipv6Node); v != LengthWrong {
		t.Errorf("a trailer where none is configured: %s", v)
	}
}

func TestHMACWindowAndReplay(t *testing.T) {
	pdu := unhex(t, draftIPv6)
	for _, tt := range []struct {
		late time.Duration
		want Verdict
		warn Warning
	}{
		{0, Accepted, 0}, {2 * time.Second, Accepted, 0}, {3 * time.Second, Accepted, ClockSkew}, {-3 * time.Second, Accepted, ClockSkew},
		{5 * time.Second, Accepted, ClockSkew}, {6 * time.Second, HMACStale, 0}, {-6 * time.Second, HMACStale, 0},
	} {
		if v, w := received(t, hmacAt(t, draftClock+tt.late, nil), pdu, ipv6Node); v != tt.want || w != tt.warn {
			t.Errorf("%s late: %s, warnings %b", tt.late, v, w)
		}
	}
	h := hmacAt(t, draftClock, nil)
	for _, want := range []Verdict{Accepted, HMACReplayed} {
		if v, _ := received(t, h, pdu, ipv6Node); v != want {
			t.Errorf("%s, want %s", v, want)
		}
	}
	// A mark beyond the window has no meaning any more where time counts.
	h.sender(ipv6Node).heard = uint64(0x68000000+3600) << 32
	if v, _ := received(t, h, pdu, ipv6Node); v != Accepted {
		t.Errorf("after the sender's clock was set right: %s", v)
	}
	m := hmacAt(t, draftClock+time.Hour, func(c *HMACConfig) { c.Window = 0 })
	if v, _ := received(t, m, pdu, ipv6Node); v != Accepted {
		t.Errorf("monotonic looks at the clock: %s", v)
	}
	m.sender(ipv6Node).heard = uint64(0x68000000+7200) << 32
	if v, _ := received(t, m, pdu, ipv6Node); v != HMACReplayed {
		t.Errorf("monotonic forgot its mark: %s", v)
	}
}

func TestHMACSequence(t *testing.T) {
	h := hmacAt(t, draftClock, nil)
	const at = uint64(0x68000000)<<32 | 0x8000<<16
	if n := h.next(); n != at {
		t.Errorf("number %x at the clock %x", n, at)
	}
	if n := h.next(); n != at+1 {
		t.Errorf("the clock stands: %x", n)
	}
	h.sent |= 0xffff
	if n := h.next(); n != (at|0xffff)+1 {
		t.Errorf("the counter is full: %x", n)
	}
	h.SetClock(draftClock - time.Hour)
	if n := h.next(); n != at-3600<<32 {
		t.Errorf("the clock was set back: %x", n)
	}
	m := hmacAt(t, draftClock, func(c *HMACConfig) { c.Window = 0 })
	last := m.next()
	m.SetClock(draftClock - time.Hour)
	if n := m.next(); n != last+1 {
		t.Errorf("monotonic, the clock was set back: %x", n)
	}
}

// Rotation: receivers know both keys before a sender changes to the new one.
func TestHMACKeysRotate(t *testing.T) {
	second := HMACKey{ID: 2, Secret: bytes.Repeat([]byte{7}, 64)}
	both := func(active uint8) func(*HMACConfig) {
		return func(c *HMACConfig) { c.Keys, c.Active = []HMACKey{draftKey, second}, active }
	}
	rx := hmacAt(t, draftClock, both(1))
	tx := hmacAt(t, draftClock, nil)
	for step, cfg := range []HMACConfig{
		{Keys: []HMACKey{draftKey}, Active: 1}, {Keys: []HMACKey{draftKey, second}, Active: 2}, {Keys: []HMACKey{second}, Active: 2},
	} {
		cfg.Window = 5 * time.Second
		var err error
		if tx, err = NewHMAC(cfg, tx); err != nil {
			t.Fatal(err)
		}
		pdu := slices.Clone(encoderOf(t, specHMAC6(tx)).Encode(100))
		if v, _ := received(t, rx, pdu, ipv6Node); v != Accepted {
			t.Errorf("step %d, key %d: %s", step, pdu[25], v)
		}
	}
	alone := hmacAt(t, draftClock, func(c *HMACConfig) { c.Keys, c.Active = []HMACKey{second}, 2 })
	if v, _ := received(t, alone, unhex(t, draftIPv6), ipv6Node); v != HMACUnknownKey {
		t.Errorf("the key is gone: %s", v)
	}
	// A reload does not open the door to a recording.
	again, err := NewHMAC(HMACConfig{Keys: []HMACKey{draftKey, second}, Active: 2, Window: 5 * time.Second}, rx)
	if err != nil {
		t.Fatal(err)
	}
	again.SetClock(draftClock)
	if v, _ := received(t, again, unhex(t, draftIPv6), ipv6Node); v != HMACReplayed {
		t.Errorf("after a reload: %s", v)
	}
}

func TestHMACModes(t *testing.T) {
	bare := unhex(t, draftIPv6)[:24]
	signed := unhex(t, draftIPv6)
	for mode, tt := range map[HMACMode]struct {
		bare Verdict
		size int
	}{HMACEnforce: {HMACMissing, 52}, HMACPermissive: {Accepted, 52}, HMACReceiveOnly: {Accepted, 24}} {
		set := func(c *HMACConfig) { c.Mode = mode }
		if v, _ := received(t, hmacAt(t, draftClock, set), bare, ipv6Node); v != tt.bare {
			t.Errorf("mode %d, no trailer: %s, want %s", mode, v, tt.bare)
		}
		if v, _ := received(t, hmacAt(t, draftClock, set), signed, ipv6Node); v != Accepted {
			t.Errorf("mode %d, a good trailer: %s", mode, v)
		}
		signed[51] ^= 1
		if v, _ := received(t, hmacAt(t, draftClock, set), signed, ipv6Node); v != HMACWrong {
			t.Errorf("mode %d, a bad trailer: %s", mode, v)
		}
		signed[51] ^= 1
		if n := len(encoderOf(t, specHMAC6(hmacAt(t, draftClock, set))).Encode(1)); n != tt.size {
			t.Errorf("mode %d sends %d bytes, want %d", mode, n, tt.size)
		}
	}
}

func TestHMACSendersAreBounded(t *testing.T) {
	h := hmacAt(t, draftClock, nil)
	for n := range 100 {
		h.pending, h.number = h.sender(netip.AddrFrom4([4]byte{10, 0, 0, byte(n)})), h.clock
		h.accept()
	}
	if len(h.senders) != multicastSenders {
		t.Errorf("%d senders remembered", len(h.senders))
	}
	if s := h.sender(netip.AddrFrom4([4]byte{10, 0, 0, 99})); !s.valid {
		t.Error("the newest was forgotten")
	}
	u := hmacAt(t, draftClock, func(c *HMACConfig) { c.Peers = []netip.Addr{ipv6Node} })
	if v, _ := received(t, u, unhex(t, draftIPv6), netip.MustParseAddr("fe80::99")); v != SourceUnknown {
		t.Errorf("a stranger to a unicast instance: %s", v)
	}
	// One signature serves the copies to all peers.
	enc := encoderOf(t, specHMAC6(hmacAt(t, draftClock, nil)))
	first := slices.Clone(enc.Encode(100))
	if copied := enc.EncodeTo(100, netip.MustParseAddr("fe80::21")); !bytes.Equal(first[24:], copied[24:]) {
		t.Error("the copies are signed differently")
	}
}

func TestHMACRefusesBadKeys(t *testing.T) {
	for name, cfg := range map[string]HMACConfig{
		"short":      {Keys: []HMACKey{{1, counted(31)}}, Active: 1},
		"long":       {Keys: []HMACKey{{1, counted(65)}}, Active: 1},
		"twice":      {Keys: []HMACKey{draftKey, draftKey}, Active: 1},
		"not active": {Keys: []HMACKey{draftKey}, Active: 2},
		"window":     {Keys: []HMACKey{draftKey}, Active: 1, Window: 301 * time.Second},
	} {
		if _, err := NewHMAC(cfg, nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for interval, want := range map[time.Duration]time.Duration{
		10 * time.Millisecond: 5 * time.Second, 2500 * time.Millisecond: 6 * time.Second, 200 * time.Second: 300 * time.Second,
	} {
		if got := DefaultHMACWindow(interval); got != want {
			t.Errorf("the default window at %s is %s, want %s", interval, got, want)
		}
	}
}

func TestHMACDoesNotAllocate(t *testing.T) {
	enc := encoderOf(t, specHMAC6(hmacAt(t, draftClock, nil)))
	x := expect6(hmacAt(t, draftClock, nil))
	in := Received{Source: ipv6Node, Multicast: true, TTL: 255}
	wrong := 0
	if n := testing.AllocsPerRun(200, func() {
		a, _ := Decode(enc.Encode(100), FamilyIPv6)
		if v, _ := x.Check(&a, &in); v != Accepted {
			wrong++
		}
	}); n != 0 || wrong != 0 {
		t.Errorf("%v allocations for an advert sent and received, %d refused", n, wrong)
	}
}
