package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// scriptUse is a command and where it was given.
type scriptUse struct {
	spec          *ScriptSpec
	keyword, path string
	tracked       *Script
}

// commandPath is where commands without a slash are looked for.
var commandPath = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// maxScriptHead bounds what is read of a script file.
const maxScriptHead = 64 << 10

// checkScripts looks for each command where the program would: a tracked one
// that is missing is an error; running any of them as root without
// enable_script_security is keepalived's SECURITY VIOLATION.
func (d *decoder) checkScripts() {
	uses := d.scripts
	for _, s := range d.cfg.Scripts {
		uses = append(uses, scriptUse{spec: &s.Spec, keyword: "script", path: "vrrp_script " + s.Name, tracked: s})
	}
	for _, f := range []*FIFO{&d.cfg.Global.NotifyFIFO, &d.cfg.Global.VRRPNotifyFIFO, &d.cfg.Global.LVSNotifyFIFO} {
		if f.Script != nil && f.Path == "" {
			d.out(Problem{Pos: f.Script.Pos, Severity: Warning, Path: "global_defs", Keyword: "notify_fifo_script",
				Message: "has no FIFO to read, it is not started", Hint: "add the notify_fifo line that belongs to it"})
		}
	}
	d.checkShellLines(uses)
	if d.opt.Scripts == nil {
		return
	}
	var violation *scriptUse
	var disabled []*Script
	insecure := false
	for n := range uses {
		u := &uses[n]
		if d.noUser[u.spec] || u.tracked != nil && !d.vrrp {
			continue
		}
		file, runs := d.checkScriptFile(u)
		if !runs {
			// A relative path is judged where it is run.
			if relative := strings.Contains(u.spec.Args[0], "/") && !path.IsAbs(u.spec.Args[0]); u.tracked != nil && !relative {
				disabled = append(disabled, u.tracked)
			}
			continue
		}
		if violation == nil {
			violation = u
		}
		if file != "" && !d.cfg.Global.ScriptSecurity {
			if bad, _ := insecurePath(d.opt.Scripts, file); bad != "" {
				insecure = true
			}
		}
	}
	d.disable(disabled)
	if violation != nil && !d.cfg.Global.ScriptSecurity {
		message := "scripts run as root without script security"
		if insecure {
			message += ", and some of them can be changed by others than root"
		}
		code := ScriptSecurity
		if at := violation.spec.Pos; d.lost.Line > 0 && at.File == d.lost.File && at.Line > d.lost.Line {
			code = General
		}
		d.out(Problem{Pos: violation.spec.Pos, Severity: Warning, Code: code, Path: violation.path, Keyword: violation.keyword,
			Message: message, Hint: "SECURITY VIOLATION in keepalived's words: enable_script_security and script_user in global_defs"})
	}
}

// disable removes scripts that cannot run, and whatever tracks them: keepalived
// goes on as if they were not there.
func (d *decoder) disable(scripts []*Script) {
	if len(scripts) == 0 {
		return
	}
	gone := func(name string) bool {
		return slices.ContainsFunc(scripts, func(s *Script) bool { return s.Name == name })
	}
	untrack := func(t *Tracking) {
		t.TrackScripts = slices.DeleteFunc(t.TrackScripts, func(x Track) bool { return gone(x.Name) })
	}
	d.cfg.Scripts = slices.DeleteFunc(d.cfg.Scripts, func(s *Script) bool { return gone(s.Name) })
	for _, i := range d.cfg.Instances {
		untrack(&i.Tracking)
	}
	for _, g := range d.cfg.SyncGroups {
		untrack(&g.Tracking)
	}
}

// checkScriptUsers finds commands whose user does not exist. A vrrp_script
// without a user is removed.
func (d *decoder) checkScriptUsers() {
	d.noUser = map[*ScriptSpec]bool{}
	if d.opt.User == nil {
		return
	}
	g := &d.cfg.Global
	var defaultErr error
	switch {
	case d.badScriptUser:
		defaultErr = errors.New("script_user is not valid")
	case g.ScriptSecurity && g.ScriptUser == "":
		defaultErr = d.opt.User("keepalived_script", "")
	}
	hint := "create the user keepalived_script, or set script_user"
	said := false
	d.cfg.Scripts = slices.DeleteFunc(d.cfg.Scripts, func(s *Script) bool {
		if s.badUser {
			return true
		}
		if s.Spec.User != "" || defaultErr == nil {
			return false
		}
		said = true
		d.out(Problem{Pos: s.End, Severity: Error, Code: General, Path: "vrrp_script " + s.Name, Keyword: "script",
			Message: "there is no user to run it, it is removed: " + defaultErr.Error(), Hint: hint})
		return true
	})
	for _, u := range d.scripts {
		if u.spec.User != "" {
			if err := d.opt.User(u.spec.User, u.spec.Group); err != nil {
				d.noUser[u.spec] = true
				code := OursOnly
				if u.keyword == "startup_script" || u.keyword == "shutdown_script" {
					code = General
				}
				d.out(Problem{Pos: u.spec.Pos, Severity: Error, Code: code, Path: u.path, Keyword: u.keyword,
					Message: err.Error() + ", the script will not be run", Hint: "what follows the command is its user and group; quote a command with arguments"})
			}
			continue
		}
		if defaultErr != nil {
			d.noUser[u.spec] = true
			code := General
			if said {
				code = OursOnly // keepalived says it once
			}
			said = true
			d.out(Problem{Pos: u.spec.Pos, Severity: Error, Code: code, Path: u.path, Keyword: u.keyword,
				Message: "there is no user to run it: " + defaultErr.Error(), Hint: hint})
		}
	}
}

// checkScriptFile looks at the program of a command; runs says that it would
// be run, file is empty where only a shell knows what is run.
func (d *decoder) checkScriptFile(u *scriptUse) (file string, runs bool) {
	say := func(sev Severity, code Code, message, hint string) {
		d.out(Problem{Pos: u.spec.Pos, Severity: sev, Code: code, Path: u.path, Keyword: u.keyword, Message: message, Hint: hint})
	}
	command := u.spec.Args[0]
	if strings.Contains(command, "/") && !path.IsAbs(command) {
		return "", false
	}
	file, err := findCommand(d.opt.Scripts, command)
	if err != nil {
		what := fmt.Sprintf("%s is not found", printable(command))
		if errors.Is(err, fs.ErrPermission) {
			what = fmt.Sprintf("%s cannot be read", printable(command))
		}
		if u.tracked != nil {
			say(Error, General, what+", the script is disabled", "check the path")
		} else {
			say(Warning, OursOnly, what+", it will not be run", "check the path")
		}
		return "", false
	}
	if bad, why := insecurePath(d.opt.Scripts, file); bad != "" && d.cfg.Global.ScriptSecurity {
		code := OursOnly
		if u.tracked != nil {
			code = General
		}
		say(Error, code, fmt.Sprintf("%s %s, the script is disabled", bad, why), "every part of the path must belong to root and be writable by root alone")
		return file, false
	}
	d.checkScriptText(u, file)
	return file, true
}

// findCommand gives the absolute path of a command.
func findCommand(files fs.FS, command string) (string, error) {
	if path.IsAbs(command) {
		st, err := fs.Stat(files, strings.TrimPrefix(path.Clean(command), "/"))
		switch {
		case err != nil:
			return "", err
		case !st.Mode().IsRegular():
			return "", fs.ErrNotExist
		}
		return path.Clean(command), nil
	}
	for _, dir := range commandPath {
		file := path.Join(dir, command)
		if st, err := fs.Stat(files, file[1:]); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fs.ErrNotExist
}

// insecurePath gives the first part of a path that others than root can
// change, and why. A sticky directory counts as safe.
func insecurePath(files fs.FS, file string) (part, why string) {
	for at := 1; at <= len(file); at++ {
		if at < len(file) && file[at] != '/' {
			continue
		}
		st, err := fs.Stat(files, file[1:at])
		if err != nil {
			continue
		}
		mode := st.Mode()
		owner, ok := st.Sys().(*syscall.Stat_t)
		switch {
		case ok && owner.Uid != 0:
			return file[:at], "does not belong to root"
		case mode.IsDir() && mode&fs.ModeSticky != 0:
		case mode.Perm()&0o002 != 0:
			return file[:at], "is writable by everybody"
		case ok && owner.Gid != 0 && mode.Perm()&0o020 != 0:
			return file[:at], "is writable by a group other than root's"
		}
	}
	return "", ""
}

// bashisms are forms that bash understands and sh does not.
var bashisms = []struct {
	form *regexp.Regexp
	name string
	hint string
}{
	{regexp.MustCompile(`[<>]&?\s*/dev/(tcp|udp)/`), "/dev/tcp redirection", `bash -c "..." , or nc -z HOST PORT`},
	{regexp.MustCompile(`(^|[\s;&|!(])\[\[(\s|$)`), "[[ ... ]]", "[ ... ], or bash"},
	{regexp.MustCompile(`<<<`), "<<<", "printf ... |, or bash"},
	{regexp.MustCompile(`(^|\s)[<>]\(`), "<( ... )", "a temporary file, or bash"},
	{regexp.MustCompile(`(^|[\s;&|])&>`), "&>", ">FILE 2>&1"},
	{regexp.MustCompile(`(^|[\s;&|])function\s+[A-Za-z_]`), "function NAME", "NAME() { ... }"},
}

func bashism(text string) (name, hint string, ok bool) {
	for _, b := range bashisms {
		if b.form.MatchString(text) {
			return b.name, b.hint, true
		}
	}
	return "", "", false
}

// checkShellLines finds bash syntax in commands that sh would interpret.
func (d *decoder) checkShellLines(uses []scriptUse) {
	for _, u := range uses {
		if len(u.spec.Args) == 0 {
			continue
		}
		if shell := path.Base(u.spec.Args[0]); shell == "bash" || shell == "zsh" || shell == "ksh" {
			continue
		}
		if name, hint, ok := bashism(u.spec.Line); ok {
			d.out(Problem{Pos: u.spec.Pos, Severity: Warning, Path: u.path, Keyword: u.keyword,
				Message: name + " is bash syntax, but sh runs this", Hint: hint})
		}
	}
}

var shebang = regexp.MustCompile(`^#!\s*(\S+)(?:\s+(\S+))?`)

// checkScriptText finds bash syntax in a file that sh would run: one that
// names sh, or names nothing.
func (d *decoder) checkScriptText(u *scriptUse, file string) {
	f, err := d.opt.Scripts.Open(file[1:])
	if err != nil {
		return
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, maxScriptHead))
	if err != nil || strings.IndexByte(string(head), 0) >= 0 {
		return
	}
	runner := "it has no #! line, so sh runs it"
	if m := shebang.FindSubmatch(head); m != nil {
		shell := path.Base(string(m[1]))
		if shell == "env" {
			shell = string(m[2])
		}
		if shell != "sh" && shell != "dash" {
			return
		}
		runner = "its #! line names " + shell
	}
	for n, line := range strings.Split(string(head), "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		if name, hint, ok := bashism(line); ok {
			d.out(Problem{Pos: u.spec.Pos, Severity: Warning, Path: u.path, Keyword: u.keyword,
				Message: fmt.Sprintf("%s:%d: %s is bash syntax; %s", file, n+1, name, runner), Hint: hint + "; or begin the file with #!/bin/bash"})
			return
		}
	}
}
