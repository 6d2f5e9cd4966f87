// Package logsink writes the daemon's slog records to where keepalived's
// options send them: the console (-l), syslog (-S, unless -G) and a file (-g).
//
//	slog.Logger ── Handler ──(queue, 1024 lines)── writer ─┬─ console
//	   formats one line        full: counted as dropped    ├─ /dev/log
//	                                                       └─ file
//
// Invariants:
//   - A caller never waits for an output: it formats its line and queues it.
//     Lines that find the queue full are dropped and their number is written
//     once there is room.
//   - The same line within a second is written once; how often it came again
//     is written when the second is over. Lines count as the same when level,
//     message and attributes are equal. Up to 32 different lines are
//     remembered.
//   - Lines reach all outputs in the order of the calls.
//   - Nothing is written before or after Open and Close; Close writes what
//     waits, for a second at most, so main calls it before it exits.
//
// Without a syslog daemon, lines go to stderr instead, and /dev/log is tried
// again once a second only.
//
// The three processes call themselves keepmesh, keepmesh_vrrp and
// keepmesh_cluster.
package logsink
