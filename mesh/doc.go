// Package mesh lets the nodes of a cluster know each other: membership by
// gossip, and what each node says about itself.
//
//	Publish ─> pieces ─> broadcast queue ─> UDP gossip ──┐
//	                                                     ├─> table (view.go, pure) ─> View, Watch
//	push/pull over TLS streams (mesh/link) ──────────────┘
//
// # Membership
//
// A member's key is its UUID; its name and address are attributes and may
// change. Gossip runs over UDP on the shared port, encrypted with the cluster's
// key and labelled with its name; streams run through mesh/link. A second live
// node with a member's name, or with its UUID, is refused on both sides.
//
// Seeds are only ever addresses to try. They are retried for ever, with a pause
// of 1 to 30 s, as long as some seed's node is not a member; so are the last
// addresses of members that died. A seed that does not resolve is a message,
// never an error.
//
// # Soft state
//
// Each node owns one Digest: its VRRP instances, whom it hears, its second wire.
// It travels in pieces that each fit a datagram, so that a change of one
// instance costs one small message. A piece is replaced by one of a newer boot,
// or of the same boot and a higher sequence number; nobody but the owner makes
// pieces. What is held of dead nodes stays readable, each with the owner's own
// as_of: soft state informs, it never decides.
//
// Ages in a digest (heard 120 ms ago) were true when the owner published. They
// are refreshed every Refresh, not at each advert.
//
// # Threading
//
// A Mesh is safe for concurrent use. Its goroutines are the gossip library's,
// one per UDP socket, one that joins and one that flushes what was published.
// Callbacks of the library take the one mutex for short and never block.
package mesh
