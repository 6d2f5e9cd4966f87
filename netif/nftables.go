package netif

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// nfConn is a netlink socket to nf_tables. A table with an owner lives as long
// as the socket of the process that made it.
type nfConn struct{ *conn }

func dialNetfilter() (*nfConn, error) {
	c, err := dial(unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("opening a netlink socket to nf_tables: %w", err)
	}
	return &nfConn{c}, nil
}

// commit sends messages as one transaction: all take effect, or none does and
// the first error is returned.
func (c *nfConn) commit(messages []*nl.NetlinkRequest) error {
	x := exchange{first: c.seq + 2, errs: make([]error, len(messages)), waiting: make([]bool, len(messages)), left: len(messages)}
	begin, end := c.seq+1, c.seq+2+uint32(len(messages))
	c.seq = end
	c.wbuf = append(c.wbuf[:0], batchMark(unix.NFNL_MSG_BATCH_BEGIN, begin)...)
	for i, m := range messages {
		m.Seq = x.first + uint32(i)
		m.Flags |= unix.NLM_F_ACK
		x.waiting[i] = true
		c.wbuf = append(c.wbuf, m.Serialize()...)
		for len(c.wbuf)%unix.NLMSG_ALIGNTO != 0 {
			c.wbuf = append(c.wbuf, 0)
		}
	}
	c.wbuf = append(c.wbuf, batchMark(unix.NFNL_MSG_BATCH_END, end)...)
	if err := unix.Sendto(c.fd, c.wbuf, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("sending to the kernel: %w", err)
	}
	if err := c.await(&x, begin); err != nil {
		return err
	}
	return errors.Join(x.errs...)
}

// await collects the answers; one to the mark of the beginning refuses all.
func (c *nfConn) await(x *exchange, begin uint32) (refused error) {
	deadline := time.Now().Add(Timeout)
	for x.left > 0 && refused == nil {
		n, _, err := unix.Recvfrom(c.fd, c.rbuf, 0)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN || time.Now().After(deadline):
			return errLate
		case err != nil:
			return fmt.Errorf("reading the kernel's answer: %w", err)
		default:
			eachMessage(c.rbuf[:n], func(h header, body []byte) {
				if h.seq == begin && h.typ == unix.NLMSG_ERROR {
					refused = ackError(h, body)
				}
				x.answer(h, body)
			})
		}
	}
	return refused
}

// batchMark is the message that begins or ends a transaction.
func batchMark(kind uint16, seq uint32) []byte {
	b := binary.NativeEndian.AppendUint32(nil, unix.NLMSG_HDRLEN+4)
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	return append(b, unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES)
}

// nfgenmsg is the header of each message.
type nfgenmsg struct{ family uint8 }

func (m nfgenmsg) Len() int          { return 4 }
func (m nfgenmsg) Serialize() []byte { return []byte{m.family, unix.NFNETLINK_V0, 0, 0} }

// nfTable makes the messages about one table.
type nfTable struct {
	family uint8 // NFPROTO_*
	name   string
	sets   uint32 // made so far: each needs a number of its own
}

func (t *nfTable) message(kind, flags int, attrs ...*nl.RtAttr) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|kind, flags)
	req.AddData(nfgenmsg{t.family})
	req.AddData(nfString(1, t.name)) // NFTA_..._TABLE, NFTA_TABLE_NAME
	for _, a := range attrs {
		req.AddData(a)
	}
	return req
}

func (t *nfTable) add(flags uint32) *nl.NetlinkRequest {
	return t.message(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, nfUint32(unix.NFTA_TABLE_FLAGS, flags))
}

func (t *nfTable) remove() *nl.NetlinkRequest { return t.message(unix.NFT_MSG_DELTABLE, 0) }

// nfHook is where a base chain stands; 0 with priority 0 is no base chain.
type nfHook struct {
	number   uint32
	priority int
}

func (t *nfTable) chain(name string, hook *nfHook) *nl.NetlinkRequest {
	attrs := []*nl.RtAttr{nfString(unix.NFTA_CHAIN_NAME, name)}
	if hook != nil {
		attrs = append(attrs, nfString(unix.NFTA_CHAIN_TYPE, "filter"), nfUint32(unix.NFTA_CHAIN_POLICY, nfAccept),
			nfNest(unix.NFTA_CHAIN_HOOK, nfUint32(unix.NFTA_HOOK_HOOKNUM, hook.number), nfUint32(unix.NFTA_HOOK_PRIORITY, uint32(int32(hook.priority)))))
	}
	return t.message(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, attrs...)
}

// Verdicts of linux/netfilter.h.
const (
	nfDrop   = 0
	nfAccept = 1
)

// Types of keys as nft(8) numbers and shows them. A concatenation has six bits
// for each.
const (
	nfIPv4      = 7
	nfIPv6      = 8
	nfInterface = 20
	nfICMPv6    = 29
)

// hostByteOrder is nft(8)'s BYTEORDER_HOST_ENDIAN.
const hostByteOrder = 1

// nfSet is a set, or a map where it has a dataLen.
type nfSet struct {
	name            string
	keyType, keyLen uint32
	dataLen         uint32
	flags           uint32
	dataType        uint32
}

func (t *nfTable) set(s nfSet) *nl.NetlinkRequest {
	t.sets++
	attrs := []*nl.RtAttr{
		nfString(unix.NFTA_SET_NAME, s.name), nfUint32(unix.NFTA_SET_FLAGS, s.flags),
		nfUint32(unix.NFTA_SET_KEY_TYPE, s.keyType), nfUint32(unix.NFTA_SET_KEY_LEN, s.keyLen), nfUint32(unix.NFTA_SET_ID, t.sets),
	}
	// nft(8) reads from these in which byte order to show a key and a value.
	orders := byte(0)
	if s.keyType == nfInterface {
		orders++
	}
	if s.dataLen != 0 {
		orders++
	}
	var udata []byte
	for n := range orders {
		udata = append(udata, n, 4) // NFTNL_UDATA_SET_KEYBYTEORDER, then _DATABYTEORDER
		udata = binary.NativeEndian.AppendUint32(udata, hostByteOrder)
	}
	if udata != nil {
		attrs = append(attrs, nl.NewRtAttr(unix.NFTA_SET_USERDATA, udata))
	}
	if s.dataLen != 0 {
		attrs = append(attrs, nfUint32(unix.NFTA_SET_DATA_TYPE, s.dataType), nfUint32(unix.NFTA_SET_DATA_LEN, s.dataLen))
	}
	return t.message(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, attrs...)
}

// nfElement is a key of a set, with a value in a map.
type nfElement struct{ key, data []byte }

// elements adds elements to a set, or removes them with NFT_MSG_DELSETELEM.
func (t *nfTable) elements(kind int, set string, all []nfElement) *nl.NetlinkRequest {
	var list []*nl.RtAttr
	for _, e := range all {
		parts := []*nl.RtAttr{nfNest(unix.NFTA_SET_ELEM_KEY, nl.NewRtAttr(unix.NFTA_DATA_VALUE, e.key))}
		if e.data != nil {
			parts = append(parts, nfNest(unix.NFTA_SET_ELEM_DATA, nl.NewRtAttr(unix.NFTA_DATA_VALUE, e.data)))
		}
		list = append(list, nfNest(unix.NFTA_LIST_ELEM, parts...))
	}
	flags := 0
	if kind == unix.NFT_MSG_NEWSETELEM {
		flags = unix.NLM_F_CREATE
	}
	return t.message(kind, flags, nfString(unix.NFTA_SET_ELEM_LIST_SET, set), nfNest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, list...))
}

func (t *nfTable) rule(chain string, expressions ...*nl.RtAttr) *nl.NetlinkRequest {
	return t.message(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND,
		nfString(unix.NFTA_RULE_CHAIN, chain), nfNest(unix.NFTA_RULE_EXPRESSIONS, expressions...))
}

func nfString(kind int, s string) *nl.RtAttr { return nl.NewRtAttr(kind, nl.ZeroTerminated(s)) }

func nfUint32(kind int, v uint32) *nl.RtAttr {
	return nl.NewRtAttr(kind, binary.BigEndian.AppendUint32(nil, v))
}

func nfNest(kind int, children ...*nl.RtAttr) *nl.RtAttr {
	a := nl.NewRtAttr(kind|unix.NLA_F_NESTED, nil)
	for _, c := range children {
		a.AddChild(c)
	}
	return a
}

func nfExpression(name string, attrs ...*nl.RtAttr) *nl.RtAttr {
	return nfNest(unix.NFTA_LIST_ELEM, nfString(unix.NFTA_EXPR_NAME, name), nfNest(unix.NFTA_EXPR_DATA, attrs...))
}

// Registers: 1 to 4 of 16 bytes each hold what is compared and looked up.
const (
	reg1 = unix.NFT_REG_1
	reg2 = unix.NFT_REG_2
)

func nfPayload(base, offset, length uint32) *nl.RtAttr {
	return nfExpression("payload", nfUint32(unix.NFTA_PAYLOAD_DREG, reg1), nfUint32(unix.NFTA_PAYLOAD_BASE, base),
		nfUint32(unix.NFTA_PAYLOAD_OFFSET, offset), nfUint32(unix.NFTA_PAYLOAD_LEN, length))
}

func nfMeta(key, reg uint32) *nl.RtAttr {
	return nfExpression("meta", nfUint32(unix.NFTA_META_DREG, reg), nfUint32(unix.NFTA_META_KEY, key))
}

func nfEqual(value []byte) *nl.RtAttr {
	return nfExpression("cmp", nfUint32(unix.NFTA_CMP_SREG, reg1), nfUint32(unix.NFTA_CMP_OP, unix.NFT_CMP_EQ),
		nfNest(unix.NFTA_CMP_DATA, nl.NewRtAttr(unix.NFTA_DATA_VALUE, value)))
}

// nfMask keeps the bits of register 1 that mask has.
func nfMask(mask []byte) *nl.RtAttr {
	return nfExpression("bitwise", nfUint32(unix.NFTA_BITWISE_SREG, reg1), nfUint32(unix.NFTA_BITWISE_DREG, reg1),
		nfUint32(unix.NFTA_BITWISE_LEN, uint32(len(mask))),
		nfNest(unix.NFTA_BITWISE_MASK, nl.NewRtAttr(unix.NFTA_DATA_VALUE, mask)),
		nfNest(unix.NFTA_BITWISE_XOR, nl.NewRtAttr(unix.NFTA_DATA_VALUE, make([]byte, len(mask)))))
}

func nfLookup(set string) *nl.RtAttr {
	return nfExpression("lookup", nfString(unix.NFTA_LOOKUP_SET, set), nfUint32(unix.NFTA_LOOKUP_SREG, reg1))
}

// nfMap replaces register 2 by what the map has for it.
func nfMap(set string) *nl.RtAttr {
	return nfExpression("lookup", nfString(unix.NFTA_LOOKUP_SET, set), nfUint32(unix.NFTA_LOOKUP_SREG, reg2), nfUint32(unix.NFTA_LOOKUP_DREG, reg2))
}

// nfDuplicate sends a copy to the address in register 1 by the interface in 2.
func nfDuplicate() *nl.RtAttr {
	const sregAddr, sregDev = 1, 2 // NFTA_DUP_*
	return nfExpression("dup", nfUint32(sregAddr, reg1), nfUint32(sregDev, reg2))
}

func nfVerdict(code int32, chain string) *nl.RtAttr {
	verdict := []*nl.RtAttr{nfUint32(unix.NFTA_VERDICT_CODE, uint32(code))}
	if chain != "" {
		verdict = append(verdict, nfString(unix.NFTA_VERDICT_CHAIN, chain))
	}
	return nfExpression("immediate", nfUint32(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT),
		nfNest(unix.NFTA_IMMEDIATE_DATA, nfNest(unix.NFTA_DATA_VERDICT, verdict...)))
}
