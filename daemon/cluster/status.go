package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/daemon/ipc"
	"github.com/keepmesh/keepmesh/daemon/status"
	"github.com/keepmesh/keepmesh/mesh"
)

// nodeStatus is this node's report of itself: fresh, or what the vrrp process
// said last, stamped with that time.
func (p *process) nodeStatus(ctx context.Context) status.Node {
	before, arrived := p.store.last()
	select {
	case p.jobs <- func() { p.ask() }:
	case <-ctx.Done():
	}
	fresh := false
	wait := time.NewTimer(freshness)
	defer wait.Stop()
	select {
	case <-arrived:
		fresh = true
	case <-wait.C:
	case <-ctx.Done():
	}
	snap := before
	if fresh {
		snap, _ = p.store.last()
	}
	n := status.Node{
		Name: p.node, AsOf: snap.At, Live: true, Instances: snap.Instances, Groups: snap.Groups,
		VRRPSilent: !fresh, WireError: snap.WireError, Config: status.Config{Hash: p.hash.Load().(string)},
	}
	if m := p.mesh; m != nil {
		n.UUID = plainID(m.id.UUID())
	}
	return n
}

func plainID(uuid string) string { return strings.ReplaceAll(uuid, "-", "") }

// configHash names a text and all that it includes.
func configHash(b *config.Bundle) string {
	h := sha256.New()
	for _, f := range b.Files {
		fmt.Fprintf(h, "%s\n%d\n%s", f.Path, len(f.Text), f.Text)
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// clusterStatus asks every member at once and joins what comes back in time.
func (p *process) clusterStatus(ctx context.Context) status.Status {
	in := status.Input{Self: p.nodeStatus(ctx), Now: time.Now()}
	if m := p.mesh; m != nil {
		in.Cluster = m.cfg.ClusterName
		in.Quorum = m.quorum()
		in.Members, in.Others = m.others(ctx)
	}
	return status.Assemble(in)
}

func (m *meshNode) quorum() status.Quorum {
	s := m.raft.Status()
	q := status.Quorum{
		Have: s.Quorum, Leader: s.LeaderName, Voters: s.Voters, Alive: s.Alive, FailureTolerance: s.FailureTolerance,
		Term: s.Term, CommitIndex: s.CommitIndex, AppliedIndex: s.AppliedIndex, State: s.State,
	}
	switch {
	case s.Failure != "":
		q.State += ": " + s.Failure
	case s.Waiting != "":
		q.State += ": " + s.Waiting
	}
	return q
}

// others lists the members and gets the reports of those that are not this
// node; one that does not answer within the limit is told from gossip.
func (m *meshNode) others(ctx context.Context) ([]status.Member, []status.Node) {
	ctx, cancel := context.WithTimeout(ctx, freshness+50*time.Millisecond)
	defer cancel()
	view := m.mesh.View()
	transport := m.port.HTTPTransport()
	defer transport.CloseIdleConnections()
	asking := &http.Client{Transport: transport}
	var members []status.Member
	var mu sync.Mutex
	var wg sync.WaitGroup
	var nodes []status.Node
	for _, n := range view.Nodes {
		members = append(members, status.Member{Name: n.Name, Addr: n.Addr.String(), Role: string(n.Role), Status: string(n.Status), UUID: n.UUID})
		if n.UUID == view.Self || n.Status == mesh.Left {
			continue
		}
		wg.Go(func() {
			report, err := askNode(ctx, asking, n.Addr.String())
			if err != nil {
				report = fromDigest(&n)
			}
			mu.Lock()
			defer mu.Unlock()
			nodes = append(nodes, report)
		})
	}
	wg.Wait()
	return members, nodes
}

func askNode(ctx context.Context, c *http.Client, addr string) (status.Node, error) {
	var n status.Node
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/v1/node", nil)
	if err != nil {
		return n, err
	}
	res, err := c.Do(req)
	if err != nil {
		return n, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return n, fmt.Errorf("%s answers %s", addr, res.Status)
	}
	return n, json.NewDecoder(res.Body).Decode(&n)
}

// fromDigest is what gossip has of a node that does not answer.
func fromDigest(n *mesh.Node) status.Node {
	out := status.Node{Name: n.Name, UUID: plainID(n.UUID), AsOf: n.AsOf}
	gone := n.Status == mesh.Dead || n.Status == mesh.Left
	for _, i := range n.Digest.Instances {
		s := ipc.InstanceStatus{
			Name: i.Name, Family: i.Family, VRID: i.VRID, Interface: i.Interface, State: i.State, Since: i.Since,
			Priority: i.Priority, Effective: i.Effective, Reason: i.Reason, VIPs: i.VIPs, Verdict: i.Verdict,
		}
		if i.Source.IsValid() {
			s.Source = i.Source.String()
		}
		if gone {
			s.State, s.Reason = "UNKNOWN", "the node is "+string(n.Status)+", it was "+i.State
		}
		out.Instances = append(out.Instances, s)
	}
	return out
}
