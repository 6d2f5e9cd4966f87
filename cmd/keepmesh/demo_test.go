package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepmesh/keepmesh/lab"
)

// programVariable makes the test binary the program itself.
const programVariable = "KEEPMESH_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" {
		main()
	}
	os.Exit(m.Run())
}

// program is a copy of the test binary that every user may execute.
func program(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "keepmesh-demo-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "keepmesh")
	from, err := os.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

// asNobody puts before a command what makes it an ordinary user's.
func asNobody(argv ...string) []string {
	if os.Geteuid() != 0 {
		return argv
	}
	return append([]string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"}, argv...)
}

// run plays a demonstration to its end, again where the machine was too busy.
func run(t *testing.T, argv ...string) (string, error) {
	t.Helper()
	var out []byte
	err := lab.Repeat(3, func() error {
		cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
		cmd.Env = append(os.Environ(), programVariable+"=1", "TMPDIR=/tmp")
		cmd.Dir = "/"
		var err error
		out, err = cmd.CombinedOutput()
		if err != nil && bytes.Contains(out, []byte(demoBusy)) {
			return &lab.Unusable{Reason: demoBusy}
		}
		return err
	})
	return string(out), err
}

// leftovers are the processes that run a program.
func leftovers(t *testing.T, name string) (left []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if target, err := os.Readlink(l); err == nil && strings.HasPrefix(target, name) {
			left = append(left, l)
		}
	}
	return left
}

func TestDemo(t *testing.T) {
	lab.Require(t, lab.UserNS)
	users := map[string]func(...string) []string{"an ordinary user": asNobody}
	if lab.Root.Probe() == nil {
		users["root"] = func(argv ...string) []string { return argv }
	}
	for user, as := range users {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			name := program(t)
			compared := lab.Keepalived.Probe() == nil
			out, err := run(t, as(name, "demo", "--quick")...)
			if err != nil {
				t.Fatalf("the demo ended with %v:\n%s", err, out)
			}
			for _, want := range []string{
				`\n1\. .* loses power\n(.*\n)* +\+.* nobody answers\n.* lb2 answers\n`,
				`Nobody for [23] \d{3} ms, then lb2\.  \(VRRP's own bounds: 2 609 to 3 609 ms\)`,
				`One holder throughout: lb1\.`,
				`lb2 \(100: vetoed\)  lb3 \(50: vetoed\)`,
				`Nobody for \d+ ms, then lb2\.  \(Skew_Time of lb2: 609 ms\)`,
				`Cleaned up`,
			} {
				if !regexp.MustCompile(want).MatchString(out) {
					t.Errorf("the output does not match %q:\n%s", want, out)
				}
			}
			if got := regexp.MustCompile(`keepalived beside it, same block: two or more holders for [1-9]`).MatchString(out); got != compared {
				t.Errorf("compared with keepalived: %v, want %v:\n%s", got, compared, out)
			}
			if strings.Contains(out, "\x1b") {
				t.Error("control sequences on what is no terminal")
			}
			if left := leftovers(t, name); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestDemoInterruptedCleansUp(t *testing.T) {
	lab.Require(t, lab.UserNS)
	name := program(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out bytes.Buffer
	argv := asNobody(name, "demo", "--quick", "--compare=false")
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), programVariable+"=1", "TMPDIR=/tmp")
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", w, w
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	// A terminal sends the interrupt to the whole group.
	buf := make([]byte, 4096)
	for sent := false; ; {
		n, err := r.Read(buf)
		out.Write(buf[:n])
		if !sent && strings.Contains(out.String(), "power lost") {
			sent = true
			if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
		}
		if err != nil {
			break
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted {
		t.Errorf("ended with %v, want exit code %d", err, exitInterrupted)
	}
	if !strings.Contains(out.String(), "Cleaned up") {
		t.Errorf("it does not say that it cleaned up:\n%s", out.String())
	}
	if left := leftovers(t, name); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestDemoCountsBrokenPromises(t *testing.T) {
	var out bytes.Buffer
	d := &demo{out: &out, screen: newScreen(&out, true)}
	both := lab.Interval{Hosts: []string{"lb1", "lb2"}, From: 0, To: 5 * time.Millisecond}
	one := lab.Interval{Hosts: []string{"lb1"}, From: 5 * time.Millisecond, To: 9 * time.Millisecond}
	other := lab.Interval{Hosts: []string{"lb2"}, From: 0, To: 5 * time.Millisecond}
	for _, c := range []struct {
		name string
		r    lab.Report
		want bool
	}{
		{"one holder", lab.Report{Probes: 4, Intervals: []lab.Interval{one}}, true},
		{"two holders", lab.Report{Probes: 9, Intervals: []lab.Interval{both, one}}, false},
		{"another holder", lab.Report{Probes: 9, Intervals: []lab.Interval{other, one}}, false},
		{"nobody for long", lab.Report{Probes: 9, Intervals: []lab.Interval{one}, LongestOutage: time.Second}, false},
		{"nothing measured", lab.Report{}, false},
	} {
		if got := onlyHolder(c.r, "lb1"); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
		d.promise(onlyHolder(c.r, "lb1"), c.r, "one holder")
	}
	if d.broken != 4 || strings.Count(out.String(), "! one holder\n") != 4 {
		t.Errorf("%d broken promises, told as\n%s", d.broken, out.String())
	}
}

func TestDemoStripSaysWhatLasts(t *testing.T) {
	var out bytes.Buffer
	s := newScreen(&out, false).strip()
	for i, holders := range [][]string{{"lb1"}, {"lb1"}, {"lb1"}, {"lb1", "lb2"}, {"lb2"}, {"lb2"}, {}, {}, {}, {"lb2", "lb3"}, {"lb2", "lb3"}} {
		s.update(lab.Live{At: time.Duration(i) * liveTime, Holders: holders})
	}
	s.mark(time.Second, "power lost")
	want := "   +  0.0 s  lb1 answers\n   +  0.4 s  lb2 answers\n   +  0.6 s  nobody answers\n" +
		"   +  0.9 s  lb2 and lb3 answer\n   +  1.0 s  * power lost\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestDemoStripDrawsARowForEachNode(t *testing.T) {
	t.Setenv("LC_ALL", "C") // no blocks: # and .
	var out bytes.Buffer
	screen := newScreen(&out, false)
	screen.live, screen.width = true, 40
	s := screen.strip()
	for i := range 80 {
		holder := []string{"lb" + strconv.Itoa(1+i/40)}
		s.update(lab.Live{At: time.Duration(i) * liveTime, Holders: holder})
		if i == 40 {
			s.mark(time.Duration(i)*liveTime, "power lost")
		}
	}
	frames := strings.Split(out.String(), "\x1b[4A")
	last := strings.ReplaceAll(frames[len(frames)-1], "\r\x1b[K", "")
	want := "" +
		"   lb1  ###########....................\n" +
		"   lb2  ...........####################\n" +
		"   lb3  ...............................\n" +
		"                   ^ power lost\n"
	if diff := cmp.Diff(want, last); diff != "" {
		t.Error(diff)
	}
}
