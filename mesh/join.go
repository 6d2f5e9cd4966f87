package mesh

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/keepmesh/keepmesh/mesh/link"
)

const resolveTimeout = 3 * time.Second

func systemResolve(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// joinLoop tries every seed whose node is not a member, and the last address of
// every member that died, for ever. The pause doubles from RetryMin to RetryMax
// and starts anew when a member is lost.
func (m *Mesh) joinLoop() {
	defer m.wg.Done()
	pause := m.cfg.RetryMin
	for {
		missing := m.joinOnce()
		wait := m.cfg.RetryMax
		if missing {
			wait = pause/2 + rand.N(pause)
			pause = min(2*pause, m.cfg.RetryMax)
		} else {
			pause = m.cfg.RetryMin
		}
		timer := time.NewTimer(wait)
		select {
		case <-m.ctx.Done():
			timer.Stop()
			return
		case <-m.kick:
			timer.Stop()
			pause = m.cfg.RetryMin
			// The network that just failed seldom works in the same instant.
			select {
			case <-m.ctx.Done():
				return
			case <-time.After(m.cfg.RetryMin/2 + rand.N(m.cfg.RetryMin)):
			}
		case <-timer.C:
		}
	}
}

// joinOnce reports whether anybody is still missing.
func (m *Mesh) joinOnce() bool {
	missing := false
	for n, seed := range m.cfg.Seeds {
		err := m.joinSeed(seed)
		if m.ctx.Err() != nil {
			return true
		}
		missing = missing || err != nil
		m.noteSeed(n, seed, err)
	}
	for _, addr := range m.deadAddrs() {
		if _, err := m.list.Join([]string{addr.String()}); err != nil {
			m.log.Debug("member that died does not answer", "addr", addr, "err", err)
			missing = true
		}
		if m.ctx.Err() != nil {
			return true
		}
	}
	return missing
}

// joinSeed makes sure that the node behind a seed is a member. This node itself
// counts: seed lists are the same on every node.
func (m *Mesh) joinSeed(seed string) error {
	addrs, err := m.resolve(seed)
	if err != nil {
		return err
	}
	var errs []error
	for _, addr := range addrs {
		if m.isMember(addr) {
			return nil
		}
		// The error names what is wrong; the library's own text repeats addresses.
		if err := m.joinAddr(addr); err != nil {
			errs = append(errs, err)
			continue
		}
		return nil
	}
	return errors.Join(errs...)
}

func (m *Mesh) joinAddr(addr netip.AddrPort) error {
	// A stream of our own first: its error says which side refuses, and why.
	ctx, cancel := context.WithTimeout(m.ctx, 5*time.Second)
	defer cancel()
	conn, err := m.cfg.Link.Dial(ctx, link.Gossip, addr.String())
	if err != nil {
		return err
	}
	conn.Close()
	_, err = m.list.Join([]string{addr.String()})
	return err
}

func (m *Mesh) resolve(seed string) ([]netip.AddrPort, error) {
	port := m.cfg.Link.Addrs()[0].Port()
	if addr, err := netip.ParseAddr(seed); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(addr.Unmap(), port)}, nil
	}
	host := seed
	if h, p, err := net.SplitHostPort(seed); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("seed %q: port %q is not a number from 1 to 65535: correct join in mesh.conf", seed, p)
		}
		host, port = h, uint16(n)
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(addr.Unmap(), port)}, nil
	}
	ctx, cancel := context.WithTimeout(m.ctx, resolveTimeout)
	defer cancel()
	ips, err := m.cfg.Resolve(ctx, host)
	if err != nil || len(ips) == 0 {
		return nil, fmt.Errorf("seed %q does not resolve (%w): correct join in mesh.conf or the name service; it is tried again", seed, orNoAddress(err))
	}
	var out []netip.AddrPort
	for _, ip := range ips {
		out = append(out, netip.AddrPortFrom(ip.Unmap(), port))
	}
	return out, nil
}

func orNoAddress(err error) error {
	if err == nil {
		return errors.New("no address")
	}
	return err
}

func (m *Mesh) isMember(addr netip.AddrPort) bool {
	if slices.Contains(m.cfg.Link.Addrs(), addr) {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, mem := range m.members {
		if mem.addr == addr && mem.status == Alive {
			return true
		}
	}
	return false
}

func (m *Mesh) deadAddrs() []netip.AddrPort {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []netip.AddrPort
	for uuid, mem := range m.members {
		if mem.status == Dead && !m.table.left(uuid, mem.Boot) {
			out = append(out, mem.addr)
			if mem.moved.IsValid() {
				out = append(out, mem.moved)
			}
		}
	}
	return out
}

func (m *Mesh) noteSeed(n int, seed string, err error) {
	m.mu.Lock()
	s := &m.seeds[n]
	was := s.OK
	s.OK, s.Err = err == nil, ""
	if err != nil {
		s.Err = err.Error()
	}
	if was != s.OK {
		s.Since = time.Now()
	}
	m.mu.Unlock()
	if err == nil {
		if !was {
			m.log.Debug("seed is a member", "seed", seed)
		}
		return
	}
	if ok, repeats := m.quiet.Allow("seed " + seed + err.Error()); ok {
		m.log.Warn("seed cannot be joined yet, trying on", "seed", seed, "err", err, "repeats", repeats)
	}
}
