package consensus

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/raft"
)

// Role of a node: voters and witnesses vote, observers follow.
type Role string

// The roles of mesh.conf.
const (
	Voter    Role = "voter"
	Observer Role = "observer"
	Witness  Role = "witness"
)

func (r Role) votes() bool { return r != Observer }

// Peer is a node as gossip knows it.
type Peer struct {
	UUID  string
	Name  string
	Addr  string // host:port of the shared port
	Role  Role
	Alive bool
	Local Local // what the node says about its own Raft state
}

// Local is what a node tells the others about its Raft state.
type Local struct {
	Expect       int
	Bootstrapped bool   // it has Raft state
	ClusterID    string // identity of that state, Blank without state; empty while that is not known
	Proposal     string // digest of the servers it would form a cluster with
}

// Blank is the ClusterID of a node that has looked and holds no state. Gossip
// knows a node before its Raft has said anything: such a node is neither let in
// nor counted, or one that restarts with another cluster's state would be.
const Blank = "none"

// said reports whether the node has told about its state.
func (l Local) said() bool { return l.Bootstrapped || l.ClusterID != "" }

// decision says what a node without state does next.
type decision struct {
	proposal string        // to publish
	servers  []raft.Server // form the cluster with these now
	waiting  string        // or wait, for this
}

// decide works out whether a cluster is to be formed. self.Local.Proposal is
// what this node has published already.
func decide(self Peer, peers []Peer, cluster string) decision {
	expect := self.Local.Expect
	voters := []Peer{self}
	var has, disagree, silent []string
	for _, p := range peers {
		switch {
		case p.UUID == self.UUID || !p.Alive:
		case p.Local.Bootstrapped && (p.Local.Proposal == "" || p.Local.Proposal != self.Local.Proposal):
			has = append(has, p.Name)
		case !p.Role.votes():
		case !p.Local.said():
			silent = append(silent, p.Name)
		case p.Local.Expect != expect:
			disagree = append(disagree, fmt.Sprintf("%s has %d", p.Name, p.Local.Expect))
		default:
			voters = append(voters, p)
		}
	}
	slices.Sort(has)
	slices.Sort(disagree)
	slices.Sort(silent)
	switch {
	case len(has) > 0:
		return decision{waiting: fmt.Sprintf("%s has a cluster: waiting for its leader to let this node in", strings.Join(has, ", "))}
	case !self.Role.votes():
		return decision{waiting: "an observer forms no cluster: waiting for voters"}
	case expect <= 0:
		return decision{waiting: "no cluster yet: set bootstrap_expect, or run `keepmesh cluster init` on one node"}
	}
	if len(silent) > 0 {
		return decision{waiting: fmt.Sprintf("%s has not said yet whether it has a cluster", strings.Join(silent, ", "))}
	}
	slices.SortFunc(voters, func(a, b Peer) int { return strings.Compare(a.UUID, b.UUID) })
	if len(voters) < expect {
		text := fmt.Sprintf("%d of %d expected voters are known (%s)", len(voters), expect, names(voters))
		if len(disagree) > 0 {
			text += fmt.Sprintf("; bootstrap_expect differs: this node has %d, %s: give all the same", expect, strings.Join(disagree, ", "))
		}
		return decision{waiting: text}
	}
	// More than enough: everybody takes the same ones, the rest is let in later.
	voters = voters[:expect]
	d := decision{proposal: digestOf(cluster, voters)}
	if !slices.ContainsFunc(voters, func(p Peer) bool { return p.UUID == self.UUID }) {
		return decision{waiting: fmt.Sprintf("%s form the cluster and let this node in", names(voters))}
	}
	for _, v := range voters {
		if v.Local.Proposal != d.proposal {
			d.waiting = fmt.Sprintf("%s has not agreed to form a cluster of %s yet", v.Name, names(voters))
			return d
		}
	}
	for _, v := range voters {
		d.servers = append(d.servers, raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(v.UUID), Address: serverAddress(v.UUID, v.Addr)})
	}
	return d
}

func names(peers []Peer) string {
	var out []string
	for _, p := range peers {
		out = append(out, p.Name)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func digestOf(cluster string, voters []Peer) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d/%s", len(cluster), cluster)
	for _, v := range voters {
		fmt.Fprintf(h, "/%s", v.UUID)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// clusterID is the same on every node that forms the cluster.
func clusterID(cluster string, servers []raft.Server) string {
	h := sha256.New()
	fmt.Fprintf(h, "cluster %d/%s", len(cluster), cluster)
	for _, s := range servers {
		fmt.Fprintf(h, "/%s", s.ID)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// change is one step of the Raft configuration towards what gossip knows.
type change struct {
	verb string // "add voter", "add observer", "demote", "remove"
	id   raft.ServerID
	addr raft.ServerAddress
	name string
}

// plan returns the next change, one at a time, and the nodes that hold the state
// of another cluster and are therefore left out.
func plan(now raft.Configuration, s State, peers []Peer) (next *change, foreign []Peer) {
	for _, srv := range now.Servers {
		if s.Removed[string(srv.ID)] {
			return &change{verb: "remove", id: srv.ID, name: string(srv.ID)}, nil
		}
	}
	for _, p := range peers {
		if !p.Alive || s.Removed[p.UUID] {
			continue
		}
		id, addr := raft.ServerID(p.UUID), serverAddress(p.UUID, p.Addr)
		at := slices.IndexFunc(now.Servers, func(srv raft.Server) bool { return srv.ID == id })
		if p.Local.Bootstrapped && p.Local.ClusterID != "" && p.Local.ClusterID != s.Cluster.ID {
			foreign = append(foreign, p)
			continue
		}
		if at < 0 && p.Local.ClusterID == "" {
			continue // it has not said what state it has
		}
		if next != nil {
			continue
		}
		c := &change{verb: "add voter", id: id, addr: addr, name: p.Name}
		if !p.Role.votes() {
			c.verb = "add observer"
		}
		switch {
		case at < 0:
			next = c
		case !p.Role.votes() && now.Servers[at].Suffrage == raft.Voter:
			c.verb = "demote"
			next = c
		case p.Role.votes() && now.Servers[at].Suffrage != raft.Voter || now.Servers[at].Address != addr:
			next = c
		}
	}
	return next, foreign
}

// serverAddress binds an address to the node that has to answer there.
func serverAddress(uuid, addr string) raft.ServerAddress {
	return raft.ServerAddress(uuid + "@" + addr)
}

func splitAddress(a raft.ServerAddress) (uuid, addr string) {
	uuid, addr, ok := strings.Cut(string(a), "@")
	if !ok {
		return "", string(a)
	}
	return uuid, addr
}
