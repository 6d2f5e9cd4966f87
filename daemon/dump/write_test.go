package dump

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/daemon/ipc"
)

func TestWriteMakesAFileOfItsOwnerAlone(t *testing.T) {
	c, dir := load(t, "group.conf"), t.TempDir()
	for _, kind := range []ipc.DumpKind{ipc.DumpData, ipc.DumpStats, ipc.DumpJSON} {
		if err := Write(kind, dir, "", c, goldenSnapshot(c), goldenEnv()); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(filepath.Join(dir, "keepalived."+string(kind)))
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode() != 0o600 || st.Size() == 0 {
			t.Errorf("%s: mode %v, %d bytes", kind, st.Mode(), st.Size())
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestWriteObeysTheUmaskKeyword(t *testing.T) {
	c, dir := load(t, "options.conf"), t.TempDir()
	if err := Write(ipc.DumpStats, dir, "other", c, nil, Env{}); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(filepath.Join(dir, "other.stats"))
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode() != 0o644 {
		t.Errorf("mode %v with umask 022", st.Mode())
	}
}

func TestWriteReplacesALinkAndSparesItsTarget(t *testing.T) {
	c, dir := load(t, "group.conf"), t.TempDir()
	target, path := filepath.Join(dir, "passwd"), filepath.Join(dir, "keepalived.data")
	if err := os.WriteFile(target, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	if err := Write(ipc.DumpData, dir, "", c, nil, Env{}); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(target); err != nil || string(b) != "precious" {
		t.Errorf("the link's target holds %q, %v", b, err)
	}
	st, err := os.Lstat(path)
	if err != nil || !st.Mode().IsRegular() {
		t.Errorf("%s is %v, %v", path, st, err)
	}
}

func TestWriteOverADirectorySaysWhatToDo(t *testing.T) {
	c, dir := load(t, "group.conf"), t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "keepalived.json"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Write(ipc.DumpJSON, dir, "", c, nil, Env{}); err == nil || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("got %v", err)
	}
}

func TestWriteWithoutInstancesLeavesTheJSONAlone(t *testing.T) {
	c, dir := loadText(t, "global_defs {\n router_id a\n}\n"), t.TempDir()
	path := filepath.Join(dir, "keepalived.json")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Write(ipc.DumpJSON, dir, "", c, nil, Env{}); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "old" {
		t.Errorf("the file holds %q, %v", b, err)
	}
}

func TestAnUnknownKindIsRefused(t *testing.T) {
	if err := Write("xml", t.TempDir(), "", &config.Config{}, nil, Env{}); err == nil {
		t.Error("no error")
	}
}

func TestDataUseInstanceNamesTheDataFile(t *testing.T) {
	for _, x := range []struct {
		netns, instance, want string
	}{{"", "", ""}, {"red", "", ".red"}, {"", "one", ".one"}, {"red", "one", ".red_one"}} {
		g := config.Global{NetNamespace: x.netns, Instance: x.instance}
		if got := suffix(&g); got != "" {
			t.Errorf("without the keyword: %q", got)
		}
		g.DataUseInstance = true
		if got := suffix(&g); got != x.want {
			t.Errorf("%+v: got %q", x, got)
		}
	}
}
