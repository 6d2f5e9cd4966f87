package consensus

import (
	"fmt"
	"maps"
)

// CommandVersion is the newest version of commands that this release knows.
const CommandVersion = 1

// Op is what a command does.
type Op string

// The operations. OpGet changes nothing: it is a read at its place in the log.
const (
	OpCluster Op = "cluster" // names the cluster, once
	OpPut     Op = "put"     // sets Key; with Expect only at that revision
	OpDelete  Op = "delete"  // removes Key; with Expect only at that revision
	OpGet     Op = "get"     // reads Key
	OpNode    Op = "node"    // enters a node into the registry
	OpRemove  Op = "remove"  // removes node Key from the registry and bars it
	OpReadmit Op = "readmit" // lets node Key in again
)

// Command is one entry of the log, as JSON.
type Command struct {
	Version int         `json:"v"`
	Op      Op          `json:"op"`
	Key     string      `json:"k,omitempty"`
	Value   []byte      `json:"d,omitempty"`
	Expect  *uint64     `json:"x,omitempty"` // revision the key must have; 0: it must not exist
	Node    *NodeRecord `json:"n,omitempty"`
	Cluster *Cluster    `json:"c,omitempty"`
}

// Bounds of one entry.
const (
	MaxKey   = 512
	MaxValue = 1 << 20
)

// Check reports what makes the command invalid, before it gets into the log.
func (c Command) Check() error {
	switch {
	case len(c.Key) > MaxKey:
		return fmt.Errorf("key of %d bytes: at most %d are allowed", len(c.Key), MaxKey)
	case len(c.Value) > MaxValue:
		return fmt.Errorf("value of %d bytes: at most %d are allowed", len(c.Value), MaxValue)
	case c.Key == "" && c.Op != OpCluster && c.Op != OpNode:
		return fmt.Errorf("%s without a key", c.Op)
	case c.Op == OpNode && (c.Node == nil || c.Node.UUID == ""):
		return fmt.Errorf("%s without a node", c.Op)
	case c.Op == OpCluster && (c.Cluster == nil || c.Cluster.ID == ""):
		return fmt.Errorf("%s without an ID", c.Op)
	}
	return nil
}

// Cluster is the identity of the replicated state.
type Cluster struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// NodeRecord is a node in the registry. It stays when the node is away.
type NodeRecord struct {
	UUID string `json:"uuid"`
	Name string `json:"name"`
	Addr string `json:"addr"`
	Role Role   `json:"role"`
}

// Entry is a value and the revision of the state that it was set at.
type Entry struct {
	Value    []byte `json:"d"`
	Revision uint64 `json:"r"`
}

// State is everything that is agreed on. It is immutable: Apply returns
// another one. Configuration versions and ownership epochs have their place in
// it and are empty until there are commands for them.
type State struct {
	Revision uint64                `json:"revision"`
	Cluster  Cluster               `json:"cluster"`
	KV       map[string]Entry      `json:"kv,omitempty"`
	Nodes    map[string]NodeRecord `json:"nodes,omitempty"`
	Removed  map[string]bool       `json:"removed,omitempty"`
	Configs  map[uint64]ConfigText `json:"configs,omitempty"`
	Epochs   map[string]Ownership  `json:"epochs,omitempty"`
}

// ConfigText is one version of the replicated configuration.
type ConfigText struct {
	Text   string `json:"text"`
	Author string `json:"author"`
}

// Ownership is who may hold a group's addresses, and since which claim.
type Ownership struct {
	Owner string `json:"owner"`
	Boot  uint64 `json:"boot"`
	Epoch uint64 `json:"epoch"`
}

// Outcome of a command.
type Outcome string

// The outcomes. Anything but OK has changed nothing.
const (
	OK       Outcome = ""
	Missing  Outcome = "missing"  // no such key
	Conflict Outcome = "conflict" // the key has another revision than expected
	Unknown  Outcome = "unknown"  // a command of a newer release: the state must not go on
	Invalid  Outcome = "invalid"
)

// Result is what Apply says about a command.
type Result struct {
	Outcome  Outcome `json:"o,omitempty"`
	Revision uint64  `json:"r,omitempty"` // of the state after the command
	Entry    Entry   `json:"e,omitzero"`  // the key's entry now: what was written, read, or stood in the way
}

// Apply is the state machine: pure, total and the same on every node.
func Apply(s State, c Command) (State, Result) {
	if c.Version < 1 || c.Version > CommandVersion {
		return s, Result{Outcome: Unknown, Revision: s.Revision}
	}
	if c.Check() != nil {
		return s, Result{Outcome: Invalid, Revision: s.Revision}
	}
	switch c.Op {
	case OpCluster:
		return applyCluster(s, c)
	case OpPut, OpDelete:
		return applyKey(s, c)
	case OpGet:
		e, ok := s.KV[c.Key]
		if !ok {
			return s, Result{Outcome: Missing, Revision: s.Revision}
		}
		return s, Result{Revision: s.Revision, Entry: e}
	case OpNode:
		if s.Removed[c.Node.UUID] || s.Nodes[c.Node.UUID] == *c.Node {
			return s, Result{Revision: s.Revision}
		}
		s.Revision++
		s.Nodes = with(s.Nodes, c.Node.UUID, *c.Node)
		return s, Result{Revision: s.Revision}
	case OpRemove:
		s.Revision++
		s.Nodes = without(s.Nodes, c.Key)
		s.Removed = with(s.Removed, c.Key, true)
		return s, Result{Revision: s.Revision}
	case OpReadmit:
		s.Revision++
		s.Removed = without(s.Removed, c.Key)
		return s, Result{Revision: s.Revision}
	}
	return s, Result{Outcome: Unknown, Revision: s.Revision}
}

func applyCluster(s State, c Command) (State, Result) {
	if s.Cluster.ID != "" {
		return s, Result{Outcome: Conflict, Revision: s.Revision}
	}
	s.Revision++
	s.Cluster = *c.Cluster
	return s, Result{Revision: s.Revision}
}

func applyKey(s State, c Command) (State, Result) {
	old, exists := s.KV[c.Key]
	if c.Expect != nil && *c.Expect != old.Revision {
		return s, Result{Outcome: Conflict, Revision: s.Revision, Entry: old}
	}
	if c.Op == OpDelete {
		if !exists {
			return s, Result{Outcome: Missing, Revision: s.Revision}
		}
		s.Revision++
		s.KV = without(s.KV, c.Key)
		return s, Result{Revision: s.Revision}
	}
	s.Revision++
	e := Entry{Value: c.Value, Revision: s.Revision}
	s.KV = with(s.KV, c.Key, e)
	return s, Result{Revision: s.Revision, Entry: e}
}

// with and without copy: published states are read without a lock.
func with[V any](m map[string]V, key string, v V) map[string]V {
	out := make(map[string]V, len(m)+1)
	maps.Copy(out, m)
	out[key] = v
	return out
}

func without[V any](m map[string]V, key string) map[string]V {
	out := maps.Clone(m)
	delete(out, key)
	return out
}
