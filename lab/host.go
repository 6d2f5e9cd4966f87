package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const maxIfName = 15

// bootTimeout bounds the start of a host's init beside its context.
const bootTimeout = 20 * time.Second

// Iface is one network interface of a host, cabled to a switch.
type Iface struct {
	Name   string         // "eth0"
	Addr   netip.Prefix   // first address; may be the zero value for none
	More   []netip.Prefix // further addresses
	Switch string         // default: the lab's first switch
}

// HostOptions describe a host.
type HostOptions struct {
	Interfaces []Iface
	Sysctls    map[string]string // "net.ipv4.ip_forward": "1", set before the interfaces exist
	Private    []string          // more folders that are the host's own, such as "/usr/local/bin", or "/dev" for a /dev/log
	PrivateTmp bool              // an own /tmp; then files made there later by a test cannot be seen in the host
	Gateway    netip.Addr        // default route, if valid
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,11}$`)

func (o *HostOptions) validate(l *Lab, name string) error {
	if !hostName.MatchString(name) || name == "sw" {
		return errors.New("the name must be 1 to 12 letters, digits or dashes, and not sw")
	}
	for i := range o.Interfaces {
		f := &o.Interfaces[i]
		if f.Switch == "" {
			f.Switch = l.switches[0]
		}
		known := false
		for _, s := range l.switches {
			known = known || s == f.Switch
		}
		if !known {
			return fmt.Errorf("interface %s: the lab has no switch %q", f.Name, f.Switch)
		}
		if f.Name == "" || len(f.Name) > maxIfName {
			return fmt.Errorf("interface name %q must have 1 to %d bytes", f.Name, maxIfName)
		}
	}
	taken := append([]string{"/run", "/proc"}, basePrivate...)
	if o.PrivateTmp {
		taken = append(taken, "/tmp")
	}
	for _, dir := range o.Private {
		if filepath.Clean(dir) != dir || !filepath.IsAbs(dir) || dir == "/" {
			return fmt.Errorf("%q cannot be a private folder", dir)
		}
		for _, other := range taken {
			if within(dir, other) || within(other, dir) {
				return fmt.Errorf("the private folder %s overlaps with %s, which the host has for itself anyway", dir, other)
			}
		}
		taken = append(taken, dir)
	}
	return nil
}

// Host is a machine of the lab. It is off after Kill until Boot.
type Host struct {
	lab     *Lab
	name    string
	index   int // 1 and up, part of the MAC addresses; 0 is the switch
	opts    HostOptions
	sysctls []sysctl
	disk    string

	mu  sync.Mutex
	run *incarnation // nil while the host is off
}

// incarnation is a host from one boot to the next power loss.
type incarnation struct {
	init   *os.Process
	conn   *net.UnixConn
	gone   chan struct{} // closed when the init was reaped
	ready  chan error
	sendMu sync.Mutex

	handles sync.RWMutex // held for reading while ns or nl is used
	ns      netns.NsHandle
	nl      *netlink.Handle // nil before open and after close

	mu      sync.Mutex
	seq     uint64
	pending map[uint64]func(response, int)
	procs   map[int]*Proc // running, by pid inside
	dead    bool
}

func newHost(l *Lab, name string, opts HostOptions, index int) *Host {
	h := &Host{lab: l, name: name, index: index, opts: opts, disk: filepath.Join(l.dir, name)}
	h.sysctls = []sysctl{
		// Duplicate address detection would delay each IPv6 address by a second.
		{"net.ipv6.conf.all.accept_dad", "0"},
		{"net.ipv6.conf.default.accept_dad", "0"},
		{"net.ipv6.conf.default.accept_ra", "0"},
		{"net.ipv6.conf.default.router_solicitations", "0"},
	}
	for _, k := range slices.Sorted(maps.Keys(opts.Sysctls)) {
		h.sysctls = append(h.sysctls, sysctl{k, opts.Sysctls[k]})
	}
	return h
}

// within reports whether a clean path is dir or inside it.
func within(name, dir string) bool {
	return name == dir || strings.HasPrefix(name, dir+"/")
}

// Name is the host's name, also by uname(2) inside it.
func (h *Host) Name() string { return h.name }

// Alive reports whether the host is on.
func (h *Host) Alive() bool {
	_, err := h.running()
	return err == nil
}

// running is the host's current incarnation.
func (h *Host) running() (*incarnation, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run == nil {
		return nil, fmt.Errorf("host %s is off", h.name)
	}
	select {
	case <-h.run.gone:
		return nil, fmt.Errorf("host %s is off", h.name)
	default:
		return h.run, nil
	}
}

// Boot starts a host that is off: processes, addresses and /run are gone, the
// files in its other private folders are as the power loss left them.
func (h *Host) Boot(ctx context.Context) error {
	if err := h.boot(ctx); err != nil {
		return err
	}
	for i, f := range h.opts.Interfaces {
		if err := h.plug(i, f); err != nil {
			h.halt()
			return fmt.Errorf("host %s: interface %s: %w", h.name, f.Name, err)
		}
	}
	if h.opts.Gateway.IsValid() {
		if _, err := h.Run(ctx, "ip", "route", "add", "default", "via", h.opts.Gateway.String()); err != nil {
			h.halt()
			return err
		}
	}
	return nil
}

// boot starts the init and waits until it has settled.
func (h *Host) boot(ctx context.Context) error {
	if h.Alive() {
		return fmt.Errorf("host %s is on already", h.name)
	}
	if err := os.MkdirAll(h.disk, 0o755); err != nil {
		return fmt.Errorf("host %s: %w", h.name, err)
	}
	run, err := h.spawnInit()
	if err != nil {
		return fmt.Errorf("host %s: starting its init: %w", h.name, err)
	}
	h.mu.Lock()
	h.run = run
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	select {
	case err = <-run.ready:
	case <-run.gone:
		err = errors.New("its init ended at once: does the program call lab.Main first?")
	case <-ctx.Done():
		err = fmt.Errorf("its init did not report: does the program call lab.Main first? %w", ctx.Err())
	}
	if err == nil {
		err = run.open()
	}
	if err != nil {
		h.halt()
		return fmt.Errorf("host %s: %w", h.name, err)
	}
	h.lab.log.Debug("host started", "host", h.name, "pid", run.init.Pid)
	return nil
}

func (h *Host) spawnInit() (*incarnation, error) {
	private := h.opts.Private
	if h.opts.PrivateTmp {
		private = append([]string{"/tmp"}, private...)
	}
	spec, err := json.Marshal(initConfig{Name: h.name, Disk: h.disk, Private: private, Sysctls: h.sysctls})
	if err != nil {
		return nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control")
	defer ours.Close()
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(h.lab.dir, h.name+".init.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		conn.Close()
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"lab-host-" + h.name}
	cmd.Env = append(hostEnviron(nil), envInit+"="+string(spec))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		Pdeathsig:  unix.SIGKILL,
		Setsid:     true,
	}
	h.lab.onSpawner(func() { err = cmd.Start() })
	if err != nil {
		conn.Close()
		return nil, err
	}
	run := &incarnation{
		init: cmd.Process, conn: conn.(*net.UnixConn), ns: netns.None(),
		gone: make(chan struct{}), ready: make(chan error, 1),
		pending: make(map[uint64]func(response, int)), procs: make(map[int]*Proc),
	}
	go func() {
		_ = cmd.Wait() // how it ended does not matter
		close(run.gone)
	}()
	go run.receiveAll()
	return run, nil
}

// open takes the handles on the namespaces that the lab itself works with.
func (r *incarnation) open() error {
	r.handles.Lock()
	defer r.handles.Unlock()
	var err error
	if r.ns, err = netns.GetFromPid(r.init.Pid); err != nil {
		return fmt.Errorf("opening its network namespace: %w", err)
	}
	if r.nl, err = netlink.NewHandleAt(r.ns, unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("opening netlink in its namespace: %w", err)
	}
	return nil
}

// Kill is a power loss: first the cables carry nothing more, then every
// process is gone at once.
func (h *Host) Kill() error {
	if _, err := h.running(); err != nil {
		return err
	}
	var errs []error
	for i := range h.opts.Interfaces {
		errs = append(errs, h.setPort(i, false))
	}
	h.halt()
	h.lab.log.Debug("host killed", "host", h.name)
	return errors.Join(errs...)
}

// halt ends the init, thereby all processes, and removes the ports, which the
// kernel would otherwise do at its leisure.
func (h *Host) halt() {
	h.mu.Lock()
	run := h.run
	h.run = nil
	h.mu.Unlock()
	if run == nil {
		return
	}
	_ = run.init.Kill() // it may be dead already
	<-run.gone
	run.conn.Close()
	run.close()
	h.unplug()
}

// close gives the handles back, without which the kernel would keep the
// network namespace of a dead host.
func (r *incarnation) close() {
	r.handles.Lock()
	defer r.handles.Unlock()
	if r.nl != nil {
		r.nl.Close()
		r.nl = nil
	}
	if r.ns.IsOpen() {
		r.ns.Close()
	}
}

// use runs fn with the host's handles, which stay valid until it returns.
func (h *Host) use(fn func(nl *netlink.Handle, ns netns.NsHandle) error) error {
	run, err := h.running()
	if err != nil {
		return err
	}
	run.handles.RLock()
	defer run.handles.RUnlock()
	if run.nl == nil {
		return fmt.Errorf("host %s: %w", h.name, errHostGone)
	}
	return fn(run.nl, run.ns)
}

// PID is the pid of the host's init as this process sees it.
func (h *Host) PID() (int, error) {
	run, err := h.running()
	if err != nil {
		return 0, err
	}
	return run.init.Pid, nil
}

// NetNS is a path that opens as the host's network namespace.
func (h *Host) NetNS() (string, error) {
	pid, err := h.PID()
	return "/proc/" + strconv.Itoa(pid) + "/ns/net", err
}
