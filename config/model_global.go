package config

import (
	"net/netip"
	"time"
)

// FIFO is a notify FIFO with its owner and the program that consumes it.
type FIFO struct {
	Path        string
	User, Group string
	Script      *ScriptSpec
}

// Sched holds the scheduling settings of one kind of process. RTPriority 0 is
// off; RLimitRTTime is in microseconds.
type Sched struct {
	Nice         int
	NoSwap       bool
	RTPriority   int
	CPUAffinity  []int
	RLimitRTTime uint
}

// GARP holds the announcement settings of an instance, or the defaults.
type GARP struct {
	MasterDelay         time.Duration // before the second set; 0: no second set
	MasterRepeat        int
	MasterRefresh       time.Duration // 0: off
	MasterRefreshRepeat int
	LowerPrioDelay      time.Duration
	LowerPrioRepeat     int
	ExtraIf             time.Duration // garp_extra_if; 0: off
	ExtraIfAll          bool
}

// LVSTimeouts are the IPVS connection timeouts in seconds; 0 leaves one alone.
type LVSTimeouts struct{ TCP, TCPFin, UDP uint }

// LVSSync is the IPVS connection synchronisation daemon.
type LVSSync struct {
	Interface string
	Instance  string
	ID        int // -1 when not given
	MaxLen    int
	Port      int
	TTL       int
	Group     netip.Addr
	Pos       Pos
}

// SMTPServer is the relay for alert mails.
type SMTPServer struct {
	Host string
	Port int
}

// DynamicInterfaces says whether interfaces may appear later.
type DynamicInterfaces int

const (
	DynamicOff DynamicInterfaces = iota
	DynamicOn
	DynamicAllowChanges
)

// FlushOnStop says what is removed from IPVS in one go at the end.
type FlushOnStop int

const (
	FlushNone FlushOnStop = iota
	FlushAll
	FlushVS
)

// IPTables names the chains used for filtering; empty when off.
type IPTables struct {
	On      bool
	In, Out string
	IPSets  []string
	NoSets  bool
}

// NFTables is a table used by us. Table is empty when off.
type NFTables struct {
	Table    string
	Priority int
}

// Global is global_defs and the settings that stand at the top level.
type Global struct {
	Block
	// Root level.
	NetNamespace     string
	NetNamespaceIPVS string
	Instance         string
	UsePidDir        bool
	LinkBeatPolling  bool
	NamespaceIPSets  bool
	ChildWaitTime    time.Duration

	RouterID                string
	ScriptUser, ScriptGroup string
	ScriptSecurity          bool
	UseSymlinkPaths         bool
	SupplementaryGroups     bool

	// Mail.
	NotificationEmailFrom string
	NotificationEmail     []string
	SMTPServer            *SMTPServer
	SMTPHelo              string
	SMTPConnectTimeout    time.Duration
	SMTPAlert             *bool
	SMTPAlertVRRP         *bool
	SMTPAlertChecker      *bool
	NoEmailFaults         bool
	NoCheckerEmails       bool

	// Scripts and FIFOs.
	StartupScript, ShutdownScript             *ScriptSpec
	StartupTimeout, ShutdownTimeout           time.Duration
	NotifyFIFO, VRRPNotifyFIFO, LVSNotifyFIFO FIFO
	NotifyPriorityChanges                     bool
	FIFOStatesOnReload                        bool
	RSInitNotifies                            bool
	CheckerLogAllFailures                     bool

	// VRRP.
	DefaultInterface   string
	DynamicInterfaces  DynamicInterfaces
	DisableLocalIGMP   bool
	McastGroup4        netip.Addr
	McastGroup6        netip.Addr
	Version            int
	Strict             bool
	SkipCheckAdvAddr   bool
	CheckUnicastSrc    bool
	V3ChecksumAsV2     bool
	GARP               GARP
	MinGARP            bool
	GARPInterval       time.Duration
	GNAInterval        time.Duration
	DownTimerAdverts   int
	LowerPrioNoAdvert  bool
	HigherPrioSendAdv  bool
	OwnerIgnoreAdverts bool
	StartupDelay       time.Duration
	DelayAfterBoot     time.Duration
	LogUnknownVRIDs    bool
	VMACPrefix         string
	VMACAddrPrefix     string
	RxBufsPolicy       string
	RxBufsMultiplier   int
	IPTables           IPTables
	NFTables           NFTables
	NFTablesIfindex    bool
	NFTablesCounters   bool

	// LVS.
	LVSTimeouts    LVSTimeouts
	LVSFlush       bool
	LVSFlushOnStop FlushOnStop
	LVSSync        *LVSSync
	NFTablesIPVS   NFTables
	IPVSFwmark     uint32

	// Processes.
	VRRP, Checker, BFD   Sched
	ProcessNames         bool
	ProcessName          string
	VRRPProcessName      string
	CheckerProcessName   string
	BFDProcessName       string
	MaxAutoPriority      int
	MinAutoPriorityDelay uint
	RcvBufs              map[string]uint // bytes, by keyword; the ..._force keywords hold 1

	// SNMP and DBus.
	SNMPSocket      string
	Traps           bool
	SNMPVRRP        bool
	SNMPRFCv2       bool
	SNMPRFCv3       bool
	SNMPChecker     bool
	SNMPVSInterval  time.Duration
	SNMPRSInterval  time.Duration
	DBus            bool
	DBusServiceName string
	DBusNoInterface string

	// Files and reload.
	Umask             *uint32
	RandomSeed        *uint
	ReloadCheckConfig bool
	ReloadCheckLog    string
	ReloadTimeFile    string
	ReloadRepeat      bool
	ReloadFile        string // "-" when given without a path
	IncludeCheck      []string
	ConfigSaveDir     string
	TmpConfigDir      string
	DataUseInstance   bool
	JSONVersion       int
	IPRouteUsrDir     string
	IPRouteEtcDir     string
	StateDumpFile     string
	StatsDumpFile     string
	JSONDumpFile      string
}
