package netif

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// MAC is an Ethernet address.
type MAC [6]byte

// String returns the address as 02:00:5e:10:00:01.
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// MarshalText returns String, for logs and JSON.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what MarshalText wrote, and any other form of six octets.
func (m *MAC) UnmarshalText(text []byte) error {
	parsed, err := net.ParseMAC(string(text))
	if err != nil || len(parsed) != len(m) {
		return fmt.Errorf("%q is not an Ethernet address", text)
	}
	copy(m[:], parsed)
	return nil
}

// Link is one interface as the kernel reports it.
type Link struct {
	Index int
	Name  string
	// Up is IFF_UP and IFF_RUNNING: switched on, and with an operational state
	// that carries frames. keepalived calls an interface up by the same bits.
	Up           bool
	AdminUp      bool // IFF_UP alone
	Loopback     bool
	Multicast    bool
	NoARP        bool
	MTU          int    // bytes
	HardwareAddr MAC    // zero where the interface has no Ethernet address
	Kind         string // such as "veth", "macvlan", "bond"; "device" for hardware
	Parent       int    // index of the lower interface, 0 for none
	// Addrs holds the addresses with their prefix lengths in kernel order: for
	// IPv4 the primary ones first. It is nil in a LinkChanged event.
	Addrs []netip.Prefix
}

// Links returns all interfaces with their addresses.
func (k *Kernel) Links() ([]Link, error) {
	devices, err := complete(k.dump.LinkList)
	if err != nil {
		return nil, fmt.Errorf("listing interfaces: %w", err)
	}
	addrs, err := k.addresses()
	if err != nil {
		return nil, fmt.Errorf("listing addresses: %w", err)
	}
	links := make([]Link, len(devices))
	at := make(map[int]int, len(devices))
	for i, d := range devices {
		links[i] = linkOf(d)
		at[links[i].Index] = i
	}
	for _, a := range addrs {
		if i, ok := at[a.LinkIndex]; ok {
			if p := prefixOf(a.IPNet); p.IsValid() {
				links[i].Addrs = append(links[i].Addrs, p)
			}
		}
	}
	return links, nil
}

func linkOf(d netlink.Link) Link {
	a := d.Attrs()
	l := Link{
		Index:     a.Index,
		Name:      a.Name,
		Up:        a.RawFlags&unix.IFF_UP != 0 && a.RawFlags&unix.IFF_RUNNING != 0,
		AdminUp:   a.RawFlags&unix.IFF_UP != 0,
		Loopback:  a.RawFlags&unix.IFF_LOOPBACK != 0,
		Multicast: a.RawFlags&unix.IFF_MULTICAST != 0,
		NoARP:     a.RawFlags&unix.IFF_NOARP != 0,
		MTU:       a.MTU,
		Kind:      d.Type(),
		Parent:    a.ParentIndex,
	}
	if len(a.HardwareAddr) == len(l.HardwareAddr) {
		copy(l.HardwareAddr[:], a.HardwareAddr)
	}
	return l
}
