package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/daemon/logsink"
	"github.com/keepmesh/keepmesh/daemon/node"
	"github.com/keepmesh/keepmesh/daemon/sdnotify"
)

// keepalivedFlags are keepalived's own options.
type keepalivedFlags struct {
	node           node.Options
	foreground     bool
	log            logOptions
	noSyslog       bool
	test           string // -t: "" off, "-" stderr, else a file
	showVersion    bool
	signum         string
	namespace      string
	vrrpOnly, lvs  bool
	help           bool
	ignored        []string
	facilityString string
}

// keepalivedMain is keepalived's command line. It exits with keepalived's codes.
func keepalivedMain(args []string) int {
	f, set, err := parseKeepalived(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "keepalived: "+err.Error()+"; see --help")
		return node.ExitFatal
	}
	switch {
	case f.help:
		fmt.Println("Usage: keepalived [OPTION...]   (keepmesh " + version + ")")
		fmt.Print(set.FlagUsages())
		return 0
	case f.showVersion:
		fmt.Fprintf(os.Stderr, "Keepalived (keepmesh %s)\n", version)
		return 0
	case f.signum != "":
		return printSignal(os.Stdout, f.signum)
	case f.test != "":
		return testConfig(f)
	}
	if !f.foreground && os.Getenv(backgroundVariable) == "" {
		return background()
	}
	return runDaemon(f)
}

func parseKeepalived(args []string) (*keepalivedFlags, *pflag.FlagSet, error) {
	f := &keepalivedFlags{}
	s := pflag.NewFlagSet("keepalived", pflag.ContinueOnError)
	s.SetOutput(io.Discard)
	s.SortFlags = false
	s.StringVarP(&f.node.ConfigFile, "use-file", "f", "/etc/keepalived/keepalived.conf", "the configuration file")
	s.BoolVarP(&f.vrrpOnly, "vrrp", "P", false, "only run the VRRP part")
	s.BoolVarP(&f.lvs, "check", "C", false, "only run the health checkers")
	s.BoolVarP(&f.log.Console, "log-console", "l", false, "log to the console")
	s.BoolVarP(&f.log.Detail, "log-detail", "D", false, "log in detail")
	s.StringVarP(&f.facilityString, "log-facility", "S", "", "syslog facility: 0-7, local0-local7, user or daemon")
	s.StringVarP(&f.log.File, "log-file", "g", "", "also log to FILE")
	s.Lookup("log-file").NoOptDefVal = "/tmp/keepalived.log"
	s.BoolVarP(&f.noSyslog, "no-syslog", "G", false, "do not log via syslog")
	s.BoolVarP(&f.node.KeepVIPs, "dont-release-vrrp", "V", false, "leave addresses and routes in place at the end")
	s.BoolVarP(&f.node.NoRespawn, "dont-respawn", "R", false, "do not start child processes again")
	s.BoolVarP(&f.foreground, "dont-fork", "n", false, "stay in the foreground")
	s.StringVarP(&f.node.PIDFile, "pid", "p", "", "pid file of the parent process")
	s.StringVarP(&f.node.VRRPPIDFile, "vrrp_pid", "r", "", "pid file of the vrrp process")
	s.StringVarP(&f.node.ClusterPIDFile, "checkers_pid", "c", "", "pid file of the cluster process")
	s.StringVarP(&f.namespace, "namespace", "s", "", "run in the network namespace NAME")
	s.StringVarP(&f.node.NodeID, "config-id", "i", "", "the id that @id lines are compared with (default: the host name)")
	s.StringVar(&f.signum, "signum", "", "print the number of the signal for STOP, RELOAD, DATA, STATS or JSON")
	s.StringVarP(&f.test, "config-test", "t", "", "check the configuration, report to stderr or LOG_FILE")
	s.Lookup("config-test").NoOptDefVal = "-"
	s.StringVar(&f.node.MeshFile, "mesh", "", "mesh.conf: join a mesh (keepmesh's own)")
	s.StringVar(&f.node.RunDir, "run-dir", "", "directory of the API socket (keepmesh's own; default "+node.DefaultRunDir()+")")
	s.BoolVarP(&f.showVersion, "version", "v", false, "print the version")
	s.BoolVarP(&f.help, "help", "h", false, "print this text")
	// Options whose subject does not exist here yet: they are named when used.
	for _, o := range []struct{ long, short, why string }{
		{"no_bfd", "B", "there is no BFD process"}, {"all", "", "all processes always run"},
		{"release-vips", "X", "addresses are always released"}, {"dont-release-ipvs", "I", "IPVS is not written yet"},
		{"dump-conf", "d", "see keepmesh check"}, {"snmp", "x", "SNMP is not served yet"}, {"core-dump", "m", "set the limit in the unit"},
		{"address-monitoring", "a", "address changes are always watched"}, {"all-config", "e", "missing includes are always reported"},
	} {
		s.BoolP(o.long, o.short, false, o.why+": no effect")
	}
	for _, o := range []struct{ long, short, why string }{
		{"bfd_pid", "b", "there is no BFD process"}, {"snmp-agent-socket", "A", "SNMP is not served yet"},
		{"umask", "u", "set UMask= in the unit"}, {"core-dump-pattern", "M", "set it by sysctl"},
	} {
		s.StringP(o.long, o.short, "", o.why+": no effect")
	}
	if err := s.Parse(args); err != nil {
		return nil, nil, err
	}
	if s.NArg() > 0 {
		return nil, nil, fmt.Errorf("unexpected argument %q", s.Arg(0))
	}
	s.Visit(func(x *pflag.Flag) {
		if strings.HasSuffix(x.Usage, ": no effect") {
			f.ignored = append(f.ignored, "--"+x.Name+": "+x.Usage)
		}
	})
	f.log.Syslog = !f.noSyslog
	if f.facilityString != "" {
		facility, err := logsink.ParseFacility(f.facilityString)
		if err != nil {
			return nil, nil, err
		}
		f.log.Facility = facility
	}
	f.node.NoVRRP = f.lvs && !f.vrrpOnly
	return f, s, f.defaults()
}

// defaults gives the pid files keepalived's names, or names of its own to a
// daemon in another network namespace than process 1.
func (f *keepalivedFlags) defaults() error {
	dir := "/run"
	if own := node.DefaultRunDir(); own != "/run/keepmesh" {
		dir = own
		if err := os.MkdirAll(dir, 0o755); err != nil && f.node.PIDFile == "" {
			return fmt.Errorf("making the directory of the pid files: %w; name them with -p, -r and -c", err)
		}
	}
	for _, x := range []struct {
		file *string
		name string
	}{{&f.node.PIDFile, "keepalived.pid"}, {&f.node.VRRPPIDFile, "vrrp.pid"}, {&f.node.ClusterPIDFile, "checkers.pid"}} {
		if *x.file == "" {
			*x.file = dir + "/" + x.name
		}
	}
	return nil
}

var signals = map[string]int{"STOP": 15, "RELOAD": 1, "DATA": 10, "STATS": 12, "JSON": 36}

func printSignal(w io.Writer, name string) int {
	n, ok := signals[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "keepalived: unknown signal function %q: STOP, RELOAD, DATA, STATS and JSON are known\n", name)
		return 1
	}
	fmt.Fprintln(w, n)
	return 0
}

// testConfig is -t.
func testConfig(f *keepalivedFlags) int {
	out := io.Writer(os.Stderr)
	if f.test != "-" {
		file, err := os.Create(f.test)
		if err != nil {
			fmt.Fprintln(os.Stderr, "keepalived: "+err.Error())
			return 1
		}
		defer file.Close()
		out = file
	}
	_, problems := config.Load(config.File(f.node.ConfigFile), machine(f.node.NodeID))
	for _, p := range problems {
		fmt.Fprintln(out, p.Severity.String()+": "+p.String())
	}
	return config.KeepalivedCode(problems)
}

// machine gives the options that check a configuration against this machine.
func machine(nodeID string) config.Options {
	opt := config.Machine()
	opt.NodeID = nodeID
	return opt
}

// runDaemon runs the daemon in this process.
func runDaemon(f *keepalivedFlags) int {
	sink, err := f.log.open("")
	if err != nil {
		fmt.Fprintln(os.Stderr, "keepalived: "+err.Error())
		return node.ExitFatal
	}
	defer sink.Close()
	log := sink.Logger()
	for _, x := range f.ignored {
		log.Warn(x)
	}
	if f.namespace != "" {
		if err := enterNamespace(f.namespace); err != nil {
			log.Error(err.Error())
			return node.ExitFatal
		}
	}
	f.node.Log, f.node.Env = log, f.log.environ()
	if f.node.Manager, err = sdnotify.FromEnv(); err != nil {
		log.Warn("cannot reach the service manager", "err", err)
	}
	f.node.Ready = tellStarter
	log.Info("keepmesh starts", "version", version, "config", f.node.ConfigFile)
	if err := node.Run(context.Background(), f.node); err != nil {
		log.Error("keepmesh ends: " + err.Error())
		if !f.log.Console && !errors.Is(err, context.Canceled) {
			fmt.Fprintln(os.Stderr, "keepmesh: "+err.Error())
		}
		return node.ExitCode(err)
	}
	log.Info("keepmesh has stopped")
	return 0
}
