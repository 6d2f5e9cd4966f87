package packet

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// The protocol numbers of VRRP and of the Authentication Header.
const (
	ProtocolVRRP = 112
	ProtocolAH   = 51
)

// AHLen is the length of the Authentication Header with the 96-bit value that
// VRRPv2 uses (RFC 2402, RFC 2403).
const AHLen = 24

const (
	ipv4HeaderLen = 20
	// minPayload is what Ethernet pads a frame's payload to.
	minPayload = 46
)

// The errors of Decode and DecodeIPv4. keepalived drops such packets without
// counting them.
var (
	ErrShort   = errors.New("packet: shorter than its headers")
	ErrNotIPv4 = errors.New("packet: not IPv4")
)

// IPv4 is a received IPv4 header; Payload and AH are views into the frame.
type IPv4 struct {
	Source, Destination netip.Addr
	TTL, TOS, Protocol  uint8
	// TotalLength is the header's own; Received is what came in, padding
	// included.
	TotalLength, Received int
	// Header is the IPv4 header with its options.
	Header []byte
	// AH is the Authentication Header, where the protocol is 51.
	AH []byte
	// Payload is the VRRP PDU with the padding cut off where TotalLength
	// tells it; a TotalLength beyond the end is left for Check to refuse.
	Payload []byte
}

// DecodeIPv4 reads the header of a datagram as a raw socket delivers it. Bytes
// after TotalLength are kept out of Payload.
func DecodeIPv4(frame []byte) (IPv4, error) {
	if len(frame) < ipv4HeaderLen {
		return IPv4{}, ErrShort
	}
	if frame[0]>>4 != 4 {
		return IPv4{}, ErrNotIPv4
	}
	header := int(frame[0]&0x0f) * 4
	if header < ipv4HeaderLen || header > len(frame) {
		return IPv4{}, ErrShort
	}
	h := IPv4{
		Source:      netip.AddrFrom4([4]byte(frame[12:16])),
		Destination: netip.AddrFrom4([4]byte(frame[16:20])),
		Header:      frame[:header:header],
		TTL:         frame[8],
		TOS:         frame[1],
		Protocol:    frame[9],
		TotalLength: int(binary.BigEndian.Uint16(frame[2:])),
		Received:    len(frame),
	}
	end := len(frame)
	if h.TotalLength >= header && h.TotalLength < end {
		end = h.TotalLength
	}
	h.Payload = frame[header:end:end]
	if h.Protocol == ProtocolAH {
		if len(h.Payload) < AHLen {
			return IPv4{}, ErrShort
		}
		h.AH, h.Payload = h.Payload[:AHLen:AHLen], h.Payload[AHLen:]
	}
	return h, nil
}

// padded says whether the difference between what came in and TotalLength is
// Ethernet's padding: a frame is padded to 60 bytes, from which its own header
// and any number of 4-byte VLAN tags have been taken.
func (h *IPv4) padded() bool {
	excess := h.Received - h.TotalLength
	return excess > 0 && h.Received <= minPayload && h.Received%4 == minPayload%4
}
