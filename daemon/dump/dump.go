package dump

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/daemon/ipc"
)

// Env is what a dump tells of the host. The zero value is usable: names are
// empty, users are root, no interface is listed.
type Env struct {
	// Hostname stands for an absent router_id and smtp_helo_name, and behind
	// the @ of an absent notification_email_from.
	Hostname string
	// Username stands before that @; empty is root.
	Username string
	// Version is libnftnl's version as keepalived reports it; empty is that of
	// Debian 12's keepalived 2.2.7, which is 1.2.3.
	Version string
	// Location gives the zone of written times; nil is time.Local.
	Location *time.Location
	// Interfaces are the host's, in the order of their indexes.
	Interfaces []Interface
	// User looks up the ids of a script's user and group; an empty group is
	// the user's own. False says that there is no such user. Nil finds
	// everybody and says 0:0.
	User func(user, group string) (uid, gid uint32, ok bool)
	// Executable gives the path that keepalived would run for the first word
	// of a script: found in PATH, symbolic links followed. Empty says that
	// it cannot be run: keepalived forgets such a script, and the dump leaves
	// it out. Nil leaves the word as written.
	Executable func(path string) string
	// Resolve gives the address of a mail relay's name. Empty says that it has
	// none: keepalived then has no relay. Nil resolves nothing.
	Resolve func(host string) string
	// FileValue gives the last value read from a track_file; nil is 0.
	FileValue func(name string) int64
	// Running says whether a vrrp_script runs at the moment; nil is no.
	Running func(name string) bool
}

// Data writes keepalived.data.
func Data(w io.Writer, c *config.Config, s *ipc.Snapshot, env Env) error {
	d := newDumper(w, c, s, env)
	d.globals()
	d.garpGroups()
	d.statics()
	d.instances()
	d.sockets()
	d.groups()
	d.scripts()
	d.trackFiles()
	d.trackProcesses()
	d.trackBFDs()
	d.interfaces()
	return d.flush()
}

// dumper writes one file. Write errors are kept by the bufio.Writer and come
// out of flush.
type dumper struct {
	w        *bufio.Writer
	c        *config.Config
	s        *ipc.Snapshot
	env      Env
	tracking map[string]config.Tracking
}

func newDumper(w io.Writer, c *config.Config, s *ipc.Snapshot, env Env) *dumper {
	if s == nil {
		s = &ipc.Snapshot{}
	}
	if env.Location == nil {
		env.Location = time.Local
	}
	if env.Username == "" {
		env.Username = "root"
	}
	if env.Version == "" {
		env.Version = "1.2.3"
	}
	d := &dumper{w: bufio.NewWriter(w), c: c, s: s, env: env, tracking: map[string]config.Tracking{}}
	for _, i := range c.Instances {
		d.tracking[i.Name] = d.effectiveTracking(i)
	}
	return d
}

func (d *dumper) flush() error {
	if err := d.w.Flush(); err != nil {
		return fmt.Errorf("writing a dump: %w", err)
	}
	return nil
}

func (d *dumper) line(format string, args ...any) {
	fmt.Fprintf(d.w, format, args...)
	d.w.WriteByte('\n')
}

// status finds an instance in the snapshot. One that is not there yet is shown
// as keepalived shows an instance that it has only read.
func (d *dumper) status(i *config.Instance) *ipc.InstanceStatus {
	for n := range d.s.Instances {
		if d.s.Instances[n].Name == i.Name {
			return &d.s.Instances[n]
		}
	}
	return &ipc.InstanceStatus{Name: i.Name, State: "INIT", Priority: i.Priority, Effective: i.Priority}
}

// stamp writes a time as keepalived does: seconds, microseconds and ctime(3).
// The zero time is the epoch.
func (d *dumper) stamp(t time.Time) string {
	sec, usec := epoch(t)
	return fmt.Sprintf("%d.%06d (%s)", sec, usec, time.Unix(sec, usec*1000).In(d.env.Location).Format("Mon Jan _2 15:04:05.000000 2006"))
}

func epoch(t time.Time) (sec, usec int64) {
	if t.IsZero() {
		return 0, 0
	}
	return t.Unix(), int64(t.Nanosecond() / 1000)
}

// command writes a script in the quoting of keepalived. A leading redirection,
// which only tests for a file, stays bare.
func (d *dumper) command(s *config.ScriptSpec) string {
	var b strings.Builder
	for n, a := range s.Args {
		switch {
		case n > 0:
			b.WriteString(" '" + a + "'")
		case strings.HasPrefix(a, "<"), strings.HasPrefix(a, ">"):
			b.WriteString(a)
		default:
			if d.env.Executable != nil {
				a = d.env.Executable(a)
			}
			b.WriteString("'" + a + "'")
		}
	}
	return b.String()
}

// owner gives the ids under which a script runs.
func (d *dumper) owner(s *config.ScriptSpec) (uid, gid uint32) {
	user, group := s.User, s.Group
	if user == "" {
		uid, gid, _ = d.defaultOwner()
		return uid, gid
	}
	uid, gid, _ = d.lookup(user, group)
	return uid, gid
}

// defaultOwner is script_user, or keepalived_script where there is such a
// user, or root; false where there is no such user, and with
// enable_script_security no root in its place.
func (d *dumper) defaultOwner() (uid, gid uint32, ok bool) {
	if u := d.c.Global.ScriptUser; u != "" {
		return d.lookup(u, d.c.Global.ScriptGroup)
	}
	if uid, gid, ok = d.lookup("keepalived_script", ""); ok && d.env.User != nil {
		return uid, gid, ok
	}
	return 0, 0, d.env.User == nil || !d.c.Global.ScriptSecurity
}

func (d *dumper) lookup(user, group string) (uid, gid uint32, ok bool) {
	if d.env.User == nil {
		return 0, 0, true
	}
	return d.env.User(user, group)
}

// runs says whether keepalived keeps a script: not one that cannot be run.
func (d *dumper) runs(s *config.ScriptSpec) bool {
	if s == nil || d.env.Executable == nil || len(s.Args) == 0 {
		return s != nil
	}
	word := s.Args[0]
	return strings.HasPrefix(word, "<") || strings.HasPrefix(word, ">") || d.env.Executable(word) != ""
}

func (d *dumper) notify(kind string, s *config.ScriptSpec) {
	if !d.runs(s) {
		return
	}
	uid, gid := d.owner(s)
	d.line("   %s state transition script = %s, uid:gid %d:%d", kind, d.command(s), uid, gid)
}

func seconds(t time.Duration) int64 { return int64(t / time.Second) }

// choose is C's conditional operator.
func choose(cond bool, yes, no string) string {
	if cond {
		return yes
	}
	return no
}

func toggle(p *bool) string {
	if p == nil {
		return "unset"
	}
	return choose(*p, "on", "off")
}

// general formats as C's %g: six significant digits, no trailing zeros, and
// an exponent from 1e6 on and below 1e-4.
func general(v float64) string {
	if a := math.Abs(v); v == 0 || a >= 1e-4 && a < 999999.5 {
		s := fmt.Sprintf("%.*f", max(0, 5-int(math.Floor(math.Log10(max(a, 1e-4))))), v)
		if strings.Contains(s, ".") {
			s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
		}
		return s
	}
	return fmt.Sprintf("%.6g", v)
}
