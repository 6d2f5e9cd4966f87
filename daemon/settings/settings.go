// Package settings is the form in which a configuration reaches the vrrp and
// the cluster process: already translated, so that neither parses text and the
// vrrp process does not hold what it has no use for. The guardian sends one
// generation of each as JSON in a memory file.
package settings

import (
	"net/netip"
	"slices"
	"time"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/netif"
	"github.com/keepmesh/keepmesh/vrrp"
	"github.com/keepmesh/keepmesh/vrrp/packet"
)

// VRRP is everything that the vrrp process needs.
type VRRP struct {
	Gen    int
	Router vrrp.Config
	// Instances stands parallel to Router.Instances.
	Instances []Instance

	BFD []BFD // sessions whose events VRRP sees

	StaticAddresses []netif.Address
	StaticRoutes    []netif.Route

	RTPriority   int  // vrrp_rt_priority, 0: none
	RTTimeMicros uint // vrrp_rlimit_rttime
	NoSwap       bool // vrrp_no_swap
	Nice         int  // vrrp_priority

	// DelayAfterBoot lengthens the Router's StartupDelay to this time since the
	// machine was started (vrrp_delay_after_boot).
	DelayAfterBoot time.Duration

	Firewall Firewall
	// GARPInterval and GNAInterval are the gaps between announcements on an
	// interface that is in no group.
	GARPInterval, GNAInterval time.Duration
	GARPGroups                []GARPGroup
	Mesh                      bool // the second wire will be offered
	// KeepOnStop leaves addresses in place at the end (-V).
	KeepOnStop bool
}

// Firewall says how the nftables tables are called and when they are asked.
type Firewall struct {
	Table    string
	Priority int
}

// GARPGroup shares the gaps among its interfaces (garp_group).
type GARPGroup struct {
	GARPInterval, GNAInterval time.Duration
	Interfaces                []string
}

// Has says whether the interface is in the group.
func (g *GARPGroup) Has(dev string) bool { return slices.Contains(g.Interfaces, dev) }

// Instance is what an instance needs beyond the protocol: packets and kernel.
type Instance struct {
	// Fault is why the instance has to stay in FAULT; empty: it may run.
	Fault string

	AuthPass         []byte // 8 bytes; nil: no authentication
	AuthAH           bool   // auth_type AH
	HMAC             *HMAC  // auth_hmac
	Group            netip.Addr
	Peers            []Peer // unicast
	CheckUnicastSrc  bool
	TTL              int
	SkipCheckAdvAddr bool
	V3ChecksumAsV2   bool
	OldUnicast       packet.OldUnicast
	ChecksumGroup    netip.Addr // that the old unicast checksum is over
	OwnerIgnore      bool

	VIPs     []netif.Address // advertised, in order
	Excluded []netif.Address
	Routes   []netif.Route
	Rules    []netif.Rule

	// Base is the configured interface. That of the Router's key is the one
	// that adverts go by: a virtual one with use_vmac.
	Base string
	// ExtraIf is garp_extra_if, 0 where it is off.
	ExtraIf    time.Duration
	ExtraIfAll bool
	// NoAccept drops what is sent to the addresses (no_accept, strict).
	NoAccept bool
	// Virtuals are the interfaces that are made for the instance.
	Virtuals []netif.Virtual
	// VirtualSource is the address that use_ipvlan puts on its interface.
	VirtualSource netip.Prefix

	// WatchLinks are the interfaces behind "link:" trackers.
	WatchLinks []string
	TrackLost  bool // a foreign deletion of an address sends the instance to BACKUP
	TrackSrc   bool // track_src_ip
	LANProbe   config.Toggle
	Policy     string
}

// BFD is a bfd_instance. Its state is the tracker "bfd:" + Name.
type BFD struct {
	Name                 string
	Neighbor, Source     netip.Addr // no Source: what the kernel takes
	MinRx, MinTx, IdleTx time.Duration
	Multiplier           int
	Passive, Multihop    bool
	TTL                  int
	MinTTL               int // of what is received; 0: not checked
}

// Peer is a unicast peer; the TTL window is checked where HasTTL.
type Peer struct {
	Addr           netip.Addr
	HasTTL         bool
	MinTTL, MaxTTL int
}

// Addresses gives all addresses of the instance, advertised ones first.
func (i *Instance) Addresses() []netif.Address {
	return append(append([]netif.Address(nil), i.VIPs...), i.Excluded...)
}

// Cluster is everything that the cluster process needs.
type Cluster struct {
	Gen    int
	Bundle config.Bundle
	NodeID string // of the @id lines the text was read with

	RunDir                  string
	Scripts                 []Script // tracked ones only
	Files                   []File
	Processes               []Process
	Hooks                   []Hooks
	FIFOs                   []FIFO
	StatesOnReload          bool // fifo_write_vrrp_states_on_reload
	Mail                    Mail
	ScriptUser, ScriptGroup string
	// ScriptSecurity disables scripts that others than root could change.
	ScriptSecurity bool

	Mesh *config.Mesh
}

// Command is a script as configured; the executor resolves its user.
type Command struct {
	Args        []string
	Line        string
	User, Group string
}

// Once is a script of the daemon's own life: startup_script or
// shutdown_script.
type Once struct {
	Command Command
	Timeout time.Duration
}

// Script is a tracked vrrp_script.
type Script struct {
	ID       string // the tracker's id
	Name     string
	Command  Command
	Interval time.Duration
	Timeout  time.Duration
	Rise     int
	Fall     int
	InitFail bool
}

// File is a tracked file.
type File struct {
	ID, Name, Path string
}

// Process is a tracked process.
type Process struct {
	ID                        string
	Args                      []string
	Full                      bool
	Match                     config.ParamMatch
	Quorum                    int
	Max                       *int // nil: unlimited
	ForkDelay, TerminateDelay time.Duration
}

// Hooks are the notify scripts of one instance or group; nil means none.
type Hooks struct {
	Kind                             string // INSTANCE or GROUP
	Name                             string
	Master, Backup, Fault, Stop, Any *Command
	MasterRxLowerPri, Deleted        *Command
	DeletedBare                      bool // notify_deleted without a script
	Mail                             bool // smtp_alert
	TellPriority                     bool // notify_priority_changes
}

// Mail is where alert mails go; none are sent without a Server and recipients.
type Mail struct {
	Server   string // host:port
	Timeout  time.Duration
	Helo     string // empty: the host name
	From     string // empty: the daemon's user at the host
	To       []string
	RouterID string // empty: the host name
	NoFaults bool   // no_email_faults
}

// FIFO is a named pipe that receives state changes.
type FIFO struct {
	Path        string
	User, Group string
	Script      *Command
}
