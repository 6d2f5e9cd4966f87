// Package vrrp is the protocol: one pure [Router] that owns every virtual
// router instance, every sync group and every tracked condition of a node, so
// that a group moves in one step.
//
// The package does no I/O, starts no goroutine, takes no lock and reads no
// clock. A shell (package speaker, the simulator, a test) feeds it events and
// carries out the actions it returns, in the order in which they are returned:
//
//	   events                                   actions
//	Advert, Tick, TrackerChanged, ──▶ Router ──▶ SendAdvert, Hold, Release,
//	Permit, Refuse, Revoke, ...      Step()      Announce, WantHold, StateChanged, ...
//	                                 Deadline()
//
// Deadline publishes the one instant at which the Router next wants a Tick.
// There are no timers to cancel and no generations to compare. It may be early
// by one turn, never late: see [Router.Deadline].
//
// The configuration changes in two steps: Prepare checks and gives out
// identities, Commit puts it into force. In the steady state, an advert heard in
// Backup and a Tick that sends adverts in Active, Step does not allocate.
//
// # Two wires
//
// The same advert may come in on the LAN and on the second wire. It is processed
// as one from the LAN either way. A copy that follows on the other wire within
// half an interval is not answered again, and does not start Skew_Time again.
//
// # Sync groups
//
// A lone instance is a group of its own inside, so that there is one path for
// every transition. A group is never torn: its members are Active together,
// Backup together, in Fault together. Only a reload can join members in
// different states: a newcomer to an Active group runs its own timer in Backup,
// then follows; an advert that keeps it in Backup takes the whole group there.
//
// # Words
//
// The protocol code uses the words of RFC 9568. What an operator or a script
// sees uses keepalived's words. This is the one table that maps them:
//
//	RFC 9568                      keepalived                 here
//	Virtual Router                vrrp_instance              Instance
//	-                             vrrp_sync_group            Group
//	Initialize                    INIT, FAULT, STOP          Initialize, Fault, Stopped
//	Backup                        BACKUP                     Backup
//	Active (formerly Master)      MASTER                     Active
//	Advertisement_Interval        advert_int                 AdvertInterval
//	Active_Adver_Interval         master_adver_int           the learnt interval
//	Skew_Time                     skew                       SkewTime
//	Active_Down_Interval          master down timer          ActiveDownInterval
//	Preempt_Mode                  nopreempt (negated)        NoPreempt
//	address owner, priority 255   owner                      Owner
package vrrp
