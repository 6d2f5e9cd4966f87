// Package bfd is Bidirectional Forwarding Detection (RFC 5880, RFC 5881 and
// the parts of RFC 5883 that keepalived's bfd_instance has): asynchronous mode
// without authentication and without the echo function.
//
//	Start, Received, Tick, ──▶ Session ──▶ Send, Changed
//	Configure, Disable         Step()
//	                           Deadline()
//
// A [Set] holds the sessions of a node, gives each incoming packet to its
// session and publishes the earliest deadline. Both are pure: no I/O, no
// goroutine, no lock, no clock; jitter comes from a generator that the Config
// seeds. Package bfd/udp has the sockets.
//
// Invariants:
//   - A packet that RFC 5880 section 6.8.6 discards changes nothing.
//   - Send is given out at a Tick in time for the interval that both sides
//     agreed on, at once where the state changed, and at once in answer to a
//     Poll; never with Poll and Final together.
//   - Every state that a neighbour could have seen is told by Changed, in order.
//
// Threading: none of the types may be used by two goroutines at once.
package bfd
