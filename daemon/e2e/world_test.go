package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keepmesh/keepmesh/daemon/client"
	"github.com/keepmesh/keepmesh/daemon/status"
	"github.com/keepmesh/keepmesh/lab"
)

// patience is how long an event may take. Nothing is asserted by it but that
// the event comes at all.
const patience = 25 * time.Second

// world is one lab with its tape.
type world struct {
	*lab.Lab
	*tape
	t *testing.T
}

// newWorld builds a lab that lives as long as the test.
func newWorld(t *testing.T, switches ...string) *world {
	t.Helper()
	lab.Require(t, lab.Netns)
	l, err := lab.New(deadline(t, time.Minute), lab.Options{Name: "e2e", Switches: switches})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return &world{Lab: l, tape: newTape(t, l), t: t}
}

func deadline(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// host adds a host with one interface.
func (w *world) host(name, iface, prefix string) *lab.Host {
	w.t.Helper()
	return w.hostWith(name, lab.HostOptions{Interfaces: []lab.Iface{{Name: iface, Addr: netip.MustParsePrefix(prefix)}}})
}

func (w *world) hostWith(name string, opts lab.HostOptions) *lab.Host {
	w.t.Helper()
	h, err := w.Host(deadline(w.t, time.Minute), name, opts)
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

// keepmesh starts the program in place of keepalived, with keepalived's flags.
func (w *world) keepmesh(h *lab.Host, conf string, flags ...string) *lab.Proc {
	w.t.Helper()
	p, err := h.KeepmeshAsKeepalived(binary, conf, append([]string{"-G"}, flags...)...)
	return w.started(h, p, err)
}

// keepalived starts the real one.
func (w *world) keepalived(h *lab.Host, conf string, flags ...string) *lab.Proc {
	w.t.Helper()
	lab.Require(w.t, lab.Keepalived)
	p, err := h.Keepalived(conf, flags...)
	return w.started(h, p, err)
}

func (w *world) started(h *lab.Host, p *lab.Proc, err error) *lab.Proc {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if w.t.Failed() {
			w.t.Logf("output of %s:\n%s", h.Name(), p.Output())
		}
	})
	return p
}

// holds waits until exactly these hosts have the address.
func (w *world) holds(vip string, hosts ...string) {
	w.t.Helper()
	if err := w.WaitHolders(deadline(w.t, patience), netip.MustParseAddr(vip), hosts...); err != nil {
		w.t.Fatal(err)
	}
}

// still checks that exactly these hosts have the address now.
func (w *world) still(vip string, hosts ...string) {
	w.t.Helper()
	got, err := w.Holders(netip.MustParseAddr(vip))
	if err != nil || !slices.Equal(got, hosts) {
		w.t.Errorf("%s is held by %v, %v; want %v", vip, got, err, hosts)
	}
}

// says waits for a line of output.
func (w *world) says(p *lab.Proc, expr string) []string {
	w.t.Helper()
	m, err := p.WaitOutput(deadline(w.t, patience), regexp.MustCompile(expr))
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// write puts a file into a host.
func (w *world) write(h *lab.Host, name string, mode os.FileMode, text string) {
	w.t.Helper()
	if err := h.WriteFile(name, mode, []byte(text)); err != nil {
		w.t.Fatal(err)
	}
}

// reload replaces the configuration and sends HUP.
func (w *world) reload(h *lab.Host, p *lab.Proc, conf string) {
	w.t.Helper()
	w.write(h, lab.KeepalivedConf, 0o644, conf)
	w.signal(p, sigHUP)
}

// stop terminates a process and checks that it ends with code 0.
func (w *world) stop(p *lab.Proc) {
	w.t.Helper()
	status, err := p.Stop(deadline(w.t, patience))
	if err != nil || status.Code != 0 {
		w.t.Errorf("the process ended with %v, %v", status, err)
	}
}

func (w *world) run(h *lab.Host, argv ...string) lab.Result {
	w.t.Helper()
	r, err := h.Run(deadline(w.t, patience), argv...)
	if err != nil {
		w.t.Fatalf("%s: %v\n%s%s", strings.Join(argv, " "), err, r.Stdout, r.Stderr)
	}
	return r
}

// code runs a command and gives its exit code and both outputs.
func (w *world) code(h *lab.Host, argv ...string) (int, string) {
	w.t.Helper()
	r, err := h.Run(deadline(w.t, patience), argv...)
	if r.Status.Code < 0 {
		w.t.Fatalf("%s: %v", strings.Join(argv, " "), err)
	}
	return r.Status.Code, r.Stdout + r.Stderr
}

// undo heals a fault.
func (w *world) undo(f *lab.Fault) {
	w.t.Helper()
	if err := f.Undo(); err != nil {
		w.t.Fatal(err)
	}
}

// instance is the daemon's own answer about one instance, nil as long as the
// daemon does not know it.
func (w *world) instance(h *lab.Host, name string) *status.Instance {
	w.t.Helper()
	dir, err := h.Outside(lab.RunDir)
	if err != nil {
		return nil
	}
	s, err := client.New(dir).Status(deadline(w.t, patience))
	if err != nil {
		return nil
	}
	for i := range s.Instances {
		if s.Instances[i].Name == name {
			return &s.Instances[i]
		}
	}
	return nil
}

// reports waits until status says so of an instance.
func (w *world) reports(h *lab.Host, name, what string, ok func(*status.Instance) bool) *status.Instance {
	w.t.Helper()
	var last *status.Instance
	w.eventually(name+" "+what, func() bool {
		last = w.instance(h, name)
		return last != nil && ok(last)
	}, func() string { return fmt.Sprintf("%+v", last) })
	return last
}

// inState waits until status shows a state.
func (w *world) inState(h *lab.Host, name, state string) *status.Instance {
	w.t.Helper()
	return w.reports(h, name, "to be "+state, func(i *status.Instance) bool { return i.State == state })
}

// eventually asks until the answer is yes.
func (w *world) eventually(what string, ok func() bool, last func() string) {
	w.t.Helper()
	ctx := deadline(w.t, patience)
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.t.Fatalf("waited in vain for %s; last seen: %s", what, last())
		}
	}
}

// text waits until a file of a host has contents that the expression matches.
func (w *world) text(h *lab.Host, name, expr string) string {
	w.t.Helper()
	re := regexp.MustCompile(expr)
	var last []byte
	w.eventually(name+" to match "+expr, func() bool {
		last, _ = h.ReadFile(name)
		return re.Match(last)
	}, func() string { return string(last) })
	return string(last)
}

// addresses lists a host's addresses as "dev prefix", without IPv6 and lo.
func (w *world) addresses(h *lab.Host) []string {
	w.t.Helper()
	list, err := h.Addresses("")
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, a := range list {
		if a.Dev != "lo" && a.Prefix.Addr().Is4() {
			out = append(out, a.Dev+" "+a.Prefix.String())
		}
	}
	slices.Sort(out)
	return out
}

// routes lists a host's IPv4 routes as "dst via gateway dev", without those
// of its own subnets.
func (w *world) routes(h *lab.Host) []string {
	w.t.Helper()
	list, err := h.Routes()
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, r := range list {
		if r.Gateway.IsValid() && r.Gateway.Is4() {
			out = append(out, fmt.Sprintf("%s via %s dev %s", r.Dst, r.Gateway, r.Dev))
		}
	}
	slices.Sort(out)
	return out
}

// tutorial reads one of the tutorials' configurations.
func tutorial(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "config", "testdata", "tutorials", name+".conf"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// edit replaces text that must be there.
func edit(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("the text has no %q:\n%s", pairs[i], text)
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

// pass lets time go by: the length of an observation, not a wait for an event.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	select {
	case <-time.After(d):
	case <-w.t.Context().Done():
		w.t.Fatal(w.t.Context().Err())
	}
}
