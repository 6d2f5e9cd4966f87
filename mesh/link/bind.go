package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// DefaultBind chooses the address to bind where mesh.conf names none: the one
// that this host would send from to the first seed ("host" or "host:port") that
// is not this host itself. It sends nothing. A floating address is chosen only
// if routes prefer it, which is why naming bind is better.
func DefaultBind(ctx context.Context, seeds []string) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var last error
	for _, seed := range seeds {
		target := seed
		if _, _, err := net.SplitHostPort(seed); err != nil {
			target = net.JoinHostPort(seed, "7946")
		}
		// Connecting a UDP socket only looks the route up.
		conn, err := (&net.Dialer{}).DialContext(ctx, "udp", target)
		if err != nil {
			last = err
			continue
		}
		local, remote := addrOf(conn.LocalAddr()), addrOf(conn.RemoteAddr())
		conn.Close()
		if local.IsValid() && local != remote && !local.IsUnspecified() {
			return local, nil
		}
	}
	if last != nil {
		return netip.Addr{}, fmt.Errorf("no address to bind: set bind in mesh.conf (%w)", last)
	}
	return netip.Addr{}, errors.New("no address to bind: set bind in mesh.conf to an address of this host that the other nodes reach")
}

func addrOf(a net.Addr) netip.Addr {
	udp, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.Addr{}
	}
	return udp.AddrPort().Addr().Unmap()
}
