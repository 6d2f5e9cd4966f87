package link

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// MaxName is the longest node or cluster name in bytes.
const MaxName = 64

// identityFile holds the UUID and the private key in one PEM block, so that
// there is never one without the other.
const (
	identityFile = "node.pem"
	bootFile     = "boot"
	pemType      = "EC PRIVATE KEY"
	pemUUID      = "Keepmesh-Node"
)

// IdentityConfig is what an Identity is made from.
type IdentityConfig struct {
	Cluster string    // cluster's name, 1 to 64 bytes
	Name    string    // node's name, 1 to 64 bytes
	DataDir string    // directory of the identity file; made with mode 0700 if missing
	Key     []byte    // cluster's key as ReadKeyFile returns it
	TLS     *TLSFiles // the operator's certificates, or nil
}

// TLSFiles are the PEM files of an operator's own CA.
type TLSFiles struct {
	CA, Cert, Key string
}

// Identity is this node: its UUID and keys, and its certificate. It does not
// change while the process lives.
type Identity struct {
	cluster string
	name    string
	uuid    string
	boot    uint64
	dir     string

	private  *ecdsa.PrivateKey
	exchange *ecdh.PrivateKey
	announce ed25519.PrivateKey

	cert     tls.Certificate
	roots    *x509.CertPool
	operator bool // the certificates are the operator's
}

// OpenIdentity reads the identity from the data directory, or makes it there.
func OpenIdentity(cfg IdentityConfig) (*Identity, error) {
	if err := checkName("cluster_name", cfg.Cluster); err != nil {
		return nil, err
	}
	if err := checkName("node_name", cfg.Name); err != nil {
		return nil, err
	}
	if n := len(cfg.Key); n != 16 && n != 24 && n != 32 {
		return nil, fmt.Errorf("cluster key of %d bytes: it must have 16, 24 or 32; set encrypt_key_file", n)
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("data_dir: %w: set data_dir to a directory this user may write", err)
	}
	uuid, private, err := loadOrCreate(filepath.Join(cfg.DataDir, identityFile))
	if err != nil {
		return nil, err
	}
	exchange, err := private.ECDH()
	if err != nil {
		return nil, fmt.Errorf("node key: %w", err)
	}
	id := &Identity{
		cluster: cfg.Cluster, name: cfg.Name, uuid: uuid, dir: cfg.DataDir,
		private: private, exchange: exchange,
		announce: derive(cfg.Key, cfg.Cluster, "announce"),
	}
	if id.boot, err = nextBoot(filepath.Join(cfg.DataDir, bootFile)); err != nil {
		return nil, err
	}
	if cfg.TLS != nil {
		err = id.loadOperatorTLS(*cfg.TLS)
	} else {
		err = id.issue(derive(cfg.Key, cfg.Cluster, "ca"))
	}
	if err != nil {
		return nil, err
	}
	return id, nil
}

// UUID is the node's lower-case UUID (RFC 9562, version 4).
func (id *Identity) UUID() string { return id.uuid }

// Name is the node's name as configured.
func (id *Identity) Name() string { return id.name }

// Cluster is the cluster's name as configured.
func (id *Identity) Cluster() string { return id.cluster }

// Boot orders the starts of this node: each is larger than all before it, also
// when the wall clock was set back in between.
func (id *Identity) Boot() uint64 { return id.boot }

// PublicKey is the public half of the node's own P-256 key.
func (id *Identity) PublicKey() *ecdh.PublicKey { return id.exchange.PublicKey() }

// PairKey returns the key that this node and one peer share:
// HKDF-SHA256(ECDH(own key, peer's key), info = cluster and both UUIDs in order).
// Both ends compute the same 32 bytes, and no third node can. It fails only for
// a key of another curve.
func (id *Identity) PairKey(peerPub *ecdh.PublicKey, peerUUID string) ([32]byte, error) {
	var key [32]byte
	secret, err := id.exchange.ECDH(peerPub)
	if err != nil {
		return key, fmt.Errorf("pair key with %s: %w", peerUUID, err)
	}
	low, high := min(id.uuid, peerUUID), max(id.uuid, peerUUID)
	out, err := hkdf.Key(sha256.New, secret, []byte("keepmesh v1 pair"), id.cluster+"\x00"+low+"\x00"+high, len(key))
	if err != nil {
		return key, fmt.Errorf("pair key with %s: %w", peerUUID, err)
	}
	copy(key[:], out)
	return key, nil
}

func checkName(keyword, name string) error {
	if name == "" {
		return fmt.Errorf("%s is empty: set it in mesh.conf", keyword)
	}
	if len(name) > MaxName {
		return fmt.Errorf("%s %q has %d bytes: at most %d are allowed", keyword, name, len(name), MaxName)
	}
	for _, r := range name {
		if r <= ' ' || r == 0x7f || r == '/' || r == '@' {
			return fmt.Errorf("%s %q: white space, control characters, / and @ are not allowed", keyword, name)
		}
	}
	return nil
}

func loadOrCreate(path string) (string, *ecdsa.PrivateKey, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return create(path)
	}
	if err != nil {
		return "", nil, fmt.Errorf("node identity: %w: make it readable for this user", err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemType {
		return "", nil, fmt.Errorf("node identity %s is damaged: restore it, or remove it to become a new node", path)
	}
	uuid, err := CanonicalUUID(block.Headers[pemUUID])
	if err != nil {
		return "", nil, fmt.Errorf("node identity %s is damaged (%w): restore it, or remove it to become a new node", path, err)
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil || key.Curve != elliptic.P256() {
		return "", nil, fmt.Errorf("node identity %s holds no P-256 key: restore it, or remove it to become a new node", path)
	}
	return uuid, key, nil
}

func create(path string) (string, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", nil, fmt.Errorf("node identity: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return "", nil, fmt.Errorf("node identity: %w", err)
	}
	uuid := NewUUID()
	text := pem.EncodeToMemory(&pem.Block{Type: pemType, Headers: map[string]string{pemUUID: uuid}, Bytes: der})
	if err := writeDurably(path, text); err != nil {
		return "", nil, fmt.Errorf("node identity: %w: data_dir must be writable", err)
	}
	return uuid, key, nil
}

// nextBoot counts in milliseconds of the wall clock where that moves forward,
// so that a lost counter file costs nothing on a host with a right clock.
func nextBoot(path string) (uint64, error) {
	var last uint64
	if text, err := os.ReadFile(path); err == nil {
		last, _ = strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	}
	next := max(last+1, uint64(max(0, time.Now().UnixMilli())))
	if err := writeDurably(path, []byte(strconv.FormatUint(next, 10)+"\n")); err != nil {
		return 0, fmt.Errorf("boot counter: %w: data_dir must be writable", err)
	}
	return next, nil
}

// writeDurably replaces a file so that after a crash either the old or the new
// content is there, complete.
func writeDurably(path string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(content)
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// NewUUID returns a random UUID (RFC 9562, version 4) in lower case.
func NewUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return formatUUID(b)
}

// CanonicalUUID returns the lower-case form of a UUID, or an error.
func CanonicalUUID(s string) (string, error) {
	b, err := parseUUID(s)
	if err != nil {
		return "", err
	}
	return formatUUID(b), nil
}

func formatUUID(b [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func parseUUID(s string) (b [16]byte, err error) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return b, fmt.Errorf("%q is not a UUID", s)
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(raw) != 16 {
		return b, fmt.Errorf("%q is not a UUID", s)
	}
	copy(b[:], raw)
	return b, nil
}
