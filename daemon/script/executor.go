package script

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// DefaultUmask is keepalived's: files made by scripts are for their user only.
const DefaultUmask = 0o177

// ErrClosed is the Err of a Result when the Executor no longer starts scripts.
var ErrClosed = errors.New("script not started: the daemon is stopping")

// Options configure an Executor; the zero value of each field is useful.
type Options struct {
	// Log receives what scripts with Command.Log print, and what goes wrong.
	// Nil discards it.
	Log *slog.Logger
	// Umask of scripts; nil is DefaultUmask (the daemon's option -u).
	Umask *int
	// Env is the environment to start from; nil is the daemon's own. IFS and
	// LD_* are removed from it in any case.
	Env []string
	// KillAfter is the time from SIGTERM to SIGKILL and to the second
	// SIGKILL (default 2 s), KillEvery between all further ones (default 10 s).
	KillAfter, KillEvery time.Duration
}

// Executor starts the daemon's scripts. See the package comment.
type Executor struct {
	log                  *slog.Logger
	env                  []string
	killAfter, killEvery time.Duration
	setgroups            bool          // whether the user namespace allows it
	wake                 chan struct{} // a run was queued

	mu      sync.Mutex
	queue   []*Run // in the order of Start
	closed  bool
	running map[*Run]struct{}
	idle    chan struct{} // closed when closed and nothing runs
}

// New returns an Executor and starts its forking thread. The error tells that
// /dev/null cannot be opened.
func New(o Options) (*Executor, error) {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.KillAfter <= 0 {
		o.KillAfter = 2 * time.Second
	}
	if o.KillEvery <= 0 {
		o.KillEvery = 10 * time.Second
	}
	if o.Env == nil {
		o.Env = os.Environ()
	}
	umask := DefaultUmask
	if o.Umask != nil {
		umask = *o.Umask
	}
	e := &Executor{
		log: o.Log, env: cleanEnv(o.Env), killAfter: o.KillAfter, killEvery: o.KillEvery,
		setgroups: mayCallSetgroups(),
		wake:      make(chan struct{}, 1), running: map[*Run]struct{}{}, idle: make(chan struct{}),
	}
	go e.forkThread(null, umask)
	return e, nil
}

// cleanEnv drops what could change how a shell or the dynamic loader of a
// script behaves.
func cleanEnv(env []string) []string {
	kept := make([]string, 0, len(env))
	for _, kv := range env {
		if !strings.HasPrefix(kv, "IFS=") && !strings.HasPrefix(kv, "LD_") {
			kept = append(kept, kv)
		}
	}
	return kept
}

// Start runs a resolved Command with extra words appended to its own. It
// returns at once; the script itself starts when those before it have, within
// a millisecond or so each. done may be nil; it is called once from another
// goroutine, also for a script that could not be started.
//
// A timeout above zero limits the time from Start on: then the script's group
// is sent SIGTERM, SIGKILL after KillAfter, again after KillAfter, then every
// KillEvery; when the script itself has ended what is left of its group is
// killed. A script that has not even started by then, because a file system
// hangs, is given up. Without a timeout, processes that the script leaves in
// the background live on.
func (e *Executor) Start(c Command, extra []string, timeout time.Duration, done func(Result)) *Run {
	r := &Run{exec: e, cmd: c, extra: extra, done: done, began: time.Now(), ended: make(chan struct{})}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		r.over = true
		go r.finish(Result{Err: ErrClosed})
		return r
	}
	e.running[r] = struct{}{}
	if timeout > 0 {
		r.timer = time.AfterFunc(timeout, r.timeUp)
	}
	e.queue = append(e.queue, r)
	select {
	case e.wake <- struct{}{}:
	default:
	}
	return r
}

// next takes the oldest run that waits for its fork.
func (e *Executor) next() *Run {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.queue) == 0 {
		return nil
	}
	r := e.queue[0]
	e.queue[0] = nil
	e.queue = e.queue[1:]
	return r
}

func (e *Executor) forget(r *Run) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, known := e.running[r]; !known {
		return
	}
	delete(e.running, r)
	if e.closed && len(e.running) == 0 {
		close(e.idle)
	}
}

// Running is the number of scripts that run or wait for their start.
func (e *Executor) Running() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.running)
}

// Close refuses new scripts, gives up those that have not started, sends
// SIGTERM to the groups of those that run and waits for them; when ctx ends first they are sent SIGKILL, and Close
// returns ctx's error once they are gone or a second has passed. It may be
// called more than once.
func (e *Executor) Close(ctx context.Context) error {
	e.mu.Lock()
	first := !e.closed
	e.closed = true
	runs := make([]*Run, 0, len(e.running))
	for r := range e.running {
		runs = append(runs, r)
	}
	if first && len(runs) == 0 {
		close(e.idle)
	}
	e.mu.Unlock()
	for _, r := range runs {
		r.Terminate()
	}
	select {
	case <-e.idle:
		return nil
	case <-ctx.Done():
	}
	for _, r := range runs {
		r.signal(syscall.SIGKILL)
	}
	select {
	case <-e.idle:
	case <-time.After(time.Second):
	}
	return ctx.Err()
}
