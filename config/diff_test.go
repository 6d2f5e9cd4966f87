package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const diffBefore = `
vrrp_script chk { 
    script "/bin/true"
    interval 1
}
vrrp_instance A {
    interface eth0
    virtual_router_id 1
    priority 100
    virtual_ipaddress { 10.0.0.1/24
        10.0.0.2/24 }
    track_script { chk }
}
vrrp_instance B { interface eth0
    virtual_router_id 2
    virtual_ipaddress { 10.0.0.9/24 } }
virtual_server 10.0.0.1 80 {
    lvs_sched rr
    lvs_method NAT
    protocol TCP
    real_server 10.1.0.1 80 { TCP_CHECK { connect_timeout 3 } }
}
`

func diffLines(t *testing.T, before, after string) string {
	t.Helper()
	a, _ := Load(bundleOf(before), Options{NodeID: "x"})
	b, _ := Load(bundleOf(after), Options{NodeID: "x"})
	var out strings.Builder
	for _, c := range Diff(a, b) {
		fmt.Fprintln(&out, c)
	}
	return out.String()
}

func TestDiffTellsBlocksAndKeywords(t *testing.T) {
	after := strings.NewReplacer(
		"priority 100", "priority 90", "10.0.0.2/24", "10.0.0.3/24", "interval 1", "interval 2",
		"vrrp_instance B", "vrrp_instance C", "connect_timeout 3", "connect_timeout 4", "protocol TCP", "protocol TCP\n sorry_server 10.1.0.9 80",
	).Replace(diffBefore)
	want := `~ vrrp_script chk: interval 1 -> 2
~ vrrp_script chk: timeout 1 -> 2
~ vrrp_instance A: priority 100 -> 90
- vrrp_instance A: virtual_ipaddress 10.0.0.2/24
+ vrrp_instance A: virtual_ipaddress 10.0.0.3/24
- vrrp_instance B
~ virtual_server 10.0.0.1 80 > real_server 10.1.0.1 80 > TCP_CHECK: connect_timeout 3 -> 4
+ virtual_server 10.0.0.1 80: sorry_server 10.1.0.9 80
+ vrrp_instance C
`
	if diff := cmp.Diff(want, diffLines(t, diffBefore, after)); diff != "" {
		t.Error(diff)
	}
}

func TestDiffIgnoresLayoutDefaultsAndTheOrderOfBlocks(t *testing.T) {
	a, b, _ := strings.Cut(diffBefore, "vrrp_instance B")
	after := "# again\nvrrp_instance B" + b + strings.Replace(a, "interval 1", "interval 1.0\nrise 1 # the default", 1)
	if got := diffLines(t, diffBefore, after); got != "" {
		t.Errorf("differences:\n%s", got)
	}
	for name, text := range everyText(t) {
		formatted, err := Format(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := diffLines(t, text, formatted); got != "" {
			t.Errorf("%s differs from itself:\n%s", name, got)
		}
	}
}

func TestDiffNamesAnotherOrderOfAddresses(t *testing.T) {
	after := strings.Replace(diffBefore, "10.0.0.1/24\n        10.0.0.2/24", "10.0.0.2/24\n        10.0.0.1/24", 1)
	want := "~ vrrp_instance A: virtual_ipaddress (10.0.0.1/24, 10.0.0.2/24) -> (10.0.0.2/24, 10.0.0.1/24)\n"
	if diff := cmp.Diff(want, diffLines(t, diffBefore, after)); diff != "" {
		t.Error(diff)
	}
}
