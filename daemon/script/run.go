package script

import (
	"errors"
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

// Run is one script that was given to Start.
type Run struct {
	exec   *Executor
	cmd    Command
	extra  []string
	done   func(Result)
	began  time.Time
	ended  chan struct{}
	result Result // valid once ended is closed

	mu       sync.Mutex
	pid      int  // 0 before the fork and from the moment of reaping
	over     bool // reaped, or given up before the fork
	timer    *time.Timer
	kills    int
	timedOut bool
	stopped  bool
}

// errNotStarted is the Err of a run whose time was up before its fork.
var errNotStarted = errors.New("it was not started in time; look whether a file system on the way to a script hangs")

// Ended is closed when the script has ended and has been reaped, or has been
// given up.
func (r *Run) Ended() <-chan struct{} { return r.ended }

// Result is how it ended; only valid once Ended is closed.
func (r *Run) Result() Result { return r.result }

// finish delivers the result; whoever sets over calls it, once.
func (r *Run) finish(res Result) {
	res.Took = time.Since(r.began)
	r.result = res
	r.exec.forget(r)
	close(r.ended)
	if r.done != nil {
		r.done(res)
	}
}

// started takes the outcome of the fork, on the forking thread.
func (r *Run) started(p process, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil:
		if !r.over {
			r.over = true
			r.stopTimer()
			go r.finish(Result{Err: err})
		}
		return
	case r.over:
		// Given up during the fork: nobody waits for it any more.
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	}
	r.pid = p.pid
	if p.output != nil {
		go r.exec.copyOutput(r.cmd.Line, p.output)
	}
	go func() {
		res, report := r.wait(p)
		if p.output != nil {
			// What stays in the background may keep the pipe open for ever.
			_ = p.output.SetReadDeadline(time.Now().Add(time.Second))
		}
		if report {
			r.finish(res)
		}
	}()
}

// waiting tells whether the run still wants to be forked.
func (r *Run) waiting() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.over
}

func (r *Run) stopTimer() {
	if r.timer != nil {
		r.timer.Stop()
	}
}

// Terminate sends SIGTERM to the script's process group, and SIGKILL later as
// after a timeout. A script that has not started never will. It does nothing
// for one that has ended.
func (r *Run) Terminate() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over || r.stopped || r.timedOut {
		return
	}
	r.stopped = true
	r.stopTimer()
	if r.pid == 0 {
		r.over = true
		go r.finish(Result{Stopped: true})
		return
	}
	r.escalateLocked()
}

// timeUp is the timer's function before and after the first signal.
func (r *Run) timeUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	if !r.stopped {
		r.timedOut = true
	}
	if r.pid == 0 {
		r.over = true
		go r.finish(Result{TimedOut: true, Err: errNotStarted})
		return
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
		r.exec.log.Warn("script does not end, killing it", "script", r.cmd.Line, "pid", r.pid, "attempt", r.kills)
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
// report is false for a run that was given up before.
func (r *Run) wait(p process) (res Result, report bool) {
	p.awaitExit()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopTimer()
	if r.timedOut || r.stopped {
		// The leader is still a zombie, so the group's id is still its own.
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	}
	report = !r.over
	r.pid, r.over = 0, true
	var ws syscall.WaitStatus
	for {
		_, err := syscall.Wait4(p.pid, &ws, 0, nil)
		if err == nil {
			break
		}
		if err != syscall.EINTR {
			return Result{Err: fmt.Errorf("waiting for pid %d: %w", p.pid, err)}, report
		}
	}
	res = Result{TimedOut: r.timedOut, Stopped: r.stopped}
	if ws.Signaled() {
		res.Signal = ws.Signal()
	} else {
		res.Code = ws.ExitStatus()
	}
	return res, report
}
