package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keepmesh/keepmesh/daemon/client"
	"github.com/keepmesh/keepmesh/daemon/events"
	"github.com/keepmesh/keepmesh/daemon/status"
	"github.com/keepmesh/keepmesh/lab"
)

// What every fleet has in common.
const (
	fleetVIP  = "10.7.0.100"
	fleetVRID = 51
	fleetName = "VI_1"
	meshLAN   = "mesh" // the second switch
	gossipKey = "/etc/keepmesh/gossip.key"
	keyText   = "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=\n"
	pidVRRP   = lab.RunDir + "/vrrp.pid"
	pidMesh   = lab.RunDir + "/cluster.pid"
)

// fleet is some nodes and a client on one LAN. Where the mesh is apart, it has
// a switch of its own.
type fleet struct {
	*world
	opt   fleetOptions
	nodes []*member
}

// member is one node of a fleet, whether it runs or not.
type member struct {
	*lab.Host
	conf, mesh string
	proc       *lab.Proc
}

type fleetOptions struct {
	nodes  int    // default 3
	apart  bool   // the mesh on the second switch
	plain  bool   // no mesh at all
	advert string // seconds; "1" (default) is version 2, a fraction version 3
	expect int    // bootstrap_expect; default: nodes
	more   []lab.Iface
	conf   func(n int, text string) string // n counts from 1
	mesh   func(n int, text string) string
}

// newFleet makes the hosts; no daemon runs yet.
func newFleet(t *testing.T, opt fleetOptions) *fleet {
	t.Helper()
	lab.Require(t, lab.Nftables)
	opt.nodes = max(opt.nodes, 3)
	if opt.advert == "" {
		opt.advert = "1"
	}
	if opt.expect == 0 {
		opt.expect = opt.nodes
	}
	switches := []string{lab.LAN}
	if opt.apart {
		switches = append(switches, meshLAN)
	}
	f := &fleet{world: newWorld(t, switches...), opt: opt}
	for n := 1; n <= opt.nodes; n++ {
		f.add(n)
	}
	f.host("client", "eth0", "10.7.0.200/24")
	return f
}

// add makes the host of node n, with priority 250, 200, 150, ...
func (f *fleet) add(n int) *member {
	f.t.Helper()
	ifaces := []lab.Iface{{Name: "eth0", Addr: netip.MustParsePrefix(fmt.Sprintf("10.7.0.%d/24", n))}}
	if f.opt.apart {
		ifaces = append(ifaces, lab.Iface{Name: "eth1", Addr: netip.MustParsePrefix(fmt.Sprintf("10.8.0.%d/24", n)), Switch: meshLAN})
	}
	m := &member{Host: f.hostWith(fmt.Sprintf("n%d", n), lab.HostOptions{Interfaces: append(ifaces, f.opt.more...)})}
	m.conf, m.mesh = f.vrrpConf(n), f.meshConf(n)
	if f.opt.conf != nil {
		m.conf = f.opt.conf(n, m.conf)
	}
	if f.opt.plain {
		m.mesh = ""
	} else if f.opt.mesh != nil {
		m.mesh = f.opt.mesh(n, m.mesh)
	}
	f.write(m.Host, gossipKey, 0o600, keyText)
	f.nodes = append(f.nodes, m)
	return m
}

func fleetPriority(n int) uint8 { return uint8(300 - 50*n) }

func (f *fleet) vrrpConf(n int) string {
	version := ""
	if f.opt.advert != "1" {
		version = "global_defs {\n    vrrp_version 3\n}\n"
	}
	return fmt.Sprintf(`%svrrp_instance %s {
    state BACKUP
    interface eth0
    virtual_router_id %d
    priority %d
    advert_int %s
    virtual_ipaddress {
        %s/24
    }
}
`, version, fleetName, fleetVRID, fleetPriority(n), f.opt.advert, fleetVIP)
}

func (f *fleet) meshAddr(n int) string {
	if f.opt.apart {
		return fmt.Sprintf("10.8.0.%d", n)
	}
	return fmt.Sprintf("10.7.0.%d", n)
}

func (f *fleet) meshConf(n int) string {
	return fmt.Sprintf(`mesh {
    cluster_name edge
    node_name n%d
    bind %s
    join { %s %s %s }
    bootstrap_expect %d
    data_dir /var/lib/keepmesh
    encrypt_key_file %s
}
`, n, f.meshAddr(n), f.meshAddr(1), f.meshAddr(2), f.meshAddr(3), f.opt.expect, gossipKey)
}

// interval is A.
func (f *fleet) interval() time.Duration {
	s, err := strconv.ParseFloat(f.opt.advert, 64)
	if err != nil {
		f.t.Fatal(err)
	}
	return time.Duration(s * float64(time.Second))
}

// down is M of node n.
func (f *fleet) down(n int) time.Duration {
	a := f.interval()
	return 3*a + a*time.Duration(256-int(fleetPriority(n)))/256
}

// node gives node n, counted from 1.
func (f *fleet) node(n int) *member { return f.nodes[n-1] }

func (f *fleet) hostNamed(name string) *lab.Host {
	f.t.Helper()
	for _, h := range f.Hosts() {
		if h.Name() == name {
			return h
		}
	}
	f.t.Fatalf("no host %q", name)
	return nil
}

// start starts the daemon of a node.
func (f *fleet) start(m *member) *lab.Proc {
	f.t.Helper()
	p, err := m.Keepmesh(binary, m.conf, m.mesh)
	m.proc = f.started(m.Host, p, err)
	return m.proc
}

// startAll starts every node and waits until the first holds and, where there
// is a mesh, all are joined and hear the holder on both wires.
func (f *fleet) startAll() {
	f.t.Helper()
	for _, m := range f.nodes {
		f.start(m)
	}
	f.holds(fleetVIP, "n1")
	if !f.opt.plain {
		f.joined()
	}
}

// joined waits until the nodes that run form one cluster with a leader that all
// of them name, and hear the holder on both wires.
func (f *fleet) joined() {
	f.t.Helper()
	for _, m := range f.nodes {
		if m.running() {
			f.cluster(m, "be joined and hear the holder on both wires", f.settled)
		}
	}
}

func (m *member) running() bool {
	if m.proc == nil || !m.Alive() {
		return false
	}
	select {
	case <-m.proc.Exited():
		return false
	default:
		return true
	}
}

func (f *fleet) settled(s *status.Status) bool {
	running := 0
	for _, m := range f.nodes {
		if m.running() {
			running++
			if memberStatus(s, m.Name()) != "alive" {
				return false
			}
		}
	}
	return s.Quorum.Have && s.Quorum.Leader != "" && s.Quorum.Voters == f.opt.expect && both(s, running)
}

// both says that a backup hears its holder on both wires, or a holder that
// each other node does so.
func both(s *status.Status, running int) bool {
	i := found(s)
	if i == nil || i.Owner == "" || len(i.Owners) > 1 || len(i.Peers) < running-1 {
		return false
	}
	if i.Owner == s.Node {
		return true
	}
	for _, p := range i.Peers {
		if p.Node == i.Owner {
			return p.HeardMS != nil && p.MeshHeardMS != nil && i.Fencing.Verdict == ""
		}
	}
	return false
}

// found is the fleet's instance in a status, nil where it is missing.
func found(s *status.Status) *status.Instance {
	for i := range s.Instances {
		if s.Instances[i].Name == fleetName {
			return &s.Instances[i]
		}
	}
	return nil
}

func memberStatus(s *status.Status, name string) string {
	for _, m := range s.Members {
		if m.Name == name {
			return m.Status
		}
	}
	return ""
}

// ask asks a node for the whole cluster.
func (f *fleet) ask(m *member) (status.Status, error) {
	dir, err := m.Outside(lab.RunDir)
	if err != nil {
		return status.Status{}, err
	}
	ctx, cancel := context.WithTimeout(f.t.Context(), 5*time.Second)
	defer cancel()
	return client.New(dir).Status(ctx)
}

// cluster waits for something in a node's status.
func (f *fleet) cluster(m *member, what string, ok func(*status.Status) bool) status.Status {
	f.t.Helper()
	var s status.Status
	var err error
	f.eventually(m.Name()+" to "+what, func() bool {
		s, err = f.ask(m)
		return err == nil && ok(&s)
	}, func() string { return fmt.Sprintf("%v %s", err, brief(&s)) })
	return s
}

// brief is a status for the eye.
func brief(s *status.Status) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s quorum %+v members", s.Node, s.Quorum)
	for _, m := range s.Members {
		fmt.Fprintf(&b, " %s=%s", m.Name, m.Status)
	}
	for _, i := range s.Instances {
		fmt.Fprintf(&b, "; %s %s owner %q %v verdict %q (%s) reason %q", i.Name, i.State, i.Owner, i.Owners, i.Fencing.Verdict, i.Fencing.Text, i.Reason)
		for _, p := range i.Peers {
			fmt.Fprintf(&b, " [%s %s live %v lan %s mesh %s %s]", p.Node, p.State, p.Live, ms(p.HeardMS), ms(p.MeshHeardMS), p.Verdict)
		}
	}
	for _, w := range s.Warnings {
		fmt.Fprintf(&b, " ! %s", w)
	}
	return b.String()
}

func ms(v *int64) string {
	if v == nil {
		return "-"
	}
	return strconv.FormatInt(*v, 10)
}

// verdict waits until a node's own status has a verdict, "" for none.
func (f *fleet) verdict(m *member, want string) *status.Instance {
	f.t.Helper()
	return f.reports(m.Host, fleetName, "to have the verdict "+strconv.Quote(want), func(i *status.Instance) bool { return i.Fencing.Verdict == want })
}

// happened waits for an event of a node that the expression matches.
func (f *fleet) happened(m *member, expr string) string {
	f.t.Helper()
	re := regexp.MustCompile(expr)
	var match string
	var all []string
	f.eventually("an event of "+m.Name()+" like "+expr, func() bool {
		all = f.history(m)
		for _, text := range all {
			if re.MatchString(text) {
				match = text
				return true
			}
		}
		return false
	}, func() string { return "\n" + strings.Join(all, "\n") })
	return match
}

// history is what a node's event log has, oldest first.
func (f *fleet) history(m *member) []string {
	dir, err := m.Outside(lab.RunDir)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(f.t.Context(), 5*time.Second)
	defer cancel()
	var out []string
	_ = client.New(dir).NodeEvents(ctx, time.Time{}, false, func(e events.Event) error {
		out = append(out, e.Kind+" "+e.Instance+" "+e.Text)
		return nil
	})
	return out
}

// cli runs the program in a node as an operator would, and gives its exit code
// and output.
func (f *fleet) cli(m *member, args ...string) (int, string) {
	f.t.Helper()
	return f.code(m.Host, append([]string{binary}, append(args, "--run-dir", lab.RunDir)...)...)
}

// pid reads the number of one of a node's processes.
func (f *fleet) pid(m *member, file string) int {
	f.t.Helper()
	text := f.text(m.Host, file, `^\d+\n$`)
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		f.t.Fatal(err)
	}
	return n
}

func (f *fleet) freeze(m *member, pid int) {
	f.t.Helper()
	if err := m.Freeze(deadline(f.t, patience), pid); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) thaw(m *member, pid int) {
	f.t.Helper()
	if err := m.Thaw(deadline(f.t, patience), pid); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) killPID(m *member, pid int) {
	f.t.Helper()
	if err := m.Signal(sigKILL, pid); err != nil {
		f.t.Fatal(err)
	}
}

// powerOff ends a host at once and gives the instant.
func (f *fleet) powerOff(m *member) time.Duration {
	f.t.Helper()
	if err := m.Kill(); err != nil {
		f.t.Fatal(err)
	}
	return lab.Now()
}

// powerOn boots a host and starts its daemon.
func (f *fleet) powerOn(m *member) {
	f.t.Helper()
	if err := m.Boot(deadline(f.t, time.Minute)); err != nil {
		f.t.Fatal(err)
	}
	f.start(m)
}

// drop puts a fault into force.
func (f *fleet) drop(protocol uint8, paths ...lab.Path) *lab.Fault {
	f.t.Helper()
	x, err := f.DropProtocol(deadline(f.t, patience), protocol, paths...)
	if err != nil {
		f.t.Fatal(err)
	}
	return x
}

// cutMesh drops everything that the nodes say to each other beside VRRP:
// gossip, Raft and the second wire.
func (f *fleet) cutMesh() []*lab.Fault {
	f.t.Helper()
	return []*lab.Fault{f.cutPort(7946), f.cutPort(7947)}
}

func (f *fleet) cutPort(port uint16) *lab.Fault {
	f.t.Helper()
	x, err := f.DropPort(deadline(f.t, patience), port)
	if err != nil {
		f.t.Fatal(err)
	}
	return x
}

// heal undoes faults and checks first that each met frames.
func (f *fleet) heal(faults ...*lab.Fault) {
	f.t.Helper()
	for _, x := range faults {
		if hits, err := x.Hits(); err != nil || hits == 0 {
			f.t.Errorf("the fault %q has met %d frames, %v", x, hits, err)
		}
		f.undo(x)
	}
}

// deafen lets nothing into one interface of a host, whereas what it sends
// passes.
func (f *fleet) deafen(m *member, iface string) (undo func()) {
	f.t.Helper()
	port, err := m.Port(iface)
	if err != nil {
		f.t.Fatal(err)
	}
	f.run(f.Switch(), "nft", "table bridge deaf { chain c { type filter hook forward priority 0; oifname \""+port+"\" drop; }; }")
	return func() {
		f.t.Helper()
		f.run(f.Switch(), "nft", "delete table bridge deaf")
	}
}

// alone checks by the tape and the kernels that one host alone advertised and
// held since an instant, for at least as long as given.
func (f *fleet) alone(since time.Duration, host string, atLeast time.Duration) {
	f.t.Helper()
	if left := since + atLeast - lab.Now(); left > 0 {
		f.pass(left)
	}
	to := lab.Now()
	if gap := f.longestGap(since, to, host, fleetVRID); gap > f.interval()*3/2+50*time.Millisecond {
		f.t.Errorf("%s was silent for %s", host, gap)
	}
	for _, a := range f.between(since, to, "", fleetVRID) {
		if a.Host != host {
			f.t.Errorf("while %s was to hold, %s advertised priority %d", host, a.Host, a.Priority)
			break
		}
	}
	f.still(fleetVIP, host)
}

// takeover gives by how much a successor's first advert after an instant came
// later than its own timer, which began with the other's last advert before
// that instant.
func (f *fleet) takeover(after time.Duration, from string, to int) time.Duration {
	f.t.Helper()
	name := f.node(to).Name()
	first := f.next(f.t, after, patience, name+" takes over", func(a heard) bool { return a.Host == name && a.VRID == fleetVRID })
	last := f.between(0, after, from, fleetVRID)
	if len(last) == 0 {
		f.t.Fatalf("%s has sent no advert before %s took over", from, name)
	}
	return first.At - last[len(last)-1].At - f.down(to)
}

// prober starts a measurement from the client.
func (f *fleet) prober() *lab.Prober {
	f.t.Helper()
	p, err := f.Probe(f.t.Context(), lab.ProbeOptions{Client: f.hostNamed("client"), VIP: netip.MustParseAddr(fleetVIP)})
	if err != nil {
		f.t.Fatal(err)
	}
	return p
}

// names lists the nodes' names.
func (f *fleet) names() []string {
	var out []string
	for _, m := range f.nodes {
		out = append(out, m.Name())
	}
	slices.Sort(out)
	return out
}

// Short names for what the daemon answers.
type (
	statusOf   = status.Status
	instanceOf = status.Instance
)

func vipOf(text string) netip.Addr { return netip.MustParseAddr(text) }

// contains says whether a line has the text in it.
func contains(lines []string, text string) bool {
	return slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, text) })
}
