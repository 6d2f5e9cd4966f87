package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/keepmesh/keepmesh/lab"
)

// rounds is how often each subject loses its holder.
const rounds = 3

// A healthy fail-over takes as long with the mesh as without: the successor
// speaks when its own timer ends. The figures are printed; only a takeover
// that waits for the mesh, by half an interval or more, is an error.
func TestWireHealthyFailoverLosesNoTime(t *testing.T) {
	late := map[string][]time.Duration{}
	for _, c := range []struct {
		name string
		opt  fleetOptions
	}{{"plain", fleetOptions{advert: fast, plain: true}}, {"mesh", fleetOptions{advert: fast}}} {
		f := newFleet(t, c.opt)
		f.startAll()
		for range rounds {
			died := f.powerOff(f.node(1))
			f.holds(fleetVIP, "n2")
			by := f.takeover(died, "n1", 2)
			late[c.name] = append(late[c.name], by)
			if by < -2*time.Millisecond || by > f.interval()/2 {
				t.Errorf("%s: n2 took over %s after its timer", c.name, by)
			}
			f.powerOn(f.node(1))
			f.holds(fleetVIP, "n1")
			if !c.opt.plain {
				f.joined()
			}
			f.inState(f.node(2).Host, fleetName, "BACKUP")
			f.next(t, lab.Now(), patience, "n1 advertises", func(a heard) bool { return a.Host == "n1" })
		}
		for _, m := range f.nodes {
			f.powerOff(m) // the next subject has the machine for itself
		}
	}
	for name, list := range late {
		slices.Sort(list)
		t.Logf("%s: late by %s, median %s", name, list, list[len(list)/2])
	}
}
