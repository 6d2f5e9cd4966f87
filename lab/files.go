package lab

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// root is the host's file system as this process can reach it. Absolute
// symbolic links in it lead out of the host, so it is only used through
// os.Root or for /proc.
func (h *Host) root() (string, error) {
	pid, err := h.PID()
	return "/proc/" + strconv.Itoa(pid) + "/root", err
}

// Outside is a path by which this process can reach a file or a Unix socket
// of the host, such as the one a daemon in it listens on. It ends with the
// host. Absolute symbolic links on the way lead out of the host.
func (h *Host) Outside(name string) (string, error) {
	root, err := h.root()
	return path.Join(root, name), err
}

// inRoot runs fn on the host's file system with name relative to its root.
func (h *Host) inRoot(name string, fn func(root *os.Root, rel string) error) error {
	dir, err := h.root()
	if err != nil {
		return err
	}
	if !path.IsAbs(name) {
		return fmt.Errorf("host %s: %q is not an absolute path", h.name, name)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("host %s: opening its file system: %w", h.name, err)
	}
	defer root.Close()
	if err := fn(root, strings.TrimPrefix(path.Clean(name), "/")); err != nil {
		return fmt.Errorf("host %s: %w", h.name, err)
	}
	return nil
}

// own reports whether a path is the host's and not the machine's.
func (h *Host) own(name string) bool {
	private := append([]string{"/run"}, basePrivate...)
	private = append(private, h.opts.Private...)
	if h.opts.PrivateTmp {
		private = append(private, "/tmp")
	}
	name = path.Clean(name)
	for _, dir := range private {
		if name != dir && within(name, dir) {
			return !within(name, underlay)
		}
	}
	return false
}

// WriteFile replaces or makes a file in the host's own /run, /etc, /var/lib
// or another of its private folders, with missing parent folders. The file
// changes in one step. Other paths are refused, since they are the machine's.
func (h *Host) WriteFile(name string, mode fs.FileMode, data []byte) error {
	if !h.own(name) {
		return fmt.Errorf("host %s: %s is not in a folder of its own: add one to HostOptions.Private", h.name, name)
	}
	return h.inRoot(name, func(root *os.Root, rel string) error {
		if err := root.MkdirAll(path.Dir(rel), 0o755); err != nil {
			return err
		}
		temp := rel + ".lab-new"
		if err := root.WriteFile(temp, data, mode); err != nil {
			return err
		}
		if err := root.Chmod(temp, mode); err != nil { // the umask may have taken bits
			return err
		}
		return root.Rename(temp, rel)
	})
}

// ReadFile reads a file of the host; a symbolic link to an absolute path is
// refused.
func (h *Host) ReadFile(name string) (data []byte, err error) {
	err = h.inRoot(name, func(root *os.Root, rel string) error {
		data, err = root.ReadFile(rel)
		return err
	})
	return data, err
}

// Remove removes a file from one of the host's own folders.
func (h *Host) Remove(name string) error {
	if !h.own(name) {
		return fmt.Errorf("host %s: %s is not in a folder of its own", h.name, name)
	}
	return h.inRoot(name, func(root *os.Root, rel string) error { return root.Remove(rel) })
}
