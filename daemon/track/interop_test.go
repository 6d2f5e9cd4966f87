package track

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// needKeepalived makes a network namespace with one interface, or skips.
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
	netns = fmt.Sprintf("kmtrack%d", os.Getpid())
	ip := func(args ...string) error {
		out, err := exec.Command("ip", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	if err := ip("netns", "add", netns); err != nil {
		missing("no network namespace can be made", err)
	}
	t.Cleanup(func() {
		if err := ip("netns", "del", netns); err != nil {
			t.Error(err)
		}
	})
	for _, c := range []string{
		"link set lo up", "link add eth0 type veth peer name eth1", "link set eth0 up", "link set eth1 up",
		"addr add 10.77.0.1/24 dev eth0",
	} {
		if err := ip(append([]string{"-n", netns}, strings.Fields(c)...)...); err != nil {
			t.Fatal(err)
		}
	}
	return netns
}

// Seven scripts with different rise and fall and weights of 1, 2, 4 to 64 play
// random results to keepalived, once a second because it runs none more often,
// and it tells each change of the priority on its FIFO. The bits of the priority must flip as often, and in the same order, as
// the machine says for the same results.
func TestMachineAgreesWithKeepalived(t *testing.T) {
	t.Parallel()
	netns := needKeepalived(t)
	dir := t.TempDir()
	type params struct{ rise, fall int }
	scripts := []params{{1, 1}, {2, 1}, {1, 2}, {2, 2}, {3, 2}, {2, 3}, {1, 3}}
	const runs = 12

	// Each run takes the next result of its script from a file; after the last
	// one it repeats that for ever.
	player := filepath.Join(dir, "play.sh")
	text := `#!/bin/sh
n=$(cat ` + dir + `/at$1 2>/dev/null || echo 0)
echo $((n+1)) > ` + dir + `/at$1
set -- $(cat ` + dir + `/results$1)
[ $n -lt $# ] || n=$(($#-1))
shift $n
exit $1
`
	if err := os.WriteFile(player, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	results := make([][]bool, len(scripts))
	conf := "global_defs {\n  script_user root\n  notify_fifo " + dir + "/fifo\n}\n"
	tracked := ""
	for i, p := range scripts {
		var words []string
		for len(results[i]) < runs {
			// Streaks, so that longer rise and fall are reached too.
			ok := rnd.IntN(2) == 0
			for range 1 + rnd.IntN(3) {
				results[i] = append(results[i], ok)
				words = append(words, map[bool]string{true: "0", false: "1"}[ok])
			}
		}
		for range max(p.rise, p.fall) {
			results[i] = append(results[i], results[i][len(results[i])-1])
		}
		put(t, fmt.Sprintf("%s/results%d", dir, i), strings.Join(words, " "))
		conf += fmt.Sprintf("vrrp_script s%d {\n  script \"%s %d\"\n  interval 1\n  timeout 5\n  weight %d\n  rise %d\n  fall %d\n}\n",
			i, player, i, 1<<i, p.rise, p.fall)
		tracked += fmt.Sprintf("    s%d\n", i)
	}
	conf += "vrrp_instance VI_1 {\n  interface eth0\n  virtual_router_id 5\n  priority 100\n" +
		"  virtual_ipaddress { 10.77.0.100/24 }\n  notify_priority_changes on\n  track_script {\n" + tracked + "  }\n}\n"
	put(t, dir+"/k.conf", conf)

	if err := unix.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	fifo, err := os.OpenFile(dir+"/fifo", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer fifo.Close()
	cmd := exec.Command("ip", "netns", "exec", netns, "keepalived", "-n", "-l", "-P", "-G",
		"-f", dir+"/k.conf", "-p", dir+"/p", "-r", dir+"/r", "-c", dir+"/c")
	log, err := os.Create(dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Signal(unix.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			b, _ := os.ReadFile(dir + "/log")
			t.Logf("%s", b)
		}
	}()

	priorities := make(chan int, 10000)
	go func() {
		for in := bufio.NewScanner(fifo); in.Scan(); {
			var kind, name, state string
			var p int
			if _, err := fmt.Sscan(in.Text(), &kind, &name, &state, &p); err == nil && strings.HasSuffix(state, "_PRIORITY") {
				priorities <- p
			}
		}
	}()
	want := make([]string, len(scripts))
	for i, p := range scripts {
		s := NewScript(p.rise, p.fall, false)
		for k, ok := range results[i] {
			switch s.Result(ok) {
			case None:
			case Up:
				want[i] += "u"
			case Down:
				if k > 0 { // a script that begins down changes no priority
					want[i] += "d"
				}
			}
		}
	}
	got, mask := make([]string, len(scripts)), 0
	timeout := time.After(3 * patience)
	for complete := false; !complete; {
		select {
		case p := <-priorities:
			for i := range scripts {
				if (p-100)>>i&1 != mask>>i&1 {
					got[i] += map[int]string{0: "d", 1: "u"}[(p-100)>>i&1]
				}
			}
			mask = p - 100
		case <-timeout:
			complete = true
		}
		complete = complete || cmp.Equal(got, want)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("transitions (-machine +keepalived):\n%s", d)
	}
}
