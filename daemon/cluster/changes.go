package cluster

import (
	"time"

	"fmt"

	"github.com/keepmesh/keepmesh/daemon/events"
	"github.com/keepmesh/keepmesh/daemon/ipc"
	"github.com/keepmesh/keepmesh/daemon/notify"
)

// stateChanged notifies a transition and keeps it in the event log.
func (p *process) stateChanged(s *ipc.State) {
	kind := notify.Instance
	if s.Kind == ipc.Group {
		kind = notify.Group
	}
	p.notifier.Notify(notify.Change{Kind: kind, Name: s.Name, State: s.To, Priority: s.Priority})
	if s.RxLowerPri || s.NewPriority {
		return
	}
	p.told[string(s.Kind)+" "+s.Name] = s.To
	if s.Deleted {
		delete(p.told, string(s.Kind)+" "+s.Name)
	}
	p.recordState(s)
	if p.mesh != nil {
		p.ask() // so that the others hear of it at once
	}
}

func (p *process) recordState(s *ipc.State) {
	text := s.To
	if s.From != "" {
		text = s.From + " -> " + s.To
	}
	if s.Reason != "" {
		text += ": " + s.Reason
	}
	kind := "state"
	if s.Kind == ipc.Group {
		kind = "group"
	}
	p.happenedAt(s.At, kind, s.Name, text)
}

// caughtUp compares a complete snapshot with what was told: a transition whose
// message was lost while this process did not read is told now. The first
// snapshot of a life is only remembered.
func (p *process) caughtUp() {
	snap, _ := p.store.last()
	check := func(kind ipc.ObjectKind, name, state string, priority int) {
		key := string(kind) + " " + name
		last, known := p.told[key]
		p.told[key] = state
		if !known || last == state || state == "INIT" {
			return
		}
		p.stateChanged(&ipc.State{Kind: kind, Name: name, From: last, To: state, Priority: priority, Reason: "noticed late", At: snap.At})
	}
	for n := range snap.Instances {
		i := &snap.Instances[n]
		check(ipc.Instance, i.Name, i.State, i.Effective)
	}
	for n := range snap.Groups {
		check(ipc.Group, snap.Groups[n].Name, snap.Groups[n].State, 0)
	}
	if p.repeatSeq != 0 && snap.Seq >= p.repeatSeq {
		p.repeatSeq = 0
		p.repeatStates(&snap)
	}
	if p.mesh != nil {
		p.mesh.publish(&snap)
	}
}

// scriptChanged is called by the tracker's goroutine.
func (p *process) scriptChanged(id string, up bool, cause string) {
	p.jobs <- func() {
		state, word := "up", "succeeded"
		if !up {
			state, word = "down", "failed"
		}
		p.tell(&ipc.Message{Tracker: &ipc.Tracker{ID: id, State: state, Cause: cause}})
		p.log.Info("check changed", "check", id, "state", state, "cause", cause)
		p.happened("check", "", fmt.Sprintf("%s %s (%s)", id, word, cause))
	}
}

func (p *process) happenedAt(at time.Time, kind, instance, text string) {
	p.history.Add(events.Event{At: at, Node: p.node, Kind: kind, Instance: instance, Text: text})
}
