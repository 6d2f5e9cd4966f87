package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"
)

const (
	magic      = "KMW2"
	version    = 1
	headerSize = 48
	macSize    = 16
)

// ErrMessage marks a message that cannot be encoded: a wrong value in it.
var ErrMessage = errors.New("message out of range")

func appendHeader(b []byte, h *Header) []byte {
	b = append(b, magic...)
	b = append(b, version, byte(h.Type), 0, 0)
	b = append(b, h.Sender[:]...)
	b = binary.BigEndian.AppendUint64(b, h.Boot)
	b = binary.BigEndian.AppendUint64(b, h.Sequence)
	return binary.BigEndian.AppendUint64(b, h.Sent)
}

func appendBody(b []byte, m *Message) ([]byte, error) {
	b, err := appendTag(b, &m.Tag)
	if err != nil {
		return b, err
	}
	switch m.Type {
	case TypeAdvert:
		us := m.Advert.Interval / time.Microsecond
		if us < 0 || us > math.MaxUint32 {
			return b, fmt.Errorf("%w: interval %v", ErrMessage, m.Advert.Interval)
		}
		b = append(b, m.Advert.Priority)
		b = binary.BigEndian.AppendUint32(b, uint32(us))
		return appendAddr(b, m.Advert.Source), nil
	case TypeQuery:
		b = binary.BigEndian.AppendUint64(b, m.Nonce)
		return append(b, m.Query.About[:]...), nil
	case TypeAnswer:
		a := &m.Answer
		if a.Kind > Unfit {
			return b, fmt.Errorf("%w: answer kind %d", ErrMessage, a.Kind)
		}
		b = binary.BigEndian.AppendUint64(b, m.Nonce)
		b = append(b, byte(a.Kind), boolByte(a.Candidate), a.Priority)
		b = binary.BigEndian.AppendUint64(b, age(a.AdvertAge))
		b = binary.BigEndian.AppendUint64(b, age(a.LANHeard))
		return appendAddr(b, a.Source), nil
	case TypeUnheard, TypeYield, TypeInsist:
		return binary.BigEndian.AppendUint64(b, m.Nonce), nil
	}
	return b, fmt.Errorf("%w: type %d", ErrMessage, m.Type)
}

func appendTag(b []byte, t *Tag) ([]byte, error) {
	if t.Family != 4 && t.Family != 6 || t.VRID == 0 || len(t.Addresses) > MaxAddresses {
		return b, fmt.Errorf("%w: tag of family %d, VRID %d, %d addresses", ErrMessage, t.Family, t.VRID, len(t.Addresses))
	}
	b = append(b, t.Family, t.VRID)
	b = binary.BigEndian.AppendUint64(b, t.Digest)
	b = append(b, byte(len(t.Addresses)))
	for _, a := range t.Addresses {
		b = appendAddr(b, a)
	}
	return b, nil
}

// appendAddr writes the length and the bytes; zones stay at home.
func appendAddr(b []byte, a netip.Addr) []byte {
	switch {
	case !a.IsValid():
		return append(b, 0)
	case a.Is4():
		x := a.As4()
		return append(append(b, 4), x[:]...)
	}
	x := a.As16()
	return append(append(b, 16), x[:]...)
}

func boolByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// age carries Never as all ones.
func age(d time.Duration) uint64 {
	if d < 0 {
		return math.MaxUint64
	}
	return uint64(d)
}
