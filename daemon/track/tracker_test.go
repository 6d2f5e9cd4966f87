package track

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepmesh/keepmesh/daemon/script"
)

const patience = 20 * time.Second

type fixture struct {
	*Tracker
	events chan string
}

func newFixture(t *testing.T) fixture {
	t.Helper()
	exec, err := script.New(script.Options{})
	if err != nil {
		t.Fatal(err)
	}
	events := make(chan string, 1000)
	tr := NewTracker(exec, nil, func(id string, up bool, cause string) {
		events <- fmt.Sprintf("%s up=%v %s", id, up, cause)
	})
	t.Cleanup(func() {
		tr.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		exec.Close(ctx)
	})
	return fixture{tr, events}
}

func (f fixture) want(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-f.events:
		if got != want {
			t.Fatalf("got event %q, want %q", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("no event, want %q", want)
	}
}

func command(t *testing.T, line string) script.Command {
	t.Helper()
	c, err := script.Parse(line)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = c.Resolve(script.Defaults{User: strconv.Itoa(os.Getuid())}); err != nil {
		t.Fatal(err)
	}
	return c
}

// counting runs command after adding a line to a file.
func counting(t *testing.T, command string) (line, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "runs")
	return fmt.Sprintf(`/bin/sh -c "echo $$ >> %s; %s"`, file, command), file
}

func lines(t *testing.T, file string) []string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Fields(string(b))
}

func awaitLines(t *testing.T, file string, n int) []string {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if l := lines(t, file); len(l) >= n {
			return l
		}
	}
	t.Fatalf("%s: %d lines, want %d", file, len(lines(t, file)), n)
	return nil
}

func TestTransitionsNameTheirCause(t *testing.T) {
	f := newFixture(t)
	flag := filepath.Join(t.TempDir(), "down")
	f.Apply([]ScriptConfig{{
		ID: "chk", Command: command(t, "/bin/sh -c 'test ! -e "+flag+"'"),
		Interval: 20 * time.Millisecond, Timeout: patience, Rise: 3, Fall: 2,
	}})
	f.want(t, "chk up=true exit 0, first run")
	if err := os.WriteFile(flag, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	f.want(t, "chk up=false exit 1, 2 of 2")
	if err := os.Remove(flag); err != nil {
		t.Fatal(err)
	}
	f.want(t, "chk up=true exit 0, 3 of 3")
}

func TestTimeoutAndMissingProgramAreFailures(t *testing.T) {
	f := newFixture(t)
	gone := filepath.Join(t.TempDir(), "gone.sh")
	if err := os.WriteFile(gone, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	c := command(t, gone)
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	f.Apply([]ScriptConfig{{ID: "slow", Command: command(t, "/bin/sleep 1000"), Interval: 50 * time.Millisecond}})
	f.want(t, "slow up=false timed out, first run")
	f.Apply([]ScriptConfig{{ID: "gone", Command: c, Interval: time.Hour}})
	f.want(t, "gone up=false cannot run: "+gone+": no such file or directory, first run")
}

func TestARunIsNotStartedTwice(t *testing.T) {
	f := newFixture(t)
	line, file := counting(t, "exec sleep 1000")
	f.Apply([]ScriptConfig{{ID: "long", Command: command(t, line), Interval: 5 * time.Millisecond, Timeout: time.Hour}})
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if st := f.States(); st[0].Skipped >= 10 && len(lines(t, file)) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no overlapping runs were counted: %+v", f.States())
		}
	}
	if n := len(lines(t, file)); n != 1 {
		t.Errorf("%d runs, want 1", n)
	}
}

func TestReloadKeepsEqualDefinitions(t *testing.T) {
	f := newFixture(t)
	line, file := counting(t, "true")
	same := ScriptConfig{ID: "same", Command: command(t, line), Interval: time.Hour, Rise: 2, Fall: 2}
	changed := ScriptConfig{ID: "changed", Command: command(t, "/bin/true"), Interval: time.Hour}
	f.Apply([]ScriptConfig{same})
	f.want(t, "same up=true exit 0, first run")

	same2 := same
	same2.Command = command(t, line)
	f.Apply([]ScriptConfig{same2, changed})
	f.want(t, "changed up=true exit 0, first run")
	changed.Command = command(t, "/bin/false")
	f.Apply([]ScriptConfig{same2, changed})
	f.want(t, "changed up=false exit 1, first run")
	if n := len(lines(t, file)); n != 1 {
		t.Errorf("the unchanged script ran %d times, want 1", n)
	}
	f.Announce()
	f.want(t, "changed up=false exit 1, first run")
	f.want(t, "same up=true exit 0, first run")

	got := f.States()
	for i := range got {
		got[i].Since = time.Time{}
	}
	want := []ScriptState{
		{ID: "changed", Known: true, Need: 1, Last: "exit 1"},
		{ID: "same", Up: true, Known: true, Need: 2, Last: "exit 0"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("states (-want +got):\n%s", d)
	}
}

func TestRemovalAndCloseKillWhatRuns(t *testing.T) {
	f := newFixture(t)
	line1, file1 := counting(t, "exec sleep 1000")
	line2, file2 := counting(t, "exec sleep 1000")
	one := ScriptConfig{ID: "one", Command: command(t, line1), Interval: time.Hour}
	two := ScriptConfig{ID: "two", Command: command(t, line2), Interval: time.Hour}
	f.Apply([]ScriptConfig{one, two})
	pid1, pid2 := awaitLines(t, file1, 1)[0], awaitLines(t, file2, 1)[0]
	f.Apply([]ScriptConfig{two})
	awaitGone(t, pid1)
	f.Close()
	awaitGone(t, pid2)
	select {
	case e := <-f.events:
		t.Errorf("event %q for a script that was stopped", e)
	default:
	}
}

func awaitGone(t *testing.T, pid string) {
	t.Helper()
	n, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if syscall.Kill(n, 0) == syscall.ESRCH {
			return
		}
	}
	t.Errorf("pid %s still lives", pid)
}

func TestASlowReceiverBlocksNobodyAndSeesTheLastState(t *testing.T) {
	exec, err := script.New(script.Options{})
	if err != nil {
		t.Fatal(err)
	}
	hold, got := make(chan struct{}), make(chan bool, 100)
	flag := filepath.Join(t.TempDir(), "down")
	tr := NewTracker(exec, nil, func(_ string, up bool, _ string) {
		<-hold
		got <- up
	})
	defer exec.Close(context.Background())
	defer tr.Close()
	cfg := ScriptConfig{ID: "x", Command: command(t, "/bin/sh -c 'test ! -e "+flag+"'"), Interval: 5 * time.Millisecond, Timeout: patience}
	tr.Apply([]ScriptConfig{cfg})
	state := func(up bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			if st := tr.States()[0]; st.Known && st.Up == up {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("script never came to up=%v", up)
			}
		}
	}
	for range 3 {
		state(true)
		if err := os.WriteFile(flag, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		state(false)
		if err := os.Remove(flag); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(flag, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	state(false)
	tr.Apply([]ScriptConfig{cfg}) // must return although the receiver hangs
	close(hold)
	for deadline := time.After(patience); ; {
		select {
		case up := <-got:
			if !up {
				return
			}
		case <-deadline:
			t.Fatal("the last state was not delivered")
		}
	}
}
