package cluster

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/keepmesh/keepmesh/daemon/dump"
	"github.com/keepmesh/keepmesh/daemon/ipc"
)

// dump writes one of keepalived's dump files, from a fresh snapshot.
func (p *process) dump(kind ipc.DumpKind) {
	go func() {
		n := p.nodeStatus(context.Background())
		snap, _ := p.store.last()
		p.jobs <- func() {
			if n.VRRPSilent {
				p.log.Warn("the vrrp process does not answer: the dump holds what it said last", "as_of", n.AsOf)
			}
			if err := dump.Write(kind, "", "", p.model, &snap, p.dumpEnv()); err != nil {
				p.log.Error("cannot write a dump", "kind", kind, "err", err)
			}
		}
	}()
}

// dumpEnv is what a dump tells of this host.
func (p *process) dumpEnv() dump.Env {
	env := dump.Env{
		User:       lookup,
		Executable: executable,
	}
	env.Hostname, _ = os.Hostname()
	if u, err := user.Current(); err == nil {
		env.Username = u.Username
	}
	links, err := net.Interfaces()
	if err != nil {
		p.log.Warn("a dump without interfaces", "err", err)
	}
	for _, l := range links {
		x := dump.Interface{Name: l.Name, Index: l.Index, MAC: l.HardwareAddr, Flags: l.Flags, MTU: l.MTU}
		addrs, err := l.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil {
				x.Addrs = append(x.Addrs, prefix)
			}
		}
		env.Interfaces = append(env.Interfaces, x)
	}
	return env
}

// executable is the file that a script's first word leads to, empty for none.
func executable(word string) string {
	path, err := exec.LookPath(word)
	if err != nil {
		return ""
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

func lookup(name, group string) (uid, gid uint32, ok bool) {
	number := func(text string) uint32 {
		n, _ := strconv.ParseUint(text, 10, 32)
		return uint32(n)
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, false
	}
	uid, gid = number(u.Uid), number(u.Gid)
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			return 0, 0, false
		}
		gid = number(g.Gid)
	}
	return uid, gid, true
}
