package config

import (
	"net/netip"
	"time"
)

// State is the configured initial state of an instance.
type State int

const (
	StateUnset State = iota
	Backup
	Master
)

func (s State) String() string {
	switch s {
	case Backup:
		return "BACKUP"
	case Master:
		return "MASTER"
	case StateUnset:
	}
	return ""
}

// Family is the address family of an instance's adverts.
type Family int

const (
	FamilyUnset Family = 0
	IPv4        Family = 4
	IPv6        Family = 6
)

// AuthType is the VRRPv2 authentication of RFC 2338.
type AuthType int

const (
	AuthNone AuthType = iota
	AuthPass
	AuthAH
)

// Auth is an authentication block. Pass holds at most 8 bytes.
type Auth struct {
	Type AuthType
	Pass string
}

// Track is one line of a track_... block.
type Track struct {
	Name      string
	Weight    int
	HasWeight bool
	Reverse   bool
	Pos       Pos
}

// Tracking is what an instance or a group watches.
type Tracking struct {
	TrackInterfaces []Track
	TrackScripts    []Track
	TrackFiles      []Track
	TrackProcesses  []Track
	TrackBFDs       []Track
}

// UnicastPeer is one line of unicast_peer. The TTL window is 0..255 unless
// HasTTL.
type UnicastPeer struct {
	Addr           netip.Addr
	MinTTL, MaxTTL int
	HasTTL         bool
	Pos            Pos
}

// ChecksumMode is old_unicast_checksum.
type ChecksumMode int

const (
	ChecksumAuto ChecksumMode = iota
	ChecksumAlways
	ChecksumNever
)

// VMAC is use_vmac or use_ipvlan.
type VMAC struct {
	Name          string
	MAC           string
	Group         string
	NetlinkNotify bool
	Addr          netip.Prefix // ipvlan only
	Mode          string       // ipvlan only: bridge, private, vepa
}

// HMACKey is a key line of auth_hmac: the text after the id is kept as given.
type HMACKey struct {
	ID   int
	Spec string
	Pos  Pos
}

// HMAC is auth_hmac (keepalived 2.4).
type HMAC struct {
	Keys       []HMACKey
	ActiveKey  int
	TimeWindow time.Duration
	AntiReplay string
	Mode       string
}

// Toggle is a three-valued setting of our own keywords.
type Toggle int

const (
	Auto Toggle = iota
	On
	Off
)

// Instance is a vrrp_instance, global defaults folded in.
type Instance struct {
	Block
	Name             string
	State            State // Master only for MASTER or an unset state with priority 255
	Interface        string
	VRF              string
	VRID             int
	Priority         int
	Version          int
	Family           Family
	NativeIPv6       bool
	AdvertInterval   time.Duration
	Auth             Auth
	HMAC             *HMAC
	NoPreempt        bool
	PreemptDelay     time.Duration
	DontTrackPrimary bool
	Tracking
	Fault     string // why it has to stay in FAULT; empty when it may run
	SyncGroup string // the group this instance belongs to; empty for none

	McastSrcIP         netip.Addr
	McastDstIP         netip.Addr // the group in use, defaults folded in
	UnicastSrcIP       netip.Addr
	UnicastPeers       []UnicastPeer
	Unicast            bool // adverts go to UnicastPeers
	UnicastFaultNoPeer bool
	TrackSrcIP         bool
	CheckUnicastSrc    bool
	UnicastTTL         int // 0..255; -1 is the default
	OldUnicastChecksum ChecksumMode
	V3ChecksumAsV2     bool

	VIPs               []Address
	VIPsExcluded       []Address
	NoVIP              bool
	VirtualRoutes      []Route
	VirtualRules       []Rule
	PromoteSecondaries bool

	VMAC         *VMAC
	UseVMACAddr  bool
	VMACXmitBase bool
	IPVlan       *VMAC

	GARP                 GARP
	HigherPrioSendAdvert bool
	LowerPrioNoAdvert    bool
	OwnerIgnoreAdverts   bool
	DownTimerAdverts     int
	TimerExpiredBackup   int // 0: off
	Accept               bool
	Strict               bool
	SkipCheckAdvAddr     bool
	LinkBeatPolling      bool
	Debug                int
	KernelRxBuf          uint
	LVSSyncInterface     string

	Notify                Notify
	SMTPAlert             bool
	NotifyPriorityChanges bool

	// Ours.
	FencingPolicy   string // "", availability or quorum
	AdvertTransport string // "", lan or both
	HealthAgreement string // "", local or majority
	LANProbe        Toggle
}

// RouteType is the kernel's type of a route.
type RouteType string

// NextHop is one nexthop of a multipath route, or the single gateway of a
// plain one.
type NextHop struct {
	Via    netip.Addr
	Dev    string
	Weight int // 1..256
	OnLink bool
	Encap  []string
	Realms string
}

// Route is one line of virtual_routes or static_routes. Numeric fields are nil
// when not given. Metrics that only the kernel understands are kept by name in
// Metrics, locked ones also in Locked.
type Route struct {
	Type       RouteType // unicast, blackhole, ...; empty is unicast
	Default    bool
	Dst        netip.Prefix
	Family     Family
	Via        netip.Addr
	Dev        string
	Src        netip.Addr
	From       netip.Prefix
	Metric     *uint32
	Table      string // number or name of rt_tables; empty is main
	Scope      string
	Protocol   string
	TOS        string
	OnLink     bool
	Realms     string
	Pref       string
	Expires    *uint32
	Encap      []string
	VRF        string
	Append     bool
	Metrics    map[string]string
	Locked     []string
	NextHops   []NextHop
	NoTrack    bool
	TrackGroup string
	Raw        []string
	Pos        Pos

	crossVia bool // the gateway's family was named
}

// Rule is one line of virtual_rules or static_rules.
type Rule struct {
	Family            Family
	Not               bool
	From, To          netip.Prefix
	Table             string
	Priority          *uint32
	FwMark            string // N or N/MASK
	TOS               string
	IIF, OIF          string
	Realms            string
	SuppressPrefixLen *uint32
	SuppressIfGroup   string
	TunnelID          string
	UIDRange          string
	L3MDev            bool
	Protocol          string
	IPProto           string
	SPort, DPort      string
	Action            string // "", goto, nop, blackhole, unreachable, prohibit
	Goto              uint32
	NoTrack           bool
	TrackGroup        string
	Raw               []string
	Pos               Pos
}
