package cluster

import (
	"os"
	"os/user"

	"github.com/keepmesh/keepmesh/daemon/ipc"
	"github.com/keepmesh/keepmesh/daemon/mail"
	"github.com/keepmesh/keepmesh/daemon/notify"
	"github.com/keepmesh/keepmesh/daemon/settings"
)

// mailing gives the queue's configuration, with this machine's names where the
// text gives none, and what makes a mail of a change.
func (p *process) mailing(s settings.Mail) (mail.Config, func(notify.Change)) {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	if s.RouterID == "" {
		s.RouterID = host
	}
	if s.Helo == "" {
		s.Helo = host
	}
	if s.From == "" {
		name := "root"
		if u, err := user.Current(); err == nil {
			name = u.Username
		}
		s.From = name + "@" + host
	}
	return mail.Config{Server: s.Server, Timeout: s.Timeout, Helo: s.Helo, From: s.From, To: s.To}, func(c notify.Change) {
		if s.NoFaults && c.State == notify.Fault {
			return
		}
		if m, ok := mail.VRRP(s.RouterID, c.Kind == notify.Group, c.Name, c.State); ok {
			p.mails.Send(m)
		}
	}
}

// repeatStates writes all states to the FIFOs (fifo_write_vrrp_states_on_reload):
// instances first, then groups. snap is one that the vrrp process made after it
// had taken the reload; what has just begun is told as a transition.
func (p *process) repeatStates(snap *ipc.Snapshot) {
	tell := func(kind notify.Kind, name, state string, priority int) {
		if state != "INIT" {
			p.notifier.Repeat(notify.Change{Kind: kind, Name: name, State: state, Priority: priority})
		}
	}
	for n := range snap.Instances {
		tell(notify.Instance, snap.Instances[n].Name, snap.Instances[n].State, snap.Instances[n].Effective)
	}
	for n := range snap.Groups {
		tell(notify.Group, snap.Groups[n].Name, snap.Groups[n].State, 0)
	}
}
