package mail

import (
	"context"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"
)

// Config says to whom mails go. One without a Server or without recipients
// sends none.
type Config struct {
	Server  string        // host:port
	Timeout time.Duration // of the connection and of each answer
	Helo    string
	From    string   // may have a display name
	To      []string // may have display names
}

func (c *Config) usable() bool { return c.Server != "" && len(c.To) > 0 }

// Options are the limits of a Queue; zero values take the defaults.
type Options struct {
	Log *slog.Logger
	// Limit is the highest number of mails that wait (default 1000).
	Limit int
	// MaxAge is how long a mail is tried (default one hour).
	MaxAge time.Duration
	// Retry is the pause after a first failure; it doubles up to 32 times
	// itself (default 5 s, so at most 160 s).
	Retry time.Duration
}

// Stats count mails since New.
type Stats struct {
	Sent    uint64
	Dropped uint64 // lost to Limit, to MaxAge, to a refusal or to the end
	Waiting int
}

// Queue sends mails in the background. See the package comment.
type Queue struct {
	opt  Options
	wake chan struct{}
	end  context.CancelFunc
	done chan struct{}

	mu      sync.Mutex
	cfg     Config
	waiting []*item
	resume  time.Time     // not before: the relay was away
	pause   time.Duration // the last one for that reason
	stats   Stats
	closing bool
}

// item is a mail that waits.
type item struct {
	Message
	queued time.Time
	due    time.Time // not before: the relay wanted it later
	pause  time.Duration
	last   bool // the attempt of Close was made
}

// New returns a Queue that sends nothing until Apply, and starts its goroutine.
func New(opt Options) *Queue {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Limit <= 0 {
		opt.Limit = 1000
	}
	if opt.MaxAge <= 0 {
		opt.MaxAge = time.Hour
	}
	if opt.Retry <= 0 {
		opt.Retry = 5 * time.Second
	}
	ctx, cancel := context.WithCancel(context.Background())
	q := &Queue{opt: opt, wake: make(chan struct{}, 1), end: cancel, done: make(chan struct{})}
	go q.run(ctx)
	return q
}

// Apply replaces the configuration. Mails that wait go where it says, without
// further delay: it may be the correction of a wrong relay.
func (q *Queue) Apply(c Config) {
	q.mu.Lock()
	changed := !reflect.DeepEqual(q.cfg, c)
	q.cfg = c
	if changed {
		q.resume, q.pause = time.Time{}, 0
	}
	if !c.usable() {
		q.stats.Dropped += uint64(len(q.waiting))
		q.waiting = nil
	}
	q.mu.Unlock()
	if changed {
		q.poke()
	}
}

// Send queues a mail; without a relay or recipients it does nothing.
func (q *Queue) Send(m Message) {
	if m.At.IsZero() {
		m.At = time.Now()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closing || !q.cfg.usable() {
		return
	}
	q.waiting = append(q.waiting, &item{Message: m, queued: time.Now()})
	if len(q.waiting) > q.opt.Limit {
		q.opt.Log.Warn("too many alert mails wait: the oldest is lost", "subject", q.waiting[0].Subject, "limit", q.opt.Limit)
		q.waiting = slices.Delete(q.waiting, 0, 1)
		q.stats.Dropped++
	}
	q.poke()
}

// Stats gives the counters.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.stats
	s.Waiting = len(q.waiting)
	return s
}

// Close refuses further mails, tries those that wait once more until ctx ends,
// and drops the rest.
func (q *Queue) Close(ctx context.Context) {
	q.mu.Lock()
	q.closing = true
	q.mu.Unlock()
	q.poke()
	select {
	case <-q.done:
	case <-ctx.Done():
	}
	q.end()
	<-q.done
}

func (q *Queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// run is the goroutine: it sends what is due, and ends when the queue is
// closing and each mail has been tried once more.
func (q *Queue) run(ctx context.Context) {
	defer close(q.done)
	for {
		it, c, wait := q.next()
		switch {
		case it != nil:
			q.try(ctx, it, &c)
		case q.over(ctx):
			return
		default:
			q.rest(wait)
		}
	}
}

// next gives the oldest mail that is due, or how long until one is; below zero
// says that none waits.
func (q *Queue) next() (*item, Config, time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	q.expire(now)
	if q.closing {
		for _, it := range q.waiting {
			if !it.last {
				it.last = true
				return it, q.cfg, 0
			}
		}
		return nil, q.cfg, -1
	}
	wait := time.Duration(-1)
	for _, it := range q.waiting {
		d := max(it.due.Sub(now), q.resume.Sub(now))
		if d <= 0 {
			return it, q.cfg, 0
		}
		if wait < 0 || d < wait {
			wait = d
		}
	}
	return nil, q.cfg, wait
}

// expire drops what is too old; the mutex is held.
func (q *Queue) expire(now time.Time) {
	q.waiting = slices.DeleteFunc(q.waiting, func(it *item) bool {
		old := now.Sub(it.queued) > q.opt.MaxAge
		if old {
			q.opt.Log.Error("an alert mail could not be sent in time and is lost", "subject", it.Subject, "limit", q.opt.MaxAge)
			q.stats.Dropped++
		}
		return old
	})
}

// try makes one attempt and settles what follows from it.
func (q *Queue) try(ctx context.Context, it *item, c *Config) {
	rejected, f := deliver(ctx, c, &it.Message)
	for _, err := range rejected {
		q.opt.Log.Warn("the relay refuses a recipient of an alert mail", "server", c.Server, "err", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if f == nil {
		q.pause = 0
		q.stats.Sent++
		if !q.take(it) {
			q.stats.Dropped-- // it was counted as lost to the limit meanwhile
		}
		q.opt.Log.Debug("alert mail sent", "subject", it.Subject)
		return
	}
	switch f.verdict {
	case refused:
		q.opt.Log.Error("the relay refuses an alert mail; correct smtp_server, notification_email or notification_email_from",
			"server", c.Server, "subject", it.Subject, "err", f)
		if q.take(it) {
			q.stats.Dropped++
		}
	case later:
		it.pause = q.longer(it.pause)
		it.due = time.Now().Add(it.pause)
		q.opt.Log.Warn("the relay wants an alert mail later", "server", c.Server, "subject", it.Subject, "pause", it.pause, "err", f)
	case away:
		first := q.pause == 0
		q.pause = q.longer(q.pause)
		q.resume = time.Now().Add(q.pause)
		if first {
			q.opt.Log.Warn("alert mails wait: the relay cannot be talked to", "server", c.Server, "err", f)
		}
		if q.closing { // it would be the same for the others
			for _, x := range q.waiting {
				x.last = true
			}
		}
	}
}

func (q *Queue) longer(pause time.Duration) time.Duration {
	return min(max(2*pause, q.opt.Retry), 32*q.opt.Retry)
}

// take removes a mail; the mutex is held. False: it is not there any more.
func (q *Queue) take(it *item) bool {
	n := slices.Index(q.waiting, it)
	if n >= 0 {
		q.waiting = slices.Delete(q.waiting, n, n+1)
	}
	return n >= 0
}

// over says whether the queue is closed and everything was tried; it drops
// what is left.
func (q *Queue) over(ctx context.Context) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closing && ctx.Err() == nil {
		return false
	}
	if n := len(q.waiting); n > 0 {
		q.opt.Log.Warn("alert mails are lost at the end", "count", n)
		q.stats.Dropped += uint64(n)
		q.waiting = nil
	}
	return true
}

// rest waits for a change, and for at most limit unless that is below zero.
func (q *Queue) rest(limit time.Duration) {
	var timeout <-chan time.Time
	if limit >= 0 {
		t := time.NewTimer(limit)
		defer t.Stop()
		timeout = t.C
	}
	select {
	case <-q.wake:
	case <-timeout:
	}
}
