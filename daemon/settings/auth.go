package settings

import (
	"time"

	"github.com/keepmesh/keepmesh/vrrp/packet"
)

// HMAC is an auth_hmac block. Keys are as configured: the vrrp process reads
// those that stand in files, so that no secret is copied about that was meant to
// stay in one place.
type HMAC struct {
	Keys   []HMACKey
	Active uint8
	Mode   packet.HMACMode
	Window time.Duration // 0: anti_replay monotonic
}

// HMACKey is one key; Spec is hex:DIGITS, file:PATH or the text itself.
type HMACKey struct {
	ID   uint8
	Spec string
}
