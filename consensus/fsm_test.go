package consensus

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func rev(n uint64) *uint64 { return &n }

func TestApply(t *testing.T) {
	base, _ := Apply(State{}, Command{Version: 1, Op: OpPut, Key: "a", Value: []byte("1")})
	lb1 := NodeRecord{UUID: "u1", Name: "lb1", Addr: "10.0.0.11:7946", Role: Voter}
	known, _ := Apply(base, Command{Version: 1, Op: OpNode, Node: &lb1})
	barred, _ := Apply(known, Command{Version: 1, Op: OpRemove, Key: "u1"})
	named, _ := Apply(State{}, Command{Version: 1, Op: OpCluster, Cluster: &Cluster{ID: "x", Name: "edge"}})
	for _, c := range []struct {
		name  string
		state State
		cmd   Command
		want  Result
		moves bool // the revision goes up
	}{
		{"put", base, Command{Op: OpPut, Key: "b", Value: []byte("2")}, Result{Revision: 2, Entry: Entry{[]byte("2"), 2}}, true},
		{"put over", base, Command{Op: OpPut, Key: "a", Value: []byte("2")}, Result{Revision: 2, Entry: Entry{[]byte("2"), 2}}, true},
		{"swap at its revision", base, Command{Op: OpPut, Key: "a", Value: []byte("2"), Expect: rev(1)}, Result{Revision: 2, Entry: Entry{[]byte("2"), 2}}, true},
		{"swap at another revision", base, Command{Op: OpPut, Key: "a", Value: []byte("2"), Expect: rev(9)}, Result{Outcome: Conflict, Revision: 1, Entry: Entry{[]byte("1"), 1}}, false},
		{"create what exists", base, Command{Op: OpPut, Key: "a", Expect: rev(0)}, Result{Outcome: Conflict, Revision: 1, Entry: Entry{[]byte("1"), 1}}, false},
		{"create what does not", base, Command{Op: OpPut, Key: "b", Expect: rev(0)}, Result{Revision: 2, Entry: Entry{nil, 2}}, true},
		{"delete", base, Command{Op: OpDelete, Key: "a"}, Result{Revision: 2}, true},
		{"delete what is not there", base, Command{Op: OpDelete, Key: "b"}, Result{Outcome: Missing, Revision: 1}, false},
		{"delete at another revision", base, Command{Op: OpDelete, Key: "a", Expect: rev(7)}, Result{Outcome: Conflict, Revision: 1, Entry: Entry{[]byte("1"), 1}}, false},
		{"get", base, Command{Op: OpGet, Key: "a"}, Result{Revision: 1, Entry: Entry{[]byte("1"), 1}}, false},
		{"get what is not there", base, Command{Op: OpGet, Key: "b"}, Result{Outcome: Missing, Revision: 1}, false},
		{"name the cluster", base, Command{Op: OpCluster, Cluster: &Cluster{ID: "x"}}, Result{Revision: 2}, true},
		{"name it twice", named, Command{Op: OpCluster, Cluster: &Cluster{ID: "y"}}, Result{Outcome: Conflict, Revision: 1}, false},
		{"the same node again", known, Command{Op: OpNode, Node: &lb1}, Result{Revision: 2}, false},
		{"a removed node does not come back by itself", barred, Command{Op: OpNode, Node: &lb1}, Result{Revision: 3}, false},
		{"readmit", barred, Command{Op: OpReadmit, Key: "u1"}, Result{Revision: 4}, true},
		{"no key", base, Command{Op: OpPut}, Result{Outcome: Invalid, Revision: 1}, false},
		{"a key too long", base, Command{Op: OpPut, Key: strings.Repeat("k", MaxKey+1)}, Result{Outcome: Invalid, Revision: 1}, false},
		{"an operation of tomorrow", base, Command{Op: "fence", Key: "a"}, Result{Outcome: Unknown, Revision: 1}, false},
	} {
		c.cmd.Version = 1
		before, _ := json.Marshal(c.state)
		next, got := Apply(c.state, c.cmd)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		if moved := next.Revision != c.state.Revision; moved != c.moves {
			t.Errorf("%s: revision %d -> %d", c.name, c.state.Revision, next.Revision)
		}
		if after, _ := json.Marshal(c.state); string(before) != string(after) {
			t.Errorf("%s: the old state was changed", c.name)
		}
	}
	for _, v := range []int{0, -1, CommandVersion + 1} {
		if _, r := Apply(base, Command{Version: v, Op: OpPut, Key: "a"}); r.Outcome != Unknown {
			t.Errorf("version %d: %+v", v, r)
		}
	}
	if barred.Nodes["u1"].UUID != "" || !barred.Removed["u1"] {
		t.Errorf("removed: %+v", barred)
	}
}

func TestSnapshotsRestoreTheSameStateAnywhereInTheLog(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var log []Command
	for range 300 {
		c := Command{Version: 1, Op: []Op{OpPut, OpPut, OpDelete, OpGet}[rng.IntN(4)], Key: fmt.Sprintf("k%d", rng.IntN(8)), Value: []byte{byte(rng.IntN(256))}}
		if rng.IntN(3) == 0 {
			c.Expect = rev(uint64(rng.IntN(20)))
		}
		log = append(log, c)
	}
	run := func(s State, cs []Command) State {
		for _, c := range cs {
			s, _ = Apply(s, c)
		}
		return s
	}
	want := run(State{}, log)
	if want.Revision == 0 {
		t.Fatal("the log does nothing")
	}
	for _, at := range []int{0, 1, 100, 299, 300} {
		raw, err := json.Marshal(run(State{}, log[:at]))
		if err != nil {
			t.Fatal(err)
		}
		var s State
		if err := json.Unmarshal(raw, &s); err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(run(s, log[at:]))
		if err != nil {
			t.Fatal(err)
		}
		if all, _ := json.Marshal(want); string(got) != string(all) {
			t.Errorf("snapshot at %d leads elsewhere", at)
		}
	}
}
