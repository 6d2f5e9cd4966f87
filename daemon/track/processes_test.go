package track

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestQuorumDecidesFromTheNumber(t *testing.T) {
	limit := func(n int) *int { return &n }
	for _, tc := range []struct {
		quorum int
		most   *int
		want   string // up for 0, 1, 2, 3 processes
	}{
		{0, nil, "-+++"}, {1, nil, "-+++"}, {2, nil, "--++"}, {1, limit(1), "-+--"}, {2, limit(2), "--+-"}, {1, limit(0), "+---"},
	} {
		got := ""
		for n := range 4 {
			if (ProcessConfig{Quorum: tc.quorum, QuorumMax: tc.most}).good(n) {
				got += "+"
			} else {
				got += "-"
			}
		}
		if got != tc.want {
			t.Errorf("quorum %d: got %s, want %s", tc.quorum, got, tc.want)
		}
	}
}

func TestDelaysHoldBackAChangeButNotTheFirstState(t *testing.T) {
	p := process{ProcessConfig: ProcessConfig{ForkDelay: 2 * time.Second, TerminateDelay: 5 * time.Second}}
	start := time.Unix(1000, 0)
	var got []string
	for _, s := range []struct{ at, count int }{
		{0, 1}, {1, 0}, {5, 0}, {6, 0}, // down 5 s after 1
		{7, 1}, {8, 0}, {9, 1}, {10, 1}, {11, 1}, // the gap at 8 begins the 2 s anew
		{12, 0}, {16, 1}, {17, 0}, {21, 0}, {22, 0},
	} {
		if p.step(start.Add(time.Duration(s.at)*time.Second), s.count) {
			got = append(got, fmt.Sprintf("%d up=%v", s.at, p.up))
		}
	}
	want := []string{"0 up=true", "6 up=false", "11 up=true", "22 up=false"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("changes (-want +got):\n%s", d)
	}
}

func TestCommandLinesAreComparedAsParamMatchSays(t *testing.T) {
	root := t.TempDir()
	for pid, f := range map[string][2]string{
		"1":    {"1 (haproxy) S 0", "/usr/sbin/haproxy\x00-f\x00/etc/a.cfg\x00"},
		"2":    {"2 (haproxy) Z 0", ""},
		"3":    {"3 (a) b (c) S 0", "a b\x00-f\x00/etc\x00more\x00"},
		"4":    {"4 (averyverylongna) S 0", "averyverylongname\x00"},
		"self": {"9 (haproxy) S 0", "haproxy\x00"},
	} {
		dir := filepath.Join(root, pid)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, "stat"), f[0])
		put(t, filepath.Join(dir, "cmdline"), f[1])
	}
	for _, tc := range []struct {
		args  string
		full  bool
		match Match
		want  int
	}{
		{"haproxy", false, Exact, 1},
		{"haprox", false, Exact, 0},
		{"a) b (c", false, Exact, 1},
		{"averyverylongname", false, Exact, 1},
		{"averyverylongname", true, Exact, 1},
		{"haproxy", true, Exact, 0},
		{"/usr/sbin/haproxy|-f|/etc/a.cfg", false, Exact, 1},
		{"/usr/sbin/haproxy|-f", false, Exact, 0},
		{"/usr/sbin/haproxy|-f", false, Partial, 1},
		{"/usr/sbin/haproxy|-f|/etc", false, Partial, 0},
		{"/usr/sbin/haproxy|-f|/etc", false, Initial, 1},
		{"a b|-f|/etc", false, Initial, 1},
	} {
		cfg := ProcessConfig{ID: "x", Args: strings.Split(tc.args, "|"), FullCommand: tc.full, Match: tc.match}
		c := newCensus(root)
		got := c.count([]*process{{ProcessConfig: cfg, want: cfg.pattern()}})[0]
		if got != tc.want {
			t.Errorf("%s full=%v match=%d: %d processes, want %d", tc.args, tc.full, tc.match, got, tc.want)
		}
	}
}

func TestARealProcessComesAndGoes(t *testing.T) {
	events := make(chan string, 100)
	p := NewProcesses(5*time.Millisecond, nil, func(id string, up bool, cause string) {
		events <- fmt.Sprintf("%s up=%v %s", id, up, cause)
	})
	defer p.Close()
	want := func(want string) {
		t.Helper()
		select {
		case got := <-events:
			if got != want {
				t.Fatalf("got event %q, want %q", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("no event, want %q", want)
		}
	}
	seconds := fmt.Sprintf("%d.25", 100000+os.Getpid())
	cfg := ProcessConfig{ID: "sleeper", Args: []string{"sleep", seconds}}
	p.Apply([]ProcessConfig{cfg})
	want("sleeper up=false 0 running, want 1")
	cmd := exec.Command("sleep", seconds)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	want("sleeper up=true 1 running, want 1")
	p.Apply([]ProcessConfig{cfg})
	p.Announce()
	want("sleeper up=true 1 running, want 1")
	if d := cmp.Diff([]ProcessState{{ID: "sleeper", Up: true, Known: true, Count: 1}}, p.States()); d != "" {
		t.Errorf("states (-want +got):\n%s", d)
	}
	cmd.Process.Kill()
	want("sleeper up=false 0 running, want 1") // a zombie until Wait
	cmd.Wait()
}
