package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// backgroundVariable marks the process that has gone to the background; its
// value is the descriptor by which it tells its starter that it is ready.
const backgroundVariable = "KEEPMESH_BACKGROUND"

// background starts this program again, detached, and waits until it is ready:
// a unit of Type=forking, or a script, then finds a daemon that works.
func background() int {
	r, w, err := os.Pipe()
	if err != nil {
		fmt.Fprintln(os.Stderr, "keepmesh: "+err.Error())
		return 1
	}
	exe, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "keepmesh: "+err.Error())
		return 1
	}
	cmd := exec.Command(exe)
	cmd.Args = os.Args
	cmd.Env = append(os.Environ(), backgroundVariable+"=3")
	cmd.ExtraFiles = []*os.File{w}
	cmd.Stderr = os.Stderr // for what goes wrong before it is ready
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "keepmesh: "+err.Error())
		return 1
	}
	w.Close()
	if b, err := io.ReadAll(r); err == nil && string(b) == "ready" {
		return 0
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exit.ExitCode()
	}
	return 1
}

// tellStarter is called when the daemon is ready.
func tellStarter() {
	fd, err := strconv.Atoi(os.Getenv(backgroundVariable))
	if err != nil {
		return
	}
	w := os.NewFile(uintptr(fd), "starter")
	_, _ = w.WriteString("ready")
	w.Close()
	// From here on nobody reads this terminal.
	if null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0); err == nil {
		for fd := range 3 {
			_ = unix.Dup2(int(null.Fd()), fd)
		}
		null.Close()
	}
}

// enterNamespace moves this process, before it has other threads that matter,
// into a named network namespace: children inherit it from this thread.
func enterNamespace(name string) error {
	runtime.LockOSThread()
	path := "/run/netns/" + name
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("network namespace %s: %w; make it with `ip netns add %s`", name, err, name)
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering network namespace %s: %w", name, err)
	}
	// Threads made earlier stay outside: execute again from inside.
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	args := make([]string, 0, len(os.Args))
	for n := 0; n < len(os.Args); n++ {
		switch a := os.Args[n]; {
		case a == "-s" || a == "--namespace":
			n++
		case len(a) > 2 && a[:2] == "-s", len(a) > 12 && a[:12] == "--namespace=":
		default:
			args = append(args, a)
		}
	}
	return unix.Exec(exe, args, os.Environ())
}
