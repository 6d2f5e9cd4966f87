package lab

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var compareAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func TestDecodeAdvert(t *testing.T) {
	addr := netip.MustParseAddr
	v2 := Advert{
		Src: addr("10.0.0.1"), Dst: addr("224.0.0.18"), TTL: 255, Version: 2, VRID: 7, Priority: 100,
		Interval: time.Second, VIPs: []netip.Addr{addr("10.0.0.100")},
	}
	frame := advertFrame(255, nil)
	got, ok := DecodeAdvert(frame)
	if diff := cmp.Diff(v2, got, compareAddr); !ok || diff != "" {
		t.Error("version 2:", diff)
	}
	// RFC 4302: a header of 24 bytes (payload length 4) before the advert.
	ah := append([]byte{ProtoVRRP, 4, 0, 0}, make([]byte, 20)...)
	authenticated := append(append(append([]byte{}, frame[:34]...), ah...), frame[34:]...)
	authenticated[14+3] += 24
	authenticated[14+9] = protoAH
	got, ok = DecodeAdvert(authenticated)
	if diff := cmp.Diff(v2, got, compareAddr); !ok || diff != "" {
		t.Error("behind AH:", diff)
	}
	six := make([]byte, 14+40, 14+40+24)
	six[12], six[13], six[14], six[14+5], six[14+6], six[14+7] = 0x86, 0xdd, 0x60, 24, ProtoVRRP, 255
	six[14+8], six[14+23], six[14+24], six[14+39] = 0xfe, 1, 0xff, 0x12
	six = append(six, 0x31, 9, 200, 1, 0, 50, 0, 0)
	six = append(six, make([]byte, 15)...)
	six = append(six, 5)
	got, ok = DecodeAdvert(six)
	v3 := Advert{
		Src: addr("fe00::1"), Dst: addr("ff00::12"), TTL: 255, Version: 3, VRID: 9, Priority: 200,
		Interval: 500 * time.Millisecond, VIPs: []netip.Addr{addr("::5")},
	}
	if diff := cmp.Diff(v3, got, compareAddr); !ok || diff != "" {
		t.Error("version 3 over IPv6:", diff)
	}
}

func TestDecodeARP(t *testing.T) {
	p := senderConfig{VIP: vip, MAC: []byte{2, 0, 0, 0, 0, 9}}
	frame, _ := p.probeFrames()
	frame[27] = 42
	a, ok := DecodeARP(frame)
	if !ok || a.Reply || a.Gratuitous() || a.Target != vip || a.Sender != netip.IPv4Unspecified() ||
		a.SenderMAC.String() != "02:6b:00:00:00:2a" {
		t.Errorf("a probe reads %+v, %v", a, ok)
	}
}

// Whatever arrives, the decoders neither fail nor read beyond it.
func FuzzDecoders(f *testing.F) {
	f.Add(advertFrame(255, nil))
	f.Add(advertFrame(255, func(v []byte) { v[3] = 255 }))
	f.Add([]byte{})
	p := senderConfig{VIP: vip, MAC: make([]byte, 6)}
	arp, _ := p.probeFrames()
	f.Add(arp)
	f.Fuzz(func(t *testing.T, frame []byte) {
		for size := range len(frame) + 1 {
			cut := frame[:size:size]
			if a, ok := DecodeAdvert(cut); ok && (size < etherHeader+20+8 || len(a.VIPs) > size/4) {
				t.Errorf("an advert of %d addresses in %d bytes", len(a.VIPs), size)
			}
			if _, ok := DecodeARP(cut); ok && size < etherHeader+arpLen {
				t.Errorf("ARP in %d bytes", size)
			}
			_, _ = parsePcap(cut)
		}
	})
}
