package guardian

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/keepmesh/keepmesh/daemon/ipc"
)

// The respawn delays of keepalived: at once, then 1 s doubling to 60 s for a
// child that lived less than a minute.
const (
	shortLife  = time.Minute
	firstDelay = time.Second
	maxDelay   = time.Minute
)

// fromChild is what a child's goroutines tell the guardian.
type fromChild struct {
	child *child
	life  int
	msg   *ipc.Message // nil: the process ended with err
	err   error
}

// child is one of the two processes, over all its lives.
type child struct {
	role    string // "vrrp" or "cluster"
	program string
	env     []string
	events  *os.File // its end of the pair between the children
	pidFile string
	log     *slog.Logger
	out     chan<- fromChild

	life    int
	cmd     *exec.Cmd
	control *ipc.Conn
	started time.Time
	delay   time.Duration
	ready   bool // has committed a generation
}

func (c *child) running() bool { return c.cmd != nil }

func (c *child) pid() int {
	if c.cmd == nil {
		return 0
	}
	return c.cmd.Process.Pid
}

// start runs the process with further environment variables. Its descriptors
// are 3, control, and 4, events.
func (c *child) start(env []string) error {
	ours, theirs, err := ipc.Pair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	cmd := exec.Command(c.program)
	cmd.Args = []string{"keepmesh", c.role}
	cmd.Env = append(append(os.Environ(), c.env...), env...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{theirs, c.events}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		ours.Close()
		return fmt.Errorf("starting the %s process: %w", c.role, err)
	}
	fd, err := syscall.Dup(int(ours.Fd()))
	ours.Close()
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return fmt.Errorf("starting the %s process: %w", c.role, err)
	}
	control, err := ipc.New(fd, false)
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return err
	}
	c.life++
	c.cmd, c.control, c.started, c.ready = cmd, control, time.Now(), false
	if c.pidFile != "" {
		if err := os.WriteFile(c.pidFile, []byte(strconv.Itoa(c.pid())+"\n"), 0o644); err != nil {
			c.log.Warn("cannot write a pid file", "file", c.pidFile, "err", err)
		}
	}
	c.log.Debug("process started", "process", c.role, "pid", c.pid())
	go c.read(c.life, control)
	go c.wait(c.life, cmd)
	return nil
}

func (c *child) read(life int, control *ipc.Conn) {
	for {
		m, file, err := control.Receive()
		if file != nil {
			file.Close()
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				c.log.Debug("control socket", "process", c.role, "err", err)
			}
			return
		}
		c.out <- fromChild{child: c, life: life, msg: m}
	}
}

func (c *child) wait(life int, cmd *exec.Cmd) {
	err := cmd.Wait()
	c.out <- fromChild{child: c, life: life, err: err}
}

// ended forgets the process and says how long to wait before the next.
func (c *child) ended() time.Duration {
	c.cmd = nil
	c.ready = false
	_ = c.control.Close()
	c.control = nil
	if c.pidFile != "" {
		_ = os.Remove(c.pidFile)
	}
	return c.nextDelay(time.Since(c.started))
}

// nextDelay is none for a first death, or for the death of a process that
// lived long; otherwise it doubles.
func (c *child) nextDelay(lived time.Duration) time.Duration {
	if lived >= shortLife {
		c.delay = 0
	}
	delay := c.delay
	c.delay = min(max(2*delay, firstDelay), maxDelay)
	return delay
}

// send writes to the control socket. A child that does not read loses the
// message; its answer will be missed and the caller says so.
func (c *child) send(m *ipc.Message, file *os.File) {
	if c.control == nil {
		return
	}
	if err := c.control.Send(m, file); err != nil {
		c.log.Warn("cannot reach a process", "process", c.role, "err", err)
	}
}
