package speaker

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/keepmesh/keepmesh/vrrp"
	"github.com/keepmesh/keepmesh/vrrp/veto"
	"github.com/keepmesh/keepmesh/vrrp/wire"
)

// WireConfig says with whom the second wire is spoken. Boot rises with every
// change of this node's end: its sequence numbers begin anew with it.
type WireConfig struct {
	Self     [16]byte
	SelfName string
	Bind     netip.AddrPort
	Boot     uint64
	Peers    []WirePeer
}

// WirePeer is one member of the mesh; Key has wire.KeySize bytes. Boot is the
// boot that the mesh knows of its wire, 0 for none: datagrams of earlier ones
// are recordings. Sources are the addresses its own adverts come from.
type WirePeer struct {
	Boot uint64
	Node [16]byte
	Name string
	Addr netip.AddrPort
	Key  []byte

	Sources []netip.Addr
}

// secondWire is the UDP socket between the nodes.
type secondWire struct {
	self     veto.NodeID
	selfName string
	bind     netip.AddrPort
	boot     uint64
	fd       int
	peers    []*wirePeer
	rx, tx   []byte
	msg, out wire.Message
	bad      uint64
}

type wirePeer struct {
	node   veto.NodeID
	name   string
	addr   netip.AddrPort
	raw    unix.RawSockaddrInet6 // large enough for both families
	rawLen uintptr
	key    []byte
	sealer *wire.Sealer

	sources []netip.Addr
}

func (w *secondWire) peerIDs() []veto.NodeID {
	ids := make([]veto.NodeID, len(w.peers))
	for n, p := range w.peers {
		ids[n] = p.node
	}
	return ids
}

func (w *secondWire) peer(id veto.NodeID) *wirePeer {
	for _, p := range w.peers {
		if p.node == id {
			return p
		}
	}
	return nil
}

func (w *secondWire) name(id veto.NodeID) string {
	if id == w.self {
		return w.selfName
	}
	if p := w.peer(id); p != nil {
		return p.name
	}
	return ""
}

// SetWire opens the second wire, or changes with whom it is spoken. On an
// error the nodes go on as plain VRRP routers.
func (s *Speaker) SetWire(cfg WireConfig) error {
	now := Now()
	if s.wire == nil || s.wire.bind != cfg.Bind || s.wire.self != cfg.Self || s.wire.boot != cfg.Boot {
		s.closeWire()
		w, err := openWire(cfg)
		if err != nil {
			s.armVetoes(now)
			s.settle(now)
			return err
		}
		s.wire = w
		s.loop.Watch(w.fd, func() {
			s.receiveWire()
			s.settle(Now())
		})
	}
	err := s.wire.setPeers(cfg)
	s.armVetoes(now)
	s.settle(now)
	return err
}

func (s *Speaker) closeWire() {
	if s.wire != nil {
		s.loop.Unwatch(s.wire.fd)
		_ = unix.Close(s.wire.fd)
		s.wire = nil
	}
}

func openWire(cfg WireConfig) (*secondWire, error) {
	family := unix.AF_INET
	var sa unix.Sockaddr = &unix.SockaddrInet4{Port: int(cfg.Bind.Port())}
	if cfg.Bind.Addr().Is4() {
		sa.(*unix.SockaddrInet4).Addr = cfg.Bind.Addr().As4()
	} else {
		family = unix.AF_INET6
		sa = &unix.SockaddrInet6{Port: int(cfg.Bind.Port()), Addr: cfg.Bind.Addr().As16(), ZoneId: zoneIndex(cfg.Bind.Addr())}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the second wire: %w", err)
	}
	// Like the adverts on the LAN: network control, before everything else.
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, 0xc0)
	if err := unix.Bind(fd, sa); err != nil {
		_ = unix.Close(fd)
		if errors.Is(err, unix.EADDRINUSE) {
			return nil, fmt.Errorf("UDP %s is in use by another program (the second wire takes mesh.conf's port + 1): %w", cfg.Bind, err)
		}
		return nil, fmt.Errorf("binding the second wire to UDP %s: %w", cfg.Bind, err)
	}
	return &secondWire{
		self: cfg.Self, selfName: cfg.SelfName, bind: cfg.Bind, boot: cfg.Boot, fd: fd,
		rx: make([]byte, wire.MaxSize+1), tx: make([]byte, 0, wire.MaxSize),
	}, nil
}

func zoneIndex(a netip.Addr) uint32 {
	if ifi, err := net.InterfaceByName(a.Zone()); err == nil {
		return uint32(ifi.Index)
	}
	return 0
}

// setPeers keeps the sealers of peers that stay: their replay windows count.
func (w *secondWire) setPeers(cfg WireConfig) error {
	var errs []error
	next := make([]*wirePeer, 0, len(cfg.Peers))
	w.selfName = cfg.SelfName
	for _, p := range cfg.Peers {
		old := w.peer(p.Node)
		if old != nil && slices.Equal(old.key, p.Key) {
			old.name, old.sources = p.Name, p.Sources
			old.setAddr(p.Addr)
			old.sealer.RequireBoot(p.Boot)
			next = append(next, old)
			continue
		}
		sealer, err := wire.NewSealer(p.Key, w.self, p.Node, w.boot)
		if err != nil {
			errs = append(errs, fmt.Errorf("second wire to %s: %w", p.Name, err))
			continue
		}
		n := &wirePeer{node: p.Node, name: p.Name, key: p.Key, sealer: sealer, sources: p.Sources}
		n.setAddr(p.Addr)
		n.sealer.RequireBoot(p.Boot)
		next = append(next, n)
	}
	w.peers = next
	return errors.Join(errs...)
}

func (p *wirePeer) setAddr(a netip.AddrPort) {
	p.addr = a
	port := a.Port()<<8 | a.Port()>>8
	if a.Addr().Is4() {
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(&p.raw))
		*sa = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: port, Addr: a.Addr().As4()}
		p.rawLen = unix.SizeofSockaddrInet4
		return
	}
	p.raw = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: port, Addr: a.Addr().As16(), Scope_id: zoneIndex(a.Addr())}
	p.rawLen = unix.SizeofSockaddrInet6
}

// sendTo seals the prepared message and sends it. A lost datagram is the
// network's affair; VRRP and the next advert go on.
func (w *secondWire) sendTo(p *wirePeer) bool {
	w.out.Sent = uint64(Now())
	b, err := p.sealer.Append(w.tx[:0], &w.out)
	if err != nil {
		return false
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(w.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, uintptr(unsafe.Pointer(&p.raw)), p.rawLen)
	return errno == 0
}

// sendMesh sends the same adverts to the members of the mesh, after the copies
// on the LAN were handed to the kernel. One that the kernel refused is not
// vouched for here, unless it resigns.
func (s *Speaker) sendMesh(actions []vrrp.Action) {
	w := s.wire
	if w == nil || len(w.peers) == 0 {
		return
	}
	for _, a := range actions {
		a, ok := a.(*vrrp.SendAdvert)
		if !ok {
			continue
		}
		m := s.member(a.Instance)
		if m.veto == nil || !m.source.IsValid() || !m.lanSent && a.Priority != 0 {
			continue
		}
		w.out.Type, w.out.Tag = wire.TypeAdvert, m.tag
		w.out.Advert = wire.Advert{Priority: a.Priority, Interval: m.cfg.AdvertInterval, Source: m.source}
		for _, p := range w.peers {
			if w.sendTo(p) {
				m.stats.MeshSent++
			}
		}
	}
}

// sendQuestion sends what a veto machine has to say.
func (s *Speaker) sendQuestion(m *member, action veto.Action) {
	w := s.wire
	if w == nil {
		return
	}
	w.out.Tag = m.tag
	send := func(to veto.NodeID, t wire.Type, nonce uint64) {
		if p := w.peer(to); p != nil {
			w.out.Type, w.out.Nonce = t, nonce
			w.sendTo(p)
		}
	}
	switch a := action.(type) {
	case *veto.Ask:
		w.out.Query = wire.Query{About: a.About}
		for _, to := range a.To {
			send(to, wire.TypeQuery, a.Nonce)
		}
	case *veto.SendAnswer:
		w.out.Answer = wire.Answer{
			Kind: wire.AnswerKind(a.Kind), Candidate: a.Candidate, Priority: a.Priority, Source: a.Source,
			AdvertAge: a.AdvertAge, LANHeard: a.LANHeard,
		}
		send(a.To, wire.TypeAnswer, a.Nonce)
	case *veto.SendUnheard:
		send(a.To, wire.TypeUnheard, a.Nonce)
	case *veto.SendYield:
		send(a.To, wire.TypeYield, a.Nonce)
	case *veto.SendInsist:
		send(a.To, wire.TypeInsist, a.Nonce)
	case *veto.Permit, *veto.Refuse, *veto.Takeover, *veto.Probe, *veto.TestLAN, *veto.Shut, *veto.Reopen, *veto.VerdictChanged, *veto.Alarm:
	}
}

// receiveWire reads every datagram that waits.
func (s *Speaker) receiveWire() {
	w := s.wire
	for w != nil && w == s.wire {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(w.fd), uintptr(unsafe.Pointer(&w.rx[0])), uintptr(len(w.rx)),
			unix.MSG_DONTWAIT, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			if errno == unix.ECONNREFUSED {
				continue // a peer's port is closed: the notice of an earlier datagram
			}
			return
		}
		s.datagram(w, w.rx[:n])
	}
}

// datagram authenticates one datagram and gives it to the instance it names.
func (s *Speaker) datagram(w *secondWire, b []byte) {
	sender, ok := wire.Peek(b)
	if !ok {
		return
	}
	p := w.peer(sender)
	if p == nil {
		return // not a member, or not yet known as one
	}
	if err := p.sealer.Open(b, &w.msg); err != nil {
		if w.bad == 0 || errors.Is(err, wire.ErrMAC) && w.bad%1000 == 0 {
			s.log.Warn("datagram of the second wire refused", "node", p.name, "err", err, "count", w.bad+1)
		}
		w.bad++
		return
	}
	now := Now()
	m, relation := s.tagged(&w.msg.Tag)
	if m == nil || relation == wire.Differs {
		if w.msg.Type == wire.TypeQuery {
			w.out.Type, w.out.Nonce, w.out.Tag = wire.TypeAnswer, w.msg.Nonce, w.msg.Tag
			w.out.Answer = wire.Answer{Kind: wire.Unknown, AdvertAge: wire.Never, LANHeard: wire.Never}
			if m != nil {
				// The asker may hear the adverts of this address on its LAN.
				w.out.Answer.Source = m.source
			}
			w.sendTo(p)
		}
		return
	}
	if m.veto == nil {
		return
	}
	s.message(now, m, p, &w.msg)
}

func (s *Speaker) message(now vrrp.Instant, m *member, p *wirePeer, msg *wire.Message) {
	switch msg.Type {
	case wire.TypeAdvert:
		m.stats.MeshReceived++
		m.hear(Heard{Wire: vrrp.Mesh, Source: msg.Advert.Source, Node: p.node, Priority: msg.Advert.Priority, At: now})
		s.deliver(now, m, vrrp.Mesh, p.node, msg.Advert.Source, msg.Advert.Priority, msg.Advert.Interval)
	case wire.TypeQuery:
		s.vetoStep(now, m, &veto.Query{From: p.node, Nonce: msg.Nonce, About: msg.Query.About})
	case wire.TypeAnswer:
		a := &msg.Answer
		s.vetoStep(now, m, &veto.Answer{
			From: p.node, Nonce: msg.Nonce, Kind: veto.AnswerKind(a.Kind), AdvertAge: a.AdvertAge, Priority: a.Priority,
			Source: a.Source, Candidate: a.Candidate, LANHeard: a.LANHeard,
		})
	case wire.TypeUnheard:
		s.vetoStep(now, m, &veto.Unheard{From: p.node, Nonce: msg.Nonce})
	case wire.TypeYield:
		s.vetoStep(now, m, &veto.Yield{From: p.node, Nonce: msg.Nonce})
	case wire.TypeInsist:
		s.vetoStep(now, m, &veto.Insist{From: p.node, Nonce: msg.Nonce})
	}
}

// tagged finds the own instance that a tag names: the best of those that share
// the VRID, which on different interfaces may be several.
func (s *Speaker) tagged(t *wire.Tag) (*member, wire.Relation) {
	var best *member
	relation := wire.Other
	for _, m := range s.byVRID[vridKey(t.Family, t.VRID)] {
		if r := m.tag.Compare(t); r > relation {
			best, relation = m, r
		}
	}
	return best, relation
}

func makeTag(m *member) wire.Tag {
	return wire.NewTag(m.cfg.Key.Family, m.cfg.Key.VRID, m.inst.VIPs)
}
