package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

// The protocols of the shared port, by their ALPN names.
const (
	Gossip  = "keepmesh-gossip"
	Raft    = "keepmesh-raft"
	Forward = "keepmesh-forward"
	API     = "keepmesh-api"
)

// DefaultPort is the port of mesh.conf where none is given.
const DefaultPort = 7946

const (
	handshakeTimeout = 5 * time.Second
	// Pending handshakes hold memory for peers that have proved nothing yet.
	maxHandshakes = 64
	backlog       = 16
)

// Config is what a Listener is made from.
type Config struct {
	Bind     []netip.Addr // addresses of this host, at least one; the first is advertised
	Port     uint16       // TCP port, the same on each address; 0 lets the kernel choose
	Identity *Identity
	Logger   *slog.Logger
}

// Listener is the shared port. Streams that come in are handed to the listener
// of their protocol; Dial opens streams to others.
type Listener struct {
	identity *Identity
	log      *slog.Logger
	quiet    *Throttle
	tcp      []*net.TCPListener
	addrs    []netip.AddrPort
	slots    chan struct{}

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu        sync.Mutex
	protocols map[string]*protocolListener
}

// Listen opens the port on every bind address, or on none.
func Listen(cfg Config) (*Listener, error) {
	if len(cfg.Bind) == 0 {
		return nil, errors.New("no bind address: set bind in mesh.conf to an address of this host")
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Listener{
		identity: cfg.Identity, log: cfg.Logger, quiet: NewThrottle(time.Minute),
		slots: make(chan struct{}, maxHandshakes),
		ctx:   ctx, cancel: cancel,
		protocols: make(map[string]*protocolListener),
	}
	port := cfg.Port
	for _, addr := range cfg.Bind {
		tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, port)))
		if err != nil {
			l.Close()
			return nil, BindError("tcp", addr, port, err)
		}
		got := tcp.Addr().(*net.TCPAddr).AddrPort()
		port = got.Port()
		l.tcp = append(l.tcp, tcp)
		l.addrs = append(l.addrs, netip.AddrPortFrom(got.Addr().Unmap(), port))
	}
	for _, tcp := range l.tcp {
		l.wg.Add(1)
		go l.accept(tcp)
	}
	return l, nil
}

// BindError words the failure to open a port on an address so that the reader
// knows what to change.
func BindError(network string, addr netip.Addr, port uint16, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("port %d/%s on %s is in use by another process: stop it (`ss -Hlnp '%s'` shows it) or set another port in mesh.conf on every node",
			port, network, addr, fmt.Sprintf("sport = :%d", port))
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("bind address %s is not on this host: set bind in mesh.conf to an address that `ip addr` shows", addr)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("port %d/%s on %s may not be opened by this user: run as root or take a port above 1023", port, network, addr)
	}
	return fmt.Errorf("opening port %d/%s on %s: %w", port, network, addr, err)
}

// Identity returns the identity that the listener proves.
func (l *Listener) Identity() *Identity { return l.identity }

// Addrs returns the addresses that are listened on; the first is the one to
// advertise.
func (l *Listener) Addrs() []netip.AddrPort { return slices.Clone(l.addrs) }

// Protocol returns the listener of one protocol. Its connections are *Conn,
// their peers verified. There is one per name: further calls return the same.
// Until the first call, and after its Close, streams for the name are refused.
func (l *Listener) Protocol(name string) net.Listener {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.protocols[name]; p != nil {
		return p
	}
	p := &protocolListener{link: l, name: name, conns: make(chan net.Conn, backlog), closed: make(chan struct{})}
	l.protocols[name] = p
	return p
}

// Close closes the port and every protocol's listener. Connections that were
// handed out stay open: they belong to those who took them.
func (l *Listener) Close() error {
	l.cancel()
	for _, tcp := range l.tcp {
		tcp.Close()
	}
	l.mu.Lock()
	open := make([]*protocolListener, 0, len(l.protocols))
	for _, p := range l.protocols {
		open = append(open, p)
	}
	l.mu.Unlock()
	for _, p := range open {
		p.Close()
	}
	l.wg.Wait()
	return nil
}

func (l *Listener) accept(tcp *net.TCPListener) {
	defer l.wg.Done()
	for {
		conn, err := tcp.Accept()
		if err != nil {
			if l.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of file descriptors, for one: it passes, but must not spin.
			if ok, repeats := l.quiet.Allow("accept"); ok {
				l.log.Error("accepting streams failed", "err", err, "repeats", repeats)
			}
			select {
			case <-l.ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		select {
		case l.slots <- struct{}{}:
		case <-l.ctx.Done():
			conn.Close()
			return
		}
		l.wg.Add(1)
		go func() {
			defer l.wg.Done()
			defer func() { <-l.slots }()
			l.serve(conn)
		}()
	}
}

// serve takes one stream through the handshake to its protocol.
func (l *Listener) serve(raw net.Conn) {
	stop := context.AfterFunc(l.ctx, func() { raw.Close() })
	defer stop()
	raw.SetDeadline(time.Now().Add(handshakeTimeout))
	conn, err := l.handshake(tls.Server(raw, l.serverConfig()), false)
	if err != nil {
		raw.Close()
		l.reportRefusal(raw.RemoteAddr(), err)
		return
	}
	raw.SetDeadline(time.Time{})
	l.mu.Lock()
	p := l.protocols[conn.Protocol()]
	l.mu.Unlock()
	if p == nil || !p.deliver(conn) {
		conn.Close()
	}
}

// reportRefusal logs refusals, which an operator wants to read, and leaves out
// port scans and peers that went away.
func (l *Listener) reportRefusal(from net.Addr, err error) {
	var refused *RefusedError
	level := slog.LevelDebug
	if errors.As(err, &refused) {
		level = slog.LevelWarn
	}
	host, _, _ := net.SplitHostPort(from.String())
	if ok, repeats := l.quiet.Allow(host + err.Error()); ok && l.ctx.Err() == nil {
		l.log.Log(context.Background(), level, "stream refused", "peer", host, "err", err, "repeats", repeats)
	}
}

func (l *Listener) handshake(conn *tls.Conn, client bool) (*Conn, error) {
	if err := conn.Handshake(); err != nil {
		return nil, err
	}
	addr := conn.RemoteAddr().String()
	if !client {
		// The port of a dialling node means nothing, and changes each time.
		addr, _, _ = net.SplitHostPort(addr)
	}
	peer, err := l.identity.judge(conn.ConnectionState(), addr)
	if err != nil {
		return nil, err
	}
	if l.identity.operator {
		if greeted, err := l.identity.greet(conn, addr, client); err != nil {
			return nil, err
		} else if peer.UUID != "" && peer.UUID != greeted.UUID {
			return nil, l.identity.refuse(addr, ErrNoIdentity,
				"%s has a certificate for node %s but says it is %s: use that node's own certificate", addr, peer.UUID, greeted.UUID)
		} else {
			peer = greeted
		}
	}
	return &Conn{Conn: conn, peer: peer}, nil
}

// Both configurations leave the judgement to judge: the handshake is finished
// first, so that each end has seen the other's certificate and can name what
// differs. Resumption would skip the certificates and is off.
func (l *Listener) serverConfig() *tls.Config {
	l.mu.Lock()
	defer l.mu.Unlock()
	names := make([]string, 0, len(l.protocols))
	for name := range l.protocols {
		names = append(names, name)
	}
	if len(names) == 0 {
		// An empty list would accept any stream instead of none.
		names = []string{"keepmesh-none"}
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{l.identity.cert},
		ClientAuth:             tls.RequireAnyClientCert,
		NextProtos:             names,
		SessionTicketsDisabled: true,
	}
}

func (l *Listener) clientConfig(proto string) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{l.identity.cert},
		NextProtos:             []string{proto},
		InsecureSkipVerify:     true, // judge verifies against the cluster's CA
		SessionTicketsDisabled: true,
	}
}

// Dial opens a stream of one protocol to a node and verifies who it is; see
// PeerOf. The address is "host:port". Errors name the address and what differs.
func (l *Listener) Dial(ctx context.Context, proto, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	raw, err := l.dialer(addr).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("reaching %s: %w", addr, err)
	}
	stop := context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := l.handshake(tls.Client(raw, l.clientConfig(proto)), true)
	if err != nil {
		raw.Close()
		var refused *RefusedError
		if errors.As(err, &refused) {
			return nil, err
		}
		return nil, fmt.Errorf("TLS with %s: %w", addr, err)
	}
	if !stop() {
		raw.Close()
		return nil, fmt.Errorf("TLS with %s: %w", addr, ctx.Err())
	}
	return conn, nil
}

// dialer sends from the bind address, never from a floating address that this
// host may hold at the moment and lose while the stream lives.
func (l *Listener) dialer(addr string) *net.Dialer {
	d := &net.Dialer{KeepAlive: 15 * time.Second}
	target, err := netip.ParseAddrPort(addr)
	if err != nil {
		return d
	}
	for _, own := range l.addrs {
		if own.Addr().IsUnspecified() || own.Addr().Is4() != target.Addr().Unmap().Is4() {
			continue
		}
		if own.Addr().IsLoopback() == target.Addr().IsLoopback() {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(own.Addr(), 0))
			break
		}
	}
	return d
}

// Conn is a stream whose other end is known.
type Conn struct {
	*tls.Conn
	peer Peer
}

// Peer is the node at the other end.
func (c *Conn) Peer() Peer { return c.peer }

// Protocol is the ALPN name that was agreed.
func (c *Conn) Protocol() string { return c.ConnectionState().NegotiatedProtocol }

// PeerOf returns the node at the other end of a connection of this package,
// also through wrappers that have a NetConn method.
func PeerOf(conn net.Conn) (Peer, bool) {
	for conn != nil {
		if c, ok := conn.(*Conn); ok {
			return c.peer, true
		}
		inner, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return Peer{}, false
		}
		conn = inner.NetConn()
	}
	return Peer{}, false
}

// protocolListener is the net.Listener of one ALPN name.
type protocolListener struct {
	link   *Listener
	name   string
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (p *protocolListener) deliver(conn net.Conn) bool {
	select {
	case <-p.closed:
		return false
	default:
	}
	select {
	case p.conns <- conn:
		return true
	case <-p.closed:
	case <-p.link.ctx.Done():
	case <-time.After(handshakeTimeout):
	}
	return false
}

func (p *protocolListener) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and takes the protocol off the port.
func (p *protocolListener) Close() error {
	p.once.Do(func() {
		close(p.closed)
		p.link.mu.Lock()
		if p.link.protocols[p.name] == p {
			delete(p.link.protocols, p.name)
		}
		p.link.mu.Unlock()
		for {
			select {
			case conn := <-p.conns:
				conn.Close()
			default:
				return
			}
		}
	})
	return nil
}

func (p *protocolListener) Addr() net.Addr { return net.TCPAddrFromAddrPort(p.link.addrs[0]) }
