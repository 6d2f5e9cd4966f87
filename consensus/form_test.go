package consensus

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
)

func voter(name string, expect int, edit ...func(*Peer)) Peer {
	p := Peer{UUID: "uuid-" + name, Name: name, Addr: name + ":7946", Role: Voter, Alive: true, Local: Local{Expect: expect, ClusterID: Blank}}
	for _, e := range edit {
		e(&p)
	}
	return p
}

func proposing(digest string) func(*Peer) { return func(p *Peer) { p.Local.Proposal = digest } }
func role(r Role) func(*Peer)             { return func(p *Peer) { p.Role = r } }
func silent(p *Peer)                      { p.Local.ClusterID = "" }
func dead(p *Peer)                        { p.Alive = false }
func formed(id string) func(*Peer) {
	return func(p *Peer) { p.Local.Bootstrapped, p.Local.ClusterID = true, id }
}

func TestWhenAClusterIsFormed(t *testing.T) {
	abc := digestOf("edge", []Peer{voter("a", 3), voter("b", 3), voter("c", 3)})
	for _, c := range []struct {
		name    string
		self    Peer
		peers   []Peer
		servers string
		propose bool
		waiting string
	}{
		{"nothing is expected", voter("a", 0), nil, "", false, "no cluster yet: set bootstrap_expect, or run"},
		{"too few", voter("a", 3), []Peer{voter("b", 3)}, "", false, "2 of 3 expected voters are known (a, b)"},
		{"the dead do not count", voter("a", 3), []Peer{voter("b", 3), voter("c", 3, dead)}, "", false, "2 of 3 expected voters are known (a, b)"},
		{"observers do not count", voter("a", 3), []Peer{voter("b", 3), voter("c", 3, role(Observer))}, "", false, "2 of 3"},
		{"another number is named", voter("a", 3), []Peer{voter("b", 3), voter("c", 5)}, "", false, "this node has 3, c has 5: give all the same"},
		{"enough, but nobody has agreed", voter("a", 3), []Peer{voter("b", 3), voter("c", 3)}, "", true, "a has not agreed"},
		{"one has not agreed", voter("a", 3, proposing(abc)), []Peer{voter("b", 3, proposing(abc)), voter("c", 3)}, "", true, "c has not agreed to form a cluster of a, b, c yet"},
		{"one wants others", voter("a", 3, proposing(abc)), []Peer{voter("b", 3, proposing(abc)), voter("c", 3, proposing("else"))}, "", true, "c has not agreed"},
		{"all agree", voter("a", 3, proposing(abc)), []Peer{voter("b", 3, proposing(abc)), voter("c", 3, proposing(abc))}, "a b c", true, ""},
		{"all agree, the order of gossip does not matter", voter("c", 3, proposing(abc)), []Peer{voter("b", 3, proposing(abc)), voter("a", 3, proposing(abc))}, "a b c", true, ""},
		{"a witness votes", voter("a", 3, proposing(abc)), []Peer{voter("b", 3, proposing(abc)), voter("c", 3, proposing(abc), role(Witness))}, "a b c", true, ""},
		{"one was quicker with the same set", voter("a", 3, proposing(abc)), []Peer{voter("b", 3, proposing(abc), formed("")), voter("c", 3, proposing(abc))}, "a b c", true, ""},
		{"somebody has a cluster", voter("a", 3, proposing(abc)), []Peer{voter("b", 3, proposing(abc)), voter("c", 3, formed("x")), voter("d", 3)}, "", false, "c has a cluster: waiting for its leader"},
		{"somebody restarted with a cluster", voter("a", 3), []Peer{voter("b", 3, formed("x"))}, "", false, "b has a cluster"},
		{"somebody has said nothing yet", voter("a", 3, proposing(abc)), []Peer{voter("b", 3, proposing(abc)), voter("c", 3, proposing(abc)), voter("d", 0, silent)}, "", false, "d has not said yet whether it has a cluster"},
		{"an observer waits", voter("a", 3, role(Observer)), []Peer{voter("b", 3), voter("c", 3), voter("d", 3)}, "", false, "an observer forms no cluster"},
		{"more than enough: the first ones do it", voter("a", 3, proposing(abc)), []Peer{voter("b", 3, proposing(abc)), voter("c", 3, proposing(abc)), voter("d", 3)}, "a b c", true, ""},
		{"more than enough: the others wait", voter("d", 3), []Peer{voter("a", 3), voter("b", 3), voter("c", 3)}, "", false, "a, b, c form the cluster and let this node in"},
		{"one alone, first proposing", voter("a", 1), nil, "", true, "a has not agreed"},
		{"one alone", voter("a", 1, proposing(digestOf("edge", []Peer{voter("a", 1)}))), nil, "a", true, ""},
	} {
		got := decide(c.self, c.peers, "edge")
		var servers []string
		for _, s := range got.servers {
			servers = append(servers, strings.TrimPrefix(string(s.ID), "uuid-"))
		}
		if strings.Join(servers, " ") != c.servers || (got.proposal != "") != c.propose || !strings.Contains(got.waiting, c.waiting) || (c.waiting == "") != (got.waiting == "") {
			t.Errorf("%s: got %+v", c.name, got)
		}
	}
}

func TestPlanFollowsGossipOneStepAtATime(t *testing.T) {
	srv := func(name string, s raft.ServerSuffrage) raft.Server {
		return raft.Server{ID: raft.ServerID("uuid-" + name), Suffrage: s, Address: serverAddress("uuid-"+name, name+":7946")}
	}
	now := raft.Configuration{Servers: []raft.Server{srv("a", raft.Voter), srv("b", raft.Voter), srv("o", raft.Nonvoter)}}
	us := State{Cluster: Cluster{ID: "us"}}
	without := us
	without.Removed = map[string]bool{"uuid-b": true}
	moved := voter("b", 3, func(p *Peer) { p.Addr = "new:7946" })
	for _, c := range []struct {
		name    string
		state   State
		peers   []Peer
		want    string
		foreign string
	}{
		{"all as it should be", us, []Peer{voter("a", 3, formed("us")), voter("b", 3, formed("us")), voter("o", 3, role(Observer), formed("us"))}, "", ""},
		{"somebody new", us, []Peer{voter("c", 0)}, "add voter c c:7946", ""},
		{"a new witness", us, []Peer{voter("c", 0, role(Witness))}, "add voter c c:7946", ""},
		{"a new observer", us, []Peer{voter("c", 0, role(Observer))}, "add observer c c:7946", ""},
		{"nobody who is away", us, []Peer{voter("c", 0, dead)}, "", ""},
		{"the dead stay members", us, []Peer{voter("b", 0, dead)}, "", ""},
		{"another address", us, []Peer{moved}, "add voter b new:7946", ""},
		{"an observer's other address", us, []Peer{voter("o", 0, role(Observer), func(p *Peer) { p.Addr = "new:7946" })}, "add observer o new:7946", ""},
		{"an observer who may vote now", us, []Peer{voter("o", 0)}, "add voter o o:7946", ""},
		{"a voter who may not any more", us, []Peer{voter("b", 0, role(Observer))}, "demote b b:7946", ""},
		{"one at a time", us, []Peer{voter("c", 0), voter("d", 0)}, "add voter c c:7946", ""},
		{"of another cluster", us, []Peer{voter("c", 0, formed("them"))}, "", "c"},
		{"of another cluster, beside somebody new", us, []Peer{voter("c", 0, formed("them")), voter("d", 0)}, "add voter d d:7946", "c"},
		{"nobody who has said nothing yet", us, []Peer{voter("c", 0, silent)}, "", ""},
		{"with state of an unknown cluster", us, []Peer{voter("c", 0, formed(""))}, "", ""},
		{"back with our state", us, []Peer{voter("c", 0, formed("us"))}, "add voter c c:7946", ""},
		{"removed, though alive", without, []Peer{voter("b", 0, formed("us"))}, "remove", ""},
	} {
		next, foreign := plan(now, c.state, c.peers)
		got := ""
		if next != nil {
			got = next.verb
			if next.verb != "remove" {
				_, addr := splitAddress(next.addr)
				got += " " + next.name + " " + addr
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		if n := names(foreign); n != c.foreign {
			t.Errorf("%s: foreign %q", c.name, n)
		}
	}
}
