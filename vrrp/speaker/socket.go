package speaker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// Sizes of a batch. 64 adverts of ordinary size are drained or sent with one
// system call each way.
const (
	batch      = 64
	packetSize = 1500 + 100 // an IP packet of the largest ordinary MTU
)

// mmsghdr is the kernel's struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// socket is the raw VRRP socket of one interface: it receives every advert
// that comes in there, and sends complete IPv4 packets (IP_HDRINCL).
type socket struct {
	dev    string
	index  int
	fd     int
	file   *os.File // owns fd
	groups []netip.Addr

	rx    [batch]mmsghdr
	rxIov [batch]unix.Iovec
	rxBuf []byte

	tx     [batch]mmsghdr
	txIov  [batch]unix.Iovec
	txName [batch]unix.RawSockaddrInet4
	txBuf  []byte
	txFor  [batch]*member
	queued int
}

// openSocket opens the socket on a link and joins the groups. Set-up goes
// through x/net; the descriptor is then taken away from the runtime's poller,
// which has no part in the loop.
func openSocket(link Link, groups []netip.Addr) (*socket, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			if failed = unix.BindToDevice(int(fd), link.Name); failed != nil {
				failed = fmt.Errorf("binding to %s: %w", link.Name, failed)
				return
			}
			// Only the groups joined here, whatever other sockets join.
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0)
		})
		return errors.Join(err, failed)
	}}
	pc, err := lc.ListenPacket(context.Background(), "ip4:112", "0.0.0.0")
	if err != nil {
		return nil, fmt.Errorf("opening a VRRP socket on %s: %w", link.Name, err)
	}
	defer func() { _ = pc.Close() }()
	raw, err := ipv4.NewRawConn(pc)
	if err != nil {
		return nil, fmt.Errorf("opening a VRRP socket on %s: %w", link.Name, err)
	}
	ifi := &net.Interface{Index: link.Index, Name: link.Name, MTU: link.MTU, Flags: net.FlagUp | net.FlagMulticast}
	if err := raw.SetMulticastInterface(ifi); err != nil {
		return nil, fmt.Errorf("sending multicast on %s: %w", link.Name, err)
	}
	if err := raw.SetMulticastLoopback(false); err != nil {
		return nil, fmt.Errorf("switching off multicast loopback on %s: %w", link.Name, err)
	}
	for _, g := range groups {
		if err := raw.JoinGroup(ifi, &net.IPAddr{IP: g.AsSlice()}); err != nil {
			return nil, fmt.Errorf("joining %s on %s: %w", g, link.Name, err)
		}
	}
	if err := raw.SetBPF(onlyVersions); err != nil {
		return nil, fmt.Errorf("filtering on %s: %w", link.Name, err)
	}
	file, err := pc.(*net.IPConn).File()
	if err != nil {
		return nil, fmt.Errorf("taking over the VRRP socket of %s: %w", link.Name, err)
	}
	k := &socket{dev: link.Name, index: link.Index, fd: int(file.Fd()), file: file, groups: groups}
	if err := unix.SetNonblock(k.fd, true); err != nil {
		file.Close()
		return nil, fmt.Errorf("taking over the VRRP socket of %s: %w", link.Name, err)
	}
	k.prepare()
	return k, nil
}

// onlyVersions lets VRRP advertisements through and nothing else: garbage on
// protocol 112 does not wake a real-time process.
var onlyVersions = mustAssemble([]bpf.Instruction{
	bpf.LoadMemShift{Off: 0},          // X = IPv4 header length
	bpf.LoadIndirect{Off: 0, Size: 1}, // version and type
	bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf0},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x20, SkipTrue: 2},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x30, SkipTrue: 1},
	bpf.RetConstant{Val: 0},
	bpf.RetConstant{Val: 0xffff},
})

func mustAssemble(program []bpf.Instruction) []bpf.RawInstruction {
	raw, err := bpf.Assemble(program)
	if err != nil {
		panic(err) // a constant program
	}
	return raw
}

// prepare points the message headers at their buffers, once.
func (k *socket) prepare() {
	k.rxBuf = make([]byte, batch*packetSize)
	k.txBuf = make([]byte, batch*packetSize)
	for n := range batch {
		k.rxIov[n].Base = &k.rxBuf[n*packetSize]
		k.rxIov[n].SetLen(packetSize)
		k.rx[n].hdr.Iov = &k.rxIov[n]
		k.rx[n].hdr.SetIovlen(1)
		k.txIov[n].Base = &k.txBuf[n*packetSize]
		k.tx[n].hdr.Iov = &k.txIov[n]
		k.tx[n].hdr.SetIovlen(1)
		k.txName[n].Family = unix.AF_INET
		k.tx[n].hdr.Name = (*byte)(unsafe.Pointer(&k.txName[n]))
		k.tx[n].hdr.Namelen = unix.SizeofSockaddrInet4
	}
}

// drain reads what waits, at most one batch; more says that there may be more.
func (k *socket) drain(handle func(packet []byte)) (more bool) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(k.fd), uintptr(unsafe.Pointer(&k.rx[0])),
		batch, unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return errno == unix.EINTR
	}
	for i := range int(n) {
		handle(k.rxBuf[i*packetSize : i*packetSize+int(k.rx[i].len)])
	}
	return int(n) == batch
}

// queue copies a packet into the batch; a full batch must be sent first.
func (k *socket) queue(packet []byte, dst netip.Addr, m *member) {
	n := k.queued
	size := copy(k.txBuf[n*packetSize:(n+1)*packetSize], packet)
	k.txIov[n].SetLen(size)
	k.txName[n].Addr = dst.As4()
	k.txFor[n] = m
	k.queued++
}

func (k *socket) full() bool { return k.queued == batch }

// send sends the batch and calls done for each packet. One that the kernel
// refuses is reported and skipped.
func (k *socket) send(done func(m *member, err error)) {
	for from := 0; from < k.queued; {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(k.fd), uintptr(unsafe.Pointer(&k.tx[from])),
			uintptr(k.queued-from), unix.MSG_DONTWAIT, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			done(k.txFor[from], errno)
			from++
			continue
		}
		for i := from; i < from+int(n); i++ {
			done(k.txFor[i], nil)
		}
		from += int(n)
	}
	k.queued = 0
}

func (k *socket) close(l *Loop) {
	l.Unwatch(k.fd)
	k.file.Close()
}
