package link

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	keyA = bytes.Repeat([]byte{1}, 32)
	keyB = bytes.Repeat([]byte{2}, 32)
)

// logs collects what is logged and lets a test wait for a line.
type logs struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logs) waitFor(t *testing.T, want string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !strings.Contains(l.String(), want) {
		if time.Now().After(deadline) {
			t.Fatalf("log has no %q:\n%s", want, l)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func identity(t *testing.T, cluster, name string, key []byte) *Identity {
	t.Helper()
	id, err := OpenIdentity(IdentityConfig{Cluster: cluster, Name: name, DataDir: t.TempDir(), Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func listen(t *testing.T, id *Identity) (*Listener, *logs) {
	t.Helper()
	out := new(logs)
	l, err := Listen(Config{Bind: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Identity: id, Logger: slog.New(slog.NewTextHandler(out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, out
}

// echo serves one protocol by sending back what comes.
func echo(t *testing.T, l *Listener, proto string) {
	t.Helper()
	ln := l.Protocol(proto)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.Copy(conn, conn)
			}()
		}
	}()
}

func TestKeyFileErrorsSayWhatToDo(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct{ name, path, want string }{
		{"missing", filepath.Join(dir, "none"), "does not exist: make one with"},
		{"a directory", dir, "cannot be read"},
		{"not base64", write("a", "!!!"), "not base64"},
		{"empty", write("b", ""), "base64 of 0 bytes: it must be base64 of 16, 24 or 32"},
		{"17 bytes", write("c", "AAAAAAAAAAAAAAAAAAAAAAA="), "base64 of 17 bytes"},
	} {
		_, err := ReadKeyFile(c.path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.path) {
			t.Errorf("%s: got %v, want %q and the path", c.name, err, c.want)
		}
	}
	key, err := ReadKeyFile(write("good", "  AAAAAAAAAAAAAAAAAAAAAA==\n"))
	if err != nil || len(key) != 16 {
		t.Errorf("good file: %d bytes, %v", len(key), err)
	}
}

func TestIdentitySurvivesRestart(t *testing.T) {
	cfg := IdentityConfig{Cluster: "edge", Name: "lb1", DataDir: filepath.Join(t.TempDir(), "sub"), Key: keyA}
	first, err := OpenIdentity(cfg)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(cfg.DataDir, identityFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("identity file: %v, %v", info, err)
	}
	cfg.Name = "renamed"
	second, err := OpenIdentity(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if first.UUID() != second.UUID() || !first.PublicKey().Equal(second.PublicKey()) {
		t.Error("UUID or key changed with a restart")
	}
	if second.Boot() <= first.Boot() {
		t.Errorf("boot %d after %d", second.Boot(), first.Boot())
	}
	// A boot counter from the future, as after the clock was set back.
	if err := os.WriteFile(filepath.Join(cfg.DataDir, bootFile), []byte("99999999999999"), 0o600); err != nil {
		t.Fatal(err)
	}
	third, err := OpenIdentity(cfg)
	if err != nil || third.Boot() != 100000000000000 {
		t.Errorf("boot %v, %v: want one above the file's", third.Boot(), err)
	}
}

func TestDamagedIdentityIsRefusedNotReplaced(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, identityFile)
	if err := os.WriteFile(path, []byte("-----BEGIN EC PRIVATE KEY-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := OpenIdentity(IdentityConfig{Cluster: "edge", Name: "lb1", DataDir: dir, Key: keyA})
	if err == nil || !strings.Contains(err.Error(), "is damaged: restore it, or remove it") {
		t.Errorf("got %v", err)
	}
}

func TestNamesAreChecked(t *testing.T) {
	for _, name := range []string{"", "a b", "a/b", "a@b", strings.Repeat("x", 65)} {
		if _, err := OpenIdentity(IdentityConfig{Cluster: "edge", Name: name, DataDir: t.TempDir(), Key: keyA}); err == nil {
			t.Errorf("name %q is taken", name)
		}
	}
}

func TestPairKeyIsTheSameAtBothEndsOnly(t *testing.T) {
	a, b, c := identity(t, "edge", "a", keyA), identity(t, "edge", "b", keyA), identity(t, "edge", "c", keyA)
	pair := func(x, y *Identity) [32]byte {
		k, err := x.PairKey(y.PublicKey(), y.UUID())
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	if pair(a, b) != pair(b, a) {
		t.Error("the two ends have different keys")
	}
	if pair(a, b) == pair(a, c) || pair(a, b) == pair(b, c) {
		t.Error("two pairs have one key")
	}
	if k, _ := a.PairKey(b.PublicKey(), c.UUID()); k == pair(a, b) {
		t.Error("the UUID does not count")
	}
}

func TestAnnouncementCannotBeSwapped(t *testing.T) {
	a, b := identity(t, "edge", "lb1", keyA), identity(t, "edge", "lb2", keyA)
	blob := a.Announce()
	if len(blob) > MaxAnnounce {
		t.Errorf("%d bytes, more than MaxAnnounce", len(blob))
	}
	uuid, name, pub, err := b.VerifyAnnounce(blob)
	if err != nil || uuid != a.UUID() || name != "lb1" || !pub.Equal(a.PublicKey()) {
		t.Fatalf("got %s %s %v", uuid, name, err)
	}
	for n := range blob {
		bad := bytes.Clone(blob)
		bad[n] ^= 1
		if _, _, _, err := b.VerifyAnnounce(bad); err == nil {
			t.Fatalf("byte %d changed and nobody noticed", n)
		}
		if _, _, _, err := b.VerifyAnnounce(blob[:n]); err == nil {
			t.Fatalf("cut to %d bytes and nobody noticed", n)
		}
	}
	for _, other := range []*Identity{identity(t, "edge", "x", keyB), identity(t, "other", "x", keyA)} {
		if _, _, _, err := other.VerifyAnnounce(blob); err == nil {
			t.Error("another key or cluster accepts it")
		}
	}
}

func TestStreamsReachTheirProtocolAndKnowTheirPeer(t *testing.T) {
	a, _ := listen(t, identity(t, "edge", "lb1", keyA))
	b, _ := listen(t, identity(t, "edge", "lb2", keyA))
	echo(t, b, Gossip)
	raft := b.Protocol(Raft)
	conn, err := a.Dial(t.Context(), Gossip, b.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if peer, ok := PeerOf(conn); !ok || peer != (Peer{UUID: b.Identity().UUID(), Name: "lb2"}) {
		t.Errorf("peer %+v", peer)
	}
	fmt.Fprint(conn, "ping")
	buf := make([]byte, 4)
	if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "ping" {
		t.Errorf("echo: %q, %v", buf, err)
	}
	go a.Dial(t.Context(), Raft, b.Addrs()[0].String())
	in, err := raft.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if peer, _ := PeerOf(in); peer.UUID != a.Identity().UUID() {
		t.Errorf("the accepting end sees %+v", peer)
	}
}

func TestUnservedProtocolIsRefused(t *testing.T) {
	a, _ := listen(t, identity(t, "edge", "lb1", keyA))
	b, _ := listen(t, identity(t, "edge", "lb2", keyA))
	if conn, err := a.Dial(t.Context(), Gossip, b.Addrs()[0].String()); err == nil {
		conn.Close()
		t.Error("nobody serves it")
	}
	ln := b.Protocol(Gossip)
	ln.Close()
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	echo(t, b, Gossip)
	conn, err := a.Dial(t.Context(), Gossip, b.Addrs()[0].String())
	if err != nil {
		t.Fatalf("served again after a Close: %v", err)
	}
	conn.Close()
}

func TestStrangersAreRefusedOnBothSidesByName(t *testing.T) {
	mine := identity(t, "edge", "lb1", keyA)
	for _, c := range []struct {
		name         string
		other        *Identity
		kind         error
		here, theirs string
	}{
		{"other cluster name", identity(t, "prod", "lb2", keyA), ErrOtherCluster,
			`belongs to cluster "edge", this node to cluster "prod": give both the same cluster_name`,
			`belongs to cluster \"prod\", this node to cluster \"edge\": give both the same cluster_name`},
		{"other key", identity(t, "edge", "lb2", keyB), ErrOtherKey,
			`is in cluster "edge" too but has another cluster key: copy the same encrypt_key_file to both nodes`,
			`is in cluster \"edge\" too but has another cluster key: copy the same encrypt_key_file to both nodes`},
		{"copied data_dir", mine, ErrOwnIdentity,
			"its data_dir was copied; remove node.pem there", "its data_dir was copied; remove node.pem there"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server, out := listen(t, mine)
			echo(t, server, Gossip)
			client, _ := listen(t, c.other)
			_, err := client.Dial(t.Context(), Gossip, server.Addrs()[0].String())
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.here) {
				t.Errorf("dialling side: %v", err)
			}
			out.waitFor(t, c.theirs)
			if _, err := client.Dial(t.Context(), Gossip, server.Addrs()[0].String()); !errors.Is(err, c.kind) {
				t.Errorf("second try: %v", err)
			}
			repeats := func() (n int) {
				server.quiet.mu.Lock()
				defer server.quiet.mu.Unlock()
				for _, e := range server.quiet.seen {
					n += e.skipped
				}
				return n
			}
			for deadline := time.Now().Add(10 * time.Second); repeats() == 0; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("the second refusal is not taken for a repeat:\n%s", out)
				}
			}
		})
	}
}

func TestPlainTCPIsNoThreat(t *testing.T) {
	l, _ := listen(t, identity(t, "edge", "lb1", keyA))
	echo(t, l, Gossip)
	raw, err := net.Dial("tcp", l.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	fmt.Fprint(raw, "GET / HTTP/1.0\r\n\r\n")
	raw.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadAll(raw); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a stream without TLS is kept open")
	}
}

func TestBindErrorsSayWhatToDo(t *testing.T) {
	id := identity(t, "edge", "lb1", keyA)
	l, _ := listen(t, id)
	cfg := Config{Identity: id, Logger: slog.New(slog.DiscardHandler)}
	for _, c := range []struct {
		name string
		bind []netip.Addr
		port uint16
		want string
	}{
		{"none", nil, 0, "no bind address: set bind in mesh.conf"},
		{"in use", []netip.Addr{netip.MustParseAddr("127.0.0.1")}, l.Addrs()[0].Port(), fmt.Sprintf("port %d/tcp on 127.0.0.1 is in use by another process", l.Addrs()[0].Port())},
		{"not here", []netip.Addr{netip.MustParseAddr("203.0.113.77")}, 0, "bind address 203.0.113.77 is not on this host"},
		{"second not here", []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("203.0.113.77")}, 0, "bind address 203.0.113.77 is not on this host"},
	} {
		cfg.Bind, cfg.Port = c.bind, c.port
		got, err := Listen(cfg)
		if err == nil {
			got.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestAPIKnowsWhoAsks(t *testing.T) {
	a, _ := listen(t, identity(t, "edge", "lb1", keyA))
	b, _ := listen(t, identity(t, "edge", "lb2", keyA))
	server := b.ServeHTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, _ := PeerFrom(r.Context())
		fmt.Fprint(w, peer.Name)
	}))
	defer server.Close()
	client := &http.Client{Transport: a.HTTPTransport(), Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	var body []byte
	// Serving begins in the background.
	for deadline := time.Now().Add(10 * time.Second); ; {
		resp, err := client.Get("http://" + b.Addrs()[0].String() + "/")
		if err == nil {
			body, _ = io.ReadAll(resp.Body)
			resp.Body.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if string(body) != "lb1" {
		t.Errorf("handler saw %q", body)
	}
}

// operatorFiles makes a CA and a plain certificate without our URI.
func operatorFiles(t *testing.T, ca *x509.Certificate, caKey *ecdsa.PrivateKey, name string) TLSFiles {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put := func(file, typ string, der []byte) string {
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return TLSFiles{CA: put("ca.pem", "CERTIFICATE", ca.Raw), Cert: put("cert.pem", "CERTIFICATE", der), Key: put("key.pem", "EC PRIVATE KEY", keyDER)}
}

func operatorCA(t *testing.T) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "their CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return ca, key
}

func TestOperatorCertificatesProveTheUUIDByGreeting(t *testing.T) {
	ca, caKey := operatorCA(t)
	open := func(name string, key []byte, files TLSFiles) *Identity {
		id, err := OpenIdentity(IdentityConfig{Cluster: "edge", Name: name, DataDir: t.TempDir(), Key: key, TLS: &files})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	b, out := listen(t, open("lb2", keyA, operatorFiles(t, ca, caKey, "lb2")))
	echo(t, b, Gossip)

	a, _ := listen(t, open("lb1", keyA, operatorFiles(t, ca, caKey, "lb1")))
	conn, err := a.Dial(t.Context(), Gossip, b.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if peer, _ := PeerOf(conn); peer.UUID != b.Identity().UUID() || peer.Name != "lb2" {
		t.Errorf("peer %+v", peer)
	}

	otherCA, otherKey := operatorCA(t)
	x, _ := listen(t, open("lb3", keyA, operatorFiles(t, otherCA, otherKey, "lb3")))
	if _, err := x.Dial(t.Context(), Gossip, b.Addrs()[0].String()); !errors.Is(err, ErrOtherKey) {
		t.Errorf("another CA: %v", err)
	}
	out.waitFor(t, "does not vouch for")

	y, _ := listen(t, open("lb4", keyB, operatorFiles(t, ca, caKey, "lb4")))
	if _, err := y.Dial(t.Context(), Gossip, b.Addrs()[0].String()); !errors.Is(err, ErrOtherKey) {
		t.Errorf("another cluster key under the same CA: %v", err)
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	l, _ := listen(t, identity(t, "edge", "lb1", keyA))
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := l.Dial(ctx, Gossip, silent.Addr().String())
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil {
			t.Error("no error")
		}
	case <-time.After(handshakeTimeout + 5*time.Second):
		t.Fatal("Dial hangs")
	}
}

func TestThrottleCountsRepeats(t *testing.T) {
	th := NewThrottle(time.Hour)
	if ok, n := th.Allow("a"); !ok || n != 0 {
		t.Error("first one held back")
	}
	if ok, _ := th.Allow("a"); ok {
		t.Error("repeat let through")
	}
	if ok, _ := th.Allow("b"); !ok {
		t.Error("another key held back")
	}
	th.seen["a"].last = time.Now().Add(-2 * time.Hour)
	if ok, n := th.Allow("a"); !ok || n != 1 {
		t.Errorf("after the interval: %v, %d repeats", ok, n)
	}
}

func TestDefaultBindIsWhatRoutesToASeed(t *testing.T) {
	got, err := DefaultBind(t.Context(), []string{"127.0.0.1", "127.0.0.9:7946"})
	if err != nil || got != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("got %v, %v", got, err)
	}
	for _, seeds := range [][]string{nil, {"127.0.0.1"}, {"host.invalid."}} {
		if got, err := DefaultBind(t.Context(), seeds); err == nil || !strings.Contains(err.Error(), "set bind in mesh.conf") {
			t.Errorf("seeds %v: got %v, %v", seeds, got, err)
		}
	}
}
