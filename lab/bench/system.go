package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/keepmesh/keepmesh/lab"
)

// The systems that are compared.
const (
	keepalived = "keepalived"
	keepmesh   = "keepmesh"
	meshed     = "keepmesh+mesh"
)

// patience bounds every wait; nothing is measured by it.
const patience = 30 * time.Second

// perInterface is how many virtual routers share an interface where there are
// more than fit on one.
const perInterface = 250

// setup is the VRRP configuration of a measure.
type setup struct {
	version   int
	interval  time.Duration
	instances int // 0 is one
}

func (s setup) String() string {
	text := fmt.Sprintf("v%d %s", s.version, s.interval)
	if s.instances > 1 {
		text = fmt.Sprintf("%d x %s", s.instances, text)
	}
	return text
}

func (s setup) count() int { return max(s.instances, 1) }

func (s setup) interfaces() int {
	if s.count() <= 255 {
		return 1
	}
	return (s.count() + perInterface - 1) / perInterface
}

// on places the n-th instance.
func (s setup) on(n int) router {
	if s.interfaces() == 1 {
		return router{"eth0", uint8(n + 1)}
	}
	return router{fmt.Sprintf("eth%d", n/perInterface), uint8(n%perInterface + 1)}
}

// vip is the address of the n-th instance.
func vip(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 100, byte(n / 200), byte(n%200 + 1)}) }

// skew is Skew_Time (RFC 3768 section 6.1, RFC 9568 section 6.1).
func (s setup) skew(priority int) time.Duration {
	base := s.interval
	if s.version == 2 {
		base = time.Second
	}
	return time.Duration(256-priority) * base / 256
}

// down is the wait of a backup without adverts.
func (s setup) down(priority int) time.Duration { return 3*s.interval + s.skew(priority) }

func (s setup) conf(priority int) string {
	var b strings.Builder
	for n := range s.count() {
		r := s.on(n)
		fmt.Fprintf(&b, "vrrp_instance VI_%d {\n state BACKUP\n interface %s\n virtual_router_id %d\n version %d\n priority %d\n advert_int %g\n virtual_ipaddress {\n  %s/32\n }\n}\n",
			n+1, r.iface, r.vrid, s.version, priority, s.interval.Seconds(), vip(n))
	}
	return b.String()
}

// system is one product in a lab of its own.
type system struct {
	name  string
	setup setup
	lab   *lab.Lab
	tape  *tape
	nodes []*node
}

// node is a host with the daemon.
type node struct {
	host     *lab.Host
	addr     string
	priority int
	bin      string
	proc     *lab.Proc
	out      *stamped
}

// stamped remembers when a process wrote.
type stamped struct {
	mu   sync.Mutex
	last time.Duration
}

func (s *stamped) Write(b []byte) (int, error) {
	s.mu.Lock()
	s.last = lab.Now()
	s.mu.Unlock()
	return len(b), nil
}

func (s *stamped) when() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// build makes a lab with a host for each priority, without starting anything.
func (b *bench) build(ctx context.Context, name string, s setup, priorities ...int) (*system, error) {
	var switches []string
	for i := range s.interfaces() {
		switches = append(switches, fmt.Sprintf("lan%d", i))
	}
	l, err := lab.New(ctx, lab.Options{Name: "bench", Switches: switches})
	if err != nil {
		return nil, err
	}
	y := &system{name: name, setup: s, lab: l}
	fail := func(err error) (*system, error) { return nil, errors.Join(err, y.close()) }
	for i, priority := range priorities {
		n := &node{priority: priority, addr: fmt.Sprintf("10.77.0.%d", i+1), bin: filepath.Join(l.Dir(), fmt.Sprintf("keepmesh%d", i+1))}
		var opts lab.HostOptions
		for j, sw := range switches {
			opts.Interfaces = append(opts.Interfaces, lab.Iface{
				Name: fmt.Sprintf("eth%d", j), Switch: sw, Addr: netip.MustParsePrefix(fmt.Sprintf("10.77.%d.%d/24", j, i+1)),
			})
		}
		if n.host, err = l.Host(ctx, fmt.Sprintf("n%d", i+1), opts); err != nil {
			return fail(err)
		}
		if name != keepalived {
			if err := copyFile(n.bin, b.bin); err != nil {
				return fail(err)
			}
		}
		y.nodes = append(y.nodes, n)
	}
	if y.tape, err = record(context.WithoutCancel(ctx), l); err != nil {
		return fail(err)
	}
	return y, nil
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// close ends the lab, and says so when the figures taken in it are void.
func (y *system) close() error {
	var err error
	if y.tape != nil && y.tape.sniffer != nil {
		err = y.tape.pause()
	}
	return errors.Join(err, y.lab.Close())
}

// key is the cluster's, of 32 bytes in base64. It guards nothing.
const key = "a2VlcG1lc2gtYmVuY2gta2V5LW9mLTMyLWJ5dGVzISE=\n"

// start starts the daemon of a node.
func (y *system) start(n *node) error {
	h := n.host
	if err := h.WriteFile(lab.KeepalivedConf, 0o644, []byte(y.setup.conf(n.priority))); err != nil {
		return err
	}
	argv := []string{"keepalived", "-n", "-l", "-D", "-G", "-f", lab.KeepalivedConf,
		"-p", "/run/keepalived.pid", "-r", "/run/vrrp.pid", "-c", "/run/checkers.pid"}
	if y.name != keepalived {
		argv = []string{n.bin, "run", "-D", "-f", lab.KeepalivedConf, "--run-dir", lab.RunDir}
	}
	if y.name == meshed {
		if err := h.WriteFile("/etc/keepmesh/gossip.key", 0o600, []byte(key)); err != nil {
			return err
		}
		var join []string
		for _, m := range y.nodes {
			join = append(join, m.addr)
		}
		conf := fmt.Sprintf("mesh {\n cluster_name bench\n node_name %s\n bind %s\n port 7946\n join { %s }\n bootstrap_expect %d\n data_dir /var/lib/keepmesh\n encrypt_key_file /etc/keepmesh/gossip.key\n}\n",
			h.Name(), n.addr, strings.Join(join, " "), len(y.nodes))
		if err := h.WriteFile(lab.MeshConf, 0o600, []byte(conf)); err != nil {
			return err
		}
		argv = append(argv, "--mesh", lab.MeshConf)
	}
	n.out = &stamped{}
	var err error
	n.proc, err = h.Start(lab.Cmd{Argv: argv, Stdout: n.out, Stderr: n.out})
	return err
}

// isBackup is what each daemon logs when it has begun.
var isBackup = regexp.MustCompile(`(?i)entering backup|to=backup|VI_1.*BACKUP`)

// ready starts a node beside a holder and waits until it is a backup; in a mesh
// until it hears the holder by the second wire too.
func (y *system) ready(ctx context.Context, n *node) error {
	if err := y.start(n); err != nil {
		return err
	}
	if _, err := n.proc.WaitOutput(ctx, isBackup); err != nil {
		return err
	}
	return y.hearsMesh(ctx, n)
}

// hearsMesh waits until a node hears adverts by the second wire.
func (y *system) hearsMesh(ctx context.Context, n *node) error {
	if y.name != meshed {
		return nil
	}
	var last string
	for {
		res, err := n.host.Run(ctx, n.bin, "status", "--json", "--run-dir", lab.RunDir)
		if err == nil {
			var s struct {
				Instances []struct {
					Peers []struct {
						MeshHeardMS *int64 `json:"mesh_heard_ms"`
					} `json:"peers"`
				} `json:"instances"`
			}
			if err = json.Unmarshal([]byte(res.Stdout), &s); err == nil && len(s.Instances) > 0 {
				for _, p := range s.Instances[0].Peers {
					if p.MeshHeardMS != nil && time.Duration(*p.MeshHeardMS)*time.Millisecond < max(3*y.setup.interval, time.Second) {
						return nil
					}
				}
			}
		}
		last = fmt.Sprint(err, res.Stdout)
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("%s hears nothing by the second wire: %s: %w", n.host.Name(), last, err)
		}
	}
}

// settled starts all nodes, the first alone until it holds.
func (y *system) settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	from := lab.Now()
	if err := y.start(y.nodes[0]); err != nil {
		return err
	}
	if err := y.advertises(ctx, from, y.nodes[0]); err != nil {
		return err
	}
	for _, n := range y.nodes[1:] {
		if err := y.start(n); err != nil {
			return err
		}
	}
	for _, n := range y.nodes[1:] {
		if _, err := n.proc.WaitOutput(ctx, isBackup); err != nil {
			return err
		}
		if err := y.hearsMesh(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// advertises waits for an advert of a node for every instance.
func (y *system) advertises(ctx context.Context, from time.Duration, n *node) error {
	err := y.tape.await(ctx, func(all []advert) bool {
		seen := map[router]bool{}
		for _, a := range all {
			if a.at >= from && a.host == n.host.Name() && a.priority != 0 {
				seen[a.router] = true
			}
		}
		return len(seen) == y.setup.count()
	})
	if err != nil {
		return fmt.Errorf("waiting for %s of %s to be master: %w; its output ends with %q", n.host.Name(), y.name, err, tail(n.proc.Output()))
	}
	return nil
}

func (y *system) node(host string) *node {
	for _, n := range y.nodes {
		if n.host.Name() == host {
			return n
		}
	}
	return nil
}

func (n *node) pids() []int {
	outside, _ := n.proc.PID()
	return tree(outside)
}

func tail(s string) string { return s[max(0, len(s)-600):] }

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
