package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// initConfig is what a lab tells the init of a host.
type initConfig struct {
	Name    string
	Disk    string   // folder that backs the private folders, kept over a power loss
	Private []string // absolute folders the host gets its own copy of
	Sysctls []sysctl
}

type sysctl struct{ Key, Value string }

// underlay is where a host sees the machine's own version of the folders
// that it has a private one of.
const underlay = "/run/.lab"

// basePrivate are the folders that every host has for itself, beside /run.
var basePrivate = []string{"/etc", "/var/lib"}

// ownFolders exist, empty at first, in every host, and are never the
// machine's own.
var ownFolders = []string{"/etc/keepalived", "/etc/keepmesh", "/var/lib/keepmesh"}

// settle makes the namespaces that this process was born into a host.
func (cfg *initConfig) settle() error {
	if err := unix.Sethostname([]byte(cfg.Name)); err != nil {
		return fmt.Errorf("setting host name: %w", err)
	}
	if err := cfg.mount(); err != nil {
		return err
	}
	for _, s := range cfg.Sysctls {
		path := "/proc/sys/" + strings.ReplaceAll(s.Key, ".", "/")
		err := os.WriteFile(path, []byte(s.Value), 0)
		// A kernel booted without IPv6 has none of its settings.
		if err != nil && !(errors.Is(err, os.ErrNotExist) && strings.HasPrefix(s.Key, "net.ipv6.")) {
			return fmt.Errorf("setting %s: %w", s.Key, err)
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("finding lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("setting lo up: %w", err)
	}
	return nil
}

// mount gives the host its own /proc, an empty /run and its own copies of
// the private folders.
func (cfg *initConfig) mount() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	// Held open, because the mounts below may cover the path.
	disk, err := os.Open(cfg.Disk)
	if err != nil {
		return fmt.Errorf("opening the host's disk folder: %w", err)
	}
	defer disk.Close()
	diskPath := fmt.Sprintf("/proc/self/fd/%d", disk.Fd())
	private := append(slices.Clone(basePrivate), cfg.Private...)

	if err := unix.Mount("run", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mounting /run: %w", err)
	}
	for _, dir := range private {
		if err := shadow(diskPath, dir); err != nil {
			return fmt.Errorf("giving the host its own %s: %w", dir, err)
		}
	}
	for _, dir := range ownFolders {
		if err := ownFolder(dir); err != nil {
			return fmt.Errorf("making %s: %w", dir, err)
		}
	}
	if err := os.WriteFile("/etc/hostname.lab", []byte(cfg.Name+"\n"), 0o644); err != nil {
		return err
	}
	if err := os.Rename("/etc/hostname.lab", "/etc/hostname"); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc (in a container this needs an unmasked /proc): %w", err)
	}
	return nil
}

// shadow binds the machine's dir below underlay and a folder of the host's
// disk over dir, in which everything that the host has not replaced is a
// symbolic link to the machine's.
func shadow(disk, dir string) error {
	below := filepath.Join(underlay, dir)
	if err := os.MkdirAll(below, 0o755); err != nil {
		return err
	}
	// Recursive, since a user namespace may not show what a mount covered.
	if err := unix.Mount(dir, below, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("binding the machine's version: %w", err)
	}
	own := filepath.Join(disk, "private", dir)
	if err := os.MkdirAll(own, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(below)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if slices.Contains(ownFolders, filepath.Join(dir, e.Name())) {
			continue
		}
		err := os.Symlink(filepath.Join(below, e.Name()), filepath.Join(own, e.Name()))
		if err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	if dir == "/tmp" {
		if err := os.Chmod(own, 0o1777); err != nil {
			return err
		}
	}
	return unix.Mount(own, dir, "", unix.MS_BIND, "")
}

// ownFolder makes dir a real folder of the host, in place of any link.
func ownFolder(dir string) error {
	if info, err := os.Lstat(dir); err == nil && info.Mode()&os.ModeSymlink != 0 {
		if err := os.Remove(dir); err != nil {
			return err
		}
	}
	return os.MkdirAll(dir, 0o755)
}
