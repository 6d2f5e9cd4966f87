package netif

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// ARPSeen is one ARP packet heard on an interface.
type ARPSeen struct {
	Sender netip.Addr // who speaks; 0.0.0.0 for a probe
	Target netip.Addr // who is asked for, or told
	MAC    MAC        // the sender's, from the packet
	// IsReply is an answer. A request whose Sender equals its Target is a
	// gratuitous announcement, no less a claim of the address.
	IsReply bool
	ToMe    bool // sent to this interface's own MAC, not by broadcast
	IsMine  bool // carries this interface's own MAC as sender
}

// Prober asks one LAN who has an address, and hears every ARP packet on it. Its
// requests have the sender address 0.0.0.0 (RFC 5227, 2.1.1): they change
// nobody's cache. It follows the interface by name: while there is none the
// Prober is deaf, and Probe says so.
type Prober struct {
	dev   string
	fd    int
	names *interfaceTable
	mac   MAC // of the interface when it was last looked at
	buf   []byte
}

// NewProber opens a packet socket for ARP on the interface, which may be absent
// yet. Its descriptor stays the same when the interface comes, goes or changes.
func NewProber(dev string) (*Prober, error) {
	// Protocol 0 receives nothing until attach binds it.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening a packet socket (needs CAP_NET_RAW): %w", err)
	}
	if err := attachFilter(fd, arpFilter); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("filtering for ARP on %s: %w", dev, err)
	}
	names, err := openInterfaceTable()
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("opening a socket for interface queries: %w", err)
	}
	p := &Prober{dev: dev, fd: fd, names: names, buf: make([]byte, 128)}
	if err := p.Attach(); err != nil && !errors.Is(err, unix.ENODEV) {
		p.Close()
		return nil, err
	}
	return p, nil
}

// arpFilter passes ARP for IPv4 over Ethernet only.
var arpFilter = []bpf.Instruction{
	bpf.LoadAbsolute{Off: 12, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.ETH_P_ARP, SkipTrue: 5},
	bpf.LoadAbsolute{Off: 14, Size: 4}, // hardware and protocol type
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.ARPHRD_ETHER<<16 | unix.ETH_P_IP, SkipTrue: 3},
	bpf.LoadAbsolute{Off: 18, Size: 2}, // and their lengths
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 6<<8 | 4, SkipTrue: 1},
	bpf.RetConstant{Val: arpFrameLen},
	bpf.RetConstant{Val: 0},
}

// Attach binds the socket to the interface that has the name now. Probe does it
// too; an owner that only listens calls it when a Monitor reports a change of
// the interface. A missing interface is an error that wraps ENODEV.
func (p *Prober) Attach() error {
	_, err := p.attach()
	return err
}

func (p *Prober) attach() (int, error) {
	bound, err := p.bound()
	if err != nil {
		return 0, fmt.Errorf("probing: %w", err)
	}
	index, err := p.names.index(p.dev)
	if err != nil {
		if bound > 0 { // the name left the interface: it is no longer ours
			err = errors.Join(err, p.detach())
		}
		return 0, fmt.Errorf("probing: %w", err)
	}
	if p.mac, err = p.names.hardwareAddr(p.dev); err != nil {
		return 0, fmt.Errorf("probing: %w", err)
	}
	if index == bound {
		return index, nil
	}
	addr := &unix.SockaddrLinklayer{Ifindex: index, Protocol: networkOrder(unix.ETH_P_ARP)}
	if err := unix.Bind(p.fd, addr); err != nil {
		return 0, fmt.Errorf("listening for ARP on %s: %w", p.dev, err)
	}
	return index, nil
}

// detach makes the socket deaf. Protocol 0 would keep ARP, now of all
// interfaces; this one never passes the filter.
func (p *Prober) detach() error {
	return unix.Bind(p.fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_LOOPBACK)})
}

// bound asks the kernel for the index to which the socket is bound: 0 for none,
// -1 for an interface that was deleted, whose index may have come back since.
func (p *Prober) bound() (int, error) {
	addr, err := unix.Getsockname(p.fd)
	if err != nil {
		return 0, err
	}
	packet, ok := addr.(*unix.SockaddrLinklayer)
	if !ok {
		return 0, unix.EBADF
	}
	return packet.Ifindex, nil
}

// networkOrder returns a 16-bit number as it must stand in a sockaddr.
func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// FD returns the descriptor to poll for reading. It is the same until Close.
func (p *Prober) FD() int { return p.fd }

// Close releases the sockets.
func (p *Prober) Close() error { return errors.Join(unix.Close(p.fd), p.names.close()) }

// Probe broadcasts one request for an IPv4 address. The answer, if any, comes
// by Drain, with the asked address as Sender.
func (p *Prober) Probe(target netip.Addr) error {
	if !target.Is4() {
		return fmt.Errorf("probing %s: only IPv4 addresses have ARP: %w", target, unix.EAFNOSUPPORT)
	}
	index, err := p.attach()
	if err != nil {
		return err
	}
	frame, err := arpFrame(p.mac, netip.IPv4Unspecified(), make(net.HardwareAddr, 6), target)
	if err != nil {
		return fmt.Errorf("probing %s on %s: %w", target, p.dev, err)
	}
	err = sendFrames(p.fd, index, [][]byte{frame})[0]
	if errors.Is(err, unix.ENETDOWN) {
		// Perhaps the notice, reported once, that the interface was down.
		err = sendFrames(p.fd, index, [][]byte{frame})[0]
	}
	if err != nil {
		return fmt.Errorf("probing %s on %s: %w", target, p.dev, err)
	}
	return nil
}

// Drain hands what was heard to f and returns when nothing is left or after a
// bounded number. With nothing to read it allocates nothing. An interface that
// went down or away is no error: its LAN is just silent.
func (p *Prober) Drain(f func(ARPSeen)) error {
	for range drainLimit {
		n, kind, errno := p.receive()
		switch {
		case errno == unix.EAGAIN:
			return nil
		case errno == unix.EINTR:
		case errno == unix.ENETDOWN || errno == unix.ENXIO:
			// Down, or gone and perhaps back under another index. The error is
			// reported once.
			if err := p.Attach(); err != nil && !errors.Is(err, unix.ENODEV) {
				return err
			}
		case errno != 0:
			return fmt.Errorf("listening for ARP on %s: %w", p.dev, errno)
		case n >= arpFrameLen && kind != unix.PACKET_OUTGOING:
			f(p.decode(p.buf[:n], kind))
		}
	}
	return nil
}

// receive reads one frame and returns its length and sll_pkttype.
func (p *Prober) receive() (int, uint8, unix.Errno) {
	var from unix.RawSockaddrLinklayer
	size := uint32(unsafe.Sizeof(from))
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(p.fd), uintptr(unsafe.Pointer(&p.buf[0])), uintptr(len(p.buf)),
		0, uintptr(unsafe.Pointer(&from)), uintptr(unsafe.Pointer(&size)))
	return int(n), from.Pkttype, errno
}

func (p *Prober) decode(frame []byte, kind uint8) ARPSeen {
	body := frame[etherLen:]
	mac := MAC(body[8:14])
	return ARPSeen{
		Sender:  netip.AddrFrom4([4]byte(body[14:18])),
		Target:  netip.AddrFrom4([4]byte(body[24:28])),
		MAC:     mac,
		IsReply: binary.BigEndian.Uint16(body[6:]) == 2,
		ToMe:    kind == unix.PACKET_HOST,
		IsMine:  mac == p.mac,
	}
}
