package logsink

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const patience = 20 * time.Second

type console struct {
	mu   sync.Mutex
	b    bytes.Buffer
	hold chan struct{} // if not nil, writes wait for it
}

func (c *console) Write(p []byte) (int, error) {
	if c.hold != nil {
		<-c.hold
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.Write(p)
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.String()
}

func open(t *testing.T, o Options) *Sink {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// fakeSyslog listens as a syslog daemon does.
type fakeSyslog struct{ *net.UnixConn }

func newFakeSyslog(t *testing.T, path string) fakeSyslog {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return fakeSyslog{c}
}

func (f fakeSyslog) next(t *testing.T) string {
	t.Helper()
	b := make([]byte, 2*syslogMax)
	f.SetReadDeadline(time.Now().Add(patience))
	n, err := f.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

var consoleTime = regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} `)

func withoutTimes(s string) string { return consoleTime.ReplaceAllString(s, "T ") }

func TestConsoleLinesAreReadable(t *testing.T) {
	var out console
	s := open(t, Options{Console: true, Stderr: &out})
	log := s.Logger()
	log.Info("entering state", "instance", "VI_1", "to", "MASTER", "priority", 100)
	log.Debug("not written")
	log.With("a", 1).WithGroup("g").With("b", true).Warn("odd values",
		"text", "two words", "empty", "", "quote", `"`, "err", errors.New("no route"), "d", 1500*time.Millisecond,
		slog.Group("in", "f", 1.5), "none", nil, "nl", "a\nb")
	log.Error("line one\nline two\x1b[31m")
	s.Close()
	want := `T INFO entering state instance=VI_1 to=MASTER priority=100
T WARN odd values a=1 g.b=true g.text="two words" g.empty="" g.quote="\"" g.err="no route" g.d=1.5s g.in.f=1.5 g.none=<nil> g.nl="a\nb"
T ERROR line one line two [31m
`
	if d := cmp.Diff(want, withoutTimes(out.String())); d != "" {
		t.Errorf("console (-want +got):\n%s", d)
	}
}

func TestSyslogLinesFollowRFC3164(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	daemon := newFakeSyslog(t, path)
	level := new(slog.LevelVar)
	level.Set(slog.LevelDebug)
	var out console
	s := open(t, Options{Ident: "keepmesh_vrrp", Level: level, Syslog: true, Facility: Local0 + 3, SyslogPath: path, Stderr: &out})
	log := s.Logger()
	for _, tc := range []struct {
		level slog.Level
		pri   int
	}{{slog.LevelDebug, 159}, {slog.LevelInfo, 158}, {slog.LevelWarn, 156}, {slog.LevelError, 155}} {
		log.Log(t.Context(), tc.level, "hello", "vrid", 51)
		want := regexp.MustCompile(fmt.Sprintf(`^<%d>(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d \d\d:\d\d:\d\d keepmesh_vrrp\[%d\]: hello vrid=51$`, tc.pri, os.Getpid()))
		if got := daemon.next(t); !want.MatchString(got) {
			t.Errorf("got %q, want %s", got, want)
		}
	}
	log.Info(strings.Repeat("x", 3*syslogMax))
	if got := daemon.next(t); len(got) != syslogMax {
		t.Errorf("a long line came with %d bytes, want it cut to %d", len(got), syslogMax)
	}
	s.Close()
	if out.String() != "" {
		t.Errorf("stderr got %q although syslog took everything", out.String())
	}
}

func TestDefaultFacilityIsDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	daemon := newFakeSyslog(t, path)
	open(t, Options{Ident: "keepmesh", Syslog: true, SyslogPath: path}).Logger().Info("x")
	if got := daemon.next(t); !strings.HasPrefix(got, "<30>") {
		t.Errorf("got %q, want facility daemon, severity info", got)
	}
}

func TestFacilitiesOfOptionS(t *testing.T) {
	for in, want := range map[string]Facility{"0": 16, "7": 23, "local3": 19, "user": 1, "daemon": 3} {
		if got, err := ParseFacility(in); err != nil || got != want {
			t.Errorf("%s: got %d %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "8", "local", "local8", "kern", "-1"} {
		if _, err := ParseFacility(in); err == nil {
			t.Errorf("%q is accepted", in)
		}
	}
}

func TestSyslogDaemonMayBeAbsentAndRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var out console
	s := open(t, Options{Ident: "k", Syslog: true, SyslogPath: path, Stderr: &out})
	log := s.Logger()
	log.Info("nobody there")
	for deadline := time.Now().Add(patience); !strings.Contains(out.String(), "nobody there"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("without a syslog daemon the line did not go to stderr")
		}
	}
	until := func(daemon fakeSyslog, text string) {
		t.Helper()
		got := make(chan struct{})
		go func() {
			defer close(got)
			for !strings.Contains(daemon.next(t), text) {
			}
		}()
		for i, deadline := 0, time.After(patience); ; i++ {
			log.Info(text, "i", i)
			select {
			case <-got:
				return
			case <-deadline:
				t.Fatalf("%q did not arrive", text)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	first := newFakeSyslog(t, path)
	until(first, "first daemon")
	first.Close()
	os.Remove(path)
	second := newFakeSyslog(t, path)
	until(second, "second daemon")
}

func TestRepeatsAreCounted(t *testing.T) {
	var out console
	s := open(t, Options{Console: true, Stderr: &out, Window: time.Hour})
	log := s.Logger()
	for range 500 {
		log.Warn("bad checksum", "peer", "10.0.0.1")
		log.Warn("bad checksum", "peer", "10.0.0.2")
		time.Sleep(10 * time.Microsecond) // keeps the queue from filling
	}
	log.Error("bad checksum", "peer", "10.0.0.1")
	s.Close()
	if n := s.Dropped(); n != 0 {
		t.Fatalf("%d lines found the queue full", n)
	}
	want := `T WARN bad checksum peer=10.0.0.1
T WARN bad checksum peer=10.0.0.2
T ERROR bad checksum peer=10.0.0.1
T WARN bad checksum peer=10.0.0.1 (499 times more within 1h0m0s)
T WARN bad checksum peer=10.0.0.2 (499 times more within 1h0m0s)
`
	if d := cmp.Diff(want, withoutTimes(out.String())); d != "" {
		t.Errorf("console (-want +got):\n%s", d)
	}
}

func TestTheCountIsWrittenWhenTheWindowEnds(t *testing.T) {
	var out console
	s := open(t, Options{Console: true, Stderr: &out, Window: 20 * time.Millisecond})
	log := s.Logger()
	for deadline := time.Now().Add(patience); ; {
		log.Info("again")
		if strings.Contains(out.String(), "times more within 20ms)") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no count was written")
		}
		time.Sleep(100 * time.Microsecond)
	}
}

func TestManyDifferentLinesAreAllWritten(t *testing.T) {
	var out console
	s := open(t, Options{Console: true, Stderr: &out, Window: time.Hour})
	log := s.Logger()
	const n = 10 * rememberedMax
	for i := range n {
		log.Info("line", "i", i)
	}
	s.Close()
	if got := strings.Count(out.String(), "\n"); got != n {
		t.Errorf("%d lines written, want %d", got, n)
	}
}

func TestABlockedConsoleBlocksNobody(t *testing.T) {
	out := console{hold: make(chan struct{})}
	s := open(t, Options{Console: true, Stderr: &out})
	log := s.Logger()
	const n = 5 * queueLines
	for i := range n { // would hang for ever if a caller had to wait
		log.Info("line", "i", i)
	}
	dropped := s.Dropped()
	if dropped < n-queueLines-1 || dropped > n-queueLines {
		t.Errorf("%d of %d lines dropped, the queue holds %d", dropped, n, queueLines)
	}
	close(out.hold)
	s.Close()
	if want := fmt.Sprintf("log lines dropped, outputs are too slow count=%d", dropped); !strings.Contains(out.String(), want) {
		t.Errorf("the loss is not told: want %q", want)
	}
	if got, want := strings.Count(out.String(), " line i="), n-int(dropped); got != want {
		t.Errorf("%d lines written, want %d", got, want)
	}
}

func TestFileIsAppendedToAndReopened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k.log")
	if err := os.WriteFile(path, []byte("before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{File: path})
	s.Logger().Info("one")
	awaitContent(t, path, "T INFO one")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Reopen(); err != nil {
		t.Fatal(err)
	}
	s.Logger().Info("two")
	s.Close()
	old, _ := os.ReadFile(path + ".1")
	fresh, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{withoutTimes(string(old)), withoutTimes(string(fresh))}
	if d := cmp.Diff([]string{"before\nT INFO one\n", "T INFO two\n"}, got); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	if err := s.Reopen(); err != nil {
		t.Errorf("after Close: %v", err)
	}
	if _, err := Open(Options{File: "/nonexistent/x.log"}); err == nil || !strings.Contains(err.Error(), "/nonexistent/x.log") {
		t.Errorf("an impossible file: %v", err)
	}
}

func awaitContent(t *testing.T, path, want string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if b, _ := os.ReadFile(path); strings.Contains(withoutTimes(string(b)), want) {
			return
		}
	}
	t.Fatalf("%s does not come to hold %q", path, want)
}

func TestFileNamesPerProcess(t *testing.T) {
	for _, tc := range [][3]string{
		{"/var/log/k.log", "vrrp", "/var/log/k_vrrp.log"},
		{"/var/log/k.log", "", "/var/log/k.log"},
		{"/var/log.d/k", "cluster", "/var/log.d/k_cluster"},
	} {
		if got := FileFor(tc[0], tc[1]); got != tc[2] {
			t.Errorf("FileFor(%s, %s) = %s, want %s", tc[0], tc[1], got, tc[2])
		}
	}
}

func BenchmarkInfo(b *testing.B) {
	s, err := Open(Options{Console: true, Stderr: &console{}})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	log := s.Logger()
	b.ReportAllocs()
	for b.Loop() {
		log.Info("entering state", "instance", "VI_1", "to", "MASTER", "priority", 100)
	}
}
