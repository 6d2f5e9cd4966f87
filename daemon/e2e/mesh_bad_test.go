package e2e

import (
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keepmesh/keepmesh/lab"
)

// A node that is not of this cluster stays outside, says once what is wrong and
// what to do, and goes on as a plain VRRP router; the others form their cluster
// without it.
func TestMeshStrangerStaysOutsideAndVRRPGoesOn(t *testing.T) {
	for _, c := range []struct {
		name    string
		spoil   func(f *fleet, m *member)
		message string // of the stranger: what is wrong, and what to do
	}{
		{"wrong key", func(f *fleet, m *member) {
			f.write(m.Host, gossipKey, 0o600, "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")
		}, `10\.7\.0\.[12].*key.*encrypt_key_file`},
		{"wrong cluster name", func(f *fleet, m *member) {
			m.mesh = edit(f.t, m.mesh, "cluster_name edge", "cluster_name egde")
		}, `10\.7\.0\.[12].*cluster.*"?edge"?.*cluster_name`},
		{"seed that does not resolve", func(f *fleet, m *member) {
			m.mesh = edit(f.t, m.mesh, "join { 10.7.0.1 10.7.0.2 10.7.0.3 }", "join { nobody.invalid }")
		}, `seed \\?"nobody\.invalid\\?" does not resolve.*correct join in mesh\.conf`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, fleetOptions{advert: fast, expect: 2, mesh: func(n int, text string) string {
				if n < 3 {
					return edit(t, text, " 10.7.0.3 }", " }") // nobody calls the stranger
				}
				return text
			}})
			stranger := f.node(3)
			c.spoil(f, stranger)
			for _, m := range f.nodes {
				f.start(m)
			}
			f.says(stranger.proc, "(?m)^.*(WARN|ERROR).*"+c.message)
			f.holds(fleetVIP, "n1")
			for _, m := range f.nodes[:2] {
				f.cluster(m, "be one of two voters", func(s *statusOf) bool { return s.Quorum.Have && s.Quorum.Voters == 2 && len(s.Members) == 2 })
			}
			f.inState(stranger.Host, fleetName, "BACKUP")
			s := f.cluster(stranger, "be alone, and hear the holder", func(s *statusOf) bool {
				i := found(s)
				return !s.Quorum.Have && len(s.Members) == 1 && i != nil && i.Master == "10.7.0.1"
			})
			if s.Quorum.Leader != "" {
				t.Errorf("the stranger knows a leader: %s", brief(&s))
			}
			// It says so, but does not fill the log with it.
			from := len(stranger.proc.Output())
			f.pass(3 * time.Second)
			if more := strings.Count(stranger.proc.Output()[from:], "\n"); more > 6 {
				t.Errorf("the stranger has written %d lines in three seconds:\n%s", more, stranger.proc.Output()[from:])
			}
			// And it is a router like any other.
			f.powerOff(f.node(1))
			f.powerOff(f.node(2))
			f.holds(fleetVIP, "n3")
		})
	}
}

// What cannot work at the first start ends the daemon with a code other than 0,
// one message that names the place and the remedy, and nothing left behind.
func TestMeshThatCannotStartEndsTheDaemon(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{advert: fast, expect: 1})
	m := f.node(1)
	good := m.mesh
	for _, c := range []struct {
		name, message string
		prepare       func() (undo func())
	}{
		{"port in use", `port 7946/tcp on 10\.7\.0\.1 is in use by another process: stop it`, func() func() {
			l := f.listen(m, "10.7.0.1:7946")
			return func() { l.Close() }
		}},
		{"bind address of another host", `10\.7\.0\.77.*(bind|address)`, func() func() {
			m.mesh = edit(t, good, "bind 10.7.0.1", "bind 10.7.0.77")
			return func() { m.mesh = good }
		}},
		{"no key file", `encrypt_key_file /etc/keepmesh/nokey does not exist: make one with`, func() func() {
			m.mesh = edit(t, good, gossipKey, "/etc/keepmesh/nokey")
			return func() { m.mesh = good }
		}},
		{"key too short", `encrypt_key_file /etc/keepmesh/gossip.key: .*must`, func() func() {
			f.write(m.Host, gossipKey, 0o600, "c2hvcnQ=\n")
			return func() { f.write(m.Host, gossipKey, 0o600, keyText) }
		}},
		{"no bind", `mesh\.conf:\d+.*bind`, func() func() {
			m.mesh = edit(t, good, "    bind 10.7.0.1\n", "    bind\n")
			return func() { m.mesh = good }
		}},
		{"policy quorum", `mesh\.conf:\d+.*policy.*quorum`, func() func() {
			m.mesh = edit(t, good, "    data_dir", "    fencing {\n        policy quorum\n    }\n    data_dir")
			return func() { m.mesh = good }
		}},
		{"no place for the data", `/proc/nowhere`, func() func() {
			m.mesh = edit(t, good, "data_dir /var/lib/keepmesh", "data_dir /proc/nowhere")
			return func() { m.mesh = good }
		}},
	} {
		undo := c.prepare()
		p := f.start(m)
		status, err := p.Wait(deadline(t, patience))
		if err != nil || status.Code <= 0 {
			t.Errorf("%s: the daemon ended with %v, %v", c.name, status, err)
		}
		text := p.Output()
		if !regexp.MustCompile(c.message).MatchString(text) {
			t.Errorf("%s: no message like %q in\n%s", c.name, c.message, text)
		}
		if strings.Contains(text, "goroutine ") {
			t.Errorf("%s: a panic\n%s", c.name, text)
		}
		if got := f.addresses(m.Host); len(got) != 1 {
			t.Errorf("%s: left behind %v", c.name, got)
		}
		undo()
	}
	// The same files run when nothing is wrong.
	f.start(m)
	f.holds(fleetVIP, "n1")
}

func (f *fleet) listen(m *member, address string) net.Listener {
	f.t.Helper()
	l, err := m.Listen("tcp", address)
	if err != nil {
		f.t.Fatal(err)
	}
	return l
}

// Another program has the port of the second wire: VRRP goes on, and status
// and an event say what is missing.
func TestMeshSecondWirePortInUse(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetOptions{advert: fast})
	taken, err := f.node(2).ListenPacket("udp", "10.7.0.2:7947")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, m := range f.nodes {
		f.start(m)
	}
	f.holds(fleetVIP, "n1")
	f.cluster(f.node(2), "say that its second wire is down", func(s *statusOf) bool {
		return s.Quorum.Have && regexp.MustCompile(`the second wire of n2 is down: .*10\.7\.0\.2:7947 is in use`).MatchString(strings.Join(s.Warnings, "\n"))
	})
	f.happened(f.node(2), `ALARM .*the second wire does not work; VRRP goes on without it: .*10\.7\.0\.2:7947`)
	from := lab.Now()
	f.alone(from, "n1", 3*f.down(3))
	died := f.powerOff(f.node(1))
	f.holds(fleetVIP, "n2")
	t.Logf("takeover by the node without a second wire: %s after its timer", f.takeover(died, "n1", 2))
}
