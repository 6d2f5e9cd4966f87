package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// configRun runs `keepmesh config ARGS` and gives its exit code and what it
// prints.
func configRun(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd := configCommand()
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&errOut)
	if err := cmd.Execute(); err != nil {
		code = 1
		var exit exitError
		if errors.As(err, &exit) {
			code = exit.code
		}
		errOut.WriteString(err.Error())
	}
	return code, out.String(), errOut.String()
}

func configFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "k.conf")
	if err := os.WriteFile(name, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	return name
}

const (
	untidyConf = "vrrp_instance A\n{\ninterface   eth0 # why\nvirtual_router_id 1\nvirtual_ipaddress { 10.0.0.1/24 }\n}\n"
	tidyConf   = "vrrp_instance A {\n    interface eth0 # why\n    virtual_router_id 1\n    virtual_ipaddress {\n        10.0.0.1/24\n    }\n}\n"
)

func TestConfigFmtPrintsOrWritesBack(t *testing.T) {
	t.Parallel()
	name := configFile(t, untidyConf)
	code, out, _ := configRun(t, "fmt", name)
	if diff := cmp.Diff(tidyConf, out); code != 0 || diff != "" {
		t.Errorf("code %d, (-want +got):\n%s", code, diff)
	}
	if text, _ := os.ReadFile(name); string(text) != untidyConf {
		t.Error("without -w the file was changed")
	}
	link := name + ".link"
	if err := os.Symlink(name, link); err != nil {
		t.Fatal(err)
	}
	if code, out, _ = configRun(t, "fmt", "-w", link); code != 0 || out != "" {
		t.Errorf("-w ends with %d and prints %q", code, out)
	}
	text, _ := os.ReadFile(name)
	if diff := cmp.Diff(tidyConf, string(text)); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
	if st, err := os.Lstat(link); err != nil || st.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", st, err)
	}
	if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("the mode is %v, %v", st.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(name), ".*")); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

func TestConfigDiffTellsByItsCode(t *testing.T) {
	t.Parallel()
	a, b := configFile(t, untidyConf), configFile(t, tidyConf)
	if code, out, _ := configRun(t, "diff", a, b); code != 0 || out != "" {
		t.Errorf("equal files: code %d, %q", code, out)
	}
	c := configFile(t, strings.Replace(tidyConf, "10.0.0.1", "10.0.0.2", 1))
	want := "- vrrp_instance A: virtual_ipaddress 10.0.0.1/24\n+ vrrp_instance A: virtual_ipaddress 10.0.0.2/24\n"
	if code, out, _ := configRun(t, "diff", a, c); code != 1 || out != want {
		t.Errorf("other files: code %d, %q", code, out)
	}
	if code, _, stderr := configRun(t, "diff", a, a+".absent"); code != 2 || !strings.Contains(stderr, ".absent") {
		t.Errorf("an absent file: code %d, %q", code, stderr)
	}
	if code, out, _ := configRun(t, "diff", "--json", a, b); code != 0 || strings.TrimSpace(out) != "[]" {
		t.Errorf("as JSON: code %d, %q", code, out)
	}
}

func TestConfigShowEffectiveSpellsDefaultsOut(t *testing.T) {
	t.Parallel()
	name := configFile(t, "$VIP=10.0.0.1/24\n@lb2 vrrp_script x { }\n"+strings.Replace(tidyConf, "10.0.0.1/24", "$VIP", 1))
	code, out, _ := configRun(t, "show", "--effective", "--node", "lb1", name)
	for _, want := range []string{"    priority 100\n", "    advert_int 1\n", "        10.0.0.1/24\n", "    vrrp_garp_master_delay 5\n"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("code %d, no %q in\n%s", code, want, out)
		}
	}
	again := configFile(t, out)
	if code, out, _ := configRun(t, "diff", "--node", "lb1", name, again); code != 0 {
		t.Errorf("it differs from the file: %s", out)
	}
}
