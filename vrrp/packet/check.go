package packet

import (
	"bytes"
	"crypto/subtle"
	"net/netip"
	"time"
)

// Expect is what an instance expects of the adverts it receives.
type Expect struct {
	Family   uint8
	Version  uint8
	Unicast  bool
	AuthType AuthType
	Password [8]byte // AuthPass
	AH       *AH     // AuthAH
	HMAC     *HMAC   // auth_hmac; nil: none
	// Interval is the configured advertisement interval. A VRRPv2 advert with
	// another is dropped, a VRRPv3 one is learnt from.
	Interval time.Duration
	// Addresses is the expected list, as [AppendAddresses] writes it.
	Addresses []byte
	// CountOnly compares the number of addresses alone (skip_check_adv_addr,
	// while the sender stays the same).
	CountOnly bool
	// OwnerIgnore drops adverts unread (owner_ignore_adverts).
	OwnerIgnore bool

	// ChecksumAsV2 leaves the pseudo header out of the VRRPv3 checksum over
	// IPv4, and then accepts any checksum, as keepalived does.
	ChecksumAsV2 bool
	// OldUnicast says how VRRPv3 unicast checksums are taken.
	OldUnicast OldUnicast
	// Group4 is the multicast group that the old unicast checksum is over.
	Group4 netip.Addr

	// CheckSource refuses unicast adverts from others than Peers, and with a
	// TTL outside the peer's window.
	CheckSource bool
	Peers       []Peer
}

// OldUnicast chooses between the checksum over the datagram's own destination
// and that over the multicast group, which old keepalived used for unicast.
type OldUnicast uint8

// The choices. Auto takes both, and reports by OldChecksum that a peer uses
// the old one: the caller then sends it too.
const (
	OldUnicastAuto OldUnicast = iota
	OldUnicastNever
	OldUnicastAlways
)

// Peer is a unicast peer with the TTLs accepted from it.
type Peer struct {
	Addr           netip.Addr
	MinTTL, MaxTTL uint8 // MaxTTL 0 means 255
}

// Received is what is known of the packet around the PDU.
type Received struct {
	Source      netip.Addr
	Destination netip.Addr // for IPv6 it may be invalid
	Multicast   bool
	TTL         int // TTL or hop limit; -1: not known
	// IPv4 is the decoded header; nil for IPv6 and where the PDU did not come
	// in an IPv4 datagram of its own, such as on the second wire.
	IPv4 *IPv4
}

// FromIPv4 describes a PDU that came in h, which it refers to: one value, reused,
// keeps receiving free of garbage.
func FromIPv4(h *IPv4) Received {
	return Received{
		Source: h.Source, Destination: h.Destination, Multicast: h.Destination.IsMulticast(),
		TTL: int(h.TTL), IPv4: h,
	}
}

// AppendAddresses appends the addresses as an advert carries them.
func AppendAddresses(dst []byte, addresses []netip.Addr) []byte {
	for _, a := range addresses {
		dst = append(dst, a.Unmap().WithZone("").AsSlice()...)
	}
	return dst
}

// Check judges an advert in keepalived's order: the first check that fails is
// the verdict. An accepted advert may carry warnings. It does not allocate. The
// marks against replay move with the adverts that are accepted, that of AH with
// every authentic one.
func (e *Expect) Check(a *Advert, rx *Received) (Verdict, Warning) {
	hasAH := rx.IPv4 != nil && rx.IPv4.AH != nil
	if rx.IPv4 != nil && hasAH != (e.AuthType == AuthAH) {
		return AHMismatch, 0
	}
	if !e.lengthRight(a) {
		return LengthWrong, 0
	}
	if !e.Unicast && rx.TTL >= 0 && rx.TTL != 255 {
		return TTLWrong, 0
	}
	if a.Version != e.Version {
		return VersionWrong, 0
	}
	var warn Warning
	if e.HMAC != nil {
		v, w := e.HMAC.check(a, rx.Source)
		if v != Accepted {
			return v, 0
		}
		warn |= w
	}
	if a.Version == 2 {
		if v := e.checkV2(a, rx); v != Accepted {
			return v, 0
		}
	}
	if a.Type != TypeAdvertisement {
		return TypeWrong, 0
	}
	if rx.IPv4 != nil && rx.IPv4.TotalLength != rx.IPv4.Received && !rx.IPv4.padded() {
		return TotalLengthWrong, 0
	}
	if a.Version == 3 && a.Interval == 0 {
		return IntervalWrong, 0
	}
	if a.Version == 3 && a.Interval != e.Interval {
		warn |= IntervalDiffers
	}
	right, form := e.checksum(a, rx)
	if !right {
		return ChecksumWrong, 0
	}
	warn |= form
	if rx.IPv4 != nil || a.Family == FamilyIPv6 {
		if rx.Multicast == e.Unicast {
			return CastMismatch, 0
		}
	}
	if e.OwnerIgnore {
		return Ignored, 0
	}
	// From here on the advert counts as received.
	warn |= e.checkAddresses(a)
	if v := e.checkPeer(rx); v != Accepted {
		return v, warn
	}
	e.HMAC.accept()
	return Accepted, warn
}

// lengthRight says whether the PDU is complete and nothing follows it but the
// trailer that auth_hmac allows. Padding is not seen here: the IP header's length
// has cut it off.
func (e *Expect) lengthRight(a *Advert) bool {
	return len(a.PDU) == a.wantLen() && (len(a.Trailer) == 0 || e.HMAC != nil && len(a.Trailer) == hmacLen)
}

func (e *Expect) checkV2(a *Advert, rx *Received) Verdict {
	switch {
	case a.AuthType > AuthAH:
		return AuthTypeUnknown
	case a.AuthType != e.AuthType:
		return AuthTypeMismatch
	case a.AuthType == AuthPass && e.Family == FamilyIPv4 && subtle.ConstantTimeCompare(a.Password, e.Password[:]) != 1:
		return PasswordWrong
	}
	if a.AuthType == AuthAH {
		if e.AH == nil || rx.IPv4 == nil {
			return AHWrong
		}
		if v := e.AH.check(rx.IPv4, a.PDU, e.Unicast); v != Accepted {
			return v
		}
	}
	if a.Interval != e.Interval {
		return IntervalWrong
	}
	return Accepted
}

// checksum verifies the checksum over IPv4 (RFC 9568 section 5.2.8). Over IPv6
// the kernel has done it, on a raw socket with IPV6_CHECKSUM. The warning names
// the form that was right where it is not keepalived's present one.
func (e *Expect) checksum(a *Advert, rx *Received) (right bool, form Warning) {
	switch {
	case a.Family != FamilyIPv4 || rx.IPv4 == nil && a.Version == 3:
		return true, 0
	case a.Version == 2:
		return fold(sum(0, a.PDU)) == 0, 0
	case e.ChecksumAsV2:
		return true, 0
	}
	body := sum(0, a.PDU)
	dst := rx.Destination
	if e.Unicast && e.OldUnicast == OldUnicastAlways {
		dst = e.Group4
	}
	switch {
	case fold(body+pseudoHeader(rx.Source, dst, len(a.PDU))) == 0:
		return true, 0
	// RFC 9568 has no pseudo header over IPv4; keepalived sends one and takes
	// nothing else.
	case fold(body) == 0:
		return true, PlainChecksum
	case e.Unicast && e.OldUnicast == OldUnicastAuto && e.Group4.IsValid() && dst != e.Group4 &&
		fold(body+pseudoHeader(rx.Source, e.Group4, len(a.PDU))) == 0:
		return true, OldChecksum
	}
	return false, 0
}

// checkAddresses compares the lists as sets, the sender's order being its own.
func (e *Expect) checkAddresses(a *Advert) Warning {
	if len(a.Addresses) != len(e.Addresses) {
		return AddressesDiffer
	}
	if e.CountOnly || bytes.Equal(a.Addresses, e.Addresses) {
		return 0
	}
	n := addressLen(e.Family)
	for own := e.Addresses; len(own) >= n; own = own[n:] {
		if !contains(a.Addresses, own[:n]) {
			return AddressesDiffer
		}
	}
	return 0
}

func contains(list, address []byte) bool {
	for n := len(address); len(list) >= n; list = list[n:] {
		if bytes.Equal(list[:n], address) {
			return true
		}
	}
	return false
}

func (e *Expect) checkPeer(rx *Received) Verdict {
	if !e.Unicast || !e.CheckSource {
		return Accepted
	}
	for n := range e.Peers {
		p := &e.Peers[n]
		if p.Addr != rx.Source {
			continue
		}
		highest := int(p.MaxTTL)
		if highest == 0 {
			highest = 255
		}
		if rx.TTL >= 0 && (rx.TTL < int(p.MinTTL) || rx.TTL > highest) {
			return TTLOutsideWindow
		}
		return Accepted
	}
	return SourceUnknown
}
