package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keepmesh/keepmesh/lab"
)

// Three nodes find each other by their seed lists and form one cluster. What is
// written on one is read on another, after every node was restarted in turn and
// after all three were gone at once.
func TestMeshFormsOneClusterAndKeepsItsValues(t *testing.T) {
	f := newFleet(t, fleetOptions{advert: fast})
	f.startAll()
	f.agree()
	code, text := f.cli(f.node(1), "cluster", "put", "note/rack-4", "power work")
	if code != 0 || !strings.Contains(text, "committed") {
		t.Fatalf("put ends with %d: %s", code, text)
	}
	f.reads(f.node(3), "note/rack-4", "power work")
	for _, m := range f.nodes {
		f.stop(m.proc)
		f.start(m)
		f.joined()
	}
	f.agree()
	f.holds(fleetVIP, "n1")
	f.reads(f.node(2), "note/rack-4", "power work")
	if code, text := f.cli(f.node(3), "cluster", "put", "note/rack-4", "done"); code != 0 {
		t.Fatalf("put ends with %d: %s", code, text)
	}
	f.reads(f.node(1), "note/rack-4", "done")

	// All three lose their power and come back.
	for _, m := range f.nodes {
		f.powerOff(m)
	}
	for _, m := range f.nodes {
		f.powerOn(m)
	}
	f.holds(fleetVIP, "n1")
	f.joined()
	f.agree()
	f.reads(f.node(2), "note/rack-4", "done")
}

// reads waits until a node's own copy has a value, and asks the cluster too.
func (f *fleet) reads(m *member, key, want string) {
	f.t.Helper()
	var code int
	var text string
	f.eventually(m.Name()+" to read "+want, func() bool {
		code, text = f.cli(m, "cluster", "get", key)
		return code == 0 && text == want+"\n"
	}, func() string { return fmt.Sprintf("code %d, %q", code, text) })
	if code, text = f.cli(m, "cluster", "get", "--linearizable", key); code != 0 || text != want+"\n" {
		f.t.Errorf("the linearizable read on %s ends with %d: %q", m.Name(), code, text)
	}
}

// agree waits until all nodes name the same leader, term and commit index.
func (f *fleet) agree() {
	f.t.Helper()
	var seen []string
	f.eventually("one leader, term and commit index", func() bool {
		seen = seen[:0]
		for _, m := range f.nodes {
			s, err := f.ask(m)
			if err != nil {
				seen = append(seen, err.Error())
				continue
			}
			seen = append(seen, fmt.Sprintf("%s term %d commit %d", s.Quorum.Leader, s.Quorum.Term, s.Quorum.CommitIndex))
		}
		first := seen[0]
		for _, x := range seen {
			if x != first || strings.HasPrefix(x, " ") {
				return false
			}
		}
		return strings.HasPrefix(first, "n") && !strings.Contains(first, "term 0") && !strings.Contains(first, "commit 0")
	}, func() string { return strings.Join(seen, ", ") })
}

// Every key that outside tests rely on is in `status --json`, on every node.
func TestMeshStatusHasEveryKey(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{advert: fast})
	f.startAll()
	for _, m := range f.nodes {
		code, text := f.cli(m, "status", "--json")
		var got map[string]any
		if err := json.Unmarshal([]byte(text), &got); code != 0 || err != nil {
			t.Fatalf("status --json on %s ends with %d, %v: %s", m.Name(), code, err, text)
		}
		for _, key := range []string{
			"node", "cluster", "as_of", "quorum.have", "quorum.leader", "quorum.voters", "quorum.alive", "quorum.failure_tolerance",
			"config.version", "config.hash", "members.0.name", "members.0.addr", "members.0.role", "members.0.status",
			"instances.0.name", "instances.0.family", "instances.0.vrid", "instances.0.interface", "instances.0.state", "instances.0.owner",
			"instances.0.priority", "instances.0.effective_priority", "instances.0.vips.0", "instances.0.reason", "instances.0.since",
			"instances.0.fencing.policy", "instances.0.fencing.epoch", "instances.0.fencing.lease_ms", "instances.0.fencing.verdict",
			"instances.0.peers.0.node", "instances.0.peers.0.state", "instances.0.peers.0.effective_priority", "instances.0.peers.0.heard_ms",
			"instances.0.peers.1.node", "groups", "virtual_servers",
		} {
			if !hasKey(got, key) {
				t.Errorf("%s: status --json has no %s", m.Name(), key)
			}
		}
		s, err := f.ask(m)
		if err != nil {
			t.Fatal(err)
		}
		i := found(&s)
		if s.Node != m.Name() || s.Cluster != "edge" || i == nil || i.Owner != "n1" || i.Fencing.Policy != "availability" ||
			s.Quorum.Voters != 3 || s.Quorum.Alive != 3 || s.Quorum.FailureTolerance != 1 || len(s.Members) != 3 {
			t.Errorf("%s answers %s", m.Name(), brief(&s))
		}
		code, text = f.cli(m, "status")
		if code != 0 || !regexp.MustCompile(`edge: 3 of 3 nodes, quorum held \(leader n\d, term \d+, commit \d+\)`).MatchString(text) {
			t.Errorf("status on %s prints, with code %d:\n%s", m.Name(), code, text)
		}
		code, text = f.cli(m, "explain", fleetName)
		if code != 0 || !strings.Contains(text, "n1") {
			t.Errorf("explain on %s prints, with code %d:\n%s", m.Name(), code, text)
		}
	}
}

// hasKey follows a path of keys and indices; the value may be null.
func hasKey(v any, path string) bool {
	for _, step := range strings.Split(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			next, ok := x[step]
			if !ok {
				return false
			}
			v = next
		case []any:
			var n int
			if _, err := fmt.Sscan(step, &n); err != nil || n >= len(x) {
				return false
			}
			v = x[n]
		default:
			return false
		}
	}
	return true
}

// A fourth node that comes later is let in.
func TestMeshLateFourthNodeJoins(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{advert: fast})
	f.startAll()
	if code, text := f.cli(f.node(2), "cluster", "put", "k", "before"); code != 0 {
		t.Fatal(text)
	}
	late := f.add(4)
	f.start(late)
	f.cluster(late, "be a voter among four", func(s *statusOf) bool {
		return s.Quorum.Have && s.Quorum.Voters == 4 && s.Quorum.Alive == 4 && len(s.Members) == 4
	})
	f.reads(late, "k", "before")
	f.opt.expect = 4
	f.joined()
	f.holds(fleetVIP, "n1")
	if code, text := f.cli(late, "cluster", "members"); code != 0 || len(regexp.MustCompile(`(?m)^n\d .* voter +alive$`).FindAllString(text, -1)) != 4 {
		t.Errorf("members prints, with code %d:\n%s", code, text)
	}
	// The fourth is a full member of the second wire.
	block := f.drop(lab.ProtoVRRP)
	from := lab.Now()
	f.verdict(late, "vetoed")
	f.alone(from, "n1", 4*f.down(4))
	f.heal(block)
	f.verdict(late, "")
}

// Two of three hosts are gone: the last one shows the whole cluster, with the
// time of what it knows, and says that there is no quorum.
func TestMeshStatusWithoutQuorum(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{advert: fast})
	f.startAll()
	f.powerOff(f.node(1))
	gone := time.Now()
	f.powerOff(f.node(2))
	s := f.cluster(f.node(3), "hold, without quorum, and know the others for dead", func(s *statusOf) bool {
		i := found(s)
		return !s.Quorum.Have && i != nil && i.Owner == "n3" && memberStatus(s, "n1") == "dead" && memberStatus(s, "n2") == "dead"
	})
	i := found(&s)
	if len(i.Peers) != 2 || len(s.Members) != 3 || s.Quorum.Voters != 3 {
		t.Fatalf("the last node shows %s", brief(&s))
	}
	for _, p := range i.Peers {
		if p.Live || p.AsOf.IsZero() || p.AsOf.After(gone.Add(time.Second)) {
			t.Errorf("%s is shown live %v as of %s, it was gone at %s", p.Node, p.Live, p.AsOf, gone)
		}
		if p.State == "MASTER" {
			t.Errorf("%s is shown as MASTER", p.Node)
		}
	}
	if s.AsOf.Before(gone) {
		t.Errorf("the status is as of %s", s.AsOf)
	}
	code, text := f.cli(f.node(3), "status")
	if code != 0 || !strings.Contains(text, "no quorum") || !strings.Contains(text, "n1 did not answer: its part is what it said") {
		t.Errorf("status prints, with code %d:\n%s", code, text)
	}
	if code, text := f.cli(f.node(3), "cluster", "put", "k", "v"); code == 0 || strings.Count(strings.TrimSpace(text), "\n") > 0 {
		t.Errorf("a write without quorum ends with %d: %s", code, text)
	}
	f.powerOn(f.node(1))
	f.holds(fleetVIP, "n1")
	f.cluster(f.node(3), "have quorum again", func(s *statusOf) bool { return s.Quorum.Have })
}

// An observer holds addresses and does not vote; a witness votes and never
// holds one.
func TestMeshObserverAndWitness(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{advert: fast, nodes: 4, expect: 3, mesh: func(n int, text string) string {
		switch n {
		case 1:
			return edit(t, text, "    bootstrap_expect", "    role observer\n    bootstrap_expect")
		case 2:
			return edit(t, text, "    bootstrap_expect", "    role witness\n    bootstrap_expect")
		}
		return text
	}})
	f.opt.expect = 3
	for _, m := range f.nodes[:4] {
		f.start(m)
	}
	f.holds(fleetVIP, "n1") // the observer has the highest priority
	f.cluster(f.node(3), "see one observer beside voters", func(s *statusOf) bool {
		roles := map[string]string{}
		for _, m := range s.Members {
			roles[m.Name] = m.Role + " " + m.Status
		}
		return roles["n1"] == "observer alive" && roles["n2"] == "witness alive" && roles["n3"] == "voter alive" && roles["n4"] == "voter alive" &&
			s.Quorum.Have && s.Quorum.Voters == 3
	})
	witness, err := f.ask(f.node(2))
	if err != nil {
		t.Fatal(err)
	}
	if i := found(&witness); i == nil || i.State != "" || i.Owner != "n1" {
		t.Errorf("the witness shows %s", brief(&witness))
	}
	if code, text := f.cli(f.node(1), "cluster", "put", "k", "by the observer"); code != 0 {
		t.Errorf("a write on the observer ends with %d: %s", code, text)
	}
	f.reads(f.node(2), "k", "by the observer")
	f.powerOff(f.node(1))
	f.holds(fleetVIP, "n3") // not n2, whose priority is higher
	f.powerOff(f.node(4))
	f.powerOff(f.node(3))
	f.cluster(f.node(2), "be the last", func(s *statusOf) bool { return !s.Quorum.Have })
	f.holds(fleetVIP)
	if held, err := f.node(2).Holds(netip.MustParseAddr(fleetVIP)); err != nil || held {
		t.Errorf("the witness holds the address: %v, %v", held, err)
	}
	if sent := f.between(0, 0, "n2", fleetVRID); len(sent) > 0 {
		t.Errorf("the witness has sent %d adverts", len(sent))
	}
}
