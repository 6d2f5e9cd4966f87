package lab

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errHostGone answers what was asked of a host that died meanwhile.
var errHostGone = errors.New("the host went down")

// call sends a request to the host's init and waits for its answer. On
// success then runs, on the receiving goroutine with r.mu held; the descriptor
// it is given, or -1, is closed after it.
func (r *incarnation) call(req request, files []int, then func(response, int)) error {
	done := make(chan error, 1)
	r.mu.Lock()
	if r.dead {
		r.mu.Unlock()
		return errHostGone
	}
	r.seq++
	req.ID = r.seq
	r.pending[req.ID] = func(res response, fd int) {
		if res.Err != "" {
			done <- errors.New(res.Err)
			return
		}
		if then != nil {
			then(res, fd)
		}
		done <- nil
	}
	r.mu.Unlock()
	r.sendMu.Lock()
	err := transmit(r.conn, req, files)
	r.sendMu.Unlock()
	if err != nil {
		r.mu.Lock()
		delete(r.pending, req.ID)
		r.mu.Unlock()
		return fmt.Errorf("asking the host's init: %w", err)
	}
	timer := time.NewTimer(answerTimeout)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return fmt.Errorf("the host's init did not answer within %s", answerTimeout)
	}
}

// signal sends a signal to a process by its pid inside the host.
func (r *incarnation) signal(pid int, sig syscall.Signal) error {
	if pid <= 1 {
		return fmt.Errorf("pid %d is not a process of the host", pid)
	}
	if err := r.call(request{Op: opSignal, PID: pid, Signal: int(sig)}, nil, nil); err != nil {
		return fmt.Errorf("sending %s to pid %d: %w", unix.SignalName(sig), pid, err)
	}
	return nil
}

// receiveAll handles everything the init says until it is gone.
func (r *incarnation) receiveAll() {
	for {
		var res response
		files, err := receive(r.conn, &res)
		if err != nil {
			break
		}
		r.handle(res, files)
		closeAll(files)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dead = true
	for id, answer := range r.pending {
		delete(r.pending, id)
		answer(response{Err: errHostGone.Error()}, -1)
	}
	for pid, p := range r.procs {
		delete(r.procs, pid)
		p.end(ExitStatus{Code: -1, Signal: unix.SIGKILL, Killed: true})
	}
	select {
	case r.ready <- errHostGone:
	default:
	}
}

func (r *incarnation) handle(res response, files []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch res.Op {
	case opReady:
		var err error
		if res.Err != "" {
			err = errors.New(res.Err)
		}
		r.ready <- err
	case opExit:
		if p := r.procs[res.PID]; p != nil {
			delete(r.procs, res.PID)
			p.end(exitStatus(syscall.WaitStatus(res.Status)))
		}
	default:
		fd := -1
		if len(files) > 0 {
			fd = files[0]
		}
		if answer := r.pending[res.ID]; answer != nil {
			delete(r.pending, res.ID)
			answer(res, fd)
		}
	}
}

func exitStatus(ws syscall.WaitStatus) ExitStatus {
	if ws.Signaled() {
		return ExitStatus{Code: -1, Signal: ws.Signal()}
	}
	return ExitStatus{Code: ws.ExitStatus()}
}
