package speaker

import (
	"net/netip"
	"slices"
	"time"

	"github.com/keepmesh/keepmesh/vrrp"
	"github.com/keepmesh/keepmesh/vrrp/packet"
	"github.com/keepmesh/keepmesh/vrrp/veto"
)

// SetLinks tells the speaker what interfaces there are. Sockets follow.
func (s *Speaker) SetLinks(links []Link) {
	clear(s.links)
	for _, l := range links {
		s.links[l.Name] = l
	}
	s.openSockets()
}

// openSockets makes the set of sockets what the members need: one for each
// interface that exists and family in use there, joined to all groups in use.
// An interface that was deleted and made again has another index, and gets a
// new socket.
func (s *Speaker) openSockets() {
	wanted := map[socketKey][]netip.Addr{}
	for _, m := range s.members {
		if m == nil || m.cfg.Key.Barred != "" {
			continue
		}
		key := m.socketKey()
		if _, ok := wanted[key]; !ok {
			wanted[key] = nil
		}
		if g := m.inst.Group; g.IsValid() && !m.cfg.Key.Unicast && !slices.Contains(wanted[key], g) {
			wanted[key] = append(wanted[key], g)
		}
	}
	for key, k := range s.sockets {
		link, exists := s.links[key.dev]
		groups, used := wanted[key]
		if !exists || !used || link.Index != k.index || !slices.Equal(groups, k.groups) {
			k.close(s.loop)
			delete(s.sockets, key)
		}
	}
	for key, groups := range wanted {
		link, exists := s.links[key.dev]
		if !exists || s.sockets[key] != nil {
			continue
		}
		k, err := openSocket(link, key, groups)
		if err != nil {
			s.log.Error("no adverts can be sent or heard", "iface", key.dev, "err", err)
			continue
		}
		s.sockets[key] = k
		s.loop.Watch(k.fd, func() {
			s.receive(k)
			s.settle(Now())
		})
	}
}

func (m *member) socketKey() socketKey {
	return socketKey{m.cfg.Key.Interface, m.cfg.Key.Family, m.inst.AH && m.inst.Auth != nil}
}

// encode prepares what a member sends and expects.
func (s *Speaker) encode(m *member) {
	m.encoder = nil
	m.expect = packet.Expect{
		Family: m.cfg.Key.Family, Version: m.cfg.Version, Unicast: m.cfg.Key.Unicast, Interval: m.cfg.AdvertInterval,
		Addresses: packet.AppendAddresses(nil, m.inst.VIPs), ChecksumAsV2: m.inst.V3ChecksumAsV2,
		CheckSource: m.inst.CheckUnicastSrc, Group4: m.inst.ChecksumGroup, OldUnicast: m.inst.OldUnicast,
		OwnerIgnore: m.inst.OwnerIgnore,
	}
	for _, p := range m.inst.Peers {
		x := packet.Peer{Addr: p.Addr, MaxTTL: 255}
		if p.HasTTL {
			x.MinTTL, x.MaxTTL = uint8(p.MinTTL), uint8(p.MaxTTL)
		}
		m.expect.Peers = append(m.expect.Peers, x)
	}
	spec := packet.Spec{
		Family: m.cfg.Key.Family, Version: m.cfg.Version, VRID: m.cfg.Key.VRID, Interval: m.cfg.AdvertInterval,
		Addresses: m.inst.VIPs, Source: m.source, Destination: m.inst.Group, TTL: 255, ChecksumAsV2: m.inst.V3ChecksumAsV2,
		Group4: m.inst.ChecksumGroup,
	}
	if m.cfg.Key.Unicast {
		spec.TTL = uint8(m.inst.TTL)
		if len(m.inst.Peers) > 0 {
			spec.Destination = m.inst.Peers[0].Addr
		}
		m.oldUnicast = m.oldUnicast && m.inst.OldUnicast == packet.OldUnicastAuto
		spec.OldUnicast = m.inst.ChecksumGroup.IsValid() && (m.oldUnicast || m.inst.OldUnicast == packet.OldUnicastAlways)
	}
	m.tag = makeTag(m)
	err := s.authenticate(m, &spec)
	if err == nil && !m.source.IsValid() {
		return
	}
	var enc *packet.Encoder
	if err == nil {
		enc, err = packet.NewEncoder(spec)
	}
	if err != nil {
		s.log.Error("cannot make adverts", "instance", m.cfg.Name, "err", err)
		return
	}
	m.encoder = enc
}

// queueAdvert puts an advert into the batch of its interface.
func (s *Speaker) queueAdvert(m *member, priority uint8) {
	m.lanSent = false
	k := s.sockets[m.socketKey()]
	if k == nil || m.encoder == nil {
		m.sendFailed(s, errNoSocket)
		return
	}
	m.sentPriority = priority
	m.clock()
	if priority == 0 {
		m.stats.PriZeroSent++
	}
	if !m.cfg.Key.Unicast {
		s.queue(k, m.encoder.Encode(priority), m.inst.Group, m)
		return
	}
	for n, p := range m.inst.Peers {
		if n == 0 {
			m.encoder.Encode(priority)
		}
		s.queue(k, m.encoder.EncodeTo(priority, p.Addr), p.Addr, m)
	}
}

func (s *Speaker) queue(k *socket, b []byte, dst netip.Addr, m *member) {
	if k.full() {
		k.send(s.sent)
	}
	k.queue(b, m.source, dst, m)
}

// flush sends all batches.
func (s *Speaker) flush() {
	for _, k := range s.sockets {
		if len(k.tx.owners) > 0 {
			k.send(s.sent)
		}
	}
}

// sentOne is the outcome of one packet: it is counted, and the veto machine
// learns that the LAN copy has left.
func (s *Speaker) sentOne(m *member, err error) {
	if err != nil {
		m.sendFailed(s, err)
		return
	}
	m.stats.AdvertsSent++
	m.sendErrors, m.lanSent = 0, true
	if m.veto != nil && m.sentPriority != 0 {
		s.vetoStep(Now(), m, &s.advertSent)
	}
}

// sendFailed logs the first of a row of failures; a master that cannot send
// keeps trying, as RFC 9568 has no word for it.
func (m *member) sendFailed(s *Speaker, err error) {
	if m.sendErrors == 0 {
		s.log.Error("cannot send adverts", "instance", m.cfg.Name, "iface", m.cfg.Key.Interface, "err", err)
		s.kernel.Event("VRRP", m.id, "cannot send adverts on "+m.cfg.Key.Interface+": "+err.Error())
	}
	m.sendErrors++
}

// receive reads everything that waits on a socket.
func (s *Speaker) receive(k *socket) {
	s.rxNow = Now()
	s.rxSocket = k
	for s.rx.drain(k, s.received, &s.arrival) {
	}
	s.settle(s.rxNow)
}

// receivedPacket takes one packet: of IPv4 with its header, of IPv6 without.
func (s *Speaker) receivedPacket(in *arrival) {
	if s.rxSocket.family == packet.FamilyIPv6 {
		s.rxInfo = packet.Received{
			Source: in.source, Destination: in.destination, Multicast: in.destination.IsMulticast(), TTL: in.hopLimit,
		}
		s.advertReceived(in.bytes, &s.rxInfo)
		return
	}
	var err error
	if s.rxIPv4, err = packet.DecodeIPv4(in.bytes); err != nil {
		return
	}
	s.rxInfo = packet.FromIPv4(&s.rxIPv4)
	s.advertReceived(s.rxIPv4.Payload, &s.rxInfo)
}

func (s *Speaker) advertReceived(pdu []byte, rx *packet.Received) {
	a, err := packet.Decode(pdu, s.rxSocket.family)
	if err != nil {
		return
	}
	m := s.find(s.rxSocket.socketKey, a.VRID, rx.Multicast)
	if m == nil {
		return // another virtual router of this LAN
	}
	m.clock()
	m.expect.CountOnly = m.inst.SkipCheckAdvAddr && m.state == vrrp.Backup && m.lastSource == rx.Source
	verdict, warn := m.expect.Check(&a, rx)
	m.stats.count(verdict, warn, a.Priority)
	if verdict != packet.Accepted {
		m.refused(s, verdict, rx.Source)
		return
	}
	m.refusals = 0
	if warn != 0 {
		m.warnings(s, warn, rx)
	}
	m.lastSource = rx.Source
	m.hear(Heard{Wire: vrrp.LAN, Source: rx.Source, Priority: a.Priority, At: s.rxNow})
	s.deliver(s.rxNow, m, vrrp.LAN, veto.NodeID{}, rx.Source, a.Priority, a.Interval)
}

// find picks the member that an advert is for. A unicast and a multicast
// instance, or one with auth_type AH and one without, may share a VRID on one
// interface; where none fits, one that does not says why the advert is refused.
func (s *Speaker) find(key socketKey, vrid uint8, multicast bool) *member {
	var other *member
	for _, m := range s.byVRID[vridKey(key.family, vrid)] {
		if m.cfg.Key.Interface != key.dev {
			continue
		}
		if m.cfg.Key.Unicast != multicast && m.socketKey() == key {
			return m
		}
		other = m
	}
	return other
}

// deliver gives a checked advert to the Router and to the veto machine.
func (s *Speaker) deliver(now vrrp.Instant, m *member, w vrrp.Wire, from veto.NodeID, source netip.Addr, priority uint8, interval time.Duration) {
	s.advert = vrrp.Advert{Instance: m.id, Wire: w, Source: source, Priority: priority, Interval: interval}
	if m.veto != nil {
		s.vetoAdvert = veto.Advert{Wire: w, From: from, Source: source, Priority: priority}
		s.vetoStep(now, m, &s.vetoAdvert)
	}
	if m.expect.OwnerIgnore {
		return // of the second wire: from the LAN none comes this far
	}
	s.busy = true
	s.perform(now, s.router.Step(now, &s.advert))
	s.busy = false
	if len(s.pending) > 0 {
		s.settle(now)
	}
}

// refused counts a bad packet and logs the first of a row.
func (m *member) refused(s *Speaker, v packet.Verdict, from netip.Addr) {
	if m.refusals == 0 {
		s.log.Warn("advert refused", "instance", m.cfg.Name, "from", from, "reason", v.String())
		s.kernel.Event("VRRP", m.id, "advert of "+from.String()+" refused: "+v.String())
	}
	m.refusals++
}

// warned logs once per sender that the addresses differ.
func (m *member) warned(s *Speaker, from netip.Addr) {
	if m.warnedOf == from {
		return
	}
	m.warnedOf = from
	s.log.Warn("the advert's addresses are not the configured ones", "instance", m.cfg.Name, "from", from)
	s.kernel.Event("VRRP", m.id, "the advert of "+from.String()+" has other addresses than this node's configuration")
}
