package track

import (
	"bytes"
	"cmp"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"
)

// Match says how configured parameters are compared with a process's.
type Match uint8

// The ways of param_match.
const (
	Exact   Match = iota // all parameters equal, and no others
	Partial              // the first parameters equal
	Initial              // as Partial, but the last one may be longer
)

// ProcessConfig is one vrrp_track_process that something tracks.
type ProcessConfig struct {
	// ID is its name, unique among the processes.
	ID string
	// Args are the program and its parameters. With the program alone and
	// FullCommand off, it is compared with the process's name, of which the
	// kernel keeps 15 bytes.
	Args        []string
	FullCommand bool
	Match       Match
	// Quorum is the least number of processes for up; below 1 it is 1.
	// QuorumMax is the most, nil without a limit; 0 means up when there is
	// none.
	Quorum    int
	QuorumMax *int
	// ForkDelay and TerminateDelay are how long a new state up or down has to
	// last before it counts.
	ForkDelay, TerminateDelay time.Duration
}

func (c ProcessConfig) byName() bool { return len(c.Args) == 1 && !c.FullCommand }

// good says whether n processes are a quorum.
func (c ProcessConfig) good(n int) bool {
	if c.QuorumMax != nil {
		if *c.QuorumMax == 0 {
			return n == 0
		}
		if n > *c.QuorumMax {
			return false
		}
	}
	return n >= max(c.Quorum, 1)
}

// pattern is what a process's name or command line, its words ended by NUL,
// is compared with.
func (c ProcessConfig) pattern() []byte {
	if c.byName() {
		return []byte(c.Args[0][:min(len(c.Args[0]), 15)])
	}
	var b []byte
	for _, a := range c.Args {
		b = append(append(b, a...), 0)
	}
	if c.Match == Initial {
		b = b[:len(b)-1]
	}
	return b
}

// ProcessState is a tracked process as status shows it.
type ProcessState struct {
	ID        string
	Up, Known bool
	Count     int
}

// process is one tracked process with its pure machine.
type process struct {
	ProcessConfig
	want      []byte
	up, known bool
	count     int
	changing  bool
	due       time.Time // when the change counts
}

// matches compares one running process.
func (p *process) matches(name, cmdline []byte) bool {
	switch {
	case p.byName():
		return bytes.Equal(name, p.want)
	case p.Match == Exact:
		return bytes.Equal(cmdline, p.want)
	}
	return bytes.HasPrefix(cmdline, p.want)
}

// step takes the number of processes at a time and tells whether the state
// changed. While changing is set, it is to be called again at due.
func (p *process) step(now time.Time, count int) (changed bool) {
	p.count = count
	good := p.good(count)
	switch {
	case !p.known:
		p.known, p.up = true, good
		return true
	case good == p.up:
		p.changing = false
		return false
	case !p.changing:
		p.changing = true
		p.due = now.Add(p.TerminateDelay)
		if good {
			p.due = now.Add(p.ForkDelay)
		}
	}
	if now.Before(p.due) {
		return false
	}
	p.changing, p.up = false, good
	return true
}

func (p *process) cause() string {
	switch {
	case p.QuorumMax != nil && *p.QuorumMax == 0:
		return fmt.Sprintf("%d running, want none", p.count)
	case p.QuorumMax != nil:
		return fmt.Sprintf("%d running, want %d to %d", p.count, max(p.Quorum, 1), *p.QuorumMax)
	}
	return fmt.Sprintf("%d running, want %d", p.count, max(p.Quorum, 1))
}

// pollEvery is the interval without the proc connector.
const pollEvery = 500 * time.Millisecond

// restEvery is the interval where the proc connector tells of changes: it
// finds what a full receive buffer has lost. minGap keeps a storm of forks from
// keeping the reader of /proc busy.
const (
	restEvery = 10 * time.Second
	minGap    = 10 * time.Millisecond
)

// Processes counts tracked processes by reading /proc: at once when the
// kernel's proc connector tells of one that begins, ends or changes its name,
// and again and again where there is no connector (any other network, process
// or user namespace than the first). Without it a change is seen within one
// interval, and a process that lives shorter may not be seen.
type Processes struct {
	log  *slog.Logger
	out  *outbox[scriptEvent]
	wake chan struct{}
	quit chan struct{}

	mu     sync.Mutex
	every  time.Duration
	closed bool
	procs  map[string]*process
	census census
	conn   *connector // nil: polling
}

// NewProcesses returns a Processes without any; it reads nothing until Apply
// gives it some. every is the interval, 500 ms if zero; the proc connector is
// not asked for where it is given. emit receives the first state of each and
// every change.
func NewProcesses(every time.Duration, log *slog.Logger, emit func(id string, up bool, cause string)) *Processes {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	connect := every <= 0
	if connect {
		every = pollEvery
	}
	p := &Processes{
		log: log, every: every, census: newCensus("/proc"), procs: map[string]*process{},
		wake: make(chan struct{}, 1), quit: make(chan struct{}),
		out: newOutbox(func(id string, e scriptEvent) { emit(id, e.up, e.cause) }),
	}
	if connect {
		go p.listen()
	}
	go p.poll()
	return p
}

// listen is the goroutine that asks for the connector and reads it; it ends
// with Close, or where there is none.
func (p *Processes) listen() {
	conn, err := dialConnector()
	if err != nil {
		p.log.Info("processes are counted by polling /proc", "interval", pollEvery, "reason", err)
		return
	}
	p.mu.Lock()
	if p.closed {
		conn.close()
	}
	p.conn, p.every = conn, restEvery
	p.mu.Unlock()
	p.poke() // what has happened before the subscription
	err = conn.read(func(ev procEvent) {
		p.mu.Lock()
		relevant := p.census.note(ev, p.procs)
		p.mu.Unlock()
		if relevant {
			p.poke()
		}
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.log.Warn("the proc connector has failed: polling /proc", "err", err)
		p.every = pollEvery
		p.poke()
	}
}

func (p *Processes) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Apply makes cfgs the processes that are tracked. Equal ones keep their
// state. Those without Args and the second of two with one ID are left out.
func (p *Processes) Apply(cfgs []ProcessConfig) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := make(map[string]*process, len(cfgs))
	for _, cfg := range cfgs {
		if next[cfg.ID] != nil || len(cfg.Args) == 0 {
			continue
		}
		if old := p.procs[cfg.ID]; old != nil && reflect.DeepEqual(old.ProcessConfig, cfg) {
			next[cfg.ID] = old
			continue
		}
		next[cfg.ID] = &process{ProcessConfig: cfg, want: cfg.pattern()}
	}
	for id := range p.procs {
		if next[id] != p.procs[id] {
			p.out.drop(id)
		}
	}
	p.procs = next
	p.poke()
}

// poll is the goroutine that reads /proc.
func (p *Processes) poll() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-p.quit:
			return
		case <-p.wake:
			time.Sleep(minGap)
		case <-timer.C:
		}
		if wait, any := p.look(); any {
			timer.Reset(wait)
		}
	}
}

// look counts once and returns the time until the next look.
func (p *Processes) look() (wait time.Duration, any bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.procs) == 0 {
		return 0, false
	}
	all := p.sorted()
	counts := p.census.count(all)
	now := time.Now()
	wait = p.every
	for i, proc := range all {
		if proc.step(now, counts[i]) {
			p.log.Info("tracked process changed", "process", proc.ID, "up", proc.up, "reason", proc.cause())
			p.out.put(proc.ID, scriptEvent{proc.up, proc.cause()})
		}
		if proc.changing {
			wait = min(wait, max(proc.due.Sub(now), time.Millisecond))
		}
	}
	return wait, true
}

// Announce emits every state again, for a receiver that has begun anew.
func (p *Processes) Announce() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, proc := range p.sorted() {
		if proc.known {
			p.out.put(proc.ID, scriptEvent{proc.up, proc.cause()})
		}
	}
}

// States lists the processes by ID.
func (p *Processes) States() []ProcessState {
	p.mu.Lock()
	defer p.mu.Unlock()
	states := make([]ProcessState, 0, len(p.procs))
	for _, proc := range p.sorted() {
		states = append(states, ProcessState{ID: proc.ID, Up: proc.up, Known: proc.known, Count: proc.count})
	}
	return states
}

func (p *Processes) sorted() []*process {
	all := make([]*process, 0, len(p.procs))
	for _, proc := range p.procs {
		all = append(all, proc)
	}
	slices.SortFunc(all, func(a, b *process) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// Close ends the counting; nothing is emitted from then on.
func (p *Processes) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	close(p.quit)
	if p.conn != nil {
		p.conn.close() // ends listen
	}
	p.out.close()
}
