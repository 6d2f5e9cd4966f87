package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"

	"github.com/keepmesh/keepmesh/daemon/script"
)

// Kind is what changed: an instance or a sync group.
type Kind uint8

// The kinds.
const (
	Instance Kind = iota
	Group
)

// String is the word that scripts and FIFO readers get.
func (k Kind) String() string {
	if k == Group {
		return "GROUP"
	}
	return "INSTANCE"
}

// The states that scripts and FIFO readers know.
const (
	Master  = "MASTER"
	Backup  = "BACKUP"
	Fault   = "FAULT"
	Stop    = "STOP"
	Deleted = "DELETED"

	// MasterRxLowerPri runs notify_master_rx_lower_pri but not `notify`.
	MasterRxLowerPri = "MASTER_RX_LOWER_PRI"
	// MasterPriority and BackupPriority tell a new effective priority in an
	// unchanged state; they go to the FIFOs alone, see Hooks.TellPriority.
	MasterPriority = "MASTER_PRIORITY"
	BackupPriority = "BACKUP_PRIORITY"
)

// Change is one event to tell. With keepalived a group has priority 0. State
// is Deleted for whatever a reload removes: the Notifier tells FAULT instead
// where there is no notify_deleted.
//
// The caller gives the order between objects: keepalived 2.2.7 tells a sync
// group after its members, except for the BACKUP at the start, which comes
// before theirs.
type Change struct {
	Kind     Kind
	Name     string
	State    string
	Priority int
}

// Line is the text on a FIFO, with its newline.
func (c Change) Line() string {
	return fmt.Sprintf("%s \"%s\" %s %d\n", c.Kind, c.Name, c.State, c.Priority)
}

// Object names what hooks belong to.
type Object struct {
	Kind Kind
	Name string
}

// Hooks are the scripts of one object, resolved; nil ones do not exist.
type Hooks struct {
	Master, Backup, Fault, Stop *script.Command
	Any                         *script.Command // `notify`
	MasterRxLowerPri, Deleted   *script.Command
	// TellDeleted is the keyword notify_deleted with or without a script. If
	// it is false, a removed object is told as FAULT, and notify_fault is not
	// run for it (as keepalived 2.2.7 has it).
	TellDeleted bool
	// TellPriority is notify_priority_changes; without it MasterPriority and
	// BackupPriority are not told.
	TellPriority bool
	// Mail is smtp_alert: Config.Mail is called for transitions.
	Mail bool
}

// own is the script for one state.
func (h Hooks) own(state string) *script.Command {
	switch state {
	case Master:
		return h.Master
	case Backup:
		return h.Backup
	case Fault:
		return h.Fault
	case Stop:
		return h.Stop
	case Deleted:
		return h.Deleted
	case MasterRxLowerPri:
		return h.MasterRxLowerPri
	}
	return nil
}

// any is `notify` for the states that it is run for.
func (h Hooks) any(state string) *script.Command {
	switch state {
	case MasterRxLowerPri, MasterPriority, BackupPriority:
		return nil
	}
	return h.Any
}

// Config is everything that a Notifier needs to know.
type Config struct {
	Hooks map[Object]Hooks
	// FIFOs in the order of writing: notify_fifo, then vrrp_notify_fifo.
	FIFOs []FIFOConfig
	// Mail is called, after scripts and FIFOs, for each transition of an object
	// with Hooks.Mail. It must not wait. Nil sends nothing.
	Mail func(Change)
}

// Notifier tells changes. See the package comment.
type Notifier struct {
	exec *script.Executor
	log  *slog.Logger

	mu      sync.Mutex
	hooks   map[Object]Hooks
	mail    func(Change)
	fifos   []*fifo
	closed  bool
	running map[*script.Run]struct{} // notify scripts, not readers of FIFOs
}

// New returns a Notifier that tells nobody until Apply; a nil log discards.
func New(exec *script.Executor, log *slog.Logger) *Notifier {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Notifier{exec: exec, log: log, running: map[*script.Run]struct{}{}}
}

// Apply replaces the configuration. FIFOs whose configuration is equal stay
// open with their scripts, and a script that has ended is started again;
// others are closed or opened. (keepalived closes, removes and makes all of
// them anew on each reload.) The error names each FIFO that cannot be used;
// everything else is in force nevertheless.
//
// Hooks of an object that a reload removes are gone with Apply: tell its last
// change before.
func (n *Notifier) Apply(cfg Config) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return errors.New("notifier is closed")
	}
	n.hooks, n.mail = cfg.Hooks, cfg.Mail
	old := n.fifos
	n.fifos = make([]*fifo, 0, len(cfg.FIFOs))
	kept := func(c FIFOConfig) *fifo {
		for i, f := range old {
			if f != nil && f.cfg.equal(c) {
				old[i] = nil
				return f
			}
		}
		return nil
	}
	next := make([]*fifo, len(cfg.FIFOs))
	for i, c := range cfg.FIFOs {
		next[i] = kept(c)
	}
	for _, f := range old {
		if f != nil {
			f.close()
			f.stopScript()
		}
	}
	var errs []error
	for i, c := range cfg.FIFOs {
		if next[i] == nil {
			f, err := openFIFO(c, n.log)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			next[i] = f
		}
		next[i].startScript(n.exec)
		n.fifos = append(n.fifos, next[i])
	}
	return errors.Join(errs...)
}

// Notify starts the scripts for a change and writes its line to the FIFOs. It
// returns at once; the line may be there before the scripts run.
func (n *Notifier) Notify(c Change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	h := n.hooks[Object{c.Kind, c.Name}]
	own := h.own(c.State)
	if (c.State == MasterPriority || c.State == BackupPriority) && !h.TellPriority {
		return
	}
	if c.State == Deleted && !h.TellDeleted {
		c.State, own = Fault, nil
	}
	if own != nil {
		n.start(*own, nil)
	}
	if cmd := h.any(c.State); cmd != nil {
		n.start(*cmd, []string{c.Kind.String(), c.Name, c.State, strconv.Itoa(c.Priority)})
	}
	n.write(c)
	if h.Mail && n.mail != nil {
		n.mail(c)
	}
}

// write tells the FIFOs; the mutex is held.
func (n *Notifier) write(c Change) {
	line := c.Line()
	for _, f := range n.fifos {
		f.write(line)
	}
}

// Repeat writes the line of an unchanged state to the FIFOs and tells nobody
// else (fifo_write_vrrp_states_on_reload).
func (n *Notifier) Repeat(c Change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.write(c)
}

// start runs one notify script; the mutex is held.
func (n *Notifier) start(cmd script.Command, extra []string) {
	r := n.exec.Start(cmd, extra, 0, func(res script.Result) {
		switch {
		case res.Stopped:
		case res.Err != nil:
			n.log.Error("notify script cannot run", "script", cmd.Line, "err", res.Err)
		case !res.OK():
			n.log.Debug("notify script failed", "script", cmd.Line, "result", res.String())
		}
	})
	n.running[r] = struct{}{}
	go func() {
		<-r.Ended()
		n.mu.Lock()
		delete(n.running, r)
		n.mu.Unlock()
	}()
}

// Flush waits until every notify script started so far has ended, or ctx is
// done, whose error it then returns. It does not wait for scripts that read
// FIFOs.
func (n *Notifier) Flush(ctx context.Context) error {
	n.mu.Lock()
	runs := make([]*script.Run, 0, len(n.running))
	for r := range n.running {
		runs = append(runs, r)
	}
	n.mu.Unlock()
	for _, r := range runs {
		select {
		case <-r.Ended():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Dropped is the number of lines that full FIFOs have lost since they were
// opened.
func (n *Notifier) Dropped() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	var sum uint64
	for _, f := range n.fifos {
		sum += f.dropped
	}
	return sum
}

// Close tells nothing from then on. It closes the FIFOs, which ends their
// readers once they have read what is in them, and removes those that it
// made. Scripts that read FIFOs have until ctx is done to end by themselves;
// then they are sent SIGTERM. Notify scripts are left to the Executor.
func (n *Notifier) Close(ctx context.Context) {
	n.mu.Lock()
	fifos := n.fifos
	n.fifos, n.closed = nil, true
	n.mu.Unlock()
	for _, f := range fifos {
		f.close()
	}
	for _, f := range fifos {
		if f.run == nil {
			continue
		}
		select {
		case <-f.run.Ended():
		case <-ctx.Done():
			f.stopScript()
		}
	}
}
