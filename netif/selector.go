package netif

import (
	"encoding/binary"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Selector is what a Rule can ask for beyond addresses, interfaces and marks.
// Its zero fields ask for nothing.
type Selector struct {
	IPProto      int         // protocol number above IP, such as 6 for TCP
	SPort, DPort [2]uint16   // first and last port; the last is not 0 where it is asked for
	UIDs         [2]uint32   // first and last user of the sending process,
	HasUIDs      bool        // where this is set
	L3MDev       bool        // look up the table of the VRF; Table is then 0
	TunnelID     uint64      // of collected tunnel metadata
	Realms       uint32      // source realm << 16 | destination realm, IPv4 only
	Suppress     SuppressIfs // routes by interfaces of a group are ignored
}

// SuppressIfs names a group of interfaces.
type SuppressIfs struct {
	Group uint32
	Set   bool
}

func (s *Selector) encode(attr func(typ int, value []byte)) {
	if s.IPProto != 0 {
		attr(unix.FRA_IP_PROTO, nl.Uint8Attr(uint8(s.IPProto)))
	}
	for typ, ports := range map[int][2]uint16{unix.FRA_SPORT_RANGE: s.SPort, unix.FRA_DPORT_RANGE: s.DPort} {
		if ports[1] != 0 {
			attr(typ, binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(nil, ports[0]), ports[1]))
		}
	}
	if s.HasUIDs {
		attr(unix.FRA_UID_RANGE, binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, s.UIDs[0]), s.UIDs[1]))
	}
	if s.L3MDev {
		attr(unix.FRA_L3MDEV, nl.Uint8Attr(1))
	}
	if s.TunnelID != 0 {
		attr(unix.FRA_TUN_ID, binary.BigEndian.AppendUint64(nil, s.TunnelID))
	}
	if s.Realms != 0 {
		attr(unix.FRA_FLOW, nl.Uint32Attr(s.Realms))
	}
	if s.Suppress.Set {
		attr(unix.FRA_SUPPRESS_IFGROUP, nl.Uint32Attr(s.Suppress.Group))
	}
}

// decode takes one attribute of a kernel's notice.
func (s *Selector) decode(typ uint16, v []byte) {
	switch {
	case typ == unix.FRA_IP_PROTO && len(v) > 0:
		s.IPProto = int(v[0])
	case typ == unix.FRA_SPORT_RANGE && len(v) >= 4:
		s.SPort = [2]uint16{binary.NativeEndian.Uint16(v), binary.NativeEndian.Uint16(v[2:])}
	case typ == unix.FRA_DPORT_RANGE && len(v) >= 4:
		s.DPort = [2]uint16{binary.NativeEndian.Uint16(v), binary.NativeEndian.Uint16(v[2:])}
	case typ == unix.FRA_UID_RANGE && len(v) >= 8:
		s.UIDs, s.HasUIDs = [2]uint32{binary.NativeEndian.Uint32(v), binary.NativeEndian.Uint32(v[4:])}, true
	case typ == unix.FRA_L3MDEV && len(v) > 0:
		s.L3MDev = v[0] != 0
	case typ == unix.FRA_TUN_ID && len(v) >= 8:
		s.TunnelID = binary.BigEndian.Uint64(v)
	case typ == unix.FRA_FLOW && len(v) >= 4:
		s.Realms = binary.NativeEndian.Uint32(v)
	case typ == unix.FRA_SUPPRESS_IFGROUP && len(v) >= 4:
		if n := binary.NativeEndian.Uint32(v); n != ^uint32(0) { // what the kernel says for none
			s.Suppress = SuppressIfs{n, true}
		}
	}
}
