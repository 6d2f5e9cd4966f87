package guardian

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/keepmesh/keepmesh/daemon/ipc"
	"github.com/keepmesh/keepmesh/daemon/realtime"
	"github.com/keepmesh/keepmesh/daemon/sdnotify"
	"github.com/keepmesh/keepmesh/daemon/settings"
)

// Version is one configuration, translated for the two processes.
type Version struct {
	VRRP    settings.VRRP
	Cluster settings.Cluster
	Summary string // "3 instances, 2 problems"
	// ChildWait is how long a child may take to end (child_wait_time).
	ChildWait time.Duration
	// Startup runs once before the first child, Shutdown after the last one.
	Startup, Shutdown *settings.Once
}

// Options say how to run.
type Options struct {
	// Load reads the configuration. An error at start ends the daemon; on a
	// reload it keeps the running configuration.
	Load func(reload bool) (*Version, error)
	// Purge removes the addresses of a version from the kernel, after its vrrp
	// process died without doing so.
	Purge func(*settings.VRRP) (int, error)

	Program        string // path of this binary
	Env            []string
	PIDFile        string
	VRRPPIDFile    string
	ClusterPIDFile string
	NoRespawn      bool
	// Ready is called once when both processes have taken the configuration.
	Ready func()
	// Manager is the service manager; nil where there is none.
	Manager *sdnotify.Notifier
	Log     *slog.Logger
}

// prepareTime bounds the wait for a child's answer to Prepare and Commit.
const prepareTime = 5 * time.Second

// signalJSON is SIGRTMIN+2 of glibc, which keepalived dumps JSON on.
const signalJSON = syscall.Signal(36)

// ErrChildEnded says that a child ended while the daemon may not respawn (-R).
var ErrChildEnded = errors.New("a child process ended and may not be started again")

// ErrRefused says that a process cannot do what the configuration asks.
var ErrRefused = errors.New("cannot start")

// ErrContradiction is ErrRefused by the vrrp process, which refuses nothing but
// instances that contradict each other.
var ErrContradiction = fmt.Errorf("the configuration contradicts itself: %w", ErrRefused)

// Guardian is the state of the first process. Only Run's goroutine touches it.
type Guardian struct {
	opt      Options
	log      *slog.Logger
	vrrp     *child
	cluster  *child
	messages chan fromChild
	respawn  chan *child
	version  *Version
	gen      int // in force
	lastGen  int // highest ever offered
	stopping bool
	ready    bool
	pidLock  *pidFile
	early    []fromChild // answers that came while another child was awaited
}

// Run starts both processes and returns when the daemon was told to stop, with
// an error where it could not start at all.
func Run(ctx context.Context, opt Options) error {
	g := &Guardian{opt: opt, log: opt.Log, messages: make(chan fromChild, 16), respawn: make(chan *child, 2)}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, signalJSON)
	defer signal.Stop(signals)

	version, err := opt.Load(false)
	if err != nil {
		return err
	}
	g.version = version
	if opt.PIDFile != "" {
		if g.pidLock, err = lockPIDFile(opt.PIDFile); err != nil {
			return err
		}
		defer g.pidLock.release()
	}
	a, b, err := ipc.Pair()
	if err != nil {
		return err
	}
	defer a.Close()
	defer b.Close()
	g.vrrp = &child{role: "vrrp", program: opt.Program, env: opt.Env, events: a, pidFile: opt.VRRPPIDFile, log: g.log, out: g.messages}
	g.cluster = &child{role: "cluster", program: opt.Program, env: opt.Env, events: b, pidFile: opt.ClusterPIDFile, log: g.log, out: g.messages}

	// What an earlier run left is removed before anything new is added.
	g.purge("before the start")
	if !g.startupScript(ctx, signals) {
		return nil
	}
	defer g.shutdownScript()
	if err := g.vrrp.start(g.environment(g.vrrp)); err != nil {
		return err
	}
	if err := g.cluster.start(g.environment(g.cluster)); err != nil {
		g.stop()
		return err
	}
	g.offer(g.vrrp)
	g.offer(g.cluster)
	return g.loop(ctx, signals)
}

func (g *Guardian) loop(ctx context.Context, signals <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			g.stop()
			return nil
		case s := <-signals:
			switch s {
			case syscall.SIGTERM, syscall.SIGINT:
				g.log.Info("stopping", "signal", s.String())
				g.stop()
				return nil
			case syscall.SIGHUP:
				g.reload()
			case syscall.SIGUSR1:
				g.cluster.send(&ipc.Message{Dump: &ipc.Dump{Kind: ipc.DumpData}}, nil)
			case syscall.SIGUSR2:
				g.cluster.send(&ipc.Message{Dump: &ipc.Dump{Kind: ipc.DumpStats}}, nil)
			case signalJSON:
				g.cluster.send(&ipc.Message{Dump: &ipc.Dump{Kind: ipc.DumpJSON}}, nil)
			}
		case m := <-g.messages:
			if err := g.handle(m); err != nil {
				g.stop()
				return err
			}
		case c := <-g.respawn:
			g.startAgain(c)
		}
	}
}

// handle takes one message or death outside of a reload.
func (g *Guardian) handle(m fromChild) error {
	if m.life != m.child.life || !m.child.running() {
		return nil
	}
	if m.msg == nil {
		return g.died(m.child, m.err)
	}
	switch {
	case m.msg.Prepared != nil && m.msg.Prepared.Gen == g.gen:
		if e := m.msg.Prepared.Err; e != "" {
			return g.refused(m.child, e)
		}
		m.child.send(&ipc.Message{Commit: &ipc.Commit{Gen: g.gen}}, nil)
	case m.msg.Committed != nil && m.msg.Committed.Gen == g.gen:
		m.child.ready = true
		g.announceReady()
	case m.msg.Reload != nil:
		g.reload()
	}
	return nil
}

// refused ends a daemon that has not begun. Later, when a process that was
// started again cannot do what its predecessor could, it is asked once more
// after a while: the other process goes on.
func (g *Guardian) refused(c *child, why string) error {
	if !g.ready {
		if c == g.vrrp {
			return fmt.Errorf("%s: %w", why, ErrContradiction)
		}
		return fmt.Errorf("the %s process: %s: %w", c.role, why, ErrRefused)
	}
	g.log.Error("process refuses the configuration; it will be asked again", "process", c.role, "err", why)
	time.AfterFunc(prepareTime, func() { g.respawn <- c })
	return nil
}

func (g *Guardian) announceReady() {
	if g.ready || !g.vrrp.ready || !g.cluster.ready {
		return
	}
	g.ready = true
	if g.pidLock != nil {
		if err := g.pidLock.write(os.Getpid()); err != nil {
			g.log.Warn("cannot write the pid file", "err", err)
		}
	}
	g.tellReady()
	g.log.Info("ready", "config", g.version.Summary)
	if g.opt.Ready != nil {
		g.opt.Ready()
	}
}

// tellReady is for the start and for the end of each reload.
func (g *Guardian) tellReady() {
	if err := errors.Join(g.opt.Manager.Status("running: "+g.version.Summary), g.opt.Manager.Ready()); err != nil {
		g.log.Warn("cannot tell the service manager", "err", err)
	}
}

// died cleans up after a child and plans its successor.
func (g *Guardian) died(c *child, err error) error {
	delay := c.ended()
	clean := err == nil
	how := "exit 0"
	if err != nil {
		how = err.Error()
	}
	if c == g.vrrp {
		if !clean {
			g.purge("after the vrrp process died")
		}
		g.cluster.send(&ipc.Message{Notice: &ipc.Notice{Level: "error", Text: "the vrrp process ended (" + how + ")"}}, nil)
	}
	if g.opt.NoRespawn {
		return fmt.Errorf("%s process: %s: %w", c.role, how, ErrChildEnded)
	}
	g.log.Error("process ended: starting it again", "process", c.role, "how", how, "delay", delay)
	if delay == 0 {
		g.startAgain(c)
		return nil
	}
	time.AfterFunc(delay, func() { g.respawn <- c })
	return nil
}

func (g *Guardian) startAgain(c *child) {
	if g.stopping || c.running() && c.ready {
		return
	}
	if c.running() {
		g.offer(c)
		return
	}
	if err := c.start(g.environment(c)); err != nil {
		g.log.Error("cannot start a process", "process", c.role, "err", err)
		time.AfterFunc(maxDelay, func() { g.respawn <- c })
		return
	}
	g.offer(c)
}

// environment tells the vrrp process under which policy it is to run, before
// its runtime has any thread.
func (g *Guardian) environment(c *child) []string {
	if c != g.vrrp {
		return nil
	}
	v := &g.version.VRRP
	return realtime.Request{Priority: v.RTPriority, TimeMicros: v.RTTimeMicros, NoSwap: v.NoSwap, Nice: v.Nice}.Environ()
}

// offer sends the current generation to a child.
func (g *Guardian) offer(c *child) {
	f, err := g.memfile(c)
	if err != nil {
		g.log.Error("cannot hand over the configuration", "process", c.role, "err", err)
		return
	}
	defer f.Close()
	c.send(&ipc.Message{Prepare: &ipc.Prepare{Gen: g.gen}}, f)
}

func (g *Guardian) memfile(c *child) (*os.File, error) {
	if c == g.vrrp {
		g.version.VRRP.Gen = g.gen
		return ipc.Memfile("keepmesh-vrrp", &g.version.VRRP)
	}
	g.version.Cluster.Gen = g.gen
	return ipc.Memfile("keepmesh-cluster", &g.version.Cluster)
}

func (g *Guardian) purge(when string) {
	n, err := g.opt.Purge(&g.version.VRRP)
	if err != nil {
		g.log.Error("cannot clean the kernel", "when", when, "err", err)
	}
	if n > 0 {
		g.log.Warn("removed addresses and routes that a dead run left", "count", n, "when", when)
	}
}

// stop ends the vrrp process first, so that it resigns while everything else
// still works, then the cluster process with its STOP scripts.
func (g *Guardian) stop() {
	g.stopping = true
	_ = g.opt.Manager.Stopping()
	for _, c := range []*child{g.vrrp, g.cluster} {
		if !c.running() {
			continue
		}
		c.send(&ipc.Message{Stop: &ipc.Stop{}}, nil)
		if !g.awaitEnd(c, g.version.ChildWait) {
			g.log.Warn("process does not end: killing it", "process", c.role, "pid", c.pid())
			_ = c.cmd.Process.Kill()
			g.awaitEnd(c, prepareTime)
			if c == g.vrrp {
				g.purge("after the vrrp process was killed")
			}
		}
	}
}

// awaitEnd waits for the child's end; false says that it still runs.
func (g *Guardian) awaitEnd(c *child, limit time.Duration) bool {
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	for c.running() {
		select {
		case m := <-g.messages:
			if m.msg != nil || m.life != m.child.life || !m.child.running() {
				continue
			}
			if m.child == g.vrrp && m.err != nil {
				g.purge("after the vrrp process died")
			}
			m.child.ended()
		case <-timeout.C:
			return false
		}
	}
	return true
}
