package netif

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// interfaceTable answers questions about interfaces by name with one ioctl
// each. A netlink dump costs hundreds of times as much on a host with many
// interfaces, and these questions are asked before each announcement.
type interfaceTable struct{ fd int }

// ifreq is struct ifreq of netdevice(7).
type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data [24]byte
}

func openInterfaceTable() (*interfaceTable, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return &interfaceTable{fd: fd}, nil
}

func (t *interfaceTable) close() error { return unix.Close(t.fd) }

func (t *interfaceTable) query(name string, op uintptr) (ifreq, error) {
	var r ifreq
	if name == "" || len(name) >= len(r.name) {
		return r, fmt.Errorf("interface %q: %w", name, unix.ENODEV)
	}
	copy(r.name[:], name)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(t.fd), op, uintptr(unsafe.Pointer(&r))); errno != 0 {
		return r, fmt.Errorf("interface %s: %w", name, errno)
	}
	return r, nil
}

// index returns the current index of an interface. An unknown name is an error
// that wraps ENODEV.
func (t *interfaceTable) index(name string) (int, error) {
	r, err := t.query(name, unix.SIOCGIFINDEX)
	if err != nil {
		return 0, err
	}
	return int(*(*int32)(unsafe.Pointer(&r.data))), nil
}

// flags returns IFF_* of netdevice(7).
func (t *interfaceTable) flags(name string) (uint16, error) {
	r, err := t.query(name, unix.SIOCGIFFLAGS)
	if err != nil {
		return 0, err
	}
	return *(*uint16)(unsafe.Pointer(&r.data)), nil
}

// hardwareAddr returns the Ethernet address of an interface, and an error that
// wraps EAFNOSUPPORT for one that has none.
func (t *interfaceTable) hardwareAddr(name string) (MAC, error) {
	r, err := t.query(name, unix.SIOCGIFHWADDR)
	if err != nil {
		return MAC{}, err
	}
	if kind := *(*uint16)(unsafe.Pointer(&r.data)); kind != unix.ARPHRD_ETHER {
		return MAC{}, fmt.Errorf("interface %s has no Ethernet address: %w", name, unix.EAFNOSUPPORT)
	}
	return MAC(r.data[2:8]), nil
}
