package speaker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/keepmesh/keepmesh/vrrp/packet"
)

// socketKey names a socket: one for each interface and family in use there, and
// one more where auth_type AH is, which is an IP protocol of its own.
type socketKey struct {
	dev    string
	family uint8
	ah     bool
}

// socket is the raw VRRP socket of one interface and family: it receives every
// advert that comes in there. Over IPv4 it sends complete packets (IP_HDRINCL);
// over IPv6 the kernel writes the header, and the checksum, and verifies it.
type socket struct {
	socketKey
	index  int
	fd     int
	file   *os.File // owns fd
	groups []netip.Addr
	tx     sendBatch
}

// openSocket opens the socket on a link and joins the groups. Set-up goes
// through x/net; the descriptor is then taken away from the runtime's poller,
// which has no part in the loop.
func openSocket(link Link, key socketKey, groups []netip.Addr) (*socket, error) {
	family := key.family
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			if failed = unix.BindToDevice(int(fd), link.Name); failed != nil {
				failed = fmt.Errorf("binding to %s: %w", link.Name, failed)
				return
			}
			// Only the groups joined here, whatever other sockets join.
			if family == 6 {
				failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL, 0)
			} else {
				failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0)
			}
		})
		return errors.Join(err, failed)
	}}
	network, any := "ip4:112", "0.0.0.0"
	if family == 6 {
		network, any = "ip6:112", "::"
	}
	if key.ah {
		network = "ip4:51"
	}
	pc, err := lc.ListenPacket(context.Background(), network, any)
	if err != nil {
		return nil, fmt.Errorf("opening a VRRP socket on %s: %w", link.Name, err)
	}
	defer func() { _ = pc.Close() }()
	ifi := &net.Interface{Index: link.Index, Name: link.Name, MTU: link.MTU, Flags: net.FlagUp | net.FlagMulticast}
	setUp := setUp4
	if family == 6 {
		setUp = setUp6
	}
	if err := setUp(pc, ifi, groups); err != nil {
		return nil, fmt.Errorf("setting up the VRRP socket of %s: %w", link.Name, err)
	}
	if key.ah {
		if err := ipv4.NewPacketConn(pc).SetBPF(onlyAdvertsAH); err != nil {
			return nil, fmt.Errorf("setting up the AH socket of %s: %w", link.Name, err)
		}
	}
	file, err := pc.(*net.IPConn).File()
	if err != nil {
		return nil, fmt.Errorf("taking over the VRRP socket of %s: %w", link.Name, err)
	}
	k := &socket{socketKey: key, index: link.Index, fd: int(file.Fd()), file: file, groups: groups}
	if err := unix.SetNonblock(k.fd, true); err != nil {
		file.Close()
		return nil, fmt.Errorf("taking over the VRRP socket of %s: %w", link.Name, err)
	}
	return k, nil
}

func setUp4(pc net.PacketConn, ifi *net.Interface, groups []netip.Addr) error {
	raw, err := ipv4.NewRawConn(pc)
	if err != nil {
		return err
	}
	if err := raw.SetMulticastInterface(ifi); err != nil {
		return fmt.Errorf("sending multicast: %w", err)
	}
	if err := raw.SetMulticastLoopback(false); err != nil {
		return fmt.Errorf("switching off multicast loopback: %w", err)
	}
	for _, g := range groups {
		if err := raw.JoinGroup(ifi, &net.IPAddr{IP: g.AsSlice()}); err != nil {
			return fmt.Errorf("joining %s: %w", g, err)
		}
	}
	return raw.SetBPF(onlyAdverts4)
}

// checksumOffset is where the checksum stands in a VRRP PDU (RFC 9568 section
// 5.2.8).
const checksumOffset = 6

func setUp6(pc net.PacketConn, ifi *net.Interface, groups []netip.Addr) error {
	raw := ipv6.NewPacketConn(pc)
	for _, step := range []func() error{
		func() error { return raw.SetMulticastInterface(ifi) },
		func() error { return raw.SetMulticastLoopback(false) },
		func() error { return raw.SetMulticastHopLimit(255) },
		func() error { return raw.SetHopLimit(255) },
		func() error { return raw.SetTrafficClass(0xc0) },
		func() error { return raw.SetChecksum(true, checksumOffset) },
		func() error { return raw.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagDst, true) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	for _, g := range groups {
		if err := raw.JoinGroup(ifi, &net.IPAddr{IP: g.AsSlice()}); err != nil {
			return fmt.Errorf("joining %s: %w", g, err)
		}
	}
	return raw.SetBPF(onlyAdverts6)
}

// onlyAdverts4 and 6 let VRRP of versions 2 and 3 through and nothing else:
// garbage on protocol 112 does not wake a real-time process. A raw IPv4 socket
// sees the IP header, a raw IPv6 socket does not.
var (
	onlyAdverts4 = mustAssemble(append([]bpf.Instruction{
		bpf.LoadMemShift{Off: 0}, // X = IPv4 header length
		bpf.LoadIndirect{Off: 0, Size: 1},
	}, versions...))
	onlyAdverts6 = mustAssemble(append([]bpf.Instruction{bpf.LoadAbsolute{Off: 0, Size: 1}}, versions...))

	// Behind an Authentication Header of other traffic there is no VRRP.
	onlyAdvertsAH = mustAssemble(append([]bpf.Instruction{
		bpf.LoadMemShift{Off: 0},
		bpf.LoadIndirect{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: packet.ProtocolVRRP, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.LoadIndirect{Off: packet.AHLen, Size: 1},
	}, versions...))

	versions = []bpf.Instruction{
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf0},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x20, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x30, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: 0xffff},
	}
)

func mustAssemble(program []bpf.Instruction) []bpf.RawInstruction {
	raw, err := bpf.Assemble(program)
	if err != nil {
		panic(err) // a constant program
	}
	return raw
}

func (k *socket) close(l *Loop) {
	l.Unwatch(k.fd)
	k.file.Close()
}
