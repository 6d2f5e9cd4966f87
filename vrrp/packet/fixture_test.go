package packet

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// recorded is one advert of a real keepalived.
type recorded struct {
	name  string
	frame []byte
}

func recordedAdverts(t testing.TB) []recorded {
	t.Helper()
	text, err := os.ReadFile("testdata/keepalived-2.2.7.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out []recorded
	for line := range strings.Lines(string(text)) {
		name, digits, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || name == "#" {
			continue
		}
		frame, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out = append(out, recorded{name, frame})
	}
	if len(out) < 10 {
		t.Fatalf("only %d recorded adverts", len(out))
	}
	return out
}

// decodeFrame takes a recorded frame of either family apart.
func decodeFrame(t testing.TB, frame []byte) (Advert, Received) {
	t.Helper()
	if frame[0]>>4 == 4 {
		h, err := DecodeIPv4(frame)
		if err != nil {
			t.Fatal(err)
		}
		a, err := Decode(h.Payload, FamilyIPv4)
		if err != nil {
			t.Fatal(err)
		}
		return a, FromIPv4(&h)
	}
	a, err := Decode(frame[40:], FamilyIPv6)
	if err != nil {
		t.Fatal(err)
	}
	dst := netip.AddrFrom16([16]byte(frame[24:40]))
	return a, Received{
		Source: netip.AddrFrom16([16]byte(frame[8:24])), Destination: dst,
		Multicast: dst.IsMulticast(), TTL: int(frame[7]),
	}
}

// addresses reads the list of an advert.
func addresses(a Advert) []netip.Addr {
	var out []netip.Addr
	n := addressLen(a.Family)
	for list := a.Addresses; len(list) >= n; list = list[n:] {
		addr, _ := netip.AddrFromSlice(list[:n])
		out = append(out, addr)
	}
	return out
}

// recordedAHPassword is the auth_pass of the recorded adverts with auth_type AH.
var recordedAHPassword = Password("secret")

// expecting builds the Expect of an instance configured as the sender is.
func expecting(a Advert, rx Received) *Expect {
	e := &Expect{
		Family: a.Family, Version: a.Version, Unicast: !rx.Multicast, AuthType: a.AuthType,
		Interval: a.Interval, Addresses: append([]byte(nil), a.Addresses...),
		Group4: netip.MustParseAddr("224.0.0.18"),
	}
	copy(e.Password[:], a.Password)
	if a.AuthType == AuthAH {
		e.AH = NewAH(recordedAHPassword, 0)
	}
	return e
}

func TestAdvertsOfKeepalivedAreAccepted(t *testing.T) {
	for _, r := range recordedAdverts(t) {
		a, rx := decodeFrame(t, r.frame)
		if v, w := expecting(a, rx).Check(&a, &rx); v != Accepted || w != 0 {
			t.Errorf("%s: %s (warnings %b)", r.name, v, w)
		}
	}
}

func TestAdvertsOfKeepalivedEncodeIdentically(t *testing.T) {
	for _, r := range recordedAdverts(t) {
		t.Run(r.name, func(t *testing.T) {
			a, rx := decodeFrame(t, r.frame)
			s := Spec{
				Family: a.Family, Version: a.Version, VRID: a.VRID, Interval: a.Interval,
				Addresses: addresses(a), AuthType: a.AuthType, Source: rx.Source, Destination: rx.Destination,
			}
			copy(s.Password[:], a.Password)
			if a.AuthType == AuthAH {
				s.AH = NewAH(recordedAHPassword, 0)
			}
			e, err := NewEncoder(s)
			if err != nil {
				t.Fatal(err)
			}
			want := r.frame
			var got []byte
			if a.Family == FamilyIPv4 {
				id := int(want[4])<<8 | int(want[5])
				for range id {
					got = e.Encode(a.Priority)
				}
			} else {
				got, want = e.Encode(a.Priority), want[40:]
			}
			if !bytes.Equal(got, want) {
				t.Errorf("encoded differently\n got %x\nwant %x", got, want)
			}
		})
	}
}

func TestAuthPassIsCutToEightBytes(t *testing.T) {
	for _, r := range recordedAdverts(t) {
		if r.name != "v2-unicast-pass-90-1" {
			continue
		}
		a, _ := decodeFrame(t, r.frame)
		if p := Password("longer-than-eight"); !bytes.Equal(p[:], a.Password) {
			t.Errorf("got %q, want %q", p, a.Password)
		}
		return
	}
	t.Fatal("no recorded advert with a long password")
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	for _, r := range recordedAdverts(t) {
		a, rx := decodeFrame(t, r.frame)
		x := expecting(a, rx)
		sink := 0
		var h IPv4 // reused, as FromIPv4 asks for
		if n := testing.AllocsPerRun(100, func() {
			var pdu []byte
			in := rx
			if x.AH != nil {
				x.AH.heard = 0 // the same frame again
			}
			if a.Family == FamilyIPv4 {
				h, _ = DecodeIPv4(r.frame)
				pdu, in = h.Payload, FromIPv4(&h)
			} else {
				pdu = r.frame[40:]
			}
			got, _ := Decode(pdu, a.Family)
			v, _ := x.Check(&got, &in)
			sink += int(v)
		}); n != 0 {
			t.Errorf("%s: receiving allocates %v times", r.name, n)
		}
	}
	e, err := NewEncoder(specV3())
	if err != nil {
		t.Fatal(err)
	}
	peer := netip.MustParseAddr("192.0.2.7")
	if n := testing.AllocsPerRun(100, func() {
		e.Encode(100)
		e.EncodeTo(100, peer)
		e.PDU(0)
	}); n != 0 {
		t.Errorf("sending allocates %v times", n)
	}
}

func specV3() Spec {
	return Spec{
		Family: FamilyIPv4, Version: 3, VRID: 7, Interval: 250 * time.Millisecond,
		Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.100"), netip.MustParseAddr("192.0.2.101")},
		Source:    netip.MustParseAddr("192.0.2.1"), Destination: netip.MustParseAddr("224.0.0.18"),
	}
}

func specV2() Spec {
	s := specV3()
	s.Version, s.Interval, s.AuthType, s.Password = 2, time.Second, AuthPass, Password("1111")
	return s
}
