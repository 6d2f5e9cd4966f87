package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepmesh/keepmesh/config"
)

func files(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %v, %v", pattern, names, err)
	}
	return names
}

func TestExamplesLoadOnBothNodes(t *testing.T) {
	interfaces := func() ([]string, error) { return []string{"lo", "eth0", "eth1"}, nil }
	for _, name := range files(t, "examples/*.conf") {
		var priorities []int
		for _, node := range []string{"lb1", "lb2"} {
			c, problems := config.Load(config.File(name), config.Options{NodeID: node, Interfaces: interfaces})
			for _, p := range problems {
				t.Errorf("on %s: %s", node, p)
			}
			if c == nil || len(c.Instances) == 0 {
				t.Fatalf("%s on %s has no vrrp_instance", name, node)
			}
			for _, i := range c.Instances {
				if len(i.VIPs) == 0 {
					t.Errorf("%s on %s: %s has no address", name, node, i.Name)
				}
				priorities = append(priorities, i.Priority)
			}
		}
		// A line for one node that is read on both, or on none, would not be a problem of the text.
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		half := len(priorities) / 2
		if strings.Contains(string(text), "priority 150") && fmt.Sprint(priorities[:half]) == fmt.Sprint(priorities[half:]) {
			t.Errorf("%s: both nodes have the priorities %v", name, priorities[:half])
		}
	}
}

func TestExampleOfAMeshLoadsOnEachNode(t *testing.T) {
	names := files(t, "examples/mesh/*.conf")
	if len(names) != 3 {
		t.Errorf("%d nodes, want 3", len(names))
	}
	seen := map[string]bool{}
	for _, name := range names {
		m, problems := config.LoadMesh(name)
		for _, p := range problems {
			t.Error(p)
		}
		if m == nil {
			t.Fatalf("%s gives nothing", name)
		}
		if want := strings.TrimSuffix(filepath.Base(name), ".conf"); m.NodeName != want || seen[m.Bind[0].String()] {
			t.Errorf("%s is of node %s at %s", name, m.NodeName, m.Bind[0])
		}
		seen[m.Bind[0].String()] = true
		if m.BootstrapExpect != len(names) || len(m.Join) != len(names) {
			t.Errorf("%s expects %d nodes and joins %v", name, m.BootstrapExpect, m.Join)
		}
	}
}

// unit reads the settings of a unit file, by section and name.
func unit(t *testing.T, name string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	settings, section := map[string][]string{}, ""
	for n, line := range strings.Split(string(text), "\n") {
		key, value, ok := strings.Cut(line, "=")
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[' && strings.HasSuffix(line, "]"):
			section = line[1 : len(line)-1]
		case !ok || section == "" || strings.TrimSpace(key) != key || strings.HasSuffix(line, "\\"):
			t.Errorf("%s:%d: %q is no setting", name, n+1, line)
		default:
			settings[section+"."+key] = append(settings[section+"."+key], value)
		}
	}
	return settings
}

func TestUnitsStartReloadAndPurge(t *testing.T) {
	for name, start := range map[string]string{
		"systemd/keepmesh.service":                   "/usr/bin/keepmesh run ",
		"systemd/keepalived.service.d/keepmesh.conf": "/usr/bin/keepmesh keepalived --dont-fork ",
	} {
		u := unit(t, name)
		last := func(key string) string {
			if v := u["Service."+key]; len(v) > 0 {
				return v[len(v)-1]
			}
			return ""
		}
		if got := last("ExecStart"); !strings.HasPrefix(got, start) {
			t.Errorf("%s: ExecStart=%s, want %s...", name, got, start)
		}
		for key, want := range map[string]string{"Type": "notify", "ExecReload": "/bin/kill -HUP $MAINPID", "KillMode": "mixed"} {
			if got := last(key); got != want {
				t.Errorf("%s: %s=%s, want %s", name, key, got, want)
			}
		}
		if got := last("ExecStopPost"); !strings.HasPrefix(got, "/usr/bin/keepmesh purge ") {
			t.Errorf("%s: ExecStopPost=%s", name, got)
		}
	}
}

func TestUnitLeavesWhatTheDaemonNeeds(t *testing.T) {
	u := unit(t, "systemd/keepmesh.service")
	taken := strings.Join(u["Service.CapabilityBoundingSet"], " ")
	if !strings.HasPrefix(taken, "~") {
		t.Fatalf("CapabilityBoundingSet=%s is no list of what is taken away", taken)
	}
	for _, need := range []string{
		"NET_ADMIN", "NET_RAW", "NET_BIND_SERVICE", // addresses, adverts, ports
		"SYS_NICE", "IPC_LOCK", "SYS_RESOURCE", // vrrp_rt_priority, vrrp_no_swap, limits
		"SETUID", "SETGID", "KILL", "SYS_ADMIN", // script_user, time limits of scripts, namespaces
	} {
		if strings.Contains(taken, "CAP_"+need) {
			t.Errorf("CAP_%s is taken away", need)
		}
	}
	for key := range u {
		switch strings.TrimPrefix(key, "Service.") {
		case "NoNewPrivileges", "ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateNetwork", "PrivateUsers",
			"RestrictRealtime", "RestrictNamespaces", "ProtectKernelModules", "ProtectKernelTunables", "User":
			t.Errorf("%s breaks scripts, sysctls, modules or real-time scheduling", key)
		}
	}
}
