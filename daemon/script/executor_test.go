package script

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const patience = 20 * time.Second

func newExecutor(t *testing.T, o Options) *Executor {
	t.Helper()
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		e.Close(ctx)
	})
	return e
}

func resolved(t *testing.T, line string) Command {
	t.Helper()
	c, err := Parse(line)
	if err != nil {
		t.Fatal(err)
	}
	c, err = c.Resolve(Defaults{User: strconv.Itoa(os.Getuid())})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func await(t *testing.T, r *Run) Result {
	t.Helper()
	select {
	case <-r.Ended():
		return r.Result()
	case <-time.After(patience):
		t.Fatalf("script %s has not ended", r.cmd.Line)
		panic("unreachable")
	}
}

func run(t *testing.T, e *Executor, line string, extra ...string) Result {
	t.Helper()
	return await(t, e.Start(resolved(t, line), extra, 0, nil))
}

// writeScript makes an executable file that anybody may read, in a folder that
// anybody may enter.
func writeScript(t *testing.T, text string) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "scripttest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s.sh")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(path, []byte(text), 0o700), os.Chmod(path, 0o755)); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// awaitFile waits until the file has content and returns it.
func awaitFile(t *testing.T, path string) string {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if b, err := os.ReadFile(path); err == nil && bytes.HasSuffix(b, []byte("\n")) {
			return strings.TrimSpace(string(b))
		}
	}
	t.Fatalf("%s was not written", path)
	panic("unreachable")
}

func TestResultTellsHowAScriptEnded(t *testing.T) {
	e := newExecutor(t, Options{})
	for _, tc := range []struct {
		line, want string
		ok         bool
	}{
		{"/bin/true", "exit 0", true},
		{"/bin/sh -c 'exit 7'", "exit 7", false},
		{"/bin/sh -c 'kill -9 $$'", "killed by signal 9 (SIGKILL)", false},
	} {
		r := run(t, e, tc.line)
		if got := r.String(); got != tc.want || r.OK() != tc.ok {
			t.Errorf("%s: got %q ok=%v, want %q ok=%v", tc.line, got, r.OK(), tc.want, tc.ok)
		}
	}
}

func TestExtraWordsFollowTheConfigured(t *testing.T) {
	e := newExecutor(t, Options{})
	path := writeScript(t, "#!/bin/sh\nfor a; do echo \"<$a>\"; done > $0.out\n")
	run(t, e, path+` "x y" '' z`, "INSTANCE", "VI 1", "MASTER", "100")
	want := "<x y>\n<>\n<z>\n<INSTANCE>\n<VI 1>\n<MASTER>\n<100>\n"
	if d := cmp.Diff(want, read(t, path+".out")); d != "" {
		t.Errorf("arguments (-want +got):\n%s", d)
	}
}

func TestTimeoutKillsTheGroupWithGrandchildren(t *testing.T) {
	e := newExecutor(t, Options{KillAfter: 50 * time.Millisecond})
	for name, trap := range map[string]string{"willing": "", "deaf": "trap '' TERM\n"} {
		t.Run(name, func(t *testing.T) {
			path := writeScript(t, "#!/bin/sh\n"+trap+"sleep 1000 &\necho $! > $0.pid\nwait\nwait\n")
			r := e.Start(resolved(t, path), nil, time.Second, nil)
			pid, err := strconv.Atoi(awaitFile(t, path+".pid"))
			if err != nil {
				t.Fatal(err)
			}
			res := await(t, r)
			if !res.TimedOut || res.OK() || res.String() != "timed out" {
				t.Errorf("got %+v, want a timeout", res)
			}
			awaitGone(t, pid)
		})
	}
}

// awaitGone waits until a process is no more, or only a zombie that its new
// parent has not reaped yet.
func awaitGone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || bytes.Contains(stat, []byte(") Z ")) {
			return
		}
	}
	t.Errorf("process %d still lives", pid)
}

func TestASuccessfulScriptLeavesItsDaemonAlive(t *testing.T) {
	e := newExecutor(t, Options{})
	path := writeScript(t, "#!/bin/sh\nsleep 1000 &\necho $! > $0.pid\n")
	if r := run(t, e, path); !r.OK() {
		t.Fatal(r)
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(read(t, path+".pid")))
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("what the script started is gone: %v", err)
	}
}

func TestScriptsStartInOrder(t *testing.T) {
	e := newExecutor(t, Options{})
	c := resolved(t, "/bin/sleep 1000")
	var runs []*Run
	for range 10 {
		runs = append(runs, e.Start(c, nil, 0, nil))
	}
	last := 0
	for _, r := range runs {
		pid := awaitPid(t, r)
		if pid <= last && last-pid < 16384 { // unless process ids have wrapped around
			t.Errorf("pid %d was forked after pid %d", last, pid)
		}
		last = pid
	}
}

func awaitPid(t *testing.T, r *Run) int {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		r.mu.Lock()
		pid := r.pid
		r.mu.Unlock()
		if pid > 0 {
			return pid
		}
	}
	t.Fatal("the script does not start")
	return 0
}

// What a hanging exec does to the forking thread is done here by holding back
// the queue: no fork happens, and nobody may notice but the scripts.
func TestAScriptThatCannotEvenStartIsGivenUp(t *testing.T) {
	e := newExecutor(t, Options{})
	c := resolved(t, "/bin/true")
	stuck := func() *Run {
		r := &Run{exec: e, cmd: c, began: time.Now(), ended: make(chan struct{})}
		e.mu.Lock()
		e.running[r] = struct{}{}
		e.mu.Unlock()
		return r
	}
	late := stuck()
	late.timeUp()
	if res := await(t, late); !res.TimedOut || res.OK() || !errors.Is(res.Err, errNotStarted) {
		t.Errorf("after its timeout: %+v", res)
	}
	stopped := stuck()
	stopped.Terminate()
	if res := await(t, stopped); !res.Stopped || res.OK() {
		t.Errorf("after Terminate: %+v", res)
	}
	if e.Running() != 0 {
		t.Errorf("%d scripts still count as running", e.Running())
	}
	// The exec comes through after all: the script must not stay.
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	p, err := e.fork(resolved(t, "/bin/sleep 1000"), nil, null)
	if err != nil {
		t.Fatal(err)
	}
	late.started(p, nil)
	awaitGone(t, p.pid)
}

// In a user namespace without privilege, setgroups is refused.
func TestScriptsRunInAUserNamespace(t *testing.T) {
	if os.Getenv("SCRIPT_TEST_USERNS") != "" {
		if mayCallSetgroups() {
			t.Fatal("setgroups is allowed here: the test tests nothing")
		}
		if r := run(t, newExecutor(t, Options{}), "/bin/sh -c 'exit 5'"); r.Code != 5 {
			t.Fatalf("got %v", r)
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestScriptsRunInAUserNamespace$")
	cmd.Env = append(os.Environ(), "SCRIPT_TEST_USERNS=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		if os.Getenv("HA_REQUIRE") == "all" {
			t.Fatal(err)
		}
		t.Skipf("no user namespace can be made: %v", err)
	}
	if err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

// ordinarySignals takes the C library's own two, 32 and 33, out of a mask: its
// posix_spawn leaves them ignored, whoever starts the tests by it (make does),
// and no Go program can change that.
func ordinarySignals(t *testing.T, hex string) string {
	t.Helper()
	mask, err := strconv.ParseUint(hex, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%016x", mask&^(3<<31))
}

func TestChildHasACleanSurrounding(t *testing.T) {
	e := newExecutor(t, Options{Env: []string{"PATH=/usr/bin:/bin", "IFS=x", "LD_PRELOAD=/none.so", "KEEP=1"}})
	leak, err := syscall.Open("/dev/zero", syscall.O_RDONLY, 0) // no O_CLOEXEC
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(leak)
	path := writeScript(t, `#!/bin/sh
{ tr '\0' '\n' < /proc/$$/environ; ls -l /proc/$$/fd | grep -c dev/zero
readlink /proc/$$/fd/0 /proc/$$/fd/2
# The shell blocks signals while it starts a program: it must read this itself.
while read -r l; do case $l in SigBlk*|SigIgn*) echo "$l";; esac; done < /proc/$$/status
umask; nice; cut -d ' ' -f 5 /proc/$$/stat; echo $$; } > $0.out
`)
	if r := run(t, e, path); !r.OK() {
		t.Fatal(r)
	}
	lines := strings.Split(strings.TrimSpace(read(t, path+".out")), "\n")
	for n, l := range lines {
		if hex, ok := strings.CutPrefix(l, "SigIgn:\t"); ok {
			lines[n] = "SigIgn:\t" + ordinarySignals(t, hex)
		}
	}
	pid := lines[len(lines)-1]
	want := []string{
		"PATH=/usr/bin:/bin", "KEEP=1", "0", "/dev/null", "/dev/null",
		"SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000", "0177", "0", pid, pid,
	}
	if d := cmp.Diff(want, lines); d != "" {
		t.Errorf("what the script sees (-want +got):\n%s", d)
	}
	if m := syscall.Umask(0o22); m == DefaultUmask {
		t.Error("the daemon's own umask was changed")
	} else {
		syscall.Umask(m)
	}
}

func TestAnotherUserRunsTheScript(t *testing.T) {
	needOtherUsers(t)
	var log syncBuffer
	e := newExecutor(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	path := writeScript(t, "#!/bin/sh\nid -u; id -g; id -G\n")
	c, _ := Parse(path)
	c.User, c.Log = "nobody", true
	c, err := c.Resolve(Defaults{User: "root"})
	if err != nil {
		t.Fatal(err)
	}
	if r := await(t, e.Start(c, nil, 0, nil)); !r.OK() {
		t.Fatal(r)
	}
	want := fmt.Sprintf("text=%d\ntext=%d\ntext=%d\n", c.UID, c.GID, c.GID)
	got := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline) && got != want; time.Sleep(2 * time.Millisecond) {
		got = ""
		for _, l := range strings.Split(log.String(), "\n") {
			if i := strings.LastIndex(l, "text="); i >= 0 {
				got += l[i:] + "\n"
			}
		}
	}
	if c.UID == 0 || got != want {
		t.Errorf("ids as the script printed them: %q, want %q", got, want)
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestFailureToStartIsAResult(t *testing.T) {
	e := newExecutor(t, Options{})
	path := writeScript(t, "#!/nonexistent/interpreter\n")
	got := make(chan Result, 2)
	e.Start(resolved(t, path), nil, 0, func(r Result) { got <- r })
	select {
	case r := <-got:
		if r.OK() || !errors.Is(r.Err, syscall.ENOENT) || !strings.HasPrefix(r.String(), "cannot run: ") {
			t.Errorf("got %v", r)
		}
	case <-time.After(patience):
		t.Fatal("done was not called")
	}
}

func TestCloseEndsWhatRunsAndRefusesMore(t *testing.T) {
	e := newExecutor(t, Options{})
	deaf := writeScript(t, "#!/bin/sh\ntrap '' TERM\necho $$ > $0.pid\nwhile :; do sleep 1000; done\n")
	r := e.Start(resolved(t, deaf), nil, 0, nil)
	awaitFile(t, deaf+".pid")
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := e.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v, want the deadline to have passed", err)
	}
	if res := await(t, r); !res.Stopped || res.OK() {
		t.Errorf("got %+v, want stopped", res)
	}
	if res := await(t, e.Start(resolved(t, "/bin/true"), nil, 0, nil)); !errors.Is(res.Err, ErrClosed) {
		t.Errorf("a start after Close gave %v", res)
	}
	if n := e.Running(); n != 0 {
		t.Errorf("%d scripts left", n)
	}
}

// A daemon that is killed outright must not leave its scripts behind.
func TestScriptDiesWithTheDaemon(t *testing.T) {
	if out := os.Getenv("SCRIPT_TEST_CHILD"); out != "" {
		e, err := New(Options{})
		if err != nil {
			os.Exit(3)
		}
		c, _ := Parse("/bin/sh -c 'echo $$ > " + out + "; exec sleep 1000'")
		c, _ = c.Resolve(Defaults{})
		<-e.Start(c, nil, 0, nil).Ended()
		os.Exit(4)
	}
	out := filepath.Join(t.TempDir(), "pid")
	cmd := exec.Command(os.Args[0], "-test.run", "^TestScriptDiesWithTheDaemon$")
	cmd.Env = append(os.Environ(), "SCRIPT_TEST_CHILD="+out)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(awaitFile(t, out))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	awaitGone(t, pid)
}

// needOtherUsers skips where files cannot be given to other users nor
// processes run as them: without root, and in a user namespace.
func needOtherUsers(t *testing.T) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "probe")
	err := os.WriteFile(path, nil, 0o600)
	if err == nil {
		err = os.Chown(path, 1, 1)
	}
	if err == nil {
		return
	}
	if os.Getenv("HA_REQUIRE") == "all" {
		t.Fatal(err)
	}
	t.Skipf("no other users can be had: %v", err)
}
