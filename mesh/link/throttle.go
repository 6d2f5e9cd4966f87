package link

import (
	"sync"
	"time"
)

// Throttle lets a repeated message through once per interval and counts the
// rest, so that a peer that retries for ever does not fill the log.
type Throttle struct {
	interval time.Duration

	mu   sync.Mutex
	seen map[string]*throttled
}

type throttled struct {
	last    time.Time
	skipped int
}

// throttleKeys bounds the memory that changing messages can take.
const throttleKeys = 512

// NewThrottle returns a Throttle with the given interval between repeats.
func NewThrottle(interval time.Duration) *Throttle {
	return &Throttle{interval: interval, seen: make(map[string]*throttled)}
}

// Allow reports whether the message of this key should be logged now, and how
// many of them were left out since the last.
func (t *Throttle) Allow(key string) (ok bool, repeats int) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.seen[key]
	if e == nil {
		if len(t.seen) >= throttleKeys {
			clear(t.seen)
		}
		t.seen[key] = &throttled{last: now}
		return true, 0
	}
	if now.Sub(e.last) < t.interval {
		e.skipped++
		return false, 0
	}
	repeats = e.skipped
	e.last, e.skipped = now, 0
	return true, repeats
}
