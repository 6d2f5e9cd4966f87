// Package udp carries BFD packets (RFC 5881 section 4, RFC 5883 section 5): one
// receiving socket for each family and port, and one sending socket for each
// neighbour with a source port of its own from 49152 on.
//
// All sockets are non-blocking and made to be read when a loop says so; nothing
// here starts a goroutine. Methods belong to one goroutine.
package udp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The destination ports.
const (
	SingleHop = 3784
	MultiHop  = 4784
)

// firstPort begins the range for source ports (RFC 5881 section 4).
const firstPort, ports = 49152, 65536 - 49152

// Listener receives packets of one family on one port.
type Listener struct {
	fd       int
	multihop bool

	buf  [256]byte
	oob  [64]byte
	name unix.RawSockaddrAny
	iov  unix.Iovec
	hdr  unix.Msghdr
}

// Listen opens a receiving socket. The error ends with what to do.
func Listen(v6, multihop bool) (*Listener, error) {
	family, local := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: port(multihop)})
	if v6 {
		family, local = unix.AF_INET6, &unix.SockaddrInet6{Port: port(multihop)}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
	if err != nil {
		return nil, fmt.Errorf("opening a socket for BFD: %w", err)
	}
	if v6 {
		err = errors.Join(
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1),
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1))
	} else {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVTTL, 1)
	}
	if err == nil {
		err = unix.Bind(fd, local)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("listening for BFD on UDP port %d: %w; does another BFD daemon run here?", port(multihop), err)
	}
	return &Listener{fd: fd, multihop: multihop}, nil
}

func port(multihop bool) int {
	if multihop {
		return MultiHop
	}
	return SingleHop
}

// FD is what a loop watches.
func (l *Listener) FD() int { return l.fd }

// Close closes the socket; unwatch it first.
func (l *Listener) Close() { unix.Close(l.fd) }

// burst bounds the packets that one Drain takes, so that a flood cannot hold
// the loop: what is left is read in its next turn.
const burst = 64

// Drain gives the packets that have come to take; b is valid until it returns.
// A TTL that the kernel did not tell is 0. It does not allocate.
func (l *Listener) Drain(take func(from netip.Addr, multihop bool, ttl int, b []byte)) error {
	for range burst {
		n, errno := l.receive()
		switch errno {
		case 0:
		case unix.EAGAIN:
			return nil
		case unix.EINTR:
			continue
		default:
			return fmt.Errorf("receiving BFD: %w", errno)
		}
		if a := l.source(); a.IsValid() {
			take(a, l.multihop, hops(l.oob[:l.hdr.Controllen]), l.buf[:n])
		}
	}
	return nil
}

// receive is recvmsg into the Listener's own buffers.
func (l *Listener) receive() (int, unix.Errno) {
	l.iov.Base = &l.buf[0]
	l.iov.SetLen(len(l.buf))
	l.hdr = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&l.name)), Namelen: unix.SizeofSockaddrAny, Iov: &l.iov, Control: &l.oob[0]}
	l.hdr.SetIovlen(1)
	l.hdr.SetControllen(len(l.oob))
	n, _, errno := unix.Syscall(unix.SYS_RECVMSG, uintptr(l.fd), uintptr(unsafe.Pointer(&l.hdr)), 0)
	return int(n), errno
}

func (l *Listener) source() netip.Addr {
	switch l.name.Addr.Family {
	case unix.AF_INET:
		return netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&l.name)).Addr)
	case unix.AF_INET6:
		return netip.AddrFrom16((*unix.RawSockaddrInet6)(unsafe.Pointer(&l.name)).Addr)
	}
	return netip.Addr{}
}

func hops(oob []byte) int {
	for len(oob) >= unix.SizeofCmsghdr {
		header, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return 0
		}
		ttl := header.Level == unix.IPPROTO_IP && header.Type == unix.IP_TTL ||
			header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_HOPLIMIT
		if ttl && len(data) >= 4 {
			return int(binary.NativeEndian.Uint32(data))
		}
		oob = rest
	}
	return 0
}

// Sender sends to one neighbour.
type Sender struct {
	fd int
	to unix.Sockaddr
}

// Dial opens a sending socket. source may be the zero Addr. An interface that
// has the source not yet gives EADDRNOTAVAIL: try again later.
func Dial(source, neighbor netip.Addr, multihop bool, ttl int) (*Sender, error) {
	family := unix.AF_INET
	if neighbor.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
	if err != nil {
		return nil, fmt.Errorf("opening a socket to %s: %w", neighbor, err)
	}
	// As routing protocols do (RFC 2474 CS6): a full link must not look dead.
	if neighbor.Is6() {
		err = errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, ttl),
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 0xc0))
	} else {
		err = errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, ttl),
			unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, 0xc0))
	}
	if err == nil {
		err = bind(fd, source, neighbor.Is6())
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("preparing to send BFD to %s: %w", neighbor, err)
	}
	return &Sender{fd: fd, to: sockaddr(neighbor, port(multihop))}, nil
}

// bind takes a free source port: a random one, then the next ones.
func bind(fd int, source netip.Addr, v6 bool) error {
	if !source.IsValid() {
		source = netip.IPv4Unspecified()
		if v6 {
			source = netip.IPv6Unspecified()
		}
	}
	first := rand.IntN(ports)
	for n := range ports {
		err := unix.Bind(fd, sockaddr(source, firstPort+(first+n)%ports))
		if !errors.Is(err, unix.EADDRINUSE) {
			return os.NewSyscallError("bind", err)
		}
	}
	return unix.EADDRINUSE
}

func sockaddr(a netip.Addr, port int) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Port: port, Addr: a.As4()}
	}
	return &unix.SockaddrInet6{Port: port, Addr: a.As16()}
}

// Send sends one packet. Errors about the way to the neighbour are BFD's own
// subject and not worth more than a debug line.
func (s *Sender) Send(b []byte) error { return unix.Sendto(s.fd, b, unix.MSG_DONTWAIT, s.to) }

// Close closes the socket.
func (s *Sender) Close() { unix.Close(s.fd) }
