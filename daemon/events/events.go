// Package events is the node's memory of what happened: a bounded log in
// memory that people read with `keepmesh events`, and that can be followed.
//
// A Log may be used from any goroutine.
package events

import (
	"sync"
	"time"
)

// capacity is how many events are kept. At one a second that is an hour; the
// log that lasts is the journal.
const capacity = 4096

// Event is one line. Kind is "state", "group", "check", "priority", "VRRP",
// "veto", "ALARM", "kernel", "config", "mesh" or "process".
type Event struct {
	Seq      uint64    `json:"seq"`
	At       time.Time `json:"at"`
	Node     string    `json:"node"`
	Kind     string    `json:"kind"`
	Instance string    `json:"instance,omitempty"`
	Text     string    `json:"text"`
}

// Log keeps the newest events.
type Log struct {
	mu     sync.Mutex
	events []Event // a ring once it is full
	next   uint64  // sequence number of the next event
	wake   chan struct{}
}

// NewLog makes an empty log.
func NewLog() *Log { return &Log{next: 1, wake: make(chan struct{})} }

// Add appends an event and gives it its number.
func (l *Log) Add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Seq = l.next
	l.next++
	if len(l.events) < capacity {
		l.events = append(l.events, e)
	} else {
		l.events[(e.Seq-1)%capacity] = e
	}
	close(l.wake)
	l.wake = make(chan struct{})
}

// Since gives the events with a number above seq that happened at or after
// from, oldest first, and a channel that is closed with the next event.
func (l *Log) Since(seq uint64, from time.Time) ([]Event, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	oldest := uint64(1)
	if l.next > capacity {
		oldest = l.next - capacity
	}
	var out []Event
	for n := max(seq+1, oldest); n < l.next; n++ {
		if e := l.events[(n-1)%capacity]; !e.At.Before(from) {
			out = append(out, e)
		}
	}
	return out, l.wake
}
