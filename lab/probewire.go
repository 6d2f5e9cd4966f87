package lab

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/net/bpf"
)

// echoReplies passes ICMP echo replies on a raw socket, whose data start at
// the IP header.
var echoReplies = assemble(
	bpf.LoadMemShift{Off: 0},
	bpf.LoadIndirect{Off: 0, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipFalse: 1},
	bpf.RetConstant{Val: maxFrame},
	bpf.RetConstant{Val: 0},
)

// answersFrom passes ARP replies and ICMP echo replies whose sender has the
// address.
func answersFrom(vip netip.Addr) []bpf.RawInstruction {
	a := vip.As4()
	addr := binary.BigEndian.Uint32(a[:])
	return assemble(
		bpf.LoadAbsolute{Off: 12, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeARP, SkipFalse: 4},
		bpf.LoadAbsolute{Off: etherHeader + 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 2, SkipFalse: 11},
		bpf.LoadAbsolute{Off: etherHeader + 14, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: addr, SkipTrue: 8, SkipFalse: 9},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeIPv4, SkipFalse: 8},
		bpf.LoadAbsolute{Off: etherHeader + 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoICMP, SkipFalse: 6},
		bpf.LoadAbsolute{Off: etherHeader + 12, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: addr, SkipFalse: 4},
		bpf.LoadMemShift{Off: etherHeader},
		bpf.LoadIndirect{Off: etherHeader, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipFalse: 1},
		bpf.RetConstant{Val: maxFrame},
		bpf.RetConstant{Val: 0},
	)
}

// numberedMAC begins the sender hardware address of all probes; the probe's
// number is the rest.
var numberedMAC = [2]byte{0x02, 0x6b}

func (c senderConfig) probeFrames() (arp, echo []byte) {
	arp = make([]byte, etherHeader+arpLen)
	copy(arp[0:6], net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	// The frame's own source stays the client's, or the switch would learn
	// an address per probe.
	copy(arp[6:12], c.MAC)
	binary.BigEndian.PutUint16(arp[12:14], typeARP)
	copy(arp[14:22], []byte{0, 1, 8, 0, 6, 4, 0, 1})
	copy(arp[22:24], numberedMAC[:])
	vip := c.VIP.As4()
	copy(arp[38:42], vip[:])
	echo = make([]byte, 16)
	echo[0] = 8
	binary.BigEndian.PutUint16(echo[4:6], c.ID)
	return arp, echo
}

// internetChecksum is RFC 1071's sum of an even number of bytes.
func internetChecksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func (p *Prober) echoNumber(icmp []byte) (uint32, bool) {
	if len(icmp) < 12 || icmp[0] != 0 || binary.BigEndian.Uint16(icmp[4:6]) != p.id {
		return 0, false
	}
	return binary.BigEndian.Uint32(icmp[8:12]), true
}
