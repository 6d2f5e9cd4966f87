package speaker

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sizes of a batch: so many adverts are received or sent with one system call.
const (
	batch      = 64
	packetSize = 1500 + 100 // an IP packet of the largest ordinary MTU
	// controlSize holds the control messages of one packet: hop limit and
	// destination, or source; pktinfoSpace is the address's part.
	controlSize  = 64
	pktinfoSpace = 40
)

// mmsghdr is the kernel's struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// arrival is a packet as recvmmsg gave it. Source, Destination and HopLimit are
// of IPv6, whose header a raw socket does not see.
type arrival struct {
	bytes               []byte
	source, destination netip.Addr
	hopLimit            int
}

// receiveBatch is room for one batch, shared by all sockets of a loop.
type receiveBatch struct {
	msgs    [batch]mmsghdr
	iov     [batch]unix.Iovec
	names   [batch]unix.RawSockaddrInet6
	control [batch][controlSize]byte
	buf     []byte
}

func newReceiveBatch() *receiveBatch {
	b := &receiveBatch{buf: make([]byte, batch*packetSize)}
	for n := range batch {
		b.iov[n].Base = &b.buf[n*packetSize]
		b.iov[n].SetLen(packetSize)
		h := &b.msgs[n].hdr
		h.Iov = &b.iov[n]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&b.names[n]))
		h.Control = &b.control[n][0]
	}
	return b
}

// drain reads what waits on the socket, at most one batch; more says that
// there may be more.
func (b *receiveBatch) drain(k *socket, handle func(*arrival), a *arrival) (more bool) {
	for n := range batch {
		b.msgs[n].hdr.Namelen = unix.SizeofSockaddrInet6
		b.msgs[n].hdr.SetControllen(controlSize)
	}
	got, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(k.fd), uintptr(unsafe.Pointer(&b.msgs[0])),
		batch, unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return errno == unix.EINTR
	}
	for n := range int(got) {
		*a = arrival{bytes: b.buf[n*packetSize : n*packetSize+int(b.msgs[n].len)], hopLimit: -1}
		if k.family == 6 {
			a.source = netip.AddrFrom16(b.names[n].Addr)
			a.readControl(b.control[n][:b.msgs[n].hdr.Controllen])
		}
		handle(a)
	}
	return int(got) == batch
}

// readControl takes hop limit and destination from the control messages (RFC
// 3542 sections 6.1 and 6.3).
func (a *arrival) readControl(b []byte) {
	for len(b) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		size := int(h.Len)
		if size < unix.SizeofCmsghdr || size > len(b) {
			return
		}
		data := b[unix.SizeofCmsghdr:size]
		if h.Level == unix.IPPROTO_IPV6 {
			switch {
			case h.Type == unix.IPV6_HOPLIMIT && len(data) >= 4:
				a.hopLimit = int(int32(binary.NativeEndian.Uint32(data)))
			case h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
				a.destination = netip.AddrFrom16([16]byte(data[:16]))
			}
		}
		step := (size + 7) &^ 7
		if step >= len(b) {
			return
		}
		b = b[step:]
	}
}

// sendBatch is what waits to leave by one socket. It grows to what its
// instances need and is reused.
type sendBatch struct {
	msgs    []mmsghdr
	iov     []unix.Iovec
	names4  []unix.RawSockaddrInet4
	names6  []unix.RawSockaddrInet6
	control [][controlSize]byte
	buf     []byte
	ends    []int // of the packets in buf
	owners  []*member
}

func (k *socket) full() bool { return len(k.tx.owners) == batch }

// queue copies a packet into the batch; a full batch must be sent first. The
// source is said to the kernel for IPv6 only: an IPv4 packet carries it.
func (k *socket) queue(packet []byte, source, dst netip.Addr, m *member) {
	t := &k.tx
	n := len(t.owners)
	if n == len(t.msgs) {
		t.msgs = append(t.msgs, mmsghdr{})
		t.iov = append(t.iov, unix.Iovec{})
		t.control = append(t.control, [controlSize]byte{})
		t.names4 = append(t.names4, unix.RawSockaddrInet4{Family: unix.AF_INET})
		t.names6 = append(t.names6, unix.RawSockaddrInet6{Family: unix.AF_INET6})
	}
	t.buf = append(t.buf, packet...)
	t.ends = append(t.ends, len(t.buf))
	t.owners = append(t.owners, m)
	if k.family == 4 {
		t.names4[n].Addr = dst.As4()
		return
	}
	t.names6[n].Addr = dst.As16()
	t.names6[n].Scope_id = 0
	if dst.IsLinkLocalUnicast() || dst.IsMulticast() {
		t.names6[n].Scope_id = uint32(k.index)
	}
	c := &t.control[n]
	*(*unix.Cmsghdr)(unsafe.Pointer(c)) = unix.Cmsghdr{
		Len: unix.SizeofCmsghdr + unix.SizeofInet6Pktinfo, Level: unix.IPPROTO_IPV6, Type: unix.IPV6_PKTINFO,
	}
	src := source.As16()
	copy(c[unix.SizeofCmsghdr:], src[:])
	binary.NativeEndian.PutUint32(c[unix.SizeofCmsghdr+16:], uint32(k.index))
	hops := 255
	if m.cfg.Key.Unicast {
		hops = m.inst.TTL
	}
	limit := c[pktinfoSpace:]
	*(*unix.Cmsghdr)(unsafe.Pointer(&limit[0])) = unix.Cmsghdr{
		Len: unix.SizeofCmsghdr + 4, Level: unix.IPPROTO_IPV6, Type: unix.IPV6_HOPLIMIT,
	}
	binary.NativeEndian.PutUint32(limit[unix.SizeofCmsghdr:], uint32(hops))
}

// send sends the batch and calls done for each packet. One that the kernel
// refuses is reported and skipped.
func (k *socket) send(done func(m *member, err error)) {
	t := &k.tx
	// Pointers are set last: the slices have moved while they grew.
	start := 0
	for n := range t.owners {
		t.iov[n].Base = &t.buf[start]
		t.iov[n].SetLen(t.ends[n] - start)
		start = t.ends[n]
		h := &t.msgs[n].hdr
		h.Iov = &t.iov[n]
		h.SetIovlen(1)
		if k.family == 4 {
			h.Name, h.Namelen = (*byte)(unsafe.Pointer(&t.names4[n])), unix.SizeofSockaddrInet4
		} else {
			h.Name, h.Namelen = (*byte)(unsafe.Pointer(&t.names6[n])), unix.SizeofSockaddrInet6
			h.Control = &t.control[n][0]
			h.SetControllen(controlSize)
		}
	}
	for from := 0; from < len(t.owners); {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(k.fd), uintptr(unsafe.Pointer(&t.msgs[from])),
			uintptr(len(t.owners)-from), unix.MSG_DONTWAIT, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			done(t.owners[from], errno)
			from++
			continue
		}
		for i := from; i < from+int(n); i++ {
			done(t.owners[i], nil)
		}
		from += int(n)
	}
	t.buf, t.ends, t.owners = t.buf[:0], t.ends[:0], t.owners[:0]
}
