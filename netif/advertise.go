package netif

import (
	"encoding/binary"
	"net/netip"
)

// Offsets and sizes of an unsolicited Neighbour Advertisement frame: Ethernet,
// IPv6 (RFC 8200, 3), ICMPv6 (RFC 4861, 4.4) with the target's link-layer
// address as its one option.
const (
	etherLen  = 14
	ipv6Len   = 40
	adLen     = 24 + 8
	ipv6Start = etherLen
	adStart   = etherLen + ipv6Len
)

// neighbourAdvertisement builds the frame for vip: to all nodes, from vip
// itself, override set, hop limit 255.
func neighbourAdvertisement(mac MAC, vip netip.Addr, router bool) []byte {
	const (
		icmpv6             = 58
		typeAdvertisement  = 136
		flagRouter         = 0x80
		flagOverride       = 0x20
		optionTargetLLAddr = 2
	)
	b := make([]byte, adStart+adLen)
	copy(b, []byte{0x33, 0x33, 0, 0, 0, 1}) // ff02::1 on Ethernet, RFC 2464, 7
	copy(b[6:], mac[:])
	binary.BigEndian.PutUint16(b[12:], 0x86dd)

	ip := b[ipv6Start:adStart]
	ip[0] = 6 << 4
	binary.BigEndian.PutUint16(ip[4:], adLen)
	ip[6] = icmpv6
	ip[7] = 255
	src := vip.As16()
	dst := netip.IPv6LinkLocalAllNodes().As16()
	copy(ip[8:], src[:])
	copy(ip[24:], dst[:])

	ad := b[adStart:]
	ad[0] = typeAdvertisement
	ad[4] = flagOverride
	if router {
		ad[4] |= flagRouter
	}
	copy(ad[8:], src[:])
	ad[24] = optionTargetLLAddr
	ad[25] = 1 // in units of eight bytes
	copy(ad[26:], mac[:])
	binary.BigEndian.PutUint16(ad[2:], icmpv6Checksum(src, dst, ad))
	return b
}

// icmpv6Checksum is that of RFC 4443, 2.3, over a message with a zero checksum.
func icmpv6Checksum(src, dst [16]byte, message []byte) uint16 {
	const icmpv6 = 58
	sum := uint32(len(message)) + icmpv6
	for _, part := range [][]byte{src[:], dst[:], message} {
		for i := 0; i+1 < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
