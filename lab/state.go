package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Address is an address that an interface has.
type Address struct {
	Prefix    netip.Prefix
	Dev       string
	Label     string
	Broadcast netip.Addr // zero: none
	Scope     int        // RT_SCOPE_*: 0 global, 253 link, 254 host
}

// Route is a unicast route.
type Route struct {
	Dst      netip.Prefix // 0.0.0.0/0 or ::/0 for a default route
	Gateway  netip.Addr
	Src      netip.Addr // preferred source
	Dev      string
	Table    int
	Protocol int
	Metric   int
}

// Addresses lists the addresses of an interface, or of all when dev is "".
func (h *Host) Addresses(dev string) ([]Address, error) {
	run, err := h.running()
	if err != nil {
		return nil, err
	}
	links, err := h.links(run)
	if err != nil {
		return nil, err
	}
	list, err := retryDump(func() ([]netlink.Addr, error) { return run.nl.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("host %s: listing addresses: %w", h.name, err)
	}
	if dev != "" && !slices.Contains(mapValues(links), dev) {
		return nil, fmt.Errorf("host %s has no interface %q", h.name, dev)
	}
	var found []Address
	for _, a := range list {
		if name := links[a.LinkIndex]; dev == "" || name == dev {
			found = append(found, Address{
				Prefix: prefixOf(a.IPNet), Dev: name, Label: a.Label,
				Broadcast: addrOf(a.Broadcast), Scope: a.Scope,
			})
		}
	}
	return found, nil
}

// Holds reports whether any interface of the host has the address. A host
// that is off holds nothing.
func (h *Host) Holds(vip netip.Addr) (bool, error) {
	if !h.Alive() {
		return false, nil
	}
	list, err := h.Addresses("")
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list, func(a Address) bool { return a.Prefix.Addr() == vip }), nil
}

// Holders names the hosts that have the address, in order of creation.
func (l *Lab) Holders(vip netip.Addr) ([]string, error) {
	var names []string
	for _, h := range l.Hosts() {
		has, err := h.Holds(vip)
		if err != nil {
			return nil, err
		}
		if has {
			names = append(names, h.name)
		}
	}
	return names, nil
}

// WaitHolders waits until exactly the named hosts, in any order, have the
// address.
func (l *Lab) WaitHolders(ctx context.Context, vip netip.Addr, want ...string) error {
	slices.Sort(want)
	return poll(ctx, func() (bool, error) {
		got, err := l.Holders(vip)
		slices.Sort(got)
		return err == nil && slices.Equal(got, want), err
	}, func() string {
		got, _ := l.Holders(vip)
		return fmt.Sprintf("%s is on %v, not on %v", vip, got, want)
	})
}

// pollEvery is how often a state of the kernel without notification is read.
const pollEvery = 10 * time.Millisecond

// poll waits until done reports true or fails; why describes the state that
// it gave up on.
func poll(ctx context.Context, done func() (bool, error), why func() string) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", why(), ctx.Err())
		}
	}
}

// Routes lists the unicast routes of both families and all tables, without
// those that the kernel keeps for local addresses.
func (h *Host) Routes() ([]Route, error) {
	run, err := h.running()
	if err != nil {
		return nil, err
	}
	links, err := h.links(run)
	if err != nil {
		return nil, err
	}
	list, err := retryDump(func() ([]netlink.Route, error) {
		filter := &netlink.Route{Table: unix.RT_TABLE_UNSPEC, Type: unix.RTN_UNICAST}
		return run.nl.RouteListFiltered(netlink.FAMILY_ALL, filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_TYPE)
	})
	if err != nil {
		return nil, fmt.Errorf("host %s: listing routes: %w", h.name, err)
	}
	routes := make([]Route, 0, len(list))
	for _, r := range list {
		dst := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if r.Family == netlink.FAMILY_V6 {
			dst = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		if r.Dst != nil {
			dst = prefixOf(r.Dst)
		}
		routes = append(routes, Route{
			Dst: dst, Gateway: addrOf(r.Gw), Src: addrOf(r.Src), Dev: links[r.LinkIndex],
			Table: r.Table, Protocol: int(r.Protocol), Metric: r.Priority,
		})
	}
	return routes, nil
}

func (h *Host) links(run *incarnation) (map[int]string, error) {
	list, err := retryDump(run.nl.LinkList)
	if err != nil {
		return nil, fmt.Errorf("host %s: listing interfaces: %w", h.name, err)
	}
	names := make(map[int]string, len(list))
	for _, l := range list {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	return names, nil
}

// retryDump repeats a dump that the kernel marked as inconsistent because
// something changed under it.
func retryDump[T any](dump func() ([]T, error)) ([]T, error) {
	for tries := 0; ; tries++ {
		list, err := dump()
		if !errors.Is(err, netlink.ErrDumpInterrupted) || tries == 20 {
			return list, err
		}
	}
}

func mapValues(m map[int]string) []string {
	values := make([]string, 0, len(m))
	for _, v := range m {
		values = append(values, v)
	}
	return values
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func prefixOf(n *net.IPNet) netip.Prefix {
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(addrOf(n.IP), bits)
}

func addrOf(ip net.IP) netip.Addr {
	addr, _ := netip.AddrFromSlice(ip)
	return addr.Unmap()
}

// Process is a process inside a host.
type Process struct {
	PID, PPID int // inside
	Comm      string
	State     byte // R, S, D, T, Z as in proc(5)
}

// Processes lists what runs inside the host, without its init.
func (h *Host) Processes() ([]Process, error) {
	root, err := h.root()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(path.Join(root, "proc"))
	if err != nil {
		return nil, fmt.Errorf("host %s: listing processes: %w", h.name, err)
	}
	var list []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == 1 {
			continue
		}
		if p, err := readProcess(root, pid); err == nil { // else it ended meanwhile
			list = append(list, p)
		}
	}
	return list, nil
}

func readProcess(root string, pid int) (Process, error) {
	data, err := os.ReadFile(path.Join(root, "proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return Process{}, err
	}
	// The name is in parentheses and may contain any of them.
	line := string(data)
	open, end := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return Process{}, fmt.Errorf("pid %d: malformed stat", pid)
	}
	fields := strings.Fields(line[end+1:])
	if len(fields) < 2 {
		return Process{}, fmt.Errorf("pid %d: short stat", pid)
	}
	ppid, err := strconv.Atoi(fields[1])
	return Process{PID: pid, PPID: ppid, Comm: line[open+1 : end], State: fields[0][0]}, err
}

// Tree lists the process and all its descendants, by their pids inside.
func (p *Proc) Tree() ([]int, error) {
	all, err := p.host.Processes()
	if err != nil {
		return nil, err
	}
	tree := []int{p.inside}
	for i := 0; i < len(tree); i++ {
		for _, q := range all {
			if q.PPID == tree[i] {
				tree = append(tree, q.PID)
			}
		}
	}
	return tree, nil
}

// Signal sends a signal to processes by their pids inside the host.
func (h *Host) Signal(sig syscall.Signal, pids ...int) error {
	run, err := h.running()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if err := run.signal(pid, sig); err != nil {
			return fmt.Errorf("host %s: %w", h.name, err)
		}
	}
	return nil
}

// Freeze stops processes, by their pids inside the host, and returns when all
// of them stand still.
func (h *Host) Freeze(ctx context.Context, pids ...int) error {
	return h.stopped(ctx, unix.SIGSTOP, true, pids)
}

// Thaw lets frozen processes go on and returns when all of them do.
func (h *Host) Thaw(ctx context.Context, pids ...int) error {
	return h.stopped(ctx, unix.SIGCONT, false, pids)
}

func (h *Host) stopped(ctx context.Context, sig syscall.Signal, want bool, pids []int) error {
	if err := h.Signal(sig, pids...); err != nil {
		return err
	}
	root, err := h.root()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		var last Process
		err := poll(ctx, func() (bool, error) {
			last, err = readProcess(root, pid)
			return (last.State == 'T') == want, err
		}, func() string { return fmt.Sprintf("host %s: pid %d is in state %c", h.name, pid, last.State) })
		if err != nil {
			return err
		}
	}
	return nil
}
