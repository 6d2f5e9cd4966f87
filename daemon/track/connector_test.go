package track

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// message is one connector message as the kernel writes it.
func message(what uint32, fields ...uint32) []byte {
	ne := binary.NativeEndian
	length := nlHeader + cnHeader + eventHeader + 4*len(fields)
	b := make([]byte, nlHeader+cnHeader+eventHeader, length)
	ne.PutUint32(b, uint32(length))
	ne.PutUint32(b[nlHeader+cnHeader:], what)
	for _, f := range fields {
		b = ne.AppendUint32(b, f)
	}
	return b
}

func TestEventsOfProcessesAreDecodedAndThoseOfThreadsLeftOut(t *testing.T) {
	var b []byte
	for _, m := range [][]byte{
		message(0, 0, 0),
		message(eventFork, 10, 10, 11, 11), message(eventFork, 10, 10, 12, 10),
		message(eventExec, 11, 11), message(eventComm, 11, 11, 0, 0, 0, 0), message(eventComm, 12, 10, 0, 0, 0, 0),
		message(4, 11, 11, 0, 0), message(eventExit, 12, 10, 0, 0), message(eventExit, 11, 11, 0, 0),
	} {
		b = append(b, m...)
	}
	var got []procEvent
	collect := func(ev procEvent) { got = append(got, ev) }
	parseEvents(b, collect)
	want := []procEvent{{procFork, 11, 10}, {procExec, 11, 0}, {procName, 11, 0}, {procExit, 11, 0}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(procEvent{})); d != "" {
		t.Error(d)
	}
	for n := range b {
		parseEvents(b[:n], func(procEvent) {})
	}
	got = nil
	parseEvents(message(eventFork, 1, 1), collect)
	if len(got) != 0 {
		t.Errorf("a cut fork is %+v", got)
	}
}

// tree is a /proc with the processes given by pid.
func tree(t *testing.T, procs map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for pid, name := range procs {
		if err := os.MkdirAll(filepath.Join(root, pid), 0o755); err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string]string{"stat": pid + " (" + name + ") S 0", "cmdline": name + "\x00"} {
			if err := os.WriteFile(filepath.Join(root, pid, file), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root
}

func TestAProcessThatToldOfItsEndDoesNotCountAnyMore(t *testing.T) {
	cfg := ProcessConfig{ID: "a", Args: []string{"a"}}
	tracked := map[string]*process{"a": {ProcessConfig: cfg, want: cfg.pattern()}}
	all := []*process{tracked["a"]}
	c := newCensus(tree(t, map[string]string{"10": "a", "11": "a", "12": "b"}))
	if n := c.count(all)[0]; n != 2 {
		t.Fatalf("%d counted", n)
	}
	for _, s := range []struct {
		ev    procEvent
		heeds bool
		count int
	}{
		{procEvent{procExit, 12, 0}, false, 2},
		{procEvent{procExit, 10, 0}, true, 1},
		{procEvent{procFork, 10, 11}, true, 2}, // the number is used again
		{procEvent{procFork, 13, 12}, false, 2},
		{procEvent{procExec, 12, 0}, false, 2},
		{procEvent{procExec, 11, 0}, true, 2},
		{procEvent{procLost, 0, 0}, true, 2},
	} {
		if got := c.note(s.ev, tracked); got != s.heeds {
			t.Errorf("%+v: heeded %v", s.ev, got)
		}
		if n := c.count(all)[0]; n != s.count {
			t.Errorf("%+v: %d counted, want %d", s.ev, n, s.count)
		}
	}
}

// The connector tells of a process that begins and ends, with the polling
// interval far too long to see either.
func TestConnectorTellsOfProcesses(t *testing.T) {
	c, err := dialConnector()
	if err != nil {
		if os.Getenv("HA_REQUIRE") == "all" {
			t.Fatal(err)
		}
		t.Skip("no proc connector here: ", err)
	}
	c.close()
	name := filepath.Join(t.TempDir(), "kmtracked")
	if out, err := exec.Command("cp", "/bin/sleep", name).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	seen := make(chan bool, 10)
	p := NewProcesses(0, nil, func(_ string, up bool, _ string) { seen <- up })
	defer p.Close()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		p.mu.Lock()
		ready := p.conn != nil
		p.every = time.Hour
		p.mu.Unlock()
		if ready {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the connector is not used")
		}
	}
	p.Apply([]ProcessConfig{{ID: "k", Args: []string{"kmtracked"}}})
	expect := func(want bool) {
		t.Helper()
		select {
		case got := <-seen:
			if got != want {
				t.Fatalf("up is %v, want %v", got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("nothing is told, want %v", want)
		}
	}
	expect(false)
	for range 3 {
		cmd := exec.Command(name, "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		expect(true)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		expect(false)
		_ = cmd.Wait()
	}
}
