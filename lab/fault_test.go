package lab

import (
	"errors"
	"net/netip"
	"testing"
	"time"
)

// faultLab is three hosts and the question who reaches whom.
type faultLab struct {
	*Lab
	hosts map[string]*Host
}

func newFaultLab(t *testing.T) faultLab {
	t.Helper()
	Require(t, Nftables)
	f := faultLab{newTestLab(t, Options{Name: "fault"}), map[string]*Host{}}
	for i, name := range []string{"a", "b", "c"} {
		f.hosts[name] = lanHost(t, f.Lab, name, byte(i+1))
	}
	return f
}

var lanAddress = map[string]string{"a": "10.9.0.1", "b": "10.9.0.2", "c": "10.9.0.3"}

// expect checks who reaches whom, written as "ab" for a to b.
func (f faultLab) expect(t *testing.T, when string, want map[string]bool) {
	t.Helper()
	for pair, reachable := range want {
		from, to := f.hosts[pair[:1]], f.hosts[pair[1:]]
		if got := reaches(t, from, to, lanAddress[to.name], reachable); got != reachable {
			t.Errorf("%s: %s reaches %s: %v, want %v", when, from.name, to.name, got, reachable)
		}
	}
}

func (f faultLab) hit(t *testing.T, fault *Fault, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := fault.Hits(); err != nil || n == 0 {
		t.Errorf("%s met %d frames, %v", fault, n, err)
	}
}

func heal(t *testing.T, fault *Fault) {
	t.Helper()
	if err := fault.Undo(); err != nil {
		t.Fatal(err)
	}
	if err := fault.Undo(); err != nil {
		t.Error("healing twice:", err)
	}
}

func TestDropAllPartitionsTheNamedPairOnly(t *testing.T) {
	f := newFaultLab(t)
	f.expect(t, "before", map[string]bool{"ab": true, "bc": true})
	fault, err := f.DropAll(t.Context(), Between("a", "b")...)
	if err != nil {
		t.Fatal(err)
	}
	f.expect(t, "cut", map[string]bool{"ab": false, "ba": false, "ac": true, "bc": true})
	f.hit(t, fault, err)
	heal(t, fault)
	f.expect(t, "healed", map[string]bool{"ab": true, "ba": true})
	if _, err := fault.Hits(); err == nil {
		t.Error("a healed fault counts")
	}
}

func TestDroppedPortIsOneWayWhereAsked(t *testing.T) {
	f := newFaultLab(t)
	fault, err := f.DropPort(t.Context(), 9, OneWay("a", "b")...)
	if err != nil {
		t.Fatal(err)
	}
	f.expect(t, "one way", map[string]bool{"ab": false, "ba": true, "ac": true})
	f.hit(t, fault, err)
	heal(t, fault)
	f.expect(t, "healed", map[string]bool{"ab": true})
}

func TestDroppedProtocolLeavesOthersAlone(t *testing.T) {
	f := newFaultLab(t)
	fault, err := f.DropProtocol(t.Context(), 17, From("a")...)
	if err != nil {
		t.Fatal(err)
	}
	f.expect(t, "UDP from a dropped", map[string]bool{"ab": false, "ba": true})
	f.hit(t, fault, err)
	other, err := f.DropProtocol(t.Context(), ProtoVRRP)
	if err != nil {
		t.Fatal(err)
	}
	heal(t, fault)
	f.expect(t, "VRRP dropped", map[string]bool{"ab": true, "ba": true})
	if n, err := other.Hits(); err != nil || n != 0 {
		t.Errorf("the VRRP fault met %d frames without VRRP, %v", n, err)
	}
	heal(t, other)
}

func TestLossTakesAShare(t *testing.T) {
	f := newFaultLab(t)
	fault, err := f.LossProtocol(t.Context(), 17, 50, To("b")...)
	if err != nil {
		t.Fatal(err)
	}
	f.expect(t, "half lost", map[string]bool{"ab": true}) // 15 tries
	server, err := f.hosts["b"].ListenPacket("udp4", "10.9.0.2:7")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := f.hosts["a"].DialContext(t.Context(), "udp4", "10.9.0.2:7")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	const sent = 200
	for range sent {
		if _, err := client.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	arrived := 0
	for buf := make([]byte, 1); ; arrived++ {
		_ = server.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if _, _, err := server.ReadFrom(buf); err != nil {
			break
		}
	}
	// 14 standard deviations around the mean of 100.
	if arrived < 1 || arrived > sent-1 {
		t.Errorf("%d of %d datagrams arrived at a loss of one half", arrived, sent)
	}
	f.hit(t, fault, err)
	heal(t, fault)
	for _, percent := range []int{0, 100, -1} {
		if _, err := f.Loss(t.Context(), percent); err == nil {
			t.Errorf("a loss of %d in 100 was accepted", percent)
		}
	}
}

func TestPortFaultsCutOneHost(t *testing.T) {
	f := newFaultLab(t)
	b := f.hosts["b"]
	for name, set := range map[string]func() (*Fault, error){
		"carrier down": func() (*Fault, error) { return b.CarrierDown("eth0") },
		"blackhole":    func() (*Fault, error) { return b.Blackhole(t.Context(), "eth0") },
	} {
		fault, err := set()
		if err != nil {
			t.Fatal(err)
		}
		f.expect(t, name, map[string]bool{"ab": false, "ba": false, "ac": true})
		if _, err := fault.Hits(); err == nil {
			t.Errorf("%s counts frames", name)
		}
		heal(t, fault)
		f.expect(t, name+" healed", map[string]bool{"ab": true, "ba": true})
	}
	if _, err := b.CarrierDown("eth9"); err == nil {
		t.Error("an unknown interface lost its carrier")
	}
}

func TestFaultsOnUnknownHostsAreRefused(t *testing.T) {
	f := newFaultLab(t)
	if _, err := f.DropAll(t.Context(), OneWay("a", "nobody")...); err == nil {
		t.Error("a partition from nobody was accepted")
	}
	if err := f.nft(t.Context(), "table bridge x { nonsense }\n"); err == nil {
		t.Error("rules that nft refuses were accepted")
	}
}

func TestDeletedAddressComesBack(t *testing.T) {
	f := newFaultLab(t)
	prefix := netip.MustParsePrefix("10.9.0.2/24")
	fault, err := f.hosts["b"].DeleteAddress("eth0", prefix)
	if err != nil {
		t.Fatal(err)
	}
	holders, err1 := f.Holders(prefix.Addr())
	heal(t, fault)
	healed, err2 := f.Holders(prefix.Addr())
	if len(holders) != 0 || len(healed) != 1 || errors.Join(err1, err2) != nil {
		t.Errorf("held by %v when deleted and by %v when healed, %v", holders, healed, errors.Join(err1, err2))
	}
	if err := f.hosts["b"].FlushAddresses(t.Context(), "eth0"); err != nil {
		t.Fatal(err)
	}
	if holders, err := f.Holders(prefix.Addr()); err != nil || len(holders) != 0 {
		t.Errorf("after the flush held by %v, %v", holders, err)
	}
}
