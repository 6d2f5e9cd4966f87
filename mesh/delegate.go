package mesh

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
)

// delegate is the Mesh as the gossip library sees it. The library calls it with
// its own locks held, so nothing here calls back or blocks.
type delegate Mesh

var (
	_ memberlist.Delegate         = (*delegate)(nil)
	_ memberlist.EventDelegate    = (*delegate)(nil)
	_ memberlist.AliveDelegate    = (*delegate)(nil)
	_ memberlist.MergeDelegate    = (*delegate)(nil)
	_ memberlist.ConflictDelegate = (*delegate)(nil)
	_ memberlist.PingDelegate     = (*delegate)(nil)
)

func (d *delegate) NodeMeta(limit int) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	raw, err := d.self.encode()
	if err != nil || len(raw) > limit {
		// Names are bounded so that this cannot be; without a meta nobody would
		// listen, without the optional part they do.
		small := d.self
		small.Consensus = Consensus{Bootstrapped: small.Consensus.Bootstrapped, Expect: small.Consensus.Expect}
		raw, _ = small.encode()
	}
	return raw
}

func (d *delegate) NotifyMsg(raw []byte) {
	var p piece
	if err := json.Unmarshal(raw, &p); err != nil {
		return // of a release that this one does not know
	}
	(*Mesh)(d).receive([]piece{p}, true)
}

func (d *delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.queue.GetBroadcasts(overhead, limit)
}

// maxState bounds what one comparison of everything carries.
const maxState = 4 << 20

func (d *delegate) LocalState(bool) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	pieces := d.table.all(d.id.UUID())
	for {
		raw, err := json.Marshal(pieces)
		if err == nil && len(raw) <= maxState {
			return raw
		}
		if err != nil || len(pieces) == 0 {
			return nil
		}
		pieces = pieces[:len(pieces)/2]
	}
}

func (d *delegate) MergeRemoteState(raw []byte, _ bool) {
	var pieces []piece
	if len(raw) > maxState || json.Unmarshal(raw, &pieces) != nil {
		return
	}
	(*Mesh)(d).receive(pieces, false)
}

// NotifyAlive decides whether a node may be a member.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.admitLocked(n)
}

func (d *delegate) admitLocked(n *memberlist.Node) error {
	a, err := readMeta(d.id, n.Name, n.Meta)
	if err != nil {
		d.warnLocked(err.Error())
		return err
	}
	for uuid, other := range d.members {
		if uuid != a.uuid && other.name == a.name && other.status == Alive {
			err := fmt.Errorf("node name %q of %s (%s) is already used by the live node %s (%s): give one of them another node_name in mesh.conf",
				a.name, addrOf(n), a.uuid, other.addr, uuid)
			d.warnLocked(err.Error())
			return err
		}
	}
	return nil
}

func (d *delegate) warnLocked(text string) {
	if ok, repeats := d.quiet.Allow(text); ok {
		d.log.Warn("node refused", "reason", text, "repeats", repeats)
	}
}

// NotifyMerge lets a join fail as a whole where the clash is with this node
// itself, so that the joining side learns it as the reason. Nodes with a clash
// among each other are left to NotifyAlive.
func (d *delegate) NotifyMerge(nodes []*memberlist.Node) error {
	own, name := d.id.UUID(), d.id.Name()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range nodes {
		if n.State != memberlist.StateAlive && n.State != memberlist.StateSuspect || n.Name == own {
			continue
		}
		if a, err := readMeta(d.id, n.Name, n.Meta); err == nil && a.name == name {
			err := fmt.Errorf("node name %q is already used by the live node %s (%s): give one of them another node_name in mesh.conf", name, addrOf(n), n.Name)
			d.warnLocked(err.Error())
			return err
		}
	}
	return nil
}

// NotifyConflict tells of one UUID at two addresses: a node that came back
// elsewhere before its old place was given up, which settles itself, or a copied
// data directory. The second address is tried when the first is found dead.
func (d *delegate) NotifyConflict(existing, other *memberlist.Node) {
	a, err := readMeta(d.id, other.Name, other.Meta)
	if err != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	was, now := addrOf(existing), addrOf(other)
	text := fmt.Sprintf("node %s is a member at %s and now also speaks from %s: if it moved, it is let in when the old address is found dead; if both run, data_dir was copied: remove node.pem on one of them", a.name, was, now)
	if a.uuid == d.id.UUID() {
		text = fmt.Sprintf("this node, at %s, is also known at %s: it moved from there, or data_dir was copied: then remove node.pem on one of them", was, now)
	} else if mem := d.members[a.uuid]; mem != nil {
		mem.moved = now
	}
	d.warnLocked(text)
}

func (d *delegate) NotifyJoin(n *memberlist.Node)   { d.update(n, Alive) }
func (d *delegate) NotifyUpdate(n *memberlist.Node) { d.update(n, Alive) }

func (d *delegate) NotifyLeave(n *memberlist.Node) { d.update(n, Dead) }

func (d *delegate) update(n *memberlist.Node, status Status) {
	a, err := readMeta(d.id, n.Name, n.Meta)
	if err != nil {
		return // never admitted
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	mem := d.members[n.Name]
	if mem == nil {
		mem = &member{}
		d.members[n.Name] = mem
	}
	from, addr := mem.status, addrOf(n)
	if from != status || mem.addr != addr {
		mem.since = time.Now()
		if n.Name != d.id.UUID() {
			d.logChangeLocked(a.name, addr, mem.addr, from, status, d.table.left(a.uuid, a.Boot))
		}
	}
	mem.about, mem.addr, mem.status = a, addr, status
	(*Mesh)(d).countAliveLocked()
	if mem.moved == addr {
		mem.moved = netip.AddrPort{}
	}
	d.notifyLocked()
	if status != Alive {
		d.kickLocked()
	}
}

func (d *delegate) logChangeLocked(name string, addr, was netip.AddrPort, from, to Status, left bool) {
	switch {
	case to == Alive && from == Alive:
		d.log.Info("member moved", "node", name, "from", was, "to", addr)
	case to == Alive:
		d.log.Info("member joined", "node", name, "addr", addr)
	case left:
		d.log.Info("member left", "node", name, "addr", addr)
	default:
		d.log.Warn("member does not answer any more", "node", name, "addr", addr)
	}
}

func (d *delegate) notifyLocked() { (*Mesh)(d).notifyLocked() }

func (d *delegate) kickLocked() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

func (d *delegate) AckPayload() []byte { return nil }

func (d *delegate) NotifyPingComplete(n *memberlist.Node, rtt time.Duration, _ []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if mem := d.members[n.Name]; mem != nil {
		mem.acked, mem.rtt = time.Now(), rtt
	}
}
