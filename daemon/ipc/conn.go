// Package ipc is how the three processes of one node speak: typed messages
// over Unix sequenced-packet socket pairs that the guardian makes.
//
//	guardian ──control── vrrp      configuration, commit, stop; ready, committed
//	guardian ──control── cluster   the same, and dumps
//	vrrp     ──events─── cluster   state changes and snapshots; trackers, peers
//
// The guardian keeps both ends of the events pair open, so that the death of
// one process is no end of file for the other, and what was written while it
// was away is read by its successor.
//
// A message is one packet: JSON, at most [MaxMessage] bytes. What is larger (a
// configuration) travels as a sealed memory file whose descriptor rides along.
// Conn does no buffering and starts no goroutine; its descriptor is
// non-blocking, for a loop that polls it, or blocking for everybody else.
package ipc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// MaxMessage is the size in bytes above which Send refuses a message.
const MaxMessage = 160 << 10

// ErrFull says that the peer does not read: the message was dropped.
var ErrFull = errors.New("the other process is not reading its messages")

// Conn is one end of a pair. It may be used by one reader and one writer.
type Conn struct {
	fd  int
	buf []byte
	oob []byte
}

// Pair makes two connected descriptors with large buffers, close-on-exec.
func Pair() (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("making a socket pair: %w", err)
	}
	for _, fd := range fds {
		// Beyond net.core.wmem_max where the capability allows; the plain
		// option otherwise. Either failing leaves the default, which works.
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 1<<20) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20)
		}
	}
	return os.NewFile(uintptr(fds[0]), "ipc-a"), os.NewFile(uintptr(fds[1]), "ipc-b"), nil
}

// New wraps a descriptor; nonblock says how Send and Receive behave when the
// socket is full or empty.
func New(fd int, nonblock bool) (*Conn, error) {
	if err := unix.SetNonblock(fd, nonblock); err != nil {
		return nil, fmt.Errorf("using descriptor %d as a message socket: %w", fd, err)
	}
	unix.CloseOnExec(fd)
	return &Conn{fd: fd, buf: make([]byte, MaxMessage), oob: make([]byte, unix.CmsgSpace(4))}, nil
}

// FD is the descriptor, for a poll set.
func (c *Conn) FD() int { return c.fd }

// Close closes the descriptor.
func (c *Conn) Close() error { return unix.Close(c.fd) }

// Send writes one message; file, which may be nil, rides along. It never
// waits: a peer that does not read gives ErrFull, also on a blocking Conn.
func (c *Conn) Send(m *Message, file *os.File) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encoding a message: %w", err)
	}
	if len(b) > MaxMessage {
		return fmt.Errorf("a message of %d bytes is larger than %d", len(b), MaxMessage)
	}
	var oob []byte
	if file != nil {
		oob = unix.UnixRights(int(file.Fd()))
	}
	for {
		err = unix.Sendmsg(c.fd, b, oob, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS):
			return ErrFull
		default:
			return fmt.Errorf("sending a message: %w", err)
		}
	}
}

// Receive reads one message. The file is the caller's to close and nil where
// none came along. io.EOF says that the peer is gone; on a non-blocking Conn
// unix.EAGAIN says that nothing waits.
func (c *Conn) Receive() (*Message, *os.File, error) {
	for {
		n, oobn, _, _, err := unix.Recvmsg(c.fd, c.buf, c.oob, unix.MSG_CMSG_CLOEXEC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if n == 0 {
			return nil, nil, io.EOF
		}
		file := received(c.oob[:oobn])
		m := new(Message)
		if err := json.Unmarshal(c.buf[:n], m); err != nil {
			if file != nil {
				file.Close()
			}
			return nil, nil, fmt.Errorf("decoding a message of %d bytes: %w", n, err)
		}
		return m, file, nil
	}
}

func received(oob []byte) *os.File {
	cmsgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range cmsgs {
		if fds, err := unix.ParseUnixRights(&cmsgs[i]); err == nil && len(fds) > 0 {
			return os.NewFile(uintptr(fds[0]), "received")
		}
	}
	return nil
}

// Memfile puts v, as JSON, into a memory file positioned at its start.
func Memfile(name string, v any) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making a memory file: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := json.NewEncoder(f).Encode(v); err != nil {
		f.Close()
		return nil, fmt.Errorf("writing %s: %w", name, err)
	}
	return f, nil
}

// ReadMemfile decodes what Memfile wrote. It reads by position, so that
// several processes may share the file.
func ReadMemfile(f *os.File, v any) error {
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("reading a memory file: %w", err)
	}
	if err := json.NewDecoder(io.NewSectionReader(f, 0, st.Size())).Decode(v); err != nil {
		return fmt.Errorf("decoding %s: %w", f.Name(), err)
	}
	return nil
}
