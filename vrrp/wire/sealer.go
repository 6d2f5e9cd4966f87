package wire

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
)

// The reasons for which Open refuses a datagram. All but ErrMAC and ErrFormat
// come from the peer that holds the key.
var (
	ErrFormat  = errors.New("not a datagram of the second wire")
	ErrSender  = errors.New("sender is not this peer")
	ErrMAC     = errors.New("wrong MAC: the two nodes do not share a key")
	ErrOldBoot = errors.New("boot of the sender went back")
	ErrReplay  = errors.New("sequence was seen already, or is too old")
)

// Sealer seals datagrams to one peer and opens those that come from it.
type Sealer struct {
	self, peer [16]byte
	boot       uint64
	sequence   uint64
	mac        hash.Hash
	sum        [sha256.Size]byte

	peerBoot uint64
	advert   uint64 // highest sequence of an advert
	highest  uint64 // highest sequence of anything else
	window   uint64 // bit i: highest-i was seen
}

// NewSealer returns a sealer between two nodes. The key is of KeySize bytes
// and known to these two alone; boot is that of this daemon.
func NewSealer(key []byte, self, peer [16]byte, boot uint64) (*Sealer, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("key of %d bytes for the second wire, want %d", len(key), KeySize)
	}
	if self == peer {
		return nil, fmt.Errorf("sealer between %x and itself", self)
	}
	return &Sealer{self: self, peer: peer, boot: boot, mac: hmac.New(sha256.New, key)}, nil
}

// RequireBoot refuses boots of the peer below the one given, learnt on a path
// that cannot be replayed.
func (s *Sealer) RequireBoot(boot uint64) {
	if boot > s.peerBoot {
		s.renew(boot)
	}
}

func (s *Sealer) renew(boot uint64) {
	s.peerBoot = boot
	s.advert, s.highest, s.window = 0, 0, 0
}

// Append seals m behind dst. Sender, Boot and Sequence of its header are the
// sealer's. On an error, which wraps ErrMessage, dst comes back unchanged.
func (s *Sealer) Append(dst []byte, m *Message) ([]byte, error) {
	start := len(dst)
	h := Header{Type: m.Type, Sender: s.self, Boot: s.boot, Sequence: s.sequence + 1, Sent: m.Sent}
	b, err := appendBody(appendHeader(dst, &h), m)
	if err != nil {
		return dst, err
	}
	body := len(b) - start - headerSize
	binary.BigEndian.PutUint16(b[start+6:], uint16(body))
	s.sequence++
	return append(b, s.tag(b[start:])...), nil
}

func (s *Sealer) tag(b []byte) []byte {
	s.mac.Reset()
	s.mac.Write(b)
	return s.mac.Sum(s.sum[:0])[:macSize]
}

// Peek returns the sender that a datagram names, to find its sealer by.
// Nothing is authenticated yet.
func Peek(d []byte) (sender [16]byte, ok bool) {
	if len(d) < headerSize+macSize || len(d) > MaxSize || string(d[:4]) != magic || d[4] != version {
		return sender, false
	}
	return [16]byte(d[8:]), true
}

// Open authenticates a datagram of the peer, refuses it where it is not new,
// and decodes it into m. On an error m is undefined.
func (s *Sealer) Open(d []byte, m *Message) error {
	sender, ok := Peek(d)
	if !ok {
		return ErrFormat
	}
	if sender != s.peer {
		return ErrSender
	}
	body := d[:len(d)-macSize]
	if !hmac.Equal(s.tag(body), d[len(body):]) {
		return ErrMAC
	}
	if !decode(body, m) {
		return ErrFormat
	}
	return s.admit(&m.Header)
}

// admit keeps the replay windows; nothing unauthenticated gets here.
func (s *Sealer) admit(h *Header) error {
	switch {
	case h.Boot < s.peerBoot:
		return ErrOldBoot
	case h.Boot > s.peerBoot:
		s.renew(h.Boot)
	}
	if h.Sequence == 0 {
		return ErrReplay
	}
	if h.Type == TypeAdvert {
		if h.Sequence <= s.advert {
			return ErrReplay
		}
		s.advert = h.Sequence
		return nil
	}
	if h.Sequence > s.highest {
		s.window <<= min(h.Sequence-s.highest, 64)
		s.highest = h.Sequence
		s.window |= 1
		return nil
	}
	back := s.highest - h.Sequence
	if back >= 64 || s.window&(1<<back) != 0 {
		return ErrReplay
	}
	s.window |= 1 << back
	return nil
}
