// Package track follows what priorities and faults may depend on outside the
// protocol: the results of vrrp_scripts, the numbers in track_files and the
// processes of vrrp_track_process.
//
// [Script] is the pure machine of one vrrp_script: it turns exit results into
// up and down by keepalived's counter. [Tracker] runs the scripts at their
// intervals through daemon/script. [Files] and [Processes] watch files and
// processes, the latter by the kernel's proc connector or by polling /proc.
//
// Invariants:
//   - Each script reports up or down once after its first run, whatever rise
//     and fall are, and from then on only when that changes.
//   - A script never runs twice at once.
//   - Apply keeps the counters and the next due time of a definition that did
//     not change; a definition that did change begins anew, undecided.
//
// Threading: the machines are plain values. Tracker, Files and Processes may
// be used from any goroutine; the function that each is given is called from
// one goroutine at a time, in the order of the events, and must not call back
// into the object's Apply or Close.
package track
