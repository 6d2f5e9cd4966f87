package lab

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"
)

// IP protocol numbers that the lab looks at.
const (
	protoICMP = 1
	protoAH   = 51
	ProtoVRRP = 112 // VRRP, both versions and families
)

// Advert is what the lab reads of a VRRP advertisement. It is an observer's
// view, without any validation.
type Advert struct {
	Src, Dst netip.Addr
	TTL      uint8
	Version  uint8
	VRID     uint8
	Priority uint8
	Interval time.Duration // version 2: whole seconds; version 3: 10 ms
	VIPs     []netip.Addr  // of the family of Src
}

// ARP is an ARP message for IPv4 over Ethernet.
type ARP struct {
	Reply     bool
	SenderMAC net.HardwareAddr
	Sender    netip.Addr
	TargetMAC net.HardwareAddr
	Target    netip.Addr
}

// Gratuitous reports whether the message announces its sender's own address.
func (a ARP) Gratuitous() bool { return a.Sender == a.Target }

const (
	etherHeader = 14
	typeIPv4    = 0x0800
	typeARP     = 0x0806
	typeIPv6    = 0x86dd
	arpLen      = 28
)

func etherType(frame []byte) uint16 {
	if len(frame) < etherHeader {
		return 0
	}
	return binary.BigEndian.Uint16(frame[12:14])
}

// DecodeARP reads an Ethernet frame that holds ARP.
func DecodeARP(frame []byte) (ARP, bool) {
	if etherType(frame) != typeARP || len(frame) < etherHeader+arpLen {
		return ARP{}, false
	}
	b := frame[etherHeader:]
	if binary.BigEndian.Uint16(b[2:4]) != typeIPv4 || b[4] != 6 || b[5] != 4 {
		return ARP{}, false
	}
	return ARP{
		Reply:     binary.BigEndian.Uint16(b[6:8]) == 2,
		SenderMAC: net.HardwareAddr(b[8:14]),
		Sender:    netip.AddrFrom4([4]byte(b[14:18])),
		TargetMAC: net.HardwareAddr(b[18:24]),
		Target:    netip.AddrFrom4([4]byte(b[24:28])),
	}, true
}

// ip is the part of an IP packet that matters here.
type ip struct {
	src, dst netip.Addr
	ttl      uint8
	protocol uint8
	payload  []byte
}

func decodeIP(frame []byte) (ip, bool) {
	switch etherType(frame) {
	case typeIPv4:
		b := frame[etherHeader:]
		if len(b) < 20 {
			return ip{}, false
		}
		header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:4]))
		if header < 20 || total < header || total > len(b) {
			return ip{}, false
		}
		return ip{
			src: netip.AddrFrom4([4]byte(b[12:16])), dst: netip.AddrFrom4([4]byte(b[16:20])),
			ttl: b[8], protocol: b[9], payload: b[header:total],
		}, true
	case typeIPv6:
		b := frame[etherHeader:]
		if len(b) < 40 {
			return ip{}, false
		}
		total := 40 + int(binary.BigEndian.Uint16(b[4:6]))
		if total > len(b) {
			return ip{}, false
		}
		return ip{
			src: netip.AddrFrom16([16]byte(b[8:24])), dst: netip.AddrFrom16([16]byte(b[24:40])),
			ttl: b[7], protocol: b[6], payload: b[40:total],
		}, true
	}
	return ip{}, false
}

// DecodeAdvert reads an Ethernet frame that holds a VRRP advertisement, bare
// or behind an IPsec authentication header (RFC 2338 section 5.3.6.3).
func DecodeAdvert(frame []byte) (Advert, bool) {
	p, ok := decodeIP(frame)
	if !ok {
		return Advert{}, false
	}
	if p.protocol == protoAH && len(p.payload) >= 2 {
		header := (int(p.payload[1]) + 2) * 4 // RFC 4302 section 2.2
		if header > len(p.payload) {
			return Advert{}, false
		}
		p.protocol, p.payload = p.payload[0], p.payload[header:]
	}
	b := p.payload
	if p.protocol != ProtoVRRP || len(b) < 8 || b[0]&15 != 1 {
		return Advert{}, false
	}
	a := Advert{Src: p.src, Dst: p.dst, TTL: p.ttl, Version: b[0] >> 4, VRID: b[1], Priority: b[2]}
	if a.Version == 3 {
		a.Interval = time.Duration(binary.BigEndian.Uint16(b[4:6])&0x0fff) * 10 * time.Millisecond
	} else {
		a.Interval = time.Duration(b[5]) * time.Second
	}
	size := 4
	if p.src.Is6() {
		size = 16
	}
	for i := 0; i < int(b[3]) && 8+(i+1)*size <= len(b); i++ {
		addr, _ := netip.AddrFromSlice(b[8+i*size : 8+(i+1)*size])
		a.VIPs = append(a.VIPs, addr)
	}
	return a, true
}
