package e2e

import (
	"syscall"

	"github.com/keepmesh/keepmesh/lab"
)

const (
	sigHUP  = syscall.SIGHUP
	sigUSR1 = syscall.SIGUSR1
	sigUSR2 = syscall.SIGUSR2
	sigKILL = syscall.SIGKILL
	sigSTOP = syscall.SIGSTOP
	sigCONT = syscall.SIGCONT
)

func (w *world) signal(p *lab.Proc, s syscall.Signal) {
	w.t.Helper()
	if err := p.Signal(s); err != nil {
		w.t.Fatal(err)
	}
}
