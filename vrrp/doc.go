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
// There are no timers to cancel and no generations to compare.
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
