package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/keepmesh/keepmesh/lab"
)

// start measures how much longer than its timer a lone node needs from its
// start to its first advert. A mesh has no part in it.
func start(s setup) func(context.Context, *bench) error {
	return func(ctx context.Context, b *bench) error {
		var all []*system
		rows := map[string]*series{}
		var list []*series
		var errs []error
		for _, name := range []string{keepalived, keepmesh} {
			y, err := b.build(ctx, name, s, 100)
			if err != nil {
				errs = append(errs, err)
				break
			}
			all = append(all, y)
			rows[name] = collect("start: MASTER beyond the timer", s.String(), name, "ms")
			list = append(list, rows[name])
		}
		if len(errs) == 0 {
			errs = append(errs, rounds(ctx, b, all, b.times(3, 10, 20), func(y *system) int { return len(rows[y.name].Samples) }, func(ctx context.Context, y *system) error {
				return y.fromStart(ctx, rows[y.name])
			}))
		}
		errs = append(errs, b.report(list...))
		for _, y := range all {
			errs = append(errs, y.close())
		}
		return errors.Join(errs...)
	}
}

// fromStart starts the first node, waits until all its instances are master,
// and stops it again.
func (y *system) fromStart(ctx context.Context, late *series) error {
	n := y.nodes[0]
	y.tape.rewind()
	end := watch()
	began := lab.Now()
	if err := y.start(n); err != nil {
		return err
	}
	if err := y.advertises(ctx, began, n); err != nil {
		return err
	}
	var all time.Duration // when the last instance spoke first
	y.tape.look(func(list []advert) {
		seen := map[router]bool{}
		for _, a := range list {
			if !seen[a.router] {
				seen[a.router] = true
				all = a.at
			}
		}
	})
	v := end()
	if late.window(v) {
		late.add(ms(all - began - y.setup.down(n.priority)))
	}
	_, err := n.proc.Stop(ctx)
	return err
}

// reload measures SIGHUP with an unchanged file: until the daemon has said its
// last word about it, and the longest gap between adverts around it.
func reload(s setup) func(context.Context, *bench) error {
	return func(ctx context.Context, b *bench) error {
		all, closeAll, err := b.trio(ctx, s)
		if err != nil {
			return err
		}
		took, gap := map[string]*series{}, map[string]*series{}
		var list []*series
		for _, y := range all {
			took[y.name] = collect("reload of nothing: last word after", s.String(), y.name, "ms")
			gap[y.name] = collect("reload of nothing: longest gap over the interval", s.String(), y.name, "ms")
		}
		for _, y := range all {
			list = append(list, took[y.name])
		}
		for _, y := range all {
			list = append(list, gap[y.name])
		}
		err = rounds(ctx, b, all, b.times(4, 10, 20), func(y *system) int { return len(took[y.name].Samples) }, func(ctx context.Context, y *system) error {
			return y.reloadHolder(ctx, took[y.name], gap[y.name])
		})
		return errors.Join(err, b.report(list...), closeAll())
	}
}

func (y *system) reloadHolder(ctx context.Context, took, gap *series) error {
	n, err := y.steady(ctx)
	if err != nil {
		return err
	}
	y.tape.keepFrom(lab.Now() - 2*y.setup.interval)
	end := watch()
	asked := lab.Now()
	if err := n.proc.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	if err := sleep(ctx, 5*y.setup.interval+300*time.Millisecond); err != nil {
		return err
	}
	v := end()
	if !took.window(v) {
		return nil
	}
	gap.window(v)
	said := n.out.when()
	if said < asked {
		return errors.New("a reload that the daemon says nothing about")
	}
	took.add(ms(said - asked))
	var longest time.Duration
	stranger := ""
	y.tape.look(func(all []advert) {
		for i, a := range all {
			if a.host != n.host.Name() {
				stranger = a.host
			}
			if i > 0 {
				longest = max(longest, a.at-all[i-1].at)
			}
		}
	})
	if stranger != "" {
		return fmt.Errorf("after the reload of %s, %s advertised", n.host.Name(), stranger)
	}
	gap.add(ms(longest - y.setup.interval))
	return nil
}
