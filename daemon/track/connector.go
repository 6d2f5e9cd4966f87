package track

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// procKind is what a procEvent tells.
type procKind uint8

const (
	procLost procKind = iota // the kernel had more than could be read
	procFork
	procExec
	procName
	procExit
)

// procEvent is one event of a process; those of single threads are left out.
type procEvent struct {
	what   procKind
	pid    int
	parent int // of procFork
}

// connector is the kernel's proc connector.
type connector struct{ file *os.File }

// The numbers of linux/connector.h and linux/cn_proc.h.
const (
	cnIdxProc   = 1
	cnValProc   = 1
	cnListen    = 1
	eventFork   = 1
	eventExec   = 2
	eventComm   = 0x200
	eventExit   = 0x80000000
	nlHeader    = 16
	cnHeader    = 20
	eventHeader = 16
	ackTime     = 500 * time.Millisecond
	receiveSize = 1 << 20
)

// dialConnector subscribes. The kernel refuses outside of the first network
// namespace, and does not even answer outside of the first process and user
// namespaces: that takes ackTime to find out.
func dialConnector() (*connector, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_CONNECTOR)
	if err != nil {
		return nil, fmt.Errorf("no proc connector in this network namespace: %w", err)
	}
	// Refused without CAP_NET_ADMIN: then the default size has to do.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveSize)
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: cnIdxProc})
	if err == nil {
		err = unix.Sendto(fd, listenRequest(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}
	c := &connector{file: os.NewFile(uintptr(fd), "proc connector")}
	if err == nil {
		_ = c.file.SetReadDeadline(time.Now().Add(ackTime))
		_, err = c.file.Read(make([]byte, 4096))
		_ = c.file.SetReadDeadline(time.Time{})
	}
	if err != nil {
		c.close()
		return nil, fmt.Errorf("the proc connector does not answer: %w", err)
	}
	return c, nil
}

func listenRequest() []byte {
	ne := binary.NativeEndian
	b := make([]byte, 0, nlHeader+cnHeader+4)
	b = ne.AppendUint32(b, nlHeader+cnHeader+4)
	b = ne.AppendUint16(b, unix.NLMSG_DONE)
	b = ne.AppendUint16(b, 0)
	b = ne.AppendUint32(b, 0)
	b = ne.AppendUint32(b, 0)
	for _, v := range [...]uint32{cnIdxProc, cnValProc, 0, 0} {
		b = ne.AppendUint32(b, v)
	}
	b = ne.AppendUint16(b, 4)
	b = ne.AppendUint16(b, 0)
	return ne.AppendUint32(b, cnListen)
}

// read gives each event to take, until the connector fails or is closed.
func (c *connector) read(take func(procEvent)) error {
	buf := make([]byte, 16<<10)
	for {
		n, err := c.file.Read(buf)
		switch {
		case errors.Is(err, unix.ENOBUFS):
			take(procEvent{what: procLost})
			continue
		case err != nil:
			return err
		case n == 0:
			return io.EOF
		}
		parseEvents(buf[:n], take)
	}
}

// parseEvents decodes the messages of one read; what is cut ends it.
func parseEvents(b []byte, take func(procEvent)) {
	ne := binary.NativeEndian
	for len(b) >= nlHeader+cnHeader+eventHeader {
		length := int(ne.Uint32(b))
		if length < nlHeader+cnHeader+eventHeader || length > len(b) {
			return
		}
		what, data := ne.Uint32(b[nlHeader+cnHeader:]), b[nlHeader+cnHeader+eventHeader:length]
		if ev, ok := decodeEvent(what, data); ok {
			take(ev)
		}
		b = b[min((length+3)&^3, len(b)):]
	}
}

// decodeEvent takes an event's own fields, which begin with the ids of a thread
// and of its process; a fork's with those of the parent.
func decodeEvent(what uint32, data []byte) (procEvent, bool) {
	field := func(n int) int { return int(binary.NativeEndian.Uint32(data[4*n:])) }
	if len(data) < 8 || what == eventFork && len(data) < 16 {
		return procEvent{}, false
	}
	switch what {
	case eventFork:
		return procEvent{what: procFork, pid: field(3), parent: field(1)}, field(2) == field(3)
	case eventExec:
		return procEvent{what: procExec, pid: field(1)}, true
	case eventComm:
		return procEvent{what: procName, pid: field(1)}, field(0) == field(1)
	case eventExit:
		return procEvent{what: procExit, pid: field(1)}, field(0) == field(1)
	}
	return procEvent{}, false
}

func (c *connector) close() { _ = c.file.Close() }
