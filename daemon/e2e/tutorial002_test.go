package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keepmesh/keepmesh/lab"
)

// serveVariable makes the test program a service: it listens at the address
// and tells each client the name of its host.
const serveVariable = "KEEPMESH_E2E_SERVE"

func serve(address string) {
	name, err := os.Hostname()
	if err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("serving")
	for {
		c, err := l.Accept()
		if err != nil {
			os.Exit(1)
		}
		_, _ = io.WriteString(c, name)
		c.Close()
	}
}

// reader asks a service again and again.
type reader struct {
	mu      sync.Mutex
	answers []answer
	done    chan struct{}
	cancel  context.CancelFunc
}

type answer struct {
	at   time.Duration
	name string // empty: nobody answered
}

func (w *world) read(client *lab.Host, address string) *reader {
	ctx, cancel := context.WithCancel(w.t.Context())
	r := &reader{done: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(r.done)
		for ctx.Err() == nil {
			a := answer{name: ask(ctx, client, address), at: lab.Now()}
			r.mu.Lock()
			r.answers = append(r.answers, a)
			r.mu.Unlock()
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	w.t.Cleanup(r.stop)
	return r
}

func ask(ctx context.Context, client *lab.Host, address string) string {
	ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	c, err := client.DialContext(ctx, "tcp", address)
	if err != nil {
		return ""
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(300 * time.Millisecond))
	b, err := io.ReadAll(c)
	if err != nil {
		return ""
	}
	return string(b)
}

func (r *reader) stop() {
	r.cancel()
	<-r.done
}

// course is who answered, repetitions left out; "" is nobody.
func (r *reader) course() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, a := range r.answers {
		if len(out) == 0 || out[len(out)-1] != a.name {
			out = append(out, a.name)
		}
	}
	return out
}

// Tutorial 002: the check of a service moves the address away and back; the
// client reaches the service, which is bound to the address, all the time but
// for the fail-overs.
func TestServiceCheckMovesTheAddressAwayAndBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const vip = "20.0.0.100"
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	host := func(name, addr string) *lab.Host {
		return w.hostWith(name, lab.HostOptions{
			Interfaces: []lab.Iface{{Name: "ens33", Addr: mustPrefix(addr)}},
			// As HAProxy is run: it binds to the address before it is there.
			Sysctls: map[string]string{"net.ipv4.ip_nonlocal_bind": "1"},
		})
	}
	a, b, client := host("test2", "20.0.0.20/24"), host("test3", "20.0.0.30/24"), host("test1", "20.0.0.10/24")
	haproxy := func(h *lab.Host) *lab.Proc {
		p, err := h.Start(lab.Cmd{Argv: []string{self}, Env: []string{serveVariable + "=" + vip + ":80"}})
		w.started(h, p, err)
		w.says(p, "serving")
		_, pid := p.PID()
		w.write(h, "/run/haproxy.pid", 0o644, fmt.Sprint(pid))
		return p
	}
	// A check of the program itself, as the tutorial's.
	w.write(a, "/etc/keepalived/check_haproxy.sh", 0o755, "#!/bin/sh\nkill -0 \"$(cat /run/haproxy.pid)\"\n")
	proxy := haproxy(a)
	haproxy(b)
	w.keepmesh(a, tutorial(t, "002-haproxy1"))
	w.keepmesh(b, tutorial(t, "002-haproxy2"))
	w.holds(vip, "test2")

	r := w.read(client, vip+":80")
	heard := func(want ...string) {
		t.Helper()
		w.eventually("the client to be answered", func() bool { return slices.Equal(r.course(), want) },
			func() string { return fmt.Sprintf("%q", r.course()) })
	}
	heard("test2")
	w.signal(proxy, sigKILL)
	if _, err := proxy.Wait(deadline(t, patience)); err != nil {
		t.Fatal(err)
	}
	i := w.inState(a, "VI_1", "FAULT")
	if i.Reason == "" {
		t.Error("status gives no reason for the FAULT")
	}
	w.holds(vip, "test3")
	heard("test2", "", "test3")
	haproxy(a)
	w.holds(vip, "test2")
	w.eventually("the client to be answered by the first again", func() bool {
		c := r.course()
		return len(c) > 3 && c[len(c)-1] == "test2"
	}, func() string { return fmt.Sprintf("%q", r.course()) })
	r.stop()
	// On the way back nobody needs to miss an answer, and one may.
	if got := slices.DeleteFunc(r.course(), func(s string) bool { return s == "" }); !slices.Equal(got, []string{"test2", "test3", "test2"}) {
		t.Errorf("the client was answered by %q", r.course())
	}
}
