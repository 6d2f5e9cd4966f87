package packet

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// requireTool skips where the machine lacks a program, and fails where every
// ability is required.
func requireTool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("HA_REQUIRE") == "all" {
		t.Fatalf("%s is required: install it", name)
	}
	t.Skipf("%s is not installed", name)
	return ""
}

// capture writes datagrams as a pcap file of raw IP packets.
func capture(t *testing.T, datagrams [][]byte) string {
	t.Helper()
	const linkTypeRaw = 101
	file := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	file = binary.LittleEndian.AppendUint16(file, 2)
	file = binary.LittleEndian.AppendUint16(file, 4)
	for _, v := range []uint32{0, 0, 65535, linkTypeRaw} {
		file = binary.LittleEndian.AppendUint32(file, v)
	}
	for n, d := range datagrams {
		for _, v := range []uint32{uint32(n), 0, uint32(len(d)), uint32(len(d))} {
			file = binary.LittleEndian.AppendUint32(file, v)
		}
		file = append(file, d...)
	}
	name := filepath.Join(t.TempDir(), "adverts.pcap")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestTsharkCallsEveryChecksumGood(t *testing.T) {
	tshark := requireTool(t, "tshark")
	six := Spec{
		Family: FamilyIPv6, Version: 3, VRID: 9, Interval: time.Second,
		Addresses: []netip.Addr{netip.MustParseAddr("fe80::100"), netip.MustParseAddr("2001:db8::1")},
		Source:    netip.MustParseAddr("fe80::1"), Destination: netip.MustParseAddr("ff02::12"),
	}
	unicast, moved := specV3(), specV3()
	unicast.Destination = netip.MustParseAddr("192.0.2.2")
	bare := specV2()
	bare.AuthType, bare.Addresses = AuthNone, nil
	var datagrams [][]byte
	var want []string
	for _, s := range []Spec{specV2(), specV3(), six, unicast, bare, moved} {
		e, err := NewEncoder(s)
		if err != nil {
			t.Fatal(err)
		}
		if len(datagrams) > 12 {
			e.SetSource(netip.MustParseAddr("198.51.100.77"))
		}
		for _, priority := range []uint8{0, 100, 255} {
			d := append([]byte(nil), e.Encode(priority)...)
			if s.Family == FamilyIPv6 {
				d = append(ipv6Header(s, len(d)), d...)
			}
			datagrams = append(datagrams, d)
			want = append(want, fmt.Sprintf("%d\t%d\t%d\t1", s.Version, s.VRID, priority))
		}
	}
	out, err := exec.Command(tshark, "-n", "-r", capture(t, datagrams), "-Y", "vrrp", "-T", "fields",
		"-e", "vrrp.version", "-e", "vrrp.virt_rtr_id", "-e", "vrrp.prio", "-e", "vrrp.checksum.status").Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tshark reads (-want +got):\n%s", diff)
	}
}

func ipv6Header(s Spec, length int) []byte {
	h := []byte{0x6c, 0, 0, 0, 0, byte(length), ProtocolVRRP, 255}
	src, dst := s.Source.As16(), s.Destination.As16()
	return append(append(h, src[:]...), dst[:]...)
}
