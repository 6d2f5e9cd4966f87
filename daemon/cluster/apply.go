package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"reflect"
	"strconv"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/daemon/ipc"
	"github.com/keepmesh/keepmesh/daemon/mail"
	"github.com/keepmesh/keepmesh/daemon/notify"
	"github.com/keepmesh/keepmesh/daemon/script"
	"github.com/keepmesh/keepmesh/daemon/settings"
	"github.com/keepmesh/keepmesh/daemon/track"
)

// offer is a prepared generation: everything that can fail has been done.
type offer struct {
	gen     int
	cfg     settings.Cluster
	model   *config.Config
	mesh    *meshNode // a new one, made but not started
	api     *server
	scripts []track.ScriptConfig
	broken  []broken
	files   []track.FileConfig
	procs   []track.ProcessConfig
	notify  notify.Config
	mail    mail.Config
}

// broken is a tracked script that cannot run: it counts as failed, and status
// says why.
type broken struct{ id, why string }

func (p *process) prepare(gen int, file *os.File) error {
	if file == nil {
		return errors.New("no configuration came with the request")
	}
	o := &offer{gen: gen}
	if err := ipc.ReadMemfile(file, &o.cfg); err != nil {
		return err
	}
	o.model, _ = config.Load(o.cfg.Bundle, config.Options{NodeID: o.cfg.NodeID, Env: os.Getenv})
	p.prepareScripts(o)
	p.prepareNotify(o)
	if p.api == nil {
		api, err := listenAPI(p, o.cfg.RunDir)
		if err != nil {
			return err
		}
		o.api = api
	}
	if o.cfg.Mesh != nil && p.mesh == nil {
		m, err := newMeshNode(p, o.cfg.Mesh)
		if err != nil {
			o.api.close()
			return err
		}
		o.mesh = m
	}
	p.discard()
	p.offered = o
	return nil
}

// discard drops an offer that was never committed.
func (p *process) discard() {
	if p.offered != nil {
		p.offered.api.close()
		p.offered.mesh.stop()
		p.offered = nil
	}
}

func (p *process) prepareScripts(o *offer) {
	for _, s := range o.cfg.Scripts {
		c, err := p.resolve(o, &s.Command)
		if err != nil {
			p.log.Error("a check cannot run and counts as failed", "check", s.Name, "err", err)
			o.broken = append(o.broken, broken{s.ID, err.Error()})
			continue
		}
		o.scripts = append(o.scripts, track.ScriptConfig{
			ID: s.ID, Command: *c, Interval: s.Interval, Timeout: s.Timeout, Rise: s.Rise, Fall: s.Fall, InitFail: s.InitFail,
		})
	}
	for _, f := range o.cfg.Files {
		o.files = append(o.files, track.FileConfig{ID: f.ID, Path: f.Path})
	}
	for _, x := range o.cfg.Processes {
		pc := track.ProcessConfig{
			ID: x.ID, Args: x.Args, FullCommand: x.Full || x.Match != config.ParamNone, Quorum: x.Quorum, QuorumMax: x.Max,
			ForkDelay: x.ForkDelay, TerminateDelay: x.TerminateDelay,
		}
		switch x.Match {
		case config.ParamInitial:
			pc.Match = track.Initial
		case config.ParamPartial:
			pc.Match = track.Partial
		case config.ParamNone, config.ParamExact:
			pc.Match = track.Exact
		}
		o.procs = append(o.procs, pc)
	}
}

// resolve finds a script's program and account. A script that others than root
// could change is run nevertheless, with a warning, unless
// enable_script_security is set: then it is not run.
func (p *process) resolve(o *offer, c *settings.Command) (*script.Command, error) {
	cmd, err := script.Command{Line: c.Line, Args: c.Args, User: c.User, Group: c.Group}.Resolve(
		script.Defaults{User: o.cfg.ScriptUser, Group: o.cfg.ScriptGroup})
	if err != nil {
		return nil, err
	}
	if err := cmd.Check(); err != nil {
		if o.cfg.ScriptSecurity {
			return nil, err
		}
		p.log.Warn("SECURITY VIOLATION: the script runs all the same, since enable_script_security is not set", "script", c.Line, "err", err)
	}
	return &cmd, nil
}

func (p *process) prepareNotify(o *offer) {
	o.notify.Hooks = map[notify.Object]notify.Hooks{}
	one := func(c *settings.Command) *script.Command {
		if c == nil {
			return nil
		}
		cmd, err := p.resolve(o, c)
		if err != nil {
			p.log.Error("a notify script is disabled", "err", err)
			return nil
		}
		return cmd
	}
	for _, h := range o.cfg.Hooks {
		kind := notify.Instance
		if h.Kind == string(ipc.Group) {
			kind = notify.Group
		}
		o.notify.Hooks[notify.Object{Kind: kind, Name: h.Name}] = notify.Hooks{
			Master: one(h.Master), Backup: one(h.Backup), Fault: one(h.Fault), Stop: one(h.Stop), Any: one(h.Any),
			MasterRxLowerPri: one(h.MasterRxLowerPri), Deleted: one(h.Deleted), TellDeleted: h.Deleted != nil || h.DeletedBare,
			Mail: h.Mail, TellPriority: h.TellPriority,
		}
	}
	o.mail, o.notify.Mail = p.mailing(o.cfg.Mail)
	for _, f := range o.cfg.FIFOs {
		fc := notify.FIFOConfig{Path: f.Path, Script: one(f.Script)}
		uid, gid, err := account(f.User, f.Group)
		if err != nil {
			p.log.Error("the FIFO gets the daemon's own user", "fifo", f.Path, "err", err)
		}
		fc.UID, fc.GID = uid, gid
		o.notify.FIFOs = append(o.notify.FIFOs, fc)
	}
}

// account looks a user and a group up; empty names give nil.
func account(name, group string) (uid, gid *uint32, err error) {
	number := func(text string) *uint32 {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil
		}
		v := uint32(n)
		return &v
	}
	if name == "" {
		return nil, nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, nil, fmt.Errorf("%w; create the user or name another", err)
	}
	uid, gid = number(u.Uid), number(u.Gid)
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			return uid, gid, fmt.Errorf("%w; create the group or name another", err)
		}
		gid = number(g.Gid)
	}
	return uid, gid, nil
}

func (p *process) commit(gen int) {
	if p.offered == nil || p.offered.gen != gen {
		return
	}
	o := p.offered
	p.offered = nil
	first := p.model == nil
	if !first && !reflect.DeepEqual(p.cfg.Mesh, o.cfg.Mesh) {
		p.log.Warn("mesh.conf has changed: restart the daemon to put it into force")
		p.happened("config", "", "mesh.conf has changed: restart the daemon to put it into force")
	}
	// The hooks of what this reload removes are still needed for its last word.
	for object, hooks := range p.lastHooks {
		if _, stays := o.notify.Hooks[object]; !stays {
			o.notify.Hooks[object] = hooks
		}
	}
	p.lastHooks = o.notify.Hooks
	if err := p.notifier.Apply(o.notify); err != nil {
		p.log.Error("a FIFO cannot be used", "err", err)
	}
	p.mails.Apply(o.mail)
	p.repeat = !first && o.cfg.StatesOnReload
	p.cfg, p.model = o.cfg, o.model
	p.hash.Store(configHash(&o.cfg.Bundle))
	if o.mesh != nil {
		p.mesh = o.mesh
		p.node = o.cfg.Mesh.NodeName
	}
	// The API reads what stands above without a lock: it begins after it.
	if o.api != nil {
		p.api = o.api
		p.api.start()
	}
	if o.mesh != nil {
		p.mesh.start()
	}
	p.scripts.Apply(o.scripts)
	p.applyWatched(o)
	p.broken = o.broken
	p.announceBroken()
	p.answer(&ipc.Message{Committed: &ipc.Committed{Gen: gen}})
}

func (p *process) announceBroken() {
	for _, b := range p.broken {
		p.tell(&ipc.Message{Tracker: &ipc.Tracker{ID: b.id, State: "down", Cause: b.why}})
	}
}

// applyWatched starts the watchers of files and processes with the first of
// each.
func (p *process) applyWatched(o *offer) {
	if p.procs == nil && len(o.procs) > 0 {
		p.procs = track.NewProcesses(0, p.log, p.scriptChanged)
	}
	if p.procs != nil {
		p.procs.Apply(o.procs)
	}
	if p.files == nil {
		if len(o.files) == 0 {
			return
		}
		files, err := track.NewFiles(p.log, func(id string, value int, cause string) {
			p.jobs <- func() {
				p.tell(&ipc.Message{Tracker: &ipc.Tracker{ID: id, State: "up", Value: value, Cause: cause}})
			}
		})
		if err != nil {
			p.log.Error("tracked files cannot be watched", "err", err)
			return
		}
		p.files = files
	}
	p.files.Apply(o.files)
}

// announceWatched repeats everything that a new vrrp process must know.
func (p *process) announceWatched() {
	p.announceBroken()
	if p.files != nil {
		p.files.Announce()
	}
	if p.procs != nil {
		p.procs.Announce()
	}
}

func (p *process) closeWatched() {
	if p.files != nil {
		p.files.Close()
	}
	if p.procs != nil {
		p.procs.Close()
	}
}
