package packet

import (
	"encoding/binary"
	"net/netip"
)

// sum adds b to a ones' complement sum in progress (RFC 1071), as 16-bit words
// with a last odd byte padded by zero.
func sum(acc uint32, b []byte) uint32 {
	for len(b) >= 2 {
		acc += uint32(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		acc += uint32(b[0]) << 8
	}
	return acc
}

// fold ends a sum: the checksum to be written, or zero over a packet whose
// checksum is right.
func fold(acc uint32) uint16 {
	for acc > 0xffff {
		acc = acc>>16 + acc&0xffff
	}
	return ^uint16(acc)
}

// sumAddr adds an address.
func sumAddr(acc uint32, a netip.Addr) uint32 {
	if a.Is4() {
		b := a.As4()
		return sum(acc, b[:])
	}
	b := a.As16()
	return sum(acc, b[:])
}

// pseudoHeader is the sum of the pseudo header of RFC 9568 section 5.2.8: both
// addresses, the protocol, the length. keepalived uses it for IPv4 as well.
func pseudoHeader(src, dst netip.Addr, length int) uint32 {
	acc := uint32(ProtocolVRRP) + uint32(length)
	if src.IsValid() {
		acc = sumAddr(acc, src)
	}
	if dst.IsValid() {
		acc = sumAddr(acc, dst)
	}
	return acc
}
