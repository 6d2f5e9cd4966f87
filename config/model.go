package config

import (
	"net/netip"
	"time"
)

// Config is a whole keepalived.conf with defaults filled in: what a consumer
// reads is final. Nothing in it is shared with the reader; it may be kept and
// compared.
type Config struct {
	Global              Global
	StaticAddresses     []Address
	StaticRoutes        []Route
	StaticRules         []Rule
	TrackGroups         []*TrackGroup
	GARPGroups          []*GARPGroup
	LinkBeat            []LinkBeat
	UpDownDelays        []UpDownDelay
	Scripts             []*Script
	TrackFiles          []*TrackFile
	TrackProcesses      []*TrackProcess
	BFDs                []*BFD
	SyncGroups          []*SyncGroup
	Instances           []*Instance
	SSL                 *SSL
	VirtualServerGroups []*VirtualServerGroup
	VirtualServers      []*VirtualServer
	Bundle              Bundle
}

// Seen records that a keyword stood in a block, and where (the first time).
type Seen struct {
	Keyword string
	Pos     Pos
}

// Block is the common part of all named blocks: where it began and which
// keywords it holds. Of real servers and checkers, which may be very many, only
// those keywords are recorded whose presence matters by itself.
type Block struct {
	Pos  Pos
	End  Pos // of the closing brace
	Seen []Seen
}

// At gives the place of a keyword in the block; false when it is absent.
func (b *Block) At(keyword string) (Pos, bool) {
	for i := range b.Seen {
		if b.Seen[i].Keyword == keyword {
			return b.Seen[i].Pos, true
		}
	}
	return b.Pos, false
}

// Has says whether a keyword stood in the block.
func (b *Block) Has(keyword string) bool {
	_, ok := b.At(keyword)
	return ok
}

// ScriptSpec is a command as written: Args split as keepalived splits them,
// Line the text as given. User and Group are empty for the default.
type ScriptSpec struct {
	Args  []string
	Line  string
	User  string
	Group string
	Pos   Pos
}

// Notify holds the scripts run on changes of state; nil means none.
type Notify struct {
	Master, Backup, Fault, Stop, Any *ScriptSpec
	MasterRxLowerPri, Deleted        *ScriptSpec
	DeletedBare                      bool // notify_deleted without a script: DELETED is passed to Any
}

// BroadcastMode says how an address's broadcast address is chosen.
type BroadcastMode int

const (
	BroadcastNone  BroadcastMode = iota // not given
	BroadcastSet                        // all host bits set ("+")
	BroadcastClear                      // all host bits clear ("-")
	BroadcastAddr                       // given
)

// Address is one line of virtual_ipaddress, virtual_ipaddress_excluded or
// static_ipaddress. Scope -1 is the kernel's default (global).
type Address struct {
	Prefix        netip.Prefix // the address with its length, host bits kept
	Dev           string       // empty: the instance's interface, or default_interface
	Label         string
	BroadcastMode BroadcastMode
	Broadcast     netip.Addr // with BroadcastAddr
	Scope         int
	Peer          netip.Prefix
	NoTrack       bool
	TrackGroup    string
	Home          bool
	DAD           bool // -nodad was given: duplicate address detection stays on
	ManageTemp    bool
	NoPrefixRoute bool
	AutoJoin      bool
	PreferredLft  *uint32 // seconds; nil when not given, MaxUint32 is forever
	UseVMAC       bool
	VMACName      string
	VMACAddr      string
	Raw           []string // the line's words as written
	Pos           Pos
}

// TrackGroup faults its instances when a static object that names it is lost.
type TrackGroup struct {
	Block
	Name    string
	Members []Ref
}

// Ref is a name that points to another block.
type Ref struct {
	Name string
	Pos  Pos
}

// GARPGroup shares the gaps between announcements among interfaces.
type GARPGroup struct {
	Block
	GARPInterval, GNAInterval time.Duration
	Interface                 string
	Interfaces                []Ref
}

// LinkBeat names an interface whose link is polled; Method is MII, ETHTOOL,
// IOCTL or empty.
type LinkBeat struct {
	Interface, Method string
	Pos               Pos
}

// UpDownDelay debounces an interface's link transitions.
type UpDownDelay struct {
	Interface string
	Down, Up  time.Duration
	Pos       Pos
}

// Script is a vrrp_script.
type Script struct {
	Block
	Name     string
	Spec     ScriptSpec
	Interval time.Duration
	Timeout  time.Duration // defaults to Interval
	Weight   int           // -253..253
	Reverse  bool
	Rise     int
	Fall     int
	InitFail bool

	badUser bool // its user does not exist
}

// TrackFile is a file whose integer content moves priorities.
type TrackFile struct {
	Block
	Name      string
	Path      string
	Weight    int
	Reverse   bool
	Init      bool // create the file when absent
	InitValue int
	Overwrite bool
}

// ParamMatch says how a tracked process's parameters are compared.
type ParamMatch int

const (
	ParamNone ParamMatch = iota
	ParamExact
	ParamInitial
	ParamPartial
)

// TrackProcess counts processes.
type TrackProcess struct {
	Block
	Name           string
	Process        []string
	Match          ParamMatch
	FullCommand    bool
	Weight         int
	Reverse        bool
	Quorum         int
	QuorumMax      int // MaxInt when unlimited
	TerminateDelay time.Duration
	ForkDelay      time.Duration
}

// BFD is a bfd_instance.
type BFD struct {
	Block
	Name                 string
	Source, Neighbor     netip.Addr
	MinRx, MinTx, IdleTx time.Duration
	Multiplier           int
	Passive              bool
	TTL, MaxHops         int
	Multihop             bool
	Weight               int
	Reverse              bool
	VRRP, Checker        bool // who sees its events; both false in the text means both
}

// SyncGroup is a vrrp_sync_group.
type SyncGroup struct {
	Block
	Name           string
	Members        []Ref
	GlobalTracking bool // sync_group_tracking_weight or the older global_tracking
	Tracking
	Notify                Notify
	SMTPAlert             bool
	NotifyPriorityChanges bool
	FencingPolicy         string // ours; empty is the cluster's
}

// SSL holds the client material of SSL_GET.
type SSL struct {
	Block
	Password, CA, Certificate, Key string
}
