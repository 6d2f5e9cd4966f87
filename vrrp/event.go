package vrrp

import (
	"net/netip"
	"time"
)

// Event is something that happened to the Router. The set is closed. Events
// are passed by pointer so that a shell can reuse one value per kind: the
// Router keeps no reference to an event after Step returns.
type Event interface{ event() }

// Start opens the Router: instances leave Initialize once their trackers are
// known.
type Start struct{}

// Tick says that the clock has reached, or passed, the published Deadline.
type Tick struct{}

// Advert is a received advertisement that has passed every check of its
// packet: it is for Instance, and may move its state machine.
type Advert struct {
	Instance InstanceID
	Wire     Wire
	Source   netip.Addr // the sender's primary address, also on the second wire
	Priority uint8
	Interval time.Duration // as sent
}

// TrackerState is what is known of a tracked condition.
type TrackerState uint8

// Unknown is a condition that nobody has reported yet, such as a script that has
// not run. Where the tracker has weight 0 it holds an instance in Initialize or
// Fault, but takes nobody out of Backup or Active; a weighted one adds nothing
// and holds nobody (keepalived).
const (
	Unknown TrackerState = iota
	Down
	Up
)

// TrackerChanged reports a tracked condition: a script's result, a link, a
// file's value, maintenance. A tracker nobody has reported is Unknown.
type TrackerChanged struct {
	ID    TrackerID
	State TrackerState
	Value int    // for Track.Value trackers
	Cause string // for people: "exit 1, 2 of 2"
}

// SourceChanged gives an instance the address that it sends from. An invalid
// Source says that there is none: the instance goes to Fault. Until the first
// one an instance without a configured Source waits in Initialize.
type SourceChanged struct {
	Instance InstanceID
	Source   netip.Addr
}

// Permit answers WantHold: the instance, and with it its group, may hold its
// addresses. Until zero is for ever; otherwise the right ends there unless
// another Permit extends it, and the Router then acts as on Revoke. A Permit
// whose Until has passed, and one that nobody waits for, change nothing. It may
// name any member of the group.
type Permit struct {
	Instance InstanceID
	Epoch    uint64
	Until    Instant
}

// Refuse answers WantHold: the instance stays Backup and starts its
// Active_Down_Timer with Retry, or with the Active_Down_Interval where Retry is
// not positive. The Verdict is shown until an advert is accepted.
type Refuse struct {
	Instance InstanceID
	Verdict  string
	Retry    time.Duration
}

// Revoke takes the right to hold away: an Active instance, with its group,
// resigns with priority 0, lets its addresses go and enters Backup with the full
// Active_Down_Timer. In Backup it takes a question back that is out.
type Revoke struct {
	Instance InstanceID
	Reason   string
}

// Takeover makes a Backup instance act as if its Active_Down_Timer had expired
// and Permit had been given: the veto found that the holder cannot serve. In a
// sync group the members must still all want to be Active: give each its own
// Takeover.
type Takeover struct {
	Instance InstanceID
	Reason   string
}

// AddressLost says that an address, route or rule of an Active instance was
// deleted by somebody else, and goes unrepaired: the instance, with its group,
// resigns and enters Backup with Skew_Time as its timer, so that it comes back
// unless another router is there (keepalived's behaviour).
type AddressLost struct {
	Instance InstanceID
	What     string
}

// HoldFailed answers Hold: the kernel refused the addresses; the instance
// goes to Fault until Retry passes (its Active_Down_Interval where Retry is not
// positive).
type HoldFailed struct {
	Instance InstanceID
	Reason   string
	Retry    time.Duration
}

// Stop ends the Router: Active instances resign with priority 0 and let their
// addresses go.
type Stop struct{}

func (*Start) event()          {}
func (*Tick) event()           {}
func (*Advert) event()         {}
func (*TrackerChanged) event() {}
func (*SourceChanged) event()  {}
func (*Permit) event()         {}
func (*Refuse) event()         {}
func (*Revoke) event()         {}
func (*Takeover) event()       {}
func (*AddressLost) event()    {}
func (*HoldFailed) event()     {}
func (*Stop) event()           {}
