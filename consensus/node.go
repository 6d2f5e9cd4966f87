package consensus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/keepmesh/keepmesh/mesh/link"
)

// Config is what a Node is made from.
type Config struct {
	ServerID string // node's UUID
	Name     string // node's name
	Cluster  string // cluster's name
	Addr     string // host:port that others reach the shared port at
	DataDir  string // state is kept in its subdirectory raft
	Role     Role   // Voter if empty
	// BootstrapExpect is the number of voters that form a cluster; 0: only
	// Bootstrap does.
	BootstrapExpect int
	Link            *link.Listener
	// Members returns the nodes that gossip knows, this one may be among them.
	// It is called once per Tick and Wake and must not block.
	Members func() []Peer
	// Publish tells the others about this node's state; it must not block. It is
	// called with each change, first from Start.
	Publish func(Local)
	Logger  *slog.Logger

	// Heartbeat is Raft's heartbeat and election timeout, 300 ms if 0; Lease is
	// the leader's lease, 200 ms if 0.
	Heartbeat, Lease time.Duration
	// Tick is how often membership is compared with gossip; 1 s if 0. Wake does
	// it at once.
	Tick time.Duration
	// StoreDeadline bounds each disk operation; 2 s if 0.
	StoreDeadline time.Duration

	open func(dir string) (disk, error)
}

func (c *Config) fill() error {
	if c.ServerID == "" || c.Link == nil || c.Members == nil || c.Logger == nil || c.DataDir == "" || c.Addr == "" {
		return errors.New("consensus: ServerID, Addr, DataDir, Link, Members and Logger are needed")
	}
	if c.Role == "" {
		c.Role = Voter
	}
	if c.BootstrapExpect < 0 {
		return fmt.Errorf("bootstrap_expect %d: it must be the number of voters, 1 or more", c.BootstrapExpect)
	}
	for _, d := range []struct {
		at *time.Duration
		or time.Duration
	}{
		{&c.Heartbeat, 300 * time.Millisecond}, {&c.Tick, time.Second}, {&c.StoreDeadline, 2 * time.Second},
	} {
		if *d.at == 0 {
			*d.at = d.or
		}
	}
	if c.Lease == 0 {
		c.Lease = c.Heartbeat * 2 / 3
	}
	if c.Publish == nil {
		c.Publish = func(Local) {}
	}
	if c.open == nil {
		c.open = openDisk
	}
	return nil
}

// published is a state and its place in the log.
type published struct {
	State State  `json:"state"`
	Index uint64 `json:"index"`
	// Halted is set when the log has a command that this release does not know.
	// The state stays as it is: to go on would make it differ from the others'.
	Halted bool `json:"-"`
}

// instance is one life of Raft over its store. There is another after the disk
// has failed.
type instance struct {
	raft  *raft.Raft
	store *store
	pace  time.Duration // heartbeat timeout in force; of run alone
}

// Node takes part in the cluster's consensus. Make it by Start.
type Node struct {
	cfg     Config
	log     *slog.Logger
	quiet   *link.Throttle
	state   atomic.Pointer[published]
	peers   atomic.Pointer[[]Peer]        // what Members said last; Raft asks at each heartbeat
	changed atomic.Pointer[chan struct{}] // closed with the next publish

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	wake   chan struct{}
	commit chan struct{} // an entry was committed that followers should hear of
	forms  sync.Mutex    // one forming at a time

	mu       sync.Mutex
	inst     *instance // nil while the disk has failed
	old      *store    // of the instance that failed
	failure  error
	local    Local
	waiting  string
	name     clusterName
	watchers []chan struct{}
}

type clusterName struct {
	Name string `json:"name"`
	ID   string `json:"id,omitempty"`
}

var clusterKey = []byte("keepmesh/cluster")

// Start opens the state in the data directory and takes part. It refuses the
// state of another cluster. It does not wait for a leader.
func Start(cfg Config) (*Node, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := &Node{
		cfg: cfg, log: cfg.Logger, quiet: link.NewThrottle(time.Minute),
		ctx: ctx, cancel: cancel, wake: make(chan struct{}, 1), commit: make(chan struct{}, 1),
	}
	n.local = Local{Expect: cfg.BootstrapExpect}
	first := make(chan struct{})
	n.changed.Store(&first)
	n.state.Store(&published{})
	n.refreshPeers()
	inst, err := n.open()
	if err != nil {
		cancel()
		return nil, err
	}
	n.inst = inst
	n.refreshLocal()
	n.wg.Add(2)
	go n.run()
	go n.serveForwards(cfg.Link.Protocol(link.Forward))
	return n, nil
}

// Wake makes the node compare the cluster with gossip now. Call it when
// membership has changed.
func (n *Node) Wake() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *Node) refreshPeers() {
	peers := n.cfg.Members()
	n.peers.Store(&peers)
}

// members is what gossip said lately. It must not be changed.
func (n *Node) members() []Peer { return *n.peers.Load() }

// Watch returns a channel that gets a value after Status or the state has
// changed; changes in between are not counted. Call it once per consumer.
func (n *Node) Watch() <-chan struct{} {
	ch := make(chan struct{}, 1)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watchers = append(n.watchers, ch)
	return ch
}

func (n *Node) notify() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, ch := range n.watchers {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// Shutdown stops taking part. State stays on disk.
func (n *Node) Shutdown() error {
	n.cancel()
	n.wg.Wait()
	n.mu.Lock()
	inst := n.inst
	n.inst = nil
	if n.failure == nil {
		n.failure = errors.New("shut down")
	}
	n.mu.Unlock()
	if inst != nil {
		n.close(inst)
	}
	return nil
}

func (n *Node) raftConfig() *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(n.cfg.ServerID)
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = n.cfg.Heartbeat, n.cfg.Heartbeat, n.cfg.Lease
	// Followers hear of a commit by the barrier that follows it, so this timer
	// need not wake the leader twenty times a second.
	c.CommitTimeout = time.Second
	// The state is small: a short log keeps restarts and the file small too.
	c.TrailingLogs, c.SnapshotThreshold = 512, 1024
	c.ShutdownOnRemove = false
	c.NoLegacyTelemetry = true
	c.Logger = &slogger{log: n.log, quiet: n.quiet, name: "raft"}
	return c
}

// open starts Raft over what is on disk.
func (n *Node) open() (inst *instance, err error) {
	dir := filepath.Join(n.cfg.DataDir, "raft")
	d, err := n.cfg.open(dir)
	if err != nil {
		return nil, err
	}
	st := newStore(d, n.cfg.StoreDeadline, func(err error) { n.fail(err) })
	defer func() {
		// Raft panics where it cannot store its term; here nothing runs yet.
		if r := recover(); r != nil {
			err = fmt.Errorf("starting raft: %v", r)
		}
		if err != nil {
			st.Close()
		}
	}()
	snaps, err := raft.NewFileSnapshotStoreWithLogger(dir, 2, &slogger{log: n.log, quiet: n.quiet, name: "raft"})
	if err != nil {
		return nil, fmt.Errorf("raft snapshots: %w: data_dir must be writable", err)
	}
	if err := n.checkCluster(st, snaps); err != nil {
		return nil, err
	}
	self := serverAddress(n.cfg.ServerID, n.cfg.Addr)
	trans := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		ServerAddressProvider: addresses{n.members},
		Logger:                &slogger{log: n.log, quiet: n.quiet, name: "raft transport"},
		Stream:                &stream{Listener: n.cfg.Link.Protocol(link.Raft), link: n.cfg.Link, self: self},
		MaxPool:               3,
		Timeout:               max(3*time.Second, 2*n.cfg.Heartbeat),
	})
	r, err := raft.NewRaft(n.raftConfig(), fsm{n}, st, st, snaps, trans)
	if err != nil {
		trans.Close()
		return nil, fmt.Errorf("starting raft: %w", err)
	}
	st.running.Store(true)
	return &instance{raft: r, store: st, pace: n.cfg.Heartbeat}, nil
}

// checkCluster refuses state that was made under another cluster's name.
func (n *Node) checkCluster(st *store, snaps raft.SnapshotStore) error {
	has, err := raft.HasExistingState(st, st, snaps)
	if err != nil {
		return fmt.Errorf("reading raft state: %w", err)
	}
	var held clusterName
	raw, err := st.Get(clusterKey)
	switch {
	case errors.Is(err, raftboltdb.ErrKeyNotFound):
	case err != nil:
		return fmt.Errorf("reading raft state: %w", err)
	default:
		if err := json.Unmarshal(raw, &held); err != nil {
			return fmt.Errorf("reading raft state: %w", err)
		}
	}
	if has && held.Name != "" && held.Name != n.cfg.Cluster {
		return fmt.Errorf("%s holds the state of cluster %q, mesh.conf says cluster_name %q: correct the name, or move the directory away to join as a new node",
			filepath.Join(n.cfg.DataDir, "raft"), held.Name, n.cfg.Cluster)
	}
	if !has {
		held = clusterName{}
	}
	n.mu.Lock()
	n.name = held
	n.mu.Unlock()
	return n.writeName(st, clusterName{Name: n.cfg.Cluster, ID: held.ID})
}

func (n *Node) writeName(st *store, name clusterName) error {
	n.mu.Lock()
	same := n.name == name
	n.mu.Unlock()
	if same {
		return nil
	}
	raw, err := json.Marshal(name)
	if err != nil {
		return err
	}
	if err := st.Set(clusterKey, raw); err != nil {
		return err
	}
	n.mu.Lock()
	n.name = name
	n.mu.Unlock()
	return nil
}

// close stops one life of Raft. It does not wait for a disk that hangs.
func (n *Node) close(inst *instance) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = inst.raft.Shutdown().Error()
	}()
	select {
	case <-done:
	case <-time.After(2*n.cfg.StoreDeadline + time.Second):
		n.log.Warn("raft did not stop in time")
	}
	inst.store.Close()
}

// fail takes this node's Raft down after its disk failed.
func (n *Node) fail(err error) {
	n.mu.Lock()
	inst := n.inst
	if inst == nil || n.ctx.Err() != nil {
		n.mu.Unlock()
		return
	}
	n.inst, n.old, n.failure = nil, inst.store, err
	n.mu.Unlock()
	n.log.Error("raft stopped on this node, addresses are not affected; it starts again when the disk answers", "err", err)
	n.notify()
	n.close(inst)
}

// reopen starts Raft again once the disk has answered everything it owed.
func (n *Node) reopen() {
	n.mu.Lock()
	ready := n.inst == nil && n.old != nil && n.old.idle()
	n.mu.Unlock()
	if !ready {
		return
	}
	inst, err := n.open()
	n.mu.Lock()
	if err != nil {
		n.failure = err
	} else {
		n.inst, n.old, n.failure = inst, nil, nil
	}
	n.mu.Unlock()
	if err != nil {
		if ok, repeats := n.quiet.Allow("reopen" + err.Error()); ok {
			n.log.Error("raft cannot start yet", "err", err, "repeats", repeats)
		}
		return
	}
	n.log.Info("raft runs again")
	n.notify()
}

// running returns this life of Raft, or why there is none.
func (n *Node) running() (*instance, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.inst == nil {
		return nil, n.failure
	}
	return n.inst, nil
}

// applied is called by Raft, one entry after the other.
func (n *Node) applied(index uint64, c Command) Result {
	p := n.state.Load()
	if p.Halted {
		return Result{Outcome: Unknown, Revision: p.State.Revision}
	}
	next, res := Apply(p.State, c)
	halted := res.Outcome == Unknown
	if halted {
		n.log.Error("the cluster runs a newer release than this node: its state stands still here until this node is upgraded", "index", index, "op", c.Op, "version", c.Version)
	}
	n.publish(&published{State: next, Index: index, Halted: halted})
	return res
}

func (n *Node) publish(p *published) {
	n.state.Store(p)
	next := make(chan struct{})
	close(*n.changed.Swap(&next))
	n.notify()
}

// State returns the replicated state as this node knows it. It must not be
// changed.
func (n *Node) State() State { return n.state.Load().State }
