package vrrp

import (
	"testing"

	"pgregory.net/rapid"
)

func TestTimersStayInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h timers
		var all []*instance
		draw := func() Instant { return Instant(rapid.IntRange(0, 50).Draw(t, "due")) }
		for range rapid.IntRange(1, 60).Draw(t, "operations") {
			switch op := rapid.IntRange(0, 4).Draw(t, "operation"); {
			case op == 0 || len(all) == 0:
				i := &instance{due: draw()}
				all = append(all, i)
				h.add(i)
			case op == 1:
				n := rapid.IntRange(0, len(all)-1).Draw(t, "which")
				h.remove(all[n])
				all = append(all[:n], all[n+1:]...)
			case op == 2:
				h.refresh()
			default:
				i := rapid.SampledFrom(all).Draw(t, "which")
				i.due = draw()
				h.sooner(i)
			}
			if len(h) != len(all) {
				t.Fatalf("%d in the heap, %d known", len(h), len(all))
			}
			for n, i := range h {
				if i.pos != n {
					t.Fatalf("at %d, believes to be at %d", n, i.pos)
				}
				if i.key > i.next() {
					t.Fatalf("key %d is later than the deadline %d", i.key, i.next())
				}
				if parent := h[(n-1)/2]; n > 0 && parent.key > i.key {
					t.Fatalf("key %d above %d", parent.key, i.key)
				}
			}
		}
	})
}
