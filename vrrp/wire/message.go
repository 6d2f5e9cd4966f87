package wire

import (
	"net/netip"
	"slices"
	"time"
)

// Sizes of a datagram in bytes. MaxSize fits every path with IPv6's least MTU.
const (
	MaxSize = 1200
	KeySize = 32
	// MaxAddresses is how many of an instance's addresses a tag carries; the
	// digest covers all.
	MaxAddresses = 32
)

// Type says what a datagram carries.
type Type uint8

// The types.
const (
	TypeAdvert Type = iota + 1
	TypeQuery
	TypeAnswer
	TypeUnheard
	TypeYield
	TypeInsist
)

// String names the type.
func (t Type) String() string {
	switch t {
	case TypeAdvert:
		return "advert"
	case TypeQuery:
		return "query"
	case TypeAnswer:
		return "answer"
	case TypeUnheard:
		return "unheard"
	case TypeYield:
		return "yield"
	case TypeInsist:
		return "insist"
	}
	return "unknown"
}

// Message is one datagram in the open. Of the parts after Tag, those of its
// Type count. One value may be used for every Open: its addresses are reused.
type Message struct {
	Header
	Tag    Tag
	Advert Advert
	Query  Query
	Answer Answer
	Nonce  uint64 // Query, Answer, Unheard, Yield, Insist
}

// Header is filled by Open; Append takes only Type and Sent from it.
type Header struct {
	Type     Type
	Sender   [16]byte
	Boot     uint64
	Sequence uint64
	// Sent is the sender's monotonic clock in nanoseconds when it sealed. Two
	// values of one sender and boot may be subtracted, nothing else.
	Sent uint64
}

// Tag names an instance between nodes that share a VRID and, if they are
// configured alike, its addresses.
type Tag struct {
	Family    uint8 // 4 or 6: of the adverts
	VRID      uint8 // 1 to 255
	Digest    uint64
	Addresses []netip.Addr // the first MaxAddresses, sorted
}

// Relation says how a received tag stands to an own instance.
type Relation uint8

// The relations. Differs: the VRID is the same and no address is, so the two
// configurations differ and the answer is Unknown. Overlaps is the same
// instance in the middle of a change.
const (
	Other Relation = iota
	Differs
	Overlaps
	Same
)

// NewTag makes the tag of an instance from its advertised addresses, in any
// order.
func NewTag(family, vrid uint8, addresses []netip.Addr) Tag {
	all := slices.Clone(addresses)
	for i := range all {
		all[i] = all[i].Unmap().WithZone("")
	}
	slices.SortFunc(all, netip.Addr.Compare)
	all = slices.Compact(all)
	t := Tag{Family: family, VRID: vrid, Digest: digest(all)}
	t.Addresses = all[:min(len(all), MaxAddresses)]
	return t
}

// digest is FNV-1a of 64 bits over the sorted addresses, each with its length.
func digest(sorted []netip.Addr) uint64 {
	h := uint64(14695981039346656037)
	add := func(b byte) { h = (h ^ uint64(b)) * 1099511628211 }
	for _, a := range sorted {
		b := a.AsSlice()
		add(byte(len(b)))
		for _, x := range b {
			add(x)
		}
	}
	return h
}

// Compare says how the received tag stands to the own one. Of instances with
// more than MaxAddresses addresses only the first of each are compared.
func (own *Tag) Compare(received *Tag) Relation {
	switch {
	case own.Family != received.Family || own.VRID != received.VRID:
		return Other
	case own.Digest == received.Digest:
		return Same
	}
	for _, a := range own.Addresses {
		if slices.Contains(received.Addresses, a) {
			return Overlaps
		}
	}
	return Differs
}

// Advert is a VRRP advertisement on the second wire, sent after the copy on
// the LAN. Priority 0 resigns.
type Advert struct {
	Priority uint8
	Interval time.Duration // whole microseconds, up to 71 minutes
	Source   netip.Addr    // the sender's primary address of the instance
}

// Query asks a member for its state. About is the holder in question, zero
// where the asker does not know it.
type Query struct {
	About [16]byte
}

// AnswerKind is what a member says of itself; Unknown stands for no such
// instance, and for one with no address in common.
type AnswerKind uint8

// The kinds.
const (
	Unknown AnswerKind = iota
	Holding
	NotHolding
	Unfit
)

// Never is the age of what has not happened.
const Never time.Duration = -1

// Answer answers Query.
type Answer struct {
	Kind      AnswerKind
	Candidate bool // would take over now
	Priority  uint8
	// AdvertAge is the time since the member's last advert was handed to its
	// kernel on the LAN, LANHeard since it last heard an advert of the holder
	// in question on the LAN; Never, or zero and above.
	AdvertAge, LANHeard time.Duration
	Source              netip.Addr
}
