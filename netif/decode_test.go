package netif

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// message builds a netlink message around a body.
func message(typ uint16, body []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(body)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	return append(append(b, make([]byte, 10)...), body...)
}

// FuzzDecode looks for messages that make the decoders panic: the process that
// reads them holds the addresses.
func FuzzDecode(f *testing.F) {
	rule := append(make([]byte, unix.SizeofRtMsg), 4, 0, unix.FRA_PROTOCOL, 0)
	route := append(make([]byte, unix.SizeofRtMsg), 6, 0, unix.RTA_VIA, 0, 1, 0, 0, 0)
	address := append(make([]byte, unix.SizeofIfAddrmsg), 5, 0, unix.IFA_LOCAL, 0, 1, 0, 0, 0)
	f.Add(message(unix.RTM_DELRULE, rule))
	f.Add(message(unix.RTM_DELROUTE, route))
	f.Add(append(message(unix.RTM_NEWADDR, address), message(unix.RTM_DELADDR, address[:7])...))
	f.Add(message(unix.NLMSG_ERROR, []byte{0xfe, 0xff, 0xff, 0xff}))
	f.Fuzz(func(t *testing.T, b []byte) {
		eachMessage(b, func(h header, body []byte) {
			switch h.typ {
			case unix.RTM_NEWADDR, unix.RTM_DELADDR:
				decodeAddr(h, body, func(e Event) {
					if a, ok := e.(AddrAdded); ok && !a.Prefix.IsValid() {
						t.Errorf("an address without a prefix: %+v", a)
					}
				})
			case unix.RTM_DELROUTE:
				decodeRoute(body, func(Event) {})
			case unix.RTM_DELRULE:
				decodeRule(body, func(Event) {})
			case unix.NLMSG_ERROR:
				ackError(h, body)
			}
		})
	})
}
