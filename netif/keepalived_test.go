package netif

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// reference is one line of a keepalived configuration and what we make of it.
type reference[T any] struct {
	line string
	ours T
}

var referenceVIPs = []reference[Address]{
	{"10.9.0.100", VIP(prefix("10.9.0.100/32"), "eth0")},
	{"10.9.0.101/24", VIP(prefix("10.9.0.101/24"), "eth0")},
	{"10.9.2.102/24 dev eth1 label eth1:v", Address{Prefix: prefix("10.9.2.102/24"), Dev: "eth1", Label: "eth1:v"}},
	{"10.9.0.103/24 brd +", Address{Prefix: prefix("10.9.0.103/24"), Dev: "eth0", Broadcast: BroadcastOf(prefix("10.9.0.103/24"))}},
	{"10.9.3.104/24 brd 10.9.3.200 scope link", Address{Prefix: prefix("10.9.3.104/24"), Dev: "eth0", Broadcast: addr("10.9.3.200"), Scope: unix.RT_SCOPE_LINK}},
	{"10.9.0.105/32 scope site dev eth0 label eth0:5", Address{Prefix: prefix("10.9.0.105/32"), Dev: "eth0", Label: "eth0:5", Scope: unix.RT_SCOPE_SITE}},
	{"10.9.0.106/24 brd -", Address{Prefix: prefix("10.9.0.106/24"), Dev: "eth0", Broadcast: addr("10.9.0.0")}},
	{"10.9.1.1/24 noprefixroute", Address{Prefix: prefix("10.9.1.1/24"), Dev: "eth0", Flags: unix.IFA_F_NOPREFIXROUTE}},
	{"10.9.4.1 peer 10.9.4.2", Address{Prefix: prefix("10.9.4.1/32"), Dev: "eth0", Peer: prefix("10.9.4.2/32")}},
	{"fd00::10", VIP(prefix("fd00::10/128"), "eth0")},
	{"fd00::11/64", VIP(prefix("fd00::11/64"), "eth0")},
	{"fd00:2::12/64 dev eth1", VIP(prefix("fd00:2::12/64"), "eth1")},
	{"fd00::13/64 -nodad", Address{Prefix: prefix("fd00::13/64"), Dev: "eth0"}},
	{"fd00::14/64 home", Address{Prefix: prefix("fd00::14/64"), Dev: "eth0", NoDAD: true, Flags: unix.IFA_F_HOMEADDRESS}},
	{"fd00::16/64 preferred_lft 0", Address{Prefix: prefix("fd00::16/64"), Dev: "eth0", NoDAD: true, Deprecated: true}},
	{"fd00::17/128 preferred_lft forever", Address{Prefix: prefix("fd00::17/128"), Dev: "eth0", NoDAD: true}},
}

var referenceRoutes = []reference[Route]{
	{"default via 10.9.0.1", Route{Via: addr("10.9.0.1")}},
	{"172.16.0.0/12 via 10.9.0.1", Route{Dst: prefix("172.16.0.0/12"), Via: addr("10.9.0.1")}},
	{"192.168.1.0/24 via 10.9.2.1 dev eth1", Route{Dst: prefix("192.168.1.0/24"), Via: addr("10.9.2.1"), Dev: "eth1"}},
	{"192.168.2.0/24 dev eth1", Route{Dst: prefix("192.168.2.0/24"), Dev: "eth1"}},
	{"192.168.3.0/24 via 10.9.0.1 src 10.9.0.100 metric 50 table 100",
		Route{Dst: prefix("192.168.3.0/24"), Via: addr("10.9.0.1"), Src: addr("10.9.0.100"), Metric: 50, Table: 100}},
	{"192.168.4.0/24 via 10.20.0.1 dev eth0 onlink", Route{Dst: prefix("192.168.4.0/24"), Via: addr("10.20.0.1"), Dev: "eth0", OnLink: true}},
	{"blackhole 192.168.5.0/24", Route{Dst: prefix("192.168.5.0/24"), Type: unix.RTN_BLACKHOLE}},
	{"unreachable 192.168.6.0/24", Route{Dst: prefix("192.168.6.0/24"), Type: unix.RTN_UNREACHABLE}},
	{"prohibit 192.168.7.0/24", Route{Dst: prefix("192.168.7.0/24"), Type: unix.RTN_PROHIBIT}},
	{"throw 192.168.8.0/24", Route{Dst: prefix("192.168.8.0/24"), Type: unix.RTN_THROW}},
	{"192.168.9.0/24 nexthop via 10.9.0.1 weight 2 nexthop via 10.9.2.2 dev eth1 weight 3",
		Route{Dst: prefix("192.168.9.0/24"), NextHops: []NextHop{{Via: addr("10.9.0.1"), Weight: 2}, {Via: addr("10.9.2.2"), Dev: "eth1", Weight: 3}}}},
	{"192.168.11.0/24 via 10.9.0.1 mtu lock 1400 initcwnd 20", Route{Dst: prefix("192.168.11.0/24"), Via: addr("10.9.0.1"),
		Metrics: []Metric{{Kind: unix.RTAX_MTU, Value: 1400, Locked: true}, {Kind: unix.RTAX_INITCWND, Value: 20}}}},
	{"192.168.12.0/24 dev eth0 scope link src 10.9.0.101",
		Route{Dst: prefix("192.168.12.0/24"), Dev: "eth0", Scope: unix.RT_SCOPE_LINK, Src: addr("10.9.0.101")}},
	{"192.168.14.5 dev eth0 table 1000", Route{Dst: prefix("192.168.14.5/32"), Dev: "eth0", Table: 1000}},
	{"192.168.15.0/24 via 10.9.0.1 tos 16", Route{Dst: prefix("192.168.15.0/24"), Via: addr("10.9.0.1"), TOS: 16}},
	{"fd01::/64 via fd00::1", Route{Dst: prefix("fd01::/64"), Via: addr("fd00::1")}},
	{"fd02::/64 dev eth0 metric 77", Route{Dst: prefix("fd02::/64"), Dev: "eth0", Metric: 77}},
	{"default via fd00::1 dev eth0", Route{Via: addr("fd00::1"), Dev: "eth0"}},
	{"fd05::/64 via fd00::1 pref high", Route{Dst: prefix("fd05::/64"), Via: addr("fd00::1"), Pref: PrefHigh}},
	{"fd07::/64 via fd00::1 pref low", Route{Dst: prefix("fd07::/64"), Via: addr("fd00::1"), Pref: PrefLow}},
	{"blackhole fd03::/64", Route{Dst: prefix("fd03::/64"), Type: unix.RTN_BLACKHOLE}},
	{"fd04::/64 nexthop via fd00::1 nexthop via fd00::2", Route{Dst: prefix("fd04::/64"), NextHops: []NextHop{{Via: addr("fd00::1")}, {Via: addr("fd00::2")}}}},
}

var referenceRules = []reference[Rule]{
	{"from 10.9.0.0/24 to 10.8.0.0/16 table 100 priority 500", Rule{From: prefix("10.9.0.0/24"), To: prefix("10.8.0.0/16"), Table: 100, Priority: 500}},
	{"fwmark 5 table 101 priority 501", Rule{Mark: 5, Table: 101, Priority: 501}},
	{"iif eth0 table 1000 priority 502", Rule{IIF: "eth0", Table: 1000, Priority: 502}},
	{"from fd00::10 table 100 priority 503", Rule{From: prefix("fd00::10/128"), Table: 100, Priority: 503}},
	{"from 10.9.0.101 blackhole priority 504", Rule{From: prefix("10.9.0.101/32"), Action: unix.FR_ACT_BLACKHOLE, Priority: 504}},
	{"not from 10.9.0.102 table 100 priority 505", Rule{Not: true, From: prefix("10.9.0.102/32"), Table: 100, Priority: 505}},
	{"to 10.1.1.1 tos 16 table 100 priority 506", Rule{To: prefix("10.1.1.1/32"), TOS: 16, Table: 100, Priority: 506}},
	{"fwmark 8/15 table 101 priority 507", Rule{Mark: 8, Mask: 15, Table: 101, Priority: 507}},
	{"from 10.9.0.103 ipproto tcp sport 1000-2000 dport 80-81 table 100 priority 509", Rule{From: prefix("10.9.0.103/32"), Table: 100, Priority: 509,
		Selector: Selector{IPProto: 6, SPort: [2]uint16{1000, 2000}, DPort: [2]uint16{80, 81}}}},
	{"from 10.9.0.104 uidrange 5-9 table 100 priority 510", Rule{From: prefix("10.9.0.104/32"), Table: 100, Priority: 510,
		Selector: Selector{UIDs: [2]uint32{5, 9}, HasUIDs: true}}},
	{"from 10.9.0.105 tunnel-id 77 table 100 priority 511", Rule{From: prefix("10.9.0.105/32"), Table: 100, Priority: 511, Selector: Selector{TunnelID: 77}}},
	{"from 10.9.0.106 suppress_ifgroup 4 table 100 priority 512", Rule{From: prefix("10.9.0.106/32"), Table: 100, Priority: 512,
		Selector: Selector{Suppress: SuppressIfs{4, true}}}},
	{"from 10.9.0.103 goto 600 priority 508", Rule{From: prefix("10.9.0.103/32"), Action: unix.FR_ACT_GOTO, Goto: 600, Priority: 508}},
}

func column[T any](refs []reference[T]) (lines string, ours []T) {
	for _, r := range refs {
		lines += "    " + r.line + "\n"
		ours = append(ours, r.ours)
	}
	return lines, ours
}

// twoInterfaces is a lan with a second cable and an address to send from.
func twoInterfaces(t *testing.T) *lan {
	l := newLAN(t)
	ip(t, "link add eth1 address 02:00:00:00:01:01 type veth peer name eth2 address 02:00:00:00:01:02")
	ip(t, "link set eth1 up")
	ip(t, "link set eth2 up")
	l.awaitCarrier("eth1")
	ip(t, "addr add 10.9.0.5/24 dev eth0")
	return l
}

// kernelState is what a person sees of our objects.
func kernelState(t *testing.T) map[string][]string {
	t.Helper()
	return map[string][]string{
		"eth0": inetLines(t, "eth0"), "eth1": inetLines(t, "eth1"),
		"routes": ourRoutes(t, "-4"), "routes6": ourRoutes(t, "-6"),
		"rules": ourRules(t, "-4"), "rules6": ourRules(t, "-6"),
	}
}

// TestTheKernelLooksAsUnderKeepalived runs keepalived as master in one
// namespace, makes the same objects in another, and compares what `ip` shows:
// scope, label, broadcast, flags, lifetimes, protocol, order. Then it removes
// what keepalived left, as after a crash.
func TestTheKernelLooksAsUnderKeepalived(t *testing.T) {
	requireProgram(t, "keepalived")
	vipLines, vips := column(referenceVIPs)
	vips = append([]Address{VIP(prefix("10.9.0.99/32"), "eth0")}, vips...)
	routeLines, routes := column(referenceRoutes)
	ruleLines, rules := column(referenceRules)

	twoInterfaces(t)
	k := newKernel(t)
	noErrors(t, k.AddAddresses(vips))
	noErrors(t, k.AddRoutes(routes))
	noErrors(t, k.AddRules(rules))
	ours := kernelState(t)

	theirs := twoInterfaces(t)
	stop := theirs.keepalived(fmt.Sprintf(`vrrp_instance V {
  state MASTER
  interface eth0
  virtual_router_id 51
  priority 255
  advert_int 1
  garp_master_delay 60
  virtual_ipaddress {
    10.9.0.99
  }
  virtual_ipaddress_excluded { # both families
%s  }
  virtual_routes {
%s  }
  virtual_rules {
%s  }
}
`, vipLines, routeLines, ruleLines))
	eventually(t, "keepalived's last rule", func() bool { return strings.Contains(ip(t, "-d rule"), "508:") })
	if diff := cmp.Diff(kernelState(t), ours); diff != "" {
		t.Errorf("(-keepalived +ours):\n%s", diff)
	}

	stop(syscall.SIGKILL)
	k = newKernel(t)
	noErrors(t, k.AddAddresses(vips)) // adopted
	noErrors(t, k.AddRoutes(routes))
	noErrors(t, k.AddRules(rules))
	if diff := cmp.Diff(ours, kernelState(t)); diff != "" {
		t.Errorf("after adopting what keepalived left (-want +got):\n%s", diff)
	}
	m := newMonitor(t)
	removed, err := k.Purge(vips, routes, rules...)
	if want := len(vips) + len(routes) + len(rules); removed != want || err != nil {
		t.Errorf("purged %d of %d, %v", removed, want, err)
	}
	m.reportsGone(routes, rules)
	if got := inetLines(t, "eth0"); len(got) != 1 {
		t.Errorf("left behind beside the host's address: %v", got)
	}
}

// reportsGone checks that the events about routes and rules match one of these
// each, and that none of these goes unreported.
func (w *watcher) reportsGone(routes []Route, rules []Rule) {
	w.t.Helper()
	events := map[string]int{}
	for _, e := range w.events() {
		matches := 0
		note := func(name string, ok bool) {
			if ok {
				matches++
				events[name]++
			}
		}
		switch e := e.(type) {
		case RouteRemoved:
			for i, r := range routes {
				note(fmt.Sprintf("route %d", i), e.Matches(r))
			}
		case RuleRemoved:
			for i, r := range rules {
				note(fmt.Sprintf("rule %d", i), e.Matches(r))
			}
		default:
			continue
		}
		if matches != 1 {
			w.t.Errorf("%d matches for %+v", matches, e)
		}
	}
	if want := len(routes) + len(rules); len(events) != want {
		w.t.Errorf("reported %d of %d: %v", len(events), want, events)
	}
}

// TestAnnouncementsAreThoseOfKeepalivedOnTheWire compares live frames.
func TestAnnouncementsAreThoseOfKeepalivedOnTheWire(t *testing.T) {
	requireProgram(t, "keepalived")
	l := twoInterfaces(t)
	tp := l.tap("peer0")
	stop := l.keepalived(`vrrp_instance V {
  state MASTER
  interface eth0
  virtual_router_id 51
  priority 255
  garp_master_repeat 1
  garp_master_delay 60
  virtual_ipaddress {
    10.9.0.100
    10.9.0.101/24
  }
  virtual_ipaddress_excluded {
    fd00::10/64
  }
}
`)
	theirs := tp.announcements(3)
	stop(syscall.SIGKILL)
	noErrors(t, newAnnouncer(t).GratuitousARP("eth0", []netip.Addr{addr("10.9.0.100"), addr("10.9.0.101"), addr("fd00::10")}))
	for i, ours := range tp.announcements(3) {
		if !bytes.Equal(theirs[i], ours) {
			t.Errorf("frame %d\nkeepalived %x\n      ours %x", i, theirs[i], ours)
		}
	}
}

// keepalived starts the real one in the namespace of the calling thread, with a
// /run of its own, and returns what ends it.
func (l *lan) keepalived(conf string) (stop func(syscall.Signal)) {
	l.t.Helper()
	file := filepath.Join(l.t.TempDir(), "keepalived.conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		l.t.Fatal(err)
	}
	// A process group, because a killed parent leaves its VRRP process behind.
	cmd := exec.Command("unshare", "-m", "sh", "-c", `mount -t tmpfs none /run && exec keepalived -n -l -D -P -f "$0"`, file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require(l.t, "needs to start keepalived", cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stopped := false
	stop = func(sig syscall.Signal) {
		if stopped {
			return
		}
		stopped = true
		if err := syscall.Kill(-cmd.Process.Pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
			l.t.Error(err)
		}
		<-ended
		if l.t.Failed() {
			l.t.Logf("keepalived said:\n%s", out.String())
		}
	}
	l.t.Cleanup(func() { stop(syscall.SIGKILL) })
	return stop
}
