package translate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/daemon/settings"
	"github.com/keepmesh/keepmesh/vrrp"
	"github.com/keepmesh/keepmesh/vrrp/packet"
)

func configTracker(name string) vrrp.TrackerID { return vrrp.TrackerID("config:" + name) }

// authentication is auth_hmac or authentication; VRRPv3 has the first alone.
func (t *translator) authentication(i *config.Instance, s *settings.Instance) {
	if s.HMAC = t.hmac(i); s.HMAC != nil {
		return
	}
	if i.Version != 2 || i.Auth.Type == config.AuthNone {
		return
	}
	if i.Auth.Type == config.AuthAH && i.Family != config.IPv4 {
		t.note(i.Pos, "vrrp_instance %s: auth_type AH is for IPv4 only: it has no effect", i.Name)
		return
	}
	s.AuthPass = make([]byte, 8)
	copy(s.AuthPass, i.Auth.Pass)
	s.AuthAH = i.Auth.Type == config.AuthAH
}

func (t *translator) hmac(i *config.Instance) *settings.HMAC {
	h := i.HMAC
	if h == nil || !slices.ContainsFunc(h.Keys, func(k config.HMACKey) bool { return k.ID == h.ActiveKey }) {
		return nil // the extension is off: config has reported it
	}
	out := &settings.HMAC{Active: uint8(h.ActiveKey)}
	for _, k := range h.Keys {
		same := func(o settings.HMACKey) bool { return int(o.ID) == k.ID }
		if slices.ContainsFunc(out.Keys, same) {
			t.note(k.Pos, "vrrp_instance %s: auth_hmac key %d is given twice: the first counts", i.Name, k.ID)
			continue
		}
		out.Keys = append(out.Keys, settings.HMACKey{ID: uint8(k.ID), Spec: k.Spec})
	}
	switch {
	case h.Mode == "permissive" && !i.Strict:
		out.Mode = packet.HMACPermissive
	case h.Mode == "receive-only" && !i.Strict:
		out.Mode = packet.HMACReceiveOnly
	case h.Mode != "enforce":
		t.note(h.Keys[0].Pos, "vrrp_instance %s: vrrp_strict needs auth_hmac mode enforce: it is used", i.Name)
	}
	if h.AntiReplay != "monotonic" {
		if out.Window = h.TimeWindow.Truncate(time.Second); out.Window <= 0 {
			out.Window = packet.DefaultHMACWindow(i.AdvertInterval)
		}
	}
	return out
}

// checksum says how the checksums of VRRPv3 over IPv4 are made and taken.
func (t *translator) checksum(i *config.Instance, s *settings.Instance) {
	s.V3ChecksumAsV2 = i.V3ChecksumAsV2
	if i.Family != config.IPv4 {
		return
	}
	s.ChecksumGroup = t.c.Global.McastGroup4
	switch i.OldUnicastChecksum {
	case config.ChecksumAuto:
	case config.ChecksumAlways:
		s.OldUnicast = packet.OldUnicastAlways
	case config.ChecksumNever:
		s.OldUnicast = packet.OldUnicastNever
	}
}

// timerExpired is timer_expired_backup, which means something only where this
// router would not take the address back at once.
func (t *translator) timerExpired(i *config.Instance) uint8 {
	if i.TimerExpiredBackup > 0 && !i.NoPreempt {
		t.note(i.Pos, "vrrp_instance %s: timer_expired_backup needs nopreempt: it has no effect", i.Name)
		return 0
	}
	return uint8(i.TimerExpiredBackup)
}

// noInterface is how config begins to say that an interface does not exist. That
// is no reason to bar an instance: it may appear.
const noInterface = "there is no interface"

// barred says why an instance must stay in FAULT for as long as this
// configuration is in force; empty where it may run.
func (t *translator) barred(i *config.Instance) string {
	var first *config.Instance
	for _, o := range t.c.Instances {
		// Unicast and multicast are separate spaces of VRIDs.
		if o.VRID == i.VRID && o.Family == i.Family && o.Interface == i.Interface && o.Unicast == i.Unicast && t.unusable(o) == "" {
			first = o
			break
		}
	}
	switch {
	case first != nil && first != i:
		return fmt.Sprintf("virtual_router_id %d is already used on %s by %s", i.VRID, i.Interface, first.Name)
	case i.IPVlan != nil && i.Family == config.IPv4 && !i.IPVlan.Addr.IsValid() && !i.McastSrcIP.IsValid() && !i.Unicast:
		return "use_ipvlan needs an address to send from (use_ipvlan ADDRESS/LENGTH)"
	case i.UnicastFaultNoPeer && len(i.UnicastPeers) == 0:
		return "there is no unicast peer"
	case i.Fault != "" && !strings.HasPrefix(i.Fault, noInterface):
		return i.Fault
	}
	return ""
}

// bar makes an instance that stays in FAULT: it has an identity of its own, asks
// nobody, makes no interface, and depends on the one condition that says why.
func bar(r *vrrp.InstanceConfig, s *settings.Instance, why string) {
	r.Key.Barred, r.AskPermit = r.Name, false
	r.Trackers = []vrrp.Track{{ID: configTracker(r.Name)}}
	s.Fault, s.Virtuals, s.HMAC = why, nil, nil
}
