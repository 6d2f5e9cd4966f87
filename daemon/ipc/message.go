package ipc

import (
	"net/netip"
	"time"
)

// Message is the union of everything that is said; exactly one field is set.
type Message struct {
	// Guardian to both children.
	Prepare *Prepare `json:",omitempty"` // a configuration rides along as a memory file
	Commit  *Commit  `json:",omitempty"`
	Stop    *Stop    `json:",omitempty"`
	Dump    *Dump    `json:",omitempty"`
	Notice  *Notice  `json:",omitempty"` // something the guardian saw, for the event log

	// Children to the guardian.
	Prepared  *Prepared  `json:",omitempty"`
	Committed *Committed `json:",omitempty"`
	Reload    *Reload    `json:",omitempty"` // cluster: somebody asked for a reload

	// vrrp to cluster.
	State    *State    `json:",omitempty"`
	Event    *Event    `json:",omitempty"`
	Snapshot *Snapshot `json:",omitempty"`

	// cluster to vrrp.
	Hello   *Hello   `json:",omitempty"`
	Tracker *Tracker `json:",omitempty"`
	Wire    *Wire    `json:",omitempty"`
	Ask     *Ask     `json:",omitempty"`
}

// Prepare offers generation Gen of the configuration. It is answered by
// Prepared, and changes nothing.
type Prepare struct{ Gen int }

// Prepared answers Prepare; an empty Err means that Commit will work.
type Prepared struct {
	Gen int
	Err string
}

// Commit puts a prepared generation into force. It is answered by Committed.
type Commit struct{ Gen int }

// Committed answers Commit. The first one says that the process is ready.
type Committed struct{ Gen int }

// Stop asks for an orderly end: resign, clean up, exit.
type Stop struct{}

// Dump asks for keepalived's dump files.
type Dump struct{ Kind DumpKind }

// DumpKind is one of keepalived's dump signals.
type DumpKind string

// The dumps: SIGUSR1, SIGUSR2, and SIGRTMIN+2.
const (
	DumpData  DumpKind = "data"
	DumpStats DumpKind = "stats"
	DumpJSON  DumpKind = "json"
)

// Notice is something that the guardian saw and the event log should keep.
type Notice struct{ Level, Text string }

// Reload asks the guardian to read the configuration again.
type Reload struct{}

// Hello says that a process has just started and knows nothing: the vrrp
// process answers with a Snapshot.
type Hello struct{ Boot uint64 }

// ObjectKind tells instances from sync groups.
type ObjectKind string

// The kinds, in keepalived's words.
const (
	Instance ObjectKind = "INSTANCE"
	Group    ObjectKind = "GROUP"
)

// State is a transition of an instance or a sync group.
type State struct {
	Kind     ObjectKind
	Name     string
	From, To string // keepalived's words
	Priority int    // effective; 0 for a group
	Reason   string
	At       time.Time
	// RxLowerPri marks keepalived's MASTER_RX_LOWER_PRI, which is no
	// transition but is notified like one.
	RxLowerPri bool `json:",omitempty"`
	// NewPriority marks MASTER_PRIORITY and BACKUP_PRIORITY: a new effective
	// priority in an unchanged state.
	NewPriority bool `json:",omitempty"`
	// Deleted marks an instance that a reload removed.
	Deleted bool `json:",omitempty"`
}

// Event is anything else that the event log keeps.
type Event struct {
	At       time.Time
	Kind     string // "priority", "VRRP", "veto", "ALARM", "kernel", ...
	Instance string
	Text     string
}

// Tracker is a tracked condition that the cluster process watches.
type Tracker struct {
	ID    string
	State string // "up", "down", "unknown"
	Value int
	Cause string
}

// Wire is everything that the second wire needs: who this node is, where it
// listens, and with whom it speaks.
type Wire struct {
	// Boot rises with each start of either process of the node.
	Boot     uint64
	Self     [16]byte
	SelfName string
	Bind     netip.AddrPort
	Peers    []WirePeer
	// Gone are members that left on purpose. A peer that is in neither list is
	// kept: a cluster process that has just started does not know it yet.
	Gone [][16]byte `json:",omitempty"`
}

// WirePeer is one member. Key is the pairwise key of 32 bytes.
type WirePeer struct {
	Node [16]byte
	Name string
	Addr netip.AddrPort
	Key  []byte
	Boot uint64 // of its wire, as it gossips it; 0: not known
	// Sources are the addresses its own adverts come from: neighbours on the
	// LAN that a probe can ask.
	Sources []netip.Addr `json:",omitempty"`
}

// Ask asks the vrrp process for a Snapshot with the same Seq.
type Ask struct{ Seq uint64 }

// Snapshot is the whole state of the vrrp process. A node with many instances
// sends it in parts: Part counts from 0, and More says that another follows.
type Snapshot struct {
	Seq       uint64
	Part      int
	More      bool
	At        time.Time
	Boot      uint64
	Instances []InstanceStatus
	Groups    []GroupStatus
	Links     []LinkStatus `json:",omitempty"`
	WireError string       `json:",omitempty"`
}

// InstanceStatus is one instance as the vrrp process sees it.
type InstanceStatus struct {
	Name      string
	Family    int
	VRID      int
	Interface string
	State     string
	Since     time.Time
	Priority  int
	Effective int
	Reason    string
	Terms     []Term `json:",omitempty"`
	VIPs      []string
	Source    string
	// Master is the source address of the last accepted advert, if not own.
	Master         string `json:",omitempty"`
	MasterPriority int    `json:",omitempty"`
	AdvertMS       int64  // own advert_int
	DownMS         int64  // Active_Down_Interval
	Policy         string
	Verdict        string  `json:",omitempty"`
	VerdictText    string  `json:",omitempty"`
	Heard          []Heard `json:",omitempty"`
	Stats          Stats
}

// Term is one summand of the effective priority, or a reason for FAULT.
type Term struct {
	Tracker string
	State   string
	Amount  int
	Fault   bool   `json:",omitempty"`
	Cause   string `json:",omitempty"`
}

// Heard says when adverts of one sender were last heard on one wire.
type Heard struct {
	Source   string // address on the LAN
	Node     string `json:",omitempty"` // hex node id, on the mesh
	Wire     string // "lan" or "mesh"
	Priority int
	AgeMS    int64
}

// GroupStatus is one sync group.
type GroupStatus struct {
	Name    string
	State   string
	Members []string
	Since   time.Time
}

// LinkStatus is one interface.
type LinkStatus struct {
	Name  string
	Up    bool
	Addrs []string
}

// Stats are keepalived's counters of one instance.
type Stats struct {
	AdvertsReceived  uint64
	AdvertsSent      uint64
	BecameMaster     uint64
	ReleasedMaster   uint64
	PacketLenErrors  uint64
	IntervalErrors   uint64
	TTLErrors        uint64
	TypeErrors       uint64
	AddrListErrors   uint64
	VersionErrors    uint64
	ChecksumErrors   uint64
	AuthTypeInvalid  uint64
	AuthTypeMismatch uint64
	AuthFailure      uint64
	AuthExtMissing   uint64 // auth_hmac, as the following
	AuthExtMalformed uint64
	AuthExtKey       uint64
	AuthExtInvalid   uint64
	AuthExtStale     uint64
	AuthExtReplay    uint64
	SourceUnknown    uint64 // not a unicast peer
	OwnerIgnored     uint64 // owner_ignore_adverts
	PriZeroReceived  uint64
	PriZeroSent      uint64
	Garp             uint64
	MeshReceived     uint64
	MeshSent         uint64
}
