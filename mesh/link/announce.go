package link

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// An announcement is
//
//	version 1 | UUID 16 | compressed P-256 point 33 | name length 1 | name | Ed25519 signature 64
//
// signed over the cluster's name as well, so that it means nothing elsewhere.
const (
	announceVersion = 1
	pointSize       = 33
	announceMin     = 1 + 16 + pointSize + 1 + ed25519.SignatureSize
	// MaxAnnounce is the longest announcement in bytes.
	MaxAnnounce = announceMin + MaxName
)

// Announce returns the node's UUID, name and public key, signed by a key that
// every holder of the cluster's key can derive.
func (id *Identity) Announce() []byte {
	uuid, err := parseUUID(id.uuid)
	if err != nil {
		panic(err) // OpenIdentity let only canonical UUIDs in
	}
	body := []byte{announceVersion}
	body = append(body, uuid[:]...)
	point := id.PublicKey().Bytes() // 4 | X | Y
	body = append(body, 2|point[len(point)-1]&1)
	body = append(body, point[1:pointSize]...)
	body = append(body, byte(len(id.name)))
	body = append(body, id.name...)
	return append(body, ed25519.Sign(id.announce, id.announced(body))...)
}

// VerifyAnnounce checks an announcement and returns what it says.
func (id *Identity) VerifyAnnounce(blob []byte) (uuid, name string, pub *ecdh.PublicKey, err error) {
	if len(blob) < announceMin || len(blob) > MaxAnnounce || blob[0] != announceVersion {
		return "", "", nil, fmt.Errorf("announcement of %d bytes is not of version %d: run the same release on every node", len(blob), announceVersion)
	}
	body, sig := blob[:len(blob)-ed25519.SignatureSize], blob[len(blob)-ed25519.SignatureSize:]
	if !ed25519.Verify(id.announce.Public().(ed25519.PublicKey), id.announced(body), sig) {
		return "", "", nil, errors.New("announcement is not signed with this cluster's key")
	}
	rest := body[1:]
	var raw [16]byte
	copy(raw[:], rest)
	rest = rest[16:]
	x, y := elliptic.UnmarshalCompressed(elliptic.P256(), rest[:pointSize])
	rest = rest[pointSize:]
	if x == nil || int(rest[0]) != len(rest)-1 {
		return "", "", nil, errors.New("announcement is malformed")
	}
	point := make([]byte, 2*pointSize-1)
	point[0] = 4
	x.FillBytes(point[1:pointSize])
	y.FillBytes(point[pointSize:])
	if pub, err = ecdh.P256().NewPublicKey(point); err != nil {
		return "", "", nil, fmt.Errorf("announced key: %w", err)
	}
	return formatUUID(raw), string(rest[1:]), pub, nil
}

func (id *Identity) announced(body []byte) []byte {
	return append([]byte("keepmesh announce\x00"+id.cluster+"\x00"), body...)
}

const exporterLabel = "EXPORTER-keepmesh-node"

// greet proves the UUIDs of both ends where the operator's certificates do not
// carry them: each sends its announcement and a signature of the announced key
// over a value that only these two ends of this connection know.
//
// The direction is part of what is signed, or an end could send back what it
// got.
func (id *Identity) greet(conn *tls.Conn, addr string, client bool) (Peer, error) {
	state := conn.ConnectionState()
	secret, err := state.ExportKeyingMaterial(exporterLabel, nil, 32)
	if err != nil {
		return Peer{}, fmt.Errorf("greeting: %w", err)
	}
	digest := func(fromClient bool) []byte {
		side := byte(0)
		if fromClient {
			side = 1
		}
		sum := sha256.Sum256(append(append([]byte(exporterLabel), side), secret...))
		return sum[:]
	}
	proof, err := ecdsa.SignASN1(rand.Reader, id.private, digest(client))
	if err != nil {
		return Peer{}, fmt.Errorf("greeting: %w", err)
	}
	if err := writeFrames(conn, id.Announce(), proof); err != nil {
		return Peer{}, fmt.Errorf("greeting: %w", err)
	}
	blob, err := readFrame(conn)
	if err != nil {
		return Peer{}, fmt.Errorf("greeting: %w", err)
	}
	if proof, err = readFrame(conn); err != nil {
		return Peer{}, fmt.Errorf("greeting: %w", err)
	}
	uuid, name, pub, err := id.VerifyAnnounce(blob)
	if err != nil {
		return Peer{}, id.refuse(addr, ErrOtherKey, "%s has another cluster key or cluster name than %q (%v): use the same encrypt_key_file and cluster_name on both nodes", addr, id.cluster, err)
	}
	verifier, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), pub.Bytes())
	if err != nil || !ecdsa.VerifyASN1(verifier, digest(!client), proof) {
		return Peer{}, id.refuse(addr, ErrNoIdentity, "%s cannot prove that it is node %q", addr, name)
	}
	return Peer{UUID: uuid, Name: name}, id.checkOwn(uuid, fmt.Sprintf("%s (node %q)", addr, name), addr)
}

func writeFrames(w io.Writer, frames ...[]byte) error {
	var all []byte
	for _, f := range frames {
		all = binary.BigEndian.AppendUint16(all, uint16(len(f)))
		all = append(all, f...)
	}
	_, err := w.Write(all)
	return err
}

func readFrame(r net.Conn) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint16(size[:])
	if n > 512 {
		return nil, fmt.Errorf("frame of %d bytes", n)
	}
	frame := make([]byte, n)
	_, err := io.ReadFull(r, frame)
	return frame, err
}
