package lab

import (
	"context"
	"fmt"
	"net"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// inNamespace runs fn on a thread inside the host's network namespace. The
// thread ends with it, since it may not be used for anything else again.
func inNamespace[T any](h *Host, fn func() (T, error)) (result T, err error) {
	// A descriptor of its own, so that fn may take its time while the host
	// is killed.
	var ns int
	err = h.use(func(_ *netlink.Handle, handle netns.NsHandle) (err error) {
		ns, err = unix.FcntlInt(uintptr(handle), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return result, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked
		err = unix.Setns(ns, unix.CLONE_NEWNET)
		unix.Close(ns)
		if err != nil {
			err = fmt.Errorf("entering the network namespace of %s: %w", h.name, err)
			return
		}
		result, err = fn()
	}()
	<-done
	return result, err
}

// DialContext connects from the host to an address, whose host part must be a
// literal IP address. It fits http.Transport.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return inNamespace(h, func() (net.Conn, error) {
		// A second family tried in parallel would be dialled by a goroutine
		// on a thread outside the namespace.
		d := net.Dialer{FallbackDelay: -1}
		return d.DialContext(ctx, network, address)
	})
}

// Listen listens for TCP in the host at a literal IP address and port.
func (h *Host) Listen(network, address string) (net.Listener, error) {
	return inNamespace(h, func() (net.Listener, error) { return net.Listen(network, address) })
}

// ListenPacket listens for UDP in the host at a literal IP address and port.
func (h *Host) ListenPacket(network, address string) (net.PacketConn, error) {
	return inNamespace(h, func() (net.PacketConn, error) { return net.ListenPacket(network, address) })
}
