package bfd

import (
	"net/netip"
	"slices"
)

// Peer is a session with what it is known by.
type Peer struct {
	Name     string
	Neighbor netip.Addr
	Source   netip.Addr // the zero Addr: whatever the kernel takes
	Multihop bool       // RFC 5883: port 4784
	// MinTTL is the lowest TTL or hop limit of a packet that is taken; 0 takes
	// all. RFC 5881 section 5 asks for 255.
	MinTTL int
	// TTL is what packets are sent with.
	TTL     int
	Session Config
}

// same says whether a session may go on under q's configuration.
func (p *Peer) same(q *Peer) bool {
	return p.Name == q.Name && p.Neighbor == q.Neighbor && p.Source == q.Source && p.Multihop == q.Multihop
}

// Directed is an action of one of a Set's sessions.
type Directed struct {
	Peer   *Peer
	Action Action
}

// Set is the sessions of a node. The slices that its methods return are valid
// until the next call.
type Set struct {
	members []*member
	out     []Directed
	rx      Received // reused: a packet costs no allocation
}

type member struct {
	peer    Peer
	session *Session
}

// Configure replaces the peers. Sessions that stay keep their state and their
// discriminator; those that are gone tell their neighbour and no more.
func (s *Set) Configure(now Instant, peers []Peer) []Directed {
	s.out = s.out[:0]
	old := s.members
	s.members = nil
	for n := range peers {
		p := peers[n]
		at := slices.IndexFunc(old, func(m *member) bool { return m.peer.same(&p) })
		if at < 0 {
			m := &member{peer: p, session: New(p.Session)}
			s.members = append(s.members, m)
			continue
		}
		m := old[at]
		old = slices.Delete(old, at, at+1)
		p.Session.Discriminator = m.peer.Session.Discriminator
		m.peer = p
		s.members = append(s.members, m)
		s.step(now, m, &Configure{Config: p.Session})
	}
	for _, m := range old {
		s.step(now, m, &Disable{})
	}
	for _, m := range s.members {
		if state, _ := m.session.State(); state == AdminDown {
			s.step(now, m, &Start{})
		}
	}
	return s.out
}

// Receive takes a packet from the network. An error is ErrDiscarded: the packet
// changed nothing.
func (s *Set) Receive(now Instant, from netip.Addr, multihop bool, ttl int, b []byte) ([]Directed, error) {
	s.out = s.out[:0]
	p, err := Parse(b)
	if err != nil {
		return nil, err
	}
	m := s.find(from, multihop, p.Yours)
	if m == nil {
		// "If the Your Discriminator field is nonzero, it MUST be used to select
		// the session with which this BFD packet is associated. If no session is
		// found, the packet MUST be discarded." (RFC 5880 section 6.8.6)
		return nil, discarded("no session with %s and discriminator %08x", from, p.Yours)
	}
	if ttl < m.peer.MinTTL {
		return nil, discarded("TTL %d, at least %d is expected", ttl, m.peer.MinTTL)
	}
	s.rx.Packet = p
	s.step(now, m, &s.rx)
	return s.out, nil
}

// find selects by discriminator, or by source where there is none yet. The
// source is checked in both cases: a number that was overheard is not enough.
func (s *Set) find(from netip.Addr, multihop bool, discr uint32) *member {
	for _, m := range s.members {
		if m.peer.Multihop == multihop && m.peer.Neighbor == from && (discr == 0 || m.peer.Session.Discriminator == discr) {
			return m
		}
	}
	return nil
}

// Tick serves every session that is due.
func (s *Set) Tick(now Instant) []Directed {
	s.out = s.out[:0]
	for _, m := range s.members {
		if at, ok := m.session.Deadline(); ok && now >= at {
			s.step(now, m, &Tick{})
		}
	}
	return s.out
}

// Stop disables all sessions, so that no neighbour waits for a detection time.
func (s *Set) Stop(now Instant) []Directed {
	s.out = s.out[:0]
	for _, m := range s.members {
		s.step(now, m, &Disable{})
	}
	return s.out
}

// Deadline is the earliest one of all sessions.
func (s *Set) Deadline() (first Instant, any bool) {
	for _, m := range s.members {
		if at, ok := m.session.Deadline(); ok && (!any || at < first) {
			first, any = at, true
		}
	}
	return first, any
}

// State is a session's state; false where there is no such session.
func (s *Set) State(name string) (State, Diag, bool) {
	for _, m := range s.members {
		if m.peer.Name == name {
			state, diag := m.session.State()
			return state, diag, true
		}
	}
	return AdminDown, NoDiag, false
}

func (s *Set) step(now Instant, m *member, ev Event) {
	for _, a := range m.session.Step(now, ev) {
		s.out = append(s.out, Directed{Peer: &m.peer, Action: a})
	}
}
