package logsink

import (
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	queueLines     = 1024
	rememberedMax  = 32
	defaultWindow  = time.Second
	closeAllowance = time.Second
)

// Options say where lines go. With no output at all they go to Stderr.
type Options struct {
	// Ident is the process's name in syslog, such as keepmesh_vrrp.
	Ident string
	// Level is the lowest level written; nil is Info, -D makes it Debug.
	Level slog.Leveler
	// Console writes every line to Stderr (-l, and -n with -l).
	Console bool
	// Syslog writes to the syslog daemon (the default; -G switches it off).
	Syslog bool
	// Facility is that of -S; the zero value is DAEMON.
	Facility Facility
	// File is appended to when not empty (-g); see FileFor.
	File string

	// The rest is for tests and unusual systems.

	// Stderr is the console, os.Stderr if nil.
	Stderr io.Writer
	// SyslogPath is the socket of the syslog daemon, /dev/log if empty.
	SyslogPath string
	// Window is the time in which equal lines are counted, 1 s if zero.
	Window time.Duration
}

// FileFor is the file of one process for keepalived's option -g: `_process`
// is put before the last dot of the name. The guardian, process "", has the
// name itself.
func FileFor(file, process string) string {
	if process == "" {
		return file
	}
	ext := filepath.Ext(file)
	return strings.TrimSuffix(file, ext) + "_" + process + ext
}

// entry is one line under way.
type entry struct {
	time  time.Time
	level slog.Level
	body  []byte
}

// Sink owns the outputs and the goroutine that writes to them.
type Sink struct {
	level   slog.Leveler
	pool    sync.Pool
	queue   chan *entry
	dropped atomic.Uint64
	quit    chan struct{}
	once    sync.Once
	done    chan struct{}
	reopen  chan chan error
}

// Open opens the outputs. The error says that the file cannot be opened; a
// missing syslog daemon is none.
func Open(o Options) (*Sink, error) {
	if o.Level == nil {
		o.Level = slog.LevelInfo
	}
	if o.Stderr == nil {
		o.Stderr = os.Stderr
	}
	if o.SyslogPath == "" {
		o.SyslogPath = "/dev/log"
	}
	if o.Window <= 0 {
		o.Window = defaultWindow
	}
	w := &writer{stderr: o.Stderr, console: o.Console, filePath: o.File, window: o.Window}
	if o.Syslog {
		w.syslog = newSyslog(o.SyslogPath, o.Ident, o.Facility)
	}
	if err := w.openFile(); err != nil {
		return nil, err
	}
	if w.syslog == nil && w.file == nil {
		w.console = true
	}
	s := &Sink{
		level: o.Level, queue: make(chan *entry, queueLines),
		pool: sync.Pool{New: func() any { return &entry{body: make([]byte, 0, 256)} }},
		quit: make(chan struct{}), done: make(chan struct{}), reopen: make(chan chan error),
	}
	w.free = func(e *entry) { s.pool.Put(e) }
	go s.run(w)
	return s, nil
}

// Handler is what slog.New takes.
func (s *Sink) Handler() slog.Handler { return &handler{sink: s} }

// Logger is slog.New(s.Handler()).
func (s *Sink) Logger() *slog.Logger { return slog.New(s.Handler()) }

// Dropped is the number of lines that found the queue full so far.
func (s *Sink) Dropped() uint64 { return s.dropped.Load() }

func (s *Sink) put(e *entry) {
	select {
	case s.queue <- e:
	default:
		s.dropped.Add(1)
		s.pool.Put(e)
	}
}

// Reopen closes and opens the file again, after a rotation of logs. Without a
// file, or after Close, it does nothing.
func (s *Sink) Reopen() error {
	answer := make(chan error, 1)
	select {
	case s.reopen <- answer:
		return <-answer
	case <-s.done:
		return nil
	}
}

// Close writes what waits, for at most a second, and closes the outputs.
// Records that come later are dropped.
func (s *Sink) Close() {
	s.once.Do(func() { close(s.quit) })
	select {
	case <-s.done:
	case <-time.After(closeAllowance):
	}
}

// run is the writer goroutine.
func (s *Sink) run(w *writer) {
	defer close(s.done)
	var timer *time.Timer
	var expiry <-chan time.Time
	var told uint64
	tellDropped := func() {
		if n := s.dropped.Load(); n > told {
			w.write(&entry{time: time.Now(), level: slog.LevelWarn,
				body: fmt.Appendf(nil, "log lines dropped, outputs are too slow count=%d", n-told)})
			told = n
		}
	}
	for {
		select {
		case e := <-s.queue:
			w.take(e)
			if len(s.queue) == 0 {
				tellDropped()
			}
		case <-expiry:
			w.expire(time.Now())
		case answer := <-s.reopen:
			answer <- w.openFile()
		case <-s.quit:
			for {
				select {
				case e := <-s.queue:
					w.take(e)
					continue
				default:
				}
				break
			}
			tellDropped()
			w.close()
			return
		}
		// One timer for the oldest remembered line.
		if timer != nil {
			timer.Stop()
		}
		timer, expiry = nil, nil
		if len(w.recent) > 0 {
			timer = time.NewTimer(time.Until(w.recent[0].first.Add(w.window)))
			expiry = timer.C
		}
	}
}

// writer belongs to the goroutine.
type writer struct {
	stderr   io.Writer
	console  bool
	syslog   *syslog
	filePath string
	file     *os.File
	window   time.Duration
	recent   []remembered // oldest first
	line     []byte
	free     func(*entry)
}

// remembered is a line that was written less than a window ago.
type remembered struct {
	hash  uint64
	entry *entry
	first time.Time
	again int
}

var seed = maphash.MakeSeed()

// take writes a line, or counts it if it was written within the window.
func (w *writer) take(e *entry) {
	now := time.Now()
	w.expire(now)
	h := maphash.Bytes(seed, e.body) + uint64(e.level)
	for i := range w.recent {
		if w.recent[i].hash == h {
			w.recent[i].again++
			w.free(e)
			return
		}
	}
	w.write(e)
	if len(w.recent) == rememberedMax {
		w.forgetOldest()
	}
	w.recent = append(w.recent, remembered{hash: h, entry: e, first: now})
}

// expire forgets lines whose window is over.
func (w *writer) expire(now time.Time) {
	for len(w.recent) > 0 && now.Sub(w.recent[0].first) >= w.window {
		w.forgetOldest()
	}
}

// forgetOldest forgets one line and tells how often it came again.
func (w *writer) forgetOldest() {
	r := w.recent[0]
	w.recent = append(w.recent[:0], w.recent[1:]...)
	if r.again > 0 {
		r.entry.time = time.Now()
		r.entry.body = fmt.Appendf(r.entry.body, " (%d times more within %s)", r.again, w.window)
		w.write(r.entry)
	}
	w.free(r.entry)
}

// write gives one line to every output.
func (w *writer) write(e *entry) {
	reached := false
	if w.syslog != nil {
		reached = w.syslog.write(e)
	}
	if !w.console && w.file == nil && reached {
		return
	}
	w.line = e.time.AppendFormat(w.line[:0], "2006-01-02 15:04:05.000 ")
	w.line = append(w.line, e.level.String()...)
	w.line = append(w.line, ' ')
	w.line = append(w.line, e.body...)
	w.line = append(w.line, '\n')
	if w.file != nil {
		if _, err := w.file.Write(w.line); err == nil {
			reached = true
		}
	}
	if w.console || !reached {
		_, _ = w.stderr.Write(w.line)
	}
}

// openFile opens the file, closing the one before once that has succeeded.
func (w *writer) openFile() error {
	if w.filePath == "" {
		return nil
	}
	f, err := os.OpenFile(w.filePath, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("log file: %w; correct the path of -g", err)
	}
	if w.file != nil {
		w.file.Close()
	}
	w.file = f
	return nil
}

func (w *writer) close() {
	for len(w.recent) > 0 {
		w.forgetOldest()
	}
	if w.file != nil {
		w.file.Close()
	}
	if w.syslog != nil {
		w.syslog.close()
	}
}
