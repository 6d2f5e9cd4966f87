package speaker

import (
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/keepmesh/keepmesh/vrrp"
	"github.com/keepmesh/keepmesh/vrrp/packet"
	"github.com/keepmesh/keepmesh/vrrp/veto"
	"github.com/keepmesh/keepmesh/vrrp/wire"
)

// Kernel is what the speaker needs done outside of the protocol. Its methods
// are called on the loop's thread, while actions are being carried out: they
// must not call the Speaker back, except by Inject, which then waits its turn.
type Kernel interface {
	// Hold adds the addresses of all ids; failed reports one that got none.
	Hold(ids []vrrp.InstanceID, failed func(vrrp.HoldFailed))
	Release(id vrrp.InstanceID)
	Announce(id vrrp.InstanceID, repeat int)
	// Report is told of everything that only informs.
	Report(a vrrp.Action)
	// Event is told what an operator should read; kind is "veto" or "ALARM".
	Event(kind string, id vrrp.InstanceID, text string)
	// Probe broadcasts ARP requests on dev with sender 0.0.0.0; answers come by
	// ARPSeen.
	Probe(dev string, targets []netip.Addr) error
	// Neighbours are addresses on dev worth asking: gateway first.
	Neighbours(dev string) []netip.Addr
}

// ProbeMode is lan_probe.
type ProbeMode uint8

// Auto finds out whether ARP is evidence on a LAN; On and Off say so.
const (
	ProbeAuto ProbeMode = iota
	ProbeOn
	ProbeOff
)

// Instance is what the speaker needs of an instance beside its vrrp.Config.
type Instance struct {
	Auth             []byte // 8 bytes of PASS or AH; nil: none
	AH               bool   // auth_type AH
	HMAC             *packet.HMACConfig
	Group            netip.Addr // multicast group; invalid with unicast
	Peers            []Peer
	CheckUnicastSrc  bool
	TTL              int // of unicast adverts
	SkipCheckAdvAddr bool
	V3ChecksumAsV2   bool
	// OldUnicast is old_unicast_checksum, ChecksumGroup what it is over.
	OldUnicast    packet.OldUnicast
	ChecksumGroup netip.Addr
	// OwnerIgnore drops every advert unread (owner_ignore_adverts).
	OwnerIgnore bool
	VIPs        []netip.Addr // advertised, in order
	LANProbe    ProbeMode
}

// Peer is one unicast peer.
type Peer struct {
	Addr           netip.Addr
	HasTTL         bool
	MinTTL, MaxTTL int
}

// Link is an interface as far as the speaker cares.
type Link struct {
	Index    int
	Name     string
	Up       bool
	MTU      int
	Prefixes []netip.Prefix
}

// Plan is a checked configuration, ready for Commit.
type Plan struct {
	*vrrp.Plan
	router    vrrp.Config
	instances []Instance
}

// member is an instance with everything that the speaker keeps of it.
type member struct {
	id       vrrp.InstanceID
	cfg      vrrp.InstanceConfig
	inst     Instance
	state    vrrp.State
	priority uint8 // effective
	source   netip.Addr
	encoder  *packet.Encoder // nil until the source is known
	expect   packet.Expect
	ah       *packet.AH
	hmac     *packet.HMAC
	tag      wire.Tag
	stats    Stats
	heard    []Heard

	sentPriority uint8
	sendErrors   int        // in a row
	lanSent      bool       // the last advert was handed to the kernel on the LAN
	refusals     int        // packets in a row
	lastSource   netip.Addr // of the last accepted advert
	warnedOf     netip.Addr // whose addresses were complained of
	skewedOf     netip.Addr // whose clock was complained of
	oldUnicast   bool       // a peer uses the old checksum: so do we

	veto    *veto.Machine
	vetoAt  vrrp.Instant
	heapPos int
	verdict veto.Verdict
	// muteTold is the name under which the Router was told of the tracker by
	// which Shut works; a reload may rename an instance.
	muteTold string
	probe    lanProbe
	test     lanProbe
}

// Heard is the last advert of one sender on one wire.
type Heard struct {
	Wire     vrrp.Wire
	Source   netip.Addr
	Node     veto.NodeID
	Priority uint8
	At       vrrp.Instant
}

// Speaker composes the Router, the veto machines and the sockets.
type Speaker struct {
	loop   *Loop
	kernel Kernel
	log    *slog.Logger
	router *vrrp.Router

	members []*member // by InstanceID
	byVRID  map[uint16][]*member
	groups  []string
	links   map[string]Link
	sockets map[socketKey]*socket
	wire    *secondWire
	vetoes  vetoHeap

	backups int // members in Backup

	busy    bool
	pending []vrrp.Event
	holds   []vrrp.InstanceID

	// Reused values and bound methods: the steady state makes no garbage.
	tick       vrrp.Tick
	advert     vrrp.Advert
	vetoAdvert veto.Advert
	advertSent veto.AdvertSent
	received   func(*arrival)
	sent       func(*member, error)
	rx         *receiveBatch
	arrival    arrival
	rxIPv4     packet.IPv4
	rxInfo     packet.Received
	rxSocket   *socket
	rxNow      vrrp.Instant
}

// New makes a Speaker without instances.
func New(loop *Loop, kernel Kernel, log *slog.Logger) *Speaker {
	s := &Speaker{
		loop: loop, kernel: kernel, log: log, router: vrrp.New(),
		links: map[string]Link{}, sockets: map[socketKey]*socket{}, rx: newReceiveBatch(), byVRID: map[uint16][]*member{},
	}
	s.received, s.sent = s.receivedPacket, s.sentOne
	return s
}

// Prepare checks a configuration; instances stands parallel to cfg.Instances.
// It changes nothing.
func (s *Speaker) Prepare(cfg vrrp.Config, instances []Instance) (*Plan, error) {
	if len(instances) != len(cfg.Instances) {
		return nil, fmt.Errorf("%d instances with %d settings", len(cfg.Instances), len(instances))
	}
	for n := range instances {
		if h := instances[n].HMAC; h != nil {
			if _, err := packet.NewHMAC(*h, nil); err != nil {
				return nil, fmt.Errorf("instance %q: %w", cfg.Instances[n].Name, err)
			}
		}
	}
	p, err := s.router.Prepare(cfg)
	if err != nil {
		return nil, err
	}
	return &Plan{Plan: p, router: cfg, instances: instances}, nil
}

// Commit puts a plan into force. Members that the plan removes are kept until
// their last advert has left.
func (s *Speaker) Commit(p *Plan) {
	next := make([]*member, 0, len(p.IDs))
	for n, id := range p.IDs {
		m := s.member(id)
		if m == nil || m.cfg.Key != p.router.Instances[n].Key {
			m = &member{id: id, priority: p.router.Instances[n].Priority, heapPos: -1, heard: make([]Heard, 0, 8)}
		}
		m.cfg, m.inst = p.router.Instances[n], p.instances[n]
		next = append(next, m)
	}
	s.groups = nil
	for n, id := range p.GroupIDs {
		for int(id) >= len(s.groups) {
			s.groups = append(s.groups, "")
		}
		s.groups[id] = p.router.Groups[n].Name
	}
	for _, m := range next {
		for int(m.id) >= len(s.members) {
			s.members = append(s.members, nil)
		}
		s.members[m.id] = m
		s.encode(m)
	}
	now := Now()
	s.busy = true
	s.perform(now, s.router.Commit(now, p.Plan))
	s.busy = false
	kept := make([]*member, len(s.members))
	s.byVRID = map[uint16][]*member{}
	for _, m := range next {
		kept[m.id] = m
		if m.cfg.Key.Barred == "" {
			key := vridKey(m.cfg.Key.Family, m.cfg.Key.VRID)
			s.byVRID[key] = append(s.byVRID[key], m)
		}
		s.refresh(m)
	}
	for id, m := range s.members {
		if m != nil && kept[id] == nil {
			s.vetoes.remove(m)
		}
	}
	s.members = kept
	s.backups = 0
	for _, m := range next {
		s.backups += inBackup(m.state)
	}
	s.openSockets()
	s.armVetoes(now)
	s.settle(now)
}

func vridKey(family, vrid uint8) uint16 { return uint16(family)<<8 | uint16(vrid) }

func (s *Speaker) member(id vrrp.InstanceID) *member {
	if id < 0 || int(id) >= len(s.members) {
		return nil
	}
	return s.members[id]
}

// Inject gives the Router an event, now or after what is being carried out.
// The event must not be reused by the caller.
func (s *Speaker) Inject(ev vrrp.Event) {
	s.pending = append(s.pending, ev)
	s.settle(Now())
}

// settle steps the Router until nothing is pending.
func (s *Speaker) settle(now vrrp.Instant) {
	if s.busy {
		return
	}
	s.busy = true
	for len(s.pending) > 0 {
		ev := s.pending[0]
		s.pending = s.pending[1:]
		if sc, ok := ev.(*vrrp.SourceChanged); ok {
			if m := s.member(sc.Instance); m != nil && m.source != sc.Source {
				m.source = sc.Source
				s.encode(m)
				s.vetoSelf(now, m)
			}
		}
		s.perform(now, s.router.Step(now, ev))
	}
	s.busy = false
}

// Deadline is the earliest instant at which Due wants to be called.
func (s *Speaker) Deadline() (vrrp.Instant, bool) {
	at, ok := s.router.Deadline()
	if v := s.vetoes.first(); v != 0 && (!ok || v < at) {
		at, ok = v, true
	}
	return at, ok
}

// Precise implements Timers: the end of a backup's timer is what the others
// wait for; an advert may leave a little late.
func (s *Speaker) Precise() bool { return s.backups > 0 }

// inBackup counts a state.
func inBackup(s vrrp.State) int {
	if s == vrrp.Backup {
		return 1
	}
	return 0
}

// Due serves every timer that has run out. The sockets come first: an advert
// that waits in the kernel is older than the decision that it could change.
func (s *Speaker) Due(now vrrp.Instant) {
	for _, k := range s.sockets {
		s.receive(k)
	}
	if s.wire != nil {
		s.receiveWire()
	}
	s.vetoDue(now)
	if at, ok := s.router.Deadline(); ok && at <= now {
		s.busy = true
		s.perform(now, s.router.Step(now, &s.tick))
		s.busy = false
	}
	s.settle(now)
}

// holdWindow is how many instances get their addresses in one exchange with
// the kernel: their announcements then leave a fraction of a millisecond after
// their addresses, however many instances there are.
const holdWindow = 16

// perform carries out what the Router returned: all adverts first, in one
// batch, then everything else in order, additions of addresses drawn together
// over a window of instances.
func (s *Speaker) perform(now vrrp.Instant, actions []vrrp.Action) {
	sent := false
	for _, a := range actions {
		if a, ok := a.(*vrrp.SendAdvert); ok {
			s.queueAdvert(s.member(a.Instance), a.Priority)
			sent = true
		}
	}
	if sent {
		s.flush()
		s.sendMesh(actions)
	}
	for n := 0; n < len(actions); n++ {
		switch a := actions[n].(type) {
		case *vrrp.SendAdvert:
		case *vrrp.Hold:
			n = s.holdFrom(now, actions, n) - 1
		default:
			s.act(now, a)
		}
	}
}

// holdFrom carries out a window of actions that begins with a Hold, and
// returns where it ends. A Release ends it: the order of the two matters.
func (s *Speaker) holdFrom(now vrrp.Instant, actions []vrrp.Action, from int) int {
	s.holds = s.holds[:0]
	end := from
	for ; end < len(actions); end++ {
		if _, ok := actions[end].(*vrrp.Release); ok {
			break
		}
		if h, ok := actions[end].(*vrrp.Hold); ok {
			if len(s.holds) == holdWindow {
				break
			}
			s.holds = append(s.holds, h.Instance)
		}
	}
	s.kernel.Hold(s.holds, func(f vrrp.HoldFailed) { s.pending = append(s.pending, &f) })
	for n := from; n < end; n++ {
		switch a := actions[n].(type) {
		case *vrrp.SendAdvert, *vrrp.Hold:
		default:
			s.act(now, a)
		}
	}
	return end
}

func (s *Speaker) act(now vrrp.Instant, action vrrp.Action) {
	switch a := action.(type) {
	case *vrrp.Release:
		s.kernel.Release(a.Instance)
	case *vrrp.Announce:
		s.kernel.Announce(a.Instance, a.Repeat)
	case *vrrp.WantHold:
		s.wantHold(now, s.member(a.Instance), a.Preempt)
	case *vrrp.StateChanged:
		m := s.member(a.Instance)
		s.backups += inBackup(a.To) - inBackup(m.state)
		m.state = a.To
		m.stats.transition(a.From, a.To)
		s.vetoSelf(now, m)
		s.kernel.Report(a)
	case *vrrp.PriorityChanged:
		m := s.member(a.Instance)
		m.priority = a.To
		s.vetoTimers(now, m)
		s.vetoSelf(now, m)
		s.kernel.Report(a)
	case *vrrp.Note:
		if a.Kind == vrrp.IntervalLearnt {
			s.vetoTimers(now, s.member(a.Instance))
		}
		s.kernel.Report(a)
	case *vrrp.GroupChanged:
		s.kernel.Report(a)
	case *vrrp.SendAdvert, *vrrp.Hold:
		// perform's own.
	}
}

// refresh takes over what the Router knows of a member after a reload.
func (s *Speaker) refresh(m *member) {
	if v, ok := s.router.Instance(m.id); ok {
		m.state, m.priority = v.State, v.Effective
		if v.Source.IsValid() && v.Source != m.source {
			m.source = v.Source
			s.encode(m)
		}
	}
}

// Views are the Router's, in the order of the configuration.
func (s *Speaker) Views() []vrrp.InstanceView { return s.router.Instances() }

// Instance is the Router's view of one instance.
func (s *Speaker) Instance(id vrrp.InstanceID) (vrrp.InstanceView, bool) {
	return s.router.Instance(id)
}

// Groups are the Router's views of the sync groups.
func (s *Speaker) Groups() []vrrp.GroupView { return s.router.Groups() }

// GroupName is the name of a sync group.
func (s *Speaker) GroupName(id vrrp.GroupID) string {
	if id >= 0 && int(id) < len(s.groups) {
		return s.groups[id]
	}
	return ""
}

// Heard gives the last advert of each sender, by wire.
func (s *Speaker) Heard(id vrrp.InstanceID) []Heard {
	if m := s.member(id); m != nil {
		return m.heard
	}
	return nil
}

// Stats gives the counters of an instance.
func (s *Speaker) Stats(id vrrp.InstanceID) Stats {
	if m := s.member(id); m != nil {
		return m.stats
	}
	return Stats{}
}

// hear records who was heard. Senders beyond the slice's capacity replace the
// one not heard for longest: a flood of sources costs no memory.
func (m *member) hear(h Heard) {
	oldest := 0
	for n := range m.heard {
		k := &m.heard[n]
		if k.Wire == h.Wire && k.Source == h.Source && k.Node == h.Node {
			*k = h
			return
		}
		if k.At < m.heard[oldest].At {
			oldest = n
		}
	}
	if len(m.heard) < cap(m.heard) {
		m.heard = append(m.heard, h)
		return
	}
	m.heard[oldest] = h
}

// Close closes all sockets.
func (s *Speaker) Close() {
	for key, k := range s.sockets {
		k.close(s.loop)
		delete(s.sockets, key)
	}
	s.closeWire()
}
