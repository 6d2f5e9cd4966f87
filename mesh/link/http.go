package link

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"
)

type peerKey struct{}

// PeerFrom returns the node that sent a request which ServeHTTP served.
func PeerFrom(ctx context.Context) (Peer, bool) {
	p, ok := ctx.Value(peerKey{}).(Peer)
	return p, ok
}

// ServeHTTP serves the API protocol with the handler until the listener or the
// returned server is closed. Handlers learn who asks by PeerFrom.
func (l *Listener) ServeHTTP(handler http.Handler) *http.Server {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(l.log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			if peer, ok := PeerOf(conn); ok {
				return context.WithValue(ctx, peerKey{}, peer)
			}
			return ctx
		},
	}
	listener := l.Protocol(API)
	go server.Serve(listener)
	return server
}

// HTTPTransport returns a transport for http:// URLs whose hosts are addresses
// of nodes ("http://10.0.0.12:7946/..."); the streams are TLS all the same.
func (l *Listener) HTTPTransport() *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return l.Dial(ctx, API, addr)
		},
		MaxIdleConnsPerHost: 1,
		IdleConnTimeout:     30 * time.Second,
	}
}
