// Package realtime puts the vrrp process under the scheduling policy that the
// configuration asks for.
//
// A Go program makes threads as it likes, and a thread that runs the protocol
// under SCHED_RR inside a program of ordinary threads waits for them whenever
// the collector stops the world. So the policy is set on the first thread and
// the program executes itself again: every thread it will ever have inherits
// the policy (keepalived: vrrp_rt_priority, vrrp_rlimit_rttime).
package realtime

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The environment variables between guardian and vrrp process.
const (
	wanted = "KEEPMESH_REALTIME" // PRIORITY:MICROSECONDS:NOSWAP:NICE
	done   = "KEEPMESH_REALTIME_SET"
)

// rlimitRTTime is RLIMIT_RTTIME.
const rlimitRTTime = 15

// leastRTTime is the lowest limit set: the takeover of a thousand addresses
// takes 15 ms without a pause, and keepalived's default of 10 ms would kill the
// process in the middle of it. A loop gone mad is still ended within a second.
const leastRTTime = 1_000_000

// loopBoost is how far the loop's thread stands above the runtime's others.
const loopBoost = 2

// Request is what is asked for; its zero value is ordinary scheduling.
type Request struct {
	Priority   int  // SCHED_RR, 1 to 99; 0: none
	TimeMicros uint // RLIMIT_RTTIME; 0: none
	NoSwap     bool // lock memory as it is touched
	Nice       int  // -20 to 19
}

// Environ gives the variables that carry the request.
func (r Request) Environ() []string {
	if r == (Request{}) || r == (Request{TimeMicros: r.TimeMicros}) {
		return nil
	}
	return []string{fmt.Sprintf("%s=%d:%d:%t:%d", wanted, r.Priority, r.TimeMicros, r.NoSwap, r.Nice)}
}

func parse(text string) (r Request, ok bool) {
	parts := strings.Split(text, ":")
	if len(parts) != 4 {
		return r, false
	}
	prio, err1 := strconv.Atoi(parts[0])
	micros, err2 := strconv.ParseUint(parts[1], 10, 32)
	swap, err3 := strconv.ParseBool(parts[2])
	nice, err4 := strconv.Atoi(parts[3])
	return Request{prio, uint(micros), swap, nice}, err1 == nil && err2 == nil && err3 == nil && err4 == nil
}

// Enter does what the environment asks for. Where a policy is asked for it
// executes the program again and does not return the first time. A refusal
// (no capability, a container without real-time quota) is returned for the log:
// the process goes on as an ordinary one.
func Enter() error {
	r, ok := parse(os.Getenv(wanted))
	if !ok {
		return nil
	}
	if os.Getenv(done) == "" {
		if r.Nice != 0 {
			if err := unix.Setpriority(unix.PRIO_PROCESS, 0, r.Nice); err != nil {
				return fmt.Errorf("setting nice %d: %w", r.Nice, err)
			}
		}
		if r.Priority == 0 {
			return lock(r)
		}
		runtime.LockOSThread()
		if err := policy(r.Priority); err != nil {
			return fmt.Errorf("real-time priority %d: %w; give the service CAP_SYS_NICE, or LimitRTPRIO=", r.Priority, err)
		}
		exe, err := os.Executable()
		if err != nil {
			return fmt.Errorf("finding this program: %w", err)
		}
		return unix.Exec(exe, os.Args, append(os.Environ(), done+"=1"))
	}
	if r.TimeMicros > 0 {
		micros := max(uint64(r.TimeMicros), leastRTTime)
		limit := unix.Rlimit{Cur: micros, Max: micros}
		if err := unix.Setrlimit(rlimitRTTime, &limit); err != nil {
			return fmt.Errorf("limiting real-time use to %d us: %w", r.TimeMicros, err)
		}
	}
	return lock(r)
}

// lock keeps touched pages in memory. MCL_ONFAULT spares the forty megabytes
// that a Go program reserves and never touches.
func lock(r Request) error {
	if !r.NoSwap {
		return nil
	}
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		return fmt.Errorf("locking memory: %w; give the service LimitMEMLOCK=infinity", err)
	}
	return nil
}

// Raise puts the calling thread, which must be locked, above the runtime's
// other threads. Without a policy it does nothing.
func Raise() error {
	r, ok := parse(os.Getenv(wanted))
	if !ok || r.Priority == 0 || os.Getenv(done) == "" {
		return nil
	}
	return policy(min(r.Priority+loopBoost, 99))
}

func policy(priority int) error {
	param := struct{ priority int32 }{int32(priority)}
	const schedRR = 2
	if _, _, errno := unix.Syscall(unix.SYS_SCHED_SETSCHEDULER, 0, schedRR, uintptr(unsafe.Pointer(&param))); errno != 0 {
		return errno
	}
	return nil
}
