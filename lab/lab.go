package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// LAN is the name of the switch that exists unless Options names others.
const LAN = "lan"

// maxHosts is the number of hosts of one lab, limited by the holder sets of
// the prober.
const maxHosts = 32

// Options describe a lab.
type Options struct {
	Name     string       // for messages and the folder of the lab's files; default "lab"
	Switches []string     // switches, each a bridge of its own; default one, LAN
	Log      *slog.Logger // default: discarded
}

// Lab is a set of hosts around one or more switches.
type Lab struct {
	name     string
	switches []string
	log      *slog.Logger
	dir      string
	dirLock  *os.File
	sw       *Host
	spawn    chan func()
	ports    atomic.Pointer[map[int]port] // by interface index in sw; replaced, never changed
	faultSeq atomic.Int64

	mu      sync.Mutex
	hosts   map[string]*Host
	order   []string // host names, in order of creation
	closers []func() // sniffers and probers still running
	closed  bool
}

// port is one port of a switch.
type port struct {
	name, host, iface string
}

// New builds a lab with its switches and without hosts. The context bounds
// the set-up only; Close ends the lab.
func New(ctx context.Context, opts Options) (*Lab, error) {
	if opts.Name == "" {
		opts.Name = "lab"
	}
	if len(opts.Switches) == 0 {
		opts.Switches = []string{LAN}
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	for _, s := range opts.Switches {
		if s == "" || len(bridgeName(s)) > maxIfName || strings.ContainsAny(s, "/ ") {
			return nil, fmt.Errorf("lab %s: %q cannot name a switch: use up to %d letters or digits", opts.Name, s, maxIfName-len(bridgeName("")))
		}
	}
	if !Privileged() {
		return nil, fmt.Errorf("lab %s: no right to create network namespaces: run as root, or under `unshare -Urmpn --mount-proc --fork`", opts.Name)
	}
	l := &Lab{
		name:     opts.Name,
		switches: opts.Switches,
		log:      opts.Log.With("lab", opts.Name),
		hosts:    make(map[string]*Host),
		spawn:    make(chan func()),
	}
	l.ports.Store(&map[int]port{})
	var err error
	if l.dir, l.dirLock, err = makeLabDir(opts.Name); err != nil {
		return nil, fmt.Errorf("lab %s: %w", opts.Name, err)
	}
	go l.spawner()
	if err := l.buildSwitches(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("lab %s: building switches: %w", opts.Name, err), l.Close())
	}
	return l, nil
}

// spawner runs functions that start processes on one thread that lives as
// long as the lab: the kernel sends the parent-death signal when the thread
// that forked ends, not when the process does.
func (l *Lab) spawner() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for fn := range l.spawn {
		fn()
	}
}

// onSpawner runs fn on the spawner's thread and waits for it.
func (l *Lab) onSpawner(fn func()) {
	done := make(chan struct{})
	l.spawn <- func() { defer close(done); fn() }
	<-done
}

func (l *Lab) buildSwitches(ctx context.Context) error {
	sw := newHost(l, "sw", HostOptions{}, 0)
	// The switch must not speak itself: no IPv6 means no MLD reports and no
	// router solicitations from its bridges and ports.
	sw.sysctls = []sysctl{
		{"net.ipv6.conf.all.disable_ipv6", "1"},
		{"net.ipv6.conf.default.disable_ipv6", "1"},
	}
	if err := sw.boot(ctx); err != nil {
		return err
	}
	l.sw = sw
	for _, s := range l.switches {
		_, err := sw.Run(ctx, "ip", "link", "add", bridgeName(s), "up", "type", "bridge",
			"stp_state", "0", "forward_delay", "0", "mcast_snooping", "0")
		if err != nil {
			return err
		}
	}
	return nil
}

func bridgeName(sw string) string { return "br-" + sw }

// Host adds a running host. Names are unique and at most 12 letters, digits
// or dashes.
func (l *Lab) Host(ctx context.Context, name string, opts HostOptions) (*Host, error) {
	if err := opts.validate(l, name); err != nil {
		return nil, fmt.Errorf("host %s: %w", name, err)
	}
	l.mu.Lock()
	if l.closed || l.hosts[name] != nil || len(l.hosts) == maxHosts {
		l.mu.Unlock()
		return nil, fmt.Errorf("host %s: the lab is closed, has a host of that name, or has %d hosts", name, maxHosts)
	}
	h := newHost(l, name, opts, len(l.order)+1)
	l.hosts[name] = h
	l.order = append(l.order, name)
	l.mu.Unlock()
	if err := h.Boot(ctx); err != nil {
		return nil, err
	}
	return h, nil
}

// Hosts lists the hosts in order of creation, without the switch.
func (l *Lab) Hosts() []*Host {
	l.mu.Lock()
	defer l.mu.Unlock()
	hosts := make([]*Host, len(l.order))
	for i, name := range l.order {
		hosts[i] = l.hosts[name]
	}
	return hosts
}

// Switch is the host that holds all bridges: a place to run ip, bridge, nft
// and tcpdump in.
func (l *Lab) Switch() *Host { return l.sw }

// Dir is the folder with the logs of the lab's processes; Close removes it.
func (l *Lab) Dir() string { return l.dir }

// Close ends everything that runs in the lab and removes its files. It may
// be called more than once.
func (l *Lab) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	closers := slices.Clone(l.closers)
	hosts := slices.Collect(maps.Values(l.hosts))
	l.mu.Unlock()
	for _, stop := range slices.Backward(closers) {
		stop()
	}
	if l.sw != nil {
		hosts = append(hosts, l.sw)
	}
	var wg sync.WaitGroup
	for _, h := range hosts {
		wg.Go(h.halt)
	}
	wg.Wait()
	close(l.spawn)
	err := os.RemoveAll(l.dir)
	l.dirLock.Close()
	if err != nil {
		return fmt.Errorf("lab %s: removing its folder: %w", l.name, err)
	}
	return nil
}

// onClose registers stop to run before the hosts end.
func (l *Lab) onClose(stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closers = append(l.closers, stop)
}

// staleAfter protects the folder of a lab that is about to lock it.
const staleAfter = time.Minute

// makeLabDir makes a folder that is locked for as long as the lab lives, and
// removes the folders of labs whose process died without closing them.
func makeLabDir(name string) (string, *os.File, error) {
	const prefix = "keepmesh-lab-"
	old, _ := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	for _, dir := range old {
		removeIfStale(dir)
	}
	dir, err := os.MkdirTemp("", prefix+name+"-")
	if err != nil {
		return "", nil, fmt.Errorf("making a folder for the lab's files: %w", err)
	}
	lock, err := os.Open(dir)
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		return "", nil, fmt.Errorf("locking the lab's folder: %w", err)
	}
	// Daemons in the hosts may drop root before they read their files.
	return dir, lock, os.Chmod(dir, 0o755)
}

// removeIfStale is best effort: the folder may belong to another user.
func removeIfStale(dir string) {
	info, err := os.Stat(dir)
	if err != nil || time.Since(info.ModTime()) < staleAfter {
		return
	}
	f, err := os.Open(dir)
	if err != nil {
		return
	}
	defer f.Close()
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
		_ = os.RemoveAll(dir)
	}
}
