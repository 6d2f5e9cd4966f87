package mesh

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/hashicorp/memberlist"
)

// Publish replaces this node's digest. Changes of state are sent at once, mere
// ages at most every Refresh. It fails for what does not fit: names beyond 255
// bytes, or too many instances.
func (m *Mesh) Publish(d Digest) error {
	bodies, err := split(d)
	if err != nil {
		return fmt.Errorf("publishing to the mesh: %w", err)
	}
	want := make(map[string]pieceBody, len(bodies))
	for k, b := range bodies {
		want[k] = b
	}
	m.mu.Lock()
	m.want = want
	m.flushLocked(false)
	m.mu.Unlock()
	return nil
}

// flushLocked turns what was published into pieces and queues those that
// changed. With all set, ages count as changes.
func (m *Mesh) flushLocked(all bool) {
	if m.want == nil {
		return
	}
	own := m.id.UUID()
	next := make(map[string]json.RawMessage, len(m.want))
	for k, b := range m.want {
		next[k] = b
	}
	var held map[string]piece
	if doc := m.table[own]; doc != nil && doc.boot == m.self.Boot {
		held = doc.pieces
	}
	changed, gone := difference(held, next, all)
	if all && len(changed) == 0 {
		// Nothing has changed, which is worth saying: as_of moves on.
		changed = append(changed, "w")
	}
	now := time.Now().UnixMilli()
	for _, key := range changed {
		m.putLocked(piece{Node: own, Key: key, AsOf: now, Body: next[key]})
	}
	for _, key := range gone {
		m.putLocked(piece{Node: own, Key: key, AsOf: now})
	}
	if len(changed)+len(gone) > 0 {
		m.heard[own] = time.Now()
		m.notifyLocked()
	}
}

func (m *Mesh) putLocked(p piece) piece {
	m.seq++
	p.Boot, p.Seq = m.self.Boot, m.seq
	m.table.merge(p)
	m.broadcastLocked(p)
	return p
}

func (m *Mesh) broadcastLocked(p piece) {
	raw, err := json.Marshal(p)
	if err != nil || len(raw) > maxPiece+100 {
		// It still travels with the next comparison of everything.
		m.log.Warn("piece of the digest is too large for gossip", "node", p.Node, "key", p.Key, "bytes", len(raw), "err", err)
		return
	}
	m.queue.QueueBroadcast(&pieceBroadcast{name: p.Node + "/" + p.Key, raw: raw})
}

func (m *Mesh) flushLoop() {
	defer m.wg.Done()
	tick := time.NewTicker(m.cfg.Refresh)
	defer tick.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-m.dirty:
			// A timeout only means that the queue had no turn yet: it stays queued.
			if err := m.list.UpdateNode(m.cfg.GossipInterval); err != nil {
				m.log.Debug("announcing the consensus state", "err", err)
			}
		case <-tick.C:
			m.mu.Lock()
			m.flushLocked(true)
			m.forgetLocked(time.Now())
			m.mu.Unlock()
		}
	}
}

// Dead nodes stay readable for long: an operator wants to see what the node
// said last. Nodes that left are gone sooner.
const (
	forgetDead = 24 * time.Hour
	forgetLeft = time.Hour
)

func (m *Mesh) forgetLocked(now time.Time) {
	for uuid, mem := range m.members {
		age := now.Sub(mem.since)
		if mem.status == Dead && (age > forgetDead || age > forgetLeft && m.table.left(uuid, mem.Boot)) {
			delete(m.members, uuid)
		}
	}
	for uuid := range m.table {
		if m.members[uuid] == nil && now.Sub(m.heard[uuid]) > forgetLeft {
			delete(m.table, uuid)
			delete(m.heard, uuid)
		}
	}
}

// pieceBroadcast is a queued piece; a newer one of the same key takes its place.
type pieceBroadcast struct {
	name string
	raw  []byte
}

var _ memberlist.NamedBroadcast = (*pieceBroadcast)(nil)

func (b *pieceBroadcast) Name() string                                { return b.name }
func (b *pieceBroadcast) Message() []byte                             { return b.raw }
func (b *pieceBroadcast) Finished()                                   {}
func (b *pieceBroadcast) Invalidates(other memberlist.Broadcast) bool { return false }

// receive merges pieces that came from another node and sends on what is new.
func (m *Mesh) receive(pieces []piece, relay bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	own, changed := m.id.UUID(), false
	for _, p := range pieces {
		if p.Node == own {
			m.receiveOwnLocked(p)
			continue
		}
		if !m.table.merge(p) {
			continue
		}
		changed = true
		m.heard[p.Node] = time.Now()
		if relay {
			m.broadcastLocked(p)
		}
	}
	if changed {
		m.notifyLocked()
	}
}

// receiveOwnLocked meets pieces of this very node that it has not made in this
// life. A higher boot means that the data directory went back in time, or that
// it was copied: its number is passed, so that the others listen to this node.
func (m *Mesh) receiveOwnLocked(p piece) {
	if p.Boot < m.self.Boot || p.Boot == m.self.Boot && p.Seq <= m.seq {
		return
	}
	if ok, _ := m.quiet.Allow("own pieces"); ok {
		m.log.Warn("another node speaks in this node's name, or data_dir was restored from a backup: a copied data_dir must not run twice",
			"boot", m.self.Boot, "theirs", p.Boot)
	}
	m.self.Boot = max(p.Boot, m.self.Boot) + 1
	m.seq = 0
	m.flushLocked(true)
}
