package veto

import (
	"net/netip"
	"time"
)

// Action is something that the shell must do. The set is closed. Step returns
// actions in the order in which they must be carried out:
//
//   - Permit, Refuse or Takeover stands first, so that nothing delays it;
//   - Shut stands before every SendYield of the same Step: a holder has let go
//     when it says so;
//   - VerdictChanged stands before the Alarm that explains it;
//   - Ask stands before the Probe of the same round.
//
// The slice and what its elements point to are the caller's.
type Action interface{ action() }

// Permit answers WantHold: for ever, as VRRP itself would.
type Permit struct{ Reason string }

// Refuse answers WantHold: the Router asks again after Retry.
type Refuse struct {
	Verdict Verdict
	Retry   time.Duration
}

// Takeover makes the Router, held back by adverts on the mesh, take over now.
type Takeover struct{ Reason string }

// Ask sends the question to the members named, in one datagram each. About is
// the holder in question, zero where it is not known.
type Ask struct {
	To    []NodeID
	Nonce uint64
	About NodeID
}

// Probe asks the LAN, by ARP with sender 0.0.0.0 or by neighbour solicitation,
// for the instance's addresses, the gateway and any neighbour, repeated within
// the time given so that one lost frame decides nothing. Canary adds an address
// that nobody has. It is answered by ProbeResult before Within has passed.
type Probe struct {
	Round  uint64
	Within time.Duration
	Canary bool
}

// SendAnswer answers a Query.
type SendAnswer struct {
	To        NodeID
	Nonce     uint64
	Kind      AnswerKind
	AdvertAge time.Duration
	Priority  uint8
	Source    netip.Addr
	Candidate bool
	LANHeard  time.Duration
}

// SendUnheard tells the holder that its address is silent on the LAN.
type SendUnheard struct {
	To    NodeID
	Nonce uint64
}

// SendYield tells a member that the addresses are let go.
type SendYield struct {
	To    NodeID
	Nonce uint64
}

// SendInsist tells a member that the own LAN works and the holder stays.
type SendInsist struct {
	To    NodeID
	Nonce uint64
}

// TestLAN asks for a test of the own LAN: does the gateway or any neighbour
// answer? It is answered by LANTested before Within has passed; without a
// result it counts as impossible.
type TestLAN struct {
	Round  uint64
	Within time.Duration
}

// Shut takes the instance into FAULT (a tracker that fails) until Reopen: its
// addresses reach nobody. The Router resigns with priority 0.
type Shut struct{ Reason string }

// Reopen ends Shut.
type Reopen struct{}

// VerdictChanged reports what the machine makes of the silence on the LAN.
type VerdictChanged struct{ From, To Verdict }

func (*Permit) action()         {}
func (*Refuse) action()         {}
func (*Takeover) action()       {}
func (*Ask) action()            {}
func (*Probe) action()          {}
func (*SendAnswer) action()     {}
func (*SendUnheard) action()    {}
func (*SendYield) action()      {}
func (*SendInsist) action()     {}
func (*TestLAN) action()        {}
func (*Shut) action()           {}
func (*Reopen) action()         {}
func (*VerdictChanged) action() {}
func (*Alarm) action()          {}
