package e2e

import (
	"testing"
	"time"

	"github.com/keepmesh/keepmesh/lab"
)

// freezeTime is how long a cluster process stands still.
const freezeTime = 10 * time.Second

// The cluster process of the holder, and of a backup, is killed and frozen: no
// advert is missed, no address moves, the others say so, and all is well again.
func TestMeshClusterProcessKilledAndFrozen(t *testing.T) {
	for _, c := range []struct {
		name          string
		victim, asked int
	}{{"of the holder", 1, 2}, {"of a backup", 2, 3}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, fleetOptions{})
			f.startAll()
			victim, asked := f.node(c.victim), f.node(c.asked)
			from := lab.Now()
			old := f.pid(victim, pidMesh)
			f.killPID(victim, old)
			f.eventually("another cluster process", func() bool {
				text, err := victim.ReadFile(pidMesh)
				return err == nil && len(text) > 0 && f.pid(victim, pidMesh) != old
			}, func() string { return "the old one" })
			f.joined()
			f.verdicts("")

			frozen := f.pid(victim, pidMesh)
			f.freeze(victim, frozen)
			end := time.NewTimer(freezeTime)
			defer end.Stop()
			// The nodes that run answer within a second all the time, and soon
			// say that the frozen one does not.
			slowest, said := time.Duration(0), false
			for stopped := false; !stopped; {
				at := lab.Now()
				s, err := f.ask(asked)
				took := lab.Now() - at
				slowest = max(slowest, took)
				if err != nil {
					t.Errorf("status on %s: %v", asked.Name(), err)
				} else if i := found(&s); i == nil || i.Owner != "n1" {
					t.Errorf("during the freeze %s", brief(&s))
				} else {
					said = said || contains(s.Warnings, victim.Name()+" did not answer")
				}
				select {
				case <-end.C:
					stopped = true
				case <-time.After(200 * time.Millisecond):
				}
			}
			t.Logf("the slowest status took %s", slowest)
			if slowest > time.Second {
				t.Errorf("a status took %s", slowest)
			}
			if !said {
				t.Errorf("%s has never said that %s does not answer", asked.Name(), victim.Name())
			}
			if code, text := f.cli(asked, "status"); code != 0 {
				t.Errorf("status ends with %d: %s", code, text)
			}
			// Nothing depends on the process: the adverts on both wires go on.
			f.verdicts("")
			f.thaw(victim, frozen)
			f.joined()
			f.agree()
			f.alone(from, "n1", 0)
			if f.pid(victim, pidMesh) != frozen {
				t.Errorf("the cluster process was replaced while it stood still")
			}
		})
	}
}

// verdicts checks on every node that answers itself that its own verdict is
// the given one now.
func (f *fleet) verdicts(want string) {
	f.t.Helper()
	for _, m := range f.nodes {
		s, err := f.ask(m)
		if err != nil {
			continue // its cluster process stands still
		}
		if i := found(&s); i == nil || i.Fencing.Verdict != want {
			f.t.Errorf("%s says %s", m.Name(), brief(&s))
		}
	}
}
