package netif

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Claim is somebody else's word that an address is theirs.
type Claim struct {
	VIP netip.Addr
	MAC MAC // who says it: the sender's, from the ARP packet or the frame
}

// ClaimWatch hears claims of some addresses on one interface: ARP packets with
// such a sender, and Neighbour Advertisements of such a target. Everything
// else is dropped by a filter in the kernel, so that a lively LAN does not wake
// the owner up. What the interface sends itself is not heard.
type ClaimWatch struct {
	dev   string
	fds   [2]int // ARP and IPv6
	names *interfaceTable
	mac   MAC
	vips  map[netip.Addr]bool
	buf   []byte
}

// claimFilterMax is how many addresses the kernel's filter compares. The
// memory for filters is small (net.core.optmem_max); of more addresses all
// ARP, or all advertisements, come in.
const claimFilterMax = 400

// NewClaimWatch opens the sockets on an interface, which must exist. They hear
// nothing before Watch.
func NewClaimWatch(dev string) (*ClaimWatch, error) {
	names, err := openInterfaceTable()
	if err != nil {
		return nil, fmt.Errorf("opening a socket for interface queries: %w", err)
	}
	w := &ClaimWatch{dev: dev, fds: [2]int{-1, -1}, names: names, buf: make([]byte, 128)}
	if err := w.open(); err != nil {
		w.Close()
		return nil, fmt.Errorf("listening for claims on %s: %w", dev, err)
	}
	return w, nil
}

// claimProtocols stand in the order of fds.
var claimProtocols = [2]uint16{unix.ETH_P_ARP, unix.ETH_P_IPV6}

func (w *ClaimWatch) open() error {
	index, err := w.names.index(w.dev)
	if err != nil {
		return err
	}
	if w.mac, err = w.names.hardwareAddr(w.dev); err != nil {
		return err
	}
	for i, protocol := range claimProtocols {
		// Protocol 0 receives nothing until the filter stands and it is bound.
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		w.fds[i] = fd
		if err := attachFilter(fd, claimFilter(protocol, nil)); err != nil {
			return err
		}
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: index, Protocol: networkOrder(protocol)}); err != nil {
			return err
		}
	}
	return nil
}

// Watch says which addresses are listened for from now on.
func (w *ClaimWatch) Watch(vips []netip.Addr) error {
	w.vips = make(map[netip.Addr]bool, len(vips))
	var byKind [2][]netip.Addr
	for _, a := range vips {
		w.vips[a] = true
		i := 0
		if a.Is6() {
			i = 1
		}
		byKind[i] = append(byKind[i], a)
	}
	for i, protocol := range claimProtocols {
		if err := attachFilter(w.fds[i], claimFilter(protocol, byKind[i])); err != nil {
			return fmt.Errorf("listening for claims on %s: %w", w.dev, err)
		}
	}
	return nil
}

// Offsets in an Ethernet frame.
const (
	arpSender    = etherLen + 14
	ipv6Next     = etherLen + 6
	icmpv6Type   = etherLen + 40
	ndTarget     = etherLen + 48
	claimCapture = ndTarget + 16
)

const neighbourAdvert = 136 // RFC 4861

// claimFilter passes frames that name one of the addresses: an IPv4 address
// whole, of an IPv6 address the last four bytes.
func claimFilter(protocol uint16, vips []netip.Addr) []bpf.Instruction {
	if len(vips) == 0 {
		return []bpf.Instruction{bpf.RetConstant{Val: 0}}
	}
	var f []bpf.Instruction
	unless := func(load bpf.Instruction, value uint32) {
		f = append(f, load, bpf.JumpIf{Cond: bpf.JumpEqual, Val: value, SkipTrue: 1}, bpf.RetConstant{Val: 0})
	}
	at := uint32(arpSender)
	if protocol == unix.ETH_P_ARP {
		unless(bpf.LoadAbsolute{Off: etherLen, Size: 4}, unix.ARPHRD_ETHER<<16|unix.ETH_P_IP)
	} else {
		unless(bpf.LoadAbsolute{Off: ipv6Next, Size: 1}, unix.IPPROTO_ICMPV6)
		unless(bpf.LoadAbsolute{Off: icmpv6Type, Size: 1}, neighbourAdvert)
		at = ndTarget + 12
	}
	if len(vips) > claimFilterMax {
		return append(f, bpf.RetConstant{Val: claimCapture})
	}
	f = append(f, bpf.LoadAbsolute{Off: at, Size: 4})
	for _, a := range vips {
		b := a.AsSlice()
		f = append(f, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32(b[len(b)-4:]), SkipTrue: 1}, bpf.RetConstant{Val: claimCapture})
	}
	return append(f, bpf.RetConstant{Val: 0})
}

// FDs returns the descriptors to poll for reading.
func (w *ClaimWatch) FDs() []int { return w.fds[:] }

// Close releases the sockets.
func (w *ClaimWatch) Close() error {
	errs := []error{w.names.close()}
	for _, fd := range w.fds {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}

// Drain hands what was heard to f and returns when nothing is left or after a
// bounded number. An error that wraps ENODEV says that the interface is gone
// for good: a new one of that name needs a new watch.
func (w *ClaimWatch) Drain(f func(Claim)) error {
	for i, fd := range w.fds {
		for range drainLimit {
			n, kind, errno := w.receive(fd)
			if errno == unix.EAGAIN {
				break
			}
			switch {
			case errno == unix.EINTR || errno == unix.ENETDOWN: // reported once
			case errno == unix.ENXIO:
				return fmt.Errorf("listening for claims on %s: %w", w.dev, unix.ENODEV)
			case errno != 0:
				return fmt.Errorf("listening for claims on %s: %w", w.dev, errno)
			case kind != unix.PACKET_OUTGOING:
				if c, ok := w.decode(w.buf[:n], claimProtocols[i]); ok {
					f(c)
				}
			}
		}
	}
	return nil
}

func (w *ClaimWatch) receive(fd int) (int, uint8, unix.Errno) {
	var from unix.RawSockaddrLinklayer
	size := uint32(unsafe.Sizeof(from))
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&w.buf[0])), uintptr(len(w.buf)),
		0, uintptr(unsafe.Pointer(&from)), uintptr(unsafe.Pointer(&size)))
	return int(n), from.Pkttype, errno
}

// decode takes a frame that passed the filter; it passes too much where the
// addresses are many, or share their last four bytes.
func (w *ClaimWatch) decode(frame []byte, protocol uint16) (Claim, bool) {
	var c Claim
	switch {
	case protocol == unix.ETH_P_ARP && len(frame) >= arpFrameLen:
		c.VIP = netip.AddrFrom4([4]byte(frame[arpSender : arpSender+4]))
		c.MAC = MAC(frame[arpSender-6 : arpSender])
	case protocol == unix.ETH_P_IPV6 && len(frame) >= claimCapture:
		c.VIP = netip.AddrFrom16([16]byte(frame[ndTarget:claimCapture]))
		c.MAC = MAC(frame[6:12])
	}
	return c, w.vips[c.VIP] && c.MAC != w.mac
}
