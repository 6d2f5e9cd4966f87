package consensus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keepmesh/keepmesh/consensus"
	"github.com/keepmesh/keepmesh/mesh"
	"github.com/keepmesh/keepmesh/mesh/link"
)

var clusterKey = bytes.Repeat([]byte{7}, 32)

type logs struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if os.Getenv("KEEPMESH_TEST_LOG") != "" {
		os.Stderr.Write(p)
	}
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// host is what of a node survives a restart.
type host struct {
	addr    netip.Addr
	name    string
	cluster string
	dir     string
	seeds   []string
	expect  int
	role    consensus.Role
	logs    *logs
}

// lan makes hosts on a /24 of the loopback network, each with an address of its
// own and the same port. The first three are the seeds.
type lan [2]byte

func newLAN() lan { return lan{byte(1 + rand.IntN(250)), byte(rand.IntN(250))} }

func (l lan) addr(n int) netip.Addr { return netip.AddrFrom4([4]byte{127, l[0], l[1], byte(n)}) }

func (l lan) host(t *testing.T, n, expect int) *host {
	h := &host{addr: l.addr(n), name: fmt.Sprintf("lb%d", n), cluster: "edge", dir: t.TempDir(), expect: expect, role: consensus.Voter, logs: new(logs)}
	for s := 1; s <= 3; s++ {
		h.seeds = append(h.seeds, l.addr(s).String())
	}
	return h
}

// node is a started host, wired as the cluster process wires it.
type node struct {
	*consensus.Node
	host *host
	mesh *mesh.Mesh
	link *link.Listener
	id   *link.Identity
	once sync.Once
	end  chan struct{}
}

func peersOf(m *mesh.Mesh) []consensus.Peer {
	var out []consensus.Peer
	for _, n := range m.View().Nodes {
		c := n.Consensus
		out = append(out, consensus.Peer{
			UUID: n.UUID, Name: n.Name, Addr: n.Addr.String(), Role: consensus.Role(n.Role),
			Alive: n.Status == mesh.Alive || n.Status == mesh.Suspect,
			Local: consensus.Local{Expect: c.Expect, Bootstrapped: c.Bootstrapped, ClusterID: c.ClusterID, Proposal: c.Proposal},
		})
	}
	return out
}

func (h *host) tryStart() (*node, error) {
	id, err := link.OpenIdentity(link.IdentityConfig{Cluster: h.cluster, Name: h.name, DataDir: h.dir, Key: clusterKey})
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(h.logs, nil)).With("self", h.name)
	n := &node{host: h, id: id, end: make(chan struct{})}
	if n.link, err = link.Listen(link.Config{Bind: []netip.Addr{h.addr}, Port: 7946, Identity: id, Logger: log}); err != nil {
		return nil, err
	}
	n.mesh, err = mesh.Start(mesh.Config{Identity: id, Link: n.link, Key: clusterKey, Role: mesh.Role(h.role), Seeds: h.seeds, Logger: log,
		GossipInterval: 20 * time.Millisecond, ProbeInterval: 150 * time.Millisecond, ProbeTimeout: 75 * time.Millisecond,
		RetryMin: 50 * time.Millisecond, RetryMax: 300 * time.Millisecond})
	if err != nil {
		n.link.Close()
		return nil, err
	}
	n.Node, err = consensus.Start(consensus.Config{
		ServerID: id.UUID(), Name: h.name, Cluster: h.cluster, Addr: n.link.Addrs()[0].String(), DataDir: h.dir,
		Role: h.role, BootstrapExpect: h.expect, Link: n.link, Logger: log, Tick: 100 * time.Millisecond,
		Members: func() []consensus.Peer { return peersOf(n.mesh) },
		Publish: func(l consensus.Local) {
			n.mesh.SetConsensus(mesh.Consensus{Expect: l.Expect, Bootstrapped: l.Bootstrapped, ClusterID: l.ClusterID, Proposal: l.Proposal})
		},
	})
	if err != nil {
		n.mesh.Shutdown()
		n.link.Close()
		return nil, err
	}
	watch := n.mesh.Watch()
	go func() {
		for {
			select {
			case <-watch:
				n.Wake()
			case <-n.end:
				return
			}
		}
	}()
	return n, nil
}

func (h *host) start(t *testing.T) *node {
	t.Helper()
	n, err := h.tryStart()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.crash)
	return n
}

// crash stops a node without a word to the others.
func (n *node) crash() {
	n.once.Do(func() {
		close(n.end)
		n.Shutdown()
		n.mesh.Shutdown()
		n.link.Close()
	})
}

func eventually(t *testing.T, what string, ok func() bool, nodes ...*node) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			for _, n := range nodes {
				t.Logf("%s: %+v\n%s", n.host.name, n.Status(), n.host.logs)
			}
			t.Fatalf("not within 30 s: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// agreed waits until all nodes know one leader and have this many voters.
func agreed(t *testing.T, voters int, nodes ...*node) *node {
	t.Helper()
	var leader *node
	eventually(t, fmt.Sprintf("one leader and %d voters", voters), func() bool {
		first := nodes[0].Status()
		leader = nil
		for _, n := range nodes {
			s := n.Status()
			if s.LeaderUUID == "" || s.LeaderUUID != first.LeaderUUID || s.Voters != voters || !s.Quorum || s.ClusterID == "" || s.ClusterID != first.ClusterID {
				return false
			}
			if s.State == "leader" {
				leader = n
			}
		}
		return true
	}, nodes...)
	return leader
}

func put(t *testing.T, n *node, key, value string) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		r, err := n.Put(ctx, key, []byte(value))
		if errors.Is(err, consensus.ErrUnknownOutcome) && ctx.Err() == nil {
			continue // a leader went away in between; putting the same again is harmless
		}
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
}

func reads(n *node, key, want string) func() bool {
	return func() bool { v, ok := n.Get(key); return ok && string(v.Data) == want }
}

func three(t *testing.T) (lan, []*host, []*node) {
	t.Helper()
	l := newLAN()
	hosts := []*host{l.host(t, 1, 3), l.host(t, 2, 3), l.host(t, 3, 3)}
	var nodes []*node
	for _, h := range hosts {
		nodes = append(nodes, h.start(t))
	}
	return l, hosts, nodes
}

func TestThreeNodesFormAClusterAndKeepItOverRestarts(t *testing.T) {
	t.Parallel()
	_, hosts, nodes := three(t)
	agreed(t, 3, nodes...)
	put(t, nodes[0], "k", "first")
	if v, ok := nodes[0].Get("k"); !ok || string(v.Data) != "first" {
		t.Errorf("the writer does not see its own write: %q", v.Data)
	}
	for n, h := range hosts {
		nodes[n].crash()
		nodes[n] = h.start(t)
		agreed(t, 3, nodes...)
	}
	for _, n := range nodes {
		eventually(t, n.host.name+" has the value after every node was restarted once", reads(n, "k", "first"), nodes...)
	}
	s := nodes[1].Status()
	if s.Alive != 3 || s.Needed != 2 || s.FailureTolerance != 1 || s.Term == 0 || s.CommitIndex == 0 || s.LeaderName == "" {
		t.Errorf("status %+v", s)
	}
	v, err := nodes[2].GetLinearizable(t.Context(), "k")
	if err != nil || string(v.Data) != "first" {
		t.Errorf("linearizable read: %q, %v", v.Data, err)
	}
	if _, err := nodes[2].CompareAndSwap(t.Context(), "k", 99999, nil); !errors.Is(err, consensus.ErrConflict) {
		t.Errorf("swap at a wrong revision: %v", err)
	}
	if _, err := nodes[2].CompareAndSwap(t.Context(), "k", v.Revision, []byte("second")); err != nil {
		t.Errorf("swap at the right revision: %v", err)
	}
	if err := nodes[0].Delete(t.Context(), "none"); !errors.Is(err, consensus.ErrNotFound) {
		t.Errorf("delete of nothing: %v", err)
	}
}

func TestTwoOfThreeRestartAtOnce(t *testing.T) {
	t.Parallel()
	_, hosts, nodes := three(t)
	agreed(t, 3, nodes...)
	put(t, nodes[1], "k", "v")
	eventually(t, "lb1 has it", reads(nodes[0], "k", "v"))
	nodes[1].crash()
	nodes[2].crash()
	eventually(t, "the survivor says that there is no quorum", func() bool {
		s := nodes[0].Status()
		return !s.Quorum && s.Alive == 1 && s.Needed == 2 && s.LeaderUUID == ""
	}, nodes[0])
	if v, ok := nodes[0].Get("k"); !ok || string(v.Data) != "v" {
		t.Error("a local read needs a quorum")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := nodes[0].Put(ctx, "k", []byte("lost"))
	if !errors.Is(err, consensus.ErrNoLeader) || !strings.Contains(err.Error(), "1 of 3 voters are alive and 2 are needed: bring back lb2 or lb3") {
		t.Errorf("write without a quorum: %v", err)
	}
	nodes[1], nodes[2] = hosts[1].start(t), hosts[2].start(t)
	agreed(t, 3, nodes...)
	put(t, nodes[2], "k", "w")
	for _, n := range nodes {
		eventually(t, n.host.name+" goes on", reads(n, "k", "w"), nodes...)
	}
}

func TestLateNodesAreLetIn(t *testing.T) {
	t.Parallel()
	l, _, nodes := three(t)
	agreed(t, 3, nodes...)
	put(t, nodes[0], "k", "v")
	fourth := l.host(t, 4, 3).start(t)
	nodes = append(nodes, fourth)
	agreed(t, 4, nodes...)
	eventually(t, "the fourth has the value", reads(fourth, "k", "v"), nodes...)
	ho := l.host(t, 5, 0)
	ho.role = consensus.Observer
	observer := ho.start(t)
	nodes = append(nodes, observer)
	agreed(t, 4, nodes...)
	eventually(t, "the observer follows without a vote", func() bool {
		return reads(observer, "k", "v")() && len(observer.Status().Servers) == 5
	}, nodes...)
	put(t, observer, "k", "by the observer")
	eventually(t, "everybody is in the registry", func() bool { return len(nodes[0].State().Nodes) == 5 }, nodes...)

	if err := nodes[0].Remove(t.Context(), fourth.id.UUID()); err != nil {
		t.Fatal(err)
	}
	agreed(t, 3, nodes[0], nodes[1], nodes[2])
	if err := nodes[0].Readmit(t.Context(), fourth.id.UUID()); err != nil {
		t.Fatal(err)
	}
	agreed(t, 4, nodes...)
}

func TestServerIDSurvivesAnAddressChange(t *testing.T) {
	t.Parallel()
	l, hosts, nodes := three(t)
	agreed(t, 3, nodes...)
	before := nodes[2].id.UUID()
	nodes[2].crash()
	put(t, nodes[0], "k", "while it was away")
	hosts[2].addr = l.addr(33)
	nodes[2] = hosts[2].start(t)
	agreed(t, 3, nodes...)
	eventually(t, "it catches up at the new address", reads(nodes[2], "k", "while it was away"), nodes...)
	eventually(t, "the configuration follows", func() bool {
		for _, s := range nodes[0].Status().Servers {
			if s.UUID == before {
				return s.Addr == l.addr(33).String()+":7946"
			}
		}
		return false
	}, nodes...)
}

func TestClusterInitThenJoin(t *testing.T) {
	t.Parallel()
	l := newLAN()
	a, b := l.host(t, 1, 0).start(t), l.host(t, 2, 0).start(t)
	eventually(t, "both wait and say for what", func() bool {
		return strings.Contains(a.Status().Waiting, "keepmesh cluster init") && a.Status().State == "forming" && len(peersOf(a.mesh)) == 2 && len(peersOf(b.mesh)) == 2
	}, a, b)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := b.Put(ctx, "k", nil); !errors.Is(err, consensus.ErrNoLeader) || !strings.Contains(err.Error(), "no cluster yet") {
		t.Errorf("write before there is a cluster: %v", err)
	}
	if err := a.Bootstrap(); err != nil {
		t.Fatal(err)
	}
	agreed(t, 2, a, b)
	if err := b.Bootstrap(); err == nil || !strings.Contains(err.Error(), "has cluster state already") {
		t.Errorf("init over state: %v", err)
	}
}

func TestStateOfAnotherClusterIsRefusedByName(t *testing.T) {
	t.Parallel()
	l := newLAN()
	h := l.host(t, 1, 1)
	n := h.start(t)
	agreed(t, 1, n)
	n.crash()
	h.cluster = "prod"
	n, err := h.tryStart()
	if err == nil {
		n.crash()
	}
	if err == nil || !strings.Contains(err.Error(), `holds the state of cluster "edge", mesh.conf says cluster_name "prod"`) {
		t.Errorf("got %v", err)
	}
}

func TestTwoClustersOfOneNameDoNotMerge(t *testing.T) {
	t.Parallel()
	l := newLAN()
	ha, hb := l.host(t, 1, 1), l.host(t, 2, 1)
	ha.seeds, hb.seeds = nil, nil
	a, b := ha.start(t), hb.start(t)
	agreed(t, 1, a)
	agreed(t, 1, b)
	b.crash()
	hb.seeds = []string{l.addr(1).String()}
	b = hb.start(t)
	eventually(t, "the alarm", func() bool {
		return strings.Contains(ha.logs.String(), "holds the state of another cluster of the same name")
	}, a, b)
	if s := a.Status(); s.Voters != 1 {
		t.Errorf("%d voters", s.Voters)
	}
}
