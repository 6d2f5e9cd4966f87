package wire

import (
	"encoding/binary"
	"math"
	"net/netip"
	"time"
)

// reader takes a body apart; after the first shortage everything reads as
// zero and short stays set.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if len(r.b) < n {
		r.short, r.b = true, nil
		return zeroes[:n]
	}
	x := r.b[:n]
	r.b = r.b[n:]
	return x
}

var zeroes [16]byte

func (r *reader) byte() uint8    { return r.take(1)[0] }
func (r *reader) uint32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) uint64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

func (r *reader) addr() netip.Addr {
	switch r.byte() {
	case 0:
		return netip.Addr{}
	case 4:
		return netip.AddrFrom4([4]byte(r.take(4)))
	case 16:
		return netip.AddrFrom16([16]byte(r.take(16)))
	}
	r.short = true
	return netip.Addr{}
}

func (r *reader) age() time.Duration {
	if v := r.uint64(); v <= math.MaxInt64 {
		return time.Duration(v)
	}
	return Never
}

// decode reads an authenticated datagram without its MAC.
func decode(d []byte, m *Message) bool {
	decodeHeader(d, &m.Header)
	r := reader{b: d[headerSize:]}
	if int(binary.BigEndian.Uint16(d[6:])) != len(r.b) {
		return false
	}
	decodeTag(&r, &m.Tag)
	m.Nonce = 0
	switch m.Type {
	case TypeAdvert:
		m.Advert = Advert{
			Priority: r.byte(),
			Interval: time.Duration(r.uint32()) * time.Microsecond,
			Source:   r.addr(),
		}
	case TypeQuery:
		m.Nonce = r.uint64()
		m.Query = Query{About: [16]byte(r.take(16))}
	case TypeAnswer:
		m.Nonce = r.uint64()
		m.Answer = Answer{
			Kind:      AnswerKind(r.byte()),
			Candidate: r.byte() == 1,
			Priority:  r.byte(),
			AdvertAge: r.age(),
			LANHeard:  r.age(),
			Source:    r.addr(),
		}
		if m.Answer.Kind > Unfit {
			return false
		}
	case TypeUnheard, TypeYield, TypeInsist:
		m.Nonce = r.uint64()
	default:
		return false
	}
	return !r.short && len(r.b) == 0
}

func decodeHeader(d []byte, h *Header) {
	h.Type = Type(d[5])
	h.Sender = [16]byte(d[8:])
	h.Boot = binary.BigEndian.Uint64(d[24:])
	h.Sequence = binary.BigEndian.Uint64(d[32:])
	h.Sent = binary.BigEndian.Uint64(d[40:])
}

func decodeTag(r *reader, t *Tag) {
	t.Family, t.VRID, t.Digest = r.byte(), r.byte(), r.uint64()
	t.Addresses = t.Addresses[:0]
	n := int(r.byte())
	if n > MaxAddresses || t.Family != 4 && t.Family != 6 || t.VRID == 0 {
		r.short = true
		return
	}
	for range n {
		a := r.addr()
		if !a.IsValid() {
			r.short = true
			return
		}
		t.Addresses = append(t.Addresses, a)
	}
}
