// Package sdnotify tells the service manager how the daemon fares, by the
// datagrams of sd_notify(3) on the socket that NOTIFY_SOCKET names.
//
// Without NOTIFY_SOCKET every call does nothing and returns nil, so that
// callers need not ask. Nothing blocks: the socket is non-blocking, and a
// datagram that the manager has no room for is an error for the caller to log.
//
// Threading: a Notifier may be used from any goroutine.
package sdnotify

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Variable is the environment variable with the socket's address: a path, or
// an abstract name after `@`.
const Variable = "NOTIFY_SOCKET"

// Notifier sends to one socket. The nil Notifier sends nothing.
type Notifier struct {
	addr *unix.SockaddrUnix
}

// FromEnv reads NOTIFY_SOCKET and removes it from the environment, so that no
// child mistakes it for its own. It returns nil, nil without the variable. The
// error names an address that is neither a path nor abstract.
func FromEnv() (*Notifier, error) {
	addr := os.Getenv(Variable)
	if addr == "" {
		return nil, nil
	}
	if err := os.Unsetenv(Variable); err != nil {
		return nil, err
	}
	return New(addr)
}

// New returns a Notifier for an address as NOTIFY_SOCKET has it.
func New(addr string) (*Notifier, error) {
	if len(addr) < 2 || addr[0] != '/' && addr[0] != '@' {
		return nil, fmt.Errorf("%s=%q: want a path or @name; unset it to run without a service manager", Variable, addr)
	}
	// The kernel's binding takes a leading @ for an abstract name.
	return &Notifier{addr: &unix.SockaddrUnix{Name: addr}}, nil
}

// Ready says that start-up, or a reload, is complete.
func (n *Notifier) Ready() error { return n.Send("READY=1") }

// ReadyAs is Ready for a daemon whose main process is pid: the guardian after
// it went to the background.
func (n *Notifier) ReadyAs(pid int) error {
	return n.Send("READY=1", "MAINPID="+strconv.Itoa(pid))
}

// MainPID says which process the service is.
func (n *Notifier) MainPID(pid int) error { return n.Send("MAINPID=" + strconv.Itoa(pid)) }

// Status is one line for people.
func (n *Notifier) Status(text string) error {
	return n.Send("STATUS=" + strings.ReplaceAll(text, "\n", " "))
}

// Reloading says that a reload begins; Ready ends it. It carries the present
// CLOCK_MONOTONIC time, as Type=notify-reload demands.
func (n *Notifier) Reloading() error {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return err
	}
	return n.Send("RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(ts.Nano()/1000, 10))
}

// Stopping says that the daemon is on its way out.
func (n *Notifier) Stopping() error { return n.Send("STOPPING=1") }

// Send sends any assignments in one datagram.
func (n *Notifier) Send(assignments ...string) error {
	if n == nil {
		return nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for {
		err = unix.Sendto(fd, []byte(strings.Join(assignments, "\n")), unix.MSG_NOSIGNAL, n.addr)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("telling the service manager at %s: %w", n.addr.Name, err)
	}
	return nil
}
