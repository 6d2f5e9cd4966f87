package consensus

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/keepmesh/keepmesh/mesh/link"
)

// Errors that callers branch on.
var (
	// ErrNoLeader: nothing was written, and nothing can be before a majority of
	// the voters is back.
	ErrNoLeader = errors.New("no leader")
	// ErrUnknownOutcome: the write may or may not have happened.
	ErrUnknownOutcome = errors.New("outcome unknown")
	// ErrConflict: the key has another revision than the caller expected.
	ErrConflict = errors.New("conflict")
	// ErrNotFound: there is no such key.
	ErrNotFound = errors.New("not found")
)

const (
	defaultTimeout = 10 * time.Second
	leaderPoll     = 20 * time.Millisecond
	maxForward     = 2 << 20
)

// Value is what a key holds.
type Value struct {
	Data     []byte
	Revision uint64    // of the state when it was set; for CompareAndSwap
	AsOf     time.Time // the value is at least as new as this; zero if never in contact
}

// Put sets a key, from any node, and returns its revision. When it returns
// without error the value is committed, and Get on this node sees it.
func (n *Node) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	r, err := n.write(ctx, Command{Version: 1, Op: OpPut, Key: key, Value: value})
	return r.Entry.Revision, err
}

// CompareAndSwap sets a key that has the expected revision; 0 expects that it
// does not exist. Otherwise it fails with ErrConflict.
func (n *Node) CompareAndSwap(ctx context.Context, key string, expect uint64, value []byte) (uint64, error) {
	r, err := n.write(ctx, Command{Version: 1, Op: OpPut, Key: key, Value: value, Expect: &expect})
	return r.Entry.Revision, err
}

// Delete removes a key; ErrNotFound if there is none.
func (n *Node) Delete(ctx context.Context, key string) error {
	_, err := n.write(ctx, Command{Version: 1, Op: OpDelete, Key: key})
	return err
}

// Remove takes a node out of the cluster for good; only Readmit lets it in again.
func (n *Node) Remove(ctx context.Context, uuid string) error {
	_, err := n.write(ctx, Command{Version: 1, Op: OpRemove, Key: uuid})
	return err
}

// Readmit lets a node in again that was removed.
func (n *Node) Readmit(ctx context.Context, uuid string) error {
	_, err := n.write(ctx, Command{Version: 1, Op: OpReadmit, Key: uuid})
	return err
}

// Get reads a key as this node knows it, without asking anybody. It works
// without a leader; AsOf says how old the answer may be.
func (n *Node) Get(key string) (Value, bool) {
	e, ok := n.State().KV[key]
	return Value{Data: e.Value, Revision: e.Revision, AsOf: n.asOf()}, ok
}

// GetLinearizable reads a key at its place in the log: it sees every write
// that was acknowledged before it began. It costs a write.
func (n *Node) GetLinearizable(ctx context.Context, key string) (Value, error) {
	r, err := n.write(ctx, Command{Version: 1, Op: OpGet, Key: key})
	if err != nil {
		return Value{}, err
	}
	return Value{Data: r.Entry.Value, Revision: r.Entry.Revision, AsOf: time.Now()}, nil
}

func (n *Node) asOf() time.Time {
	inst, err := n.running()
	if err != nil {
		return time.Time{}
	}
	if inst.raft.State() == raft.Leader {
		return time.Now()
	}
	return inst.raft.LastContact()
}

// answer is what comes back from the leader.
type answer struct {
	Result
	Index uint64 `json:"i,omitempty"`
	Retry bool   `json:"again,omitempty"` // nothing was done: not the leader
	Err   string `json:"err,omitempty"`   // outcome unknown
}

func (n *Node) write(ctx context.Context, c Command) (Result, error) {
	if err := c.Check(); err != nil {
		return Result{}, err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultTimeout)
		defer cancel()
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return Result{}, fmt.Errorf("encoding %s: %w", c.Op, err)
	}
	var last error
	for {
		a, err := n.attempt(ctx, raw)
		switch {
		case err == nil && !a.Retry:
			n.awaitApplied(ctx, a.Index)
			return a.Result, outcomeError(c, a.Result)
		case errors.Is(err, ErrUnknownOutcome):
			return Result{}, fmt.Errorf("%s %s: %w: read it before you write it again", c.Op, c.Key, err)
		case err != nil:
			last = err
		}
		select {
		case <-ctx.Done():
			return Result{}, n.noLeader(c, last)
		case <-n.ctx.Done():
			return Result{}, n.noLeader(c, errors.New("this node is shutting down"))
		case <-time.After(leaderPoll):
		}
	}
}

func outcomeError(c Command, r Result) error {
	switch r.Outcome {
	case OK:
		return nil
	case Missing:
		return fmt.Errorf("%s %s: %w", c.Op, c.Key, ErrNotFound)
	case Conflict:
		return fmt.Errorf("%s %s: %w: it has revision %d", c.Op, c.Key, ErrConflict, r.Entry.Revision)
	case Unknown:
		return fmt.Errorf("%s %s: the leader does not know this command: upgrade every node to the same release", c.Op, c.Key)
	case Invalid:
		return fmt.Errorf("%s %s: the leader calls it invalid", c.Op, c.Key)
	}
	return fmt.Errorf("%s %s: %s", c.Op, c.Key, r.Outcome)
}

// noLeader says who would have to come back.
func (n *Node) noLeader(c Command, last error) error {
	s := n.Status()
	text := fmt.Sprintf("%s %s: %%w", c.Op, c.Key)
	switch {
	case s.Failure != "":
		return fmt.Errorf(text+": raft is down on this node: %s", ErrNoLeader, s.Failure)
	case s.Waiting != "":
		return fmt.Errorf(text+": %s", ErrNoLeader, s.Waiting)
	case s.Alive < s.Needed:
		var gone []string
		for _, v := range s.Servers {
			if v.Voter && !v.Alive {
				gone = append(gone, v.Name)
			}
		}
		return fmt.Errorf(text+": %d of %d voters are alive and %d are needed: bring back %s", ErrNoLeader, s.Alive, s.Voters, s.Needed, strings.Join(gone, " or "))
	case last != nil:
		return fmt.Errorf(text+": %w", ErrNoLeader, last)
	}
	return fmt.Errorf(text+": an election is under way: try again", ErrNoLeader)
}

// attempt tries once, here or at the leader. An error that is not
// ErrUnknownOutcome means that nothing was written.
func (n *Node) attempt(ctx context.Context, raw []byte) (answer, error) {
	inst, err := n.running()
	if err != nil {
		return answer{}, err
	}
	if inst.raft.State() == raft.Leader {
		return n.applyHere(ctx, inst, raw)
	}
	addr, id := inst.raft.LeaderWithID()
	if id == "" {
		return answer{Retry: true}, nil
	}
	if now, err := (addresses{n.members}).ServerAddr(id); err == nil {
		addr = now
	}
	conn, err := dialNode(ctx, n.cfg.Link, link.Forward, addr)
	if err != nil {
		return answer{}, fmt.Errorf("forwarding to the leader %s: %w", n.nameOf(string(id)), err)
	}
	defer conn.Close()
	if d, ok := ctx.Deadline(); ok {
		conn.SetDeadline(d)
	}
	a, err := exchange(conn, raw)
	if err != nil {
		return answer{}, fmt.Errorf("%w: the leader %s went away: %w", ErrUnknownOutcome, n.nameOf(string(id)), err)
	}
	if a.Err != "" {
		return answer{}, fmt.Errorf("%w: %s", ErrUnknownOutcome, a.Err)
	}
	return a, nil
}

func (n *Node) applyHere(ctx context.Context, inst *instance, raw []byte) (answer, error) {
	timeout := defaultTimeout
	if d, ok := ctx.Deadline(); ok {
		timeout = max(time.Until(d), time.Millisecond)
	}
	f := inst.raft.Apply(raw, timeout)
	if err := await(ctx, f, timeout); err != nil {
		switch {
		case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout), errors.Is(err, raft.ErrLeadershipTransferInProgress):
			return answer{Retry: true}, nil
		}
		return answer{}, fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
	n.committed()
	r, ok := f.Response().(Result)
	if !ok {
		return answer{}, fmt.Errorf("%w: no result", ErrUnknownOutcome)
	}
	return answer{Result: r, Index: f.Index()}, nil
}

// propose is a write of the leader's own, tried once: the next round repeats it.
func (n *Node) propose(inst *instance, c Command) {
	raw, err := json.Marshal(c)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(n.ctx, changeTimeout)
	defer cancel()
	if _, err := n.applyHere(ctx, inst, raw); err != nil {
		n.log.Debug("write of the leader failed, trying on", "op", c.Op, "err", err)
	}
	n.Wake()
}

// await is a future's Error with a bound: a future may never come while the
// disk hangs.
func await(ctx context.Context, f raft.Future, timeout time.Duration) error {
	done := make(chan error, 1)
	go func() { done <- f.Error() }()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return errors.New("no answer in time")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// awaitApplied lets a writer read its own write on its own node.
func (n *Node) awaitApplied(ctx context.Context, index uint64) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for {
		changed := *n.changed.Load()
		if p := n.state.Load(); p.Index >= index || p.Halted {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// serveForwards does other nodes' writes while this node leads. Each stream
// carries one.
func (n *Node) serveForwards(l net.Listener) {
	defer n.wg.Done()
	stop := context.AfterFunc(n.ctx, func() { l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		n.wg.Add(1)
		go func() {
			defer n.wg.Done()
			defer conn.Close()
			n.serveForward(conn)
		}()
	}
}

func (n *Node) serveForward(conn net.Conn) {
	ctx, cancel := context.WithTimeout(n.ctx, defaultTimeout)
	defer cancel()
	stop := context.AfterFunc(n.ctx, func() { conn.Close() })
	defer stop()
	conn.SetDeadline(time.Now().Add(defaultTimeout + time.Second))
	raw, err := readForward(conn)
	if err != nil {
		return
	}
	a := answer{Retry: true}
	var c Command
	if err := json.Unmarshal(raw, &c); err != nil || c.Version > CommandVersion {
		a = answer{Result: Result{Outcome: Unknown}}
	} else if inst, err := n.running(); err == nil && inst.raft.State() == raft.Leader {
		if a, err = n.applyHere(ctx, inst, raw); err != nil {
			a = answer{Err: err.Error()}
		}
	}
	if out, err := json.Marshal(a); err == nil {
		_ = writeForward(conn, out)
	}
}

func exchange(conn net.Conn, raw []byte) (a answer, err error) {
	if err := writeForward(conn, raw); err != nil {
		return a, err
	}
	out, err := readForward(conn)
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(out, &a)
}

func writeForward(w io.Writer, body []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
	return err
}

func readForward(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxForward {
		return nil, fmt.Errorf("message of %d bytes", n)
	}
	body := make([]byte, n)
	_, err := io.ReadFull(r, body)
	return body, err
}
