package consensus

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// run is the node's own goroutine: it forms the cluster, lets nodes in, follows
// addresses, and brings Raft back after the disk had failed.
func (n *Node) run() {
	defer n.wg.Done()
	tick := time.NewTicker(n.cfg.Tick)
	defer tick.Stop()
	leader, stop := n.watchLeader()
	for {
		n.step()
		select {
		case <-n.ctx.Done():
			stop()
			return
		case <-tick.C:
		case <-n.wake:
		case <-n.commit:
			n.tellFollowers()
		case <-leader:
		}
		n.mu.Lock()
		lost := n.inst == nil
		n.mu.Unlock()
		if lost {
			stop()
			n.reopen()
			leader, stop = n.watchLeader()
		}
	}
}

// watchLeader delivers changes of leadership, and logs them.
func (n *Node) watchLeader() (<-chan raft.Observation, func()) {
	inst, err := n.running()
	if err != nil {
		return nil, func() {}
	}
	ch := make(chan raft.Observation, 4)
	obs := raft.NewObserver(ch, false, func(o *raft.Observation) bool {
		l, ok := o.Data.(raft.LeaderObservation)
		if ok {
			n.logLeader(l)
			n.notify()
		}
		return ok
	})
	inst.raft.RegisterObserver(obs)
	return ch, func() { inst.raft.DeregisterObserver(obs) }
}

func (n *Node) logLeader(l raft.LeaderObservation) {
	if l.LeaderID == "" {
		n.log.Info("no leader")
		return
	}
	_, addr := splitAddress(l.LeaderAddr)
	n.log.Info("leader elected", "leader", n.nameOf(string(l.LeaderID)), "addr", addr)
}

func (n *Node) nameOf(uuid string) string {
	if uuid == n.cfg.ServerID {
		return n.cfg.Name
	}
	for _, p := range n.members() {
		if p.UUID == uuid {
			return p.Name
		}
	}
	if r, ok := n.State().Nodes[uuid]; ok {
		return r.Name
	}
	return uuid
}

func (n *Node) self() Peer {
	n.mu.Lock()
	defer n.mu.Unlock()
	return Peer{UUID: n.cfg.ServerID, Name: n.cfg.Name, Addr: n.cfg.Addr, Role: n.cfg.Role, Alive: true, Local: n.local}
}

func (n *Node) step() {
	n.refreshPeers()
	n.refreshLocal()
	inst, err := n.running()
	if err != nil {
		return
	}
	n.keepPace(inst)
	switch {
	case inst.raft.LastIndex() == 0:
		n.form(inst)
	case inst.raft.State() == raft.Leader:
		n.lead(inst)
	default:
		n.setWaiting("")
	}
}

// keepPace lets a leader send fewer heartbeats. Raft sends them at a tenth to a
// fifth of its own heartbeat timeout, that is up to 33 a second to each follower;
// what they wake is nearly all that an idle leader costs. One and a half times
// the timeout keeps the last contact below half the lease, and three of them
// within a follower's timeout, which is unchanged.
func (n *Node) keepPace(inst *instance) {
	pace := n.cfg.Heartbeat
	if inst.raft.State() == raft.Leader {
		pace = pace * 3 / 2
	}
	if pace == inst.pace {
		return
	}
	c := inst.raft.ReloadableConfig()
	c.HeartbeatTimeout, c.ElectionTimeout = pace, pace
	if err := inst.raft.ReloadConfig(c); err != nil {
		n.log.Warn("heartbeat pace stays as it was", "err", err)
		return
	}
	inst.pace = pace
}

func (n *Node) setWaiting(text string) {
	n.mu.Lock()
	same := n.waiting == text
	n.waiting = text
	n.mu.Unlock()
	if !same {
		if text != "" {
			n.log.Info("waiting for a cluster", "reason", text)
		}
		n.notify()
	}
}

// refreshLocal publishes what the others should know of this node's state.
func (n *Node) refreshLocal() {
	inst, err := n.running()
	if err != nil {
		return
	}
	id := n.State().Cluster.ID
	if id != "" {
		if err := n.writeName(inst.store, clusterName{Name: n.cfg.Cluster, ID: id}); err != nil {
			return // the store has said so
		}
	}
	n.mu.Lock()
	was := n.local
	n.local.Bootstrapped = inst.raft.LastIndex() > 0
	if id == "" {
		id = n.name.ID
	}
	if !n.local.Bootstrapped {
		id = Blank
	}
	n.local.ClusterID = id
	now := n.local
	n.mu.Unlock()
	if was != now {
		n.cfg.Publish(now)
	}
}

// form bootstraps when everybody agrees.
func (n *Node) form(inst *instance) {
	d := decide(n.self(), n.members(), n.cfg.Cluster)
	n.mu.Lock()
	changed := n.local.Proposal != d.proposal
	n.local.Proposal = d.proposal
	now := n.local
	n.mu.Unlock()
	if changed {
		n.cfg.Publish(now)
		if len(d.servers) == 0 && n.cfg.BootstrapExpect == 1 {
			n.Wake() // nobody else has to agree
		}
	}
	n.setWaiting(d.waiting)
	if len(d.servers) == 0 {
		return
	}
	if err := n.bootstrap(inst, d.servers); err != nil {
		if ok, repeats := n.quiet.Allow("bootstrap" + err.Error()); ok {
			n.log.Warn("forming the cluster failed, trying on", "err", err, "repeats", repeats)
		}
	}
}

func (n *Node) bootstrap(inst *instance, servers []raft.Server) error {
	n.forms.Lock()
	defer n.forms.Unlock()
	if inst.raft.LastIndex() > 0 {
		return nil // by log, from somebody who was quicker
	}
	id := clusterID(n.cfg.Cluster, servers)
	if err := n.writeName(inst.store, clusterName{Name: n.cfg.Cluster, ID: id}); err != nil {
		return err
	}
	if err := await(n.ctx, inst.raft.BootstrapCluster(raft.Configuration{Servers: servers}), n.cfg.StoreDeadline*3); err != nil {
		if errors.Is(err, raft.ErrCantBootstrap) {
			return nil
		}
		return fmt.Errorf("bootstrapping: %w", err)
	}
	n.log.Info("cluster formed", "servers", len(servers), "cluster_id", id)
	n.refreshLocal()
	return nil
}

// Bootstrap forms a cluster of this node alone; others are let in when they
// are seen. It is `keepmesh cluster init`. It refuses where there is state, here
// or on a live node.
func (n *Node) Bootstrap() error {
	inst, err := n.running()
	if err != nil {
		return fmt.Errorf("cluster init: %w", err)
	}
	if inst.raft.LastIndex() > 0 {
		return fmt.Errorf("cluster init: this node has cluster state already: `keepmesh cluster members` shows it")
	}
	if !n.cfg.Role.votes() {
		return errors.New("cluster init: an observer cannot form a cluster: run it on a voter")
	}
	for _, p := range n.cfg.Members() {
		if p.Alive && p.UUID != n.cfg.ServerID && p.Local.Bootstrapped {
			return fmt.Errorf("cluster init: %s has a cluster already: its leader lets this node in by itself", p.Name)
		}
	}
	self := n.self()
	return n.bootstrap(inst, []raft.Server{{Suffrage: raft.Voter, ID: raft.ServerID(self.UUID), Address: serverAddress(self.UUID, self.Addr)}})
}

const changeTimeout = 5 * time.Second

// lead does the leader's duties, one change per round.
func (n *Node) lead(inst *instance) {
	n.setWaiting("")
	s := n.State()
	if s.Cluster.ID == "" {
		n.mu.Lock()
		id := n.name.ID
		n.mu.Unlock()
		if id == "" {
			id = clusterID(n.cfg.Cluster, inst.raft.GetConfiguration().Configuration().Servers)
		}
		n.propose(inst, Command{Version: 1, Op: OpCluster, Cluster: &Cluster{ID: id, Name: n.cfg.Cluster}})
		return
	}
	peers := n.peersAndSelf()
	next, foreign := plan(inst.raft.GetConfiguration().Configuration(), s, peers)
	for _, p := range foreign {
		if ok, repeats := n.quiet.Allow("foreign" + p.UUID + p.Local.ClusterID); ok {
			n.log.Error("node holds the state of another cluster of the same name and is not let in: stop it, move its data_dir away and start it again",
				"node", p.Name, "theirs", p.Local.ClusterID, "ours", s.Cluster.ID, "repeats", repeats)
		}
	}
	if next != nil {
		n.change(inst, *next)
		return
	}
	for _, p := range peers {
		rec := NodeRecord{UUID: p.UUID, Name: p.Name, Addr: p.Addr, Role: p.Role}
		if p.Alive && s.Nodes[p.UUID] != rec && !s.Removed[p.UUID] && !slices.ContainsFunc(foreign, func(f Peer) bool { return f.UUID == p.UUID }) {
			n.propose(inst, Command{Version: 1, Op: OpNode, Node: &rec})
		}
	}
}

func (n *Node) peersAndSelf() []Peer {
	peers := slices.DeleteFunc(slices.Clone(n.members()), func(p Peer) bool { return p.UUID == n.cfg.ServerID })
	return append(peers, n.self())
}

func (n *Node) change(inst *instance, c change) {
	var f raft.IndexFuture
	switch c.verb {
	case "add voter":
		f = inst.raft.AddVoter(c.id, c.addr, 0, changeTimeout)
	case "add observer":
		f = inst.raft.AddNonvoter(c.id, c.addr, 0, changeTimeout)
	case "demote":
		f = inst.raft.DemoteVoter(c.id, 0, changeTimeout)
	default:
		f = inst.raft.RemoveServer(c.id, 0, changeTimeout)
	}
	_, addr := splitAddress(c.addr)
	if err := await(n.ctx, f, changeTimeout); err != nil {
		if ok, repeats := n.quiet.Allow("change" + c.verb + string(c.id)); ok {
			n.log.Warn("membership change failed, trying on", "change", c.verb, "node", c.name, "addr", addr, "err", err, "repeats", repeats)
		}
		return
	}
	n.log.Info("membership changed", "change", c.verb, "node", c.name, "addr", addr)
	n.committed()
	n.Wake()
}

// committed asks for a barrier, see tellFollowers.
func (n *Node) committed() {
	select {
	case n.commit <- struct{}{}:
	default:
	}
}

// tellFollowers appends a barrier: followers learn of a commit with the next
// entry, at once, and not when a timer of the leader ends.
func (n *Node) tellFollowers() {
	inst, err := n.running()
	if err != nil || inst.raft.State() != raft.Leader {
		return
	}
	inst.raft.Barrier(time.Second)
}
