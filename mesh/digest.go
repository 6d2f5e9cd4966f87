package mesh

import (
	"net/netip"
	"time"
)

// Digest is what a node says about itself.
type Digest struct {
	Instances []Instance
	Hears     []Hearing
	Wire      Wire
}

// Instance is one VRRP instance on its node, in keepalived's words.
type Instance struct {
	Name      string     `json:"n"`
	Family    int        `json:"f"` // 4 or 6
	VRID      int        `json:"v"`
	Interface string     `json:"i"`
	State     string     `json:"s"` // MASTER, BACKUP, FAULT, STOP
	Priority  int        `json:"p"`
	Effective int        `json:"e"`           // priority after tracking
	Owner     netip.Addr `json:"o,omitzero"`  // source address of the master heard; zero if none
	Source    netip.Addr `json:"a,omitzero"`  // source address of its own adverts
	Since     time.Time  `json:"t,omitzero"`  // when State began
	Verdict   string     `json:"d,omitempty"` // vetoed, deaf, ...; empty when nothing is in doubt
	Reason    string     `json:"r,omitempty"` // cut at 200 bytes
	VIPs      []string   `json:"-"`           // travels in pieces of its own
}

// Never is the age of what was not heard at all.
const Never = int64(-1)

// Hearing says how long ago a node heard a peer's adverts for one instance.
type Hearing struct {
	Instance string     `json:"n"`
	Peer     netip.Addr `json:"a"`           // source address of the adverts
	Node     string     `json:"u,omitempty"` // the peer's UUID, where known
	LAN      int64      `json:"l"`           // ms ago on the LAN, or Never
	Wire     int64      `json:"w"`           // ms ago on the second wire, or Never
}

// Wire is how the node's second wire for adverts is reached.
type Wire struct {
	Boot uint64 `json:"b"`           // start of the process that owns it
	Port uint16 `json:"p,omitempty"` // UDP port; 0 means that there is none
}

// Status of a member as gossip sees it.
type Status string

// The states of a member.
const (
	Alive   Status = "alive"
	Suspect Status = "suspect" // a member, but this node had no answer from it for several probe rounds
	Left    Status = "left"
	Dead    Status = "dead"
)

// Role of a node in the mesh.
type Role string

// The roles of mesh.conf.
const (
	Voter    Role = "voter"
	Observer Role = "observer"
	Witness  Role = "witness"
)

// Consensus is what a node tells about its Raft state, for forming a cluster
// and for following addresses.
type Consensus struct {
	Expect       int    `json:"x,omitempty"` // bootstrap_expect
	Bootstrapped bool   `json:"b,omitempty"` // has Raft state
	ClusterID    string `json:"i,omitempty"` // identity of that state, once known
	Proposal     string `json:"p,omitempty"` // digest of the set of servers it would form a cluster with
}

// Node is one node of the View.
type Node struct {
	UUID      string
	Name      string
	Addr      netip.AddrPort // gossip, Raft and API
	Role      Role
	Status    Status
	Since     time.Time // when this node saw Status begin
	Boot      uint64
	Consensus Consensus
	PublicKey []byte        // uncompressed P-256 point, for link.Identity.PairKey
	Contact   time.Duration // since its last answer to a direct probe; negative if there was none
	RTT       time.Duration // of that probe
	Digest    Digest
	AsOf      time.Time // owner's clock when it last published; zero if nothing is known
	Heard     time.Time // this node's clock when that arrived
}

// SeedStatus tells how joining by one seed goes.
type SeedStatus struct {
	Seed  string
	OK    bool
	Err   string    // last failure, empty if none
	Since time.Time // when OK last changed
}

// View is everything this node knows, as of now. Its digests are shared with
// other Views: they must not be written to.
type View struct {
	Self  string // own UUID
	Nodes []Node // by name, then UUID; this node among them
	Seeds []SeedStatus
}

// Find returns the node with the UUID.
func (v View) Find(uuid string) (Node, bool) {
	for _, n := range v.Nodes {
		if n.UUID == uuid {
			return n, true
		}
	}
	return Node{}, false
}
