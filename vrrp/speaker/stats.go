package speaker

import (
	"errors"

	"github.com/keepmesh/keepmesh/vrrp"
	"github.com/keepmesh/keepmesh/vrrp/packet"
)

var errNoSocket = errors.New("there is no socket on the interface, or no address to send from")

// Stats are keepalived's counters of one instance.
type Stats struct {
	AdvertsReceived, AdvertsSent   uint64
	BecameMaster, ReleasedMaster   uint64
	PriZeroReceived, PriZeroSent   uint64
	PacketLenErrors, TTLErrors     uint64
	VersionErrors, TypeErrors      uint64
	ChecksumErrors, AddrListErrors uint64
	AuthTypeInvalid                uint64
	AuthTypeMismatch, AuthFailure  uint64
	AuthExtMissing, AuthExtStale   uint64 // auth_hmac
	AuthExtMalformed, AuthExtKey   uint64
	AuthExtInvalid, AuthExtReplay  uint64
	SourceUnknown                  uint64 // not a unicast peer
	Ignored                        uint64 // owner_ignore_adverts
	IntervalDropped                uint64
	MeshReceived, MeshSent         uint64
}

func (s *Stats) transition(from, to vrrp.State) {
	switch {
	case to == vrrp.Active:
		s.BecameMaster++
	case from == vrrp.Active:
		s.ReleasedMaster++
	}
}

// count adds a packet's verdict to keepalived's counters.
func (s *Stats) count(v packet.Verdict, w packet.Warning, priority uint8) {
	if v.Counted() {
		s.AdvertsReceived++
		if priority == 0 {
			s.PriZeroReceived++
		}
	}
	if w.Has(packet.AddressesDiffer) {
		s.AddrListErrors++
	}
	switch v {
	case packet.LengthWrong, packet.TotalLengthWrong:
		s.PacketLenErrors++
	case packet.TTLWrong, packet.TTLOutsideWindow:
		s.TTLErrors++
	case packet.VersionWrong:
		s.VersionErrors++
	case packet.TypeWrong:
		s.TypeErrors++
	case packet.ChecksumWrong:
		s.ChecksumErrors++
	case packet.CastMismatch:
		s.AddrListErrors++
	case packet.AuthTypeUnknown:
		s.AuthTypeInvalid++
	case packet.AuthTypeMismatch, packet.AHMismatch:
		s.AuthTypeMismatch++
	case packet.PasswordWrong, packet.AHWrong, packet.AHReplayed:
		s.AuthFailure++
	case packet.IntervalWrong:
		s.IntervalDropped++
	case packet.HMACMissing:
		s.AuthExtMissing++
	case packet.HMACMalformed:
		s.AuthExtMalformed++
	case packet.HMACUnknownKey:
		s.AuthExtKey++
	case packet.HMACWrong:
		s.AuthExtInvalid++
	case packet.HMACStale:
		s.AuthExtStale++
	case packet.HMACReplayed:
		s.AuthExtReplay++
	case packet.SourceUnknown:
		s.SourceUnknown++
	case packet.Ignored:
		s.Ignored++
	case packet.Accepted, packet.AHForeign:
	}
}
