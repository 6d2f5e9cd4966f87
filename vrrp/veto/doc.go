// Package veto decides, beside a [vrrp.Router], whether a Backup may take the
// addresses of a silent Active router, where the routers of an instance are
// also joined by a second wire (the mesh). It is the section "availability" of
// the fencing rules: no votes, no epochs, only the holder's word and what the
// LAN itself answers.
//
// There is one [Machine] per instance with mesh members. It does no I/O, starts
// no goroutine, takes no lock and reads no clock; one thread owns it. With
// A the advertisement interval, S the skew and M the Active_Down_Interval:
//
//	   events                                      actions
//	Advert (both wires), WantHold, ──▶ Machine ──▶ Permit, Refuse, Takeover,
//	Answer, ProbeResult, Query,        Step()      Ask, Probe, SendAnswer,
//	Unheard, Self, Timers, ...         Deadline()  SendUnheard, Shut, Alarm, ...
//
//	last LAN advert ────────── M-A: ask every member ────────── M: decide
//
// # What decides
//
// The question is asked one interval before the timer ends, so that the answer
// is there when it ends: a fail-over without an answer happens at M exactly,
// whatever the mesh is doing. A holder's word is an answer bound to the nonce
// of a recent question, or an advert on the mesh that is no older than 5/4 A:
// it leaves the holder's loop after the LAN copy, is authenticated and in
// sequence, so a path that carries adverts but loses questions does not make a
// second holder. Where the holder's word stands, the LAN probe says what to
// make of it:
//
//	the address answers, or no LAN evidence   Vetoed
//	silent address, a neighbour answers       Mute: ask the holder to let go
//	nothing answers                           Deaf
//
// Without a holder's word the instance is taken over: Wedged, Unfit, Lapsed,
// UnknownInstance, NoAnswer.
//
// # Invariants
//
//   - WantHold is answered by exactly one Permit or Refuse in the same Step.
//   - With every member silent the machine permits at the instant at which the
//     Router asks and sends nothing on the LAN: plain VRRP, byte for byte. A
//     LAN probe is sent only after a holder's word.
//   - A Takeover of its own is emitted only while adverts on the mesh hold the
//     Router's timer back, or after a holder yielded or did not reply.
//   - In the steady state, adverts on both wires, Step does not allocate.
//
// # The holder's side
//
// A holder that is told "unheard" tests its LAN. It shuts, yields and goes to
// FAULT where the test fails, or where a majority of the fit members, itself
// among them, repeats the complaint after a test that passed; else it insists.
// It reopens when its LAN test passes and the hold-off has gone by: three
// Active_Down_Intervals, doubled with each relapse, so that an address that is
// silent for a reason no test finds does not go back and forth.
//
// # Shell
//
// The shell reads its sockets before it serves a timer, so that an advert that
// waits is older than the decision it changes. Router and machine may be served
// in either order at a common instant. A result that takes long (Probe,
// TestLAN) comes back as an event.
package veto
