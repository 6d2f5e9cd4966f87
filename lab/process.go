package lab

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Process is a process inside a host.
type Process struct {
	PID, PPID int // inside
	Comm      string
	State     byte // R, S, D, T, Z as in proc(5)
}

// Processes lists what runs inside the host, without its init.
func (h *Host) Processes() ([]Process, error) {
	root, err := h.root()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(path.Join(root, "proc"))
	if err != nil {
		return nil, fmt.Errorf("host %s: listing processes: %w", h.name, err)
	}
	var list []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == 1 {
			continue
		}
		if p, err := readProcess(root, pid); err == nil { // else it ended meanwhile
			list = append(list, p)
		}
	}
	return list, nil
}

func readProcess(root string, pid int) (Process, error) {
	data, err := os.ReadFile(path.Join(root, "proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return Process{}, err
	}
	// The name is in parentheses and may contain any of them.
	line := string(data)
	open, end := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return Process{}, fmt.Errorf("pid %d: malformed stat", pid)
	}
	fields := strings.Fields(line[end+1:])
	if len(fields) < 2 {
		return Process{}, fmt.Errorf("pid %d: short stat", pid)
	}
	ppid, err := strconv.Atoi(fields[1])
	return Process{PID: pid, PPID: ppid, Comm: line[open+1 : end], State: fields[0][0]}, err
}

// Tree lists the process and all its descendants, by their pids inside.
func (p *Proc) Tree() ([]int, error) {
	all, err := p.host.Processes()
	if err != nil {
		return nil, err
	}
	tree := []int{p.inside}
	for i := 0; i < len(tree); i++ {
		for _, q := range all {
			if q.PPID == tree[i] {
				tree = append(tree, q.PID)
			}
		}
	}
	return tree, nil
}

// Crash kills the process and all its descendants as one: they are stopped
// first, since the survivor of a daemon would otherwise notice, say goodbye to
// the network or start its sibling again. The addresses stay where they are.
func (p *Proc) Crash(ctx context.Context) error {
	var frozen []int
	for {
		tree, err := p.Tree()
		if err != nil {
			return err
		}
		fresh := slices.DeleteFunc(tree, func(pid int) bool { return slices.Contains(frozen, pid) })
		if len(fresh) == 0 {
			break
		}
		if err := p.host.Freeze(ctx, fresh...); err != nil {
			return fmt.Errorf("before the crash: %w", err)
		}
		frozen = append(frozen, fresh...)
	}
	if err := p.host.Signal(unix.SIGKILL, frozen...); err != nil {
		return err
	}
	return poll(ctx, func() (bool, error) {
		all, err := p.host.Processes()
		return !slices.ContainsFunc(all, func(q Process) bool { return slices.Contains(frozen, q.PID) }), err
	}, func() string { return fmt.Sprintf("host %s: of %v some still run", p.host.name, frozen) })
}

// Signal sends a signal to processes by their pids inside the host.
func (h *Host) Signal(sig syscall.Signal, pids ...int) error {
	run, err := h.running()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if err := run.signal(pid, sig); err != nil {
			return fmt.Errorf("host %s: %w", h.name, err)
		}
	}
	return nil
}

// Freeze stops processes, by their pids inside the host, and returns when all
// of them stand still.
func (h *Host) Freeze(ctx context.Context, pids ...int) error {
	return h.stopped(ctx, unix.SIGSTOP, true, pids)
}

// Thaw lets frozen processes go on and returns when all of them do.
func (h *Host) Thaw(ctx context.Context, pids ...int) error {
	return h.stopped(ctx, unix.SIGCONT, false, pids)
}

func (h *Host) stopped(ctx context.Context, sig syscall.Signal, want bool, pids []int) error {
	if err := h.Signal(sig, pids...); err != nil {
		return err
	}
	root, err := h.root()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		var last Process
		err := poll(ctx, func() (bool, error) {
			last, err = readProcess(root, pid)
			return (last.State == 'T') == want, err
		}, func() string { return fmt.Sprintf("host %s: pid %d is in state %c", h.name, pid, last.State) })
		if err != nil {
			return err
		}
	}
	return nil
}
