package notify

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/keepmesh/keepmesh/daemon/script"
)

const patience = 20 * time.Second

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newNotifier(t *testing.T) (*Notifier, *lockedBuffer) {
	t.Helper()
	exec, err := script.New(script.Options{})
	if err != nil {
		t.Fatal(err)
	}
	log := &lockedBuffer{}
	n := New(exec, slog.New(slog.NewTextHandler(log, nil)))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		now, stop := context.WithCancel(ctx)
		stop()
		n.Close(now)
		exec.Close(ctx)
	})
	return n, log
}

func resolve(t *testing.T, line string) *script.Command {
	t.Helper()
	c, err := script.Parse(line)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = c.Resolve(script.Defaults{User: strconv.Itoa(os.Getuid())}); err != nil {
		t.Fatal(err)
	}
	return &c
}

// recorder is a script that adds its process id and arguments to a file.
func recorder(t *testing.T, dir string) (path, log string) {
	t.Helper()
	path, log = filepath.Join(dir, "rec.sh"), filepath.Join(dir, "rec.log")
	text := "#!/bin/sh\necho \"$$ $*\" >> " + log + "\n"
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path, log
}

// recorded returns the arguments of the recorder's runs in the order of their
// process ids, which is the order in which they were started.
func recorded(t *testing.T, log string) []string {
	t.Helper()
	b, err := os.ReadFile(log)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	type run struct {
		pid  int
		args string
	}
	var runs []run
	for _, l := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		pid, args, _ := strings.Cut(l, " ")
		n, _ := strconv.Atoi(pid)
		runs = append(runs, run{n, args})
	}
	slices.SortStableFunc(runs, func(a, b run) int { return cmp.Compare(a.pid, b.pid) })
	// Process ids may have wrapped around: the runs then begin after the
	// largest gap.
	first, gap := 0, 0
	for i := 1; i < len(runs); i++ {
		if d := runs[i].pid - runs[i-1].pid; d > gap && d > 16384 {
			first, gap = i, d
		}
	}
	var args []string
	for i := range runs {
		args = append(args, runs[(first+i)%len(runs)].args)
	}
	return args
}

func flush(t *testing.T, n *Notifier) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

func hooksFor(t *testing.T, rec, tag string) Hooks {
	t.Helper()
	h := func(event string) *script.Command { return resolve(t, rec+" "+tag+" "+event) }
	return Hooks{
		Master: h("master"), Backup: h("backup"), Fault: h("fault"), Stop: h("stop"),
		Any: h("any"), MasterRxLowerPri: h("rx"), Deleted: h("deleted"), TellDeleted: true,
	}
}

func TestScriptOfTheStateComesBeforeNotify(t *testing.T) {
	n, _ := newNotifier(t)
	rec, log := recorder(t, t.TempDir())
	bare := Hooks{Any: resolve(t, rec+" v3 any"), Fault: resolve(t, rec+" v3 fault")}
	if err := n.Apply(Config{Hooks: map[Object]Hooks{
		{Instance, "VI_1"}: hooksFor(t, rec, "v1"),
		{Group, "VI_1"}:    {Any: resolve(t, rec+" g")},
		{Instance, "VI_3"}: bare,
	}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []Change{
		{Instance, "VI_1", Backup, 100},
		{Instance, "VI_1", Master, 103},
		{Group, "VI_1", Master, 0},
		{Instance, "VI_1", MasterRxLowerPri, 103},
		{Instance, "VI_1", MasterPriority, 90},
		{Instance, "VI_2", Master, 1},
		{Instance, "VI_1", Fault, 100},
		{Instance, "VI_1", Stop, 100},
		{Instance, "VI_1", Deleted, 100},
		{Instance, "VI_3", Deleted, 50},
	} {
		n.Notify(c)
	}
	flush(t, n)
	want := []string{
		"v1 backup", "v1 any INSTANCE VI_1 BACKUP 100",
		"v1 master", "v1 any INSTANCE VI_1 MASTER 103",
		"g GROUP VI_1 MASTER 0",
		"v1 rx",
		"v1 fault", "v1 any INSTANCE VI_1 FAULT 100",
		"v1 stop", "v1 any INSTANCE VI_1 STOP 100",
		"v1 deleted", "v1 any INSTANCE VI_1 DELETED 100",
		"v3 any INSTANCE VI_3 FAULT 50",
	}
	if d := gocmp.Diff(want, recorded(t, log)); d != "" {
		t.Errorf("scripts (-want +got):\n%s", d)
	}
}

// readAll opens a FIFO for reading and returns what it holds until every
// writer has closed it.
func readAll(t *testing.T, path string) func() string {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return func() string {
		f.SetReadDeadline(time.Now().Add(patience))
		b, err := io.ReadAll(f)
		if err != nil {
			t.Errorf("reading %s: %v", path, err)
		}
		return string(b)
	}
}

func TestLinesOnEveryFIFOAndRemovalAtTheEnd(t *testing.T) {
	n, _ := newNotifier(t)
	dir := t.TempDir()
	made, existing := filepath.Join(dir, "made"), filepath.Join(dir, "existing")
	if err := unix.Mkfifo(existing, 0o640); err != nil {
		t.Fatal(err)
	}
	told := map[Object]Hooks{{Instance, "VI_2"}: {TellPriority: true}}
	if err := n.Apply(Config{Hooks: told, FIFOs: []FIFOConfig{{Path: made}, {Path: existing}}}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(made)
	if err != nil || info.Mode() != os.ModeNamedPipe|0o600 {
		t.Errorf("made FIFO: %v %v, want prw-------", info.Mode(), err)
	}
	a, b := readAll(t, made), readAll(t, existing)
	n.Notify(Change{Instance, "VI_1", Master, 100})
	n.Notify(Change{Instance, "VI_1", MasterPriority, 90})
	n.Notify(Change{Instance, "VI_2", MasterPriority, 90})
	n.Notify(Change{Instance, "VI_1", MasterRxLowerPri, 100})
	n.Notify(Change{Group, "G 1", Deleted, 0})
	n.Close(context.Background())
	want := "INSTANCE \"VI_1\" MASTER 100\nINSTANCE \"VI_2\" MASTER_PRIORITY 90\nINSTANCE \"VI_1\" MASTER_RX_LOWER_PRI 100\nGROUP \"G 1\" FAULT 0\n"
	for name, got := range map[string]string{made: a(), existing: b()} {
		if d := gocmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", filepath.Base(name), d)
		}
	}
	if _, err := os.Lstat(made); !os.IsNotExist(err) {
		t.Errorf("the made FIFO is still there: %v", err)
	}
	if _, err := os.Lstat(existing); err != nil {
		t.Errorf("the FIFO that was there before is gone: %v", err)
	}
}

func TestMadeFIFOBelongsToItsUser(t *testing.T) {
	needOtherUsers(t)
	n, _ := newNotifier(t)
	id := uint32(65534)
	path := filepath.Join(t.TempDir(), "f")
	if err := n.Apply(Config{FIFOs: []FIFOConfig{{Path: path, UID: &id, GID: &id}}}); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil || st.Uid != id || st.Gid != id {
		t.Errorf("owner %d:%d (%v), want %d:%d", st.Uid, st.Gid, err, id, id)
	}
}

func TestWithoutAReaderNothingBlocksAndDropsAreCounted(t *testing.T) {
	n, log := newNotifier(t)
	path := filepath.Join(t.TempDir(), "f")
	if err := n.Apply(Config{FIFOs: []FIFOConfig{{Path: path}}}); err != nil {
		t.Fatal(err)
	}
	c := Change{Instance, "VI_1", Master, 100}
	const lines = 10000 // a FIFO holds 64 KiB
	for range lines {
		n.Notify(c)
	}
	dropped := n.Dropped()
	held := lines - int(dropped)
	if dropped == 0 || held*len(c.Line()) > 1<<20 {
		t.Fatalf("%d of %d lines dropped", dropped, lines)
	}
	if got := strings.Count(log.String(), "takes no more lines"); got != 1 {
		t.Errorf("logged %d times, want once:\n%s", got, log.String())
	}

	read := readAll(t, path)
	got := make(chan string)
	go func() { got <- read() }()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		n.Notify(Change{Instance, "VI_1", Backup, 1})
		if strings.Contains(log.String(), "takes lines again") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a reader did not make the FIFO take lines again")
		}
	}
	if !strings.Contains(log.String(), fmt.Sprintf("dropped=%d", n.Dropped())) {
		t.Errorf("the log does not tell the %d lost lines:\n%s", n.Dropped(), log.String())
	}
	n.Close(context.Background())
	text := <-got
	if want := strings.Repeat(c.Line(), held); !strings.HasPrefix(text, want) {
		t.Errorf("the %d lines that fitted were not read whole", held)
	}
	if !strings.HasSuffix(text, "INSTANCE \"VI_1\" BACKUP 1\n") {
		t.Errorf("the last line is not the last event: %q", text[max(0, len(text)-60):])
	}
}

func TestFIFOScriptReadsTheLastLineAndEnds(t *testing.T) {
	n, log := newNotifier(t)
	dir := t.TempDir()
	path, out, reader := filepath.Join(dir, "f"), filepath.Join(dir, "out"), filepath.Join(dir, "reader.sh")
	text := "#!/bin/sh\necho \"args $*\" >> " + out + "\nwhile read l; do echo \"$l\" >> " + out + "; done < \"$2\"\n"
	if err := os.WriteFile(reader, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	cfg := Config{FIFOs: []FIFOConfig{{Path: path, Script: resolve(t, reader+" conf")}}}
	if err := n.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	n.Notify(Change{Instance, "VI_1", Backup, 100})
	cfg.FIFOs[0].Script = resolve(t, reader+" conf") // an equal configuration on reload
	if err := n.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	awaitText(t, out, "BACKUP")
	n.Notify(Change{Instance, "VI_1", Stop, 100})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	n.Close(ctx)
	if ctx.Err() != nil {
		t.Error("the script did not end with the FIFO")
	}
	want := "args conf " + path + "\nINSTANCE \"VI_1\" BACKUP 100\nINSTANCE \"VI_1\" STOP 100\n"
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if d := gocmp.Diff(want, string(got)); d != "" {
		t.Errorf("what the script got (-want +got):\n%s", d)
	}
	for deadline := time.Now().Add(patience); !strings.Contains(log.String(), "notify FIFO script terminated"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("its end was not logged:\n%s", log.String())
		}
	}
}

func awaitText(t *testing.T, path, text string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if b, _ := os.ReadFile(path); strings.Contains(string(b), text) {
			return
		}
	}
	b, _ := os.ReadFile(path)
	t.Fatalf("%s does not come to hold %q:\n%s", path, text, b)
}

func TestAnEndedFIFOScriptIsRevivedByAReloadOnly(t *testing.T) {
	n, _ := newNotifier(t)
	dir := t.TempDir()
	rec, log := recorder(t, dir)
	cfg := Config{FIFOs: []FIFOConfig{{Path: filepath.Join(dir, "f"), Script: resolve(t, rec)}}}
	if err := n.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	<-n.fifos[0].run.Ended()
	n.Notify(Change{Instance, "VI_1", Backup, 100})
	if got := recorded(t, log); len(got) != 1 {
		t.Errorf("script ran %d times before the reload, want 1", len(got))
	}
	if err := n.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	<-n.fifos[0].run.Ended()
	if got := recorded(t, log); len(got) != 2 {
		t.Errorf("script ran %d times after the reload, want 2", len(got))
	}
}

func TestUnusableFIFOsAreNamedAndTheRestWorks(t *testing.T) {
	n, log := newNotifier(t)
	dir := t.TempDir()
	good, plain, link := filepath.Join(dir, "good"), filepath.Join(dir, "plain"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(plain, nil, 0o600), os.Symlink(plain, link)); err != nil {
		t.Fatal(err)
	}
	err := n.Apply(Config{FIFOs: []FIFOConfig{{Path: dir + "/none/f"}, {Path: link}, {Path: good}, {Path: plain}}})
	for _, want := range []string{
		dir + "/none/f: cannot be created: no such file or directory; make its folder or correct the path",
		link + ": cannot be opened: ",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	read := readAll(t, good)
	c := Change{Instance, "VI_1", Master, 100}
	n.Notify(c)
	n.Close(context.Background())
	if got := read(); got != c.Line() {
		t.Errorf("good FIFO got %q", got)
	}
	if !strings.Contains(log.String(), "is not a FIFO") {
		t.Errorf("a plain file in its place is not reported:\n%s", log.String())
	}
}

func TestFlushWaitsForScriptsAndObeysItsContext(t *testing.T) {
	n, _ := newNotifier(t)
	out := filepath.Join(t.TempDir(), "out")
	if err := n.Apply(Config{Hooks: map[Object]Hooks{
		{Instance, "slow"}:  {Stop: resolve(t, `/bin/sh -c "sleep 0.2; echo done > `+out+`"`)},
		{Instance, "stuck"}: {Stop: resolve(t, "/bin/sleep 1000")},
	}}); err != nil {
		t.Fatal(err)
	}
	n.Notify(Change{Instance, "slow", Stop, 1})
	flush(t, n)
	if b, err := os.ReadFile(out); err != nil || string(b) != "done\n" {
		t.Errorf("Flush returned before the script had ended: %q %v", b, err)
	}
	n.Notify(Change{Instance, "stuck", Stop, 1})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := n.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Flush of a stuck script: %v, want the deadline", err)
	}
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
