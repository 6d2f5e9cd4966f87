package protocol

import (
	"encoding/hex"
	"time"

	"github.com/keepmesh/keepmesh/daemon/ipc"
	"github.com/keepmesh/keepmesh/vrrp"
	"github.com/keepmesh/keepmesh/vrrp/speaker"
)

// partSize is how many instances one Snapshot message carries; with 30
// addresses each it stays far below ipc.MaxMessage.
const partSize = 40

// snapshot sends the whole state, in parts where there is much of it.
func (p *process) snapshot(seq uint64) {
	now, wall := speaker.Now(), time.Now()
	views := p.speaker.Views()
	for part := 0; part == 0 || part*partSize < len(views); part++ {
		end := min((part+1)*partSize, len(views))
		s := &ipc.Snapshot{Seq: seq, Part: part, More: end < len(views), At: wall, Boot: p.boot, WireError: p.wireError}
		for n := part * partSize; n < end; n++ {
			if i := p.lookup(views[n].ID); i != nil {
				s.Instances = append(s.Instances, p.status(i, &views[n], now, wall))
			}
		}
		if !s.More {
			s.Groups = p.groupStatus(now, wall)
			for _, l := range p.links {
				ls := ipc.LinkStatus{Name: l.Name, Up: l.Up}
				for _, a := range l.Addrs {
					ls.Addrs = append(ls.Addrs, a.String())
				}
				s.Links = append(s.Links, ls)
			}
		}
		p.send(&ipc.Message{Snapshot: s})
	}
}

func (p *process) status(i *instance, v *vrrp.InstanceView, now vrrp.Instant, wall time.Time) ipc.InstanceStatus {
	s := ipc.InstanceStatus{
		Name: i.cfg.Name, Family: int(i.cfg.Key.Family), VRID: int(i.cfg.Key.VRID), Interface: i.cfg.Key.Interface,
		State: v.State.String(), Since: wall.Add(-now.Sub(v.Since)), Priority: int(v.Priority), Effective: int(v.Effective),
		Reason: v.Reason, AdvertMS: i.cfg.AdvertInterval.Milliseconds(), DownMS: v.DownInterval.Milliseconds(),
		Policy: i.set.Policy, Stats: p.stats(i),
	}
	if v.State == vrrp.Fault && len(v.Faults) > 0 {
		s.Reason = v.Faults[0]
	}
	if v.State == vrrp.Initialize && len(v.Waiting) > 0 {
		s.Reason = "waiting for " + string(v.Waiting[0])
	}
	if v.Source.IsValid() {
		s.Source = v.Source.String()
	}
	for _, a := range i.set.VIPs {
		s.VIPs = append(s.VIPs, a.Prefix.String())
	}
	for _, c := range v.Contributions {
		if c.Amount != 0 || c.Fault || c.State != vrrp.Up {
			s.Terms = append(s.Terms, ipc.Term{Tracker: string(c.ID), State: trackerWord(c.State), Amount: c.Amount, Fault: c.Fault, Cause: c.Cause})
		}
	}
	if h := v.Heard[vrrp.LAN]; h.At != 0 && v.State == vrrp.Backup {
		s.Master, s.MasterPriority = h.Source.String(), int(h.Priority)
	}
	s.Verdict, s.VerdictText = p.speaker.Verdict(i.id)
	for _, h := range p.speaker.Heard(i.id) {
		x := ipc.Heard{Wire: "lan", Priority: int(h.Priority), AgeMS: now.Sub(h.At).Milliseconds()}
		if h.Source.IsValid() {
			x.Source = h.Source.String()
		}
		if h.Wire == vrrp.Mesh {
			x.Wire, x.Node = "mesh", hex.EncodeToString(h.Node[:])
		}
		s.Heard = append(s.Heard, x)
	}
	return s
}

func trackerWord(s vrrp.TrackerState) string {
	switch s {
	case vrrp.Up:
		return "up"
	case vrrp.Down:
		return "down"
	case vrrp.Unknown:
	}
	return "unknown"
}

func (p *process) stats(i *instance) ipc.Stats {
	s := p.speaker.Stats(i.id)
	return ipc.Stats{
		AdvertsReceived: s.AdvertsReceived, AdvertsSent: s.AdvertsSent,
		BecameMaster: s.BecameMaster, ReleasedMaster: s.ReleasedMaster,
		PacketLenErrors: s.PacketLenErrors, TTLErrors: s.TTLErrors, TypeErrors: s.TypeErrors,
		AddrListErrors: s.AddrListErrors, VersionErrors: s.VersionErrors, ChecksumErrors: s.ChecksumErrors,
		AuthTypeInvalid: s.AuthTypeInvalid, AuthTypeMismatch: s.AuthTypeMismatch, AuthFailure: s.AuthFailure,
		AuthExtMissing: s.AuthExtMissing, AuthExtMalformed: s.AuthExtMalformed, AuthExtKey: s.AuthExtKey,
		AuthExtInvalid: s.AuthExtInvalid, AuthExtStale: s.AuthExtStale, AuthExtReplay: s.AuthExtReplay,
		SourceUnknown: s.SourceUnknown, OwnerIgnored: s.Ignored,
		IntervalErrors: s.IntervalDropped, PriZeroReceived: s.PriZeroReceived, PriZeroSent: s.PriZeroSent,
		Garp: i.garp, MeshReceived: s.MeshReceived, MeshSent: s.MeshSent,
	}
}

func (p *process) groupStatus(now vrrp.Instant, wall time.Time) []ipc.GroupStatus {
	var out []ipc.GroupStatus
	for _, g := range p.speaker.Groups() {
		s := ipc.GroupStatus{Name: g.Name, State: g.State.String(), Since: wall.Add(-now.Sub(g.Since))}
		for _, m := range g.Members {
			if i := p.lookup(m); i != nil {
				s.Members = append(s.Members, i.cfg.Name)
			}
		}
		out = append(out, s)
	}
	return out
}
