package track

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/keepmesh/keepmesh/daemon/script"
)

// ScriptConfig is one vrrp_script that something tracks.
type ScriptConfig struct {
	// ID is its name, unique among the scripts.
	ID string
	// Command is resolved.
	Command script.Command
	// Interval is the time between two starts; below 1 ms it is 1 s.
	Interval time.Duration
	// Timeout limits a run; 0 means Interval.
	Timeout time.Duration
	// Rise and Fall are the successes and failures in a row that change the
	// state; below 1 they are 1.
	Rise, Fall int
	// InitFail is the keyword init_fail, see NewScript.
	InitFail bool
}

// ScriptState is a script as status shows it.
type ScriptState struct {
	ID string
	// Known says that a run has ended; Up means nothing before.
	Up, Known bool
	// Have of Need results in a row speak against the state.
	Have, Need int
	// Last is the result of the last run, such as "exit 0".
	Last string
	// Since is the time of the last transition and Skipped the number of
	// starts left out because the run before had not ended.
	Since   time.Time
	Skipped int
}

// Tracker runs vrrp_scripts. See the package comment.
type Tracker struct {
	exec *script.Executor
	log  *slog.Logger
	out  *outbox[scriptEvent]

	mu      sync.Mutex
	closed  bool
	scripts map[string]*tracked
}

type scriptEvent struct {
	up    bool
	cause string
}

// tracked is one script. Its fields are guarded by the Tracker's mutex. One
// that was removed or replaced is gone, and what its timer or run still
// delivers is ignored.
type tracked struct {
	cfg     ScriptConfig
	machine Script
	due     time.Time
	timer   *time.Timer
	run     *script.Run // nil while none runs
	gone    bool
	cause   string // of the last transition
	last    string
	since   time.Time
	skipped int
	overran bool // the present run has been complained about
}

// NewTracker returns a Tracker without scripts. emit receives each transition
// with its cause, such as "exit 1, 2 of 2" or "timed out, first run"; a nil
// log discards.
func NewTracker(exec *script.Executor, log *slog.Logger, emit func(id string, up bool, cause string)) *Tracker {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Tracker{
		exec: exec, log: log, scripts: map[string]*tracked{},
		out: newOutbox(func(id string, e scriptEvent) { emit(id, e.up, e.cause) }),
	}
}

// Apply makes cfgs the scripts that run. New and changed ones are started at
// once; those that are gone or changed are sent SIGTERM; equal ones go on
// undisturbed, with no new event (see Announce). Of two with one ID the first
// counts.
func (t *Tracker) Apply(cfgs []ScriptConfig) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	next := make(map[string]*tracked, len(cfgs))
	var fresh []*tracked
	for _, cfg := range cfgs {
		if _, twice := next[cfg.ID]; twice {
			continue
		}
		if s := t.scripts[cfg.ID]; s != nil && reflect.DeepEqual(s.cfg, cfg) {
			next[cfg.ID] = s
			continue
		}
		s := &tracked{cfg: cfg, machine: NewScript(cfg.Rise, cfg.Fall, cfg.InitFail), due: time.Now()}
		next[cfg.ID] = s
		fresh = append(fresh, s)
	}
	for id, s := range t.scripts {
		if next[id] != s {
			t.retire(s)
			t.out.drop(id)
		}
	}
	t.scripts = next
	for _, s := range fresh {
		t.startLocked(s)
	}
}

// retire stops a script for good; the mutex is held.
func (t *Tracker) retire(s *tracked) {
	s.gone = true
	if s.timer != nil {
		s.timer.Stop()
	}
	if s.run != nil {
		s.run.Terminate()
	}
}

func (cfg ScriptConfig) interval() time.Duration {
	if cfg.Interval < time.Millisecond {
		return time.Second
	}
	return cfg.Interval
}

// startLocked starts a run, unless one is under way, and arms the next one.
func (t *Tracker) startLocked(s *tracked) {
	s.due = s.due.Add(s.cfg.interval())
	if now := time.Now(); s.due.Before(now) {
		s.due = now.Add(s.cfg.interval())
	}
	s.timer = time.AfterFunc(time.Until(s.due), func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if !s.gone {
			t.startLocked(s)
		}
	})
	if s.run != nil {
		s.skipped++
		if !s.overran {
			s.overran = true
			t.log.Warn("script still runs when its next run is due; raise its interval or lower its timeout",
				"script", s.cfg.ID, "interval", s.cfg.interval())
		}
		return
	}
	timeout := s.cfg.Timeout
	if timeout <= 0 {
		timeout = s.cfg.interval()
	}
	s.overran = false
	s.run = t.exec.Start(s.cfg.Command, nil, timeout, func(r script.Result) { t.finished(s, r) })
}

func (t *Tracker) finished(s *tracked, r script.Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.run = nil
	if s.gone || r.Stopped || errors.Is(r.Err, script.ErrClosed) {
		return
	}
	_, known := s.machine.State()
	if last := r.String(); last != s.last {
		t.log.Debug("script returns another result", "script", s.cfg.ID, "result", last, "before", s.last)
		s.last = last
	}
	tr := s.machine.Result(r.OK())
	if tr == None {
		return
	}
	s.since = time.Now()
	s.cause = cause(s, r, known)
	up := tr == Up
	t.log.Info("script changed", "script", s.cfg.ID, "up", up, "reason", s.cause)
	t.out.put(s.cfg.ID, scriptEvent{up, s.cause})
}

func cause(s *tracked, r script.Result, known bool) string {
	switch {
	case known && r.OK():
		return fmt.Sprintf("%s, %d of %d", r, s.machine.rise, s.machine.rise)
	case known:
		return fmt.Sprintf("%s, %d of %d", r, s.machine.fall, s.machine.fall)
	case r.OK() && s.machine.r < s.machine.rise:
		return fmt.Sprintf("%s, 1 of %d (init_fail)", r, s.machine.rise)
	}
	return r.String() + ", first run"
}

// Announce emits the state of every script that has one again, for a receiver
// that has begun anew.
func (t *Tracker) Announce() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	for _, s := range t.sorted() {
		if up, known := s.machine.State(); known {
			t.out.put(s.cfg.ID, scriptEvent{up, s.cause})
		}
	}
}

// States lists the scripts by ID.
func (t *Tracker) States() []ScriptState {
	t.mu.Lock()
	defer t.mu.Unlock()
	states := make([]ScriptState, 0, len(t.scripts))
	for _, s := range t.sorted() {
		st := ScriptState{ID: s.cfg.ID, Last: s.last, Since: s.since, Skipped: s.skipped}
		st.Up, st.Known = s.machine.State()
		st.Have, st.Need = s.machine.Progress()
		states = append(states, st)
	}
	return states
}

func (t *Tracker) sorted() []*tracked {
	all := make([]*tracked, 0, len(t.scripts))
	for _, s := range t.scripts {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *tracked) int { return cmp.Compare(a.cfg.ID, b.cfg.ID) })
	return all
}

// Close stops all scripts, those that run by SIGTERM, and emits nothing from
// then on. It does not wait for them: closing the Executor does.
func (t *Tracker) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.closed = true
	for _, s := range t.scripts {
		t.retire(s)
	}
	t.scripts = nil
	t.out.close()
}
