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

// Unknown holds an instance in Initialize: a script that has not run yet.
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

// SourceChanged gives an instance the address that it sends from.
type SourceChanged struct {
	Instance InstanceID
	Source   netip.Addr
}

// Permit answers WantHold: the instance, and with it its group, may hold its
// addresses. Until zero is for ever; otherwise the right ends there unless
// another Permit extends it, and the Router then acts as on Revoke.
type Permit struct {
	Instance InstanceID
	Epoch    uint64
	Until    Instant
}

// Refuse answers WantHold: the instance stays Backup and starts its
// Active_Down_Timer with Retry.
type Refuse struct {
	Instance InstanceID
	Verdict  string
	Retry    time.Duration
}

// Revoke takes the right to hold away: an Active instance, with its group,
// shuts and goes to Backup.
type Revoke struct {
	Instance InstanceID
	Reason   string
}

// Takeover makes a Backup instance act as if its Active_Down_Timer had expired
// and Permit had been given: the veto found that the holder cannot serve.
type Takeover struct {
	Instance InstanceID
	Reason   string
}

// AddressLost says that an address, route or rule of an Active instance was
// deleted by somebody else, and goes unrepaired: the instance goes to Backup
// (keepalived's behaviour).
type AddressLost struct {
	Instance InstanceID
	What     string
}

// HoldFailed answers Hold: the kernel refused the addresses; the instance
// goes to Fault until Retry passes.
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
