package script

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// process is a child that has been forked. pidfd is nil where the kernel has
// none (before 5.3).
type process struct {
	pid    int
	pidfd  *os.File
	output *os.File // the reading end of its output, or nil
}

// forkThread makes all forks. The goroutine stays locked to its thread, whose
// attributes the children inherit; the thread must not end while a script
// runs, because the kernel would send that script its parent-death signal.
// A program on a hanging file system holds the thread up, and nobody else.
func (e *Executor) forkThread(null *os.File, umask int) {
	runtime.LockOSThread()
	defer null.Close()
	prepareThread(umask, e.log)
	for {
		for r := e.next(); r != nil; r = e.next() {
			if r.waiting() {
				r.started(e.fork(r.cmd, r.extra, null))
			}
		}
		select {
		case <-e.idle:
			return
		case <-e.wake:
		}
	}
}

// prepareThread gives the calling thread the attributes that scripts shall
// have, without touching the process's other threads.
func prepareThread(umask int, log *slog.Logger) {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		log.Warn("scripts run with the daemon's umask", "err", err)
	} else {
		unix.Umask(umask)
	}
	// Policy and nice value are only improved: what fails here (no right to
	// raise a nice value above 0) leaves the daemon's own in force.
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}, 0)
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 0)
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{}, nil)
}

// mayCallSetgroups is false in a user namespace made without privilege, where
// scripts keep the daemon's groups.
func mayCallSetgroups() bool {
	b, err := os.ReadFile("/proc/self/setgroups")
	return err != nil || string(trimNewline(b)) != "deny"
}

// fork starts the command; it runs on the forking thread.
func (e *Executor) fork(c Command, extra []string, null *os.File) (process, error) {
	if c.Path == "" {
		return process{}, errors.New("it has not been resolved")
	}
	path, argv := c.execArgs(extra)
	fd := -1
	sys := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM, PidFD: &fd}
	if os.Geteuid() == 0 {
		sys.Credential = &syscall.Credential{Uid: c.UID, Gid: c.GID, Groups: []uint32{c.GID}, NoSetGroups: !e.setgroups}
	} else if c.UID != uint32(os.Geteuid()) {
		return process{}, fmt.Errorf("only root can run it as uid %d; run the daemon as root or remove the user", c.UID)
	}
	var p process
	out := null
	if c.Log {
		r, w, err := os.Pipe()
		if err != nil {
			return process{}, fmt.Errorf("pipe for its output: %w", err)
		}
		defer w.Close()
		p.output, out = r, w
	}
	// Descriptors opened without O_CLOEXEC by anybody in the process must not
	// reach a script.
	_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{
		Env: e.env, Sys: sys, Files: []uintptr{null.Fd(), out.Fd(), out.Fd()},
	})
	if err != nil {
		if p.output != nil {
			p.output.Close()
		}
		return process{}, fmt.Errorf("%s: %w", path, err)
	}
	p.pid = pid
	if fd >= 0 && unix.SetNonblock(fd, true) == nil {
		p.pidfd = os.NewFile(uintptr(fd), "pidfd")
	}
	return p, nil
}

// awaitExit returns when the process has ended, leaving it a zombie. Through
// a pidfd the wait costs no thread.
func (p process) awaitExit() {
	if p.pidfd != nil {
		defer p.pidfd.Close()
		if rc, err := p.pidfd.SyscallConn(); err == nil {
			if rc.Read(func(uintptr) bool { return exited(p.pid, unix.WNOHANG) }) == nil {
				return
			}
		}
	}
	exited(p.pid, 0)
}

// exited asks whether the child has ended; with flag 0 it waits for that. A
// child that cannot be waited for counts as ended.
func exited(pid, flag int) bool {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT|flag, nil)
		if err == unix.EINTR {
			continue
		}
		return err != nil || info.Signo != 0
	}
}

// copyOutput writes a script's output to the log. Lines are cut at 4096 bytes
// and the rest of a run's output beyond 1000 lines is dropped.
func (e *Executor) copyOutput(line string, r *os.File) {
	defer r.Close()
	in := bufio.NewReaderSize(r, 4096)
	for n := 0; ; {
		text, err := in.ReadSlice('\n')
		if len(text) > 0 {
			if n++; n <= 1000 {
				e.log.Info("script output", "script", line, "text", string(trimNewline(text)))
			} else if n == 1001 {
				e.log.Warn("script prints too much, the rest is dropped", "script", line)
			}
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

func trimNewline(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return b
}
