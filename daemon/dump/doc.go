// Package dump writes the files that keepalived 2.2.7 writes on SIGUSR1
// (keepalived.data), SIGUSR2 (keepalived.stats) and SIGRTMIN+2
// (keepalived.json), so that exporters and scripts which read them go on
// working.
//
//	config.Config ─┐
//	ipc.Snapshot  ─┼─ Data, Stats, JSON ─ Write ─ /tmp/keepalived.*
//	Env           ─┘
//
// Data, Stats and JSON are pure: they read no clock, no file and no kernel
// state, and the same arguments give the same bytes. Order, indentation and
// wording are keepalived's, its spelling mistakes and oddities included. A
// value that only a running keepalived has (a descriptor, a debounce timer in
// flight) is written as keepalived writes it before it has one.
//
// Nothing here starts a goroutine or keeps state; every function may be called
// at any time from any goroutine.
package dump
