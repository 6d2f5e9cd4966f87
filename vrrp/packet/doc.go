// Package packet reads, judges and writes VRRP advertisements: VRRPv2
// (RFC 3768) and VRRPv3 (RFC 9568), over IPv4 and IPv6, byte for byte as
// keepalived 2.2.7 sends them.
//
// A received datagram goes through three steps, none of which allocates:
//
//	frame ── DecodeIPv4 ──▶ IPv4 ── Decode ──▶ Advert ── Expect.Check ──▶ Verdict
//	IPv6 payload ────────────────▶ Decode ──▶ Advert ── Expect.Check ──▶ Verdict
//
// The decoded values are views into the buffer and live as long as it does.
// Decode refuses only what has no VRRP header; everything else is a matter for
// Check, which keeps keepalived's order of checks and its counters, so that two
// daemons beside each other count the same packet under the same name.
//
// An Encoder is prepared once for each instance and only patched when sending.
//
// Authentication has state that outlives a configuration: [AH] (RFC 2338) and
// [HMAC] (keepalived 2.4) hold keys, the sender's numbers and the marks against
// replay, and are shared by what sends and what checks.
//
// The package is pure. Values are not safe for concurrent use.
package packet
