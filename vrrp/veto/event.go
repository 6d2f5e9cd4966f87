package veto

import (
	"encoding/hex"
	"net/netip"
	"time"

	"github.com/keepmesh/keepmesh/vrrp"
)

// NodeID names a node of the mesh: its UUID.
type NodeID [16]byte

// String returns the identifier in hexadecimal.
func (n NodeID) String() string { return hex.EncodeToString(n[:]) }

// Event is something that happened to the machine. The set is closed. Events
// are passed by pointer; the machine keeps no reference after Step returns.
type Event interface{ event() }

// Tick says that the clock has reached, or passed, the published Deadline.
type Tick struct{}

// Timers gives the advertisement interval in force (learnt, in version 3) and
// the own skew: at the start and with every change of either.
type Timers struct {
	Interval time.Duration // A
	Skew     time.Duration // S
}

// Self reports the own instance: at the start, on every change of state, and
// when the effective priority or the source address changes. On becoming
// Active it comes after the AdvertSent of the first advert.
type Self struct {
	State    vrrp.State
	Priority uint8
	Source   netip.Addr
}

// AdvertSent says that an advert of the own instance was handed to the kernel
// on the LAN without an error.
type AdvertSent struct{}

// Advert is a received advertisement that has passed every check, as it is
// also given to the Router. From names the sender of an advert on the mesh and
// is zero on the LAN, where adverts name nobody.
type Advert struct {
	Wire     vrrp.Wire
	From     NodeID
	Source   netip.Addr
	Priority uint8 // 0: the sender resigns
}

// FrameHeard says that a frame which is not our own was received on the LAN:
// an ARP packet, a neighbour advertisement or solicitation, or an advert. An
// Advert on the LAN implies it.
type FrameHeard struct{}

// WantHold passes the Router's question on. It is answered in the same Step.
type WantHold struct{ Preempt bool }

// PeerFit reports what the mesh knows of a member: able to hold the instance,
// or not (gone, in FAULT, in maintenance). A member is fit until reported.
type PeerFit struct {
	Node NodeID
	Fit  bool
}

// Query is a member's question, to be answered whatever the own state.
type Query struct {
	From  NodeID
	Nonce uint64
	About NodeID // the holder in question, zero where it is not known
}

// AnswerKind is what a member says of itself.
type AnswerKind uint8

// The answers. UnknownKind stands for a member that has no such instance, or
// one with the same VRID and no address in common.
const (
	UnknownKind AnswerKind = iota
	Holding                // Active
	NotHolding             // Backup
	UnfitKind              // FAULT, INIT, STOP
)

// Never is the age of something that has not happened.
const Never time.Duration = -1

// Answer is a member's answer to Ask.
type Answer struct {
	From      NodeID
	Nonce     uint64
	Kind      AnswerKind
	AdvertAge time.Duration // since its last advert reached its kernel on the LAN; Never
	Priority  uint8         // effective
	Source    netip.Addr    // of its adverts; of an unknown instance: of the one with the same VRID, if any
	Candidate bool          // would take over now
	LANHeard  time.Duration // since it last heard the holder in question on the LAN; Never
}

// ProbeResult answers Probe, within its time; it may come more than once for
// one Round, and what it says adds up.
type ProbeResult struct {
	Round     uint64
	Usable    bool // false: no address on-link, no socket, link down by configuration
	VIP       bool // an answer for an address of the instance
	Neighbour bool // an answer from the gateway or from any neighbour
	Nobody    bool // an answer for the address nobody has: the network answers ARP
}

// Unheard says that a member finds the own address silent on the LAN.
type Unheard struct {
	From  NodeID
	Nonce uint64
}

// Yield is the holder's answer to SendUnheard: it has let the addresses go.
type Yield struct {
	From  NodeID
	Nonce uint64
}

// Insist is the holder's answer to SendUnheard: its LAN works, it stays.
type Insist struct {
	From  NodeID
	Nonce uint64
}

// TestOutcome is the result of a test of the own LAN.
type TestOutcome uint8

// The outcomes. TestImpossible: there is nobody on the LAN to ask.
const (
	TestImpossible TestOutcome = iota
	TestPassed
	TestFailed
)

// LANTested answers TestLAN.
type LANTested struct {
	Round   uint64
	Outcome TestOutcome
}

func (*Tick) event()        {}
func (*Timers) event()      {}
func (*Self) event()        {}
func (*AdvertSent) event()  {}
func (*Advert) event()      {}
func (*FrameHeard) event()  {}
func (*WantHold) event()    {}
func (*PeerFit) event()     {}
func (*Query) event()       {}
func (*Answer) event()      {}
func (*ProbeResult) event() {}
func (*Unheard) event()     {}
func (*Yield) event()       {}
func (*Insist) event()      {}
func (*LANTested) event()   {}
