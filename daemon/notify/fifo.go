package notify

import (
	"fmt"
	"log/slog"
	"os"
	"reflect"

	"golang.org/x/sys/unix"

	"github.com/keepmesh/keepmesh/daemon/script"
)

// FIFOConfig is one notify_fifo or vrrp_notify_fifo.
type FIFOConfig struct {
	Path string
	// UID and GID own the FIFO if Apply makes it; nil ones are the daemon's.
	UID, GID *uint32
	// Script, resolved, is started with Path as its last argument; nil if
	// there is none. When it ends it is started again by the next Apply only
	// (as keepalived).
	Script *script.Command
}

func (c FIFOConfig) equal(d FIFOConfig) bool { return reflect.DeepEqual(c, d) }

// fifo is an open FIFO; the Notifier's mutex guards it.
type fifo struct {
	cfg     FIFOConfig
	log     *slog.Logger
	fd      int
	made    bool
	run     *script.Run
	dropped uint64
	losing  uint64 // lines lost since the last one that was written
}

// openFIFO makes the FIFO if there is nothing at its path and opens it. It is
// opened for reading too, so that it can be written to before a reader comes
// and a reader's end does not end it. Made FIFOs may be used by their owner
// alone: keepalived asks for 0644 under its umask of 0177.
func openFIFO(cfg FIFOConfig, log *slog.Logger) (*fifo, error) {
	f := &fifo{cfg: cfg, log: log}
	err := unix.Mknod(cfg.Path, unix.S_IFIFO|0o600, 0)
	switch {
	case err == nil:
		f.made = true
	case err != unix.EEXIST:
		return nil, fmt.Errorf("notify FIFO %s: cannot be created: %w; make its folder or correct the path", cfg.Path, err)
	}
	fail := func(format string, a ...any) (*fifo, error) {
		if f.made {
			_ = os.Remove(cfg.Path)
		}
		return nil, fmt.Errorf("notify FIFO %s: %w", cfg.Path, fmt.Errorf(format, a...))
	}
	if f.made && (cfg.UID != nil || cfg.GID != nil) {
		if err := os.Lchown(cfg.Path, idOr(cfg.UID), idOr(cfg.GID)); err != nil {
			return fail("cannot be given to its owner: %w; run the daemon as root or remove the user", err)
		}
	}
	f.fd, err = unix.Open(cfg.Path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail("cannot be opened: %w; remove what is there or correct the path", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFIFO {
		log.Warn("notify FIFO is not a FIFO, lines go into it all the same; remove it to have one made", "fifo", cfg.Path)
	}
	return f, nil
}

func idOr(id *uint32) int {
	if id == nil {
		return -1
	}
	return int(*id)
}

// startScript starts the FIFO's reader, if it has one that does not run.
func (f *fifo) startScript(exec *script.Executor) {
	if f.cfg.Script == nil {
		return
	}
	if f.run != nil {
		select {
		case <-f.run.Ended():
		default:
			return
		}
	}
	log, path := f.log, f.cfg.Path
	f.run = exec.Start(*f.cfg.Script, []string{path}, 0, func(r script.Result) {
		switch {
		case r.Stopped:
		case r.Err != nil:
			log.Error("notify FIFO script cannot run", "fifo", path, "err", r.Err)
		default:
			log.Info("notify FIFO script terminated", "fifo", path, "result", r.String())
		}
	})
}

func (f *fifo) stopScript() {
	if f.run != nil {
		f.run.Terminate()
	}
}

// write puts one line into the FIFO or drops it. A line is shorter than
// PIPE_BUF, so that the kernel takes it whole or not at all.
func (f *fifo) write(line string) {
	for {
		_, err := unix.Write(f.fd, []byte(line))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			f.dropped++
			if f.losing++; f.losing == 1 {
				f.log.Warn("notify FIFO takes no more lines, dropping them until its reader goes on", "fifo", f.cfg.Path, "err", err)
			}
			return
		}
		break
	}
	if f.losing > 0 {
		f.log.Warn("notify FIFO takes lines again", "fifo", f.cfg.Path, "dropped", f.losing)
		f.losing = 0
	}
}

// close ends the FIFO for its readers and removes it if openFIFO made it.
func (f *fifo) close() {
	_ = unix.Close(f.fd)
	if f.made {
		_ = os.Remove(f.cfg.Path)
	}
	if f.losing > 0 {
		f.log.Warn("notify FIFO was never read again", "fifo", f.cfg.Path, "dropped", f.losing)
	}
}
