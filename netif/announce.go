package netif

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"unsafe"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"golang.org/x/sys/unix"
)

const (
	// arpFrameLen is an Ethernet header and an ARP packet for IPv4. keepalived
	// sends no padding either; drivers add what the medium needs.
	arpFrameLen = 14 + 28
	// sendBuffer in bytes holds the announcements of some thousand addresses.
	sendBuffer = 4 << 20
	// sendBatch is the number of frames in one sendmmsg.
	sendBatch = 256
)

// Announcer tells a LAN who answers for an address now: by gratuitous ARP for
// IPv4 and unsolicited Neighbour Advertisement for IPv6, in the form of
// keepalived. One packet socket serves all interfaces: each frame names the
// interface it leaves by, so that one which was recreated needs nothing.
type Announcer struct {
	log   *slog.Logger
	fd    int
	names *interfaceTable
}

// NewAnnouncer opens the packet socket, which receives nothing.
func NewAnnouncer(log *slog.Logger) (*Announcer, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening a packet socket (needs CAP_NET_RAW): %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer); err != nil {
		// Refused outside the first user namespace: the default then limits
		// one call to a few hundred frames on an interface that drains slowly.
		log.Debug("send buffer stays at the system's limit", "err", err)
	}
	names, err := openInterfaceTable()
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("opening a socket for interface queries: %w", err)
	}
	return &Announcer{log: log, fd: fd, names: names}, nil
}

// Close releases the sockets.
func (a *Announcer) Close() error { return errors.Join(unix.Close(a.fd), a.names.close()) }

// GratuitousARP announces vips on dev, once each and in order, and returns one
// error per address, nil where the frame was handed to the interface. An IPv4
// address is announced by a broadcast ARP request whose sender and target are
// the address (RFC 5227, 3), an IPv6 address by an unsolicited Neighbour
// Advertisement to all nodes with the override flag (RFC 4861, 7.2.6). An
// interface without ARP (IFF_NOARP) is left alone and is success.
func (a *Announcer) GratuitousARP(dev string, vips []netip.Addr) []error {
	errs := make([]error, len(vips))
	target, err := a.target(dev)
	if err != nil {
		for i, vip := range vips {
			errs[i] = fmt.Errorf("announcing %s: %w", vip, err)
		}
		return errs
	}
	if target.noARP {
		return errs
	}
	frames := make([][]byte, len(vips))
	for i, vip := range vips {
		if frames[i], errs[i] = target.frame(vip); errs[i] != nil {
			errs[i] = fmt.Errorf("announcing %s on %s: %w", vip, dev, errs[i])
		}
	}
	for start := 0; start < len(frames); start += sendBatch {
		end := min(start+sendBatch, len(frames))
		for i, err := range sendFrames(a.fd, target.index, frames[start:end]) {
			if err != nil {
				errs[start+i] = fmt.Errorf("announcing %s on %s: %w", vips[start+i], dev, err)
			}
		}
	}
	return errs
}

// announceTarget is an interface as it is now.
type announceTarget struct {
	dev   string
	index int
	mac   MAC
	noARP bool
	// router is whether the interface forwards IPv6, asked for when the first
	// IPv6 address comes.
	router *bool
}

func (a *Announcer) target(dev string) (*announceTarget, error) {
	index, err := a.names.index(dev)
	if err != nil {
		return nil, err
	}
	flags, err := a.names.flags(dev)
	if err != nil {
		return nil, err
	}
	if flags&(unix.IFF_NOARP|unix.IFF_LOOPBACK) != 0 {
		return &announceTarget{dev: dev, index: index, noARP: true}, nil
	}
	mac, err := a.names.hardwareAddr(dev)
	if err != nil {
		return nil, err
	}
	return &announceTarget{dev: dev, index: index, mac: mac}, nil
}

func (t *announceTarget) frame(vip netip.Addr) ([]byte, error) {
	if vip.Is4() {
		// keepalived fills the target hardware address with ones.
		return arpFrame(t.mac, vip, ethernet.Broadcast, vip)
	}
	if !vip.Is6() || vip.Is4In6() {
		return nil, fmt.Errorf("not an address to announce: %w", unix.EINVAL)
	}
	if t.router == nil {
		forwards := forwardsIPv6(t.dev)
		t.router = &forwards
	}
	return neighbourAdvertisement(t.mac, vip.WithZone(""), *t.router), nil
}

// arpFrame builds a broadcast ARP request.
func arpFrame(from MAC, sender netip.Addr, targetMAC net.HardwareAddr, target netip.Addr) ([]byte, error) {
	packet, err := arp.NewPacket(arp.OperationRequest, from[:], sender, targetMAC, target)
	if err != nil {
		return nil, err
	}
	payload, err := packet.MarshalBinary()
	if err != nil {
		return nil, err
	}
	frame := ethernet.Frame{Destination: ethernet.Broadcast, Source: from[:], EtherType: ethernet.EtherTypeARP, Payload: payload}
	b, err := frame.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return b[:arpFrameLen], nil
}

// forwardsIPv6 reports what a Neighbour Advertisement says in its router flag.
func forwardsIPv6(dev string) bool {
	b, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + dev + "/forwarding")
	return err == nil && strings.TrimSpace(string(b)) != "0"
}

// mmsghdr is struct mmsghdr of sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// sendFrames sends whole Ethernet frames by the interface with the given index,
// all in one system call unless one fails. A nil frame is skipped.
func sendFrames(fd, index int, frames [][]byte) []error {
	errs := make([]error, len(frames))
	msgs := make([]mmsghdr, 0, len(frames))
	at := make([]int, 0, len(frames))
	iovs := make([]unix.Iovec, len(frames))
	names := make([]unix.RawSockaddrLinklayer, len(frames))
	for i, frame := range frames {
		if frame == nil {
			continue
		}
		iovs[i].Base = &frame[0]
		iovs[i].SetLen(len(frame))
		// The protocol is that of the frame, already in network order there.
		names[i] = unix.RawSockaddrLinklayer{Family: unix.AF_PACKET, Ifindex: int32(index), Halen: 6,
			Protocol: *(*uint16)(unsafe.Pointer(&frame[12]))}
		copy(names[i].Addr[:], frame[:6])
		m := mmsghdr{}
		m.hdr.Name = (*byte)(unsafe.Pointer(&names[i]))
		m.hdr.Namelen = uint32(unsafe.Sizeof(names[i]))
		m.hdr.Iov = &iovs[i]
		m.hdr.SetIovlen(1)
		msgs = append(msgs, m)
		at = append(at, i)
	}
	for len(msgs) > 0 {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&msgs[0])), uintptr(len(msgs)), 0, 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno != 0: // of the first frame: the others get their own chance
			errs[at[0]] = errno
			msgs, at = msgs[1:], at[1:]
		default:
			msgs, at = msgs[n:], at[n:]
		}
	}
	return errs
}
