// Package status puts together what one node knows of the whole cluster. It is
// assembled, never stored: every node answers for itself, the asked node joins
// the answers, and where a node does not answer its last gossiped digest stands
// in, stamped with that node's own time.
//
// The package is pure: it takes nodes' reports and gives a Status or its text.
package status

import (
	"sort"
	"time"

	"github.com/keepmesh/keepmesh/daemon/ipc"
)

// Node is one node's report of itself.
type Node struct {
	Name      string               `json:"name"`
	UUID      string               `json:"uuid,omitempty"`
	AsOf      time.Time            `json:"as_of"`
	Live      bool                 `json:"live"` // answered just now; false: from gossip
	Instances []ipc.InstanceStatus `json:"instances"`
	Groups    []ipc.GroupStatus    `json:"groups"`
	Config    Config               `json:"config"`
	// VRRPSilent says that the vrrp process did not answer the cluster process.
	VRRPSilent bool   `json:"vrrp_silent,omitempty"`
	WireError  string `json:"wire_error,omitempty"`
}

// Config names the configuration in force.
type Config struct {
	Version uint64 `json:"version"`
	Hash    string `json:"hash"`
}

// Member is one node of the mesh.
type Member struct {
	Name   string `json:"name"`
	Addr   string `json:"addr"`
	Role   string `json:"role"`
	Status string `json:"status"` // alive, suspect, left, dead
	UUID   string `json:"uuid,omitempty"`
}

// Quorum is the state of the Raft cluster as this node sees it.
type Quorum struct {
	Have             bool   `json:"have"`
	Leader           string `json:"leader"`
	Voters           int    `json:"voters"`
	Alive            int    `json:"alive"`
	FailureTolerance int    `json:"failure_tolerance"`
	Term             uint64 `json:"term"`
	CommitIndex      uint64 `json:"commit_index"`
	AppliedIndex     uint64 `json:"applied_index"`
	State            string `json:"state"` // leader, follower, candidate, none, failed: ...
}

// Fencing is the state of an instance's right to hold.
type Fencing struct {
	Policy  string `json:"policy"`
	Epoch   uint64 `json:"epoch"`
	LeaseMS int64  `json:"lease_ms"`
	Verdict string `json:"verdict"`
	Text    string `json:"text,omitempty"`
}

// Peer is another node's view of the same instance.
type Peer struct {
	Node              string     `json:"node"`
	State             string     `json:"state"`
	Priority          int        `json:"priority"`
	EffectivePriority int        `json:"effective_priority"`
	HeardMS           *int64     `json:"heard_ms"`      // since this node heard its adverts on the LAN; null: never
	MeshHeardMS       *int64     `json:"mesh_heard_ms"` // the same on the second wire
	Reason            string     `json:"reason,omitempty"`
	Verdict           string     `json:"verdict,omitempty"`
	Terms             []ipc.Term `json:"terms,omitempty"`
	AsOf              time.Time  `json:"as_of"`
	Live              bool       `json:"live"`
}

// Instance is one vrrp_instance over all nodes. State, priorities and reason
// are those of the asked node; State is empty where it does not have it.
type Instance struct {
	Name              string     `json:"name"`
	Family            string     `json:"family"`
	VRID              int        `json:"vrid"`
	Interface         string     `json:"interface"`
	State             string     `json:"state"`
	Owner             string     `json:"owner"`            // the node that holds it; empty: nobody known
	Owners            []string   `json:"owners,omitempty"` // more than one: a conflict
	Priority          int        `json:"priority"`
	EffectivePriority int        `json:"effective_priority"`
	VIPs              []string   `json:"vips"`
	Reason            string     `json:"reason"`
	Since             time.Time  `json:"since"`
	Master            string     `json:"master_address,omitempty"` // source of the last advert, where the owner is no member
	AdvertMS          int64      `json:"advert_ms"`
	DownMS            int64      `json:"down_ms"`
	Terms             []ipc.Term `json:"terms,omitempty"`
	Fencing           Fencing    `json:"fencing"`
	Stats             ipc.Stats  `json:"stats"`
	Peers             []Peer     `json:"peers"`
}

// Group is one sync group on the asked node.
type Group struct {
	Name    string    `json:"name"`
	State   string    `json:"state"`
	Members []string  `json:"members"`
	Since   time.Time `json:"since"`
}

// Status is the whole cluster from one node.
type Status struct {
	Node           string     `json:"node"`
	Cluster        string     `json:"cluster"`
	AsOf           time.Time  `json:"as_of"`
	Quorum         Quorum     `json:"quorum"`
	Config         Config     `json:"config"`
	Members        []Member   `json:"members"`
	Instances      []Instance `json:"instances"`
	Groups         []Group    `json:"groups"`
	VirtualServers []any      `json:"virtual_servers"`
	Warnings       []string   `json:"warnings"`
}

// Input is what Assemble joins.
type Input struct {
	Self    Node
	Others  []Node
	Cluster string
	Quorum  Quorum
	Members []Member
	Now     time.Time
}

// key says which instances of different nodes are one virtual router.
type key struct {
	family, vrid int
	vip          string
}

func keyOf(i *ipc.InstanceStatus) key {
	k := key{family: i.Family, vrid: i.VRID}
	if len(i.VIPs) > 0 {
		k.vip = i.VIPs[0]
	}
	return k
}

// Assemble joins the reports. Instances stand in the order of the asked
// node's configuration, those it does not have after them.
func Assemble(in Input) Status {
	s := Status{
		Node: in.Self.Name, Cluster: in.Cluster, AsOf: in.Now, Quorum: in.Quorum, Config: in.Self.Config,
		Members: in.Members, Instances: []Instance{}, Groups: []Group{}, VirtualServers: []any{}, Warnings: []string{},
	}
	if s.Members == nil {
		s.Members = []Member{}
	}
	others := append([]Node(nil), in.Others...)
	sort.Slice(others, func(i, j int) bool { return others[i].Name < others[j].Name })
	for n := range others {
		if !others[n].Live {
			others[n].Instances = completed(others[n].Instances, append([]Node{in.Self}, others...))
		}
	}
	seen := map[key]bool{}
	for i := range in.Self.Instances {
		k := keyOf(&in.Self.Instances[i])
		seen[k] = true
		s.Instances = append(s.Instances, join(&in.Self.Instances[i], &in.Self, others, k))
	}
	for n := range others {
		for i := range others[n].Instances {
			k := keyOf(&others[n].Instances[i])
			if !seen[k] {
				seen[k] = true
				inst := join(&others[n].Instances[i], &in.Self, others, k)
				inst.State, inst.Reason, inst.Interface = "", "not configured on "+in.Self.Name, ""
				s.Instances = append(s.Instances, inst)
			}
		}
	}
	for _, g := range in.Self.Groups {
		s.Groups = append(s.Groups, Group{Name: g.Name, State: g.State, Members: g.Members, Since: g.Since})
	}
	s.Warnings = append(s.Warnings, warnings(&s, in)...)
	return s
}

// completed gives instances known by gossip that came without addresses, which
// travel apart, those of the instance of the same name, family and VRID.
func completed(list []ipc.InstanceStatus, known []Node) []ipc.InstanceStatus {
	out := append([]ipc.InstanceStatus(nil), list...)
	for i := range out {
		for n := range known {
			for j := range known[n].Instances {
				x := &known[n].Instances[j]
				if len(out[i].VIPs) == 0 && x.Name == out[i].Name && x.Family == out[i].Family && x.VRID == out[i].VRID {
					out[i].VIPs = x.VIPs
				}
			}
		}
	}
	return out
}

func join(own *ipc.InstanceStatus, self *Node, others []Node, k key) Instance {
	out := Instance{
		Name: own.Name, Family: familyName(own.Family), VRID: own.VRID, Interface: own.Interface,
		State: own.State, Priority: own.Priority, EffectivePriority: own.Effective, VIPs: own.VIPs,
		Reason: own.Reason, Since: own.Since, AdvertMS: own.AdvertMS, DownMS: own.DownMS, Terms: own.Terms,
		Fencing: Fencing{Policy: own.Policy, Verdict: own.Verdict, Text: own.VerdictText},
		Stats:   own.Stats, Peers: []Peer{},
	}
	if out.VIPs == nil {
		out.VIPs = []string{}
	}
	var since time.Time // when one that answers became holder
	for i := range self.Instances {
		if keyOf(&self.Instances[i]) == k && self.Instances[i].State == "MASTER" {
			out.Owners = append(out.Owners, self.Name)
			since = self.Instances[i].Since
		}
	}
	speaking := speaker(self, others, k)
	for n := range others {
		for i := range others[n].Instances {
			if x := &others[n].Instances[i]; others[n].Live && keyOf(x) == k && x.State == "MASTER" && x.Since.After(since) {
				since = x.Since
			}
		}
	}
	for n := range others {
		for i := range others[n].Instances {
			theirs := &others[n].Instances[i]
			if keyOf(theirs) != k {
				continue
			}
			state, reason := theirs.State, theirs.Reason
			switch {
			case others[n].Live:
			case others[n].Name == speaking:
				state, reason = "MASTER", "its adverts are heard; the node itself does not answer"
			case state == "MASTER" && others[n].AsOf.Before(since):
				// It said so before its successor took over.
				state, reason = "UNKNOWN", "it was MASTER before the present holder"
			}
			if state == "MASTER" {
				out.Owners = append(out.Owners, others[n].Name)
			}
			p := Peer{
				Node: others[n].Name, State: state, Priority: theirs.Priority, EffectivePriority: theirs.Effective,
				Reason: reason, Verdict: theirs.Verdict, Terms: theirs.Terms, AsOf: others[n].AsOf, Live: others[n].Live,
			}
			p.HeardMS, p.MeshHeardMS = heard(own, &others[n], theirs)
			out.Peers = append(out.Peers, p)
		}
	}
	if len(out.Owners) > 0 {
		out.Owner = out.Owners[0]
	}
	if len(out.Owners) < 2 {
		out.Owners = nil
	}
	if out.Owner == "" {
		out.Master = own.Master
	}
	return out
}

// speaker is the node whose adverts one that answers heard last and lately
// enough to be a backup to them; empty where there is none.
func speaker(self *Node, others []Node, k key) string {
	name, least := "", int64(-1)
	look := func(n *Node) {
		for i := range n.Instances {
			own := &n.Instances[i]
			if !n.Live || keyOf(own) != k || own.State != "BACKUP" {
				continue
			}
			for j := range own.Heard {
				h := &own.Heard[j]
				if h.Priority == 0 || h.AgeMS >= own.DownMS || least >= 0 && h.AgeMS >= least {
					continue
				}
				if from := sender(h, others, k); from != "" {
					name, least = from, h.AgeMS
				}
			}
		}
	}
	look(self)
	for n := range others {
		look(&others[n])
	}
	return name
}

// sender names the other node whose advert was heard.
func sender(h *ipc.Heard, others []Node, k key) string {
	for n := range others {
		if h.Wire == "mesh" && h.Node != "" && h.Node == others[n].UUID {
			return others[n].Name
		}
		for i := range others[n].Instances {
			theirs := &others[n].Instances[i]
			if h.Wire == "lan" && keyOf(theirs) == k && theirs.Source != "" && theirs.Source == h.Source {
				return others[n].Name
			}
		}
	}
	return ""
}

// heard says when own heard the other node, by wire.
func heard(own *ipc.InstanceStatus, other *Node, theirs *ipc.InstanceStatus) (lan, mesh *int64) {
	for i := range own.Heard {
		h := &own.Heard[i]
		switch {
		case h.Wire == "lan" && h.Source == theirs.Source:
			lan = &h.AgeMS
		case h.Wire == "mesh" && h.Node != "" && h.Node == other.UUID:
			mesh = &h.AgeMS
		}
	}
	return lan, mesh
}

func familyName(f int) string {
	if f == 6 {
		return "ipv6"
	}
	return "ipv4"
}
