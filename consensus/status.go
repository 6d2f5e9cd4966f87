package consensus

import (
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// Status is what this node knows of the cluster now. It works without a leader
// and never waits.
type Status struct {
	State     string // leader, follower, candidate, forming (no cluster yet), down
	Waiting   string // what a node without a cluster waits for
	Failure   string // why Raft is down on this node
	ClusterID string

	LeaderUUID, LeaderName, LeaderAddr string // empty: none known

	Term         uint64
	CommitIndex  uint64
	AppliedIndex uint64
	LastIndex    uint64
	Revision     uint64        // of the replicated state here
	LastContact  time.Duration // since the leader was heard; 0 on the leader, negative if never

	Servers          []Server // by name
	Voters           int
	Alive            int  // voters alive, by gossip
	Needed           int  // majority
	FailureTolerance int  // voters that may be lost now
	Quorum           bool // there is a leader and it was heard lately
}

// Server is one server of the Raft configuration.
type Server struct {
	UUID, Name, Addr string
	Voter            bool
	Alive            bool // by gossip
	Leader           bool
}

// Status returns the node's view of the cluster.
func (n *Node) Status() Status {
	p := n.state.Load()
	s := Status{ClusterID: p.State.Cluster.ID, Revision: p.State.Revision, LastContact: -1}
	inst, err := n.running()
	if err != nil {
		s.State, s.Failure = "down", err.Error()
		return s
	}
	n.mu.Lock()
	s.Waiting = n.waiting
	n.mu.Unlock()
	if p.Halted {
		s.Failure = "the cluster runs a newer release than this node: upgrade it"
	}
	r := inst.raft
	s.Term, s.CommitIndex, s.AppliedIndex, s.LastIndex = r.CurrentTerm(), r.CommitIndex(), r.AppliedIndex(), r.LastIndex()
	leaderAddr, leader := r.LeaderWithID()
	if leader != "" {
		s.LeaderUUID, s.LeaderName = string(leader), n.nameOf(string(leader))
		_, s.LeaderAddr = splitAddress(leaderAddr)
	}
	state := r.State()
	s.State = strings.ToLower(state.String())
	if s.LastIndex == 0 {
		s.State = "forming"
	}
	if contact := r.LastContact(); state == raft.Leader {
		s.LastContact = 0
	} else if !contact.IsZero() {
		s.LastContact = time.Since(contact)
	}
	n.countServers(&s, r.GetConfiguration().Configuration())
	s.Quorum = leader != "" && s.LastContact >= 0 && s.LastContact < 10*n.cfg.Heartbeat
	return s
}

func (n *Node) countServers(s *Status, cfg raft.Configuration) {
	peers := n.peersAndSelf()
	for _, srv := range cfg.Servers {
		_, addr := splitAddress(srv.Address)
		out := Server{
			UUID: string(srv.ID), Name: n.nameOf(string(srv.ID)), Addr: addr,
			Voter: srv.Suffrage == raft.Voter, Leader: string(srv.ID) == s.LeaderUUID,
			Alive: slices.ContainsFunc(peers, func(p Peer) bool { return p.UUID == string(srv.ID) && p.Alive }),
		}
		s.Servers = append(s.Servers, out)
		if out.Voter {
			s.Voters++
			if out.Alive {
				s.Alive++
			}
		}
	}
	slices.SortFunc(s.Servers, func(a, b Server) int { return strings.Compare(a.Name+a.UUID, b.Name+b.UUID) })
	if s.Voters > 0 {
		s.Needed = s.Voters/2 + 1
		s.FailureTolerance = max(0, s.Alive-s.Needed)
	}
}
