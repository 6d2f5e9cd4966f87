package translate

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/keepmesh/keepmesh/netif"
	"github.com/keepmesh/keepmesh/vrrp"
)

func cmpAddr(a, b netip.Addr) bool { return a == b }

// TestVirtualInterfacesAreNamedAndUsedAsByKeepalived holds what keepalived
// 2.2.7 made of the same instances.
func TestVirtualInterfacesAreNamedAndUsedAsByKeepalived(t *testing.T) {
	got, _ := VRRP(load(t, `
vrrp_instance A {
  interface eth0
  virtual_router_id 51
  use_vmac
  virtual_ipaddress {
    10.9.0.100
    10.9.0.101 dev eth0
    10.9.1.100 dev eth1
  }
}
vrrp_instance B {
  interface eth0
  virtual_router_id 51
  use_vmac
  virtual_ipaddress { fe80::100 }
}
vrrp_instance C {
  interface eth0
  virtual_router_id 53
  use_vmac my.53 00:11:22:33:44:55
  vmac_xmit_base
  virtual_ipaddress { 10.9.0.105 }
}
vrrp_instance D {
  interface eth0
  virtual_router_id 54
  virtual_ipaddress {
    10.9.0.106 use_vmac
    10.9.0.107 dev eth1 use_vmac
    10.9.0.108
  }
}
`), nil)
	type shape struct {
		Sends    string
		Virtuals []netif.Virtual
		VIPs     []string
	}
	var shapes []shape
	for n, i := range got.Instances {
		s := shape{Sends: got.Router.Instances[n].Key.Interface, Virtuals: i.Virtuals}
		for _, a := range i.VIPs {
			s.VIPs = append(s.VIPs, a.Dev)
		}
		shapes = append(shapes, s)
		if i.Base != "eth0" {
			t.Errorf("instance %d stands on %q", n, i.Base)
		}
		for _, v := range i.Virtuals {
			if !hasTracker(&got.Router.Instances[n], "vmac:"+v.Name) {
				t.Errorf("instance %d does not depend on %s", n, v)
			}
		}
	}
	on := func(name, parent string, mac netif.MAC, v6 bool) netif.Virtual {
		return netif.Virtual{Name: name, Parent: parent, Kind: netif.MACVLAN, MAC: mac, V6: v6}
	}
	want := []shape{
		{"vrrp.51", []netif.Virtual{on("vrrp.51", "eth0", netif.VirtualMAC(51, false), false)}, []string{"vrrp.51", "vrrp.51", "eth1"}},
		{"vrrp6.51", []netif.Virtual{on("vrrp6.51", "eth0", netif.VirtualMAC(51, true), true)}, []string{"vrrp6.51"}},
		{"eth0", []netif.Virtual{on("my.53", "eth0", netif.MAC{0, 0x11, 0x22, 0x33, 0x44, 0x55}, false)}, []string{"my.53"}},
		{"eth0", []netif.Virtual{
			on("vrrp.54", "eth0", netif.VirtualMAC(54, false), false), on("vrrp1.54", "eth1", netif.VirtualMAC(54, false), false),
		}, []string{"vrrp.54", "vrrp1.54", "eth0"}},
	}
	if diff := cmp.Diff(want, shapes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func hasTracker(i *vrrp.InstanceConfig, id string) bool {
	for _, tr := range i.Trackers {
		if string(tr.ID) == id {
			return true
		}
	}
	return false
}

func TestRulesAndRoutesKeepEveryWord(t *testing.T) {
	got, notes := VRRP(load(t, `
vrrp_instance A {
  interface eth0
  virtual_router_id 51
  virtual_ipaddress { 10.9.0.100 }
  virtual_rules {
    from 10.9.0.1 ipproto tcp sport 1000-2000 dport 80-80 table 100 priority 5
    from 10.9.0.2 uidrange 5-9 fwmark 8/15 tunnel-id 77 suppress_ifgroup 4 table 100 priority 6
    from 10.9.0.3 realms 1/2 goto 600 priority 7
  }
  virtual_routes {
    192.168.0.0/24 via 10.9.0.1 mtu lock 1400 initcwnd 20 rtt 10ms congctl cubic
    fd05::/64 via fd00::1 pref high
  }
}
`), nil)
	if len(notes) != 0 || len(got.Instances) != 1 {
		t.Fatalf("notes %v", notes)
	}
	from := func(s string) netip.Prefix { return netip.MustParsePrefix(s + "/32") }
	wantRules := []netif.Rule{
		{From: from("10.9.0.1"), Table: 100, Priority: 5, Selector: netif.Selector{IPProto: 6, SPort: [2]uint16{1000, 2000}, DPort: [2]uint16{80, 80}}},
		{From: from("10.9.0.2"), Table: 100, Priority: 6, Mark: 8, Mask: 15, Selector: netif.Selector{
			UIDs: [2]uint32{5, 9}, HasUIDs: true, TunnelID: 77, Suppress: netif.SuppressIfs{Group: 4, Set: true}}},
		{From: from("10.9.0.3"), Priority: 7, Action: unix.FR_ACT_GOTO, Goto: 600, Selector: netif.Selector{Realms: 1<<16 | 2}},
	}
	if diff := cmp.Diff(wantRules, got.Instances[0].Rules, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	wantRoutes := []netif.Route{
		{Dst: netip.MustParsePrefix("192.168.0.0/24"), Via: netip.MustParseAddr("10.9.0.1"), Type: unix.RTN_UNICAST, CongCtl: "cubic", Metrics: []netif.Metric{
			{Kind: unix.RTAX_MTU, Value: 1400, Locked: true}, {Kind: unix.RTAX_RTT, Value: 80}, {Kind: unix.RTAX_INITCWND, Value: 20}}},
		{Dst: netip.MustParsePrefix("fd05::/64"), Via: netip.MustParseAddr("fd00::1"), V6: true, Type: unix.RTN_UNICAST, Pref: netif.PrefHigh},
	}
	if diff := cmp.Diff(wantRoutes, got.Instances[0].Routes, cmp.Comparer(cmpAddr), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}
