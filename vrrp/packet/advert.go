package packet

import (
	"encoding/binary"
	"time"
)

// The families of adverts, by the version number of the IP protocol.
const (
	FamilyIPv4 = 4
	FamilyIPv6 = 6
)

// TypeAdvertisement is the only packet type (RFC 9568 section 5.2.2).
const TypeAdvertisement = 1

// AuthType is the authentication type of VRRPv2 (RFC 2338 section 5.3.6).
type AuthType uint8

// The authentication types. RFC 3768 abolished all but the first; keepalived
// and its users did not.
const (
	AuthNone AuthType = 0
	AuthPass AuthType = 1
	AuthAH   AuthType = 2
)

const (
	headerLen = 8
	authLen   = 8
)

// Advert is an advertisement (RFC 9568 section 5.1, RFC 3768 section 5.1). The
// slices are views into the buffer that was decoded.
type Advert struct {
	Family   uint8
	Version  uint8
	Type     uint8
	VRID     uint8
	Priority uint8
	Count    uint8
	AuthType AuthType      // VRRPv2
	Interval time.Duration // as sent: whole seconds in VRRPv2, centiseconds in VRRPv3
	Checksum uint16

	// Addresses are Count addresses of 4 or 16 bytes, fewer where the packet
	// is cut short.
	Addresses []byte
	// Password is the authentication data of VRRPv2 over IPv4.
	Password []byte
	// PDU is everything from the VRRP header on, without padding.
	PDU []byte
	// Trailer is what follows the PDU's own length.
	Trailer []byte
}

// Decode reads a VRRP PDU of the family. The only error is ErrShort: fewer
// bytes than a header has.
func Decode(pdu []byte, family uint8) (Advert, error) {
	if len(pdu) < headerLen {
		return Advert{}, ErrShort
	}
	a := Advert{
		Family:   family,
		Version:  pdu[0] >> 4,
		Type:     pdu[0] & 0x0f,
		VRID:     pdu[1],
		Priority: pdu[2],
		Count:    pdu[3],
		Checksum: binary.BigEndian.Uint16(pdu[6:]),
	}
	if a.Version == 2 {
		a.AuthType = AuthType(pdu[4])
		a.Interval = time.Duration(pdu[5]) * time.Second
	} else {
		a.Interval = time.Duration(binary.BigEndian.Uint16(pdu[4:])&0x0fff) * 10 * time.Millisecond
	}
	want := a.wantLen()
	a.PDU = pdu[:min(want, len(pdu)):min(want, len(pdu))]
	if len(pdu) > want {
		a.Trailer = pdu[want:]
	}
	end := min(headerLen+int(a.Count)*addressLen(family), len(a.PDU))
	a.Addresses = a.PDU[headerLen:end:end]
	if rest := a.PDU[end:]; len(rest) == authLen {
		a.Password = rest
	}
	return a, nil
}

// wantLen is the length that the header promises.
func (a *Advert) wantLen() int {
	n := headerLen + int(a.Count)*addressLen(a.Family)
	if a.Version == 2 && a.Family == FamilyIPv4 {
		n += authLen
	}
	return n
}

func addressLen(family uint8) int {
	if family == FamilyIPv6 {
		return 16
	}
	return 4
}
