package bfd

import "time"

// Instant is a point of a monotonic clock in nanoseconds. Zero is never.
type Instant int64

// Add gives a later instant.
func (t Instant) Add(d time.Duration) Instant { return t + Instant(d) }

// Config is one session's.
type Config struct {
	// Discriminator is this side's, not zero and unique on the node. Configure
	// does not change it.
	Discriminator uint32
	MinTx         time.Duration // bfd.DesiredMinTxInterval once Up
	MinRx         time.Duration // bfd.RequiredMinRxInterval
	IdleTx        time.Duration // bfd.DesiredMinTxInterval before; at least one second
	Multiplier    uint8         // bfd.DetectMult, not zero
	Passive       bool          // says nothing until the neighbour has
	Seed          uint64        // of the jitter
}

// Event is what happens to a session.
type Event interface{ event() }

// Start begins a session: it is Down and, unless passive, sends.
type Start struct{}

// Received is a packet that Parse took and that belongs to the session.
type Received struct{ Packet Packet }

// Tick says that time has passed. It is wanted at Deadline.
type Tick struct{}

// Configure changes intervals, multiplier and role; the session stays.
type Configure struct{ Config Config }

// Disable ends a session. The neighbour is told once, of Down with the
// diagnostic "administratively down". RFC 5880 section 6.8.16 has AdminDown,
// but keepalived takes that for no failure, and would stay Up for ever on a
// session that nobody serves any more.
type Disable struct{}

func (*Start) event()     {}
func (*Received) event()  {}
func (*Tick) event()      {}
func (*Configure) event() {}
func (*Disable) event()   {}

// Action is what a session asks for. A Changed stands before the Send that
// tells the neighbour of it.
type Action interface{ action() }

// Send sends a packet to the neighbour. A failure needs no answer: the next
// packet comes with the next interval.
type Send struct{ Packet Packet }

// Changed is a new state; Diag says why a session went down.
type Changed struct {
	From, To State
	Diag     Diag
}

func (*Send) action()    {}
func (*Changed) action() {}

// Session is the state of RFC 5880 section 6.8.1.
type Session struct {
	cfg   Config
	state State
	diag  Diag

	remote       State
	remoteDiscr  uint32
	remoteMinRx  time.Duration
	remoteMinTx  time.Duration
	remoteMult   uint8
	remoteDemand bool

	// The intervals that packets name. Those in use differ from them while a
	// Poll Sequence has not ended.
	desiredMinTx, usedMinTx   time.Duration
	requiredMinRx, usedMinRx  time.Duration
	polling                   bool
	heard, sent, sendAt, late Instant       // late: when the detection time ends
	planned                   time.Duration // the interval that sendAt was made of
	rand                      uint64
	out                       []Action
	sends                     [2]Send // behind out: a packet costs no allocation
	used                      int
}

// New returns a session that waits for Start.
func New(cfg Config) *Session {
	s := &Session{cfg: cfg, state: AdminDown, remote: Down, rand: cfg.Seed | 1}
	s.remoteMinRx = time.Microsecond // "MUST be initialized to 1"
	s.desiredMinTx, s.requiredMinRx = cfg.IdleTx, cfg.MinRx
	s.usedMinTx, s.usedMinRx = s.desiredMinTx, s.requiredMinRx
	return s
}

// State is the session's state, and why it was left last.
func (s *Session) State() (State, Diag) { return s.state, s.diag }

// Deadline is when the next Tick is wanted; false: nothing waits for time.
func (s *Session) Deadline() (Instant, bool) {
	at := s.sendAt
	if s.late != 0 && (at == 0 || s.late < at) {
		at = s.late
	}
	return at, at != 0
}

// Step takes one event. The actions are valid until the next Step. A Tick that
// sends does not allocate.
func (s *Session) Step(now Instant, ev Event) []Action {
	s.out, s.used = s.out[:0], 0
	switch ev := ev.(type) {
	case *Start:
		s.become(now, Down, NoDiag)
		s.schedule(now)
	case *Received:
		s.received(now, &ev.Packet)
	case *Tick:
		s.tick(now)
	case *Configure:
		s.configure(now, ev.Config)
	case *Disable:
		if s.state != AdminDown {
			s.become(now, AdminDown, AdminDownDiag)
			s.polling, s.late, s.sendAt = false, 0, 0
		}
	}
	return s.out
}

// received is RFC 5880 section 6.8.6 from where a session has been found.
func (s *Session) received(now Instant, p *Packet) {
	if s.state == AdminDown {
		// "If bfd.SessionState is AdminDown, discard the packet."
		return
	}
	s.remoteDiscr, s.remote, s.remoteDemand = p.Mine, p.State, p.Demand
	s.remoteMinRx, s.remoteMinTx, s.remoteMult = p.RequiredMinRx, p.DesiredMinTx, p.Multiplier
	if s.polling && p.Final {
		// "If a Poll Sequence is being transmitted by the local system and the
		// Final (F) bit in the received packet is set, the Poll Sequence MUST be
		// terminated."
		s.polling = false
		s.usedMinTx, s.usedMinRx = s.desiredMinTx, s.requiredMinRx
	}
	s.heard = now
	s.react(now, p.State)
	// Section 6.8.4: the time is that of the packet just taken.
	s.late = now.Add(s.detection())
	if p.Poll {
		// Section 6.8.7: "a Control packet with the Final bit set MUST be
		// transmitted as soon as practicable, without respect to the
		// transmission timer or any other transmission limitations".
		s.send(now, true)
		return
	}
	s.schedule(now)
}

// react is the state machine of section 6.8.6 and of the diagram in 6.2.
func (s *Session) react(now Instant, theirs State) {
	if theirs == AdminDown {
		if s.state != Down {
			s.become(now, Down, NeighborDown)
		}
		return
	}
	switch s.state {
	case Down:
		switch theirs {
		case Down:
			s.become(now, Init, s.diag)
		case Init:
			s.become(now, Up, NoDiag)
		case Up, AdminDown:
		}
	case Init:
		if theirs == Init || theirs == Up {
			s.become(now, Up, NoDiag)
		}
	case Up:
		if theirs == Down {
			s.become(now, Down, NeighborDown)
		}
	case AdminDown:
	}
}

// detection is the detection time of asynchronous mode (section 6.8.4).
func (s *Session) detection() time.Duration {
	return time.Duration(s.remoteMult) * max(s.usedMinRx, s.remoteMinTx)
}

func (s *Session) tick(now Instant) {
	if s.late != 0 && now >= s.late {
		s.late = 0
		// Section 6.8.1: "If a period of a Detection Time passes without the
		// receipt of a valid, authenticated BFD packet from the remote system,
		// this variable MUST be set to zero."
		s.remoteDiscr = 0
		s.remoteDemand = false
		if s.state == Init || s.state == Up {
			s.become(now, Down, TimeExpired)
		}
		if s.cfg.Passive {
			s.sendAt = 0
		}
	}
	if s.sendAt != 0 && now >= s.sendAt {
		s.send(now, false)
	}
}

// become enters a state and tells the neighbour at once, as section 6.8.7
// allows for packets that differ from the last one.
func (s *Session) become(now Instant, to State, diag Diag) {
	if s.state == to {
		return
	}
	from := s.state
	s.state, s.diag = to, diag
	s.out = append(s.out, &Changed{From: from, To: to, Diag: diag})
	if to == Up {
		s.want(s.cfg.MinTx, s.cfg.MinRx)
	} else if from == Up {
		// Section 6.8.3: "When bfd.SessionState is not Up, the system MUST set
		// bfd.DesiredMinTxInterval to a value of not less than one second".
		s.polling = false
		s.want(s.cfg.IdleTx, s.cfg.MinRx)
	}
	if s.mayTransmit() || to == AdminDown && s.remoteDiscr != 0 {
		s.send(now, false)
	}
}

// want names other intervals (section 6.8.3). Where the session is Up a Poll
// Sequence makes sure that the neighbour knows: until it ends, an interval of
// sending is not made longer, nor the detection time shorter.
func (s *Session) want(tx, rx time.Duration) {
	if tx == s.desiredMinTx && rx == s.requiredMinRx {
		return
	}
	s.desiredMinTx, s.requiredMinRx = tx, rx
	if s.state != Up {
		s.usedMinTx, s.usedMinRx = tx, rx
		return
	}
	s.polling = true
	s.usedMinTx, s.usedMinRx = min(s.usedMinTx, tx), max(s.usedMinRx, rx)
}

func (s *Session) configure(now Instant, c Config) {
	c.Discriminator, c.Seed = s.cfg.Discriminator, s.cfg.Seed
	s.cfg = c
	if s.state == AdminDown {
		return
	}
	tx := c.IdleTx
	if s.state == Up {
		tx = c.MinTx
	}
	s.want(tx, c.MinRx)
	if s.late != 0 {
		s.late = s.heard.Add(s.detection())
	}
	s.schedule(now)
}

// mayTransmit is section 6.8.7: when packets may be sent periodically.
func (s *Session) mayTransmit() bool {
	switch {
	case s.state == AdminDown,
		s.cfg.Passive && s.remoteDiscr == 0,
		s.remoteMinRx == 0:
		return false
	case s.remoteDemand && s.state == Up && s.remote == Up && !s.polling:
		return false
	}
	return true
}

// send sends a packet, and plans the next.
func (s *Session) send(now Instant, final bool) {
	a := s.newSend()
	a.Packet = Packet{
		Diag: s.diag, State: max(s.state, Down), Poll: s.polling && !final, Final: final, Multiplier: s.cfg.Multiplier,
		Mine: s.cfg.Discriminator, Yours: s.remoteDiscr, DesiredMinTx: s.desiredMinTx, RequiredMinRx: s.requiredMinRx,
	}
	s.out = append(s.out, a)
	s.sent = now
	s.sendAt = 0
	if s.mayTransmit() {
		s.planned = s.interval()
		s.sendAt = now.Add(s.jittered())
	}
}

func (s *Session) newSend() *Send {
	if s.used == len(s.sends) {
		return &Send{}
	}
	s.used++
	return &s.sends[s.used-1]
}

// schedule plans the next packet after what it depends on may have changed.
func (s *Session) schedule(now Instant) {
	if !s.mayTransmit() {
		s.sendAt = 0
		return
	}
	if s.sent == 0 {
		s.send(now, false)
		return
	}
	// Section 6.8.2: "The transmit interval MUST be recalculated whenever
	// bfd.DesiredMinTxInterval changes, or whenever bfd.RemoteMinRxInterval
	// changes".
	if s.sendAt == 0 || s.planned != s.interval() {
		s.planned = s.interval()
		s.sendAt = max(s.sent.Add(s.jittered()), now)
	}
}

// interval is the one that both sides agree on (section 6.8.2).
func (s *Session) interval() time.Duration { return max(s.usedMinTx, s.remoteMinRx) }

// jittered is the interval less up to 25 per cent, and at least 10 per cent
// less where the multiplier is 1 (section 6.8.7).
func (s *Session) jittered() time.Duration {
	// xorshift64: good enough to keep two sessions from marching in step.
	s.rand ^= s.rand << 13
	s.rand ^= s.rand >> 7
	s.rand ^= s.rand << 17
	least, span := uint64(0), uint64(251)
	if s.cfg.Multiplier == 1 {
		least, span = 100, 151
	}
	off := least + s.rand%span
	return s.interval() / 1000 * time.Duration(1000-off)
}
