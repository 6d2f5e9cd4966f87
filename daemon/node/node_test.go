package node

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepmesh/keepmesh/config"
)

func TestExitCodesAreKeepaliveds(t *testing.T) {
	for err, want := range map[error]int{
		nil: 0, errors.New("x"): 1, fmt.Errorf("a: %w", ErrConfig): 2, fmt.Errorf("b: %w", ErrPermission): 4, fmt.Errorf("c: %w", ErrNoConfig): 6,
	} {
		if got := ExitCode(err); got != want {
			t.Errorf("%v gives %d, want %d", err, got, want)
		}
	}
}

func loaderFor(t *testing.T, conf, mesh string) *loader {
	t.Helper()
	dir := t.TempDir()
	l := &loader{log: slog.New(slog.DiscardHandler), opt: Options{ConfigFile: filepath.Join(dir, "k.conf"), RunDir: dir}}
	if err := os.WriteFile(l.opt.ConfigFile, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	if mesh != "" {
		l.opt.MeshFile = filepath.Join(dir, "mesh.conf")
		if err := os.WriteFile(l.opt.MeshFile, []byte(mesh), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

const instance = `
vrrp_instance VI_1 {
    interface lo9
    virtual_router_id 51
    %s
    virtual_ipaddress { 
        10.0.0.100
    }
}
`

func TestStartTakesWhatAReloadRefuses(t *testing.T) {
	l := loaderFor(t, strings.Replace(instance, "%s", "priority 300", 1), "")
	if v, err := l.load(false); err != nil || v == nil {
		t.Errorf("at start: %v", err)
	}
	_, err := l.load(true)
	if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "k.conf:5:") {
		t.Errorf("on a reload: %v, want the place of the error", err)
	}
}

func TestMissingInterfaceMayComeLater(t *testing.T) {
	l := loaderFor(t, strings.Replace(instance, "%s", "", 1), "")
	for _, reload := range []bool{false, true} {
		v, err := l.load(reload)
		if err != nil || len(v.VRRP.Instances) != 1 {
			t.Errorf("reload %v: %v", reload, err)
		}
	}
}

func TestMissingFileIsNamed(t *testing.T) {
	l := loaderFor(t, "", "")
	l.opt.ConfigFile += ".gone"
	if _, err := l.load(false); !errors.Is(err, ErrNoConfig) || !strings.Contains(err.Error(), ".gone") {
		t.Errorf("%v", err)
	}
}

const meshText = "mesh {\n cluster_name edge\n node_name lb1\n bind 10.0.0.11\n join { 10.0.0.11 }\n encrypt_key_file /k\n %s\n}\n"

func TestWitnessRunsNoInstance(t *testing.T) {
	l := loaderFor(t, strings.Replace(instance, "%s", "", 1), strings.Replace(meshText, "%s", "role witness", 1))
	v, err := l.load(false)
	if err != nil {
		t.Fatal(err)
	}
	if len(v.VRRP.Instances) != 0 || len(v.VRRP.Router.Instances) != 0 || v.Cluster.Mesh == nil {
		t.Errorf("%d instances, mesh %v", len(v.VRRP.Instances), v.Cluster.Mesh)
	}
}

func TestBadMeshFileKeepsTheDaemonFromStarting(t *testing.T) {
	l := loaderFor(t, strings.Replace(instance, "%s", "", 1), strings.Replace(meshText, "%s", "fencing { policy quorum }", 1))
	if _, err := l.load(false); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "quorum") {
		t.Errorf("%v", err)
	}
}

func TestFirstNamesTheError(t *testing.T) {
	got := first([]config.Problem{{Severity: config.Note, Message: "n"}, {Severity: config.Error, Message: "e"}})
	if !strings.Contains(got, "e") || strings.Contains(got, "n") {
		t.Errorf("%q", got)
	}
}
