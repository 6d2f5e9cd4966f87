package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/keepmesh/keepmesh/lab"
)

// router names a virtual router of a lab: its interface and VRID.
type router struct {
	iface string
	vrid  uint8
}

// advert is one that entered the switch.
type advert struct {
	at       time.Duration
	host     string
	router   router
	priority uint8
}

// tape records what the routers of a lab say.
type tape struct {
	sniffer *lab.Sniffer

	mu      sync.Mutex
	adverts []advert
	garps   map[netip.Addr]time.Duration // first gratuitous ARP of each address since the last rewind, by any host
	late    time.Duration
}

func record(ctx context.Context, l *lab.Lab) (*tape, error) {
	t := &tape{garps: map[netip.Addr]time.Duration{}}
	s, err := l.Sniff(ctx, t.frame)
	t.sniffer = s
	return t, err
}

func (t *tape) frame(f lab.Frame) {
	late := lab.Now() - f.At
	t.mu.Lock()
	defer t.mu.Unlock()
	t.late = max(t.late, late)
	if a, ok := lab.DecodeAdvert(f.Bytes); ok {
		t.adverts = append(t.adverts, advert{f.At, f.Host, router{f.Iface, a.VRID}, a.Priority})
		return
	}
	if a, ok := lab.DecodeARP(f.Bytes); ok && a.Gratuitous() {
		if _, seen := t.garps[a.Sender]; !seen {
			t.garps[a.Sender] = f.At
		}
	}
}

// rewind forgets everything.
func (t *tape) rewind() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.adverts = t.adverts[:0]
	clear(t.garps)
	t.late = 0
}

// keepFrom forgets adverts before an instant, and all announcements.
func (t *tape) keepFrom(from time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := t.adverts[:0]
	for _, a := range t.adverts {
		if a.at >= from {
			kept = append(kept, a)
		}
	}
	t.adverts = kept
	clear(t.garps)
	t.late = 0
}

// look calls fn with the adverts so far, in order; fn must not keep them.
func (t *tape) look(fn func([]advert)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fn(t.adverts)
}

// announced is when each address was announced first.
func (t *tape) announced() map[netip.Addr]time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[netip.Addr]time.Duration, len(t.garps))
	for k, v := range t.garps {
		out[k] = v
	}
	return out
}

// await looks every few milliseconds until fn is satisfied. Instants come from
// the frames, so how often it looks is of no matter to them.
func (t *tape) await(ctx context.Context, fn func([]advert) bool) error {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		done := false
		t.look(func(all []advert) { done = fn(all) })
		if done {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// first gives the first advert from an instant on of any host but one.
func first(all []advert, from time.Duration, not string) (advert, bool) {
	for _, a := range all {
		if a.at >= from && a.host != not && a.priority != 0 {
			return a, true
		}
	}
	return advert{}, false
}

// last gives a host's last advert with a priority above 0.
func last(all []advert, host string) (advert, bool) {
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].host == host && all[i].priority != 0 {
			return all[i], true
		}
	}
	return advert{}, false
}

// lateness is by how much the sniffer's reading lagged behind the kernel at
// most; the instants are the kernel's all the same.
func (t *tape) lateness() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.late
}

// pause stops the sniffer. Frames that it was too slow for spoil what was
// measured by it: that is an error.
func (t *tape) pause() error {
	drops, err := t.sniffer.Stop()
	if drops > 0 {
		err = errors.Join(err, fmt.Errorf("the sniffer lost %d frames: these figures are worth nothing", drops))
	}
	return err
}

// resume begins a new recording.
func (t *tape) resume(ctx context.Context, l *lab.Lab) error {
	t.rewind()
	s, err := l.Sniff(ctx, t.frame)
	t.mu.Lock()
	t.sniffer = s
	t.mu.Unlock()
	return err
}
