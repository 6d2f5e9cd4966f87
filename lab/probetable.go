package lab

import (
	"sync/atomic"
	"time"
)

// probe is what is known of one probe.
type probe struct {
	sent      atomic.Int64  // instant before sending
	done      atomic.Int64  // instant after sending; 0 until then
	holders   atomic.Uint32 // hosts that answered the ARP probe
	answered  atomic.Uint32 // hosts that answered the echo
	delivered atomic.Bool   // an answer to the echo reached the client
}

func (c *probe) reached() uint32 {
	if !c.delivered.Load() {
		return 0
	}
	return c.answered.Load()
}

// inTime reports whether an answer at that instant still counts. A sender
// that was interrupted between the clock and the socket is not the answerer's
// fault.
func (c *probe) inTime(at time.Duration) bool {
	if c == nil {
		return false
	}
	done := c.done.Load()
	return done == 0 || at-time.Duration(done) <= answerWithin
}

// probeTable grows by chunks that never move, so that readers need no lock.
type probeTable struct {
	sent   atomic.Uint32
	chunks [1024]atomic.Pointer[[chunkSize]probe]
}

const chunkSize = 4096

// add gives the cell of the next probe, or nil when the table is full.
func (t *probeTable) add(n uint32) *probe {
	i := n / chunkSize
	if int(i) >= len(t.chunks) {
		return nil
	}
	if t.chunks[i].Load() == nil {
		t.chunks[i].Store(new([chunkSize]probe))
	}
	return t.find(n)
}

func (t *probeTable) find(n uint32) *probe {
	if i := n / chunkSize; int(i) < len(t.chunks) {
		if c := t.chunks[i].Load(); c != nil {
			return &c[n%chunkSize]
		}
	}
	return nil
}
