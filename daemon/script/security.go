package script

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// SecurityError names the part of a script's path that someone other than
// root could use to change what root runs.
type SecurityError struct {
	// Script is the whole path and Component the offending part of it.
	Script, Component string
	// Why and Fix are texts for people: what is wrong and the command for it.
	Why, Fix string
}

func (e *SecurityError) Error() string {
	return fmt.Sprintf("unsafe permissions found for script '%s': %s %s; %s", e.Script, e.Component, e.Why, e.Fix)
}

// Security checks the path of a script that runs under uid as keepalived
// does: run as root, every part of the path must belong to root and must not
// be writable by others nor by a group other than root's, except directories
// with the sticky bit. For any other uid it returns nil. Symbolic links are
// followed first, since the followed path is what is run. The error is a
// *SecurityError, or says that the path cannot be read.
//
// With enable_script_security such a script is disabled; without it keepalived
// logs the violation and runs it (and -t exits with 6).
func Security(path string, uid uint32) error {
	if uid != 0 {
		return nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("script %s: %w", path, err)
	}
	real, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return fmt.Errorf("script '%s' cannot be accessed: %w; correct the path", path, rootCause(err))
	}
	for at := real; ; at = filepath.Dir(at) {
		info, err := os.Lstat(at)
		if err != nil {
			return fmt.Errorf("script '%s' cannot be accessed: %w; correct the path", path, rootCause(err))
		}
		if why, fix := weakness(at, info); why != "" {
			return &SecurityError{Script: real, Component: at, Why: why, Fix: fix}
		}
		if at == "/" {
			return nil
		}
	}
}

// Check is Security for a resolved command. A command that sh reads from a
// redirection has no file to check.
func (c Command) Check() error {
	if c.Shell && strings.HasPrefix(c.Args[0], "<") {
		return nil
	}
	return Security(c.Path, c.UID)
}

func weakness(path string, info os.FileInfo) (why, fix string) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "has no owner that can be read", "move the script to a local file system"
	}
	sticky := info.IsDir() && info.Mode()&os.ModeSticky != 0
	perm := info.Mode().Perm()
	switch {
	case st.Uid != 0:
		return fmt.Sprintf("belongs to uid %d, not to root", st.Uid), "run: chown root " + path
	case perm&0o002 != 0 && !sticky:
		return "is writable by everybody", "run: chmod o-w " + path
	case perm&0o020 != 0 && st.Gid != 0 && !sticky:
		return fmt.Sprintf("is writable by group %d, not root's", st.Gid), "run: chmod g-w " + path
	}
	return "", ""
}

// executable says whether uid and gid may execute the file. Root may when
// anybody may.
func executable(info os.FileInfo, uid, gid uint32) bool {
	perm := info.Mode().Perm()
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case uid == 0 || !ok:
		return perm&0o111 != 0
	case st.Uid == uid:
		return perm&0o100 != 0
	case st.Gid == gid:
		return perm&0o010 != 0
	}
	return perm&0o001 != 0
}
