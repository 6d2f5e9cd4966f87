package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// The control protocol between a lab and the init of a host: one JSON object
// per SOCK_SEQPACKET message, descriptors beside it. Answers carry the number
// of their request; exit notices carry 0 and the pid, and follow the answer
// that announced that pid.
const (
	controlFD  = 3
	maxMessage = 192 << 10

	opReady  = "ready"
	opStart  = "start"
	opSignal = "signal"
	opExit   = "exit"
)

type request struct {
	ID     uint64
	Op     string
	Argv   []string `json:",omitempty"`
	Env    []string `json:",omitempty"`
	Dir    string   `json:",omitempty"`
	PID    int      `json:",omitempty"`
	Signal int      `json:",omitempty"`
}

type response struct {
	ID     uint64
	Op     string
	PID    int    `json:",omitempty"`
	Status uint32 `json:",omitempty"` // of wait(2), in exit notices
	Err    string `json:",omitempty"`
}

// agent is the part of a host's init that starts processes on request and
// reaps whatever becomes its child.
type agent struct {
	conn *net.UnixConn

	// mu makes fork and announcement one step, so that the reaper cannot
	// report the end of a process before its start was answered. It also
	// keeps the reaper away from the child of a failed exec, which the
	// syscall package waits for itself.
	mu sync.Mutex
}

func newAgent(control *os.File) (*agent, error) {
	defer control.Close()
	conn, err := net.FileConn(control)
	if err != nil {
		return nil, fmt.Errorf("opening the control socket: %w", err)
	}
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.New("the control descriptor is not a Unix socket")
	}
	return &agent{conn: unixConn}, nil
}

// serve answers requests until the lab closes its end or dies.
func (a *agent) serve() {
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	go func() {
		for range children {
			a.reap()
		}
	}()
	for {
		var req request
		files, err := receive(a.conn, &req)
		if err != nil {
			return
		}
		switch req.Op {
		case opStart:
			a.start(req, files)
		case opSignal:
			res := response{ID: req.ID, Op: req.Op}
			if err := syscall.Kill(req.PID, syscall.Signal(req.Signal)); err != nil {
				res.Err = err.Error()
			}
			a.send(res, -1)
		default:
			a.send(response{ID: req.ID, Op: req.Op, Err: "unknown operation " + req.Op}, -1)
		}
		closeAll(files)
	}
}

// start runs a command with the three descriptors as its standard streams,
// in a session of its own: a stopped process of an orphaned process group
// would be sent HUP and CONT when the group becomes orphaned, and a session
// leader's group is so from its birth.
func (a *agent) start(req request, files []int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	res := response{ID: req.ID, Op: req.Op}
	pidfd := -1
	pid, err := func() (int, error) {
		if len(files) != 3 || len(req.Argv) == 0 {
			return 0, fmt.Errorf("start needs a command and 3 descriptors, not %d", len(files))
		}
		path, err := lookPath(req.Argv[0], req.Env)
		if err != nil {
			return 0, err
		}
		return syscall.ForkExec(path, req.Argv, &syscall.ProcAttr{
			Dir:   req.Dir,
			Env:   req.Env,
			Files: []uintptr{uintptr(files[0]), uintptr(files[1]), uintptr(files[2])},
			Sys:   &syscall.SysProcAttr{Setsid: true, PidFD: &pidfd},
		})
	}()
	if err != nil {
		res.Err = err.Error()
	}
	res.PID = pid
	a.send(res, pidfd)
	if pidfd >= 0 {
		unix.Close(pidfd)
	}
}

// reap collects every dead child, also those inherited from daemons.
func (a *agent) reap() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		a.send(response{Op: opExit, PID: pid, Status: uint32(status)}, -1)
	}
}

// send ignores errors: when the lab is gone, serve ends the host.
func (a *agent) send(res response, fd int) {
	var files []int
	if fd >= 0 {
		files = []int{fd}
	}
	_ = transmit(a.conn, res, files)
}

// lookPath finds name as the shell would with the PATH of env.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, kv := range env {
		list, ok := strings.CutPrefix(kv, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(list) {
			path := filepath.Join(dir, name)
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return path, nil
			}
		}
	}
	return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
}

func transmit(conn *net.UnixConn, message any, files []int) error {
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(data) > maxMessage {
		return fmt.Errorf("arguments and environment of %d bytes exceed %d", len(data), maxMessage)
	}
	var oob []byte
	if len(files) > 0 {
		oob = unix.UnixRights(files...)
	}
	_, _, err = conn.WriteMsgUnix(data, oob, nil)
	return err
}

func receive(conn *net.UnixConn, message any) (files []int, err error) {
	data := make([]byte, maxMessage)
	oob := make([]byte, unix.CmsgSpace(4*4))
	n, oobn, _, _, err := conn.ReadMsgUnix(data, oob)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, io.EOF
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return nil, fmt.Errorf("parsing control message: %w", err)
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // credentials or the like, never asked for
		}
		files = append(files, fds...)
	}
	if err := json.Unmarshal(data[:n], message); err != nil {
		closeAll(files)
		return nil, err
	}
	return files, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
