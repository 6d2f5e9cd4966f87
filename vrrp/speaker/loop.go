package speaker

import (
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/keepmesh/keepmesh/vrrp"
)

// shortWait is the longest wait for which the loop keeps its processor.
const shortWait = 2 * time.Millisecond

// The kernel lets a ppoll end late by a thousandth of its length, whatever the
// timer slack (select_estimate_accuracy in fs/select.c): 3.6 ms in the wait of
// a backup at 1 s. And a Go thread that returns from a long system call finds
// its runtime asleep, which wakes up and first of all preempts it. So a wait
// that must end on time ends early by both, and the rest is a short wait.
const (
	lateShare  = 1000
	settleTime = 500 * time.Microsecond
)

// firstPart is how much of a wait that must end on time is waited for first.
func firstPart(wait time.Duration) time.Duration {
	if wait < shortWait {
		return wait
	}
	return wait - wait/lateShare - settleTime
}

// Where packets are many, most of what each costs is the wake-up. After so
// many wake-ups in a row, each within twice the rest of the one before, the
// loop leaves the descriptors alone for the length of a rest, and then reads
// what has come together. A rest is a twentieth of the shortest advert
// interval, and never outlasts a deadline: Due reads the sockets first.
const (
	restTime    = 500 * time.Microsecond
	burstLength = 8
)

// Now reads CLOCK_MONOTONIC.
func Now() vrrp.Instant {
	var ts unix.Timespec
	// Cannot fail: the clock exists on every kernel that Go supports.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return vrrp.Instant(ts.Nano())
}

// Loop waits for descriptors and for one deadline, on one locked thread. All
// handlers run on that thread; only Stop may be called from another.
type Loop struct {
	fds      []unix.PollFd
	handlers []func()
	dirty    bool // the sets changed while handlers were being called
	wake     int
	done     bool
	wokenAt  vrrp.Instant // by a descriptor
	burst    int          // wake-ups in a row that followed each other closely
}

// NewLoop makes a loop that watches nothing.
func NewLoop() (*Loop, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("making the loop's wake-up descriptor: %w", err)
	}
	l := &Loop{wake: wake}
	l.Watch(wake, l.drainWake)
	return l, nil
}

func (l *Loop) drainWake() {
	var b [8]byte
	_, _ = unix.Read(l.wake, b[:])
}

// Watch calls fn whenever fd is readable or has an error.
func (l *Loop) Watch(fd int, fn func()) {
	l.fds = append(l.fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	l.handlers = append(l.handlers, fn)
	l.dirty = true
}

// Unwatch forgets fd; it must come before the descriptor is closed.
func (l *Loop) Unwatch(fd int) {
	for i := range l.fds {
		if l.fds[i].Fd == int32(fd) {
			l.fds = append(l.fds[:i], l.fds[i+1:]...)
			l.handlers = append(l.handlers[:i], l.handlers[i+1:]...)
			l.dirty = true
			return
		}
	}
}

// Stop makes Run return after the handlers of the current wake-up.
func (l *Loop) Stop() {
	l.done = true
	one := [8]byte{7: 1}
	_, _ = unix.Write(l.wake, one[:])
}

// Timers is what Run serves.
type Timers interface {
	// Deadline is when Due is to be called; false means never.
	Deadline() (vrrp.Instant, bool)
	// Precise says that a fraction of a millisecond matters for it, and is worth
	// a wake-up more.
	Precise() bool
	Due(now vrrp.Instant)
}

// Run calls handlers and, whenever a deadline has come, its timers. It returns
// after Stop, or with the error of ppoll.
func (l *Loop) Run(timers Timers) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// The default slack of 50 µs would show in every advert. Refused only by
	// kernels that have no such notion.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	for !l.done {
		wait := time.Duration(-1)
		if at, ok := timers.Deadline(); ok {
			wait = max(at.Sub(Now()), 0)
			if timers.Precise() {
				wait = firstPart(wait)
			}
		}
		if l.burst >= burstLength && wait != 0 {
			l.rest(wait)
			wait = 0
		}
		n, err := l.poll(wait)
		if err != nil {
			return fmt.Errorf("waiting for packets: %w", err)
		}
		if n > 0 {
			l.count(Now())
			l.dispatch()
		}
		if at, ok := timers.Deadline(); ok {
			if now := Now(); now >= at {
				timers.Due(now)
			}
		}
	}
	return nil
}

// count takes note of a wake-up by a descriptor.
func (l *Loop) count(now vrrp.Instant) {
	if now.Sub(l.wokenAt) < 2*restTime {
		l.burst++
	} else {
		l.burst = 0
	}
	l.wokenAt = now
}

// rest sleeps for restTime, or less where a deadline comes sooner; a negative
// wait is none. A rest that a signal ends is over.
func (l *Loop) rest(wait time.Duration) {
	if wait < 0 || wait > restTime {
		wait = restTime
	}
	ts := unix.NsecToTimespec(int64(wait))
	_, _, _ = unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
}

// dispatch calls the handlers of ready descriptors. A handler that changes the
// set ends the round: ppoll will say again what is still ready.
func (l *Loop) dispatch() {
	l.dirty = false
	for i := range l.fds {
		if l.fds[i].Revents == 0 {
			continue
		}
		l.fds[i].Revents = 0
		l.handlers[i]()
		if l.dirty || l.done {
			return
		}
	}
}

// poll waits for at most wait, or for ever where it is negative.
func (l *Loop) poll(wait time.Duration) (int, error) {
	var ts unix.Timespec
	var tp *unix.Timespec
	if wait >= 0 {
		ts = unix.NsecToTimespec(int64(wait))
		tp = &ts
	}
	var n uintptr
	var errno unix.Errno
	if wait >= 0 && wait < shortWait {
		n, _, errno = unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(unsafe.SliceData(l.fds))),
			uintptr(len(l.fds)), uintptr(unsafe.Pointer(tp)), 0, 0, 0)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(unsafe.SliceData(l.fds))),
			uintptr(len(l.fds)), uintptr(unsafe.Pointer(tp)), 0, 0, 0)
	}
	switch {
	case errno == 0:
		return int(n), nil
	case errors.Is(errno, unix.EINTR):
		return 0, nil
	default:
		return 0, errno
	}
}
