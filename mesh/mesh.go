package mesh

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/keepmesh/keepmesh/mesh/link"
)

// Config is what a Mesh is made from. Bind, port, key file and names are those
// of Link and Identity.
type Config struct {
	Identity *link.Identity
	Link     *link.Listener
	Key      []byte   // gossip key: 16, 24 or 32 bytes
	Role     Role     // Voter if empty
	Seeds    []string // "host", "host:port", "10.0.0.11", "[::1]:7946"; the port defaults to the own one
	Logger   *slog.Logger

	// Refresh is how often ages in the digest are sent anew while nothing else
	// changes; 2 s if 0.
	Refresh time.Duration
	// ProbeInterval and ProbeTimeout of the failure detector; 300 and 150 ms if 0.
	ProbeInterval, ProbeTimeout time.Duration
	// GossipInterval is how often changes are sent on; 200 ms if 0.
	GossipInterval time.Duration
	// PushPull is how often two nodes compare everything; 30 s if 0.
	PushPull time.Duration
	// RetryMin and RetryMax bound the pause between attempts to join; 1 and 30 s if 0.
	RetryMin, RetryMax time.Duration
	// Resolve looks a seed's host name up; the system's resolver if nil.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
}

func (c *Config) fill() error {
	if c.Identity == nil || c.Link == nil || c.Logger == nil {
		return errors.New("mesh: Identity, Link and Logger are needed")
	}
	if len(c.Identity.Cluster()) > memberlist.LabelMaxSize {
		return errors.New("mesh: cluster name is too long for a gossip label")
	}
	if c.Role == "" {
		c.Role = Voter
	}
	if !slices.Contains([]Role{Voter, Observer, Witness}, c.Role) {
		return fmt.Errorf("role %q: it is voter, observer or witness", c.Role)
	}
	for _, d := range []struct {
		at *time.Duration
		or time.Duration
	}{
		{&c.Refresh, 2 * time.Second}, {&c.ProbeInterval, 300 * time.Millisecond}, {&c.ProbeTimeout, 150 * time.Millisecond},
		{&c.GossipInterval, 200 * time.Millisecond}, {&c.PushPull, 30 * time.Second},
		{&c.RetryMin, time.Second}, {&c.RetryMax, 30 * time.Second},
	} {
		if *d.at == 0 {
			*d.at = d.or
		}
	}
	if c.Resolve == nil {
		c.Resolve = systemResolve
	}
	return nil
}

// member is what this node knows of a node beside its digest.
type member struct {
	about
	addr   netip.AddrPort
	moved  netip.AddrPort // another address that it spoke from
	status Status         // Alive or Dead; Suspect and Left are worked out when read
	since  time.Time
	acked  time.Time
	rtt    time.Duration
}

// Mesh is this node's place in the cluster. Make it by Start.
type Mesh struct {
	cfg   Config
	id    *link.Identity
	log   *slog.Logger
	quiet *link.Throttle
	list  *memberlist.Memberlist
	queue *memberlist.TransmitLimitedQueue
	start time.Time

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	kick   chan struct{} // join now

	closeOnce sync.Once
	alive     atomic.Int64 // members that are Alive, for the broadcast queue

	mu       sync.Mutex
	members  map[string]*member
	table    table
	heard    map[string]time.Time
	self     meta
	seq      uint64
	want     map[string]pieceBody // what was published, not yet flushed
	dirty    chan struct{}
	seeds    []SeedStatus
	watchers []chan struct{}
}

type pieceBody = []byte

// Start opens the gossip sockets on the link's addresses and begins to join. It
// returns once the node is a cluster of one; seeds that do not answer are no
// error.
func Start(cfg Config) (*Mesh, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &Mesh{
		cfg: cfg, id: cfg.Identity, log: cfg.Logger, quiet: link.NewThrottle(time.Minute), start: time.Now(),
		ctx: ctx, cancel: cancel, kick: make(chan struct{}, 1), dirty: make(chan struct{}, 1),
		members: make(map[string]*member), table: make(table), heard: make(map[string]time.Time),
		self: meta{Version: metaVersion, Role: cfg.Role, Boot: cfg.Identity.Boot(), Announce: cfg.Identity.Announce()},
	}
	for _, s := range cfg.Seeds {
		m.seeds = append(m.seeds, SeedStatus{Seed: s, Since: m.start})
	}
	if _, err := m.self.encode(); err != nil {
		cancel()
		return nil, err
	}
	tr, err := newTransport(cfg.Link, m.id.Cluster(), m.log)
	if err != nil {
		cancel()
		return nil, err
	}
	m.queue = &memberlist.TransmitLimitedQueue{RetransmitMult: 4, NumNodes: func() int { return int(max(1, m.alive.Load())) }}
	if m.list, err = memberlist.Create(m.libraryConfig(tr)); err != nil {
		tr.Shutdown()
		cancel()
		return nil, fmt.Errorf("starting gossip: %w", err)
	}
	m.wg.Add(2)
	go m.joinLoop()
	go m.flushLoop()
	return m, nil
}

func (m *Mesh) libraryConfig(tr memberlist.Transport) *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = m.id.UUID()
	c.Label = m.id.Cluster()
	c.Transport = tr
	c.BindPort = int(m.cfg.Link.Addrs()[0].Port())
	c.AdvertisePort = c.BindPort
	c.SecretKey = m.cfg.Key
	c.ProbeInterval, c.ProbeTimeout = m.cfg.ProbeInterval, m.cfg.ProbeTimeout
	c.GossipInterval, c.PushPullInterval = m.cfg.GossipInterval, m.cfg.PushPull
	c.TCPTimeout = 5 * time.Second
	// A node that comes back under another address is itself if its announcement
	// says so; waiting longer would only keep it out.
	c.DeadNodeReclaimTime = time.Millisecond
	// Compression costs more processor time than our small messages save.
	c.EnableCompression = false
	c.Logger = log.New(&logWriter{log: m.log, quiet: m.quiet}, "", 0)
	c.Delegate, c.Events, c.Alive, c.Merge, c.Conflict, c.Ping = (*delegate)(m), (*delegate)(m), (*delegate)(m), (*delegate)(m), (*delegate)(m), (*delegate)(m)
	return c
}

// View returns everything that is known now.
func (m *Mesh) View() View {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	v := View{Self: m.id.UUID(), Seeds: slices.Clone(m.seeds)}
	silent := m.silent()
	for uuid, mem := range m.members {
		n := Node{
			UUID: uuid, Name: mem.name, Addr: mem.addr, Role: mem.Role, Status: mem.status, Since: mem.since,
			Boot: mem.Boot, Consensus: mem.Consensus, PublicKey: mem.pub.Bytes(), Contact: -1, RTT: mem.rtt, Heard: m.heard[uuid],
		}
		if !mem.acked.IsZero() {
			n.Contact = now.Sub(mem.acked)
		}
		if uuid == v.Self {
			n.Contact = 0
		} else if m.table.left(uuid, mem.Boot) {
			n.Status = Left // it said so; the failure detector follows
		} else if mem.status == Alive && now.Sub(later(mem.acked, mem.since)) > silent {
			n.Status = Suspect
		}
		n.Digest, n.AsOf = m.table.digest(uuid)
		v.Nodes = append(v.Nodes, n)
	}
	slices.SortFunc(v.Nodes, func(a, b Node) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return strings.Compare(a.UUID, b.UUID)
	})
	return v
}

// Members returns the nodes that are alive or suspect, this one among them.
func (m *Mesh) Members() []Node {
	return slices.DeleteFunc(m.View().Nodes, func(n Node) bool { return n.Status == Left || n.Status == Dead })
}

// silent is the time without an answer after which a member is suspect: each
// member is probed once per round, in an order that changes with the round.
func (m *Mesh) silent() time.Duration {
	others := max(1, m.alive.Load()-1)
	return 2*m.cfg.ProbeInterval*time.Duration(others) + m.cfg.ProbeTimeout
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// countAliveLocked keeps the number that the broadcast queue asks for. The queue
// asks while it holds its own lock, and is given broadcasts while m.mu is held:
// it must not be made to wait for m.mu.
func (m *Mesh) countAliveLocked() {
	n := 0
	for _, mem := range m.members {
		if mem.status == Alive {
			n++
		}
	}
	m.alive.Store(int64(n))
}

// Watch returns a channel that gets a value after the View has changed; changes
// in between are not counted. It lasts as long as the Mesh: call it once per
// consumer.
func (m *Mesh) Watch() <-chan struct{} {
	ch := make(chan struct{}, 1)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watchers = append(m.watchers, ch)
	return ch
}

func (m *Mesh) notifyLocked() {
	for _, ch := range m.watchers {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// SetConsensus tells the other nodes about this node's Raft state. It returns
// at once; the news travels by gossip.
func (m *Mesh) SetConsensus(c Consensus) {
	m.mu.Lock()
	same := m.self.Consensus == c
	m.self.Consensus = c
	m.mu.Unlock()
	if same {
		return
	}
	select {
	case m.dirty <- struct{}{}:
	default:
	}
}

// farewells is how often Leave tells each member; a datagram may be lost.
const farewells = 3

// Leave tells the others that this node goes on purpose, at most until the
// timeout. It does not wait for gossip's turn: the library's own word of the
// leaving rides on datagrams sent to each member at once. Shutdown follows.
func (m *Mesh) Leave(timeout time.Duration) error {
	m.cancel()
	m.wg.Wait()
	left := piece{Node: m.id.UUID(), Key: leftKey, AsOf: time.Now().UnixMilli(), Body: []byte("true")}
	m.mu.Lock()
	left = m.putLocked(left)
	m.mu.Unlock()
	raw, err := json.Marshal(left)
	if err != nil {
		return fmt.Errorf("leaving the mesh: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- m.list.Leave(timeout) }()
	end := time.After(timeout)
	for range farewells {
		for _, n := range m.list.Members() {
			if n.Name != m.id.UUID() {
				_ = m.list.SendBestEffort(n, raw) // the next one may pass
			}
		}
		select {
		case err = <-done:
			if err != nil {
				return fmt.Errorf("leaving the mesh: %w", err)
			}
			return nil
		case <-end:
			return nil
		case <-time.After(timeout / (farewells + 1)):
		}
	}
	return nil
}

// Shutdown stops gossip without a word; the others find out. It may be called
// more than once.
func (m *Mesh) Shutdown() error {
	var err error
	m.closeOnce.Do(func() {
		m.cancel()
		m.wg.Wait()
		err = m.list.Shutdown()
	})
	return err
}

// addrOf is the address of a member as the library has it.
func addrOf(n *memberlist.Node) netip.AddrPort {
	ip, _ := netip.AddrFromSlice(n.Addr)
	return netip.AddrPortFrom(ip.Unmap(), n.Port)
}
