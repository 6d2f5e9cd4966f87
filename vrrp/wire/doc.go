// Package wire is the datagram of the second wire: adverts between the members
// of an instance, and the questions and answers of the veto, sealed for one
// peer by a pairwise key.
//
// It is pure: bytes in, values out. A [Sealer] belongs to one thread. Append
// and Open do not allocate once their buffers have grown.
//
// # Layout
//
// Integers are big-endian. Every datagram is at most [MaxSize] bytes.
//
//	 0  4  magic "KMW2"
//	 4  1  version, 1
//	 5  1  type
//	 6  2  length of the body
//	 8 16  sender, a node's UUID
//	24  8  boot of the sender's daemon: never goes back
//	32  8  sequence within that boot, from 1
//	40  8  sender's monotonic clock when it sealed, nanoseconds
//	48  n  body: the instance's tag, then what the type says
//	 .. 16  HMAC-SHA256 over all before it, cut to 16 bytes
//
//	tag:     family (4 or 6), VRID, 8 bytes digest of all addresses,
//	         count, then that many addresses of 4 or 16 bytes, sorted
//	address: length (0, 4 or 16), then the bytes
//	Advert:  priority, interval in microseconds (4), source address
//	Query:   nonce (8), node asked about (16)
//	Answer:  nonce (8), kind, flags, priority, age of its last advert (8),
//	         age of the last advert it heard (8), source address
//	Unheard, Yield, Insist: nonce (8)
//
// # Replay
//
// The boot of a peer never goes back, and within a boot an advert is newer
// than every advert before it; other messages may be reordered within 64. A
// recording made in an earlier boot of the peer is refused as soon as one
// datagram of the present boot was seen, or at once if [Sealer.RequireBoot]
// was told of it. A datagram reflected to its sender is refused by its sender
// field. Boot must come from a source that only grows over restarts; where it
// went back, peers refuse the node's datagrams and VRRP alone is left.
package wire
