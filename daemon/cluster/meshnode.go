package cluster

import (
	"crypto/ecdh"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/consensus"
	"github.com/keepmesh/keepmesh/daemon/ipc"
	"github.com/keepmesh/keepmesh/mesh"
	"github.com/keepmesh/keepmesh/mesh/link"
)

// meshNode is this node's part in the mesh: the shared port, gossip, Raft.
type meshNode struct {
	p    *process
	cfg  *config.Mesh
	log  *slog.Logger
	id   *link.Identity
	key  []byte
	port *link.Listener

	mesh *mesh.Mesh
	raft *consensus.Node
	done chan struct{}
	once sync.Once

	starts   uint64 // of the vrrp process in this process's life
	lastWire string // what the vrrp process was told last
}

// newMeshNode does everything that can fail on this machine: key, identity,
// port. What can fail in the network is retried for ever by start.
func newMeshNode(p *process, cfg *config.Mesh) (*meshNode, error) {
	key, err := link.ReadKeyFile(cfg.EncryptKeyFile)
	if err != nil {
		return nil, err
	}
	ic := link.IdentityConfig{Cluster: cfg.ClusterName, Name: cfg.NodeName, DataDir: cfg.DataDir, Key: key}
	if cfg.TLS.CA != "" {
		ic.TLS = &link.TLSFiles{CA: cfg.TLS.CA, Cert: cfg.TLS.Cert, Key: cfg.TLS.Key}
	}
	id, err := link.OpenIdentity(ic)
	if err != nil {
		return nil, err
	}
	port, err := link.Listen(link.Config{Bind: cfg.Bind, Port: uint16(cfg.Port), Identity: id, Logger: p.log})
	if err != nil {
		return nil, err
	}
	m := &meshNode{p: p, cfg: cfg, log: p.log, id: id, key: key, port: port, done: make(chan struct{})}
	m.mesh, err = mesh.Start(mesh.Config{
		Identity: id, Link: port, Key: key, Role: mesh.Role(cfg.Role), Seeds: cfg.Join, Logger: p.log,
		ProbeInterval: probeInterval, ProbeTimeout: probeInterval / 2, GossipInterval: probeInterval / 2,
	})
	if err != nil {
		port.Close()
		return nil, err
	}
	m.raft, err = consensus.Start(consensus.Config{
		ServerID: id.UUID(), Name: cfg.NodeName, Cluster: cfg.ClusterName, Addr: port.Addrs()[0].String(), DataDir: cfg.DataDir,
		Role: consensus.Role(cfg.Role), BootstrapExpect: cfg.BootstrapExpect, Link: port,
		Members: m.peers, Publish: m.publishRaft, Logger: p.log,
		Heartbeat: raftHeartbeat, Lease: raftHeartbeat / 2,
	})
	if err != nil {
		_ = m.mesh.Shutdown()
		port.Close()
		return nil, err
	}
	return m, nil
}

// raftHeartbeat is Raft's heartbeat and election timeout. Under `availability`
// nothing that holds an address waits for Raft, and each exchange costs an idle
// node more than its bytes: two seconds keep it under a hundredth of a core.
const raftHeartbeat = 2 * time.Second

// probeInterval is how often a node asks another one whether it lives. Nothing
// that holds an address waits for the answer either.
const probeInterval = time.Second

// start begins to serve and to follow what gossip says.
func (m *meshNode) start() {
	m.port.ServeHTTP(m.p.api.meshHandler())
	go m.follow(m.mesh.Watch())
	m.p.happened("mesh", "", fmt.Sprintf("%s joins %s on %s", m.cfg.NodeName, m.cfg.ClusterName, m.port.Addrs()[0]))
}

func (m *meshNode) follow(changed <-chan struct{}) {
	status := map[string]mesh.Status{}
	for {
		select {
		case <-m.done:
			return
		case <-changed:
		case <-time.After(5 * time.Second):
		}
		m.raft.Wake()
		view := m.mesh.View()
		for _, n := range view.Nodes {
			if n.UUID != view.Self && status[n.UUID] != n.Status {
				status[n.UUID] = n.Status
				name, state := n.Name, string(n.Status)
				m.p.jobs <- func() { m.p.happened("mesh", "", name+" is "+state) }
			}
		}
		m.p.jobs <- func() { m.tellWire(view) }
	}
}

// peers tells the Raft node whom gossip knows.
func (m *meshNode) peers() []consensus.Peer {
	var out []consensus.Peer
	for _, n := range m.mesh.View().Nodes {
		out = append(out, consensus.Peer{
			UUID: n.UUID, Name: n.Name, Addr: n.Addr.String(), Role: consensus.Role(n.Role),
			Alive: n.Status == mesh.Alive || n.Status == mesh.Suspect,
			Local: consensus.Local{Expect: n.Consensus.Expect, Bootstrapped: n.Consensus.Bootstrapped, ClusterID: n.Consensus.ClusterID, Proposal: n.Consensus.Proposal},
		})
	}
	return out
}

func (m *meshNode) publishRaft(l consensus.Local) {
	m.mesh.SetConsensus(mesh.Consensus{Expect: l.Expect, Bootstrapped: l.Bootstrapped, ClusterID: l.ClusterID, Proposal: l.Proposal})
}

// wireBoot orders the lives of this node's end of the second wire, over
// restarts of either process and steps of the wall clock.
func (m *meshNode) wireBoot() uint64 { return m.id.Boot()<<16 + m.starts }

// vrrpRestarted makes the next tellWire say everything again.
func (m *meshNode) vrrpRestarted() {
	m.starts++
	m.lastWire = ""
	m.tellWire(m.mesh.View())
}

// tellWire gives the vrrp process the members with whom it shares the second
// wire. A member that gossip takes for dead stays: the two paths fail apart.
func (m *meshNode) tellWire(view mesh.View) {
	w := &ipc.Wire{Boot: m.wireBoot(), SelfName: m.cfg.NodeName, Bind: wirePort(m.port.Addrs()[0])}
	var ok bool
	if w.Self, ok = nodeID(m.id.UUID()); !ok {
		return
	}
	for _, n := range view.Nodes {
		id, ok := nodeID(n.UUID)
		if !ok || n.UUID == view.Self {
			continue
		}
		if n.Status == mesh.Left {
			w.Gone = append(w.Gone, id)
			continue
		}
		if n.Role == mesh.Witness || len(n.PublicKey) == 0 {
			continue
		}
		pub, err := ecdh.P256().NewPublicKey(n.PublicKey)
		if err != nil {
			m.log.Warn("a member's public key cannot be used", "node", n.Name, "err", err)
			continue
		}
		key, err := m.id.PairKey(pub, n.UUID)
		if err != nil {
			m.log.Warn("no key for the second wire", "node", n.Name, "err", err)
			continue
		}
		addr := wirePort(n.Addr)
		if n.Digest.Wire.Port != 0 {
			addr = netip.AddrPortFrom(n.Addr.Addr(), n.Digest.Wire.Port)
		}
		w.Peers = append(w.Peers, ipc.WirePeer{
			Node: id, Name: n.Name, Addr: addr, Key: key[:], Boot: n.Digest.Wire.Boot, Sources: sources(&n),
		})
	}
	if text := fmt.Sprint(w.Boot, w.Bind, w.SelfName, w.Peers, w.Gone); text != m.lastWire {
		m.lastWire = text
		m.p.tell(&ipc.Message{Wire: w})
	}
}

// sources are the addresses that a node's own adverts come from.
func sources(n *mesh.Node) []netip.Addr {
	var out []netip.Addr
	for i := range n.Digest.Instances {
		if a := n.Digest.Instances[i].Source; a.IsValid() && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// wirePort is the UDP port of the second wire: the shared port + 1.
func wirePort(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), a.Port()+1) }

func nodeID(uuid string) (id [16]byte, ok bool) {
	b, err := hex.DecodeString(strings.ReplaceAll(uuid, "-", ""))
	if err != nil || len(b) != len(id) {
		return id, false
	}
	return [16]byte(b), true
}

// publish gossips what the vrrp process said.
func (m *meshNode) publish(s *ipc.Snapshot) {
	d := mesh.Digest{Wire: mesh.Wire{Boot: m.wireBoot(), Port: wirePort(m.port.Addrs()[0]).Port()}}
	bySource := map[string]string{}
	for _, n := range m.mesh.View().Nodes {
		for _, i := range n.Digest.Instances {
			if i.Source.IsValid() {
				bySource[i.Source.String()] = n.UUID
			}
		}
	}
	for n := range s.Instances {
		i := &s.Instances[n]
		master, _ := netip.ParseAddr(i.Master)
		source, _ := netip.ParseAddr(i.Source)
		d.Instances = append(d.Instances, mesh.Instance{
			Name: i.Name, Family: i.Family, VRID: i.VRID, Interface: i.Interface, State: i.State, Priority: i.Priority,
			Effective: i.Effective, Owner: master, Source: source, Since: i.Since, Verdict: i.Verdict, Reason: i.Reason, VIPs: i.VIPs,
		})
		for _, h := range i.Heard {
			addr, err := netip.ParseAddr(h.Source)
			if err != nil {
				continue
			}
			x := mesh.Hearing{Instance: i.Name, Peer: addr, Node: bySource[h.Source], LAN: mesh.Never, Wire: mesh.Never}
			if h.Wire == "lan" {
				x.LAN = h.AgeMS
			} else {
				x.Wire = h.AgeMS
			}
			d.Hears = append(d.Hears, x)
		}
	}
	if err := m.mesh.Publish(d); err != nil {
		m.log.Warn("cannot gossip this node's state", "err", err)
	}
}

// stop leaves the mesh on purpose. It is safe on nil.
func (m *meshNode) stop() {
	if m == nil {
		return
	}
	m.once.Do(func() {
		close(m.done)
		if err := m.mesh.Leave(leaveTime); err != nil {
			m.log.Debug("leaving the mesh", "err", err)
		}
		_ = m.raft.Shutdown()
		_ = m.mesh.Shutdown()
		m.port.Close()
	})
}

// leaveTime is how long the farewell may take: the daemon's end waits for it.
const leaveTime = 50 * time.Millisecond
