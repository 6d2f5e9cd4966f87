package packet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"
)

// refit recomputes both checksums of an edited datagram.
func refit(frame []byte) {
	binary.BigEndian.PutUint16(frame[10:], 0)
	binary.BigEndian.PutUint16(frame[10:], fold(sum(0, frame[:20])))
	pdu := frame[20:]
	binary.BigEndian.PutUint16(pdu[6:], 0)
	acc := sum(0, pdu)
	if pdu[0]>>4 == 3 {
		acc += pseudoHeader(netip.AddrFrom4([4]byte(frame[12:16])), netip.AddrFrom4([4]byte(frame[16:20])), len(pdu))
	}
	binary.BigEndian.PutUint16(pdu[6:], fold(acc))
}

// The order of the rows is that of the checks.
func TestCheck(t *testing.T) {
	type edit struct {
		frame  func([]byte) []byte
		expect func(*Expect)
	}
	bytesAt := func(at int, b ...byte) func([]byte) []byte {
		return func(f []byte) []byte { copy(f[at:], b); refit(f); return f }
	}
	peers := func(p ...Peer) func(*Expect) {
		return func(e *Expect) { e.Unicast, e.CheckSource, e.Peers = true, true, p }
	}
	source := netip.MustParseAddr("192.0.2.1")
	toUnicast := bytesAt(16, 192, 0, 2, 2)
	tests := []struct {
		name    string
		spec    Spec
		edit    edit
		want    Verdict
		counter string
		warn    Warning
	}{
		{"v2 as configured", specV2(), edit{}, Accepted, "advert_rcvd", 0},
		{"v3 as configured", specV3(), edit{}, Accepted, "advert_rcvd", 0},
		{"AH expected, none there", specV2(), edit{expect: func(e *Expect) { e.AuthType = AuthAH }}, AHMismatch, "authtype_mismatch", 0},
		{"RFC 9568 7.1: one address is missing", specV3(), edit{frame: func(f []byte) []byte {
			f = f[:len(f)-4]
			f[3] = byte(len(f))
			refit(f)
			return f
		}}, LengthWrong, "packet_len_err", 0},
		{"four bytes too many inside the IP length", specV3(), edit{frame: func(f []byte) []byte {
			f = append(f, 0, 0, 0, 0)
			f[3] = byte(len(f))
			refit(f)
			return f
		}}, LengthWrong, "packet_len_err", 0},
		{"padded by Ethernet to 46 bytes", specV3(), edit{frame: func(f []byte) []byte {
			return append(f, make([]byte, 46-len(f))...)
		}}, Accepted, "advert_rcvd", 0},
		{"padded by Ethernet under a VLAN tag", specV3(), edit{frame: func(f []byte) []byte {
			return append(f, make([]byte, 42-len(f))...)
		}}, Accepted, "advert_rcvd", 0},
		{"RFC 9568 7.1: TTL 254", specV3(), edit{frame: bytesAt(8, 254)}, TTLWrong, "ip_ttl_err", 0},
		{"RFC 9568 7.1: another version", specV3(), edit{expect: func(e *Expect) { e.Version = 2 }}, VersionWrong, "vers_err", 0},
		{"v2 authentication type 3", specV2(), edit{frame: bytesAt(24, 3)}, AuthTypeUnknown, "invalid_authtype", 0},
		{"v2 without the password we expect", specV2(), edit{frame: bytesAt(24, 0)}, AuthTypeMismatch, "authtype_mismatch", 0},
		{"v2 with another password", specV2(), edit{frame: bytesAt(36, '2')}, PasswordWrong, "auth_failure", 0},
		{"RFC 3768 7.1: another interval", specV2(), edit{frame: bytesAt(25, 2)}, IntervalWrong, "", 0},
		{"RFC 9568 7.1: v3 without an interval", specV3(), edit{frame: bytesAt(24, 0, 0)}, IntervalWrong, "", 0},
		{"RFC 9568 5.2.6: reserved bits are ignored", specV3(), edit{frame: bytesAt(24, 0xf0)}, Accepted, "advert_rcvd", 0},
		{"RFC 9568 5.2.5: no address at all", specV3(), edit{frame: func(f []byte) []byte {
			f = f[:28]
			f[3], f[23] = byte(len(f)), 0
			refit(f)
			return f
		}}, Accepted, "advert_rcvd", AddressesDiffer},
		{"RFC 9568 5.2.2: type 2", specV3(), edit{frame: bytesAt(20, 0x32)}, TypeWrong, "invalid_type_rcvd", 0},
		{"IP length beyond the packet", specV3(), edit{frame: func(f []byte) []byte {
			f[3] += 2
			return f
		}}, TotalLengthWrong, "packet_len_err", 0},
		{"more behind the IP length than Ethernet pads to", specV2(), edit{frame: func(f []byte) []byte {
			return append(f, make([]byte, 58-len(f))...)
		}}, TotalLengthWrong, "packet_len_err", 0},
		{"behind the IP length what no VLAN tag explains", specV3(), edit{frame: func(f []byte) []byte {
			return append(f, make([]byte, 40-len(f))...)
		}}, TotalLengthWrong, "packet_len_err", 0},
		{"v3 with another interval is learnt from", specV3(), edit{expect: func(e *Expect) { e.Interval = time.Second }}, Accepted, "advert_rcvd", IntervalDiffers},
		{"RFC 9568 7.1: v3 checksum", specV3(), edit{frame: func(f []byte) []byte { f[22]++; return f }}, ChecksumWrong, "chk_err", 0},
		{"RFC 3768 7.1: v2 checksum", specV2(), edit{frame: func(f []byte) []byte { f[22]++; return f }}, ChecksumWrong, "chk_err", 0},
		{"v3_checksum_as_v2 accepts any checksum", specV3(), edit{
			frame: func(f []byte) []byte { f[22]++; return f }, expect: func(e *Expect) { e.ChecksumAsV2 = true },
		}, Accepted, "advert_rcvd", 0},
		{"RFC 9568 5.2.8: v3 checksum over IPv4 without a pseudo header", specV3(), edit{frame: func(f []byte) []byte {
			binary.BigEndian.PutUint16(f[26:], 0)
			binary.BigEndian.PutUint16(f[26:], fold(sum(0, f[20:])))
			return f
		}}, Accepted, "advert_rcvd", PlainChecksum},
		{"multicast to a unicast instance", specV3(), edit{expect: func(e *Expect) { e.Unicast = true }}, CastMismatch, "addr_list_err", 0},
		{"unicast to a multicast instance", specV3(), edit{frame: toUnicast}, CastMismatch, "addr_list_err", 0},
		{"owner_ignore_adverts", specV3(), edit{expect: func(e *Expect) { e.OwnerIgnore = true }}, Ignored, "", 0},
		{"another address", specV3(), edit{frame: bytesAt(28, 10)}, Accepted, "advert_rcvd", AddressesDiffer},
		{"the same addresses in another order", specV3(), edit{frame: bytesAt(28, 192, 0, 2, 101, 192, 0, 2, 100)}, Accepted, "advert_rcvd", 0},
		{"fewer addresses than configured", specV3(), edit{expect: func(e *Expect) { e.Addresses = append(e.Addresses, 1, 2, 3, 4) }}, Accepted, "advert_rcvd", AddressesDiffer},
		{"skip_check_adv_addr, another address", specV3(), edit{
			frame: bytesAt(28, 10), expect: func(e *Expect) { e.CountOnly = true },
		}, Accepted, "advert_rcvd", 0},
		{"skip_check_adv_addr, another number of addresses", specV3(), edit{expect: func(e *Expect) {
			e.CountOnly, e.Addresses = true, append(e.Addresses, 1, 2, 3, 4)
		}}, Accepted, "advert_rcvd", AddressesDiffer},
		{"from a stranger", specV3(), edit{frame: toUnicast, expect: peers(Peer{Addr: netip.MustParseAddr("192.0.2.9")})}, SourceUnknown, "", 0},
		{"from a peer", specV3(), edit{frame: toUnicast, expect: peers(Peer{Addr: source})}, Accepted, "advert_rcvd", 0},
		{"from a peer too far away", specV3(), edit{frame: func(f []byte) []byte {
			f[8] = 250
			return toUnicast(f)
		}, expect: peers(Peer{Addr: source, MinTTL: 254})}, TTLOutsideWindow, "ip_ttl_err", 0},
		{"unicast does not look at the TTL", specV3(), edit{frame: func(f []byte) []byte {
			f[8] = 3
			return toUnicast(f)
		}, expect: func(e *Expect) { e.Unicast = true }}, Accepted, "advert_rcvd", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			enc, err := NewEncoder(tt.spec)
			if err != nil {
				t.Fatal(err)
			}
			frame := append([]byte(nil), enc.Encode(150)...)
			a, rx := decodeFrame(t, frame)
			e := expecting(a, rx)
			e.Password = tt.spec.Password
			if tt.edit.frame != nil {
				frame = tt.edit.frame(frame)
			}
			if tt.edit.expect != nil {
				tt.edit.expect(e)
			}
			a, rx = decodeFrame(t, frame)
			v, w := e.Check(&a, &rx)
			if v != tt.want || w != tt.warn {
				t.Errorf("got %q with warnings %b, want %q with %b", v, w, tt.want, tt.warn)
			}
			if v.Counter() != tt.counter {
				t.Errorf("counter %q, want %q", v.Counter(), tt.counter)
			}
		})
	}
}

func TestRFC9568Section5_1_2_3HopLimit(t *testing.T) {
	spec := specHMAC6(nil)
	spec.Destination = netip.MustParseAddr("ff02::12")
	pdu := encoderOf(t, spec).Encode(100)
	for limit, want := range map[int]Verdict{255: Accepted, 254: TTLWrong, 64: TTLWrong} {
		a, err := Decode(pdu, FamilyIPv6)
		if err != nil {
			t.Fatal(err)
		}
		rx := Received{Source: ipv6Node, Destination: spec.Destination, Multicast: true, TTL: limit}
		if v, _ := expect6(nil).Check(&a, &rx); v != want {
			t.Errorf("hop limit %d: %s", limit, v)
		}
	}
}

func TestRFC9568Section7_2WhatIsSent(t *testing.T) {
	f := encoderOf(t, specV3()).Encode(200)
	h, err := DecodeIPv4(f)
	if err != nil {
		t.Fatal(err)
	}
	if h.TTL != 255 || h.Protocol != 112 || h.Source != specV3().Source || h.Destination != specV3().Destination {
		t.Errorf("IPv4 header %+v", h)
	}
	if reserved := h.Payload[4] >> 4; reserved != 0 {
		t.Errorf("reserved bits %x", reserved)
	}
	if h.Payload[0] != 0x31 || h.Payload[1] != 7 || h.Payload[2] != 200 || h.Payload[3] != 2 || h.Payload[5] != 25 {
		t.Errorf("fields %x", h.Payload[:8])
	}
}

func TestOldUnicastChecksumIsAdoptedAndCanBeRefused(t *testing.T) {
	s := specV3()
	s.Destination, s.OldUnicast, s.Group4 = netip.MustParseAddr("192.0.2.2"), true, netip.MustParseAddr("224.0.0.18")
	enc, err := NewEncoder(s)
	if err != nil {
		t.Fatal(err)
	}
	a, rx := decodeFrame(t, enc.Encode(100))
	e := expecting(a, rx)
	if v, w := e.Check(&a, &rx); v != Accepted || w != OldChecksum {
		t.Errorf("auto: %s, warnings %b", v, w)
	}
	e.OldUnicast = OldUnicastNever
	if v, _ := e.Check(&a, &rx); v != ChecksumWrong {
		t.Errorf("never: %s", v)
	}
	e.OldUnicast = OldUnicastAlways
	if v, w := e.Check(&a, &rx); v != Accepted || w != 0 {
		t.Errorf("always: %s, warnings %b", v, w)
	}
}

func TestDecodeRefusesWhatHasNoHeader(t *testing.T) {
	for n := range headerLen {
		if _, err := Decode(make([]byte, n), FamilyIPv4); !errors.Is(err, ErrShort) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	enc, err := NewEncoder(specV3())
	if err != nil {
		t.Fatal(err)
	}
	frame := enc.Encode(1)
	for n := range ipv4HeaderLen {
		if _, err := DecodeIPv4(frame[:n]); !errors.Is(err, ErrShort) {
			t.Errorf("%d bytes of IPv4: %v", n, err)
		}
	}
	six := append([]byte(nil), frame...)
	six[0] = 0x65
	if _, err := DecodeIPv4(six); !errors.Is(err, ErrNotIPv4) {
		t.Errorf("version 6: %v", err)
	}
}

func TestIPv4OptionsAreSkipped(t *testing.T) {
	enc, err := NewEncoder(specV3())
	if err != nil {
		t.Fatal(err)
	}
	plain := enc.Encode(42)
	frame := append([]byte(nil), plain[:20]...)
	frame = append(frame, 0x94, 4, 0, 0) // router alert
	frame = append(frame, plain[20:]...)
	frame[0], frame[3] = 0x46, byte(len(frame))
	h, err := DecodeIPv4(frame)
	if err != nil {
		t.Fatal(err)
	}
	a, err := Decode(h.Payload, FamilyIPv4)
	if err != nil || a.Priority != 42 || len(a.Addresses) != 8 {
		t.Errorf("got %+v, %v", a, err)
	}
}

func TestEncoderRefusesWhatAnAdvertCannotCarry(t *testing.T) {
	for name, edit := range map[string]func(*Spec){
		"family":            func(s *Spec) { s.Family = 5 },
		"version":           func(s *Spec) { s.Version = 1 },
		"interval too long": func(s *Spec) { s.Interval = 41 * time.Second },
		"no interval":       func(s *Spec) { s.Interval = 0 },
		"256 addresses":     func(s *Spec) { s.Addresses = make([]netip.Addr, 256) },
		"other family":      func(s *Spec) { s.Addresses = []netip.Addr{netip.MustParseAddr("fe80::1")} },
		"AH without a key":  func(s *Spec) { s.AuthType = AuthAH },
		"AH in version 3":   func(s *Spec) { s.AuthType, s.AH = AuthAH, NewAH([8]byte{}, 0) },
		"PASS and HMAC":     func(s *Spec) { s.AuthType, s.HMAC = AuthPass, &HMAC{} },
	} {
		s := specV3()
		edit(&s)
		if _, err := NewEncoder(s); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestWithoutAuthenticationNoPasswordIsSent(t *testing.T) {
	s := specV2()
	s.AuthType = AuthNone
	enc, err := NewEncoder(s)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := decodeFrame(t, enc.Encode(100))
	if !bytes.Equal(a.Password, make([]byte, 8)) {
		t.Errorf("sent %q", a.Password)
	}
}

func TestIdentificationIsNeverZero(t *testing.T) {
	enc, err := NewEncoder(specV3())
	if err != nil {
		t.Fatal(err)
	}
	for range 1 << 16 {
		f := enc.Encode(1)
		if f[4] == 0 && f[5] == 0 {
			t.Fatal("identification 0 lets the kernel choose one")
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, r := range recordedAdverts(f) {
		f.Add(r.frame, true)
		f.Add(r.frame[20:], false)
	}
	x := &Expect{Family: FamilyIPv4, Version: 2, AuthType: AuthPass, Interval: time.Second, Unicast: true, CheckSource: true}
	f.Add(append(make([]byte, 8), make([]byte, hmacLen)...), false)
	auth := &Expect{Version: 2, AuthType: AuthAH, Interval: time.Second, AH: NewAH([8]byte{1}, 0), Unicast: true}
	signed := &Expect{Version: 3, Interval: time.Second, HMAC: hmacAt(f, draftClock, func(c *HMACConfig) { c.Window = 0 })}
	f.Fuzz(func(t *testing.T, b []byte, framed bool) {
		family, pdu := uint8(FamilyIPv6), b
		rx := Received{TTL: -1, Multicast: true}
		if framed {
			h, err := DecodeIPv4(b)
			if err != nil {
				return
			}
			family, pdu, rx = FamilyIPv4, h.Payload, FromIPv4(&h)
		}
		a, err := Decode(pdu, family)
		if err != nil {
			return
		}
		if len(a.PDU)+len(a.Trailer) != len(pdu) {
			t.Fatalf("%d bytes fell out", len(pdu)-len(a.PDU)-len(a.Trailer))
		}
		auth.Family = family
		if v, _ := auth.Check(&a, &rx); v == Accepted {
			t.Fatalf("an advert without a good check value was accepted: %x", b)
		}
		signed.Family = family
		if v, _ := signed.Check(&a, &rx); v == Accepted {
			t.Fatalf("an advert without a good trailer was accepted: %x", b)
		}
		for _, version := range []uint8{2, 3} {
			x.Version, x.Family = version, family
			v, _ := x.Check(&a, &rx)
			if v != Accepted || family != FamilyIPv4 {
				continue
			}
			// What is accepted is what an encoder makes.
			s := Spec{
				Family: family, Version: a.Version, VRID: a.VRID, Interval: a.Interval, Addresses: addresses(a),
				AuthType: a.AuthType, Source: rx.Source, Destination: rx.Destination,
			}
			if _, err := NewEncoder(s); err != nil && a.Interval > 0 {
				t.Fatalf("accepted, but cannot be sent: %v", err)
			}
		}
	})
}
