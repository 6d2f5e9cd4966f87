package consensus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/keepmesh/keepmesh/mesh/link"
)

// stream is Raft's share of the port.
type stream struct {
	net.Listener
	link *link.Listener
	self raft.ServerAddress
}

// Dial opens a stream to a server and to nobody else: an address may have
// passed to another node of the cluster.
func (s *stream) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return dialNode(ctx, s.link, link.Raft, to)
}

func dialNode(ctx context.Context, l *link.Listener, proto string, to raft.ServerAddress) (net.Conn, error) {
	uuid, addr := splitAddress(to)
	conn, err := l.Dial(ctx, proto, addr)
	if err != nil {
		return nil, err
	}
	if peer, _ := link.PeerOf(conn); peer.UUID != uuid {
		conn.Close()
		return nil, fmt.Errorf("%s is node %q (%s) now, not %s", addr, peer.Name, peer.UUID, uuid)
	}
	return conn, nil
}

type serverAddr string

func (serverAddr) Network() string  { return "keepmesh" }
func (a serverAddr) String() string { return string(a) }

// Addr is the address that Raft advertises.
func (s *stream) Addr() net.Addr { return serverAddr(s.self) }

// addresses lets Raft follow a node whose address has changed before the change
// is in the configuration: without it a cluster that moved as a whole could
// never elect the leader that would record it.
type addresses struct{ members func() []Peer }

var errNotInGossip = errors.New("not known to gossip")

func (a addresses) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	peers := a.members()
	n := slices.IndexFunc(peers, func(p Peer) bool { return p.UUID == string(id) && p.Addr != "" })
	if n < 0 {
		return "", errNotInGossip
	}
	return serverAddress(peers[n].UUID, peers[n].Addr), nil
}

// fsm is the adapter between Raft and Apply.
type fsm struct{ node *Node }

func (f fsm) Apply(entry *raft.Log) any {
	var c Command
	if err := json.Unmarshal(entry.Data, &c); err != nil {
		c = Command{} // version 0: unknown
	}
	return f.node.applied(entry.Index, c)
}

func (f fsm) Snapshot() (raft.FSMSnapshot, error) {
	return snapshot{f.node.state.Load()}, nil
}

// maxSnapshot bounds what a snapshot may make this process read.
const maxSnapshot = 256 << 20

func (f fsm) Restore(r io.ReadCloser) error {
	defer r.Close()
	var p published
	if err := json.NewDecoder(io.LimitReader(r, maxSnapshot)).Decode(&p); err != nil {
		return fmt.Errorf("reading the snapshot: %w", err)
	}
	f.node.publish(&p)
	return nil
}

type snapshot struct{ p *published }

func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if err := json.NewEncoder(sink).Encode(s.p); err != nil {
		sink.Cancel()
		return fmt.Errorf("writing the snapshot: %w", err)
	}
	return sink.Close()
}

func (snapshot) Release() {}
