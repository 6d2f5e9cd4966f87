// Package netif is the only code of keepmesh that changes interfaces,
// addresses, routes, rules and neighbours, and that sends gratuitous ARP and
// unsolicited Neighbour Advertisements.
//
//	        owner's loop (one thread, ppoll over raw descriptors)
//	 calls │                    │ FD/Drain             │ FD/Drain
//	┌──────▼──────┐      ┌──────▼──────┐        ┌──────▼──────┐
//	│   Kernel    │      │   Monitor   │        │   Prober    │   Announcer
//	│ add del dump│      │ link addr   │        │ ARP heard   │   GARP, NA out
//	│  (netlink)  │      │ route lost  │        │ (AF_PACKET) │   (AF_PACKET)
//	└─────────────┘      └─────────────┘        └─────────────┘
//
// # Invariants
//
//   - Every operation is idempotent. What is asked for and already there is
//     success, what is to be removed and absent is success, so that a start
//     after a crash, a foreign `ip addr del` and a reload are one code path.
//   - Interfaces are named. Indexes are looked up for each call and never kept:
//     an interface may be absent, appear later, be renamed, or come back under
//     another index.
//   - The attributes of an address, route or rule are those that keepalived
//     2.2.7 gives it for the same configuration, so that either daemon can take
//     over what the other one left.
//
// # Threading
//
// No type here starts a goroutine or takes a lock. Each value belongs to one
// goroutine at a time. Sockets are opened in the network namespace of the
// calling thread and stay there. Calls are synchronous and bounded: a netlink
// call returns after at most [Timeout] per exchange, sends on packet sockets
// never block, and Drain handles a bounded number of messages, to be called
// again while the descriptor stays readable. Descriptors are non-blocking
// wherever FD is offered, do not change during the life of their owner, and are
// not registered with the runtime's poller.
package netif
