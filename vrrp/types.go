package vrrp

import (
	"net/netip"
	"time"
)

// Instant is a point on the monotonic clock in nanoseconds since an arbitrary
// origin. The zero Instant means "never" where a deadline is meant.
type Instant int64

// Add returns the instant d later.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d) }

// Sub returns the time from o to i.
func (i Instant) Sub(o Instant) time.Duration { return time.Duration(i - o) }

// InstanceID names an instance within one Router. It is given out by
// [Router.Prepare], stays the same for an instance that survives a reload, and
// is small, so that a shell may index a slice with it.
type InstanceID int32

// GroupID names a sync group within one Router; NoGroup is an instance's own.
type GroupID int32

// NoGroup is the GroupID of an instance that belongs to no sync group.
const NoGroup GroupID = -1

// TrackerID names a tracked condition, for example "script:chk_nginx",
// "link:eth0" or "source:VI_1". What it means is the shell's business.
type TrackerID string

// State is the state of an instance or of a sync group.
type State uint8

// The states. Fault and Stopped are both RFC 9568's Initialize; keepalived,
// its scripts and its dumps tell them apart.
const (
	Initialize State = iota
	Backup
	Active
	Fault
	Stopped
)

// String returns keepalived's word for the state.
func (s State) String() string {
	switch s {
	case Initialize:
		return "INIT"
	case Backup:
		return "BACKUP"
	case Active:
		return "MASTER"
	case Fault:
		return "FAULT"
	case Stopped:
		return "STOP"
	}
	return "UNKNOWN"
}

// Owner is the priority of the address owner (RFC 9568 section 5.2.4).
const Owner = 255

// Wire is the path on which an advertisement came in.
type Wire uint8

// LAN is VRRP's own path, multicast or unicast. Mesh is the second wire: the
// same advertisement carried between joined nodes.
const (
	LAN Wire = iota
	Mesh
)

// Key is what makes an instance the same instance after a reload.
type Key struct {
	Family    uint8 // 4 or 6: the family of the adverts
	VRID      uint8
	Interface string
	Unicast   bool
	Source    netip.Addr // configured source, zero where it follows the interface
	// Barred names an instance that must stay in Fault, because another has its
	// VRID or because it has no peer: it shares no identity with any other, and
	// a tracker that stays Down says why.
	Barred string
}

// Config is the whole desired state of a Router.
type Config struct {
	Instances []InstanceConfig
	Groups    []GroupConfig
	// StartupDelay is the time after Start during which adverts are ignored and
	// no timer runs: instances wait for its end in Backup, an address owner too
	// (vrrp_startup_delay).
	StartupDelay time.Duration
}

// InstanceConfig is one virtual router. Durations have microsecond resolution
// at most on the wire side; priorities are 1 to 255.
type InstanceConfig struct {
	Name string
	Key  Key

	Version        uint8 // 2 or 3
	Priority       uint8 // configured priority; Owner never changes
	WantActive     bool  // `state MASTER`; it decides nothing here, the start is the same
	AdvertInterval time.Duration
	// DownTimerAdverts is the number of silent intervals before the Active
	// router is taken for dead (3 in RFC 9568 section 6.1).
	DownTimerAdverts int

	NoPreempt    bool
	PreemptDelay time.Duration

	HigherPrioSendAdvert bool // one advert before yielding to a higher priority
	LowerPrioNoAdvert    bool // do not answer a lower-priority advert

	// TimerExpiredBackup is the highest priority of the other routers, 0 for
	// off: an Active router whose Adver_Timer is served so late that one of them
	// must have taken over enters Backup without another advert
	// (timer_expired_backup; of use with NoPreempt only).
	TimerExpiredBackup uint8

	// Source is the address that adverts are sent from; it decides between
	// equal priorities. It may be invalid until the shell reports it by
	// SourceChanged.
	Source netip.Addr

	Announce AnnounceConfig
	Trackers []Track

	// AskPermit makes the Router emit WantHold and wait for Permit or Refuse
	// instead of opening at once.
	AskPermit bool
}

// AnnounceConfig says how often an Active router announces its addresses by
// gratuitous ARP or unsolicited neighbour advertisements.
type AnnounceConfig struct {
	Repeat          int           // per set, on becoming Active
	Delay           time.Duration // before the second set; 0: no second set
	Refresh         time.Duration // periodic refresh while Active; 0: none
	RefreshRepeat   int
	LowerPrioRepeat int           // per set, after a lower-priority advert
	LowerPrioDelay  time.Duration // before its second set; 0: none
}

// Track binds a tracker to an instance or a group. Weight 0 means that the
// condition being down puts the instance into Fault. Reverse follows
// keepalived: for a weight it negates the amount, for weight 0 the condition.
type Track struct {
	ID      TrackerID
	Weight  int
	Reverse bool
	// Value says that the tracker carries a number (track_file): the number
	// times Weight is added to the priority.
	Value bool
}

// GroupConfig is a sync group: its members change state together.
type GroupConfig struct {
	Name    string
	Members []string // instance names
	// TrackWeights keeps weighted trackers on the members
	// (sync_group_tracking_weight). Without it, and with an address owner among
	// them, the Router drops weighted trackers of the members, except that a
	// Value tracker of weight 1 or -1 gets weight 0. keepalived gives interfaces
	// weight 0 as well: what a tracker is the Router does not know, so whoever
	// builds the configuration has to do that.
	TrackWeights bool
	Trackers     []Track
}
