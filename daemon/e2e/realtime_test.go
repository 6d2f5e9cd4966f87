package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keepmesh/keepmesh/lab"
)

const realtimeConf = `
global_defs {
    vrrp_rt_priority 40
    vrrp_rlimit_rttime 20000000
    vrrp_no_swap
}
vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    priority 255
    virtual_ipaddress {
        10.0.0.100/24
    }
}
`

// Every thread of the vrrp process runs under SCHED_RR, the loop's above the
// runtime's others, and no other process does. Memory is locked as it is
// touched, not as it is reserved.
func TestRealTimePriorityOfEveryThread(t *testing.T) {
	t.Parallel()
	lab.Require(t, lab.Root, lab.RealTime)
	w := newWorld(t)
	h := w.host("n1", "eth0", "10.0.0.1/24")
	w.keepmesh(h, realtimeConf)
	w.holds("10.0.0.100", "n1")
	policies := func(pidFile string) []string {
		res := w.run(h, "sh", "-c", fmt.Sprintf(
			`for t in /proc/$(cat %s)/task/*; do cut -d ' ' -f 40,41 $t/stat; done`, pidFile))
		return strings.Split(strings.TrimSpace(res.Stdout), "\n")
	}
	vrrp := policies("/run/keepalived/vrrp.pid")
	above := 0
	for _, p := range vrrp {
		switch p {
		case "40 2":
		case "42 2":
			above++
		default:
			t.Errorf("a thread of the vrrp process has priority and policy %q, want 40 or 42 under SCHED_RR (2)", p)
		}
	}
	if above != 1 || len(vrrp) < 3 {
		t.Errorf("%d of %d threads stand above the others, want the loop's alone: %v", above, len(vrrp), vrrp)
	}
	for _, p := range append(policies("/run/keepalived/checkers.pid"), policies("/run/keepalived/keepalived.pid")...) {
		if p != "0 0" {
			t.Errorf("a thread of another process has priority and policy %q", p)
		}
	}
	limits := w.run(h, "sh", "-c", "cat /proc/$(cat /run/keepalived/vrrp.pid)/limits /proc/$(cat /run/keepalived/vrrp.pid)/smaps | grep -E 'realtime timeout|VmFlags: .* lo( |$)' | sort | uniq -c")
	if !strings.Contains(limits.Stdout, "20000000") || !strings.Contains(limits.Stdout, " lo") {
		t.Errorf("run-time limit and locked memory are not there:\n%s", limits.Stdout)
	}
}
