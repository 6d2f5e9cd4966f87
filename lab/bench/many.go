package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/keepmesh/keepmesh/lab"
)

// crowd are the rows of a measure of many instances, for one system.
type crowd struct {
	start, exit, first, last, middle *series
	nodes                            []*subject
}

// many measures a pair of nodes with many instances: start, the processor's
// use of master and backup, the takeover of all, the end. The systems run one
// after the other, since thousands of adverts a second of one are load for the
// others, and do so in turn.
func many(s setup) func(context.Context, *bench) error {
	return func(ctx context.Context, b *bench) error {
		names := []string{keepalived, keepmesh}
		crowds := map[string]*crowd{}
		for _, name := range names {
			crowds[name] = &crowd{
				start:  collect("start: all MASTER beyond the timer", s.String(), name, "ms"),
				exit:   collect("TERM to exit", s.String(), name, "ms"),
				first:  collect("takeover: first VIP announced late by", s.String(), name, "ms"),
				middle: collect("takeover: median VIP announced late by", s.String(), name, "ms"),
				last:   collect("takeover: last VIP announced late by", s.String(), name, "ms"),
			}
		}
		var err error
		for n := 0; n < b.times(1, 3, 5) && err == nil; n++ {
			for i := range names {
				name := names[(i+n)%len(names)]
				limit, cancel := context.WithTimeout(ctx, 3*time.Minute)
				err = errors.Join(err, b.crowded(limit, name, s, crowds[name]))
				cancel()
			}
		}
		var list []*series
		for _, pick := range []func(*crowd) *series{
			func(c *crowd) *series { return c.start },
			func(c *crowd) *series { return c.cpu("master") }, func(c *crowd) *series { return c.cpu("backup") },
			func(c *crowd) *series { return c.wake("master") }, func(c *crowd) *series { return c.wake("backup") },
			func(c *crowd) *series { return c.pss("master") },
			func(c *crowd) *series { return c.first }, func(c *crowd) *series { return c.middle },
			func(c *crowd) *series { return c.last }, func(c *crowd) *series { return c.exit },
		} {
			for _, name := range names {
				if row := pick(crowds[name]); row != nil {
					list = append(list, row)
				}
			}
		}
		return errors.Join(err, b.report(list...))
	}
}

func (c *crowd) of(role string) *subject {
	for _, u := range c.nodes {
		if u.role == role {
			return u
		}
	}
	return nil
}

func (c *crowd) cpu(role string) *series {
	if u := c.of(role); u != nil {
		return u.cpu
	}
	return nil
}

func (c *crowd) wake(role string) *series {
	if u := c.of(role); u != nil {
		return u.wake
	}
	return nil
}

func (c *crowd) pss(role string) *series {
	if u := c.of(role); u != nil {
		return u.pss
	}
	return nil
}

// crowded takes all samples of one life of a pair.
func (b *bench) crowded(ctx context.Context, name string, s setup, c *crowd) error {
	y, err := b.build(ctx, name, s, 150, 100)
	if err != nil {
		return err
	}
	err = b.withCrowd(ctx, y, c)
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return errors.Join(err, y.close())
}

func (b *bench) withCrowd(ctx context.Context, y *system, c *crowd) error {
	master, backup := y.nodes[0], y.nodes[1]
	if err := y.allMaster(ctx, master, c.start); err != nil {
		return err
	}
	if err := y.start(backup); err != nil {
		return err
	}
	if err := sleep(ctx, 2*time.Second); err != nil {
		return err
	}
	if err := b.crowdCPU(ctx, y, c); err != nil {
		return err
	}
	y.tape.rewind()
	if err := sleep(ctx, 3*y.setup.interval); err != nil {
		return err
	}
	if err := y.loseAll(ctx, master, backup, c); err != nil {
		return err
	}
	return y.endAll(ctx, backup, c.exit)
}

// allMaster is fromStart without the end.
func (y *system) allMaster(ctx context.Context, n *node, late *series) error {
	end := watch()
	began := lab.Now()
	if err := y.start(n); err != nil {
		return err
	}
	if err := y.advertises(ctx, began, n); err != nil {
		return err
	}
	heard := map[router]time.Duration{}
	y.tape.look(func(all []advert) {
		for _, a := range all {
			if _, ok := heard[a.router]; !ok {
				heard[a.router] = a.at
			}
		}
	})
	v := end()
	if late.window(v) {
		var last time.Duration
		for _, at := range heard {
			last = max(last, at)
		}
		late.add(ms(last - began - y.setup.down(n.priority)))
	}
	return nil
}

// crowdCPU measures both nodes, without a sniffer beside them.
func (b *bench) crowdCPU(ctx context.Context, y *system, c *crowd) error {
	if err := y.tape.pause(); err != nil {
		return err
	}
	for i, role := range []string{"master", "backup"} {
		u := c.of(role)
		if u == nil {
			u = newSubject(role, y.setup, y.name, y.nodes[i])
			c.nodes = append(c.nodes, u)
		}
		u.pids = y.nodes[i].pids()
	}
	had := len(c.nodes[0].cpu.Samples)
	if err := b.panes(ctx, c.nodes, had+b.times(1, 3, 4)); err != nil {
		return err
	}
	for _, u := range c.nodes {
		pss, _ := memory(u.pids)
		u.pss.window(verdict{load: load()})
		u.pss.add(float64(pss) / 1024)
	}
	return y.tape.resume(context.WithoutCancel(ctx), y.lab)
}

// loseAll takes the master's power and measures when each address is
// announced, against that instance's own timer.
func (y *system) loseAll(ctx context.Context, master, backup *node, c *crowd) error {
	end := watch()
	if err := master.host.Kill(); err != nil {
		return err
	}
	err := y.tape.await(ctx, func([]advert) bool { return len(y.tape.garps) >= y.setup.count() })
	if err != nil {
		return fmt.Errorf("waiting for %d addresses, %d are announced: %w", y.setup.count(), len(y.tape.announced()), err)
	}
	v := end()
	if !c.last.window(v) {
		return nil
	}
	c.first.window(v)
	c.middle.window(v)
	heard := map[router]time.Duration{}
	y.tape.look(func(all []advert) {
		for _, a := range all {
			if a.host == master.host.Name() {
				heard[a.router] = a.at
			}
		}
	})
	announced := y.tape.announced()
	var late []float64
	for n := range y.setup.count() {
		late = append(late, ms(announced[vip(n)]-heard[y.setup.on(n)]-y.setup.down(backup.priority)))
	}
	slices.Sort(late)
	c.first.add(late[0])
	c.middle.add(late[len(late)/2])
	c.last.add(late[len(late)-1])
	return nil
}

func (y *system) endAll(ctx context.Context, n *node, exit *series) error {
	gone, err := watchExits(n.pids())
	if err != nil {
		return err
	}
	end := watch()
	asked := lab.Now()
	if err := n.proc.Signal(syscall.SIGTERM); err != nil {
		gone.close()
		return err
	}
	ended, err := gone.wait(ctx)
	if err != nil {
		return err
	}
	if exit.window(end()) {
		exit.add(ms(ended - asked))
	}
	return nil
}
