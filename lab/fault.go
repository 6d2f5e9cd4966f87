package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Path selects frames by the hosts they come from and go to. An empty name
// means any host. A flooded frame takes one path per receiver.
type Path struct{ From, To string }

// OneWay is what from sends to to.
func OneWay(from, to string) []Path { return []Path{{from, to}} }

// Between is what two hosts send to each other.
func Between(a, b string) []Path { return []Path{{a, b}, {b, a}} }

// From is everything that a host sends.
func From(host string) []Path { return []Path{{From: host}} }

// To is everything that a host is sent.
func To(host string) []Path { return []Path{{To: host}} }

// Fault is a fault in force.
type Fault struct {
	what string
	hits func() (uint64, error) // nil: not countable

	mu   sync.Mutex
	undo func() error // nil once undone
}

// undoTimeout bounds the healing of a fault, which runs also after the
// context of a test has ended.
const undoTimeout = 20 * time.Second

// String says what is broken.
func (f *Fault) String() string { return f.what }

// Undo heals the fault. Further calls do nothing.
func (f *Fault) Undo() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.undo == nil {
		return nil
	}
	if err := f.undo(); err != nil {
		return fmt.Errorf("healing %q: %w", f.what, err)
	}
	f.undo = nil
	return nil
}

// Hits is how many frames the fault has met so far. A partition that met none
// looks like perfect availability, so a test asks. Faults of a port cannot
// count and give an error.
func (f *Fault) Hits() (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hits == nil || f.undo == nil {
		return 0, fmt.Errorf("%q counts no frames, or was healed", f.what)
	}
	return f.hits()
}

// DropProtocol drops an IP protocol of both families, such as 112 (VRRP), on
// the given paths, or everywhere when none is given.
func (l *Lab) DropProtocol(ctx context.Context, protocol uint8, paths ...Path) (*Fault, error) {
	return l.filter(ctx, fmt.Sprintf("protocol %d dropped %s", protocol, describe(paths)), paths, []string{
		fmt.Sprintf("ip protocol %d", protocol),
		fmt.Sprintf("ip6 nexthdr %d", protocol),
	}, "drop")
}

// DropPort drops UDP and TCP to or from a port number on the given paths, or
// everywhere when none is given.
func (l *Lab) DropPort(ctx context.Context, number uint16, paths ...Path) (*Fault, error) {
	return l.filter(ctx, fmt.Sprintf("port %d dropped %s", number, describe(paths)), paths, []string{
		fmt.Sprintf("meta l4proto { tcp, udp } th dport %d", number),
		fmt.Sprintf("meta l4proto { tcp, udp } th sport %d", number),
	}, "drop")
}

// DropAll drops every frame, ARP too, on the given paths, or everywhere when
// none is given.
func (l *Lab) DropAll(ctx context.Context, paths ...Path) (*Fault, error) {
	return l.filter(ctx, "everything dropped "+describe(paths), paths, []string{""}, "drop")
}

// Loss drops the given share of all frames, 1 to 99 in 100, chosen at random.
func (l *Lab) Loss(ctx context.Context, percent int, paths ...Path) (*Fault, error) {
	return l.loss(ctx, "", "frames", percent, paths)
}

// LossProtocol is Loss for one IPv4 protocol.
func (l *Lab) LossProtocol(ctx context.Context, protocol uint8, percent int, paths ...Path) (*Fault, error) {
	return l.loss(ctx, fmt.Sprintf("ip protocol %d ", protocol), fmt.Sprintf("protocol %d", protocol), percent, paths)
}

func (l *Lab) loss(ctx context.Context, match, what string, percent int, paths []Path) (*Fault, error) {
	if percent < 1 || percent > 99 {
		return nil, fmt.Errorf("a loss of %d in 100 is not 1 to 99", percent)
	}
	name := fmt.Sprintf("%d%% of %s lost %s", percent, what, describe(paths))
	return l.filter(ctx, name, paths, []string{fmt.Sprintf("%snumgen random mod 100 < %d", match, percent)}, "drop")
}

func describe(paths []Path) string {
	if len(paths) == 0 {
		return "everywhere"
	}
	any := func(s string) string {
		if s == "" {
			return "any"
		}
		return s
	}
	var parts []string
	for _, p := range paths {
		parts = append(parts, any(p.From)+" to "+any(p.To))
	}
	return strings.Join(parts, ", ")
}

// filter puts a table of its own into the bridges: one rule per match and
// pair of ports, each with a counter.
func (l *Lab) filter(ctx context.Context, what string, paths []Path, matches []string, verdict string) (*Fault, error) {
	if len(paths) == 0 {
		paths = []Path{{}}
	}
	table := fmt.Sprintf("fault%d", l.faultSeq.Add(1))
	var rules strings.Builder
	fmt.Fprintf(&rules, "table bridge %s {\n chain c {\n  type filter hook forward priority 0; policy accept;\n", table)
	for _, p := range paths {
		sides, err := l.portMatch(p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		for _, m := range matches {
			fmt.Fprintf(&rules, "  %s %s counter %s\n", sides, m, verdict)
		}
	}
	rules.WriteString(" }\n}\n")
	if err := l.nft(ctx, rules.String()); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	f := &Fault{what: what, hits: func() (uint64, error) { return l.counted(table) }}
	f.undo = func() error {
		ctx, cancel := context.WithTimeout(context.Background(), undoTimeout)
		defer cancel()
		return l.nft(ctx, "delete table bridge "+table+"\n")
	}
	if _, err := f.Hits(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: the rules cannot be read back: %w", what, err), f.Undo())
	}
	l.log.Debug("fault", "what", what)
	return f, nil
}

func (l *Lab) portMatch(p Path) (string, error) {
	var sides []string
	for _, side := range []struct{ key, host string }{{"iifname", p.From}, {"oifname", p.To}} {
		if side.host == "" {
			continue
		}
		l.mu.Lock()
		h := l.hosts[side.host]
		l.mu.Unlock()
		if h == nil || len(h.opts.Interfaces) == 0 {
			return "", fmt.Errorf("no host %q with an interface", side.host)
		}
		var names []string
		for i := range h.opts.Interfaces {
			names = append(names, `"`+h.portName(i)+`"`)
		}
		sides = append(sides, side.key+" { "+strings.Join(names, ", ")+" }")
	}
	return strings.Join(sides, " "), nil
}

// nft applies rules in the namespace of the switch, in one transaction.
func (l *Lab) nft(ctx context.Context, rules string) error {
	p, err := l.sw.Start(Cmd{Argv: []string{"nft", "-f", "-"}, Stdin: strings.NewReader(rules)})
	if err != nil {
		return err
	}
	status, err := p.Wait(ctx)
	if err != nil {
		return err
	}
	if status.Code != 0 {
		return fmt.Errorf("nft: %s: %s", status, strings.TrimSpace(p.Output()))
	}
	return nil
}

// counted is the sum of a table's packet counters.
func (l *Lab) counted(table string) (uint64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), undoTimeout)
	defer cancel()
	res, err := l.sw.Run(ctx, "nft", "-j", "list", "table", "bridge", table)
	if err != nil {
		return 0, err
	}
	var doc struct {
		Nftables []struct {
			Rule *struct {
				Expr []struct {
					Counter *struct{ Packets uint64 }
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(res.Stdout), &doc); err != nil {
		return 0, fmt.Errorf("reading nft's answer: %w", err)
	}
	var sum uint64
	counters := 0
	for _, item := range doc.Nftables {
		if item.Rule == nil {
			continue
		}
		for _, e := range item.Rule.Expr {
			if e.Counter != nil {
				sum += e.Counter.Packets
				counters++
			}
		}
	}
	if counters == 0 {
		return 0, fmt.Errorf("table %s has no counter", table)
	}
	return sum, nil
}

// CarrierDown takes the carrier from an interface, as a pulled cable does.
func (h *Host) CarrierDown(iface string) (*Fault, error) {
	i, err := h.ifaceIndex(iface)
	if err != nil {
		return nil, err
	}
	set := func(up bool) error {
		if err := h.setPort(i, up); err != nil {
			return err
		}
		return h.use(func(nl *netlink.Handle, _ netns.NsHandle) error {
			link, err := nl.LinkByName(iface)
			if err == nil && (link.Attrs().RawFlags&unix.IFF_LOWER_UP != 0) != up {
				err = fmt.Errorf("the carrier of %s did not follow its port", iface)
			}
			return err
		})
	}
	f := &Fault{what: h.name + " " + iface + " without carrier", undo: func() error { return set(true) }}
	if err := set(false); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", f.what, err), f.Undo())
	}
	return f, nil
}

// Blackhole keeps the carrier of an interface but lets no frame through its
// port, as a switch does that lost its configuration.
func (h *Host) Blackhole(ctx context.Context, iface string) (*Fault, error) {
	name, err := h.Port(iface)
	if err != nil {
		return nil, err
	}
	set := func(ctx context.Context, state, word string) error {
		sw := h.lab.sw
		if _, err := sw.Run(ctx, "bridge", "link", "set", "dev", name, "state", state); err != nil {
			return err
		}
		res, err := sw.Run(ctx, "bridge", "link", "show", "dev", name)
		if err == nil && !strings.Contains(res.Stdout, "state "+word) {
			err = fmt.Errorf("port %s is not %s: %s", name, word, strings.TrimSpace(res.Stdout))
		}
		return err
	}
	if err := set(ctx, "0", "disabled"); err != nil {
		return nil, err
	}
	return &Fault{what: h.name + " " + iface + " blackholed", undo: func() error {
		ctx, cancel := context.WithTimeout(context.Background(), undoTimeout)
		defer cancel()
		return set(ctx, "3", "forwarding")
	}}, nil
}

// DeleteAddress takes an address from an interface, as an operator's hand
// does; Undo puts it back.
func (h *Host) DeleteAddress(dev string, prefix netip.Prefix) (*Fault, error) {
	change := func(op func(*netlink.Handle, netlink.Link, *netlink.Addr) error) error {
		return h.use(func(nl *netlink.Handle, _ netns.NsHandle) error {
			link, err := nl.LinkByName(dev)
			if err != nil {
				return err
			}
			return op(nl, link, &netlink.Addr{IPNet: ipNet(prefix)})
		})
	}
	if err := change((*netlink.Handle).AddrDel); err != nil {
		return nil, fmt.Errorf("host %s: deleting %s from %s: %w", h.name, prefix, dev, err)
	}
	return &Fault{
		what: fmt.Sprintf("%s deleted from %s %s", prefix, h.name, dev),
		undo: func() error { return change((*netlink.Handle).AddrReplace) },
	}, nil
}

// FlushAddresses takes all IPv4 addresses from an interface. It has no undo,
// since what the address owners make of it is what a test looks at.
func (h *Host) FlushAddresses(ctx context.Context, dev string) error {
	_, err := h.Run(ctx, "ip", "-4", "addr", "flush", "dev", dev)
	return err
}

// FlushRuleset removes all nftables rules of the host.
func (h *Host) FlushRuleset(ctx context.Context) error {
	_, err := h.Run(ctx, "nft", "flush", "ruleset")
	return err
}

func (h *Host) ifaceIndex(iface string) (int, error) {
	for i, f := range h.opts.Interfaces {
		if f.Name == iface {
			return i, nil
		}
	}
	return 0, fmt.Errorf("host %s has no interface %q", h.name, iface)
}
