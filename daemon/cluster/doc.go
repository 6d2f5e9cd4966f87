// Package cluster is the third of the three processes, `keepmesh cluster`:
// everything that may be slow, large or wrong without touching an address.
// Scripts and notifications, the mesh and its Raft log, the API.
//
//	vrrp ──State, Event, Snapshot──▶ loop ──▶ notify, events, mesh.Publish
//	     ◀──Tracker, Wire, Ask─────       ◀── track, mesh.Watch, API
//	guardian ──Prepare, Commit, Dump, Stop──▶
//
// One goroutine, the loop, owns the state that changes; what others read is
// behind one mutex (store). Nothing here waits for the vrrp process: what it
// does not answer within 100 ms is answered from what it said last.
package cluster
