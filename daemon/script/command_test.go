package script

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func mustLink(t *testing.T, target, link string) {
	t.Helper()
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
}

// The wanted paths are what keepalived 2.2.7 executes.
func TestResolveFollowsLinksIntoOtherFoldersOnly(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	sub := filepath.Join(dir, "sub")
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{filepath.Join(dir, "s.sh"), filepath.Join(sub, "r.sh")} {
		if err := os.WriteFile(p, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mustLink(t, "sub/r.sh", filepath.Join(dir, "away"))
	mustLink(t, "s.sh", filepath.Join(dir, "near"))
	mustLink(t, filepath.Join(dir, "s.sh"), filepath.Join(dir, "nearabs"))
	mustLink(t, "sub", filepath.Join(dir, "linkdir"))
	for given, want := range map[string]string{
		"/away": "/sub/r.sh", "/near": "/near", "/nearabs": "/nearabs",
		"/linkdir/r.sh": "/sub/r.sh", "//sub/../s.sh": "/s.sh",
	} {
		if got := resolved(t, dir+given).Path; got != dir+want {
			t.Errorf("%s runs %s, want %s", given, strings.TrimPrefix(got, dir), want)
		}
	}
}

func TestResolveKeepsTheNameAProgramWasFoundUnder(t *testing.T) {
	dir := t.TempDir()
	sh, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	mustLink(t, sh, filepath.Join(dir, "mycheck"))
	t.Setenv("PATH", dir)
	want := filepath.Join(dir, "mycheck")
	c := resolved(t, `mycheck -c 'test "$0" = `+want+`'`)
	if c.Args[0] != want || c.Path != sh {
		t.Errorf("runs %s as %s, want %s as %s", c.Path, c.Args[0], sh, want)
	}
	// For a program given by -c, the shell's $0 is its argv[0].
	if r := await(t, newExecutor(t, Options{}).Start(c, nil, 0, nil)); !r.OK() {
		t.Errorf("argv[0] is not %s: %v", want, r)
	}
}

func TestRedirectionAndBareTextAreRunByTheShell(t *testing.T) {
	e := newExecutor(t, Options{})
	if c := resolved(t, "</etc/passwd"); !c.Shell {
		t.Error("a redirection is not run by sh")
	}
	if r := run(t, e, "</etc/passwd"); !r.OK() {
		t.Errorf("</etc/passwd: %v", r)
	}
	if r := run(t, e, "</nonexistent/port"); r.OK() || r.Code == 0 {
		t.Errorf("</nonexistent/port: %v, want sh's failure", r)
	}
	bare := writeScript(t, "printf '%s\\n' \"$@\" > $0.out\nexit 3\n")
	if r := run(t, e, bare+` "it's a" b`, "c"); r.Code != 3 {
		t.Errorf("file without #!: %v, want exit 3", r)
	}
	if got, want := read(t, bare+".out"), "it's a\nb\nc\n"; got != want {
		t.Errorf("its arguments: %q, want %q", got, want)
	}
}

func TestResolveSaysWhyAScriptCannotRun(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("#!/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"no_such_program_here x": "cannot find no_such_program_here in the path",
		"VAR=1 /bin/true":        "cannot find VAR=1 in the path",
		"/nonexistent/foo bar":   "/nonexistent/foo cannot be accessed: no such file or directory",
		"/tmp":                   "/tmp is not a file that can be run",
		plain:                    "is not executable for uid:gid",
	} {
		c, err := Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Resolve(Defaults{})
		var re *ResolveError
		if !errors.As(err, &re) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", line, err, want)
		}
	}
	c, _ := Parse("/bin/true")
	c.User = "no_such_user"
	if _, err := c.Resolve(Defaults{}); err == nil || !strings.Contains(err.Error(), `user "no_such_user" does not exist`) {
		t.Errorf("unknown user: %v", err)
	}
}

func TestSecurityNamesThePartAndTheFix(t *testing.T) {
	needOtherUsers(t)
	script := writeScript(t, "#!/bin/sh\n")
	dir := filepath.Dir(script)
	set := func(path string, mode os.FileMode, uid, gid int) {
		t.Helper()
		if err := errors.Join(os.Chown(path, uid, gid), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name                       string
		fileMode, dirMode          os.FileMode
		fileUID, fileGID, dirOwner int
		want                       string
	}{
		{"all root", 0o755, 0o755, 0, 0, 0, ""},
		{"group root may write", 0o775, 0o775, 0, 0, 0, ""},
		{"sticky folder", 0o755, 0o777 | os.ModeSticky, 0, 0, 0, ""},
		{"others write", 0o757, 0o755, 0, 0, 0, script + " is writable by everybody; run: chmod o-w " + script},
		{"group writes", 0o775, 0o755, 0, 1, 0, script + " is writable by group 1, not root's; run: chmod g-w " + script},
		{"owner", 0o755, 0o755, 1, 0, 0, script + " belongs to uid 1, not to root; run: chown root " + script},
		{"open folder", 0o755, 0o777, 0, 0, 0, dir + " is writable by everybody; run: chmod o-w " + dir},
		{"folder's owner", 0o755, 0o755, 0, 0, 1, dir + " belongs to uid 1, not to root; run: chown root " + dir},
	} {
		set(script, tc.fileMode, tc.fileUID, tc.fileGID)
		set(dir, tc.dirMode, tc.dirOwner, 0)
		got, want := "", tc.want
		if err := Security(script, 0); err != nil {
			got = err.Error()
		}
		if want != "" {
			want = "unsafe permissions found for script '" + script + "': " + want
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", tc.name, got, want)
		}
		if err := Security(script, 1); err != nil {
			t.Errorf("%s: run by another user: %v", tc.name, err)
		}
	}
}
