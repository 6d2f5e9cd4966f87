// Package node is the composition root of the first process: it turns command
// line options into a running guardian.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/daemon/guardian"
	"github.com/keepmesh/keepmesh/daemon/sdnotify"
	"github.com/keepmesh/keepmesh/daemon/settings"
	"github.com/keepmesh/keepmesh/daemon/translate"
	"github.com/keepmesh/keepmesh/netif"
)

// Options are what the command line says.
type Options struct {
	ConfigFile string
	MeshFile   string // empty: plain keepalived
	NodeID     string // of @id lines; empty: the host name, or the mesh's node_name
	RunDir     string // empty: DefaultRunDir

	PIDFile, VRRPPIDFile, ClusterPIDFile string

	NoRespawn bool
	NoVRRP    bool // -C
	KeepVIPs  bool // -V
	Env       []string
	Log       *slog.Logger
	Ready     func()
	Manager   *sdnotify.Notifier
}

// Exit codes, as keepalived has them.
const (
	ExitOK         = 0
	ExitFatal      = 1
	ExitConfig     = 2
	ExitPermission = 4
	ExitNoConfig   = 6
)

// ErrConfig marks an error of the configuration, ErrPermission one of rights.
var (
	ErrConfig     = errors.New("configuration")
	ErrNoConfig   = errors.New("no configuration file")
	ErrPermission = errors.New("not permitted")
)

// ExitCode maps Run's error to the exit code of the daemon.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, ErrNoConfig):
		return ExitNoConfig
	case errors.Is(err, ErrConfig), errors.Is(err, guardian.ErrContradiction):
		return ExitConfig
	case errors.Is(err, ErrPermission):
		return ExitPermission
	}
	return ExitFatal
}

// DefaultRunDir is /run/keepmesh, or a directory of its own for a daemon in
// another network namespace than process 1, so that several share one /run.
func DefaultRunDir() string {
	const base = "/run/keepmesh"
	self, err1 := os.Readlink("/proc/self/ns/net")
	first, err2 := os.Readlink("/proc/1/ns/net")
	if err1 != nil || err2 != nil || self == first {
		return base
	}
	return filepath.Join(base, "ns-"+strings.Trim(strings.TrimPrefix(self, "net:"), "[]"))
}

// Run runs the daemon until it is told to stop.
func Run(ctx context.Context, opt Options) error {
	if err := permitted(); err != nil {
		return err
	}
	if opt.RunDir == "" {
		opt.RunDir = DefaultRunDir()
	}
	if err := os.MkdirAll(opt.RunDir, 0o755); err != nil {
		return fmt.Errorf("making the run directory: %w; give another with --run-dir", err)
	}
	l := &loader{opt: opt, log: opt.Log}
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	return guardian.Run(ctx, guardian.Options{
		Load: l.load, Purge: Purge, Program: exe, Env: opt.Env,
		PIDFile: opt.PIDFile, VRRPPIDFile: opt.VRRPPIDFile, ClusterPIDFile: opt.ClusterPIDFile,
		NoRespawn: opt.NoRespawn, Ready: opt.Ready, Manager: opt.Manager, Log: opt.Log,
	})
}

// permitted says early and once what would otherwise fail in ten places.
func permitted() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return nil // no way to know: let the kernel say it
	}
	var missing []string
	for _, c := range []struct {
		bit  uint
		name string
	}{{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {unix.CAP_NET_RAW, "CAP_NET_RAW"}} {
		if data[c.bit/32].Effective&(1<<(c.bit%32)) == 0 {
			missing = append(missing, c.name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("this user may not change addresses or open raw sockets (missing %s): run it as root, or give the service AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW: %w",
			strings.Join(missing, " and "), ErrPermission)
	}
	return nil
}

// loader reads and translates the two files.
type loader struct {
	opt Options
	log *slog.Logger
}

// load implements guardian.Options.Load. At start it goes on with whatever
// can be used, as keepalived does; on a reload any error keeps the running
// configuration, since the operator is there to correct it.
func (l *loader) load(reload bool) (*guardian.Version, error) {
	var mesh *config.Mesh
	if l.opt.MeshFile != "" {
		m, problems := config.LoadMesh(l.opt.MeshFile)
		l.report(problems)
		if worst, any := config.Worst(problems); m == nil || any && worst == config.Error {
			return nil, fmt.Errorf("%s cannot be used (%s): %w", l.opt.MeshFile, first(problems), ErrConfig)
		}
		mesh = m
	}
	node := l.opt.NodeID
	if node == "" && mesh != nil {
		node = mesh.NodeName
	}
	machine := config.Machine()
	machine.NodeID = node
	machine.Resolve = nil // a resolver that does not answer must not delay an address
	c, problems := config.Load(config.File(l.opt.ConfigFile), machine)
	l.report(problems)
	if c == nil {
		kind := ErrConfig
		if config.KeepalivedCode(problems) == 6 {
			kind = ErrNoConfig
		}
		return nil, fmt.Errorf("%s cannot be used (%s): %w", l.opt.ConfigFile, first(problems), kind)
	}
	if why := refuses(problems, reload); why != "" {
		return nil, fmt.Errorf("%s: %w", why, ErrConfig)
	}
	v := &guardian.Version{}
	var notes []string
	v.VRRP, notes = translate.VRRP(c, mesh)
	v.VRRP.KeepOnStop = l.opt.KeepVIPs
	if mesh != nil && mesh.Role == config.Witness && len(v.VRRP.Instances) > 0 {
		l.log.Warn("this node is a witness: it votes and never holds an address, its instances do not run")
	}
	if l.opt.NoVRRP || mesh != nil && mesh.Role == config.Witness {
		v.VRRP.Router.Instances, v.VRRP.Instances, v.VRRP.Router.Groups = nil, nil, nil
	}
	for _, n := range notes {
		l.log.Warn(n)
	}
	v.Cluster = translate.Cluster(c, mesh, node)
	v.Cluster.RunDir = l.opt.RunDir
	v.Summary = fmt.Sprintf("%s, %s", plural(len(v.VRRP.Instances), "instance"), plural(count(problems), "problem"))
	v.Startup, v.Shutdown = translate.Life(c)
	v.ChildWait = c.Global.ChildWaitTime
	if v.ChildWait <= 0 {
		v.ChildWait = 5 * time.Second
	}
	return v, nil
}

func (l *loader) report(problems []config.Problem) {
	for _, p := range problems {
		switch p.Severity {
		case config.Error:
			l.log.Error(p.String())
		case config.Warning:
			l.log.Warn(p.String())
		case config.Note:
			l.log.Info(p.String())
		}
	}
}

// refuses names the problem for which the text is not taken: at start only
// what keepalived stops at too, on a reload any error but a missing interface,
// which may come later.
func refuses(problems []config.Problem, reload bool) string {
	for _, p := range problems {
		fatal := p.Code == config.Fatal || p.Code == config.MissingArgument || p.Code == config.NoConfigFile
		if fatal || reload && p.Severity == config.Error && p.Code != config.NoInterface {
			return p.String()
		}
	}
	return ""
}

func first(problems []config.Problem) string {
	for _, p := range problems {
		if p.Severity == config.Error {
			return p.String()
		}
	}
	if len(problems) > 0 {
		return problems[0].String()
	}
	return "no reason known"
}

// count leaves notes out: a keyword without effect yet is no problem.
func count(problems []config.Problem) (n int) {
	for _, p := range problems {
		if p.Severity != config.Note {
			n++
		}
	}
	return n
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// Purge removes from the kernel what the instances of v would hold. An
// address owner's addresses are its interface's own and stay.
func Purge(v *settings.VRRP) (int, error) {
	k, err := netif.New(slog.New(slog.DiscardHandler))
	if err != nil {
		return 0, err
	}
	defer k.Close()
	var total int
	var errs []error
	for i := range v.Instances {
		inst := &v.Instances[i]
		for _, made := range inst.Virtuals {
			if there, err := k.DelVirtual(made); err != nil {
				errs = append(errs, err)
			} else if there {
				total++
			}
		}
		if v.Router.Instances[i].Priority == 255 {
			continue
		}
		n, err := k.Purge(inst.Addresses(), inst.Routes, inst.Rules...)
		total += n
		errs = append(errs, err)
	}
	return total, errors.Join(errs...)
}

// PurgeFile is Purge for what a configuration file says.
func PurgeFile(path, nodeID string) (int, error) {
	c, problems := config.Load(config.File(path), config.Options{NodeID: nodeID, Env: os.Getenv})
	if c == nil {
		return 0, fmt.Errorf("%s cannot be used (%s): %w", path, first(problems), ErrConfig)
	}
	v, _ := translate.VRRP(c, nil)
	return Purge(&v)
}
