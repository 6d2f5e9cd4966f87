package netif

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// batchSize is the number of requests in one sendmsg. The kernel runs a whole
// batch before the system call returns, so this also bounds the time for which
// the calling thread is away.
const batchSize = 32

// errLate says that the kernel, or a lock inside it, took too long. The request
// may still have been carried out.
var errLate = fmt.Errorf("the kernel did not answer within %v: %w", Timeout, unix.ETIMEDOUT)

// conn is a netlink socket that sends many requests in one system call and
// matches the acknowledgements. The kernel answers while it handles the send,
// so that the receive finds its answers waiting.
type conn struct {
	fd   int
	seq  uint32
	wbuf []byte
	rbuf []byte
}

func dialNetlink() (*conn, error) { return dial(unix.NETLINK_ROUTE) }

func dial(protocol int) (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, err
	}
	tv := unix.NsecToTimeval(Timeout.Nanoseconds())
	for _, set := range []func() error{
		func() error { return unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}) },
		func() error { return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv) },
		func() error { return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv) },
		// Answers without a copy of the request, but with the kernel's words.
		func() error { return unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1) },
		func() error { return unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1) },
	} {
		if err := set(); err != nil {
			unix.Close(fd)
			return nil, err
		}
	}
	return &conn{fd: fd, rbuf: make([]byte, 64<<10)}, nil
}

func (c *conn) close() error { return unix.Close(c.fd) }

// run sends the requests, in order, in as few system calls as batchSize
// allows, and returns one result per request. A nil request is skipped. The
// errors are unix.Errno values, possibly wrapped with the kernel's text.
func (c *conn) run(reqs []*nl.NetlinkRequest) []error {
	errs := make([]error, len(reqs))
	for start := 0; start < len(reqs); start += batchSize {
		end := min(start+batchSize, len(reqs))
		c.runBatch(reqs[start:end], errs[start:end])
	}
	return errs
}

// exchange is one batch on its way: which of its requests have no answer yet.
type exchange struct {
	first   uint32 // sequence number of the first request
	errs    []error
	waiting []bool
	left    int
}

func (c *conn) runBatch(reqs []*nl.NetlinkRequest, errs []error) {
	var waiting [batchSize]bool
	x := exchange{first: c.seq + 1, errs: errs, waiting: waiting[:]}
	c.seq += uint32(len(reqs))
	c.wbuf = c.wbuf[:0]
	for i, r := range reqs {
		if r == nil {
			continue
		}
		r.Seq = x.first + uint32(i)
		r.Flags |= unix.NLM_F_ACK
		c.wbuf = append(c.wbuf, r.Serialize()...)
		for len(c.wbuf)%unix.NLMSG_ALIGNTO != 0 {
			c.wbuf = append(c.wbuf, 0)
		}
		x.waiting[i] = true
		x.left++
	}
	if x.left == 0 {
		return
	}
	if err := unix.Sendto(c.fd, c.wbuf, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		x.fail(fmt.Errorf("sending to the kernel: %w", err))
		return
	}
	c.collect(&x)
}

// collect reads answers until each request of the batch has one.
func (c *conn) collect(x *exchange) {
	deadline := time.Now().Add(Timeout)
	for x.left > 0 {
		n, _, err := unix.Recvfrom(c.fd, c.rbuf, 0)
		switch {
		case err == unix.EAGAIN:
			x.fail(errLate)
			return
		case err != nil && err != unix.EINTR:
			x.fail(fmt.Errorf("reading the kernel's answer: %w", err))
			return
		case err == nil:
			eachMessage(c.rbuf[:n], x.answer)
		}
		if x.left > 0 && time.Now().After(deadline) {
			x.fail(errLate)
			return
		}
	}
}

// answer takes one message. What belongs to an earlier exchange, one that ran
// into its deadline, is ignored.
func (x *exchange) answer(h header, body []byte) {
	i := h.seq - x.first
	if h.typ != unix.NLMSG_ERROR || i >= uint32(len(x.errs)) || !x.waiting[i] {
		return
	}
	x.waiting[i] = false
	x.left--
	x.errs[i] = ackError(h, body)
}

// fail gives err to each request that has no answer.
func (x *exchange) fail(err error) {
	for i := range x.errs {
		if x.waiting[i] {
			x.errs[i] = err
		}
	}
}

// header is the part of a netlink message header that is looked at.
type header struct {
	typ   uint16
	flags uint16
	seq   uint32
}

// eachMessage calls f for each well-formed message of one datagram.
func eachMessage(b []byte, f func(header, []byte)) {
	for len(b) >= unix.NLMSG_HDRLEN {
		n := int(binary.NativeEndian.Uint32(b))
		if n < unix.NLMSG_HDRLEN || n > len(b) {
			return
		}
		f(header{
			typ:   binary.NativeEndian.Uint16(b[4:]),
			flags: binary.NativeEndian.Uint16(b[6:]),
			seq:   binary.NativeEndian.Uint32(b[8:]),
		}, b[unix.NLMSG_HDRLEN:n])
		b = b[min(len(b), align4(n)):]
	}
}

func align4(n int) int { return (n + 3) &^ 3 }

// ackError reads an NLMSG_ERROR: nil for an acknowledgement, else the errno
// with the extended text that newer kernels add.
func ackError(h header, body []byte) error {
	if len(body) < 4 {
		return unix.EBADMSG
	}
	code := int32(binary.NativeEndian.Uint32(body))
	if code == 0 {
		return nil
	}
	errno := unix.Errno(-code)
	const echoed = 4 + unix.NLMSG_HDRLEN // NETLINK_CAP_ACK echoes only the request's header
	if h.flags&unix.NLM_F_ACK_TLVS == 0 || len(body) < echoed {
		return errno
	}
	var text string
	eachAttr(body[echoed:], func(typ uint16, v []byte) {
		if typ == unix.NLMSGERR_ATTR_MSG {
			text = unix.ByteSliceToString(v)
		}
	})
	if text == "" {
		return errno
	}
	return fmt.Errorf("%w (%s)", errno, text)
}

// eachAttr calls f for each well-formed attribute.
func eachAttr(b []byte, f func(typ uint16, value []byte)) {
	for len(b) >= unix.SizeofRtAttr {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtAttr || n > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[unix.SizeofRtAttr:n])
		b = b[min(len(b), align4(n)):]
	}
}
