package translate

import (
	"math"
	"net"
	"strconv"
	"time"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/daemon/settings"
)

// Cluster translates everything that the cluster process needs.
func Cluster(c *config.Config, mesh *config.Mesh, nodeID string) settings.Cluster {
	out := settings.Cluster{
		Bundle: c.Bundle, NodeID: nodeID, ScriptSecurity: c.Global.ScriptSecurity,
		ScriptUser: c.Global.ScriptUser, ScriptGroup: c.Global.ScriptGroup, Mesh: mesh,
		StatesOnReload: c.Global.FIFOStatesOnReload, Mail: mail(&c.Global),
	}
	tracked := map[string]bool{}
	mark := func(tr *config.Tracking) {
		for _, x := range tr.TrackScripts {
			tracked[string(scriptTracker(x.Name))] = true
		}
		for _, x := range tr.TrackFiles {
			tracked[string(fileTracker(x.Name))] = true
		}
		for _, x := range tr.TrackProcesses {
			tracked[string(processTracker(x.Name))] = true
		}
	}
	for _, i := range c.Instances {
		mark(&i.Tracking)
		h := hooks("INSTANCE", i.Name, &i.Notify)
		h.Mail, h.TellPriority = i.SMTPAlert, i.NotifyPriorityChanges
		out.Hooks = append(out.Hooks, h)
	}
	for _, g := range c.SyncGroups {
		mark(&g.Tracking)
		h := hooks("GROUP", g.Name, &g.Notify)
		h.Mail = g.SMTPAlert
		out.Hooks = append(out.Hooks, h)
	}
	for _, s := range c.Scripts {
		if id := string(scriptTracker(s.Name)); tracked[id] {
			out.Scripts = append(out.Scripts, settings.Script{
				ID: id, Name: s.Name, Command: *command(&s.Spec), Interval: s.Interval, Timeout: s.Timeout,
				Rise: s.Rise, Fall: s.Fall, InitFail: s.InitFail,
			})
		}
	}
	for _, f := range c.TrackFiles {
		if id := string(fileTracker(f.Name)); tracked[id] {
			out.Files = append(out.Files, settings.File{ID: id, Name: f.Name, Path: f.Path})
		}
	}
	for _, p := range c.TrackProcesses {
		if id := string(processTracker(p.Name)); tracked[id] {
			out.Processes = append(out.Processes, process(id, p))
		}
	}
	for _, f := range []config.FIFO{c.Global.NotifyFIFO, c.Global.VRRPNotifyFIFO} {
		if f.Path != "" {
			out.FIFOs = append(out.FIFOs, settings.FIFO{Path: f.Path, User: f.User, Group: f.Group, Script: command(f.Script)})
		}
	}
	return out
}

// Life translates startup_script and shutdown_script; nil where there is none.
func Life(c *config.Config) (startup, shutdown *settings.Once) {
	once := func(s *config.ScriptSpec, limit time.Duration) *settings.Once {
		if s == nil {
			return nil
		}
		return &settings.Once{Command: *command(s), Timeout: limit}
	}
	return once(c.Global.StartupScript, c.Global.StartupTimeout), once(c.Global.ShutdownScript, c.Global.ShutdownTimeout)
}

func mail(g *config.Global) settings.Mail {
	out := settings.Mail{
		Timeout: g.SMTPConnectTimeout, Helo: g.SMTPHelo, From: g.NotificationEmailFrom, To: g.NotificationEmail,
		RouterID: g.RouterID, NoFaults: g.NoEmailFaults,
	}
	if s := g.SMTPServer; s != nil {
		out.Server = net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
	}
	return out
}

func process(id string, p *config.TrackProcess) settings.Process {
	out := settings.Process{
		ID: id, Args: p.Process, Full: p.FullCommand, Match: p.Match, Quorum: p.Quorum,
		ForkDelay: p.ForkDelay, TerminateDelay: p.TerminateDelay,
	}
	if p.QuorumMax != math.MaxInt {
		out.Max = &p.QuorumMax
	}
	return out
}

func hooks(kind, name string, n *config.Notify) settings.Hooks {
	return settings.Hooks{
		Kind: kind, Name: name, Master: command(n.Master), Backup: command(n.Backup), Fault: command(n.Fault),
		Stop: command(n.Stop), Any: command(n.Any), MasterRxLowerPri: command(n.MasterRxLowerPri), Deleted: command(n.Deleted),
		DeletedBare: n.DeletedBare,
	}
}

func command(s *config.ScriptSpec) *settings.Command {
	if s == nil {
		return nil
	}
	return &settings.Command{Args: s.Args, Line: s.Line, User: s.User, Group: s.Group}
}
