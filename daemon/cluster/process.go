package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/daemon/events"
	"github.com/keepmesh/keepmesh/daemon/ipc"
	"github.com/keepmesh/keepmesh/daemon/mail"
	"github.com/keepmesh/keepmesh/daemon/notify"
	"github.com/keepmesh/keepmesh/daemon/script"
	"github.com/keepmesh/keepmesh/daemon/settings"
	"github.com/keepmesh/keepmesh/daemon/track"
)

// stopScripts is how long STOP scripts may take at the end (keepalived: about
// one second).
const stopScripts = time.Second

// process is the whole state; only the loop changes it.
type process struct {
	log     *slog.Logger
	control *ipc.Conn
	events  *ipc.Conn
	node    string // name, for events

	history  *events.Log
	store    *store
	exec     *script.Executor
	scripts  *track.Tracker
	files    *track.Files
	procs    *track.Processes
	notifier *notify.Notifier
	mails    *mail.Queue
	told     map[string]string // last state told, by kind and name
	vrrpBoot uint64            // of the vrrp process that said Hello last
	// repeat asks for the states of the snapshot after the next Hello,
	// repeatSeq, to be written to the FIFOs.
	repeat    bool
	repeatSeq uint64

	cfg     settings.Cluster
	hash    atomic.Value // string: of the configuration in force
	offered *offer
	broken  []broken
	// lastHooks are those in force, for what the next reload removes.
	lastHooks map[notify.Object]notify.Hooks
	model     *config.Config
	mesh      *meshNode // nil without a mesh
	api       *server
	jobs      chan func()
}

// Run is the process. control and events are the inherited descriptors.
func Run(control, eventsFD int, log *slog.Logger) error {
	p := &process{
		log: log, history: events.NewLog(), store: newStore(), told: map[string]string{}, jobs: make(chan func(), 64),
	}
	p.node, _ = os.Hostname()
	var err error
	if p.control, err = ipc.New(control, false); err != nil {
		return err
	}
	if p.events, err = ipc.New(eventsFD, false); err != nil {
		return err
	}
	if p.exec, err = script.New(script.Options{Log: log}); err != nil {
		return err
	}
	p.notifier = notify.New(p.exec, log)
	p.mails = mail.New(mail.Options{Log: log})
	p.scripts = track.NewTracker(p.exec, log, p.scriptChanged)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	signal.Ignore(syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)

	fromGuardian, fromVRRP := make(chan received), make(chan received)
	go receive(p.control, fromGuardian)
	go receive(p.events, fromVRRP)
	p.tell(&ipc.Message{Hello: &ipc.Hello{Boot: uint64(time.Now().UnixNano())}})
	return p.loop(fromGuardian, fromVRRP, signals)
}

// received is one message, or the end of a socket.
type received struct {
	msg  *ipc.Message
	file *os.File
	err  error
}

func receive(c *ipc.Conn, out chan<- received) {
	for {
		m, f, err := c.Receive()
		out <- received{m, f, err}
		if err != nil {
			return
		}
	}
}

func (p *process) loop(fromGuardian, fromVRRP <-chan received, signals <-chan os.Signal) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		// What the vrrp process says waits in the socket until the first
		// configuration is in force: its first transitions have scripts too.
		vrrp := fromVRRP
		if p.model == nil {
			vrrp = nil
		}
		select {
		case r := <-fromGuardian:
			if errors.Is(r.err, io.EOF) || errors.Is(r.err, syscall.ECONNRESET) {
				p.log.Warn("the guardian is gone: stopping")
				p.drain(fromVRRP)
				return p.stop()
			}
			if r.err != nil {
				return fmt.Errorf("control socket: %w", r.err)
			}
			if r.msg.Stop != nil {
				p.drain(fromVRRP)
				return p.stop()
			}
			p.fromGuardian(r)
		case r := <-vrrp:
			if r.err != nil {
				return fmt.Errorf("events socket: %w", r.err)
			}
			p.fromVRRP(r.msg)
		case job := <-p.jobs:
			job()
		case <-tick.C:
			if p.mesh != nil {
				p.ask()
			}
		case <-signals:
			p.drain(fromVRRP)
			return p.stop()
		}
	}
}

// drain takes what the vrrp process said before it ended, its STOP among it.
func (p *process) drain(fromVRRP <-chan received) {
	quiet := time.NewTimer(20 * time.Millisecond)
	defer quiet.Stop()
	for {
		select {
		case r := <-fromVRRP:
			if r.err != nil {
				return
			}
			p.fromVRRP(r.msg)
		case <-quiet.C:
			return
		}
	}
}

func (p *process) fromGuardian(r received) {
	switch m := r.msg; {
	case m.Prepare != nil:
		answer := &ipc.Prepared{Gen: m.Prepare.Gen}
		if err := p.prepare(m.Prepare.Gen, r.file); err != nil {
			answer.Err = err.Error()
		}
		p.answer(&ipc.Message{Prepared: answer})
	case m.Commit != nil:
		p.commit(m.Commit.Gen)
	case m.Dump != nil:
		p.dump(m.Dump.Kind)
	case m.Notice != nil:
		p.happened("process", "", m.Notice.Text)
	}
	if r.file != nil {
		r.file.Close()
	}
}

func (p *process) fromVRRP(m *ipc.Message) {
	switch {
	case m.Hello != nil:
		// A new vrrp process, or a new configuration of it, knows nothing of
		// what this one watches.
		p.scripts.Announce()
		p.announceWatched()
		if p.mesh != nil && m.Hello.Boot != p.vrrpBoot {
			p.mesh.vrrpRestarted()
		}
		p.vrrpBoot = m.Hello.Boot
		seq := p.ask()
		if p.repeat {
			p.repeat, p.repeatSeq = false, seq
		}
	case m.State != nil:
		p.stateChanged(m.State)
	case m.Event != nil:
		p.history.Add(events.Event{At: m.Event.At, Node: p.node, Kind: m.Event.Kind, Instance: m.Event.Instance, Text: m.Event.Text})
	case m.Snapshot != nil:
		if p.store.add(m.Snapshot) {
			p.caughtUp()
		}
	}
}

// tell says something to the vrrp process; it never waits.
func (p *process) tell(m *ipc.Message) {
	if err := p.events.Send(m, nil); err != nil {
		p.log.Warn("cannot reach the vrrp process", "err", err)
	}
}

func (p *process) answer(m *ipc.Message) {
	if err := p.control.Send(m, nil); err != nil {
		p.log.Error("cannot answer the guardian", "err", err)
	}
}

// ask asks the vrrp process for a snapshot and gives its number.
func (p *process) ask() uint64 {
	seq := p.store.next()
	p.tell(&ipc.Message{Ask: &ipc.Ask{Seq: seq}})
	return seq
}

// happened adds to the event log.
func (p *process) happened(kind, instance, text string) {
	p.history.Add(events.Event{At: time.Now(), Node: p.node, Kind: kind, Instance: instance, Text: text})
}

// stop ends everything; STOP scripts and mails were started by the vrrp
// process's last messages and get a second.
func (p *process) stop() error {
	p.scripts.Close()
	p.closeWatched()
	p.api.close()
	p.mesh.stop()
	ctx, cancel := context.WithTimeout(context.Background(), stopScripts)
	defer cancel()
	mailed := make(chan struct{})
	go func() {
		p.mails.Close(ctx)
		close(mailed)
	}()
	defer func() { <-mailed }()
	if err := p.notifier.Flush(ctx); err != nil {
		p.log.Warn("notify scripts still run at the end; they are left to finish", "limit", stopScripts)
	}
	p.notifier.Close(ctx)
	return nil
}
