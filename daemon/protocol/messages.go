package protocol

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keepmesh/keepmesh/daemon/ipc"
	"github.com/keepmesh/keepmesh/vrrp"
	"github.com/keepmesh/keepmesh/vrrp/speaker"
)

// send tells the cluster process something. It never waits: a process that
// does not read misses it, and is brought up to date by the next Snapshot.
func (p *process) send(m *ipc.Message) {
	if err := p.events.Send(m, nil); err != nil && !errors.Is(err, ipc.ErrFull) {
		p.log.Warn("cannot tell the cluster process", "err", err)
	}
}

// answer tells the guardian something.
func (p *process) answer(m *ipc.Message) {
	if err := p.control.Send(m, nil); err != nil {
		p.log.Error("cannot answer the guardian", "err", err)
	}
}

// event adds a line to the event log.
func (p *process) event(kind, instance, text string) {
	p.send(&ipc.Message{Event: &ipc.Event{At: time.Now(), Kind: kind, Instance: instance, Text: text}})
}

// Event implements speaker.Kernel.
func (p *process) Event(kind string, id vrrp.InstanceID, text string) {
	name := ""
	if i := p.lookup(id); i != nil {
		name = i.cfg.Name
	}
	p.log.Warn(text, "instance", name, "kind", kind)
	p.event(kind, name, text)
}

func (p *process) sendState(s *ipc.State) { p.send(&ipc.Message{State: s}) }

func stateMessage(i *instance, a *vrrp.StateChanged) *ipc.State {
	return &ipc.State{
		Kind: ipc.Instance, Name: i.cfg.Name, From: a.From.String(), To: a.To.String(),
		Priority: int(a.Priority), Reason: a.Reason, At: time.Now(),
	}
}

func deletedMessage(i *instance) *ipc.State {
	return &ipc.State{Kind: ipc.Instance, Name: i.cfg.Name, To: "DELETED", Priority: int(i.cfg.Priority), At: time.Now(), Deleted: true}
}

func (p *process) groupChanged(a *vrrp.GroupChanged) {
	name := p.speaker.GroupName(a.Group)
	p.log.Info("group changed", "group", name, "from", a.From.String(), "to", a.To.String(), "reason", a.Reason)
	s := &ipc.State{Kind: ipc.Group, Name: name, From: a.From.String(), To: a.To.String(), Reason: a.Reason, At: time.Now()}
	if p.stopping {
		// At the end keepalived tells of all instances before any group.
		p.lastWords = append(p.lastWords, s)
		return
	}
	p.sendState(s)
}

func (p *process) rxLowerPriority(i *instance) {
	v, ok := p.speaker.Instance(i.id)
	if !ok {
		return
	}
	p.sendState(&ipc.State{
		Kind: ipc.Instance, Name: i.cfg.Name, From: "MASTER", To: "MASTER_RX_LOWER_PRI",
		Priority: int(v.Effective), At: time.Now(), RxLowerPri: true,
	})
}

// priorityChanged is told for instances with notify_priority_changes; whether
// one has it, the cluster process knows.
func (p *process) priorityChanged(i *instance, a *vrrp.PriorityChanged) {
	word := "BACKUP_PRIORITY"
	if v, ok := p.speaker.Instance(i.id); ok && v.State == vrrp.Active {
		word = "MASTER_PRIORITY"
	}
	p.sendState(&ipc.State{Kind: ipc.Instance, Name: i.cfg.Name, To: word, Priority: int(a.To), At: time.Now(), NewPriority: true})
}

func (p *process) readEvents() {
	for {
		m, file, err := p.events.Receive()
		if err != nil {
			if !errors.Is(err, unix.EAGAIN) {
				p.log.Warn("events socket", "err", err)
			}
			return
		}
		if file != nil {
			file.Close()
		}
		switch {
		case m.Hello != nil:
			p.snapshot(0)
		case m.Ask != nil:
			p.snapshot(m.Ask.Seq)
		case m.Tracker != nil:
			p.speaker.Inject(tracker(m.Tracker))
		case m.Wire != nil:
			p.setWire(m.Wire)
		}
	}
}

func tracker(t *ipc.Tracker) *vrrp.TrackerChanged {
	ev := &vrrp.TrackerChanged{ID: vrrp.TrackerID(t.ID), Value: t.Value, Cause: t.Cause}
	switch t.State {
	case "up":
		ev.State = vrrp.Up
	case "down":
		ev.State = vrrp.Down
	}
	return ev
}

// setWire opens the second wire or changes with whom it is spoken. Peers that
// the message does not name stay.
func (p *process) setWire(w *ipc.Wire) {
	cfg := speaker.WireConfig{Self: w.Self, SelfName: w.SelfName, Bind: w.Bind, Boot: w.Boot}
	for _, id := range w.Gone {
		delete(p.peers, id)
	}
	for _, peer := range w.Peers {
		p.peers[peer.Node] = speaker.WirePeer{
			Node: peer.Node, Name: peer.Name, Addr: peer.Addr, Key: peer.Key, Boot: peer.Boot, Sources: peer.Sources,
		}
	}
	for _, peer := range p.peers {
		cfg.Peers = append(cfg.Peers, peer)
	}
	slices.SortFunc(cfg.Peers, func(a, b speaker.WirePeer) int { return bytes.Compare(a.Node[:], b.Node[:]) })
	p.wireError = ""
	if err := p.speaker.SetWire(cfg); err != nil {
		p.wireError = err.Error()
		p.log.Error("the second wire does not work; VRRP goes on without it", "err", err)
		p.event("ALARM", "", "the second wire does not work; VRRP goes on without it: "+err.Error())
	}
}
