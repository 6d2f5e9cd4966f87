package mesh

import (
	"crypto/ecdh"
	"encoding/json"
	"fmt"

	"github.com/keepmesh/keepmesh/mesh/link"
)

// meta is what travels with membership itself: at most 512 bytes.
type meta struct {
	Version   int       `json:"v"`
	Role      Role      `json:"r"`
	Boot      uint64    `json:"b"`
	Announce  []byte    `json:"a"`
	Consensus Consensus `json:"c,omitzero"`
}

const metaVersion = 1

// about is a verified meta.
type about struct {
	meta
	uuid string
	name string
	pub  *ecdh.PublicKey
}

func (m meta) encode() ([]byte, error) {
	out, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding node meta: %w", err)
	}
	return out, nil
}

// readMeta decodes and verifies what a member says about itself; it has to be
// about the member that said it.
func readMeta(id *link.Identity, member string, raw []byte) (about, error) {
	var m meta
	if err := json.Unmarshal(raw, &m); err != nil || m.Version != metaVersion {
		return about{}, fmt.Errorf("member %s says something about itself that this release cannot read: run the same release on every node", member)
	}
	uuid, name, pub, err := id.VerifyAnnounce(m.Announce)
	if err != nil {
		return about{}, fmt.Errorf("member %s: %w", member, err)
	}
	if uuid != member {
		return about{}, fmt.Errorf("member %s announces the identity of node %s", member, uuid)
	}
	return about{meta: m, uuid: uuid, name: name, pub: pub}, nil
}
