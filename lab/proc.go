package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// answerTimeout is how long the init of a host may take to answer. It only
// forks and signals, so a longer silence means that the host hangs.
const answerTimeout = 20 * time.Second

// drainTime is how long the end of a process waits for output that a
// surviving child may still hold the pipe for.
const drainTime = 200 * time.Millisecond

// Cmd is a command to run inside a host.
type Cmd struct {
	Argv   []string
	Stdin  io.Reader // default: empty. An *os.File is passed on as it is
	Stdout io.Writer // also written to, besides the capture. An *os.File is passed on as it is, without capture
	Stderr io.Writer // as Stdout
	Env    []string  // added to the environment, KEY=VALUE
	Dir    string    // default: /
}

// Proc is a process inside a host, in a session of its own.
type Proc struct {
	host    *Host
	run     *incarnation
	argv    []string
	inside  int
	outside int
	log     string
	out     *capture // both streams, as they came
	err     *capture // standard error alone
	copies  sync.WaitGroup

	exited chan struct{} // closed when status is set
	status ExitStatus
}

// ExitStatus says how a process ended.
type ExitStatus struct {
	Code   int            // exit code, or -1
	Signal syscall.Signal // that killed it, or 0
	Killed bool           // it went with its host
}

func (s ExitStatus) String() string {
	switch {
	case s.Killed:
		return "host killed"
	case s.Signal != 0:
		return "signal " + s.Signal.String()
	default:
		return "exit status " + strconv.Itoa(s.Code)
	}
}

// Result is what a finished command left.
type Result struct {
	Stdout, Stderr string
	Status         ExitStatus
}

// Run runs a command inside the host and waits for its end. An exit code
// other than 0 is an error that quotes standard error; the result is valid
// then too. When the context ends first, the command is killed.
func (h *Host) Run(ctx context.Context, argv ...string) (Result, error) {
	var stdout strings.Builder
	p, err := h.Start(Cmd{Argv: argv, Stdout: &stdout})
	if err != nil {
		return Result{}, err
	}
	status, err := p.Wait(ctx)
	if err != nil {
		_ = p.Signal(unix.SIGKILL)
		<-p.exited
		return Result{Stderr: p.err.String(), Status: p.status}, fmt.Errorf("host %s: %s: %w", h.name, strings.Join(argv, " "), err)
	}
	p.out.mu.Lock() // a child that outlived the command may still be writing
	res := Result{Stdout: stdout.String(), Stderr: p.err.String(), Status: status}
	p.out.mu.Unlock()
	if status != (ExitStatus{}) {
		return res, fmt.Errorf("host %s: %s: %s: %s", h.name, strings.Join(argv, " "), status, strings.TrimSpace(res.Stderr))
	}
	return res, nil
}

// Start starts a command inside the host. Its output is kept in memory, for
// Output and WaitOutput, and in the file LogFile. It ends with the host at
// the latest.
func (h *Host) Start(cmd Cmd) (*Proc, error) {
	if len(cmd.Argv) == 0 {
		return nil, fmt.Errorf("host %s: no command given", h.name)
	}
	run, err := h.running()
	if err != nil {
		return nil, err
	}
	p := &Proc{host: h, run: run, argv: cmd.Argv, exited: make(chan struct{})}
	if err := p.start(cmd); err != nil {
		return nil, fmt.Errorf("host %s: starting %s: %w", h.name, cmd.Argv[0], err)
	}
	return p, nil
}

func (p *Proc) start(cmd Cmd) error {
	name := fmt.Sprintf("%s.%s.*.log", p.host.name, filepath.Base(cmd.Argv[0]))
	log, err := os.CreateTemp(p.host.lab.dir, name)
	if err != nil {
		return err
	}
	p.log = log.Name()
	p.out = newCapture(log)
	p.err = newCapture(nil)
	var theirs []*os.File // closed in this process once the child has them
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
	}()
	stdin, err := p.inputEnd(cmd.Stdin, &theirs)
	if err != nil {
		return err
	}
	stdout, err := p.outputEnd(cmd.Stdout, nil, &theirs)
	if err != nil {
		return err
	}
	stderr, err := p.outputEnd(cmd.Stderr, p.err, &theirs)
	if err != nil {
		return err
	}
	dir := cmd.Dir
	if dir == "" {
		dir = "/"
	}
	req := request{Op: opStart, Argv: cmd.Argv, Env: hostEnviron(cmd.Env), Dir: dir}
	err = p.run.call(req, []int{int(stdin.Fd()), int(stdout.Fd()), int(stderr.Fd())}, func(res response, pidfd int) {
		// On the receiving goroutine, so before any notice of the exit.
		p.inside = res.PID
		p.outside = pidOf(pidfd)
		p.run.procs[res.PID] = p
	})
	if err != nil {
		log.Close()
		return err
	}
	return nil
}

// inputEnd is the descriptor that becomes the standard input.
func (p *Proc) inputEnd(from io.Reader, theirs *[]*os.File) (*os.File, error) {
	if f, ok := from.(*os.File); ok {
		return f, nil
	}
	if from == nil {
		f, err := os.Open(os.DevNull)
		*theirs = append(*theirs, f)
		return f, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	*theirs = append(*theirs, r)
	go func() {
		defer w.Close()
		_, _ = io.Copy(w, from) // ends when the reader does
	}()
	return r, nil
}

// outputEnd is the descriptor that becomes an output stream. What comes out
// of it goes to the capture of both streams, to extra and to the caller's
// writer.
func (p *Proc) outputEnd(to io.Writer, extra *capture, theirs *[]*os.File) (*os.File, error) {
	if f, ok := to.(*os.File); ok {
		return f, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	*theirs = append(*theirs, w)
	p.copies.Go(func() {
		defer r.Close()
		buf := make([]byte, 32<<10)
		for {
			n, err := r.Read(buf)
			if extra != nil {
				extra.write(buf[:n], nil)
			}
			p.out.write(buf[:n], to)
			if err != nil {
				return
			}
		}
	})
	return w, nil
}

// PID gives the process's number as this process sees it, and as processes
// inside the host and their pid files do.
func (p *Proc) PID() (outside, inside int) { return p.outside, p.inside }

// LogFile is the file in Lab.Dir that both output streams are written to.
func (p *Proc) LogFile() string { return p.log }

// Output is everything the process wrote so far, both streams as they came.
func (p *Proc) Output() string { return p.out.String() }

// Signal sends a signal to the process alone.
func (p *Proc) Signal(sig syscall.Signal) error {
	select {
	case <-p.exited:
		return fmt.Errorf("host %s: %s: %w", p.host.name, p.argv[0], os.ErrProcessDone)
	default:
		return p.run.signal(p.inside, sig)
	}
}

// Exited is closed when the process has ended.
func (p *Proc) Exited() <-chan struct{} { return p.exited }

// Wait waits for the end of the process and of its output.
func (p *Proc) Wait(ctx context.Context) (ExitStatus, error) {
	select {
	case <-p.exited:
		return p.status, nil
	case <-ctx.Done():
		return ExitStatus{}, fmt.Errorf("waiting for its end: %w", ctx.Err())
	}
}

// Stop sends TERM and waits for the end.
func (p *Proc) Stop(ctx context.Context) (ExitStatus, error) {
	if err := p.Signal(unix.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return ExitStatus{}, err
	}
	return p.Wait(ctx)
}

// WaitOutput waits until the output matches and gives the first match and
// its groups. It fails when the process ends or the context does, quoting the
// end of the output.
func (p *Proc) WaitOutput(ctx context.Context, expr *regexp.Regexp) ([]string, error) {
	for {
		// Taken before looking, so that no output in between is missed.
		changed, text := p.out.snapshot()
		if m := expr.FindStringSubmatch(text); m != nil {
			return m, nil
		}
		select {
		case <-changed:
		case <-p.exited:
			if m := expr.FindStringSubmatch(p.out.String()); m != nil {
				return m, nil
			}
			return nil, fmt.Errorf("host %s: %s ended (%s) without output matching %q: %s", p.host.name, p.argv[0], p.status, expr, tail(p.Output()))
		case <-ctx.Done():
			return nil, fmt.Errorf("host %s: waiting for %s to print %q: %w; it printed: %s", p.host.name, p.argv[0], expr, ctx.Err(), tail(p.Output()))
		}
	}
}

func tail(text string) string {
	const most = 2000
	if len(text) > most {
		return "..." + text[len(text)-most:]
	}
	return text
}

// end is called once, on the goroutine that receives the exit notices.
func (p *Proc) end(status ExitStatus) {
	go func() {
		drained := make(chan struct{})
		go func() {
			p.copies.Wait()
			p.out.close()
			close(drained)
		}()
		select {
		case <-drained:
		case <-time.After(drainTime):
		}
		p.status = status
		close(p.exited)
	}()
}

// pidOf is the pid behind a pidfd as seen through this process's /proc, or 0.
func pidOf(pidfd int) int {
	if pidfd < 0 {
		return 0
	}
	data, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(pidfd))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if v, ok := strings.CutPrefix(line, "Pid:"); ok {
			pid, _ := strconv.Atoi(strings.TrimSpace(v))
			return max(pid, 0)
		}
	}
	return 0
}

// capture keeps output in memory and in a file, and wakes those who wait.
type capture struct {
	mu      sync.Mutex
	text    []byte
	file    *os.File
	changed chan struct{}
}

func newCapture(file *os.File) *capture {
	return &capture{file: file, changed: make(chan struct{})}
}

func (c *capture) write(data []byte, tee io.Writer) {
	if len(data) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text = append(c.text, data...)
	if c.file != nil {
		_, _ = c.file.Write(data) // the copy in memory is the one that counts
	}
	if tee != nil {
		_, _ = tee.Write(data)
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *capture) snapshot() (<-chan struct{}, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed, string(c.text)
}

func (c *capture) String() string {
	_, text := c.snapshot()
	return text
}

func (c *capture) close() {
	if c.file != nil {
		c.file.Close()
	}
}
