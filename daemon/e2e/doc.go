// Package e2e holds the end-to-end tests: the built binary in network
// namespaces, run as a user would run it, with keepalived 2.2.7 beside it.
//
// Every lab has a tape, which records each advert and each announcement that
// enters a switch. Tests judge by the tape, by the addresses that the kernel
// has, and by what the daemon prints; they look into no package of the daemon.
// KEEPMESH_BIN names a binary to test instead of a fresh build.
package e2e
