package bfd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// State is a session's state (RFC 5880 section 4.1).
type State uint8

// The states, with their numbers on the wire.
const (
	AdminDown State = iota
	Down
	Init
	Up
)

// String is the word that keepalived logs.
func (s State) String() string {
	return [...]string{"AdminDown", "Down", "Init", "Up"}[s&3]
}

// Diag says why a session was left (RFC 5880 section 4.1).
type Diag uint8

// The diagnostics that this package gives.
const (
	NoDiag        Diag = 0
	TimeExpired   Diag = 1
	NeighborDown  Diag = 3
	AdminDownDiag Diag = 7
)

const (
	highestDiag    = 31
	packetLength   = 24     // without authentication
	versionAndDiag = 1 << 5 // version 1
)

// String is a few words for people.
func (d Diag) String() string {
	switch d {
	case NoDiag:
		return "no diagnostic"
	case TimeExpired:
		return "nothing was heard for the detection time"
	case NeighborDown:
		return "the neighbour signalled that the session is down"
	case AdminDownDiag:
		return "switched off by an administrator"
	}
	return fmt.Sprintf("diagnostic %d", uint8(d))
}

// Packet is a BFD Control packet without authentication section.
type Packet struct {
	Diag              Diag
	State             State
	Poll, Final       bool
	Independent       bool // C: the control plane may die alone
	Demand            bool
	Multiplier        uint8
	Mine, Yours       uint32 // discriminators
	DesiredMinTx      time.Duration
	RequiredMinRx     time.Duration
	RequiredMinEchoRx time.Duration
}

// ErrDiscarded marks packets that RFC 5880 section 6.8.6 has thrown away.
var ErrDiscarded = errors.New("BFD packet discarded")

func discarded(format string, a ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrDiscarded}, a...)...)
}

// Append encodes p behind b. Durations are cut to whole microseconds, and to
// what 32 bits hold.
func Append(b []byte, p *Packet) []byte {
	flags := byte(p.State&3) << 6
	for _, f := range [...]struct {
		on  bool
		bit byte
	}{{p.Poll, 1 << 5}, {p.Final, 1 << 4}, {p.Independent, 1 << 3}, {p.Demand, 1 << 1}} {
		if f.on {
			flags |= f.bit
		}
	}
	b = append(b, versionAndDiag|byte(p.Diag&highestDiag), flags, p.Multiplier, packetLength)
	for _, v := range [...]uint32{p.Mine, p.Yours, micros(p.DesiredMinTx), micros(p.RequiredMinRx), micros(p.RequiredMinEchoRx)} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

func micros(d time.Duration) uint32 {
	return uint32(min(max(d.Microseconds(), 0), 1<<32-1))
}

// Parse decodes a packet and checks what can be checked without a session. Its
// errors are ErrDiscarded, with the reason. The comments quote RFC 5880
// section 6.8.6.
func Parse(b []byte) (Packet, error) {
	var p Packet
	if len(b) < packetLength {
		return p, discarded("%d bytes are too few", len(b))
	}
	length := int(b[3])
	switch {
	case b[0]>>5 != 1:
		// "If the version number is not correct (1), the packet MUST be discarded."
		return p, discarded("version %d", b[0]>>5)
	case b[1]&1 != 0:
		// "If the Multipoint (M) bit is nonzero, the packet MUST be discarded."
		return p, discarded("the multipoint bit is set")
	case b[1]&(1<<2) != 0:
		// "If the A bit is set and no authentication is in use (bfd.AuthType is
		// zero), the packet MUST be discarded."
		return p, discarded("it is authenticated, this side is not")
	case length < packetLength:
		// "If the Length field is less than the minimum correct value (24 if the
		// A bit is clear, or 26 if the A bit is set), the packet MUST be discarded."
		return p, discarded("the length field says %d", length)
	case length > len(b):
		// "If the Length field is greater than the payload of the encapsulating
		// protocol, the packet MUST be discarded."
		return p, discarded("the length field says %d of %d bytes", length, len(b))
	case b[2] == 0:
		// "If the Detect Mult field is zero, the packet MUST be discarded."
		return p, discarded("the detection multiplier is 0")
	}
	p = Packet{
		Diag: Diag(b[0] & highestDiag), State: State(b[1] >> 6), Poll: b[1]&(1<<5) != 0, Final: b[1]&(1<<4) != 0,
		Independent: b[1]&(1<<3) != 0, Demand: b[1]&(1<<1) != 0, Multiplier: b[2],
		Mine: binary.BigEndian.Uint32(b[4:]), Yours: binary.BigEndian.Uint32(b[8:]),
		DesiredMinTx: duration(b[12:]), RequiredMinRx: duration(b[16:]), RequiredMinEchoRx: duration(b[20:]),
	}
	switch {
	case p.Mine == 0:
		// "If the My Discriminator field is zero, the packet MUST be discarded."
		return p, discarded("its discriminator is 0")
	case p.Yours == 0 && p.State != Down && p.State != AdminDown:
		// "If the Your Discriminator field is zero and the State field is not
		// Down or AdminDown, the packet MUST be discarded."
		return p, discarded("it names no session and is %s", p.State)
	}
	return p, nil
}

func duration(b []byte) time.Duration {
	return time.Duration(binary.BigEndian.Uint32(b)) * time.Microsecond
}
