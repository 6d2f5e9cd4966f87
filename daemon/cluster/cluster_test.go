package cluster

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/daemon/ipc"
	"github.com/keepmesh/keepmesh/mesh"
)

func part(n int, more bool, names ...string) *ipc.Snapshot {
	s := &ipc.Snapshot{Part: n, More: more}
	for _, name := range names {
		s.Instances = append(s.Instances, ipc.InstanceStatus{Name: name})
	}
	return s
}

func names(s ipc.Snapshot) []string {
	var out []string
	for _, i := range s.Instances {
		out = append(out, i.Name)
	}
	return out
}

func TestSnapshotIsSeenWholeOrNotAtAll(t *testing.T) {
	s := newStore()
	s.add(part(0, false, "old"))
	_, arrived := s.last()
	if s.add(part(0, true, "A", "B")) {
		t.Error("the first of two parts counts as complete")
	}
	if got, _ := s.last(); !cmp.Equal(names(got), []string{"old"}) {
		t.Errorf("half a snapshot is seen: %v", names(got))
	}
	last := part(1, false, "C")
	last.Groups = []ipc.GroupStatus{{Name: "G"}}
	if !s.add(last) {
		t.Error("the last part does not complete it")
	}
	<-arrived
	got, _ := s.last()
	if !cmp.Equal(names(got), []string{"A", "B", "C"}) || len(got.Groups) != 1 {
		t.Errorf("got %v, groups %v", names(got), got.Groups)
	}
}

// A snapshot that breaks off, because the vrrp process died, leaves no trace.
func TestBrokenOffSnapshotIsForgotten(t *testing.T) {
	s := newStore()
	s.add(part(0, true, "A"))
	s.add(part(0, false, "B"))
	if got, _ := s.last(); !cmp.Equal(names(got), []string{"B"}) {
		t.Errorf("got %v", names(got))
	}
}

func TestNodeID(t *testing.T) {
	id, ok := nodeID("01234567-89ab-cdef-0123-456789abcdef")
	if !ok || id[0] != 0x01 || id[15] != 0xef {
		t.Errorf("%x, %v", id, ok)
	}
	for _, bad := range []string{"", "lb1", "01234567-89ab-cdef-0123-456789abcd"} {
		if _, ok := nodeID(bad); ok {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestConfigHashCoversIncludes(t *testing.T) {
	b := config.Bundle{Files: []config.BundleFile{{Path: "k.conf", Text: "a"}, {Path: "x", Text: "b"}}}
	before := configHash(&b)
	b.Files[1].Text = "c"
	if configHash(&b) == before {
		t.Error("an included file changed and the name of the configuration did not")
	}
}

func TestDeadNodeIsNoHolder(t *testing.T) {
	n := mesh.Node{
		Name: "lb1", UUID: "01234567-89ab-cdef-0123-456789abcdef", Status: mesh.Dead, AsOf: time.Unix(1, 0),
		Digest: mesh.Digest{Instances: []mesh.Instance{{Name: "VI_1", State: "MASTER", VIPs: []string{"10.0.0.1/24"}}}},
	}
	got := fromDigest(&n)
	if got.Live || got.Instances[0].State == "MASTER" || !strings.Contains(got.Instances[0].Reason, "it was MASTER") {
		t.Errorf("%+v", got)
	}
	n.Status = mesh.Suspect
	if got := fromDigest(&n); got.Instances[0].State != "MASTER" {
		t.Errorf("a node that only does not answer is told as %s", got.Instances[0].State)
	}
}
