package notify

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/keepmesh/keepmesh/daemon/script"
)

// needKeepalived skips where keepalived or a network namespace is missing.
func needKeepalived(t *testing.T) (netns string) {
	t.Helper()
	missing := func(why string, err error) {
		if os.Getenv("HA_REQUIRE") == "all" {
			t.Fatalf("%s: %v", why, err)
		}
		t.Skipf("%s: %v", why, err)
	}
	if _, err := exec.LookPath("keepalived"); err != nil {
		missing("keepalived is not installed", err)
	}
	if b, err := os.ReadFile("/proc/self/setgroups"); err == nil && string(b) == "deny\n" {
		missing("keepalived starts no script in such a user namespace", errors.New("setgroups is denied"))
	}
	netns = fmt.Sprintf("kmnotify%d", os.Getpid())
	if out, err := exec.Command("ip", "netns", "add", netns).CombinedOutput(); err != nil {
		missing("no network namespace can be made", fmt.Errorf("%w: %s", err, out))
	}
	t.Cleanup(func() { ip(t, "netns", "del", netns) })
	ip(t, "-n", netns, "link", "set", "lo", "up")
	ip(t, "-n", netns, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
	ip(t, "-n", netns, "link", "set", "eth0", "up")
	ip(t, "-n", netns, "link", "set", "eth1", "up")
	ip(t, "-n", netns, "addr", "add", "10.77.0.1/24", "dev", "eth0")
	return netns
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// oracleConfig gives every instance and the group all scripts. With reduced,
// VI_3 to VI_5 are gone.
func oracleConfig(rec, fifo string, reduced bool) string {
	hooks := func(tag string) string {
		var b strings.Builder
		for _, h := range []string{"master", "backup", "fault", "stop"} {
			fmt.Fprintf(&b, "  notify_%s \"%s %s %s 'two words'\"\n", h, rec, tag, h)
		}
		fmt.Fprintf(&b, "  notify \"%s %s any\"\n", rec, tag)
		return b.String()
	}
	instance := func(n int, iface, extra string) string {
		return fmt.Sprintf(`vrrp_instance VI_%d {
  interface %s
  virtual_router_id %d
  priority 100
  version 3
  advert_int 0.1
  virtual_ipaddress { 10.77.0.10%d/24 }
%s%s}
`, n, iface, n, n, hooks(fmt.Sprintf("v%d", n)), extra)
	}
	text := fmt.Sprintf("global_defs {\n  script_user root\n  enable_script_security\n  notify_fifo %s\n}\n", fifo) +
		instance(1, "eth0", "") + instance(2, "eth0", "")
	if !reduced {
		text += instance(3, "eth0", "  notify_deleted\n") +
			instance(4, "eth0", fmt.Sprintf("  notify_deleted \"%s v4 deleted\"\n", rec)) +
			instance(5, "eth0", "")
	}
	return text + "vrrp_sync_group G {\n  group { VI_1 VI_2 }\n" + hooks("g") + "}\n"
}

// keepalived runs the real daemon through every kind of transition and returns
// the bytes on its FIFO, whether each line came from a removal, and the runs
// of its scripts in the order of their start.
func keepalived(t *testing.T, dir string) (lines []string, removed []bool, scripts []string) {
	t.Helper()
	netns := needKeepalived(t)
	rec, log := recorder(t, dir)
	fifo, conf := filepath.Join(dir, "fifo"), filepath.Join(dir, "k.conf")
	write := func(reduced bool) {
		t.Helper()
		if err := os.WriteFile(conf, []byte(oracleConfig(rec, fifo, reduced)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(false)
	pid := func(name string) string { return filepath.Join(dir, name) }
	cmd := exec.Command("ip", "netns", "exec", netns, "keepalived", "-n", "-l", "-P", "-G",
		"-f", conf, "-p", pid("p"), "-r", pid("r"), "-c", pid("c"))
	var out lockedBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	defer func() {
		cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Log(out.String())
		}
	}()

	got := make(chan string, 1000)
	var reader *os.File
	for deadline := time.Now().Add(patience); reader == nil; time.Sleep(time.Millisecond) {
		// Opened for writing too, so that a new FIFO at the path is noticed by
		// its lines and not by an end of file.
		if info, err := os.Lstat(fifo); err == nil && info.Mode()&os.ModeNamedPipe != 0 {
			reader, _ = os.OpenFile(fifo, os.O_RDWR, 0)
		}
		if time.Now().After(deadline) {
			t.Fatalf("keepalived made no FIFO:\n%s", out.String())
		}
	}
	follow := func(f *os.File) {
		go func() {
			for in := bufio.NewReader(f); ; {
				l, err := in.ReadString('\n')
				if err != nil {
					return
				}
				got <- l
			}
		}()
	}
	follow(reader)
	inReload := false
	await := func(n int, state string) {
		t.Helper()
		for n > 0 {
			select {
			case l := <-got:
				lines, removed = append(lines, l), append(removed, inReload)
				if strings.Contains(l, " "+state+" ") {
					n--
				}
			case <-time.After(patience):
				t.Fatalf("keepalived does not come to %s; so far:\n%s", state, strings.Join(lines, ""))
			}
		}
	}
	await(6, Master)
	ip(t, "-n", netns, "link", "set", "eth1", "down")
	await(6, Fault)
	ip(t, "-n", netns, "link", "set", "eth1", "up")
	await(6, Master)

	write(true)
	inode := func() uint64 { return inodeOf(fifo) }
	before := inode()
	if err := cmd.Process.Signal(unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	// keepalived makes its FIFOs anew on a reload.
	for deadline := time.Now().Add(patience); inode() == 0 || inode() == before; time.Sleep(100 * time.Microsecond) {
		if time.Now().After(deadline) {
			t.Fatal("keepalived did not reload")
		}
	}
	reader.Close()
	reader2, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader2.Close()
	follow(reader2)
	inReload = true
	await(2, Deleted)
	await(1, Fault)
	inReload = false
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	await(3, Stop)
	<-ended
	return lines, removed, recorded(t, log)
}

// The same transitions must start the same scripts with the same arguments in
// the same order, and put the same bytes on the FIFO, as keepalived.
func TestScriptsAndLinesEqualKeepaliveds(t *testing.T) {
	theirs := t.TempDir()
	lines, removed, scripts := keepalived(t, theirs)

	ours := t.TempDir()
	rec, log := recorder(t, ours)
	fifo := filepath.Join(ours, "fifo")
	hooks := func(tag string) Hooks {
		h := func(event, rest string) *script.Command { return resolve(t, rec+" "+tag+" "+event+rest) }
		return Hooks{
			Master: h("master", " 'two words'"), Backup: h("backup", " 'two words'"),
			Fault: h("fault", " 'two words'"), Stop: h("stop", " 'two words'"), Any: h("any", ""),
		}
	}
	cfg := Config{Hooks: map[Object]Hooks{{Group, "G"}: hooks("g")}, FIFOs: []FIFOConfig{{Path: fifo}}}
	for i := 1; i <= 5; i++ {
		h := hooks(fmt.Sprintf("v%d", i))
		switch i {
		case 3:
			h.TellDeleted = true
		case 4:
			h.TellDeleted, h.Deleted = true, resolve(t, rec+" v4 deleted")
		}
		cfg.Hooks[Object{Instance, fmt.Sprintf("VI_%d", i)}] = h
	}
	n, _ := newNotifier(t)
	if err := n.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	read := readAll(t, fifo)
	for i, l := range lines {
		c, err := parseLine(l)
		if err != nil {
			t.Fatal(err)
		}
		if removed[i] {
			c.State = Deleted
		}
		n.Notify(c)
	}
	flush(t, n)
	n.Close(context.Background())
	if d := gocmp.Diff(strings.Join(lines, ""), read()); d != "" {
		t.Errorf("FIFO (-keepalived +keepmesh):\n%s", d)
	}
	if d := gocmp.Diff(scripts, recorded(t, log)); d != "" {
		t.Errorf("scripts (-keepalived +keepmesh):\n%s", d)
	}
}

func parseLine(l string) (Change, error) {
	kind, rest, ok1 := strings.Cut(l, " \"")
	name, rest, ok2 := strings.Cut(rest, "\" ")
	f := strings.Fields(rest)
	if !ok1 || !ok2 || len(f) != 2 {
		return Change{}, errors.New("unknown line " + strconv.Quote(l))
	}
	prio, err := strconv.Atoi(f[1])
	c := Change{Kind: Instance, Name: name, State: f[0], Priority: prio}
	if kind == "GROUP" {
		c.Kind = Group
	}
	return c, err
}

func inodeOf(path string) uint64 {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return 0
	}
	return st.Ino
}
