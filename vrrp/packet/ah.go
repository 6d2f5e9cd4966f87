package packet

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/subtle"
	"encoding/binary"
	"hash"
	"net/netip"
)

const (
	ahICVLen = 12
	// ahWords is the header's length in its own count: 32-bit words less two
	// (RFC 2402 section 2.2).
	ahWords       = AHLen/4 - 2
	maxIPv4Header = 60
	// lastSequence is where keepalived stops counting: what comes after it no
	// receiver would take.
	lastSequence = 0xfffffffe
)

// AH is the security association of an instance with auth_type AH (RFC 2338
// section 5.3.6.3): the key, and the sequence numbers of both directions. Its
// Spec and its Expect share it, and it outlives them over a reload, so that no
// number is ever sent or accepted twice.
//
// The integrity check value is HMAC-MD5-96 (RFC 2403) over the IPv4 header with
// TOS, fragment bits, checksum and, of unicast adverts, TTL read as zero, the
// Authentication Header with the value itself zero, and the VRRP PDU. The SPI is
// the sender's address.
type AH struct {
	key         [8]byte
	mac         hash.Hash
	sent, heard uint32
	header      [maxIPv4Header + AHLen]byte
	digest      [md5.Size]byte
}

// NewAH makes an association. Numbers sent begin after start; one that grows
// from run to run, such as the seconds of the clock, keeps receivers from taking
// a restarted router for a recording of its predecessor. keepalived starts at 0.
func NewAH(password [8]byte, start uint32) *AH {
	h := &AH{sent: min(start, lastSequence)}
	h.SetPassword(password)
	return h
}

// SetPassword changes the key; the numbers go on.
func (h *AH) SetPassword(password [8]byte) {
	if h.mac == nil || h.key != password {
		h.key, h.mac = password, hmac.New(md5.New, password[:])
	}
}

// next is the number of the next advert: above every one sent, and above every
// one heard, since receivers keep one mark for all senders of a virtual router.
func (h *AH) next() uint32 {
	if high := max(h.sent, h.heard); high < lastSequence {
		h.sent = high + 1
	}
	return h.sent
}

// icv computes the value of a datagram whose IPv4 header, with options, and
// Authentication Header are given. The result is valid until the next call.
func (h *AH) icv(ip, ah, pdu []byte, unicast bool) []byte {
	n := copy(h.header[:], ip)
	h.header[1] = 0        // TOS
	clear(h.header[6:8])   // fragment bits
	clear(h.header[10:12]) // checksum
	if unicast {
		h.header[8] = 0 // TTL
	}
	copy(h.header[n:], ah[:AHLen-ahICVLen])
	clear(h.header[n+AHLen-ahICVLen : n+AHLen])
	h.mac.Reset()
	h.mac.Write(h.header[:n+AHLen])
	h.mac.Write(pdu)
	return h.mac.Sum(h.digest[:0])[:ahICVLen]
}

// fill writes the Authentication Header of an advert of the sender, except for
// its check value, with the next number.
func (h *AH) fill(ah []byte) {
	ah[0], ah[1] = ProtocolVRRP, ahWords
	binary.BigEndian.PutUint16(ah[2:], 0)
	binary.BigEndian.PutUint32(ah[8:], h.next())
}

// sign writes what depends on the finished datagram.
func (h *AH) sign(ip, ah, pdu []byte, source netip.Addr, unicast bool) {
	if source.Is4() {
		spi := source.As4()
		copy(ah[4:8], spi[:])
	}
	copy(ah[AHLen-ahICVLen:], h.icv(ip, ah, pdu, unicast))
}

// check judges a received datagram in keepalived's order: value, SPI, number.
func (h *AH) check(rx *IPv4, pdu []byte, unicast bool) Verdict {
	ah := rx.AH
	if ah[0] != ProtocolVRRP {
		return AHForeign
	}
	if subtle.ConstantTimeCompare(ah[AHLen-ahICVLen:], h.icv(rx.Header, ah, pdu, unicast)) != 1 {
		return AHWrong
	}
	if [4]byte(ah[4:8]) != rx.Source.As4() {
		return AHWrong
	}
	number := binary.BigEndian.Uint32(ah[8:])
	if number <= h.heard {
		return AHReplayed
	}
	h.heard = number
	return Accepted
}
