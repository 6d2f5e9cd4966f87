// Package consensus is what the nodes of a cluster agree on: a Raft log, the
// pure state machine behind it, and the way of a write to the leader.
//
//	Put ── leader? ── yes ─> Raft ─> Apply (fsm.go, pure) ─> State, on every node
//	          └───── no ─── keepmesh-forward stream ─> the leader's Put
//
// # Identity and addresses
//
// A server's ID is its node's UUID. Its address is UUID@HOST:PORT: a stream to
// it is refused when another node answers there. Addresses follow gossip, both
// when dialling and, by the leader, in the Raft configuration.
//
// # Forming a cluster
//
// A node without state and with bootstrap_expect N forms a cluster when it knows
// N live voters that all want the same N servers and none of which has state.
// Each publishes a digest of the set it would form before it acts on it, so that
// two nodes with different pictures do not act. All of them write the same
// configuration. A node that meets a cluster never forms one: the leader lets it
// in. State is never overwritten, and state under another cluster's name is
// refused when the node starts.
//
// # What a hung disk does
//
// Every store operation has a deadline. Missing it, or any error of the disk,
// takes this node's Raft down in an orderly way and shows in Status; the process
// lives on, the other nodes carry on, and the store is opened again when the
// disk answers.
//
// # Authority
//
// Being leader, or a read that Raft's own VerifyLeader blessed, gives no right
// to anything: GetLinearizable goes through the log.
//
// # Threading
//
// A Node is safe for concurrent use. One goroutine forms, admits and follows
// addresses; Raft has its own. State values are immutable once published.
package consensus
