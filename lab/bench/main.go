package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"github.com/keepmesh/keepmesh/lab"
)

// options are the command line.
type options struct {
	bin   string
	out   string
	only  *regexp.Regexp
	scale int // 0: quick, 1: default, 2: full
}

// times picks a number of repetitions by how thorough the run is.
func (o *options) times(quick, usual, full int) int { return [...]int{quick, usual, full}[o.scale] }

// measure is one entry of the programme.
type measure struct {
	name string
	run  func(context.Context, *bench) error
}

var measures = []measure{
	{"takeover-1s", takeover(setup{version: 2, interval: time.Second})},
	{"takeover-100ms", takeover(setup{version: 3, interval: 100 * time.Millisecond})},
	{"takeover-10ms", takeover(setup{version: 3, interval: 10 * time.Millisecond})},
	{"term", term(setup{version: 2, interval: time.Second})},
	{"idle-1s", idle(setup{version: 2, interval: time.Second})},
	{"idle-100ms", idle(setup{version: 3, interval: 100 * time.Millisecond})},
	{"start", start(setup{version: 2, interval: time.Second})},
	{"reload", reload(setup{version: 3, interval: 100 * time.Millisecond})},
	{"many-255", many(setup{version: 3, interval: 100 * time.Millisecond, instances: 255})},
	{"many-1000", many(setup{version: 3, interval: 100 * time.Millisecond, instances: 1000})},
}

func main() {
	lab.Main()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	var o options
	flag.StringVar(&o.bin, "bin", "bin/keepmesh", "the keepmesh binary to measure")
	flag.StringVar(&o.out, "out", "bench.jsonl", "file for the rows, one JSON object a line")
	only := flag.String("only", "", "run only the measures whose name matches this expression")
	quick := flag.Bool("quick", false, "few samples: a look, not a measurement")
	full := flag.Bool("full", false, "60 takeovers each instead of 20")
	flag.Parse()
	var err error
	if o.only, err = regexp.Compile(*only); err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	switch {
	case *quick:
		o.scale = 0
	case *full:
		o.scale = 2
	default:
		o.scale = 1
	}
	if _, err := os.Stat(o.bin); err != nil {
		return fmt.Errorf("%w: build it with `make build`, or name it with -bin", err)
	}
	if err := lab.Keepalived.Probe(); err != nil {
		return fmt.Errorf("nothing to compare with: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	b, err := newBench(o)
	if err != nil {
		return err
	}
	var failed []error
	for _, m := range measures {
		if !o.only.MatchString(m.name) || ctx.Err() != nil {
			continue
		}
		b.progress("%s", m.name)
		if err := m.run(ctx, b); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", m.name, err))
			b.progress("%s: %v", m.name, err)
		}
	}
	return errors.Join(append(failed, b.finish())...)
}
