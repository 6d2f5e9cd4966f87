package packet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Spec is what an instance sends.
type Spec struct {
	Family    uint8
	Version   uint8
	VRID      uint8
	Interval  time.Duration
	Addresses []netip.Addr // in the order of the configuration, at most 255
	AuthType  AuthType     // VRRPv2 over IPv4
	Password  [8]byte      // AuthPass: zero padded
	AH        *AH          // AuthAH
	HMAC      *HMAC        // auth_hmac; nil: none

	Source, Destination netip.Addr // Destination: the group, or any peer
	TTL                 uint8      // of the IPv4 header; 0 means 255

	ChecksumAsV2 bool
	// OldUnicast computes the VRRPv3 checksum over Group4 in place of the
	// destination.
	OldUnicast bool
	Group4     netip.Addr
}

// Encoder holds one advert ready to send. What it returns is valid until its
// next call.
type Encoder struct {
	buf     []byte // IPv4: header, AH, PDU, trailer; IPv6: PDU and trailer
	pdu     []byte
	trailer []byte // of auth_hmac
	family  uint8
	ah      *AH
	hmac    *HMAC
	// body is the sum over the PDU with priority and checksum zero, and
	// pseudo the constant part of the pseudo header.
	body     uint32
	pseudo   bool
	src, dst netip.Addr
	over     netip.Addr // destination of the checksum where it is not dst
	id       uint16
}

// NewEncoder prepares the advert of an instance.
func NewEncoder(s Spec) (*Encoder, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	v2auth := s.Version == 2 && s.Family == FamilyIPv4
	length := headerLen + len(s.Addresses)*addressLen(s.Family)
	if v2auth {
		length += authLen
	}
	start := 0
	if s.Family == FamilyIPv4 {
		start = ipv4HeaderLen
	}
	if s.AuthType == AuthAH {
		start += AHLen
	}
	e := &Encoder{
		buf: make([]byte, start, start+length+s.HMAC.trailerLen()), family: s.Family, hmac: s.HMAC,
		pseudo: s.Version == 3 || s.Family == FamilyIPv6,
	}
	if s.AuthType == AuthAH {
		e.ah = s.AH
	}
	if s.ChecksumAsV2 && s.Family == FamilyIPv4 {
		e.pseudo = false
	}
	if s.OldUnicast {
		e.over = s.Group4
	}
	e.buf = append(e.buf, s.Version<<4|TypeAdvertisement, s.VRID, 0, uint8(len(s.Addresses)))
	if s.Version == 2 {
		e.buf = append(e.buf, uint8(s.AuthType), uint8(s.Interval/time.Second))
	} else {
		e.buf = binary.BigEndian.AppendUint16(e.buf, uint16(s.Interval/(10*time.Millisecond))&0x0fff)
	}
	e.buf = append(e.buf, 0, 0)
	e.buf = AppendAddresses(e.buf, s.Addresses)
	if v2auth {
		password := s.Password
		if s.AuthType != AuthPass {
			password = [8]byte{}
		}
		e.buf = append(e.buf, password[:]...)
	}
	e.pdu = e.buf[start : start+length : start+length]
	e.body = sum(0, e.pdu)
	if n := s.HMAC.trailerLen(); n > 0 {
		e.buf = e.buf[:len(e.buf)+n]
		e.trailer = e.buf[len(e.buf)-n:]
	}
	if e.ipv4() {
		e.header(s.TTL)
	}
	e.SetSource(s.Source)
	e.setDestination(s.Destination)
	return e, nil
}

func (s *Spec) validate() error {
	if s.Family != FamilyIPv4 && s.Family != FamilyIPv6 {
		return fmt.Errorf("packet: family %d is neither 4 nor 6", s.Family)
	}
	if len(s.Addresses) > 255 {
		return fmt.Errorf("packet: %d addresses do not fit into an advert, 255 do: move the rest to virtual_ipaddress_excluded", len(s.Addresses))
	}
	for _, a := range s.Addresses {
		if a.Unmap().Is4() != (s.Family == FamilyIPv4) {
			return fmt.Errorf("packet: address %s is not of family %d: move it to virtual_ipaddress_excluded", a, s.Family)
		}
	}
	switch {
	case s.Version == 2 && s.Interval >= time.Second && s.Interval <= 255*time.Second:
	case s.Version == 3 && s.Interval >= 10*time.Millisecond && s.Interval <= 40950*time.Millisecond:
	default:
		return fmt.Errorf("packet: VRRPv%d cannot carry the interval %s", s.Version, s.Interval)
	}
	if s.AuthType == AuthAH && (s.AH == nil || s.Version != 2 || s.Family != FamilyIPv4) {
		return errors.New("packet: auth_type AH needs a key, VRRPv2 and IPv4")
	}
	if s.HMAC != nil && s.AuthType != AuthNone {
		return errors.New("packet: auth_hmac excludes authentication: keep one of the two")
	}
	return nil
}

// header writes keepalived's IPv4 header: TOS 0xc0 (internetwork control), no
// fragment bits. The kernel fills in the header checksum again.
func (e *Encoder) header(ttl uint8) {
	if ttl == 0 {
		ttl = 255
	}
	h := e.buf[:ipv4HeaderLen]
	h[0], h[1] = 0x45, 0xc0
	binary.BigEndian.PutUint16(h[2:], uint16(len(e.buf)))
	h[8], h[9] = ttl, ProtocolVRRP
	if e.ah != nil {
		h[9] = ProtocolAH
	}
}

// SetSource changes the address that adverts are sent from.
func (e *Encoder) SetSource(a netip.Addr) {
	e.src = a.Unmap().WithZone("")
	if e.ipv4() && e.src.Is4() {
		b := e.src.As4()
		copy(e.buf[12:], b[:])
	}
}

func (e *Encoder) setDestination(a netip.Addr) {
	e.dst = a.Unmap().WithZone("")
	if e.ipv4() && e.dst.Is4() {
		b := e.dst.As4()
		copy(e.buf[16:], b[:])
	}
}

// SetOldUnicast changes to the old unicast checksum, over the group.
func (e *Encoder) SetOldUnicast(group netip.Addr) { e.over = group }

func (e *Encoder) ipv4() bool { return e.family == FamilyIPv4 }

// Encode returns the next advert: for IPv4 the whole datagram, for a socket
// with IP_HDRINCL; for IPv6 the PDU. Each call takes the next identification,
// as keepalived does, never zero, which would have the kernel choose one, and the
// next number of auth_type AH or auth_hmac.
func (e *Encoder) Encode(priority uint8) []byte {
	if e.id++; e.id == 0 {
		e.id = 1
	}
	if e.ah != nil {
		e.ah.fill(e.buf[ipv4HeaderLen:])
	}
	if e.trailer != nil {
		e.pdu[2] = priority
		e.hmac.sign(e.trailer, e.family, e.src, e.pdu)
	}
	return e.patch(priority)
}

// EncodeTo returns the advert that Encode returned last, to another unicast
// peer: the copies of one advert share their identification and their number.
func (e *Encoder) EncodeTo(priority uint8, peer netip.Addr) []byte {
	e.setDestination(peer)
	return e.patch(priority)
}

// PDU returns the advert without an IP header, as the second wire carries it.
func (e *Encoder) PDU(priority uint8) []byte {
	e.patch(priority)
	return e.pdu
}

// patch writes what changes from one advert to the next.
func (e *Encoder) patch(priority uint8) []byte {
	e.pdu[2] = priority
	acc := e.body + uint32(priority)<<8
	if e.pseudo {
		dst := e.dst
		if e.over.IsValid() {
			dst = e.over
		}
		length := len(e.pdu)
		// Over IPv6 the checksum is the transport's, of all that follows the
		// IP header.
		if !e.ipv4() && e.trailer != nil {
			acc, length = sum(acc, e.trailer), length+len(e.trailer)
		}
		acc += pseudoHeader(e.src, dst, length)
	}
	binary.BigEndian.PutUint16(e.pdu[6:], fold(acc))
	if e.ipv4() {
		h := e.buf[:ipv4HeaderLen]
		binary.BigEndian.PutUint16(h[4:], e.id)
		binary.BigEndian.PutUint16(h[10:], 0)
		binary.BigEndian.PutUint16(h[10:], fold(sum(0, h)))
		if e.ah != nil {
			e.ah.sign(h, e.buf[ipv4HeaderLen:ipv4HeaderLen+AHLen], e.pdu, e.src, !e.dst.IsMulticast())
		}
	}
	return e.buf
}

// Password is the authentication data for a password: its first 8 bytes, zero
// padded, as keepalived takes auth_pass.
func Password(text string) (p [8]byte) {
	copy(p[:], text)
	return p
}
