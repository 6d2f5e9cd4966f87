package guardian

import (
	"context"
	"os"
	"syscall"
	"time"

	"github.com/keepmesh/keepmesh/daemon/script"
	"github.com/keepmesh/keepmesh/daemon/settings"
)

// killTime is what a script has beyond its timeout until its SIGKILL has
// worked; one that hangs in the kernel is left behind.
const killTime = 5 * time.Second

// startupScript runs startup_script to its end, whatever that is (keepalived
// starts even where the script failed). False says that the daemon was told to
// stop meanwhile.
func (g *Guardian) startupScript(ctx context.Context, signals <-chan os.Signal) bool {
	return g.once("startup_script", g.version.Startup, ctx.Done(), signals)
}

// shutdownScript runs shutdown_script when both processes have ended. A further
// SIGTERM does not end it: its timeout does.
func (g *Guardian) shutdownScript() {
	g.once("shutdown_script", g.version.Shutdown, nil, nil)
}

// once runs one script and waits for it. A script that cannot run is named and
// passed over.
func (g *Guardian) once(what string, s *settings.Once, done <-chan struct{}, signals <-chan os.Signal) bool {
	if s == nil {
		return true
	}
	log := g.log.With("script", s.Command.Line)
	cmd, err := g.resolve(&s.Command)
	if err != nil {
		log.Error("the "+what+" is not run", "err", err)
		return true
	}
	exec, err := script.New(script.Options{Log: g.log})
	if err != nil {
		log.Error("the "+what+" is not run", "err", err)
		return true
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), killTime)
		defer cancel()
		_ = exec.Close(ctx)
	}()
	log.Info("running the " + what)
	run := exec.Start(cmd, nil, s.Timeout, nil)
	limit := time.NewTimer(s.Timeout + killTime)
	defer limit.Stop()
	for {
		select {
		case <-run.Ended():
			if r := run.Result(); !r.OK() {
				log.Warn("the "+what+" failed", "result", r.String())
			}
			return true
		case <-limit.C:
			log.Error("the " + what + " does not end and is left behind")
			return true
		case <-done:
			return false
		case sig := <-signals:
			if sig == syscall.SIGTERM || sig == syscall.SIGINT {
				log.Info("stopping before the start, as told", "signal", sig.String())
				return false
			}
		}
	}
}

// resolve finds the program and its account, as for every other script: what
// others than root could change runs only without enable_script_security.
func (g *Guardian) resolve(c *settings.Command) (script.Command, error) {
	v := &g.version.Cluster
	cmd, err := script.Command{Line: c.Line, Args: c.Args, User: c.User, Group: c.Group}.Resolve(
		script.Defaults{User: v.ScriptUser, Group: v.ScriptGroup})
	if err != nil {
		return cmd, err
	}
	if err := cmd.Check(); err != nil {
		if v.ScriptSecurity {
			return cmd, err
		}
		g.log.Warn("SECURITY VIOLATION: the script runs all the same, since enable_script_security is not set", "script", c.Line, "err", err)
	}
	return cmd, nil
}
