package status

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepmesh/keepmesh/daemon/ipc"
)

var now = time.Date(2026, 1, 2, 15, 0, 0, 0, time.UTC)

func inst(state string, prio int, source string) ipc.InstanceStatus {
	return ipc.InstanceStatus{
		Name: "VI_1", Family: 4, VRID: 51, Interface: "eth0", State: state, Since: now.Add(-time.Minute), Priority: prio, Effective: prio,
		VIPs: []string{"10.0.0.100/24"}, Source: source, Policy: "availability", AdvertMS: 1000, DownMS: 3600,
	}
}

func node(name, uuid string, live bool, i ...ipc.InstanceStatus) Node {
	return Node{Name: name, UUID: uuid, AsOf: now.Add(-time.Second), Live: live, Instances: i}
}

func three() Input {
	own := inst("BACKUP", 100, "10.0.0.2")
	own.Heard = []ipc.Heard{
		{Source: "10.0.0.1", Wire: "lan", AgeMS: 400}, {Source: "10.0.0.1", Node: "aa", Wire: "mesh", AgeMS: 100},
	}
	return Input{
		Self:    node("lb2", "bb", true, own),
		Others:  []Node{node("lb3", "cc", false, inst("BACKUP", 90, "10.0.0.3")), node("lb1", "aa", true, inst("MASTER", 150, "10.0.0.1"))},
		Cluster: "edge", Now: now,
		Quorum:  Quorum{Have: true, Leader: "lb3", Voters: 3, Alive: 3, FailureTolerance: 1},
		Members: []Member{{Name: "lb1", Status: "alive"}, {Name: "lb2", Status: "alive"}, {Name: "lb3", Status: "alive"}},
	}
}

func TestHolderAndWhoHearsIt(t *testing.T) {
	s := Assemble(three())
	i := s.Instances[0]
	if i.Owner != "lb1" || i.Owners != nil || i.State != "BACKUP" {
		t.Errorf("owner %q (%v), state %q", i.Owner, i.Owners, i.State)
	}
	if len(i.Peers) != 2 || i.Peers[0].Node != "lb1" {
		t.Fatalf("peers %+v", i.Peers)
	}
	if got := []int64{*i.Peers[0].HeardMS, *i.Peers[0].MeshHeardMS}; !cmp.Equal(got, []int64{400, 100}) {
		t.Errorf("lb1 was heard %v ms ago", got)
	}
	if i.Peers[1].HeardMS != nil {
		t.Error("lb3 sends no adverts, yet it was heard")
	}
}

func TestTwoHoldersAreAConflict(t *testing.T) {
	in := three()
	in.Self.Instances[0].State = "MASTER"
	s := Assemble(in)
	if d := cmp.Diff([]string{"lb2", "lb1"}, s.Instances[0].Owners); d != "" {
		t.Error(d)
	}
	if !strings.Contains(strings.Join(s.Warnings, "\n"), "held by lb2 and lb1 at once") {
		t.Errorf("warnings %q", s.Warnings)
	}
}

func TestNodeThatDoesNotAnswerIsToldWithItsAge(t *testing.T) {
	s := Assemble(three())
	if !strings.Contains(strings.Join(s.Warnings, "\n"), "lb3 did not answer: its part is what it said 1.0 s ago") {
		t.Errorf("warnings %q", s.Warnings)
	}
}

func TestInstanceOfOthersIsShown(t *testing.T) {
	in := three()
	in.Self.Instances = nil
	s := Assemble(in)
	if len(s.Instances) != 1 || s.Instances[0].State != "" || s.Instances[0].Owner != "lb1" {
		t.Errorf("%+v", s.Instances)
	}
}

func TestSameVRIDWithOtherAddressesIsAnotherRouter(t *testing.T) {
	in := three()
	in.Others[1].Instances[0].VIPs = []string{"10.0.9.9/24"}
	s := Assemble(in)
	if len(s.Instances) != 2 || s.Instances[0].Owner != "" {
		t.Errorf("%d instances, owner %q", len(s.Instances), s.Instances[0].Owner)
	}
}

func TestForeignHolderIsNamedByAddress(t *testing.T) {
	in := three()
	in.Others = nil
	in.Self.Instances[0].Master = "10.0.0.77"
	var b strings.Builder
	s := Assemble(in)
	s.Write(&b)
	if !strings.Contains(b.String(), "10.0.0.77") {
		t.Errorf("not in\n%s", b.String())
	}
}

func TestTextFitsATerminalAndAnswersFirst(t *testing.T) {
	var b strings.Builder
	s := Assemble(three())
	s.Write(&b)
	first, _, _ := strings.Cut(b.String(), "\n")
	if !strings.HasPrefix(first, "edge: 3 of 3 nodes, quorum held (leader lb3") {
		t.Errorf("first line %q", first)
	}
	if !strings.Contains(b.String(), "lb3 (90)") || !strings.Contains(b.String(), "lb1") {
		t.Errorf("not in\n%s", b.String())
	}
}

func TestExplainSaysWhatWouldHappen(t *testing.T) {
	in := three()
	in.Self.Instances[0].Effective = 97
	in.Self.Instances[0].Terms = []ipc.Term{{Tracker: "script:chk_nginx", State: "down", Amount: -3, Cause: "exit 1"}}
	var b strings.Builder
	s := Assemble(in)
	s.Explain(&b, &s.Instances[0])
	for _, want := range []string{"lb1 holds VI_1.", "97 = 100 base - 3 (script:chk_nginx: exit 1)", "If lb1 dies now: lb2 takes over after 2.6 to 3.6 s."} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
}

// The cluster process of the holder stands still, gossip takes the node for
// dead, and its adverts go on.
func TestHolderIsKnownByItsAdvertsWhereItDoesNotAnswer(t *testing.T) {
	in := three()
	for n := range in.Self.Instances[0].Heard {
		in.Self.Instances[0].Heard[n].Priority = 150
	}
	in.Others[1] = node("lb1", "aa", false, inst("UNKNOWN", 150, "10.0.0.1"))
	i := Assemble(in).Instances[0]
	if i.Owner != "lb1" || i.Owners != nil || i.Peers[0].State != "MASTER" {
		t.Errorf("owner %q (%v), shown as %q", i.Owner, i.Owners, i.Peers[0].State)
	}
	// Adverts older than the timer, or of one that resigned, say nothing.
	for n := range in.Self.Instances[0].Heard {
		in.Self.Instances[0].Heard[n].AgeMS = 3600
	}
	if i := Assemble(in).Instances[0]; i.Owner != "" || i.Peers[0].State != "UNKNOWN" {
		t.Errorf("after the timer: owner %q, shown as %q", i.Owner, i.Peers[0].State)
	}
	in.Self.Instances[0].Heard = []ipc.Heard{{Source: "10.0.0.1", Wire: "lan", AgeMS: 10}}
	if i := Assemble(in).Instances[0]; i.Owner != "" {
		t.Errorf("after a farewell: owner %q", i.Owner)
	}
}

// What a node said before its successor took over is no conflict.
func TestFormerHolderThatDoesNotAnswerIsNoConflict(t *testing.T) {
	in := three()
	in.Self.Instances[0].State, in.Self.Instances[0].Since = "MASTER", now.Add(-500*time.Millisecond)
	in.Others[1] = node("lb1", "aa", false, inst("MASTER", 150, "10.0.0.1"))
	if i := Assemble(in).Instances[0]; i.Owner != "lb2" || i.Owners != nil || i.Peers[0].State != "UNKNOWN" {
		t.Errorf("owner %q (%v), shown as %q", i.Owner, i.Owners, i.Peers[0].State)
	}
	// What it said since is one.
	in.Others[1].AsOf = now.Add(-100 * time.Millisecond)
	if i := Assemble(in).Instances[0]; len(i.Owners) != 2 {
		t.Errorf("owners %v", i.Owners)
	}
}

// Gossip has lost a node before its addresses came.
func TestInstanceKnownWithoutItsAddressesIsTheSame(t *testing.T) {
	in := three()
	in.Others[0].Instances[0].VIPs = nil
	s := Assemble(in)
	if len(s.Instances) != 1 || len(s.Instances[0].Peers) != 2 {
		t.Errorf("%d instances, peers %+v", len(s.Instances), s.Instances[0].Peers)
	}
	if in.Others[0].Instances[0].VIPs != nil {
		t.Error("the report was changed")
	}
}
