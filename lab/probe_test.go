package lab

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// addVIP gives a host the address, without any announcement.
func addVIP(t *testing.T, h *Host) {
	t.Helper()
	if _, err := h.Run(testContext(t, 20*time.Second), "ip", "addr", "add", vip.String()+"/32", "dev", "eth0"); err != nil {
		t.Fatal(err)
	}
}

func TestProberSeesWhoHoldsAndWhoIsReached(t *testing.T) {
	Require(t, Nftables)
	l := newTestLab(t, Options{})
	client := lanHost(t, l, "client", 200)
	a, b := lanHost(t, l, "a", 1), lanHost(t, l, "b", 2)
	addVIP(t, a)
	var (
		mu   sync.Mutex
		last Live
		news = make(chan struct{}, 1)
	)
	p, err := l.Probe(t.Context(), ProbeOptions{Client: client, VIP: vip, LiveEvery: 20 * time.Millisecond, Live: func(v Live) {
		mu.Lock()
		last = v
		mu.Unlock()
		select {
		case news <- struct{}{}:
		default:
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	// awaits an instant at which the live view shows these sets.
	await := func(what string, holders, reached []string) time.Duration {
		t.Helper()
		p.Mark(what)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		for {
			mu.Lock()
			v := last
			mu.Unlock()
			if slices.Equal(v.Holders, holders) && (reached == nil || slices.Equal(v.Reached, reached)) {
				return Now()
			}
			select {
			case <-news:
			case <-ctx.Done():
				t.Fatalf("%s: the live view stays at %+v", what, v)
			}
		}
	}
	await("a holds", []string{"a"}, []string{"a"})
	addVIP(t, b)
	await("both hold", []string{"a", "b"}, nil)
	fault, err := a.DeleteAddress("eth0", netip.PrefixFrom(vip, 32))
	if err != nil {
		t.Fatal(err)
	}
	// The client's cache still points to a: b holds, but is not reached.
	await("b holds, unreached", []string{"b"}, []string{})
	if _, err := client.Run(t.Context(), "ip", "neigh", "flush", "all"); err != nil {
		t.Fatal(err)
	}
	await("b holds, reached", []string{"b"}, []string{"b"})
	// What b sends to the client is lost: b holds and answers, in vain.
	drop, err := l.DropAll(t.Context(), OneWay("b", "client")...)
	if err != nil {
		t.Fatal(err)
	}
	await("b holds, answers lost", []string{"b"}, []string{})
	heal(t, drop)
	await("healed", []string{"b"}, []string{"b"})
	if err := b.Kill(); err != nil {
		t.Fatal(err)
	}
	await("nobody", []string{}, []string{})
	_ = fault // a's address stays away
	r, err := p.Stop()
	if err != nil {
		t.Fatal(err)
	}
	var course [][]string
	for _, i := range r.Intervals {
		course = append(course, i.Hosts)
	}
	want := [][]string{{"a"}, {"a", "b"}, {"b"}, nil}
	if diff := cmp.Diff(want, course); diff != "" {
		t.Errorf("%s\n%s", diff, r)
	}
	if r.DualMS == 0 || r.NoneMS == 0 || len(r.Outages) < 3 || r.Probes == 0 || r.Lost != 0 {
		t.Errorf("dual %d ms, none %d ms, outages %v, %d probes, %d frames lost", r.DualMS, r.NoneMS, r.Outages, r.Probes, r.Lost)
	}
	for i := 1; i < len(r.Intervals); i++ {
		if r.Intervals[i].From != r.Intervals[i-1].To {
			t.Errorf("a gap between %v and %v", r.Intervals[i-1], r.Intervals[i])
		}
	}
}

func TestProbingUnderConstraintsIsRefused(t *testing.T) {
	l := newTestLab(t, Options{})
	client := lanHost(t, l, "client", 200)
	for name, opts := range map[string]ProbeOptions{
		"no client":         {VIP: vip},
		"IPv6":              {Client: client, VIP: netip.MustParseAddr("fd00::1")},
		"unknown interface": {Client: client, VIP: vip, Interface: "eth9"},
		"too often":         {Client: client, VIP: vip, Interval: time.Microsecond},
	} {
		if _, err := l.Probe(t.Context(), opts); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := client.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Probe(t.Context(), ProbeOptions{Client: client, VIP: vip}); err == nil {
		t.Error("a dead client probes")
	}
}

func TestProbeTableKnowsWhatWasSent(t *testing.T) {
	table, file, err := newProbeTable()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	defer table.unmap()
	if table.find(0) != nil || table.find(1<<31) != nil {
		t.Error("a probe that was not sent is found")
	}
	table.sent.Store(maxProbes)
	if table.find(maxProbes-1) == nil || table.find(maxProbes) != nil {
		t.Error("the table does not end with its last probe")
	}
}
