package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/keepmesh/keepmesh/daemon/client"
	"github.com/keepmesh/keepmesh/daemon/status"
	"github.com/keepmesh/keepmesh/lab"
)

var demoVIP = netip.MustParseAddr("10.99.0.100")

const (
	demoInstance = "VI_demo"
	demoKeyFile  = "/etc/keepmesh/gossip.key"
	// demoPatience is how long anything that must come may take.
	demoPatience = 15 * time.Second
)

// demoNode is one of the three: the rest of its configuration follows from it.
type demoNode struct {
	name     string
	addr     string
	priority int
}

var demoNodes = []demoNode{{"lb1", "10.99.0.1", 150}, {"lb2", "10.99.0.2", 100}, {"lb3", "10.99.0.3", 50}}

// skew is Skew_Time of version 2 with adverts each second (RFC 3768 section
// 6.1).
func (n demoNode) skew() time.Duration {
	return time.Duration(256-n.priority) * time.Second / 256
}

func (n demoNode) vrrpConf() string {
	return fmt.Sprintf(`vrrp_instance %s {
    interface eth0
    virtual_router_id 51
    priority %d
    advert_int 1
    virtual_ipaddress {
        %s/24
    }
}
`, demoInstance, n.priority, demoVIP)
}

func (n demoNode) meshConf() string {
	return fmt.Sprintf(`mesh {
    cluster_name     demo
    node_name        %s
    bind             %s
    join             { 10.99.0.1 10.99.0.2 10.99.0.3 }
    bootstrap_expect 3
    data_dir         /var/lib/keepmesh
    encrypt_key_file %s
}
`, n.name, n.addr, demoKeyFile)
}

// demo is the running demonstration.
type demo struct {
	out    io.Writer
	screen *screen
	pace   pace

	broken   int // promises that were not kept
	unproven int // the same, on a machine too busy to tell

	program string
	key     string
	nodes   *trio
	other   *trio // the same with keepalived; nil: not compared
}

// trio is a lab with the three nodes and a client.
type trio struct {
	lab     *lab.Lab
	hosts   []*lab.Host
	daemons []*lab.Proc
	clients []*client.Client // of the daemons' API; keepalived has none
	client  *lab.Host        // that asks for the address
}

func newTrio(ctx context.Context, name string) (*trio, error) {
	l, err := lab.New(ctx, lab.Options{Name: name})
	if err != nil {
		return nil, err
	}
	t := &trio{lab: l, daemons: make([]*lab.Proc, len(demoNodes)), clients: make([]*client.Client, len(demoNodes))}
	add := func(host, addr string) *lab.Host {
		if err != nil {
			return nil
		}
		var h *lab.Host
		h, err = l.Host(ctx, host, lab.HostOptions{Interfaces: []lab.Iface{{Name: "eth0", Addr: netip.MustParsePrefix(addr + "/24")}}})
		return h
	}
	for _, n := range demoNodes {
		t.hosts = append(t.hosts, add(n.name, n.addr))
	}
	t.client = add("client", "10.99.0.50")
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return t, nil
}

// build makes the nodes, and waits until the mesh is whole and lb1 holds.
func (d *demo) build(ctx context.Context, compare bool) error {
	// Inside a host the program is reached by its path; /proc/self is another there.
	program, err := os.Executable()
	if err != nil {
		return err
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	d.program, d.key = program, base64.StdEncoding.EncodeToString(key)
	ctx, cancel := context.WithTimeout(ctx, 2*demoPatience)
	defer cancel()
	if d.nodes, err = newTrio(ctx, "demo"); err != nil {
		return err
	}
	began := time.Now()
	for i := range demoNodes {
		if err := d.start(i); err != nil {
			return err
		}
	}
	if compare {
		d.buildOther(ctx)
	}
	var joined time.Duration
	if err := d.wait(ctx, func() bool {
		for i := range demoNodes {
			if s := d.ask(ctx, i); s == nil || !whole(s) {
				return false
			}
		}
		joined = time.Since(began)
		return true
	}); err != nil {
		return d.failed("the nodes did not all join", err)
	}
	if err := d.nodes.lab.WaitHolders(ctx, demoVIP, demoNodes[0].name); err != nil {
		return d.failed("lb1 did not take the address", err)
	}
	fmt.Fprintf(d.out, "lb1 (priority 150), lb2 (100) and lb3 (50) formed a mesh in %.1f s.\n", joined.Seconds())
	fmt.Fprintf(d.out, "The client asks 1000 times a second who has the address; a block is %s s.\n\n", seconds(cellTime))
	return nil
}

// buildOther starts three nodes with keepalived, where it is installed.
func (d *demo) buildOther(ctx context.Context) {
	// An ordinary user's PATH does not lead to it.
	if !slices.ContainsFunc([]string{"keepalived", "/usr/sbin/keepalived", "/usr/local/sbin/keepalived"}, func(name string) bool {
		_, err := exec.LookPath(name)
		return err == nil
	}) {
		return
	}
	t, err := newTrio(ctx, "demo-k")
	if err != nil {
		return
	}
	for i, n := range demoNodes {
		if t.daemons[i], err = t.hosts[i].Keepalived(n.vrrpConf()); err != nil {
			_ = t.lab.Close()
			return
		}
	}
	d.other = t
}

// start starts the daemon of a node that is on.
func (d *demo) start(i int) error {
	h, n := d.nodes.hosts[i], demoNodes[i]
	if err := h.WriteFile(demoKeyFile, 0o600, []byte(d.key+"\n")); err != nil {
		return err
	}
	p, err := h.Keepmesh(d.program, n.vrrpConf(), n.meshConf())
	if err != nil {
		return err
	}
	dir, err := h.Outside(lab.RunDir)
	if err != nil {
		return err
	}
	d.nodes.daemons[i], d.nodes.clients[i] = p, client.New(dir)
	return nil
}

// ask is `keepmesh status` on a node; nil as long as it does not answer.
func (d *demo) ask(ctx context.Context, i int) *status.Status {
	s, err := d.nodes.clients[i].Status(ctx)
	if err != nil {
		return nil
	}
	return &s
}

// whole reports whether a node sees the mesh complete, with a leader.
func whole(s *status.Status) bool {
	alive := 0
	for _, m := range s.Members {
		if m.Status == "alive" {
			alive++
		}
	}
	return alive == len(demoNodes) && s.Quorum.Have && s.Quorum.Voters == len(demoNodes)
}

// verdict is what a node says of its own right to the address.
func (d *demo) verdict(ctx context.Context, i int) string {
	if s := d.ask(ctx, i); s != nil {
		for n := range s.Instances {
			if s.Instances[n].Name == demoInstance {
				return s.Instances[n].Fencing.Verdict
			}
		}
	}
	return ""
}

// wait asks again and again until the answer is yes.
func (d *demo) wait(ctx context.Context, yes func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	for !yes() {
		if err := dwell(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// failed adds the ends of the daemons' logs to what went wrong.
func (d *demo) failed(what string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	var b strings.Builder
	for i, p := range d.nodes.daemons {
		if p == nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(p.Output()), "\n")
		fmt.Fprintf(&b, "\n%s said last:", demoNodes[i].name)
		for _, line := range lines[max(0, len(lines)-8):] {
			b.WriteString("\n  " + line)
		}
	}
	return fmt.Errorf("%s: %w%s", what, err, b.String())
}

// close ends both labs.
func (d *demo) close() error {
	var errs []error
	for _, t := range []*trio{d.nodes, d.other} {
		if t != nil {
			errs = append(errs, t.lab.Close())
		}
	}
	d.nodes, d.other = nil, nil
	return errors.Join(errs...)
}
