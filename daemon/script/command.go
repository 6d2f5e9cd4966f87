package script

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// DefaultUser is the account that scripts run under when neither script_user
// nor the script names one and the account exists.
const DefaultUser = "keepalived_script"

// Command is one script of the configuration.
type Command struct {
	// Line is the text of the configuration, for logs.
	Line string
	// Args are its words. Args[0] is the program as written; Resolve replaces
	// it by the full path found.
	Args []string
	// User and Group are names or numbers as configured. An empty User means
	// the defaults of Resolve, an empty Group the user's own.
	User, Group string
	// Log sends the script's output to the daemon's log, line by line, instead
	// of /dev/null.
	Log bool

	// The rest is filled by Resolve.

	// UID and GID are what the script runs under; its only supplementary
	// group is GID (as with keepalived).
	UID, GID uint32
	// Path is the file that is executed: Args[0] with symbolic links followed
	// when they lead into another directory (as keepalived does, so that $0 of
	// a script is the same).
	Path string
	// Shell says that the words are run by /bin/sh -c, see Resolve.
	Shell bool
}

// Parse makes a Command from the text of the configuration, once the
// configuration's own quotes are removed.
func Parse(line string) (Command, error) {
	args, err := Split(line)
	if err != nil {
		return Command{}, err
	}
	if len(args) == 0 {
		return Command{}, ErrEmpty
	}
	return Command{Line: line, Args: args}, nil
}

// Defaults are the global script_user and its group; both may be empty.
type Defaults struct{ User, Group string }

// ResolveError says why a script cannot run at all; keepalived disables such
// a script when it reads the configuration.
type ResolveError struct {
	Line string
	// Problem ends with what to do.
	Problem string
}

func (e *ResolveError) Error() string { return fmt.Sprintf("script %q: %s", e.Line, e.Problem) }

// Resolve looks up the user and the program and returns the Command ready to
// start. A program without a slash is looked for in PATH (keepalived warns:
// the caller may compare Args[0] before and after). Links are followed as Path
// says; argv[0] keeps the name under which the program was found, so that
// programs which look at their name work (`pidof` is a link to `killall5` on
// Debian, which keepalived 2.2.7 then runs by that name, always failing).
//
// Two forms are run by /bin/sh -c instead: a first word `<` followed by a
// path, such as `</dev/tcp/127.0.0.1/80`, and a file without `#!` and ELF
// header. The further words are quoted, as keepalived does. sh is dash on
// Debian, which has no /dev/tcp: such a check fails there.
//
// The error is a *ResolveError.
func (c Command) Resolve(d Defaults) (Command, error) {
	fail := func(format string, a ...any) (Command, error) {
		return Command{}, &ResolveError{Line: c.Line, Problem: fmt.Sprintf(format, a...)}
	}
	if len(c.Args) == 0 {
		return Command{}, ErrEmpty
	}
	uid, gid, err := c.account(d)
	if err != nil {
		return fail("%v", err)
	}
	c.UID, c.GID = uid, gid
	c.Args = append([]string(nil), c.Args...)

	if name := c.Args[0]; strings.HasPrefix(name, "<") && strings.HasPrefix(strings.TrimLeft(name[1:], " \t"), "/") {
		c.Shell, c.Path = true, "/bin/sh"
		return c, nil
	}
	found, path, err := locate(c.Args[0])
	if err != nil {
		return fail("%v", err)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return fail("cannot be accessed: %v; correct the path or the permissions above it", rootCause(err))
	case !info.Mode().IsRegular():
		return fail("%s is not a file that can be run; name a program", path)
	case !executable(info, uid, gid):
		return fail("%s is not executable for uid:gid %d:%d; run chmod +x on it or name another user", path, uid, gid)
	}
	c.Args[0], c.Path = found, path
	if !recognised(path) {
		c.Shell = true
	}
	return c, nil
}

// account is the uid and gid that the command names, or the defaults, or
// keepalived_script, or the daemon's own.
func (c Command) account(d Defaults) (uid, gid uint32, err error) {
	name, group := c.User, c.Group
	if name == "" {
		name, group = d.User, d.Group
	}
	if name == "" {
		if _, err := user.Lookup(DefaultUser); err != nil {
			return uint32(os.Geteuid()), uint32(os.Getegid()), nil
		}
		name = DefaultUser
	}
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return 0, 0, fmt.Errorf("user %q does not exist; create it or name another", name)
		}
	}
	gidText := u.Gid
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			if g, err = user.LookupGroupId(group); err != nil {
				return 0, 0, fmt.Errorf("group %q does not exist; create it or name another", group)
			}
		}
		gidText = g.Gid
	}
	u64, err1 := strconv.ParseUint(u.Uid, 10, 32)
	g64, err2 := strconv.ParseUint(gidText, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return 0, 0, fmt.Errorf("ids of user %q: %w", name, err)
	}
	return uint32(u64), uint32(g64), nil
}

// locate returns the full path of the program as named and the file to run.
func locate(name string) (found, path string, err error) {
	if !strings.Contains(name, "/") {
		found, err = exec.LookPath(name)
		if err != nil {
			return "", "", fmt.Errorf("cannot find %s in the path; give its full path (it is run directly: shell words such as `if` or VAR=1 need /bin/sh -c '...')", name)
		}
		name = found
	}
	found, err = filepath.Abs(name)
	if err != nil {
		return "", "", err
	}
	real, err := filepath.EvalSymlinks(found)
	if err != nil {
		return "", "", fmt.Errorf("%s cannot be accessed: %w; correct the path", name, rootCause(err))
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(found))
	if err != nil {
		return "", "", fmt.Errorf("%s cannot be accessed: %w; correct the path", name, rootCause(err))
	}
	if filepath.Dir(real) == dir {
		return found, filepath.Join(dir, filepath.Base(found)), nil
	}
	return found, real, nil
}

// recognised says whether the kernel will know what to do with a file. An
// unreadable one is believed: the kernel needs no read permission for ELF.
func recognised(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return true
	}
	defer f.Close()
	head := make([]byte, 4)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return true
	}
	return bytes.HasPrefix(head[:n], []byte("#!")) || bytes.Equal(head[:n], []byte("\x7fELF"))
}

// rootCause strips the operation and path that the caller names itself.
func rootCause(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// execArgs is the argument vector for execve with extra words appended.
func (c Command) execArgs(extra []string) (path string, argv []string) {
	argv = append(append(make([]string, 0, len(c.Args)+len(extra)), c.Args...), extra...)
	if !c.Shell {
		return c.Path, argv
	}
	if !strings.HasPrefix(argv[0], "<") {
		argv[0] = c.Path
	}
	return "/bin/sh", []string{"sh", "-c", shellLine(argv)}
}
