// Package link is the one port that the nodes of a cluster share: who a node
// is, how it proves it, and how its streams find their protocol.
//
//	bind address:port ── TCP ── TLS 1.3, mutual ── ALPN ─┬─ keepmesh-gossip   memberlist streams
//	                                                     ├─ keepmesh-raft     Raft RPCs
//	                                                     ├─ keepmesh-forward  writes on their way to the leader
//	                                                     └─ keepmesh-api      HTTP/1.1
//
// # Identity
//
// A node is a UUID and a P-256 key. Both are made at the first start, kept in
// one file of mode 0600 in the data directory and never change afterwards, so
// that addresses and names may. A copied file is a cloned node, and a link
// refuses its own UUID from elsewhere.
//
// # Certificates without an operator's CA
//
// With nothing but the gossip key a node must be able to prove that it belongs.
// The cluster's CA is therefore an Ed25519 key derived by HKDF-SHA256 from the
// gossip key and the cluster's name: whoever holds the key file can issue
// itself a certificate, and nobody else can. The certificate carries the URI
// keepmesh://CLUSTER/UUID and the node's name. This authenticates membership,
// not one member against another: every holder of the key file could issue a
// certificate for any UUID. Clusters that need more give their own CA (the tls
// block); then a certificate without our URI is accepted and the UUID is proved
// by a signature of the node's own key over the TLS exporter.
//
// Derived certificates do not expire (RFC 5280, section 4.1.2.5, knows
// 99991231235959Z for that): an expiry date would revoke nothing, as a holder of
// the key can issue anew, and would let a wrong clock or a long uptime take the
// mesh away. Rotation means another key.
//
// # Refusals
//
// Both ends finish the handshake before they judge each other, so that each of
// them can name what differs: the cluster's name, the key, the CA, or a UUID
// that is its own. No byte of a protocol is exchanged before that.
//
// # Datagrams
//
// PairKey gives the two ends of a pair one 32-byte key that no third node can
// compute, for wires that live in another process. Announce is the public half
// of it in under 200 bytes, signed by a key derived from the gossip key, so that
// an outsider cannot swap it.
//
// # Threading
//
// Everything exported is safe for concurrent use. A Listener owns one goroutine
// per bind address and one per handshake, which is bounded in number and time.
package link
