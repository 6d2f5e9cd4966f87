package vrrp

import "net/netip"

// Action is something that the shell must do. The set is closed. Step returns
// actions in the order in which they must be carried out; that order is part
// of the contract:
//
//   - on becoming Active: SendAdvert, Hold, Announce, StateChanged, for each
//     member of the group in turn (all SendAdvert of one Step may be sent in
//     one batch before the first Hold);
//   - on leaving Active: every SendAdvert with priority 0 of the group, then
//     every Release, then every StateChanged. Stop, removal, Revoke and
//     AddressLost send one for each member; a fault sends two for the member
//     at fault and one for the others (keepalived 2.2.7 on the wire); yielding
//     to another router sends none;
//   - StateChanged of the members before GroupChanged of their group, except
//     for the BACKUP at the start, which comes first as with keepalived.
//
// The slice and what its elements point to are valid until the next call.
type Action interface{ action() }

// SendAdvert sends one advertisement of the instance with the priority given;
// 0 resigns (RFC 9568 section 6.4.3).
type SendAdvert struct {
	Instance InstanceID
	Priority uint8
}

// Hold puts the instance's addresses, routes and rules into the kernel. A
// failure is answered by HoldFailed.
type Hold struct{ Instance InstanceID }

// Release takes the instance's addresses, routes and rules out of the kernel.
// It is also emitted once on entering Backup or Fault from Initialize, to
// remove what a dead run left.
type Release struct{ Instance InstanceID }

// Announce sends Repeat rounds of gratuitous ARP or unsolicited neighbour
// advertisements for every address of the instance.
type Announce struct {
	Instance InstanceID
	Repeat   int
}

// WantHold asks for the right to hold: the Active_Down_Timer of the instance
// has expired, and its group would follow. It is answered by Permit or Refuse;
// without an answer it is repeated after Skew_Time. An advert that keeps any
// member in Backup takes the question back: a Permit that comes later opens
// nothing.
type WantHold struct {
	Instance InstanceID
	Group    GroupID // NoGroup for a lone instance
	Preempt  bool    // adverts of a lower priority are being heard
}

// StateChanged reports a transition; notifications are made from it.
type StateChanged struct {
	Instance InstanceID
	From, To State
	Priority uint8 // effective
	Reason   string
}

// GroupChanged reports a transition of a sync group.
type GroupChanged struct {
	Group    GroupID
	From, To State
	Reason   string
}

// PriorityChanged reports a new effective priority.
type PriorityChanged struct {
	Instance InstanceID
	From, To uint8
	Reason   string
}

// NoteKind says what a Note is about.
type NoteKind uint8

// The notes. Each is something that an operator may want to see, and that
// changes no state.
const (
	LowerPriorityDiscarded NoteKind = iota // Backup heard a lower priority and lets its timer run
	LowerPriorityRejected                  // Active heard a lower priority and stays (MASTER_RX_LOWER_PRI)
	SameAddress                            // equal priority and equal source address
	PreemptDelayed
	GroupNotReady // the group's other members do not want to be Active yet
	IntervalLearnt
	TwoOwners // priority 255 heard by an Active address owner: two routers are configured as the owner
)

// Note reports something that changes no state.
type Note struct {
	Instance InstanceID
	Kind     NoteKind
	Wire     Wire
	Priority uint8
	Source   netip.Addr // of the advert it is about; invalid where there is none
}

func (*SendAdvert) action()      {}
func (*Hold) action()            {}
func (*Release) action()         {}
func (*Announce) action()        {}
func (*WantHold) action()        {}
func (*StateChanged) action()    {}
func (*GroupChanged) action()    {}
func (*PriorityChanged) action() {}
func (*Note) action()            {}
