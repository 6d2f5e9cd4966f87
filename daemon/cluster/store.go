package cluster

import (
	"sync"
	"time"

	"github.com/keepmesh/keepmesh/daemon/ipc"
)

// store is what the vrrp process said last, for everybody who asks.
type store struct {
	mu       sync.Mutex
	snapshot ipc.Snapshot // complete
	parts    ipc.Snapshot // being received
	seq      uint64       // last asked
	arrived  chan struct{}
}

func newStore() *store { return &store{arrived: make(chan struct{})} }

// next gives the number of a new question.
func (s *store) next() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	return s.seq
}

// add takes a part; it returns true with the last one.
func (s *store) add(p *ipc.Snapshot) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.Part == 0 {
		s.parts = *p
	} else {
		s.parts.Instances = append(s.parts.Instances, p.Instances...)
		s.parts.Groups, s.parts.Links, s.parts.WireError = p.Groups, p.Links, p.WireError
	}
	if p.More {
		return false
	}
	s.snapshot = s.parts
	close(s.arrived)
	s.arrived = make(chan struct{})
	return true
}

// last gives the newest complete snapshot, which must not be changed, and a
// channel that is closed when another one is there.
func (s *store) last() (ipc.Snapshot, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snapshot, s.arrived
}

// freshness is how long the API waits for the vrrp process.
const freshness = 100 * time.Millisecond
