package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/keepmesh/keepmesh/mesh/link"
)

// transport gives the gossip library UDP sockets of its own and the streams of
// the shared port.
type transport struct {
	link    *link.Listener
	streams net.Listener
	cluster string
	log     *slog.Logger
	quiet   *link.Throttle

	udp      []*net.UDPConn
	packetCh chan *memberlist.Packet
	streamCh chan net.Conn
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

// A datagram of ours is below 1400 bytes; a socket buffer of this size holds a
// burst of a large cluster.
const udpReceiveBuffer = 512 << 10

func newTransport(l *link.Listener, cluster string, log *slog.Logger) (*transport, error) {
	ctx, cancel := context.WithCancel(context.Background())
	t := &transport{
		link: l, cluster: cluster, log: log, quiet: link.NewThrottle(time.Minute),
		packetCh: make(chan *memberlist.Packet), streamCh: make(chan net.Conn),
		ctx: ctx, cancel: cancel,
	}
	for _, addr := range l.Addrs() {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
		if err != nil {
			t.closeSockets()
			cancel()
			return nil, link.BindError("udp", addr.Addr(), addr.Port(), err)
		}
		// A smaller buffer than asked for is no reason not to run.
		_ = conn.SetReadBuffer(udpReceiveBuffer)
		t.udp = append(t.udp, conn)
	}
	t.streams = l.Protocol(link.Gossip)
	for _, conn := range t.udp {
		t.wg.Add(1)
		go t.readPackets(conn)
	}
	t.wg.Add(1)
	go t.acceptStreams()
	return t, nil
}

// FinalAdvertiseAddr returns the first bind address.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	addr := t.link.Addrs()[0]
	if addr.Addr().IsUnspecified() {
		return nil, 0, fmt.Errorf("bind address %s cannot be advertised: set bind in mesh.conf to one address of this host", addr.Addr())
	}
	return net.IP(addr.Addr().AsSlice()), int(addr.Port()), nil
}

func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	return t.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress sends from the bind address of the target's family.
func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	to, err := netip.ParseAddrPort(a.Addr)
	if err != nil {
		return time.Time{}, fmt.Errorf("gossip to %q: %w", a.Addr, err)
	}
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	conn := t.udp[0]
	for n, own := range t.link.Addrs() {
		if own.Addr().Is4() == to.Addr().Is4() {
			conn = t.udp[n]
			break
		}
	}
	_, err = conn.WriteToUDPAddrPort(b, to)
	return time.Now(), err
}

func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packetCh }
func (t *transport) StreamCh() <-chan net.Conn           { return t.streamCh }

func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout opens a stream; where the member is known by its UUID, no
// other node may answer for it.
func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.ctx, timeout)
	defer cancel()
	conn, err := t.link.Dial(ctx, link.Gossip, a.Addr)
	if err != nil {
		return nil, err
	}
	if peer, _ := link.PeerOf(conn); a.Name != "" && peer.UUID != a.Name {
		conn.Close()
		return nil, fmt.Errorf("%s is node %q (%s) now, not %s", a.Addr, peer.Name, peer.UUID, a.Name)
	}
	return conn, nil
}

// Shutdown closes the sockets and waits for their readers.
func (t *transport) Shutdown() error {
	t.cancel()
	t.streams.Close()
	t.closeSockets()
	t.wg.Wait()
	return nil
}

func (t *transport) closeSockets() {
	for _, conn := range t.udp {
		conn.Close()
	}
}

func (t *transport) readPackets(conn *net.UDPConn) {
	defer t.wg.Done()
	buf := make([]byte, 64<<10)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		now := time.Now()
		if err != nil {
			if t.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			if ok, repeats := t.quiet.Allow("read"); ok {
				t.log.Warn("reading gossip failed", "err", err, "repeats", repeats)
			}
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if !t.labelled(buf[:n], from) {
			continue
		}
		// The library keeps the bytes, so each packet needs its own.
		packet := &memberlist.Packet{
			Buf:       append([]byte(nil), buf[:n]...),
			From:      net.UDPAddrFromAddrPort(from),
			Timestamp: now,
		}
		select {
		case t.packetCh <- packet:
		case <-t.ctx.Done():
			return
		}
	}
}

// labelled checks the cluster's name here, where the other one can be named.
func (t *transport) labelled(packet []byte, from netip.AddrPort) bool {
	if len(packet) == 0 {
		return false
	}
	_, label, err := memberlist.RemoveLabelHeaderFromPacket(packet)
	if err == nil && label == t.cluster {
		return true
	}
	if ok, repeats := t.quiet.Allow("label" + from.Addr().String() + label); ok {
		switch {
		case err != nil || label == "":
			t.log.Debug("packet is no gossip of a keepmesh cluster", "peer", from.Addr(), "repeats", repeats)
		default:
			t.log.Warn("gossip of another cluster refused: give both the same cluster_name, or take this node out of its join list",
				"peer", from.Addr(), "theirs", label, "ours", t.cluster, "repeats", repeats)
		}
	}
	return false
}

func (t *transport) acceptStreams() {
	defer t.wg.Done()
	for {
		conn, err := t.streams.Accept()
		if err != nil {
			return
		}
		select {
		case t.streamCh <- conn:
		case <-t.ctx.Done():
			conn.Close()
			return
		}
	}
}
