package protocol

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/keepmesh/keepmesh/checks/bfd"
	"github.com/keepmesh/keepmesh/checks/bfd/udp"
	"github.com/keepmesh/keepmesh/daemon/settings"
	"github.com/keepmesh/keepmesh/vrrp"
	"github.com/keepmesh/keepmesh/vrrp/speaker"
)

// sessions are the BFD sessions with their sockets, which the process's own
// loop serves.
type sessions struct {
	set       bfd.Set
	listeners map[port]*udp.Listener
	senders   map[path]*sender
	causes    map[string]string // why a session cannot work, by name
	buf       []byte
}

// port is a port of one family.
type port struct{ v6, multihop bool }

// path is what a sending socket is made of.
type path struct {
	name             string
	source, neighbor netip.Addr
	multihop         bool
	ttl              int
}

// sender is a session's sending socket; it is nil while it cannot be opened,
// and complained says that the log knows.
type sender struct {
	*udp.Sender
	complained bool
}

// clocks are all timers of the loop, those of the sessions among them.
type clocks struct{ *timers }

// Deadline implements speaker.Timers.
func (c *clocks) Deadline() (vrrp.Instant, bool) {
	at, any := c.timers.Deadline()
	if b, ok := c.p.bfd.set.Deadline(); ok && (!any || vrrp.Instant(b) < at) {
		return vrrp.Instant(b), true
	}
	return at, any
}

// Due implements speaker.Timers.
func (c *clocks) Due(now vrrp.Instant) {
	if at, ok := c.timers.Deadline(); ok && now >= at {
		c.timers.Due(now)
	}
	if at, ok := c.p.bfd.set.Deadline(); ok && now >= vrrp.Instant(at) {
		c.p.carryOut(c.p.bfd.set.Tick(bfd.Instant(now)))
	}
}

// configureBFD puts the sessions of a generation into force and tells the
// Router, which may have new trackers, of all of them.
func (p *process) configureBFD(list []settings.BFD) {
	b := &p.bfd
	if b.senders == nil {
		b.listeners, b.senders = map[port]*udp.Listener{}, map[path]*sender{}
	}
	b.causes = map[string]string{}
	peers := make([]bfd.Peer, len(list))
	wanted, used := map[path]bool{}, map[port]bool{}
	for n, s := range list {
		peers[n] = bfd.Peer{
			Name: s.Name, Neighbor: s.Neighbor, Source: s.Source, Multihop: s.Multihop, MinTTL: s.MinTTL, TTL: s.TTL,
			Session: bfd.Config{
				Discriminator: 1 + rand.Uint32N(1<<32-1), MinTx: s.MinTx, MinRx: s.MinRx, IdleTx: s.IdleTx,
				Multiplier: uint8(s.Multiplier), Passive: s.Passive, Seed: rand.Uint64(),
			},
		}
		wanted[pathOf(&peers[n])] = true
		at := port{s.Neighbor.Is6(), s.Multihop}
		used[at] = true
		if err := p.listenBFD(at); err != nil {
			b.causes[s.Name] = err.Error()
			p.log.Error("a BFD session cannot hear its neighbour", "bfd", s.Name, "err", err)
		}
	}
	p.carryOut(b.set.Configure(bfd.Instant(speaker.Now()), peers))
	for key, s := range b.senders {
		if !wanted[key] {
			s.close()
			delete(b.senders, key)
		}
	}
	for at, l := range b.listeners {
		if !used[at] {
			p.loop.Unwatch(l.FD())
			l.Close()
			delete(b.listeners, at)
		}
	}
	for n := range peers {
		state, diag, _ := b.set.State(peers[n].Name)
		p.tellBFD(&peers[n], state, diag)
	}
}

// listenBFD opens a port with the first session that needs it.
func (p *process) listenBFD(at port) error {
	if p.bfd.listeners[at] != nil {
		return nil
	}
	l, err := udp.Listen(at.v6, at.multihop)
	if err != nil {
		return err
	}
	p.bfd.listeners[at] = l
	take := p.takeBFD
	p.loop.Watch(l.FD(), func() {
		if err := l.Drain(take); err != nil {
			p.log.Warn("reading BFD", "err", err)
		}
	})
	return nil
}

// takeBFD takes one packet from the network.
func (p *process) takeBFD(from netip.Addr, multihop bool, ttl int, b []byte) {
	todo, err := p.bfd.set.Receive(bfd.Instant(speaker.Now()), from, multihop, ttl, b)
	if err != nil {
		p.log.Debug("BFD", "peer", from, "err", err)
		return
	}
	p.carryOut(todo)
}

// carryOut does what sessions ask for.
func (p *process) carryOut(todo []bfd.Directed) {
	for _, d := range todo {
		switch a := d.Action.(type) {
		case *bfd.Send:
			p.sendBFD(d.Peer, &a.Packet)
		case *bfd.Changed:
			p.bfdChanged(d.Peer, a)
		}
	}
}

func (p *process) bfdChanged(peer *bfd.Peer, a *bfd.Changed) {
	text := fmt.Sprintf("%s %s -> %s", peer.Name, a.From, a.To)
	if a.Diag != bfd.NoDiag {
		text += ": " + a.Diag.String()
	}
	p.log.Info("BFD session changed", "bfd", peer.Name, "peer", peer.Neighbor, "from", a.From.String(), "to", a.To.String(), "reason", a.Diag.String())
	p.event("bfd", "", text)
	p.tellBFD(peer, a.To, a.Diag)
}

// tellBFD makes a tracker of a session: up is Up, and everything else is down.
func (p *process) tellBFD(peer *bfd.Peer, state bfd.State, diag bfd.Diag) {
	ev := &vrrp.TrackerChanged{ID: vrrp.TrackerID("bfd:" + peer.Name), State: vrrp.Down}
	why := p.bfd.causes[peer.Name]
	switch {
	case state == bfd.Up:
		ev.State = vrrp.Up
	case why != "":
		ev.Cause = "BFD " + peer.Name + ": " + why
	case diag != bfd.NoDiag:
		ev.Cause = fmt.Sprintf("BFD %s to %s is %s: %s", peer.Name, peer.Neighbor, state, diag)
	default:
		ev.Cause = fmt.Sprintf("BFD %s to %s is %s", peer.Name, peer.Neighbor, state)
	}
	p.speaker.Inject(ev)
}

func pathOf(peer *bfd.Peer) path {
	return path{peer.Name, peer.Source, peer.Neighbor, peer.Multihop, peer.TTL}
}

// sendBFD sends one packet. A socket that cannot be opened, since the source
// address has yet to come, is tried again with the next packet; so is a port
// that another program had.
func (p *process) sendBFD(peer *bfd.Peer, packet *bfd.Packet) {
	if p.bfd.causes[peer.Name] != "" && p.listenBFD(port{peer.Neighbor.Is6(), peer.Multihop}) == nil {
		p.log.Info("a BFD session can hear its neighbour now", "bfd", peer.Name)
		delete(p.bfd.causes, peer.Name)
	}
	key := pathOf(peer)
	s := p.bfd.senders[key]
	if s == nil {
		s = &sender{}
		p.bfd.senders[key] = s
	}
	var err error
	if s.Sender == nil {
		s.Sender, err = udp.Dial(peer.Source, peer.Neighbor, peer.Multihop, peer.TTL)
	}
	if err == nil {
		p.bfd.buf = bfd.Append(p.bfd.buf[:0], packet)
		err = s.Send(p.bfd.buf)
	}
	if err != nil && !s.complained {
		p.log.Warn("cannot send BFD; it is tried again with each packet", "bfd", peer.Name, "peer", peer.Neighbor, "err", err)
	}
	s.complained = err != nil
}

func (s *sender) close() {
	if s.Sender != nil {
		s.Close()
	}
}

// stopBFD tells the neighbours that the sessions are over.
func (p *process) stopBFD() {
	for _, d := range p.bfd.set.Stop(bfd.Instant(speaker.Now())) {
		if a, ok := d.Action.(*bfd.Send); ok {
			p.sendBFD(d.Peer, &a.Packet)
		}
	}
	for _, s := range p.bfd.senders {
		s.close()
	}
	for _, l := range p.bfd.listeners {
		p.loop.Unwatch(l.FD())
		l.Close()
	}
}
