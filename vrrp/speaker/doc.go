// Package speaker gives the pure Router its clock and its wires: one loop on
// one locked thread, one timer, raw VRRP sockets, and the second wire.
//
//	        ppoll ── raw socket per interface ──▶ packet.Check ──▶ Router.Step
//	Loop ──┤      ── mesh UDP socket ──▶ wire.Open ──▶ veto.Step ──▶ Router.Step
//	        └ timer: the earliest of Router.Deadline, veto deadlines
//	                                                  actions ──▶ sockets, Kernel
//
// Nothing in the steady state allocates, and nothing waits except the loop's
// ppoll. Long waits are ordinary system calls, so that an idle process really
// sleeps; waits under two milliseconds are raw ones, which spares handing the
// processor back and forth between the runtime's threads.
//
// Before any timer is acted on the sockets are read once more: an advert that
// already lies in the kernel is never overtaken by the takeover it forbids.
package speaker
