package guardian

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrRunning says that another daemon holds the pid file.
var ErrRunning = errors.New("another daemon is running")

// pidFile is held by a lock, not by its content: with private pid namespaces a
// stale number always names a living process.
type pidFile struct{ f *os.File }

// lockPIDFile takes the file, or says who has it.
func lockPIDFile(path string) (*pidFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the pid file: %w; choose another place with -p or --run-dir", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		var b [32]byte
		n, _ := f.ReadAt(b[:], 0)
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s is held by pid %s: %w; stop it, or give this one other files (-p, -r, -c, --run-dir)",
				path, strings.TrimSpace(string(b[:n])), ErrRunning)
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	if err := f.Truncate(0); err != nil {
		f.Close()
		return nil, fmt.Errorf("emptying %s: %w", path, err)
	}
	return &pidFile{f}, nil
}

// write stores the pid: readers take it as the sign of readiness.
func (p *pidFile) write(pid int) error {
	_, err := p.f.WriteAt([]byte(strconv.Itoa(pid)+"\n"), 0)
	return err
}

func (p *pidFile) release() {
	_ = os.Remove(p.f.Name())
	p.f.Close()
}
