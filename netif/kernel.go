package netif

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Timeout bounds the wait for one answer of the kernel.
const Timeout = 2 * time.Second

// ProtocolKeepalived is the routing protocol number (RTPROT_KEEPALIVED) with
// which keepalived, and so this package, marks routes and rules.
const ProtocolKeepalived = 18

// dumpTries is how often a dump is repeated when the tables changed under it.
const dumpTries = 10

// Kernel changes and reads addresses, routes, rules, links and neighbours of
// one network namespace: that of the thread which called [New].
type Kernel struct {
	log   *slog.Logger
	batch *conn
	dump  *netlink.Handle
	names *interfaceTable
}

// New opens the netlink sockets. The caller closes them with Close.
func New(log *slog.Logger) (*Kernel, error) {
	batch, err := dialNetlink()
	if err != nil {
		return nil, fmt.Errorf("opening a netlink socket: %w", err)
	}
	names, err := openInterfaceTable()
	if err != nil {
		batch.close()
		return nil, fmt.Errorf("opening a socket for interface queries: %w", err)
	}
	dump, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		batch.close()
		names.close()
		return nil, fmt.Errorf("opening a netlink socket for dumps: %w", err)
	}
	if err := dump.SetSocketTimeout(Timeout); err != nil {
		batch.close()
		names.close()
		dump.Close()
		return nil, fmt.Errorf("setting the deadline of the netlink socket: %w", err)
	}
	return &Kernel{log: log, batch: batch, dump: dump, names: names}, nil
}

// Close releases the sockets. What was added to the kernel stays there.
func (k *Kernel) Close() error {
	k.dump.Close()
	return errors.Join(k.batch.close(), k.names.close())
}

// complete repeats a dump until it was not interrupted by a change.
func complete[T any](dump func() ([]T, error)) ([]T, error) {
	for try := 1; ; try++ {
		got, err := dump()
		if err == nil {
			return got, nil
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) || try == dumpTries {
			return nil, err
		}
	}
}
