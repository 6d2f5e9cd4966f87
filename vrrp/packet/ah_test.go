package packet

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

func specAH(h *AH) Spec {
	s := specV2()
	s.AuthType, s.Password, s.AH = AuthAH, [8]byte{}, h
	return s
}

func encoderOf(t testing.TB, s Spec) *Encoder {
	t.Helper()
	e, err := NewEncoder(s)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// expectAH is a receiver with the password.
func expectAH(password string) *Expect {
	s := specV2()
	return &Expect{
		Family: FamilyIPv4, Version: 2, AuthType: AuthAH, Interval: s.Interval,
		Addresses: AppendAddresses(nil, s.Addresses), AH: NewAH(Password(password), 0),
	}
}

func judge(t testing.TB, e *Expect, frame []byte) Verdict {
	t.Helper()
	a, rx := decodeFrame(t, frame)
	v, _ := e.Check(&a, &rx)
	return v
}

func TestAHNumbersOnlyGrow(t *testing.T) {
	own := NewAH(Password("secret"), 7)
	enc, rx := encoderOf(t, specAH(own)), expectAH("secret")
	first := append([]byte(nil), enc.Encode(100)...)
	if n := binary.BigEndian.Uint32(first[28:]); n != 8 {
		t.Errorf("the first number is %d", n)
	}
	for _, want := range []Verdict{Accepted, AHReplayed} {
		if v := judge(t, rx, first); v != want {
			t.Errorf("%s, want %s", v, want)
		}
	}
	second := append([]byte(nil), enc.Encode(100)...)
	third := append([]byte(nil), enc.Encode(100)...)
	if v := judge(t, rx, third); v != Accepted {
		t.Errorf("a later number: %s", v)
	}
	if v := judge(t, rx, second); v != AHReplayed {
		t.Errorf("a number overtaken: %s", v)
	}
	// Whoever takes over goes on above what it has heard: one mark counts for
	// all senders of the virtual router.
	next := encoderOf(t, specAH(rx.AH)).Encode(90)
	if n := binary.BigEndian.Uint32(next[28:]); n != 11 {
		t.Errorf("the successor goes on with %d, want 11", n)
	}
	own.sent = lastSequence
	if n := binary.BigEndian.Uint32(enc.Encode(100)[28:]); n != lastSequence {
		t.Errorf("the number ran over to %d", n)
	}
}

func TestAHRefusesWhatWasChangedOnTheWay(t *testing.T) {
	for name, tt := range map[string]struct {
		at   int
		want Verdict
	}{
		"TOS is not protected":        {1, Accepted},
		"identification":              {5, AHWrong},
		"TTL, but a router would too": {8, TTLWrong},
		"header checksum is not":      {11, Accepted},
		"source":                      {15, AHWrong},
		"destination":                 {19, AHWrong},
		"next header":                 {20, AHForeign},
		"SPI":                         {27, AHWrong},
		"number":                      {31, AHWrong},
		"check value":                 {43, AHWrong},
		"priority":                    {46, AHWrong},
		"addresses":                   {52, AHWrong},
		"authentication data behind":  {63, AHWrong},
	} {
		frame := append([]byte(nil), encoderOf(t, specAH(NewAH(Password("secret"), 0))).Encode(100)...)
		frame[tt.at] ^= 1
		if v := judge(t, expectAH("secret"), frame); v != tt.want {
			t.Errorf("%s: %s, want %s", name, v, tt.want)
		}
	}
	frame := encoderOf(t, specAH(NewAH(Password("secret"), 0))).Encode(100)
	if v := judge(t, expectAH("another"), frame); v != AHWrong {
		t.Errorf("another password: %s", v)
	}
}

// The SPI is the sender's address, also where the check value would fit.
func TestAHSPIIsTheSource(t *testing.T) {
	h := NewAH(Password("secret"), 0)
	frame := append([]byte(nil), encoderOf(t, specAH(h)).Encode(100)...)
	frame[27] ^= 1
	ah := frame[20:44]
	copy(ah[12:], h.icv(frame[:20], ah, frame[44:], false))
	if v := judge(t, expectAH("secret"), frame); v != AHWrong {
		t.Errorf("%s", v)
	}
}

func TestAHUnicastDoesNotProtectTheTTL(t *testing.T) {
	s := specAH(NewAH(Password("secret"), 0))
	s.Destination = netip.MustParseAddr("192.0.2.2")
	enc, rx := encoderOf(t, s), expectAH("secret")
	rx.Unicast = true
	enc.Encode(100)
	frame := append([]byte(nil), enc.EncodeTo(100, netip.MustParseAddr("192.0.2.3"))...)
	frame[8] = 60
	if v := judge(t, rx, frame); v != Accepted {
		t.Errorf("%s", v)
	}
	if a, b := binary.BigEndian.Uint32(frame[28:]), binary.BigEndian.Uint32(enc.EncodeTo(100, s.Destination)[28:]); a != b {
		t.Errorf("the copies of one advert have the numbers %d and %d", a, b)
	}
}

func TestAHFollowsSourceAndPassword(t *testing.T) {
	h := NewAH(Password("secret"), 0)
	enc, rx := encoderOf(t, specAH(h)), expectAH("secret")
	enc.SetSource(netip.MustParseAddr("192.0.2.77"))
	if v := judge(t, rx, enc.Encode(100)); v != Accepted {
		t.Errorf("another source: %s", v)
	}
	h.SetPassword(Password("another"))
	rx.AH.SetPassword(Password("another"))
	if v := judge(t, rx, enc.Encode(100)); v != Accepted {
		t.Errorf("another password: %s", v)
	}
}

func TestAHDoesNotAllocate(t *testing.T) {
	enc, rx := encoderOf(t, specAH(NewAH(Password("secret"), 0))), expectAH("secret")
	var h IPv4
	var in Received
	wrong := 0
	if n := testing.AllocsPerRun(200, func() {
		h, _ = DecodeIPv4(enc.Encode(100))
		in = FromIPv4(&h)
		a, _ := Decode(h.Payload, FamilyIPv4)
		if v, _ := rx.Check(&a, &in); v != Accepted {
			wrong++
		}
	}); n != 0 || wrong != 0 {
		t.Errorf("%v allocations for an advert sent and received, %d refused", n, wrong)
	}
}
