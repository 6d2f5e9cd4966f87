package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Privileged reports whether this process may build a lab: it has the
// rights over its mount and network namespaces, by being root or by having
// been started in a user namespace.
func Privileged() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	need := uint32(1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW)
	return data[0].Effective&need == need
}

// ReexecRootless runs this program again, with the same arguments and
// standard streams, as root of new user, mount, pid and network namespaces,
// waits for its end and gives its exit code. TERM, HUP and QUIT are passed on. An
// error means that it could not be started, in most cases because the machine
// does not allow user namespaces.
func ReexecRootless() (exitCode int, err error) {
	// The child dies with the thread that starts it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), envUserns+"=1")
	report, theirs, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer report.Close()
	cmd.ExtraFiles = []*os.File{theirs} // controlFD
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   unix.SIGKILL,
	}
	// An interrupt from the terminal reaches the child by itself; this process
	// only has to outlive it.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	defer signal.Stop(signals)
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return 0, refused(err)
	}
	// Nothing, at the end of the child's set-up, or what went wrong: some
	// machines let the namespace be made and then refuse every right in it.
	if trouble, _ := io.ReadAll(report); len(trouble) > 0 {
		_ = cmd.Wait()
		return 0, refused(errors.New(string(trouble)))
	}
	done := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-signals:
				if s != unix.SIGINT || !interactive() {
					_ = cmd.Process.Signal(s)
				}
			case <-done:
				return
			}
		}
	}()
	err = cmd.Wait()
	close(done)
	if cmd.ProcessState == nil {
		return 0, fmt.Errorf("waiting for the program in its user namespace: %w", err)
	}
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

func refused(err error) error {
	return fmt.Errorf("starting again in a user namespace: %w; run as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns, user.max_user_namespaces)", err)
}

func interactive() bool {
	_, err := unix.IoctlGetTermios(int(os.Stdin.Fd()), unix.TCGETS)
	return err == nil
}

// settleUserNamespace finishes in the child what ReexecRootless began, and
// tells it of an error.
func settleUserNamespace() error {
	report := os.NewFile(controlFD, "report")
	defer report.Close()
	unix.CloseOnExec(controlFD)
	err := mountInUserNamespace()
	if err != nil {
		fmt.Fprint(report, err)
	}
	return err
}

func mountInUserNamespace() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private in the user namespace: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc in the user namespace (in a container this needs an unmasked /proc): %w", err)
	}
	return nil
}

// RunTests is the body of a package's TestMain: it calls Main, and where an
// ordinary user runs the tests it runs them in a user namespace instead, if
// the machine allows that. Its result is the exit code.
//
//	func TestMain(m *testing.M) { os.Exit(lab.RunTests(m)) }
func RunTests(m interface{ Run() int }) int {
	Main()
	if !Privileged() {
		if code, err := ReexecRootless(); err == nil {
			return code
		}
		// The tests that need a lab skip, and say why.
	}
	return m.Run()
}
