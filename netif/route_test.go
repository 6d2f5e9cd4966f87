package netif

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// ourRoutes returns what `ip -d route` shows of protocol keepalived.
func ourRoutes(t *testing.T, family string) []string {
	t.Helper()
	var out []string
	for _, line := range strings.Split(ip(t, "-d "+family+" route show table all"), "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "nexthop") && len(out) > 0 {
			out[len(out)-1] += " " + line
			continue
		}
		if strings.Contains(line, "proto keepalived") {
			out = append(out, line)
		}
	}
	slices.Sort(out)
	return out
}

func TestRoutesFollowAddresses(t *testing.T) {
	newLAN(t)
	k := newKernel(t)
	ip(t, "link add eth1 type veth peer name eth2")
	ip(t, "link set eth1 up")
	ip(t, "link set eth2 up")
	vips := []Address{VIP(prefix("202.102.152.3/24"), "eth0"), VIP(prefix("10.210.214.113/24"), "eth0"), VIP(prefix("192.168.1.10/24"), "eth1")}
	routes := []Route{
		{Via: addr("202.102.152.1")},
		{Dst: prefix("172.16.0.0/12"), Via: addr("10.210.214.1")},
		{Dst: prefix("192.168.2.0/24"), Via: addr("192.168.1.1"), Dev: "eth1"},
		{Dst: prefix("192.168.3.0/24"), Via: addr("10.210.214.1"), Src: addr("10.210.214.113"), Metric: 50, Table: 100},
		{Dst: prefix("192.168.4.0/24"), Via: addr("10.20.0.1"), Dev: "eth0", OnLink: true},
	}
	for i, err := range k.AddRoutes(routes[:4]) {
		if !errors.Is(err, unix.ENETUNREACH) && !errors.Is(err, unix.EINVAL) {
			t.Errorf("route %s before its address: %v, want a refusal", routes[i], err)
		}
	}
	noErrors(t, k.AddAddresses(vips))
	noErrors(t, k.AddRoutes(routes))
	noErrors(t, k.AddRoutes(routes)) // adopted
	want := []string{
		"unicast 172.16.0.0/12 via 10.210.214.1 dev eth0 table main proto keepalived scope global",
		"unicast 192.168.2.0/24 via 192.168.1.1 dev eth1 table main proto keepalived scope global",
		"unicast 192.168.3.0/24 via 10.210.214.1 dev eth0 table 100 proto keepalived scope global src 10.210.214.113 metric 50",
		"unicast 192.168.4.0/24 via 10.20.0.1 dev eth0 table main proto keepalived scope global onlink",
		"unicast default via 202.102.152.1 dev eth0 table main proto keepalived scope global",
	}
	if diff := cmp.Diff(want, ourRoutes(t, "-4")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	noErrors(t, k.DelRoutes(routes))
	noErrors(t, k.DelAddresses(vips))
	noErrors(t, k.DelRoutes(routes)) // absent
	if got := ourRoutes(t, "-4"); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

func TestOurDefaultRouteStandsInFrontAndLeavesTheHostsOwn(t *testing.T) {
	newLAN(t)
	k := newKernel(t)
	ip(t, "addr add 10.1.0.5/24 dev eth0")
	ip(t, "route add default via 10.1.0.1 metric 5")
	ours := []Route{{Dst: prefix("0.0.0.0/0"), Via: addr("10.1.0.2"), Metric: 5}}
	noErrors(t, k.AddRoutes(ours))
	if got := ip(t, "route get 8.8.8.8"); !strings.Contains(got, "via 10.1.0.2") {
		t.Errorf("with our route: %s", got)
	}
	noErrors(t, k.DelRoutes(ours))
	noErrors(t, k.DelRoutes([]Route{{Via: addr("10.1.0.1"), Metric: 5}})) // of another protocol: not ours
	if got := ip(t, "route get 8.8.8.8"); !strings.Contains(got, "via 10.1.0.1") {
		t.Errorf("without our route: %s", got)
	}
}

func TestRoutesOfAnInterfaceThatIsGone(t *testing.T) {
	newLAN(t)
	k := newKernel(t)
	r := []Route{{Dst: prefix("10.7.0.0/16"), Dev: "absent0"}}
	if err := k.AddRoutes(r)[0]; !errors.Is(err, unix.ENODEV) {
		t.Errorf("adding: %v, want ENODEV", err)
	}
	noErrors(t, k.DelRoutes(r))
}

func TestAGatewayOfTheOtherFamily(t *testing.T) {
	newLAN(t)
	k := newKernel(t)
	noErrors(t, k.AddAddresses([]Address{VIP(prefix("fd00::1/64"), "eth0"), VIP(prefix("10.1.0.1/32"), "eth0")}))
	r := []Route{{Dst: prefix("10.7.0.0/16"), Via: addr("fd00::9"), Dev: "eth0"}}
	noErrors(t, k.AddRoutes(r))
	want := []string{"unicast 10.7.0.0/16 via inet6 fd00::9 dev eth0 table main proto keepalived scope global"}
	if diff := cmp.Diff(want, ourRoutes(t, "-4")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	noErrors(t, k.DelRoutes(r))
	if got := ourRoutes(t, "-4"); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

func TestRulesAreIdempotent(t *testing.T) {
	newLAN(t)
	k := newKernel(t)
	before := ip(t, "-d rule")
	rules := []Rule{
		{From: prefix("10.9.0.100/32"), Table: 1000, Priority: 500},
		{IIF: "later0", Table: 100, Priority: 501},
		{V6: true, Mark: 5, Table: 101, Priority: 502},
		{Table: unix.RT_TABLE_MAIN, Priority: 503, HasSuppressPrefix: true},
	}
	noErrors(t, k.AddRules(rules))
	noErrors(t, k.AddRules(rules))
	want := []string{
		"500: from 10.9.0.100 lookup 1000 proto keepalived",
		"501: from all iif later0 [detached] lookup 100 proto keepalived",
		"503: from all lookup main suppress_prefixlength 0 proto keepalived",
	}
	if diff := cmp.Diff(want, ourRules(t, "")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"502: from all fwmark 0x5 lookup 101 proto keepalived"}, ourRules(t, "-6")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	noErrors(t, k.DelRules(rules))
	noErrors(t, k.DelRules(rules))
	if diff := cmp.Diff(before, ip(t, "-d rule")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// ourRules returns what `ip -d rule` shows of protocol keepalived.
func ourRules(t *testing.T, family string) []string {
	t.Helper()
	var out []string
	for _, line := range strings.Split(ip(t, "-d "+family+" rule"), "\n") {
		if strings.Contains(line, "proto keepalived") {
			out = append(out, strings.Join(strings.Fields(line), " "))
		}
	}
	return out
}

func TestGatewayAndNeighboursToProbe(t *testing.T) {
	newLAN(t)
	k := newKernel(t)
	if gw, ok := k.Gateway("eth0"); ok {
		t.Errorf("gateway %v without a route", gw)
	}
	ip(t, "addr add 10.1.0.5/24 dev eth0")
	ip(t, "route add default via 10.1.0.1 metric 9")
	ip(t, "route add default via 10.1.0.2 metric 5")
	ip(t, "route add 10.9.0.0/16 via 10.1.0.3")
	for _, n := range []string{"10.1.0.11 nud stale", "10.1.0.12 nud reachable", "10.1.0.2 nud stale", "10.1.0.13 nud permanent", "10.1.0.14 nud failed"} {
		ip(t, "neigh add "+strings.Replace(n, " nud", " lladdr 02:00:00:00:00:99 dev eth0 nud", 1))
	}
	got, err := k.Neighbours("eth0")
	if err != nil {
		t.Fatal(err)
	}
	want := []netip.Addr{addr("10.1.0.2"), addr("10.1.0.12"), addr("10.1.0.11"), addr("10.1.0.13")}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if gw, ok := k.Gateway("eth0"); !ok || gw != addr("10.1.0.2") {
		t.Errorf("gateway %v %v, want that of the lowest metric", gw, ok)
	}
	if _, ok := k.Gateway("absent0"); ok {
		t.Error("gateway through an interface that does not exist")
	}
	if _, err := k.Neighbours("absent0"); !errors.Is(err, unix.ENODEV) {
		t.Errorf("neighbours of no interface: %v", err)
	}
}
