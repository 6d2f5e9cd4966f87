package dump

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/daemon/ipc"
)

// mode is what keepalived's umask leaves of a new file: an exporter under
// another user needs the umask keyword.
const mode = 0o666

// defaultUmask is keepalived's.
const defaultUmask = 0o177

// Write writes one dump as DIR/NAME.KIND; an empty dir is /tmp, an empty name
// is keepalived. With data_use_instance the data dump has the network namespace
// and the instance in its name, as keepalived's has: NAME.NETNS_INSTANCE.data.
//
// It writes a new file beside the old one and renames it, so that a reader sees
// the old dump or the whole new one, and a link that somebody planted under the
// name is replaced, not followed.
//
// A dump that would be empty (JSON without instances) leaves the file alone.
func Write(kind ipc.DumpKind, dir, name string, c *config.Config, s *ipc.Snapshot, env Env) error {
	if dir == "" {
		dir = "/tmp"
	}
	var b bytes.Buffer
	var err error
	switch kind {
	case ipc.DumpData:
		err = Data(&b, c, s, env)
	case ipc.DumpStats:
		err = Stats(&b, c, s)
	case ipc.DumpJSON:
		err = writeJSON(&b, c, s, env)
	default:
		return fmt.Errorf("there is no dump %q: use data, stats or json", kind)
	}
	if err != nil || b.Len() == 0 {
		return err
	}
	if name == "" {
		name = "keepalived"
	}
	if kind == ipc.DumpData {
		name += suffix(&c.Global)
	}
	umask := uint32(defaultUmask)
	if c.Global.Umask != nil {
		umask = *c.Global.Umask
	}
	return replace(filepath.Join(dir, name+"."+string(kind)), b.Bytes(), fs.FileMode(mode&^umask))
}

func suffix(g *config.Global) string {
	switch {
	case !g.DataUseInstance, g.NetNamespace == "" && g.Instance == "":
		return ""
	case g.NetNamespace != "" && g.Instance != "":
		return "." + g.NetNamespace + "_" + g.Instance
	}
	return "." + g.NetNamespace + g.Instance
}

// replace puts content under path by renaming a file that only this process
// can have made: CreateTemp opens exclusively, under a name nobody can guess.
func replace(path string, content []byte, perm fs.FileMode) error {
	if st, err := os.Lstat(path); err == nil && st.IsDir() {
		return fmt.Errorf("writing the dump %s: it is a directory; move it away", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("writing the dump %s: %w", path, err)
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(perm)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("writing the dump %s: %w; is there room?", path, err)
	}
	return nil
}
