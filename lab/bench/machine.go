package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keepmesh/keepmesh/lab"
)

// tick is the unit of /proc/stat, USER_HZ, which is 100 on all architectures
// that Go supports.
const tick = 10 * time.Millisecond

// verdict says what else the machine did while a sample was taken.
type verdict struct {
	steal time.Duration
	load  float64
}

// watch begins a window; the function it returns ends it.
func watch() func() verdict {
	before := stolen()
	return func() verdict { return verdict{steal: stolen() - before, load: load()} }
}

// stolen is the time that the hypervisor gave to others, over all cores. A
// machine that does not say has none.
func stolen() time.Duration {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(data), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 {
		return 0
	}
	n, _ := strconv.ParseInt(fields[8], 10, 64)
	return time.Duration(n) * tick
}

// load is the 1-minute load average.
func load() float64 {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(data), " ")
	v, _ := strconv.ParseFloat(first, 64)
	return v
}

// tree lists a process and its descendants by the pids of this process's
// namespace.
func tree(pid int) []int {
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i]))
		for _, name := range lists {
			data, err := os.ReadFile(name)
			if err != nil {
				continue // the thread ended
			}
			for _, f := range strings.Fields(string(data)) {
				if child, err := strconv.Atoi(f); err == nil {
					all = append(all, child)
				}
			}
		}
	}
	return all
}

// cpu is the processor time that processes have used so far, by the kernel's
// clock of each: exact, and threads that ended are in it.
func cpu(pids []int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		var ts unix.Timespec
		// MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED) of the kernel's posix-timers.h.
		if err := unix.ClockGettime(int32(^pid)<<3|2, &ts); err != nil {
			return 0, fmt.Errorf("the processor time of pid %d: %w", pid, err)
		}
		sum += time.Duration(ts.Nano())
	}
	return sum, nil
}

// wakes is how often the threads of processes went to sleep so far.
func wakes(pids []int) int {
	sum := 0
	for _, pid := range pids {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		for _, name := range files {
			sum += field(name, "voluntary_ctxt_switches:")
		}
	}
	return sum
}

// memory is the proportional set size and the private memory of processes, in
// KiB.
func memory(pids []int) (pss, private int) {
	for _, pid := range pids {
		name := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
		pss += field(name, "Pss:")
		private += field(name, "Private_Clean:") + field(name, "Private_Dirty:")
	}
	return pss, private
}

// field reads a number of a file of lines "Name: number".
func field(name, key string) int {
	data, err := os.ReadFile(name)
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(data) {
		if rest, ok := strings.CutPrefix(string(line), key); ok {
			if f := strings.Fields(rest); len(f) > 0 {
				n, _ := strconv.Atoi(f[0])
				return n
			}
		}
	}
	return 0
}

// exits watches processes end.
type exits struct{ fds []int }

// watchExits opens a descriptor for each process, by which its end is seen
// without a pid that may be used again.
func watchExits(pids []int) (*exits, error) {
	e := &exits{}
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			e.close()
			return nil, fmt.Errorf("watching pid %d: %w", pid, err)
		}
		e.fds = append(e.fds, fd)
	}
	return e, nil
}

// wait returns the instant at which the last of them ended.
func (e *exits) wait(ctx context.Context) (time.Duration, error) {
	defer e.close()
	for _, fd := range e.fds {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			n, err := unix.Poll(poll, 100)
			if err != nil && !errors.Is(err, unix.EINTR) {
				return 0, fmt.Errorf("waiting for the end of a process: %w", err)
			}
			if n > 0 {
				break
			}
			if ctx.Err() != nil {
				return 0, fmt.Errorf("waiting for the end of a process: %w", ctx.Err())
			}
		}
	}
	return lab.Now(), nil
}

func (e *exits) close() {
	for _, fd := range e.fds {
		unix.Close(fd)
	}
	e.fds = nil
}
