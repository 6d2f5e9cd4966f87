package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Frame is an Ethernet frame that entered a switch.
type Frame struct {
	At    time.Duration // when the kernel took it in, on the clock of Now
	Host  string        // that sent it
	Iface string        // of that host
	Bytes []byte        // valid during the callback only
}

// Sniffer sees frames where they enter a switch, so it knows the sender
// without trusting any address in them, and sees what a fault drops later.
type Sniffer struct {
	lab     *Lab
	file    *os.File
	raw     syscall.RawConn
	handler func(Frame)
	stop    sync.Once
	done    chan struct{}
	drops   uint32 // valid when done is closed
	err     error
}

// Sniff calls the handler for each ARP message and each VRRP advertisement
// (also IPsec AH) that enters a switch, in order, on one goroutine, until
// Stop, the end of the context, or Close of the lab. The handler must be
// quick.
func (l *Lab) Sniff(ctx context.Context, handler func(Frame)) (*Sniffer, error) {
	return l.sniff(ctx, sniffARPandVRRP, handler)
}

func (l *Lab) sniff(ctx context.Context, filter []bpf.RawInstruction, handler func(Frame)) (*Sniffer, error) {
	s := &Sniffer{lab: l, handler: handler, done: make(chan struct{})}
	fd, err := inNamespace(l.sw, func() (int, error) { return openSniffer(filter) })
	if err != nil {
		return nil, fmt.Errorf("opening the sniffer: %w", err)
	}
	s.file = os.NewFile(uintptr(fd), "sniffer") // non-blocking, so the runtime polls it
	if s.raw, err = s.file.SyscallConn(); err != nil {
		s.file.Close()
		return nil, fmt.Errorf("opening the sniffer: %w", err)
	}
	go s.loop()
	stop := context.AfterFunc(ctx, func() { _, _ = s.Stop() })
	l.onClose(func() { stop(); _, _ = s.Stop() })
	return s, nil
}

// Stop ends the sniffer, after the handler's last call, and gives the number
// of frames the kernel dropped because the handler was too slow.
func (s *Sniffer) Stop() (drops uint32, err error) {
	s.stop.Do(func() {
		// An expired deadline ends the wait for more.
		_ = s.file.SetReadDeadline(time.Unix(1, 0))
	})
	<-s.done
	return s.drops, s.err
}

const sniffBuffer = 8 << 20

// openSniffer opens a packet socket for everything that enters any interface
// of the current network namespace.
func openSniffer(filter []bpf.RawInstruction) (int, error) {
	// Protocol 0 receives nothing, until bind, so that no frame precedes the filter.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		attachFilter(fd, filter),
	)
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, sniffBuffer) != nil {
		// Refused in a user namespace; the ordinary limit applies then.
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, sniffBuffer))
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL)})
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func attachFilter(fd int, program []bpf.RawInstruction) error {
	filter := make([]unix.SockFilter, len(program))
	for i, r := range program {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}

// assemble is for the programs written here, which are known to be valid.
func assemble(program ...bpf.Instruction) []bpf.RawInstruction {
	raw, err := bpf.Assemble(program)
	if err != nil {
		panic(err)
	}
	return raw
}

func htons(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

// maxFrame is room for a frame that the kernel has not segmented yet.
const maxFrame = 1<<16 + 64

// sniffARPandVRRP passes ARP, and IPv4 and IPv6 with protocol 112 or 51.
var sniffARPandVRRP = assemble(
	bpf.LoadAbsolute{Off: 12, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeARP, SkipTrue: 7},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeIPv4, SkipTrue: 3},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: typeIPv6, SkipTrue: 6},
	bpf.LoadAbsolute{Off: etherHeader + 6, Size: 1},
	bpf.Jump{Skip: 1},
	bpf.LoadAbsolute{Off: etherHeader + 9, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: ProtoVRRP, SkipTrue: 1},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protoAH, SkipTrue: 1},
	bpf.RetConstant{Val: maxFrame},
	bpf.RetConstant{Val: 0},
)

// loop reads until the deadline that Stop sets, and then what came before it.
func (s *Sniffer) loop() {
	defer close(s.done)
	defer s.file.Close()
	var (
		buf  = make([]byte, maxFrame)
		oob  = make([]byte, 256) // aligned, as any allocation of that size
		from unix.RawSockaddrLinklayer
	)
	// read takes one frame and reports whether there may be another.
	read := func(fd uintptr) bool {
		n, oobn, errno := recvmsg(fd, buf, oob, &from)
		switch errno {
		case 0:
			// A bridge's own copy of a frame is of no known port.
			if p, ok := (*s.lab.ports.Load())[int(from.Ifindex)]; ok {
				s.handler(Frame{At: stamp(oob[:oobn]), Host: p.host, Iface: p.iface, Bytes: buf[:n]})
			}
			return true
		case unix.EINTR, unix.ENETDOWN: // a port went down, while others go on
			return true
		case unix.EAGAIN:
		default:
			s.err = fmt.Errorf("reading frames: %w", errno)
		}
		return false
	}
	drain := func(fd uintptr) bool {
		for read(fd) {
		}
		return s.err != nil // false: wait for more
	}
	_ = s.raw.Read(drain) // ends by an error of its own or the deadline
	_ = s.raw.Control(func(fd uintptr) {
		drain(fd)
		if stats, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			s.drops = stats.Drops
		}
	})
}

// recvmsg is recvmsg(2) without the allocations of unix.Recvmsg, as thousands
// of frames a second come in.
func recvmsg(fd uintptr, buf, oob []byte, from *unix.RawSockaddrLinklayer) (n, oobn int, errno syscall.Errno) {
	iov := unix.Iovec{Base: &buf[0]}
	iov.SetLen(len(buf))
	msg := unix.Msghdr{
		Name: (*byte)(unsafe.Pointer(from)), Namelen: unix.SizeofSockaddrLinklayer,
		Iov: &iov, Iovlen: 1, Control: &oob[0],
	}
	msg.SetControllen(len(oob))
	r, _, errno := unix.Syscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&msg)), 0)
	if errno != 0 {
		return 0, 0, errno
	}
	return int(r), int(msg.Controllen), 0
}

// stamp is the kernel's time stamp moved to the monotonic clock. The stamp is
// wall-clock time; the distance of the clocks is taken anew for each frame,
// so that a step of the wall clock spoils only the frames around it.
func stamp(oob []byte) time.Duration {
	mono := Now()
	if len(oob) < unix.CmsgSpace(int(unsafe.Sizeof(unix.Timespec{}))) {
		return mono
	}
	header := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
	if header.Level != unix.SOL_SOCKET || header.Type != unix.SCM_TIMESTAMPNS {
		return mono
	}
	ts := (*unix.Timespec)(unsafe.Pointer(&oob[unix.CmsgLen(0)]))
	at := time.Duration(ts.Nano())
	return mono - (time.Duration(time.Now().UnixNano()) - at)
}
