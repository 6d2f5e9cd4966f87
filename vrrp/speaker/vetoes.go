package speaker

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"time"

	"github.com/keepmesh/keepmesh/vrrp"
	"github.com/keepmesh/keepmesh/vrrp/veto"
)

// armVetoes gives every member that asks for permission a machine while there
// is a mesh, and takes it away when there is none.
func (s *Speaker) armVetoes(now vrrp.Instant) {
	var peers []veto.NodeID
	var self veto.NodeID
	if s.wire != nil {
		self, peers = s.wire.self, s.wire.peerIDs()
	}
	for _, m := range s.members {
		if m == nil || !m.cfg.AskPermit {
			continue
		}
		if m.muteTold != m.cfg.Name || len(peers) == 0 {
			m.muteTold = m.cfg.Name
			s.pending = append(s.pending, &vrrp.TrackerChanged{ID: muteTracker(m), State: vrrp.Up})
		}
		if len(peers) == 0 {
			s.vetoes.remove(m)
			m.veto, m.verdict = nil, veto.Unneeded
			continue
		}
		cfg := veto.Config{
			Self: self, Members: peers, Interval: m.cfg.AdvertInterval, DownAdverts: m.cfg.DownTimerAdverts,
			Probe: veto.ProbeMode(m.inst.LANProbe), FirstNonce: uint64(now),
		}
		if m.veto == nil {
			m.veto = veto.New(cfg)
		} else {
			m.veto.Reconfigure(cfg)
		}
		s.vetoTimers(now, m)
		s.vetoSelf(now, m)
	}
}

func muteTracker(m *member) vrrp.TrackerID { return vrrp.TrackerID("mute:" + m.cfg.Name) }

// vetoTimers tells the machine the interval and the skew in force.
func (s *Speaker) vetoTimers(now vrrp.Instant, m *member) {
	if m.veto == nil {
		return
	}
	if v, ok := s.router.Instance(m.id); ok {
		s.vetoStep(now, m, &veto.Timers{Interval: v.LearntInterval, Skew: v.SkewTime})
	}
}

// vetoSelf tells the machine what has become of the own instance.
func (s *Speaker) vetoSelf(now vrrp.Instant, m *member) {
	if m.veto != nil {
		s.vetoStep(now, m, &veto.Self{State: m.state, Priority: m.priority, Source: m.source})
	}
}

// wantHold answers the Router: at once where there is nobody to ask.
func (s *Speaker) wantHold(now vrrp.Instant, m *member, preempt bool) {
	if m.veto == nil {
		s.pending = append(s.pending, &vrrp.Permit{Instance: m.id})
		return
	}
	s.vetoStep(now, m, &veto.WantHold{Preempt: preempt})
}

// vetoDue ticks the machines and the probes whose time has come.
func (s *Speaker) vetoDue(now vrrp.Instant) {
	for {
		m := s.vetoes.top()
		if m == nil || m.vetoAt > now {
			return
		}
		s.probeDue(now, m, &m.probe)
		s.probeDue(now, m, &m.test)
		if at, ok := m.veto.Deadline(); ok && at <= now {
			s.vetoStep(now, m, &veto.Tick{})
		}
		s.vetoes.set(m, s.vetoDeadline(m))
		if m.vetoAt != 0 && m.vetoAt <= now {
			// A machine that stays due would spin; serve it with the next wake-up.
			s.vetoes.set(m, now+1)
			return
		}
	}
}

// vetoDeadline is the earliest of the machine's and its probes' instants.
func (s *Speaker) vetoDeadline(m *member) vrrp.Instant {
	at, ok := m.veto.Deadline()
	if !ok {
		at = 0
	}
	for _, p := range []vrrp.Instant{m.probe.next, m.test.next} {
		if p != 0 && (at == 0 || p < at) {
			at = p
		}
	}
	return at
}

// vetoStep steps a machine and carries out what it returns. What concerns the
// Router becomes pending: the Router is not called from here.
func (s *Speaker) vetoStep(now vrrp.Instant, m *member, ev veto.Event) {
	for _, a := range m.veto.Step(now, ev) {
		switch a := a.(type) {
		case *veto.Permit:
			s.pending = append(s.pending, &vrrp.Permit{Instance: m.id})
		case *veto.Refuse:
			s.pending = append(s.pending, &vrrp.Refuse{Instance: m.id, Verdict: a.Verdict.String(), Retry: a.Retry})
		case *veto.Takeover:
			s.pending = append(s.pending, &vrrp.Takeover{Instance: m.id, Reason: a.Reason})
		case *veto.Shut:
			s.pending = append(s.pending, &vrrp.TrackerChanged{ID: muteTracker(m), State: vrrp.Down, Cause: a.Reason})
		case *veto.Reopen:
			s.pending = append(s.pending, &vrrp.TrackerChanged{ID: muteTracker(m), State: vrrp.Up})
		case *veto.Probe:
			s.startProbe(now, m, &m.probe, a.Round, a.Within, a.Canary, true)
		case *veto.TestLAN:
			s.startProbe(now, m, &m.test, a.Round, a.Within, false, false)
		case *veto.VerdictChanged:
			s.verdictChanged(m, a)
		case *veto.Alarm:
			s.kernel.Event("ALARM", m.id, a.Text(s.nodeName))
		case *veto.Ask, *veto.SendAnswer, *veto.SendUnheard, *veto.SendYield, *veto.SendInsist:
			s.sendQuestion(m, a)
		}
	}
	s.vetoes.set(m, s.vetoDeadline(m))
}

func (s *Speaker) verdictChanged(m *member, a *veto.VerdictChanged) {
	m.verdict = a.To
	if a.To == veto.Unneeded {
		s.kernel.Event("veto", m.id, "adverts are heard on the LAN again; the verdict "+a.From.String()+" is lifted")
		return
	}
	_, text := s.Verdict(m.id)
	s.kernel.Event("veto", m.id, text)
}

// Verdict gives the verdict in force and a sentence about it, both empty where
// there is none.
func (s *Speaker) Verdict(id vrrp.InstanceID) (word, text string) {
	m := s.member(id)
	if m == nil || m.veto == nil {
		return "", ""
	}
	v, d := m.veto.Verdict()
	if d.Shut {
		return "mute", "shut: nobody on the LAN hears this node's address"
	}
	if v == veto.Unneeded {
		return "", ""
	}
	text = v.String() + ": "
	if d.LANSilent > 0 {
		text += "no advert on the LAN for " + d.LANSilent.Round(100*time.Millisecond).String()
	} else {
		text += "no advert on the LAN"
	}
	if d.Holder != (veto.NodeID{}) {
		text += ", " + s.nodeName(d.Holder) + " holds it"
	}
	text += " (" + d.Evidence.String() + ")"
	switch d.Direction {
	case veto.DeafToHolder:
		text += "; this node is deaf to it, others hear it"
	case veto.MuteHolder:
		text += "; no member hears it: it is mute"
	case veto.OneWay:
	}
	if d.Insists {
		text += "; it was told and insists"
	}
	return v.String(), text
}

// nodeName is a member's name, or its id.
func (s *Speaker) nodeName(id veto.NodeID) string {
	if s.wire != nil {
		if name := s.wire.name(id); name != "" {
			return name
		}
	}
	return hex.EncodeToString(id[:4])
}

// lanProbe is a running probe of the LAN, or a test of the own.
type lanProbe struct {
	round   uint64
	vips    bool
	targets []netip.Addr // others than VIPs and canary
	canary  netip.Addr
	usable  bool
	found   veto.ProbeResult
	repeat  time.Duration
	left    int
	next    vrrp.Instant // of the next repetition, or of the end
}

// probeRepeats is how often each question is asked within the time given.
const probeRepeats = 3

// probeTargets bounds how many neighbours are asked beside the addresses, and
// how many routers beside those.
const probeTargets = 4

func (s *Speaker) startProbe(now vrrp.Instant, m *member, p *lanProbe, round uint64, within time.Duration, canary, vips bool) {
	dev := m.cfg.Key.Interface
	link, up := s.links[dev]
	*p = lanProbe{
		round: round, vips: vips, repeat: within / (probeRepeats + 1), left: probeRepeats, next: now,
		usable:  up && link.Up && m.cfg.Key.Family == 4 && onLink(m, link),
		targets: s.kernel.Neighbours(dev),
	}
	p.targets = slices.DeleteFunc(p.targets, func(a netip.Addr) bool { return slices.Contains(m.inst.VIPs, a) })
	p.targets = p.targets[:min(len(p.targets), probeTargets)]
	for _, h := range m.heard {
		p.addTarget(h.Source, m, link)
	}
	if s.wire != nil {
		for _, peer := range s.wire.peers {
			for _, source := range peer.sources {
				p.addTarget(source, m, link)
			}
		}
	}
	if canary && up {
		for _, x := range link.Prefixes {
			if x.Addr().Is4() && x.Bits() < 31 {
				p.canary = x.Masked().Addr()
				break
			}
		}
	}
	s.probeDue(now, m, p)
}

// addTarget adds an address that another router of the LAN has.
func (p *lanProbe) addTarget(a netip.Addr, m *member, link Link) {
	if a.Is4() && a != m.source && len(p.targets) < 2*probeTargets && inside(a, link) &&
		!slices.Contains(p.targets, a) && !slices.Contains(m.inst.VIPs, a) {
		p.targets = append(p.targets, a)
	}
}

// onLink says whether the LAN can be asked at all: unicast peers in other
// subnets mean that the instance's LAN is not one.
func onLink(m *member, link Link) bool {
	for _, peer := range m.inst.Peers {
		if !inside(peer.Addr, link) {
			return false
		}
	}
	return true
}

func inside(a netip.Addr, link Link) bool {
	return slices.ContainsFunc(link.Prefixes, func(p netip.Prefix) bool { return p.Masked().Contains(a) })
}

// probeDue repeats the questions, or ends the probe with its result.
func (s *Speaker) probeDue(now vrrp.Instant, m *member, p *lanProbe) {
	if p.next == 0 || p.next > now {
		return
	}
	if p.usable && p.left > 0 {
		asked := slices.Clone(p.targets)
		if p.vips {
			asked = append(asked, m.inst.VIPs[:min(len(m.inst.VIPs), probeTargets)]...)
		}
		if p.canary.IsValid() {
			asked = append(asked, p.canary)
		}
		if err := s.kernel.Probe(m.cfg.Key.Interface, asked); err != nil {
			s.log.Debug("cannot probe the LAN", "instance", m.cfg.Name, "err", err)
			p.usable = false
		}
	}
	if p.usable && p.left > 0 {
		p.left--
		p.next = now.Add(p.repeat)
		return
	}
	p.next = 0
	s.probeEnded(now, m, p)
}

func (s *Speaker) probeEnded(now vrrp.Instant, m *member, p *lanProbe) {
	if p.vips {
		r := p.found
		r.Round, r.Usable = p.round, p.usable
		s.vetoStep(now, m, &r)
		return
	}
	t := veto.LANTested{Round: p.round, Outcome: veto.TestFailed}
	switch {
	case !p.usable || len(p.targets) == 0:
		t.Outcome = veto.TestImpossible
	case p.found.Neighbour:
		t.Outcome = veto.TestPassed
	}
	s.vetoStep(now, m, &t)
}

// ARPSeen takes an ARP packet heard on dev. toMe says that it is a reply to one
// of our own questions, which proves both directions.
func (s *Speaker) ARPSeen(dev string, sender netip.Addr, toMe, mine bool) {
	if mine {
		return
	}
	now := Now()
	for _, m := range s.members {
		if m == nil || m.veto == nil || m.cfg.Key.Interface != dev {
			continue
		}
		s.vetoStep(now, m, &veto.FrameHeard{})
		if m.probe.next != 0 {
			before := m.probe.found
			switch {
			case slices.Contains(m.inst.VIPs, sender):
				m.probe.found.VIP = true
			case sender == m.probe.canary:
				m.probe.found.Nobody = true
			case toMe:
				m.probe.found.Neighbour = true
			}
			if m.probe.found != before {
				r := m.probe.found
				r.Round, r.Usable = m.probe.round, true
				s.vetoStep(now, m, &r)
			}
		}
		if m.test.next != 0 && toMe && slices.Contains(m.test.targets, sender) {
			m.test.found.Neighbour = true
			m.test.next = 0
			s.probeEnded(now, m, &m.test)
		}
	}
	s.settle(now)
}
