package netif

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// requireKind fails or skips where the kernel cannot make such an interface.
func requireKind(t *testing.T, kind string) {
	t.Helper()
	out, err := exec.Command("ip", "link", "add", "try0", "link", "eth0", "type", kind).CombinedOutput()
	if err != nil {
		require(t, "needs "+kind+" in the kernel", errors.New(string(out)))
	}
	ip(t, "link del try0")
}

var vmac4 = Virtual{Name: "vrrp.51", Parent: "eth0", Kind: MACVLAN, MAC: VirtualMAC(51, false)}
var vmac6 = Virtual{Name: "vrrp6.51", Parent: "eth0", Kind: MACVLAN, MAC: VirtualMAC(51, true), V6: true}

// strictLAN is a lan with an address and a strict reverse path filter.
func strictLAN(t *testing.T) *lan {
	l := twoInterfaces(t)
	requireKind(t, MACVLAN)
	for name, value := range map[string]string{"all": "1", "default": "0", "eth0": "0", "eth1": "2"} {
		if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+name+"/rp_filter", []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// sysctls are the settings of all interfaces, except of IPv6 those that a
// kernel derives from the time.
func sysctls(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, family := range []string{"ipv4", "ipv6"} {
		files, err := filepath.Glob("/proc/sys/net/" + family + "/conf/*/*")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil && !strings.HasSuffix(f, "/stable_secret") {
				out[strings.TrimPrefix(f, "/proc/sys/net/")] = strings.TrimSpace(string(b))
			}
		}
	}
	return out
}

// virtualState is what a person sees of virtual interfaces and their tables.
func virtualState(t *testing.T) map[string]any {
	t.Helper()
	noise := regexp.MustCompile(`(?m)( state [A-Z]+)|(link-netns\S* \S+)|(^\d+: eth2.*\n.*\n.*)| flags owner|# progname.*|\n\s*\n`)
	return map[string]any{
		"links":   noise.ReplaceAllString(ip(t, "-d link show type macvlan"), ""),
		"sysctls": sysctls(t),
		"tables":  ruleset(t),
		"vrrp.51": inetLines(t, "vrrp.51"), "vrrp6.51": inetLines(t, "vrrp6.51"),
	}
}

// ruleset is nft's list, without the words about the owner of a table, without
// the order of the objects in a table.
func ruleset(t *testing.T) []string {
	t.Helper()
	requireProgram(t, "nft")
	out, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
	if err != nil {
		require(t, "needs nf_tables in the kernel", errors.New(string(out)))
	}
	var parts []string
	table, part := "", ""
	for line := range strings.Lines(string(out)) {
		line = strings.TrimRight(line, "\n")
		if i := strings.Index(line, " # progname"); i >= 0 {
			line = line[:i]
		}
		switch {
		case strings.HasPrefix(line, "table"):
			table = line
		case strings.TrimSpace(line) == "flags owner", line == "}", line == "":
		default:
			part += line + "\n"
			if line == "\t}" {
				parts = append(parts, table+part)
				part = ""
			}
		}
	}
	slices.Sort(parts)
	return parts
}

func newFirewall(t *testing.T) *Firewall {
	t.Helper()
	f, err := NewFirewall("keepalived", -1, testLog(t))
	require(t, "needs nf_tables in the kernel", err)
	return f
}

// TestVirtualInterfacesLookAsUnderKeepalived compares interfaces, addresses,
// settings and nftables of two virtual routers that hold, with keepalived's.
func TestVirtualInterfacesLookAsUnderKeepalived(t *testing.T) {
	requireProgram(t, "keepalived")
	vips := []Address{VIP(prefix("10.9.0.100/32"), "vrrp.51"), VIP(prefix("fe80::100/128"), "vrrp6.51"), VIP(prefix("fd00::100/64"), "vrrp6.51")}
	lent := VIP(prefix("fe80::ff:fe00:1/64"), "vrrp6.51")
	lent.Deprecated = true

	strictLAN(t)
	before := sysctls(t)
	k, f, s := newKernel(t), newFirewall(t), NewSysctls(testLog(t))
	for _, v := range []Virtual{vmac4, vmac6} {
		if err := k.AddVirtual(v, s); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(f.Set([]Virtual{vmac4, vmac6}, true, true), f.Block(vips)); err != nil {
		t.Fatal(err)
	}
	noErrors(t, k.AddAddresses(append([]Address{lent}, vips...)))
	ours := virtualState(t)
	for _, v := range []Virtual{vmac4, vmac6} {
		if there, err := k.DelVirtual(v); !there || err != nil {
			t.Errorf("removing %s: %v, %v", v, there, err)
		}
	}
	if err := errors.Join(s.Restore(), f.Close()); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(before, sysctls(t)); diff != "" {
		t.Errorf("settings left behind (-before +after):\n%s", diff)
	}
	if left := ruleset(t); len(left) != 0 {
		t.Errorf("tables left behind: %v", left)
	}

	theirs := strictLAN(t)
	defer theirs.keepalived(`vrrp_instance V {
  state MASTER
  interface eth0
  virtual_router_id 51
  priority 150
  version 3
  advert_int 0.1
  use_vmac
  no_accept
  garp_master_delay 60
  virtual_ipaddress { 10.9.0.100 }
}
vrrp_instance V6 {
  state MASTER
  interface eth0
  virtual_router_id 51
  priority 150
  version 3
  advert_int 0.1
  use_vmac
  no_accept
  garp_master_delay 60
  virtual_ipaddress {
    fe80::100
    fd00::100/64
  }
}
`)(syscall.SIGKILL)
	eventually(t, "keepalived's addresses", func() bool {
		out, err := exec.Command("ip", "addr", "show", "dev", "vrrp6.51").CombinedOutput()
		return err == nil && strings.Contains(string(out), "fd00::100/64") && strings.Contains(ip(t, "addr"), "10.9.0.100")
	})
	if diff := cmp.Diff(virtualState(t), ours); diff != "" {
		t.Errorf("(-keepalived +ours):\n%s", diff)
	}
}

func TestAVirtualInterfaceOfADeadRunIsAdoptedAndPurged(t *testing.T) {
	newLAN(t)
	requireKind(t, MACVLAN)
	k, s := newKernel(t), NewSysctls(testLog(t))
	if err := errors.Join(k.AddVirtual(vmac4, s), k.AddVirtual(vmac4, s)); err != nil {
		t.Fatal(err)
	}
	vip := VIP(prefix("10.9.0.100/32"), "vrrp.51")
	noErrors(t, k.AddAddresses([]Address{vip}))
	if n, err := k.Purge([]Address{vip, VIP(prefix("10.9.0.101/32"), "eth0")}, nil); n != 2 || err != nil {
		t.Errorf("purged %d, %v; want the address and its interface", n, err)
	}
	if links := ip(t, "link"); strings.Contains(links, "vrrp.51") || !strings.Contains(links, "eth0") {
		t.Errorf("after the purge:\n%s", links)
	}
}

func TestAForeignInterfaceOfTheNameIsNeitherTakenNorRemoved(t *testing.T) {
	newLAN(t)
	requireKind(t, MACVLAN)
	ip(t, "link add vrrp.51 link eth0 type macvlan mode bridge")
	k := newKernel(t)
	if err := k.AddVirtual(vmac4, NewSysctls(testLog(t))); !errors.Is(err, unix.EEXIST) {
		t.Errorf("got %v, want EEXIST", err)
	}
	there, err := k.DelVirtual(vmac4)
	_, purgeErr := k.Purge([]Address{VIP(prefix("10.9.0.100/32"), "vrrp.51")}, nil)
	if there || err != nil || purgeErr != nil || !strings.Contains(ip(t, "link"), "vrrp.51") {
		t.Errorf("a foreign interface was removed: %v, %v, %v", there, err, purgeErr)
	}
}

func TestAKernelWithoutTheKindSaysSo(t *testing.T) {
	newLAN(t)
	v := Virtual{Name: "vrrp.51", Parent: "eth0", Kind: IPVLAN}
	k := newKernel(t)
	err := k.AddVirtual(v, NewSysctls(testLog(t)))
	if err == nil {
		if !strings.Contains(ip(t, "-d link show dev vrrp.51"), "ipvlan") {
			t.Errorf("made something else:\n%s", ip(t, "-d link"))
		}
		if there, err := k.DelVirtual(v); !there || err != nil {
			t.Errorf("removing: %v, %v", there, err)
		}
		return
	}
	if !errors.Is(err, unix.EOPNOTSUPP) || !strings.Contains(err.Error(), "modprobe ipvlan") {
		t.Errorf("got %v, want what is missing and what to do", err)
	}
}

// TestABlockedAddressAnswersNothing sends to it from the other side.
func TestABlockedAddressAnswersNothing(t *testing.T) {
	l := newLAN(t)
	ruleset(t)
	k, f := newKernel(t), newFirewall(t)
	defer f.Close()
	vips := []Address{VIP(prefix("10.9.0.100/24"), "eth0"), VIP(prefix("fd00::100/64"), "eth0")}
	noErrors(t, k.AddAddresses(vips))
	l.atPeer(func() {
		ip(t, "addr add 10.9.0.2/24 dev peer0")
		ip(t, "addr add fd00::2/64 dev peer0 nodad")
	})
	answers := func(vip netip.Addr) (ok bool) {
		l.atPeer(func() { ok = exec.Command("ping", "-c", "1", "-W", "1", vip.String()).Run() == nil })
		return ok
	}
	if err := errors.Join(f.Set(nil, true, true), f.Block(vips), f.Block(vips[:1]), f.Unblock(vips[:1])); err != nil {
		t.Fatal(err)
	}
	for _, v := range vips {
		if answers(v.Prefix.Addr()) {
			t.Errorf("%s is blocked and answers", v)
		}
	}
	if err := f.Unblock(vips); err != nil {
		t.Fatal(err)
	}
	for _, v := range vips {
		if !answers(v.Prefix.Addr()) {
			t.Errorf("%s is not blocked and does not answer", v)
		}
	}
}
