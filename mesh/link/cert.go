package link

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"strings"
	"time"
)

// Derived certificates are valid whatever the wall clock says; see the package
// documentation for why.
var (
	notBefore = time.Unix(0, 0).UTC()
	notAfter  = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

const uriScheme = "keepmesh"

// issue makes the cluster's CA certificate, the same bytes on every node, and a
// certificate of its own for this node.
func (id *Identity) issue(ca ed25519.PrivateKey) error {
	root := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "keepmesh cluster " + id.cluster},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, ca.Public(), ca)
	if err != nil {
		return fmt.Errorf("cluster certificate: %w", err)
	}
	if root, err = x509.ParseCertificate(der); err != nil {
		return fmt.Errorf("cluster certificate: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return fmt.Errorf("node certificate: %w", err)
	}
	leaf := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)),
		Subject:      pkix.Name{CommonName: id.name},
		URIs:         []*url.URL{{Scheme: uriScheme, Host: id.cluster, Path: "/" + id.uuid}},
		NotBefore:    notBefore,
		NotAfter:     notAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	// The subject carries the name whatever characters it has; a DNS name is
	// added where it is one, for tools that look there.
	if isDNSName(id.name) {
		leaf.DNSNames = []string{id.name}
	}
	if der, err = x509.CreateCertificate(rand.Reader, leaf, root, &id.private.PublicKey, ca); err != nil {
		return fmt.Errorf("node certificate: %w", err)
	}
	if leaf, err = x509.ParseCertificate(der); err != nil {
		return fmt.Errorf("node certificate: %w", err)
	}
	id.cert = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: id.private, Leaf: leaf}
	id.roots = x509.NewCertPool()
	id.roots.AddCert(root)
	return nil
}

func (id *Identity) loadOperatorTLS(files TLSFiles) error {
	text, err := os.ReadFile(files.CA)
	if err != nil {
		return fmt.Errorf("tls ca: %w: give the PEM file of the CA that signs every node", err)
	}
	id.roots = x509.NewCertPool()
	if !id.roots.AppendCertsFromPEM(text) {
		return fmt.Errorf("tls ca %s: no PEM certificate in it: give the CA that signs every node", files.CA)
	}
	cert, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return fmt.Errorf("tls cert %s, key %s: %w: give the PEM files of this node", files.Cert, files.Key, err)
	}
	if cert.Leaf == nil {
		if cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return fmt.Errorf("tls cert %s: %w", files.Cert, err)
		}
	}
	id.cert, id.operator = cert, true
	if cluster, uuid, ok := uriOf(cert.Leaf); ok && (cluster != id.cluster || uuid != id.uuid) {
		return fmt.Errorf("tls cert %s is for keepmesh://%s/%s, this node is keepmesh://%s/%s: use this node's certificate",
			files.Cert, cluster, uuid, id.cluster, id.uuid)
	}
	if err := id.verifyChain(cert.Leaf, chainOf(cert)); err != nil {
		return fmt.Errorf("tls cert %s is not accepted under ca %s: %w: peers would refuse this node", files.Cert, files.CA, err)
	}
	return nil
}

func chainOf(cert tls.Certificate) []*x509.Certificate {
	var chain []*x509.Certificate
	for _, der := range cert.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			chain = append(chain, c)
		}
	}
	return chain
}

// verifyChain checks a certificate against the cluster's CA for both uses,
// because every node is a client and a server.
func (id *Identity) verifyChain(leaf *x509.Certificate, intermediates []*x509.Certificate) error {
	pool := x509.NewCertPool()
	for _, c := range intermediates {
		pool.AddCert(c)
	}
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		_, err := leaf.Verify(x509.VerifyOptions{Roots: id.roots, Intermediates: pool, KeyUsages: []x509.ExtKeyUsage{use}})
		if err != nil {
			return err
		}
	}
	return nil
}

// uriOf finds keepmesh://CLUSTER/UUID in a certificate, verified or not.
func uriOf(cert *x509.Certificate) (cluster, uuid string, ok bool) {
	for _, u := range cert.URIs {
		if u.Scheme != uriScheme {
			continue
		}
		uuid, err := CanonicalUUID(strings.TrimPrefix(u.Path, "/"))
		if err != nil {
			continue
		}
		return u.Host, uuid, true
	}
	return "", "", false
}

// Peer is the node at the other end of a connection.
type Peer struct {
	UUID string
	Name string
}

// What a refusal is about, for errors.Is.
var (
	ErrOtherCluster = errors.New("another cluster name")
	ErrOtherKey     = errors.New("another cluster key")
	ErrOwnIdentity  = errors.New("the identity of this very node")
	ErrNoIdentity   = errors.New("no node identity")
)

// RefusedError says why a node is not talked to. Its text names what differs
// and what to do; errors.Is finds the kind.
type RefusedError struct {
	Addr string // its address
	Kind error  // one of the Err values of this package
	text string
}

func (e *RefusedError) Error() string { return e.text }
func (e *RefusedError) Unwrap() error { return e.Kind }

// judge decides whether the other end of a finished handshake is a member. A
// peer without UUID in its answer still has to prove one by greeting.
func (id *Identity) judge(state tls.ConnectionState, addr string) (Peer, error) {
	if len(state.PeerCertificates) == 0 {
		return Peer{}, id.refuse(addr, ErrNoIdentity, "%s sent no certificate: it is no keepmesh node", addr)
	}
	leaf := state.PeerCertificates[0]
	cluster, uuid, hasURI := uriOf(leaf)
	who := addr
	if name := leaf.Subject.CommonName; name != "" {
		who = fmt.Sprintf("%s (node %q)", addr, name)
	}
	if hasURI && cluster != id.cluster {
		return Peer{}, id.refuse(addr, ErrOtherCluster,
			"%s belongs to cluster %q, this node to cluster %q: give both the same cluster_name, or take it out of join", who, cluster, id.cluster)
	}
	if err := id.verifyChain(leaf, state.PeerCertificates[1:]); err != nil {
		if id.operator {
			return Peer{}, id.refuse(addr, ErrOtherKey,
				"%s has a certificate that the CA in tls { ca } does not vouch for (%v): use the same CA on both nodes", who, err)
		}
		return Peer{}, id.refuse(addr, ErrOtherKey,
			"%s is in cluster %q too but has another cluster key: copy the same encrypt_key_file to both nodes", who, id.cluster)
	}
	if !hasURI {
		if !id.operator {
			return Peer{}, id.refuse(addr, ErrNoIdentity, "%s has a certificate without a node identity: it is no keepmesh node", who)
		}
		return Peer{}, nil
	}
	return Peer{UUID: uuid, Name: leaf.Subject.CommonName}, id.checkOwn(uuid, who, addr)
}

func (id *Identity) checkOwn(uuid, who, addr string) error {
	if uuid != id.uuid {
		return nil
	}
	return id.refuse(addr, ErrOwnIdentity,
		"%s presents this node's own identity %s: if it is another host, its data_dir was copied; remove %s there and restart it", who, uuid, identityFile)
}

func (id *Identity) refuse(addr string, kind error, format string, args ...any) error {
	return &RefusedError{Addr: addr, Kind: kind, text: fmt.Sprintf(format, args...)}
}

func isDNSName(s string) bool {
	for _, r := range s {
		if !(r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') {
			return false
		}
	}
	return !strings.HasPrefix(s, ".") && !strings.HasSuffix(s, ".") && !strings.Contains(s, "..")
}
