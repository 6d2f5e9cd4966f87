package lab

import (
	"fmt"
	"path"
	"path/filepath"
)

// Where the daemons of a host have their files.
const (
	KeepalivedConf = "/etc/keepalived/keepalived.conf"
	MeshConf       = "/etc/keepmesh/mesh.conf"
	RunDir         = "/run/keepmesh"
)

// pidFlags name pid files of the host's own /run, by keepalived's flags.
var pidFlags = []string{
	"-p", "/run/keepalived/keepalived.pid",
	"-r", "/run/keepalived/vrrp.pid",
	"-c", "/run/keepalived/checkers.pid",
}

// Keepalived writes the configuration and starts the real keepalived in the
// foreground, logging all it does to its output and nothing to syslog: each
// line to a syslog that is not there would cost it several system calls.
func (h *Host) Keepalived(conf string, flags ...string) (*Proc, error) {
	return h.asKeepalived([]string{"keepalived"}, conf, append([]string{"-G"}, flags...))
}

// KeepmeshAsKeepalived runs `BIN keepalived` with keepalived's flags, as
// Keepalived runs the original.
func (h *Host) KeepmeshAsKeepalived(bin, conf string, flags ...string) (*Proc, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return nil, err
	}
	return h.asKeepalived([]string{bin, "keepalived"}, conf, flags)
}

func (h *Host) asKeepalived(command []string, conf string, flags []string) (*Proc, error) {
	// keepalived refuses a configuration that is executable.
	if err := h.WriteFile(KeepalivedConf, 0o644, []byte(conf)); err != nil {
		return nil, err
	}
	if err := h.mkdir(path.Dir(pidFlags[1])); err != nil {
		return nil, err
	}
	argv := append(command, "-n", "-l", "-D", "-f", KeepalivedConf)
	argv = append(append(argv, pidFlags...), flags...)
	return h.Start(Cmd{Argv: argv})
}

// Keepmesh writes both configurations and starts `BIN run`. Without a mesh
// configuration (empty text) it is plain VRRP.
func (h *Host) Keepmesh(bin, conf, mesh string, flags ...string) (*Proc, error) {
	if err := h.WriteFile(KeepalivedConf, 0o644, []byte(conf)); err != nil {
		return nil, err
	}
	bin, err := filepath.Abs(bin)
	if err != nil {
		return nil, err
	}
	argv := []string{bin, "run", "-f", KeepalivedConf, "--run-dir", RunDir}
	if mesh != "" {
		if err := h.WriteFile(MeshConf, 0o600, []byte(mesh)); err != nil {
			return nil, err
		}
		argv = append(argv, "--mesh", MeshConf)
	}
	return h.Start(Cmd{Argv: append(argv, flags...)})
}

// mkdir makes a folder of the host's own.
func (h *Host) mkdir(dir string) error {
	marker := path.Join(dir, ".lab")
	if err := h.WriteFile(marker, 0o600, nil); err != nil {
		return fmt.Errorf("making %s: %w", dir, err)
	}
	return h.Remove(marker)
}
