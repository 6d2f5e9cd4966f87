// Package protocol is the second of the three processes, `keepmesh vrrp`: the
// Router with its speaker, the kernel's addresses, and nothing else. It reads
// no file, serves no request, and starts no script.
//
//	guardian ──control──▶ ┌──────────────────────────────┐
//	                      │ one loop, one locked thread  │──▶ netif: addresses, GARP
//	cluster ◀──events───▶ │ speaker ─ Router, veto, wire │◀── netif: links, addresses
//	                      └──────────────────────────────┘
//
// The death of the guardian (end of file on control) ends it in good order:
// priority 0, addresses removed. The death or the silence of the cluster
// process changes nothing but what can be told: messages that it does not take
// are dropped, and a Snapshot brings it up to date when it is back.
package protocol
