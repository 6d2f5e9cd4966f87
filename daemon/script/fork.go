package script

import (
	"bufio"
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

type forkRequest struct {
	path  string
	argv  []string
	env   []string
	sys   *syscall.SysProcAttr
	out   *os.File // nil: /dev/null
	reply chan<- forkReply
}

type forkReply struct {
	pid int
	err error
}

// forkThread makes all forks. The goroutine stays locked to its thread, whose
// attributes the children inherit; the thread must not end while a script
// runs, because the kernel would send that script its parent-death signal.
func forkThread(requests <-chan forkRequest, idle <-chan struct{}, null *os.File, umask int, log *slog.Logger) {
	runtime.LockOSThread()
	defer null.Close()
	prepareThread(umask, log)
	for {
		select {
		case <-idle:
			return
		case q := <-requests:
			out := null
			if q.out != nil {
				out = q.out
			}
			// Descriptors opened without O_CLOEXEC by anybody in the process
			// must not reach a script.
			_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
			pid, err := syscall.ForkExec(q.path, q.argv, &syscall.ProcAttr{
				Env: q.env, Sys: q.sys,
				Files: []uintptr{null.Fd(), out.Fd(), out.Fd()},
			})
			q.reply <- forkReply{pid, err}
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

// fork starts the command on the forking thread.
func (e *Executor) fork(c Command, extra []string) (process, error) {
	path, argv := c.execArgs(extra)
	fd := -1
	sys := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM, PidFD: &fd}
	if os.Geteuid() == 0 {
		sys.Credential = &syscall.Credential{Uid: c.UID, Gid: c.GID, Groups: []uint32{c.GID}}
	} else if c.UID != uint32(os.Geteuid()) {
		return process{}, fmt.Errorf("only root can run it as uid %d; run the daemon as root or remove the user", c.UID)
	}
	q := forkRequest{path: path, argv: argv, env: e.env, sys: sys}
	var p process
	if c.Log {
		r, w, err := os.Pipe()
		if err != nil {
			return process{}, fmt.Errorf("pipe for its output: %w", err)
		}
		defer w.Close()
		p.output, q.out = r, w
	}
	reply := make(chan forkReply, 1)
	q.reply = reply
	e.forks <- q
	a := <-reply
	if a.err != nil {
		if p.output != nil {
			p.output.Close()
		}
		return process{}, fmt.Errorf("%s: %w", path, a.err)
	}
	p.pid = a.pid
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
		if err != nil && err != bufio.ErrBufferFull {
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
