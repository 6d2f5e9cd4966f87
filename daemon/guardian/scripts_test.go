package guardian

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keepmesh/keepmesh/daemon/settings"
)

// lone is a guardian without children, with a script of this text.
func lone(t *testing.T, text string, limit time.Duration) (g *Guardian, once *settings.Once, out string) {
	t.Helper()
	dir := t.TempDir()
	path, out := filepath.Join(dir, "s.sh"), filepath.Join(dir, "out")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+strings.ReplaceAll(text, "OUT", out)+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	g = &Guardian{log: slog.New(slog.DiscardHandler), version: &Version{}}
	g.version.Cluster.ScriptUser = fmt.Sprint(os.Geteuid())
	return g, &settings.Once{Command: settings.Command{Line: path, Args: []string{path, "one", "two words"}}, Timeout: limit}, out
}

func TestStartupScriptRunsToItsEnd(t *testing.T) {
	g, once, out := lone(t, `echo "$# $1 $2" >OUT; exit 3`, time.Minute)
	g.version.Startup = once
	if !g.startupScript(t.Context(), nil) {
		t.Error("a failed script keeps the daemon from starting")
	}
	if b, err := os.ReadFile(out); string(b) != "2 one two words\n" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestScriptsThatHangAreKilledAtTheirTimeout(t *testing.T) {
	g, once, out := lone(t, `echo $$ >OUT; sleep 1000`, 50*time.Millisecond)
	g.version.Shutdown = once
	g.shutdownScript()
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/" + strings.TrimSpace(string(b))); err == nil {
		t.Error("the script lives on")
	}
}

func TestSIGTERMDuringTheStartupScriptEndsBoth(t *testing.T) {
	g, once, out := lone(t, `echo $$ >OUT; sleep 1000`, time.Hour)
	g.version.Startup = once
	signals := make(chan os.Signal, 2)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if b, _ := os.ReadFile(out); len(b) > 0 {
				signals <- syscall.SIGHUP // means nothing yet
				signals <- syscall.SIGTERM
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if g.startupScript(ctx, signals) || ctx.Err() != nil {
		t.Error("SIGTERM did not end the start")
	}
	b, _ := os.ReadFile(out)
	if _, err := os.Stat("/proc/" + strings.TrimSpace(string(b))); err == nil {
		t.Error("the script lives on")
	}
}

func TestAScriptThatIsMissingIsPassedOver(t *testing.T) {
	g, _, _ := lone(t, "", time.Second)
	g.version.Startup = &settings.Once{Command: settings.Command{Line: "/no/such", Args: []string{"/no/such"}}, Timeout: time.Second}
	if !g.startupScript(t.Context(), nil) {
		t.Error("the daemon does not start")
	}
}

func TestScriptSecurityDisablesWhatOthersCanChange(t *testing.T) {
	g, once, out := lone(t, `echo ran >OUT`, time.Minute)
	if err := os.Chmod(once.Command.Args[0], 0o777); err != nil {
		t.Fatal(err)
	}
	g.version.Startup, g.version.Cluster.ScriptSecurity = once, true
	g.startupScript(t.Context(), nil)
	if _, err := os.Stat(out); err == nil && os.Geteuid() == 0 {
		t.Error("it ran")
	}
	g.version.Cluster.ScriptSecurity = false
	g.startupScript(t.Context(), nil)
	if _, err := os.Stat(out); err != nil {
		t.Error("it did not run:", err)
	}
}
