package main

import (
	"context"
	"errors"
	"time"

	"github.com/keepmesh/keepmesh/lab"
)

// pane is the length of one window of the processor's use: short, so that
// stolen time costs one window and not the measurement.
const pane = 5 * time.Second

// idle measures what nodes cost that have nothing to do: processor, wake-ups,
// memory, all processes of the node together. The systems stand side by side
// in the same windows.
func idle(s setup) func(context.Context, *bench) error {
	return func(ctx context.Context, b *bench) error {
		all, closeAll, err := b.trio(ctx, s)
		if err != nil {
			return err
		}
		err = b.watchIdle(ctx, s, all, b.times(2, 6, 12))
		return errors.Join(err, closeAll())
	}
}

// subject is a node in one of its roles.
type subject struct {
	role string
	pids []int
	cpu  *series
	wake *series
	pss  *series
	priv *series

	cpuBefore  time.Duration
	wakeBefore int
}

func (b *bench) watchIdle(ctx context.Context, s setup, all []*system, want int) error {
	var list []*subject
	for _, y := range all {
		// Gossip, Raft and the first dumps are over by then.
		if _, err := y.steady(ctx); err != nil {
			return err
		}
		holder, err := y.holder()
		if err != nil {
			return err
		}
		for _, n := range y.nodes[:2] {
			role := "backup"
			if n == holder {
				role = "master"
			}
			list = append(list, newSubject(role, s, y.name, n))
		}
	}
	if err := sleep(ctx, 3*time.Second); err != nil {
		return err
	}
	if err := b.panes(ctx, list, want); err != nil {
		return err
	}
	for _, u := range list {
		pss, private := memory(u.pids)
		v := verdict{load: load()}
		u.pss.window(v)
		u.priv.window(v)
		u.pss.add(float64(pss) / 1024)
		u.priv.add(float64(private) / 1024)
	}
	return b.report(flatten(list)...)
}

func newSubject(role string, s setup, system string, n *node) *subject {
	return &subject{
		role: role, pids: n.pids(),
		cpu:  collect("idle "+role+": CPU", s.String(), system, "% of a core"),
		wake: collect("idle "+role+": wake-ups", s.String(), system, "1/s"),
		pss:  collect("idle "+role+": PSS", s.String(), system, "MiB"),
		priv: collect("idle "+role+": private memory", s.String(), system, "MiB"),
	}
}

// panes measures all subjects in the same windows.
func (b *bench) panes(ctx context.Context, list []*subject, want int) error {
	for n := 0; n < 2*want && len(list[0].cpu.Samples) < want; n++ {
		end := watch()
		from := lab.Now()
		for _, u := range list {
			var err error
			if u.cpuBefore, err = cpu(u.pids); err != nil {
				return err
			}
			u.wakeBefore = wakes(u.pids)
		}
		if err := sleep(ctx, pane); err != nil {
			return err
		}
		span := lab.Now() - from
		v := end()
		for _, u := range list {
			after, err := cpu(u.pids)
			if err != nil {
				return err
			}
			if u.cpu.window(v) {
				u.cpu.add(100 * float64(after-u.cpuBefore) / float64(span))
				u.wake.window(v)
				u.wake.add(float64(wakes(u.pids)-u.wakeBefore) / span.Seconds())
			}
		}
	}
	return nil
}

// flatten orders rows so that what is compared stands together.
func flatten(list []*subject) []*series {
	var out []*series
	for _, pick := range []func(*subject) *series{
		func(u *subject) *series { return u.cpu }, func(u *subject) *series { return u.wake },
		func(u *subject) *series { return u.pss }, func(u *subject) *series { return u.priv },
	} {
		for _, role := range []string{"master", "backup"} {
			for _, u := range list {
				if u.role == role && pick(u) != nil {
					out = append(out, pick(u))
				}
			}
		}
	}
	return out
}
