// Package guardian is the first of the three processes: it reads the
// configuration, starts the vrrp and the cluster process and starts them again
// when they die, removes from the kernel what a vrrp process that died left
// there, keeps the pid files, answers the service manager, and turns signals
// into messages.
//
//	        SIGHUP ─▶ load ─▶ Prepare ─▶ both children ─▶ Prepared ─▶ Commit
//	guardian
//	        child died ─▶ purge (vrrp only) ─▶ wait 0, 1, 2, 4 .. 60 s ─▶ start
//
// One goroutine, [Guardian.Run], owns all state. A goroutine per child reads
// its control socket, another waits for its end; both only send on channels.
//
// A reload has two phases. Every engine's Prepare must agree before any
// Commit is sent; on a failure nothing changes.
package guardian
