package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/keepmesh/keepmesh/lab"
)

// trio builds all three systems, each with two nodes of equal priority, which
// take turns in holding, and a third below them.
func (b *bench) trio(ctx context.Context, s setup) ([]*system, func() error, error) {
	var all []*system
	closeAll := func() error {
		var errs []error
		for _, y := range all {
			errs = append(errs, y.close())
		}
		return errors.Join(errs...)
	}
	for _, name := range []string{keepalived, keepmesh, meshed} {
		y, err := b.build(ctx, name, s, 100, 100, 50)
		if err == nil {
			all = append(all, y)
			err = y.settled(ctx)
		}
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("%s: %w", name, err), closeAll())
		}
	}
	return all, closeAll, nil
}

// takeover measures how late the successor's first advert is against its own
// timer after the holder's host has lost its power.
func takeover(s setup) func(context.Context, *bench) error {
	return func(ctx context.Context, b *bench) error {
		all, closeAll, err := b.trio(ctx, s)
		if err != nil {
			return err
		}
		late, garp := map[string]*series{}, map[string]*series{}
		for _, y := range all {
			late[y.name] = collect("takeover: advert late by", s.String(), y.name, "ms")
			garp[y.name] = collect("takeover: advert to ARP", s.String(), y.name, "ms")
		}
		want := b.times(6, 20, 60)
		err = rounds(ctx, b, all, want, func(y *system) int { return len(late[y.name].Samples) }, func(ctx context.Context, y *system) error {
			return y.loseHolder(ctx, late[y.name], garp[y.name])
		})
		report := b.report(late[keepalived], late[keepmesh], late[meshed], garp[keepalived], garp[keepmesh], garp[meshed])
		return errors.Join(err, report, closeAll())
	}
}

// rounds lets the systems take turns until each has its samples, or half as
// many again were thrown away.
func rounds(ctx context.Context, b *bench, all []*system, want int, have func(*system) int, one func(context.Context, *system) error) error {
	for n := 0; n < want+want/2+2; n++ {
		done := true
		for i := range all {
			y := all[(i+n)%len(all)]
			if have(y) >= want {
				continue
			}
			done = false
			limit, cancel := context.WithTimeout(ctx, patience)
			err := one(limit, y)
			cancel()
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", y.name, n+1, err)
			}
		}
		if done {
			return nil
		}
	}
	return nil
}

// holder is the node whose adverts were the last.
func (y *system) holder() (*node, error) {
	var a advert
	y.tape.look(func(all []advert) {
		for i := len(all) - 1; i >= 0; i-- {
			if all[i].priority != 0 {
				a = all[i]
				return
			}
		}
	})
	n := y.node(a.host)
	if n == nil {
		return nil, errors.New("nobody advertises")
	}
	return n, nil
}

// steady waits until the holder has advertised a few times undisturbed.
func (y *system) steady(ctx context.Context) (*node, error) {
	from := lab.Now()
	var host string
	err := y.tape.await(ctx, func(all []advert) bool {
		hosts, count := map[string]int{}, 0
		for _, a := range all {
			if a.at >= from {
				hosts[a.host]++
				count++
				host = a.host
			}
		}
		if len(hosts) > 1 {
			from = lab.Now()
			return false
		}
		return count >= 2
	})
	if err != nil {
		return nil, fmt.Errorf("waiting for one holder: %w", err)
	}
	return y.node(host), nil
}

// loseHolder takes the power of the holder's host, measures the takeover, and
// brings the host back as a backup.
func (y *system) loseHolder(ctx context.Context, late, garp *series) error {
	if _, err := y.steady(ctx); err != nil {
		return err
	}
	if err := sleep(ctx, rand.N(y.setup.interval)); err != nil {
		return err
	}
	old, err := y.holder()
	if err != nil {
		return err
	}
	y.tape.keepFrom(lab.Now() - 2*y.setup.interval)
	end := watch()
	killed := lab.Now()
	if err := old.host.Kill(); err != nil {
		return err
	}
	var before, after advert
	err = y.tape.await(ctx, func(all []advert) bool {
		var ok bool
		after, ok = first(all, killed, old.host.Name())
		before, _ = last(all, old.host.Name())
		return ok
	})
	if err != nil {
		return fmt.Errorf("waiting for the successor of %s: %w", old.host.Name(), err)
	}
	if err := sleep(ctx, 20*time.Millisecond); err != nil {
		return err
	}
	v := end()
	successor := y.node(after.host)
	if late.window(v) && before.host != "" {
		late.add(ms(after.at - before.at - y.setup.down(successor.priority)))
		if at, ok := y.tape.announced()[vip(0)]; ok && garp.window(v) {
			garp.add(ms(at - after.at))
		}
	}
	late.SnifferMS = max(late.SnifferMS, ms(y.tape.lateness()))
	if err := old.host.Boot(ctx); err != nil {
		return err
	}
	return y.ready(ctx, old)
}

// term measures SIGTERM: until every process is gone, until the farewell is on
// the wire, and how late the successor is against Skew_Time.
func term(s setup) func(context.Context, *bench) error {
	return func(ctx context.Context, b *bench) error {
		all, closeAll, err := b.trio(ctx, s)
		if err != nil {
			return err
		}
		names := []string{"TERM to exit", "TERM to priority 0", "TERM to successor's advert", "priority 0: successor late by"}
		rows := map[string][]*series{}
		var list []*series
		for _, name := range names {
			for _, y := range all {
				r := collect(name, s.String(), y.name, "ms")
				rows[y.name] = append(rows[y.name], r)
				list = append(list, r)
			}
		}
		err = rounds(ctx, b, all, b.times(4, 10, 20), func(y *system) int { return len(rows[y.name][0].Samples) }, func(ctx context.Context, y *system) error {
			return y.terminate(ctx, rows[y.name])
		})
		return errors.Join(err, b.report(list...), closeAll())
	}
}

func (y *system) terminate(ctx context.Context, rows []*series) error {
	old, err := y.steady(ctx)
	if err != nil {
		return err
	}
	if err := sleep(ctx, rand.N(y.setup.interval)); err != nil {
		return err
	}
	y.tape.keepFrom(lab.Now() - 2*y.setup.interval)
	gone, err := watchExits(old.pids())
	if err != nil {
		return err
	}
	end := watch()
	asked := lab.Now()
	if err := old.proc.Signal(syscall.SIGTERM); err != nil {
		gone.close()
		return err
	}
	ended, err := gone.wait(ctx)
	if err != nil {
		return err
	}
	var farewell, after advert
	err = y.tape.await(ctx, func(all []advert) bool {
		for _, a := range all {
			if a.at >= asked && a.host == old.host.Name() && a.priority == 0 {
				farewell = a
			}
		}
		var ok bool
		after, ok = first(all, asked, old.host.Name())
		return ok
	})
	if err != nil {
		return fmt.Errorf("waiting for the successor of %s: %w", old.host.Name(), err)
	}
	v := end()
	skew := y.setup.skew(y.node(after.host).priority)
	for i, x := range []float64{ms(ended - asked), ms(farewell.at - asked), ms(after.at - asked), ms(after.at - farewell.at - skew)} {
		if rows[i].window(v) {
			rows[i].add(x)
		}
	}
	if _, err := old.proc.Wait(ctx); err != nil {
		return err
	}
	return y.ready(ctx, old)
}
