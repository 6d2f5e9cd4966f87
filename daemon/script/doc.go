// Package script starts every script of the daemon: vrrp_script and MISC
// checks, notify scripts and readers of notify FIFOs.
//
// A [Command] is made by [Parse] from the text of the configuration and by
// [Command.Resolve] from the machine's files and users; only a resolved one
// can be started. [Security] is keepalived's check that nobody but root can
// change what root runs.
//
// Invariants:
//   - A script runs as the leader of its own process group, dies by SIGTERM
//     when the daemon dies, and inherits no descriptor but 0, 1 and 2.
//   - It runs under SCHED_OTHER at nice 0 with an empty signal mask and the
//     umask of [Options], whatever the daemon itself runs under.
//   - Scripts start in the order of the calls of [Executor.Start].
//   - The function given to Start is called exactly once.
//   - Start and Terminate never wait, not even for a program on a file system
//     that hangs.
//   - A signal is sent to a process group only while its leader has not been
//     reaped, so that it can never reach a stranger with a recycled id.
//
// Threading: all methods may be called from any goroutine. All forks are made
// by one goroutine locked to its thread, because the parent-death signal and
// the attributes that a child inherits belong to the thread that forks. The
// thread lives as long as the Executor; Close ends it after the last script.
package script
