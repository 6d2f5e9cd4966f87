package config

import (
	"net/netip"
	"time"
)

// Forward is how packets reach a real server.
type Forward struct {
	Method string // NAT, DR or TUN
	Tunnel string // ipip, gue or gre with TUN
	Port   int    // gue
	Csum   string // nocsum, csum or remcsum; empty is nocsum
}

// Timing holds what checkers inherit from real server and virtual server; a
// nil value is inherited or the checker's own default.
type Timing struct {
	Retry            *int
	DelayBeforeRetry *time.Duration
	Warmup           *time.Duration
	ConnectTimeout   *time.Duration
	DelayLoop        *time.Duration
}

// VirtualServer is an IPVS service: one of Addr, FwMark and Group names it.
type VirtualServer struct {
	Block
	name                 string
	Addr                 netip.Addr
	Port                 int
	FwMark               uint32
	Group                string
	Family               Family
	Timing               Timing
	InhibitOnFailure     bool
	Scheduler            string
	OnePacket            bool
	Flags                []string // flag-1.., sh-port, sh-fallback, mh-port, mh-fallback
	Forward              Forward
	Engine               string
	Persistence          time.Duration // 0: off
	Granularity          string
	Protocol             string // TCP, UDP or SCTP
	HASuspend            bool
	SMTPAlert            bool
	VirtualHost          string
	SNMPName             string
	Alpha, Omega         bool
	QuorumUp, QuorumDown *ScriptSpec
	Quorum, Hysteresis   int
	Weight               int
	SorryServer          *Endpoint
	SorryInhibit         bool
	SorryForward         *Forward
	RealServers          []*RealServer
}

// Endpoint is an address and a port; port 0 is the service's own.
type Endpoint struct {
	Addr netip.Addr
	Port int
}

// Name gives the words that identify the service in the text.
func (v *VirtualServer) Name() string { return v.name }

// RealServer is one destination of a virtual server.
type RealServer struct {
	Block
	Endpoint
	Weight           int
	Forward          *Forward
	UThreshold       uint
	LThreshold       uint
	InhibitOnFailure *bool
	NotifyUp         *ScriptSpec
	NotifyDown       *ScriptSpec
	Alpha            *bool
	Timing           Timing
	SMTPAlert        bool
	VirtualHost      string
	SNMPName         string
	Checkers         []*Checker
}

// CheckerKind is the block name of a checker.
type CheckerKind string

const (
	CheckTCP  CheckerKind = "TCP_CHECK"
	CheckHTTP CheckerKind = "HTTP_GET"
	CheckSSL  CheckerKind = "SSL_GET"
	CheckSMTP CheckerKind = "SMTP_CHECK"
	CheckDNS  CheckerKind = "DNS_CHECK"
	CheckUDP  CheckerKind = "UDP_CHECK"
	CheckPing CheckerKind = "PING_CHECK"
	CheckMisc CheckerKind = "MISC_CHECK"
	CheckFile CheckerKind = "FILE_CHECK"
	CheckBFD  CheckerKind = "BFD_CHECK"
)

// Connection is where and how a checker connects; unset parts come from the
// real server.
type Connection struct {
	IP       netip.Addr
	Port     int
	Bind     netip.Addr
	BindPort int
	BindIf   string
	FwMark   uint32
}

// Checker is one health check of a real server. Which of the parts below Timing
// are used depends on Kind.
type Checker struct {
	Block
	Kind    CheckerKind
	Connect *Connection // nil when nothing is given
	Timing  Timing
	Alpha   *bool
	LogAll  *bool
	HTTP    *HTTPCheck
	Misc    *MiscCheck
	DNS     *DNSCheck
	UDP     *UDPCheck
	Helo    string // SMTP_CHECK
	Hosts   []Connection
	Name    string // BFD_CHECK and FILE_CHECK: the tracked object
	Weight  *int   // FILE_CHECK
	Reverse bool
}

// HTTPCheck belongs to HTTP_GET and SSL_GET.
type HTTPCheck struct {
	URLs         []*URL
	VirtualHost  string
	Protocol     string // 1.0, 1.0C or 1.1
	SNI          bool
	SNIName      string
	FastRecovery bool
	TLSCompliant bool
}

// StatusRange is a range of HTTP status codes, both ends included.
type StatusRange struct{ First, Last int }

// URL is one request of an HTTP check.
type URL struct {
	Block
	Path         string
	Digest       string
	Status       []StatusRange
	VirtualHost  string
	Regex        string
	RegexNoMatch bool
	RegexOptions []string
	MinOffset    uint
	MaxOffset    uint
	RegexStack   [2]uint
	TLSCompliant bool
}

// MiscCheck runs a script.
type MiscCheck struct {
	Script  ScriptSpec
	Timeout time.Duration // 0: the virtual server's delay_loop
	Dynamic bool

	badUser bool // its user does not exist
}

// DNSCheck asks one question.
type DNSCheck struct{ Type, Name string }

// UDPCheck sends a datagram and may expect one.
type UDPCheck struct {
	Payload      string // hexadecimal
	RequireReply bool
	Reply        string // hexadecimal with X for any digit
	Min, Max     int
}

// VirtualServerGroup is a named set of services.
type VirtualServerGroup struct {
	Block
	Name    string
	Entries []GroupEntry
}

// GroupEntry is an address, a range of addresses or a firewall mark.
type GroupEntry struct {
	First, Last netip.Addr
	Prefix      netip.Prefix
	Port        int
	FwMark      uint32
	Family      Family
	Pos         Pos
}
