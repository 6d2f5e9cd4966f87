package netif

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	// monitorBuffer is the receive buffer of a Monitor in bytes: some ten
	// thousand events between two turns of the owner's loop.
	monitorBuffer = 8 << 20
	// drainLimit bounds the datagrams handled by one Drain, so that a storm on
	// one socket does not starve the owner's timers.
	drainLimit = 256
)

// Monitor receives the kernel's notices about links, addresses, routes and
// rules of the namespace in which it was made.
type Monitor struct {
	log *slog.Logger
	fd  int
	buf []byte
}

// NewMonitor subscribes. Changes made after it returns are reported, so an
// owner that lists the links next misses none, and may see some twice.
func NewMonitor(log *slog.Logger) (*Monitor, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening a netlink socket: %w", err)
	}
	m := &Monitor{log: log, fd: fd, buf: make([]byte, 64<<10)}
	if err := m.subscribe(); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("subscribing to interface events: %w", err)
	}
	return m, nil
}

func (m *Monitor) subscribe() error {
	// Beyond rmem_max needs CAP_NET_ADMIN in the first user namespace; the
	// ordinary limit serves where that is refused.
	if err := unix.SetsockoptInt(m.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, monitorBuffer); err != nil {
		if err := unix.SetsockoptInt(m.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, monitorBuffer); err != nil {
			return err
		}
	}
	// The filter stands before the first notice can arrive.
	if err := attachFilter(m.fd, routeFilter); err != nil {
		return err
	}
	const groups = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR |
		unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE |
		unix.RTMGRP_IPV4_RULE | 1<<(unix.RTNLGRP_IPV6_RULE-1)
	return unix.Bind(m.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups})
}

// routeFilter drops, in the kernel, each notice about a route other than the
// removal of one of protocol keepalived: a host with a full routing table sees
// thousands a second. BPF loads are big-endian, netlink is in host order.
var routeFilter = []bpf.Instruction{
	bpf.LoadAbsolute{Off: 4, Size: 2}, // nlmsg_type
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: swapped(unix.RTM_NEWROUTE), SkipTrue: 4},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: swapped(unix.RTM_DELROUTE), SkipTrue: 2},
	bpf.LoadAbsolute{Off: unix.NLMSG_HDRLEN + 5, Size: 1}, // rtm_protocol
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: ProtocolKeepalived, SkipTrue: 1},
	bpf.RetConstant{Val: 0xffffffff},
	bpf.RetConstant{Val: 0},
}

// swapped returns a 16-bit number in host order as a big-endian load sees it.
func swapped(v uint16) uint32 {
	return uint32(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, v)))
}

// attachFilter sets a classic BPF program on a socket.
func attachFilter(fd int, program []bpf.Instruction) error {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}

// FD returns the descriptor to poll for reading. It is the same until Close.
func (m *Monitor) FD() int { return m.fd }

// Close ends the subscription.
func (m *Monitor) Close() error { return unix.Close(m.fd) }

// Drain hands waiting events to f, in the kernel's order, and returns when none
// is left or after a bounded number. With nothing to read it allocates nothing.
// If events were lost, those that wait are dropped too and one Overrun is
// reported: whatever comes after it is newer than the loss.
func (m *Monitor) Drain(f func(Event)) error {
	for range drainLimit {
		n, from, errno := m.receive()
		switch {
		case errno == unix.EAGAIN:
			return nil
		case errno == unix.EINTR:
			continue
		case errno == unix.ENOBUFS:
			m.discard()
			f(Overrun{})
			continue
		case errno != 0:
			return fmt.Errorf("reading interface events: %w", errno)
		case n > len(m.buf):
			m.discard()
			f(Overrun{})
			continue
		case from != 0:
			continue // only the kernel's word counts
		}
		eachMessage(m.buf[:n], func(h header, body []byte) { m.decode(h, body, f) })
	}
	return nil
}

// discard drops what waits. After a loss it is older than what the owner reads
// next, and the notices that would correct it are among the lost ones: a link
// would stay down for ever. The kernel queues again when the queue was empty.
func (m *Monitor) discard() {
	for range monitorBuffer / unix.NLMSG_HDRLEN {
		if _, _, errno := m.receive(); errno == unix.EAGAIN {
			return
		}
	}
}

// receive reads one datagram and returns its whole length and the port of its
// sender. It is the system call itself because x/sys allocates the address.
func (m *Monitor) receive() (int, uint32, unix.Errno) {
	var from unix.RawSockaddrNetlink
	size := uint32(unsafe.Sizeof(from))
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(m.fd), uintptr(unsafe.Pointer(&m.buf[0])), uintptr(len(m.buf)),
		unix.MSG_TRUNC, uintptr(unsafe.Pointer(&from)), uintptr(unsafe.Pointer(&size)))
	return int(n), from.Pid, errno
}
