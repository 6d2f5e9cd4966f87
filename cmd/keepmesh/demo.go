package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/keepmesh/keepmesh/lab"
)

// exitInterrupted is what a shell gives a program that SIGINT ended.
const exitInterrupted = 128 + int(syscall.SIGINT)

// demoBusy is the verdict on a measurement that was itself late.
const demoBusy = "this machine was too busy for the demo to prove anything: see the lines with ?, and run it again"

// demoOptions are the command line of the demonstration.
type demoOptions struct {
	quick   bool
	compare bool
	plain   bool
}

func demoCommand() *cobra.Command {
	var opt demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Three nodes and a client in namespaces of this machine: a failover and a blocked path to watch",
		Long: "Builds three nodes with a mesh and a client in network namespaces of this machine, takes the power from one,\n" +
			"blocks VRRP between all, stops a daemon, and measures each millisecond who answers for the address.\n" +
			"Needs root or user namespaces, and nft and ip. Changes nothing outside its namespaces and leaves nothing behind.\n\n" +
			"Exit codes: 0 what is promised was seen, 1 it was not, 130 interrupted.",
		Example: "  keepmesh demo\n  keepmesh demo --compare=false --plain",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if lab.Privileged() {
				return runDemo(cmd.Context(), cmd.OutOrStdout(), opt)
			}
			code, err := lab.ReexecRootless()
			if err != nil {
				return fmt.Errorf("the demo makes network namespaces, which needs root or user namespaces: %w", err)
			}
			if code != 0 {
				return exitError{code: code}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&opt.quick, "quick", false, "shorter scenes")
	cmd.Flags().BoolVar(&opt.compare, "compare", true, "run keepalived through the blocked path at the same time, if it is installed")
	cmd.Flags().BoolVar(&opt.plain, "plain", false, "a line for each change instead of a live picture (the default where output is no terminal)")
	return cmd
}

// runDemo plays all scenes. Its error is what the program ends with.
func runDemo(ctx context.Context, out io.Writer, opt demoOptions) (err error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	d := &demo{out: out, screen: newScreen(out, opt.plain), pace: slowPace}
	if opt.quick {
		d.pace = quickPace
	}
	defer func() {
		closed := d.close()
		if ctx.Err() != nil {
			fmt.Fprintln(out, "\nInterrupted.")
			err = exitError{code: exitInterrupted}
		}
		if closed != nil {
			err = errors.Join(err, fmt.Errorf("cleaning up: %w", closed))
		} else {
			fmt.Fprintln(out, "Cleaned up: nothing is left of the namespaces.")
		}
	}()
	fmt.Fprintf(out, "Three nodes, one client and the address %s in namespaces of this machine.\nCtrl-C ends it and cleans up.\n\n", demoVIP)
	if err := d.build(ctx, opt.compare); err != nil {
		return err
	}
	for _, scene := range []func(context.Context) error{d.powerLoss, d.blockedPath, d.orderlyStop} {
		if err := scene(ctx); err != nil {
			return err
		}
		fmt.Fprintln(out)
	}
	switch {
	case d.broken > 0:
		return exitError{code: 1, text: fmt.Sprintf("%d promises of the demo were not kept: see the lines with !", d.broken)}
	case d.unproven > 0:
		return exitError{code: 1, text: demoBusy}
	}
	return nil
}

// pace is how long the demonstration dwells.
type pace struct {
	before  time.Duration // of the usual, ahead of a fault
	after   time.Duration // of the new state
	blocked time.Duration // protocol 112 is dropped
}

var (
	slowPace = pace{before: 1500 * time.Millisecond, after: 1500 * time.Millisecond, blocked: 12 * time.Second}
	// A backup's timer has to end well within the time of the block.
	quickPace = pace{before: 300 * time.Millisecond, after: 300 * time.Millisecond, blocked: 6 * time.Second}
)

// dwell lets time pass that a viewer needs.
func dwell(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
