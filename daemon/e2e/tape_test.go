package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keepmesh/keepmesh/lab"
)

// heard is one advert on the tape.
type heard struct {
	At    time.Duration // on the lab's clock
	Host  string
	Iface string
	lab.Advert
}

// tape records each advert and each announcement of an address.
type tape struct {
	sniffer *lab.Sniffer

	mu      sync.Mutex
	adverts []heard
	garps   []garp
	changed chan struct{} // closed at each new record
}

type garp struct {
	At   time.Duration
	Host string
	Addr netip.Addr
}

func newTape(t *testing.T, l *lab.Lab) *tape {
	t.Helper()
	p := &tape{changed: make(chan struct{})}
	s, err := l.Sniff(t.Context(), p.take)
	if err != nil {
		t.Fatal(err)
	}
	p.sniffer = s
	t.Cleanup(func() {
		if drops, err := s.Stop(); err != nil || drops > 0 {
			t.Errorf("the tape has lost %d frames, %v", drops, err)
		}
		if t.Failed() {
			t.Logf("the adverts of this lab:\n%s", strings.Join(p.course(0, 0), "\n"))
		}
	})
	return p
}

func (p *tape) take(f lab.Frame) {
	a, isAdvert := lab.DecodeAdvert(f.Bytes)
	arp, isARP := lab.DecodeARP(f.Bytes)
	if !isAdvert && !(isARP && arp.Gratuitous()) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if isAdvert {
		p.adverts = append(p.adverts, heard{f.At, f.Host, f.Iface, a})
	} else {
		p.garps = append(p.garps, garp{f.At, f.Host, arp.Sender})
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// next waits for the first advert after an instant that match accepts.
func (p *tape) next(t *testing.T, after time.Duration, limit time.Duration, what string, match func(heard) bool) heard {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	at := 0
	for {
		p.mu.Lock()
		for ; at < len(p.adverts); at++ {
			if a := p.adverts[at]; a.At > after && match(a) {
				p.mu.Unlock()
				return a
			}
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("within %s there was no advert: %s", limit, what)
		}
	}
}

// from waits for an advert of a host with a priority, after an instant.
func (p *tape) from(t *testing.T, after time.Duration, host string, vrid, priority uint8) heard {
	t.Helper()
	return p.next(t, after, patience, fmt.Sprintf("%s vrid %d priority %d", host, vrid, priority), func(a heard) bool {
		return a.Host == host && a.VRID == vrid && a.Priority == priority
	})
}

// between lists the adverts of one host and VRID; zero values are any.
func (p *tape) between(from, to time.Duration, host string, vrid uint8) []heard {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []heard
	for _, a := range p.adverts {
		if a.At > from && (to == 0 || a.At <= to) && (host == "" || a.Host == host) && (vrid == 0 || a.VRID == vrid) {
			out = append(out, a)
		}
	}
	return out
}

// course is who advertised with which priority after an instant, repetitions
// left out.
func (p *tape) course(after time.Duration, vrid uint8) []string {
	var out []string
	for _, a := range p.between(after, 0, "", vrid) {
		s := fmt.Sprintf("%s %d", a.Host, a.Priority)
		if vrid == 0 {
			s = fmt.Sprintf("%s vrid %d", s, a.VRID)
		}
		if len(out) == 0 || out[len(out)-1] != s {
			out = append(out, s)
		}
	}
	return out
}

// longestGap is the longest silence of a host between two instants.
func (p *tape) longestGap(from, to time.Duration, host string, vrid uint8) time.Duration {
	last, longest := from, time.Duration(0)
	for _, a := range p.between(from, to, host, vrid) {
		longest, last = max(longest, a.At-last), a.At
	}
	return max(longest, to-last)
}

// announced counts a host's announcements of an address after an instant.
func (p *tape) announced(after time.Duration, host string, addr netip.Addr) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, g := range p.garps {
		if g.At > after && g.Host == host && g.Addr == addr {
			n++
		}
	}
	return n
}

// speaks checks that one host alone advertised a VRID between two instants,
// and never paused for an interval and a half.
func (p *tape) speaks(t *testing.T, from, to time.Duration, host string, vrid uint8) {
	t.Helper()
	if gap := p.longestGap(from, to, host, vrid); gap > 1500*time.Millisecond {
		t.Errorf("%s was silent for %s", host, gap)
	}
	others := slices.DeleteFunc(p.between(from, to, "", vrid), func(a heard) bool { return a.Host == host })
	if len(others) > 0 {
		t.Errorf("while %s was to hold, %s advertised priority %d", host, others[0].Host, others[0].Priority)
	}
}
