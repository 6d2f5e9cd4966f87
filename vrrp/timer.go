package vrrp

import (
	"math"
	"time"
)

// skewTime is Skew_Time (RFC 9568 section 6.1). VRRPv3 scales it with the
// learnt interval, counted in whole centiseconds; VRRPv2 takes it as a part of
// one second (RFC 3768 section 6.1). The arithmetic is keepalived's, in whole
// microseconds with the multiplication first, so that two routers of equal
// priority wait equally long.
func skewTime(version, priority uint8, interval time.Duration) time.Duration {
	missing := time.Duration(256 - int(priority))
	if version == 3 {
		centiseconds := interval / (10 * time.Millisecond)
		return missing * centiseconds * 625 / 16 * time.Microsecond
	}
	return missing * 1_000_000 / 256 * time.Microsecond
}

// downInterval is Active_Down_Interval (RFC 9568 section 6.1, with the factor
// 3 made configurable by down_timer_adverts).
func downInterval(version, priority uint8, interval time.Duration, adverts int) time.Duration {
	return time.Duration(adverts)*interval + skewTime(version, priority, interval)
}

func (i *instance) skew() time.Duration {
	return skewTime(i.cfg.Version, i.priority, i.learnt)
}

func (i *instance) down() time.Duration {
	return downInterval(i.cfg.Version, i.priority, i.learnt, i.cfg.DownTimerAdverts)
}

// never sorts behind every real deadline.
const never = Instant(math.MaxInt64)

// next is the earliest instant at which the instance has something to do.
func (i *instance) next() Instant {
	n := never
	for _, t := range [...]Instant{i.due, i.announceAt, i.lowerAt, i.refreshAt, i.until, i.retryAt} {
		if t != 0 && t < n {
			n = t
		}
	}
	return n
}

// timers is a heap of all instances by key, which is a lower bound of what
// next returns. An advert in Backup moves next later and leaves the heap alone:
// the instance surfaces once at its old key and is put back. Whatever may move
// next earlier calls sooner.
type timers []*instance

func (t *timers) add(i *instance) {
	i.key, i.pos = i.next(), len(*t)
	*t = append(*t, i)
	t.up(i.pos)
}

func (t *timers) remove(i *instance) {
	h := *t
	last := len(h) - 1
	pos := i.pos
	h.swap(pos, last)
	h[last] = nil
	*t = h[:last]
	if pos < last {
		t.down(pos)
		t.up(pos)
	}
}

// sooner moves the instance forward where its key is later than its next
// deadline.
func (t timers) sooner(i *instance) {
	if n := i.next(); n < i.key {
		i.key = n
		t.up(i.pos)
	}
}

// refresh makes the key of the top exact.
func (t timers) refresh() {
	t[0].key = t[0].next()
	t.down(0)
}

func (t timers) swap(a, b int) {
	t[a], t[b] = t[b], t[a]
	t[a].pos, t[b].pos = a, b
}

func (t timers) up(n int) {
	for n > 0 {
		parent := (n - 1) / 2
		if t[parent].key <= t[n].key {
			return
		}
		t.swap(parent, n)
		n = parent
	}
}

func (t timers) down(n int) {
	for {
		child := 2*n + 1
		if child >= len(t) {
			return
		}
		if r := child + 1; r < len(t) && t[r].key < t[child].key {
			child = r
		}
		if t[n].key <= t[child].key {
			return
		}
		t.swap(n, child)
		n = child
	}
}
