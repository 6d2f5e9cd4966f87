package packet

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"net/netip"
	"time"
)

const (
	// hmacLen is keepalived's auth_hmac trailer (2.4.0): type, key, two reserved
	// bytes, a 64-bit sequence, and a value cut to 128 bits.
	hmacLen       = 28
	hmacValueLen  = 16
	hmacSHA256    = 1
	hmacPseudoLen = 20
	// multicastSenders is for how many senders of a multicast group the highest
	// number is remembered: more than one at a time are there only in a conflict.
	multicastSenders = 4
)

// The bounds of a key and of the time window.
const (
	MinHMACSecret = 32
	MaxHMACSecret = 64
	MaxHMACWindow = 300 * time.Second
)

// HMACMode says what a router with auth_hmac sends and accepts.
type HMACMode uint8

// The modes: enforce refuses adverts without a trailer; permissive sends a
// trailer and accepts adverts without; receive-only sends none either.
const (
	HMACEnforce HMACMode = iota
	HMACPermissive
	HMACReceiveOnly
)

// HMACKey is one key, of 32 to 64 bytes.
type HMACKey struct {
	ID     uint8
	Secret []byte
}

// HMACConfig is an auth_hmac block.
type HMACConfig struct {
	Keys   []HMACKey
	Active uint8 // the key that adverts are signed with
	Mode   HMACMode
	// Window is how far a sender's clock may be off, in whole seconds; zero is
	// `anti_replay monotonic`, which asks for growing numbers alone.
	Window time.Duration
	// Peers are the unicast peers; none means multicast.
	Peers []netip.Addr
}

// DefaultHMACWindow is the window where none is configured: three intervals in
// whole seconds, 5 s at least.
func DefaultHMACWindow(interval time.Duration) time.Duration {
	return min(max(3*interval.Truncate(time.Second), 5*time.Second), MaxHMACWindow)
}

// HMAC is the authentication of an instance with auth_hmac: its keys, its own
// sequence, and the highest number of each sender. Spec and Expect share it.
type HMAC struct {
	keys    []macKey
	active  *macKey
	mode    HMACMode
	window  int32 // seconds
	unicast bool

	clock   uint64 // now, in the form of a sequence number
	sent    uint64
	senders []hmacSender
	uses    uint64
	// The mark of an advert that is authentic, to be set if it is accepted.
	pending *hmacSender
	number  uint64

	head   [hmacPseudoLen + 8]byte
	digest [sha256.Size]byte
}

type macKey struct {
	id  uint8
	mac hash.Hash
}

type hmacSender struct {
	source netip.Addr
	heard  uint64
	valid  bool
	used   uint64 // rank; the lowest is replaced
}

// NewHMAC makes the state of an auth_hmac block. What before, the state that it
// replaces on a reload, has sent and heard is carried over; it may be nil.
func NewHMAC(cfg HMACConfig, before *HMAC) (*HMAC, error) {
	h := &HMAC{mode: cfg.Mode, window: int32(cfg.Window / time.Second), unicast: len(cfg.Peers) > 0}
	if cfg.Window < 0 || cfg.Window > MaxHMACWindow {
		return nil, fmt.Errorf("packet: auth_hmac: a time window of %s is not within 1 to 300 s", cfg.Window)
	}
	h.keys = make([]macKey, 0, len(cfg.Keys))
	for _, k := range cfg.Keys {
		if len(k.Secret) < MinHMACSecret || len(k.Secret) > MaxHMACSecret {
			return nil, fmt.Errorf("packet: auth_hmac: key %d has %d bytes, 32 to 64 are needed", k.ID, len(k.Secret))
		}
		if h.key(k.ID) != nil {
			return nil, fmt.Errorf("packet: auth_hmac: key %d is given twice", k.ID)
		}
		h.keys = append(h.keys, macKey{k.ID, hmac.New(sha256.New, k.Secret)})
	}
	if h.active = h.key(cfg.Active); h.active == nil {
		return nil, errors.New("packet: auth_hmac: active_key names no key")
	}
	h.senders = make([]hmacSender, max(len(cfg.Peers), multicastSenders))
	for n, p := range cfg.Peers {
		h.senders[n].source = p
	}
	if before != nil {
		h.inherit(before)
	}
	return h, nil
}

func (h *HMAC) inherit(before *HMAC) {
	h.sent, h.clock = before.sent, before.clock
	for n := range before.senders {
		if old := &before.senders[n]; old.valid {
			if s := h.sender(old.source); s != nil {
				s.heard, s.valid = old.heard, true
			}
		}
	}
}

// SetClock says what time it is, as the time since the Unix epoch. It comes
// before every advert sent or checked.
func (h *HMAC) SetClock(sinceEpoch time.Duration) {
	seconds := sinceEpoch / time.Second
	fraction := uint64(sinceEpoch%time.Second) << 16 / uint64(time.Second)
	h.clock = uint64(uint32(seconds))<<32 | fraction<<16
}

func (h *HMAC) key(id uint8) *macKey {
	for n := range h.keys {
		if h.keys[n].id == id {
			return &h.keys[n]
		}
	}
	return nil
}

// after compares by serial number arithmetic (RFC 1982).
func after(a, b uint64) bool { return int64(a-b) > 0 }

// seconds is by how many seconds a is ahead of b.
func secondsAhead(a, b uint64) int32 { return int32(uint32(a>>32) - uint32(b>>32)) }

func (h *HMAC) outside(ahead int32) bool { return ahead > h.window || ahead < -h.window }

// next is the number of the next advert: the clock, or one more than the last
// where the clock has not advanced. A clock set back beyond the window starts
// anew where the time counts: receivers would refuse the old numbers.
func (h *HMAC) next() uint64 {
	switch {
	case after(h.clock, h.sent):
		h.sent = h.clock
	case h.window > 0 && secondsAhead(h.sent, h.clock) > h.window:
		h.sent = h.clock
	default:
		h.sent++
	}
	return h.sent
}

// value computes the authentication value. The pseudo header binds family,
// version, VRID and sender; the VRRP checksum, which a kernel may write, and the
// value itself are read as zero. The result is valid until the next call.
func (h *HMAC) value(k *macKey, family uint8, source netip.Addr, pdu, prefix []byte) []byte {
	clear(h.head[:])
	h.head[0], h.head[1], h.head[2] = family, pdu[0]>>4, pdu[1]
	if source.Is4() {
		b := source.As4()
		copy(h.head[4:], b[:])
	} else if source.IsValid() {
		b := source.As16()
		copy(h.head[4:], b[:])
	}
	copy(h.head[hmacPseudoLen:], pdu[:6])
	k.mac.Reset()
	k.mac.Write(h.head[:])
	k.mac.Write(pdu[8:])
	k.mac.Write(prefix)
	k.mac.Write(zeroValue[:])
	return k.mac.Sum(h.digest[:0])[:hmacValueLen]
}

var zeroValue [hmacValueLen]byte

// trailerLen is how much longer than its PDU an advert is.
func (h *HMAC) trailerLen() int {
	if h == nil || h.mode == HMACReceiveOnly {
		return 0
	}
	return hmacLen
}

// sign writes the trailer of the next advert: once for all unicast copies.
func (h *HMAC) sign(trailer []byte, family uint8, source netip.Addr, pdu []byte) {
	trailer[0], trailer[1], trailer[2], trailer[3] = hmacSHA256, h.active.id, 0, 0
	binary.BigEndian.PutUint64(trailer[4:], h.next())
	prefix := trailer[:hmacLen-hmacValueLen]
	copy(trailer[hmacLen-hmacValueLen:], h.value(h.active, family, source, pdu, prefix))
}

// check judges an advert by its trailer, in keepalived's order. The time is
// looked at before the value is computed, so that recordings cost little. The
// sender's mark moves with accept only: neither checksum nor destination is
// authentic, and a copy that was damaged must not stand in for the advert.
func (h *HMAC) check(a *Advert, source netip.Addr) (Verdict, Warning) {
	h.pending = nil
	if len(a.Trailer) == 0 {
		if h.mode == HMACEnforce {
			return HMACMissing, 0
		}
		return Accepted, 0
	}
	var sender *hmacSender
	if h.unicast {
		if sender = h.sender(source); sender == nil {
			return SourceUnknown, 0
		}
	}
	t := a.Trailer
	if t[0] != hmacSHA256 || t[2] != 0 || t[3] != 0 {
		return HMACMalformed, 0
	}
	number := binary.BigEndian.Uint64(t[4:])
	var warn Warning
	if h.window > 0 {
		late := secondsAhead(h.clock, number)
		if h.outside(late) {
			return HMACStale, 0
		}
		if late > h.window/2 || late < -(h.window/2) {
			warn = ClockSkew
		}
	}
	k := h.key(t[1])
	if k == nil {
		return HMACUnknownKey, 0
	}
	want := h.value(k, a.Family, source, a.PDU, t[:hmacLen-hmacValueLen])
	if subtle.ConstantTimeCompare(t[hmacLen-hmacValueLen:], want) != 1 {
		return HMACWrong, 0
	}
	if sender == nil {
		sender = h.sender(source)
	}
	if !h.fresh(sender, number) {
		return HMACReplayed, 0
	}
	h.pending, h.number = sender, number
	return Accepted, warn
}

// sender finds the mark of a source. Among multicast senders the one not heard
// for longest makes room; of unicast ones there are the peers alone.
func (h *HMAC) sender(source netip.Addr) *hmacSender {
	oldest := &h.senders[0]
	h.uses++
	for n := range h.senders {
		s := &h.senders[n]
		if s.source == source {
			s.used = h.uses
			return s
		}
		if s.used < oldest.used {
			oldest = s
		}
	}
	if h.unicast {
		return nil
	}
	*oldest = hmacSender{source: source, used: h.uses}
	return oldest
}

// accept sets the mark of the advert that was checked last.
func (h *HMAC) accept() {
	if h != nil && h.pending != nil {
		h.pending.heard, h.pending.valid = h.number, true
	}
}

// fresh says whether a number is above the sender's mark. Where the time counts, a mark
// outside the window orders only what the window refuses anyway: dropping it
// lets a sender back in whose clock was set right.
func (h *HMAC) fresh(s *hmacSender, number uint64) bool {
	if s.valid && h.window > 0 && h.outside(secondsAhead(h.clock, s.heard)) {
		s.valid = false
	}
	return !s.valid || after(number, s.heard)
}
