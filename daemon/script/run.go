package script

import (
	"fmt"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Result is how a run ended. The zero value is a success.
type Result struct {
	// Code is the exit status, 0 to 255, when no other field is set.
	Code int
	// Signal is what killed the script, or 0.
	Signal syscall.Signal
	// TimedOut says that the time limit had passed, however it then ended.
	TimedOut bool
	// Stopped says that the daemon itself ended it, by Terminate or Close.
	Stopped bool
	// Err says why it could not be started.
	Err error
	// Took is the time from the start to the end.
	Took time.Duration
}

// OK says that the script ran, in time, and exited with 0.
func (r Result) OK() bool {
	return r.Err == nil && !r.TimedOut && !r.Stopped && r.Signal == 0 && r.Code == 0
}

// String is the cause in a few words, such as "exit 1" or "timed out".
func (r Result) String() string {
	switch {
	case r.Err != nil:
		return "cannot run: " + r.Err.Error()
	case r.TimedOut:
		return "timed out"
	case r.Stopped:
		return "stopped"
	case r.Signal != 0:
		return fmt.Sprintf("killed by signal %d (%s)", int(r.Signal), unix.SignalName(r.Signal))
	}
	return "exit " + strconv.Itoa(r.Code)
}

// Run is one script that was started.
type Run struct {
	exec   *Executor
	line   string
	began  time.Time
	ended  chan struct{}
	result Result // valid once ended is closed

	mu        sync.Mutex
	pid       int // -1 before the start and from the moment of reaping
	timer     *time.Timer
	kills     int
	timedOut  bool
	stopped   bool
	stopEarly bool // Terminate came before the pid was known
}

// Ended is closed when the script has ended and has been reaped.
func (r *Run) Ended() <-chan struct{} { return r.ended }

// Result is how it ended; only valid once Ended is closed.
func (r *Run) Result() Result { return r.result }

// Terminate sends SIGTERM to the script's process group, and SIGKILL later as
// after a timeout. It does nothing for a script that has ended.
func (r *Run) Terminate() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pid < 0 {
		r.stopEarly = true
		return
	}
	r.terminateLocked()
}

func (r *Run) terminateLocked() {
	if r.stopped || r.timedOut {
		return
	}
	r.stopped = true
	if r.timer != nil {
		r.timer.Stop()
	}
	r.escalateLocked()
}

// timeUp is the timer's function before and after the first signal.
func (r *Run) timeUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pid < 0 {
		return
	}
	if !r.stopped {
		r.timedOut = true
	}
	r.escalateLocked()
}

// escalateLocked sends the next signal of the ladder and arms the next step.
func (r *Run) escalateLocked() {
	sig, next := syscall.SIGKILL, r.exec.killEvery
	switch r.kills {
	case 0:
		sig, next = syscall.SIGTERM, r.exec.killAfter
	case 1:
		next = r.exec.killAfter
	}
	if r.kills > 0 {
		r.exec.log.Warn("script does not end, killing it", "script", r.line, "pid", r.pid, "attempt", r.kills)
	}
	r.kills++
	_ = syscall.Kill(-r.pid, sig)
	r.timer = time.AfterFunc(next, r.timeUp)
}

// signal sends sig to the group unless its leader has been reaped.
func (r *Run) signal(sig syscall.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pid > 0 {
		_ = syscall.Kill(-r.pid, sig)
	}
}

// wait blocks until the script has ended, clears up its group and reaps it.
func (r *Run) wait(p process) Result {
	p.awaitExit()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.timer.Stop()
	}
	if r.timedOut || r.stopped {
		// The leader is still a zombie, so the group's id is still its own.
		_ = syscall.Kill(-r.pid, syscall.SIGKILL)
	}
	r.pid = -1
	var ws syscall.WaitStatus
	for {
		_, err := syscall.Wait4(p.pid, &ws, 0, nil)
		if err == nil {
			break
		}
		if err != syscall.EINTR {
			return Result{Err: fmt.Errorf("waiting for pid %d: %w", p.pid, err)}
		}
	}
	res := Result{TimedOut: r.timedOut, Stopped: r.stopped, Took: time.Since(r.began)}
	if ws.Signaled() {
		res.Signal = ws.Signal()
	} else {
		res.Code = ws.ExitStatus()
	}
	return res
}
