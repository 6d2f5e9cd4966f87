package mesh

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Bounds of the soft state. Beyond them a node is refused more room; nobody
// else's suffers.
const (
	maxPiece      = 1100 // bytes of an encoded piece; with the gossip's overhead it fits one datagram
	maxPieces     = 1024 // per node
	maxNodes      = 256
	maxNameLen    = 255
	maxReason     = 200
	vipsBudget    = 700 // bytes of VIPs in one piece
	hearingBudget = 8   // hearings in one piece
)

// piece is a part of a node's digest, replaced as a whole.
type piece struct {
	Node string          `json:"u"`
	Boot uint64          `json:"b"`
	Seq  uint64          `json:"q"`
	Key  string          `json:"k"`
	AsOf int64           `json:"t"`           // owner's Unix milliseconds
	Body json.RawMessage `json:"d,omitempty"` // none: the key is gone
}

// newer is the whole rule of merging: boots first, then sequence numbers.
func (p piece) newer(q piece) bool {
	if p.Boot != q.Boot {
		return p.Boot > q.Boot
	}
	return p.Seq > q.Seq
}

// document is what is held of one node.
type document struct {
	boot   uint64
	asOf   int64
	pieces map[string]piece
	whole  *Digest // the pieces put together, until one of them changes
}

// table is the merged soft state of all nodes. Merging is commutative,
// associative and idempotent, so that the order and number of deliveries do not
// matter.
type table map[string]*document

// merge takes a piece in and reports whether it changed anything.
func (t table) merge(p piece) bool {
	if len(p.Node) != 36 || p.Key == "" || len(p.Key) > maxNameLen+16 || len(p.Body) > maxPiece {
		return false
	}
	doc := t[p.Node]
	if doc == nil {
		if len(t) >= maxNodes {
			return false
		}
		doc = &document{boot: p.Boot, pieces: make(map[string]piece)}
		t[p.Node] = doc
	}
	switch {
	case p.Boot < doc.boot:
		return false
	case p.Boot > doc.boot:
		// A new start knows nothing of what the last one said.
		*doc = document{boot: p.Boot, pieces: make(map[string]piece)}
	}
	held, ok := doc.pieces[p.Key]
	if ok && !p.newer(held) || !ok && len(doc.pieces) >= maxPieces {
		return false
	}
	doc.pieces[p.Key] = p
	doc.whole = nil
	doc.asOf = max(doc.asOf, p.AsOf)
	return true
}

// all returns every piece, the given node's first, in a fixed order.
func (t table) all(first string) []piece {
	nodes := slices.SortedFunc(maps.Keys(t), func(a, b string) int {
		return cmp.Or(cmp.Compare(btoi(a != first), btoi(b != first)), strings.Compare(a, b))
	})
	var out []piece
	for _, n := range nodes {
		for _, k := range slices.Sorted(maps.Keys(t[n].pieces)) {
			out = append(out, t[n].pieces[k])
		}
	}
	return out
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// digest returns what a node says, and as of when. The result is shared until
// the next change: it must not be written to. Pieces that do not decode are left
// out: they are of a release that this one does not know.
func (t table) digest(node string) (Digest, time.Time) {
	doc := t[node]
	if doc == nil {
		return Digest{}, time.Time{}
	}
	if doc.whole == nil {
		d := doc.assemble()
		doc.whole = &d
	}
	return *doc.whole, time.UnixMilli(doc.asOf)
}

// leftKey is the piece by which a node says that it goes on purpose. It travels
// beside the gossip library's own last word, which does not tell its delegates
// who left and who was found dead.
const leftKey = "x"

// left reports whether the node said so in this boot.
func (t table) left(node string, boot uint64) bool {
	doc := t[node]
	return doc != nil && doc.boot >= boot && len(doc.pieces[leftKey].Body) > 0
}

func (doc *document) assemble() Digest {
	var d Digest
	vips := make(map[string][]string)
	for _, key := range slices.Sorted(maps.Keys(doc.pieces)) {
		body := doc.pieces[key].Body
		if len(body) == 0 {
			continue
		}
		switch kind, rest, _ := strings.Cut(key, "/"); kind {
		case "i":
			var i Instance
			if json.Unmarshal(body, &i) == nil {
				d.Instances = append(d.Instances, i)
			}
		case "v":
			var more []string
			if json.Unmarshal(body, &more) == nil {
				_, name, _ := strings.Cut(rest, "/")
				vips[name] = append(vips[name], more...)
			}
		case "h":
			var more []Hearing
			if json.Unmarshal(body, &more) == nil {
				d.Hears = append(d.Hears, more...)
			}
		case "w":
			_ = json.Unmarshal(body, &d.Wire)
		}
	}
	for n := range d.Instances {
		d.Instances[n].VIPs = vips[instanceKey(d.Instances[n])]
	}
	return d
}

// instanceKey tells the instances of a node apart; a name may exist per family.
func instanceKey(i Instance) string { return fmt.Sprintf("%d/%s", i.Family, i.Name) }

// split makes the bodies of a digest's pieces, by key. It refuses what would
// not fit a datagram.
func split(d Digest) (map[string]json.RawMessage, error) {
	out := make(map[string]json.RawMessage)
	put := func(key string, v any) error {
		body, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("encoding %s: %w", key, err)
		}
		if len(body) > maxPiece-200 {
			return fmt.Errorf("%s takes %d bytes: shorten its names", key, len(body))
		}
		out[key] = body
		return nil
	}
	if err := put("w", d.Wire); err != nil {
		return nil, err
	}
	for _, i := range d.Instances {
		if len(i.Name) > maxNameLen {
			return nil, fmt.Errorf("vrrp_instance name of %d bytes: at most %d can be shown in the mesh", len(i.Name), maxNameLen)
		}
		i.Reason = cut(i.Reason, maxReason)
		if err := put("i/"+instanceKey(i), i); err != nil {
			return nil, err
		}
		for n, chunk := range chunkVIPs(i.VIPs) {
			if err := put(fmt.Sprintf("v/%03d/%s", n, instanceKey(i)), chunk); err != nil {
				return nil, err
			}
		}
	}
	hears := slices.Clone(d.Hears)
	slices.SortStableFunc(hears, func(a, b Hearing) int {
		return cmp.Or(strings.Compare(a.Instance, b.Instance), a.Peer.Compare(b.Peer))
	})
	n := 0
	for len(hears) > 0 {
		// Long instance names take the room of several hearings.
		take, room := 0, vipsBudget
		for take < min(hearingBudget, len(hears)) && (take == 0 || room >= len(hears[take].Instance)+90) {
			room -= len(hears[take].Instance) + 90
			take++
		}
		if err := put(fmt.Sprintf("h/%04d", n), hears[:take]); err != nil {
			return nil, err
		}
		hears, n = hears[take:], n+1
	}
	if len(out) > maxPieces {
		return nil, fmt.Errorf("%d pieces for %d instances: at most %d can be shown in the mesh", len(out), len(d.Instances), maxPieces)
	}
	return out, nil
}

func chunkVIPs(vips []string) [][]string {
	var out [][]string
	room := 0
	for _, v := range vips {
		if len(out) == 0 || room < len(v)+3 {
			out, room = append(out, nil), vipsBudget
		}
		out[len(out)-1] = append(out[len(out)-1], v)
		room -= len(v) + 3
	}
	return out
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// volatile reports whether a piece only ages when nothing happens, so that it
// need not be sent at once.
func volatile(key string) bool { return strings.HasPrefix(key, "h/") }

// difference returns the keys of next that are new or changed, and those of
// held that are gone, in order. Only keys whose change is worth a message at
// once are returned unless all is set.
func difference(held map[string]piece, next map[string]json.RawMessage, all bool) (changed, gone []string) {
	for _, key := range slices.Sorted(maps.Keys(next)) {
		old, ok := held[key]
		if ok && bytes.Equal(old.Body, next[key]) {
			continue
		}
		if all || !volatile(key) || !ok || len(old.Body) == 0 {
			changed = append(changed, key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(held)) {
		if _, ok := next[key]; !ok && len(held[key].Body) > 0 && key != leftKey {
			gone = append(gone, key)
		}
	}
	return changed, gone
}
