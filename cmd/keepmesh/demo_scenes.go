package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/keepmesh/keepmesh/lab"
)

const (
	demoAdvert = time.Second // advert_int of the nodes
	// slack is what is granted beyond a bound for cutting the cable, the kernel
	// and the probes, beside the prober's own lateness.
	slack = 100 * time.Millisecond
)

// tell prints one line of evidence.
func (d *demo) tell(format string, args ...any) {
	fmt.Fprintln(d.out, "   "+fmt.Sprintf(format, args...))
}

// promise prints a line of evidence that has to be true for the demonstration
// to have succeeded.
func (d *demo) promise(kept bool, r lab.Report, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if kept {
		d.tell("%s", d.screen.good(text))
		return
	}
	if r.MaxLateness > lab.MaxProberLateness || r.Lost > 0 {
		d.unproven++
		d.tell("%s", d.screen.bad("? "+text+"  The machine was too busy to measure."))
	} else {
		d.broken++
		d.tell("%s", d.screen.bad("! "+text))
	}
	d.tell("  what was seen: %s", strings.ReplaceAll(r.String(), "\n", "\n   "))
}

// shot is a measurement with its picture.
type shot struct {
	*lab.Prober
	strip *strip
}

func (d *demo) measure(ctx context.Context, title string) (*shot, error) {
	fmt.Fprintln(d.out, d.screen.bold(title))
	s := &shot{strip: d.screen.strip()}
	p, err := d.nodes.lab.Probe(ctx, lab.ProbeOptions{
		Client: d.nodes.client, VIP: demoVIP, Live: s.strip.update, LiveEvery: liveTime,
	})
	s.Prober = p
	return s, err
}

// mark notes what happens now in the report and in the picture.
func (s *shot) mark(what string) time.Duration {
	at := s.Mark(what)
	s.strip.mark(at, what)
	return at
}

// end stops the measurement and completes the picture.
func (s *shot) end() (lab.Report, error) {
	r, err := s.Stop()
	s.strip.end()
	return r, err
}

// holder waits until a node alone has the address, and then a moment more.
func (d *demo) holder(ctx context.Context, i int) error {
	waiting, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	if err := d.nodes.lab.WaitHolders(waiting, demoVIP, demoNodes[i].name); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return d.failed(demoNodes[i].name+" alone should have the address", err)
	}
	return dwell(ctx, d.pace.after)
}

// powerLoss takes the power from the holder, and gives it back.
func (d *demo) powerLoss(ctx context.Context) error {
	s, err := d.measure(ctx, "1. lb1, the master, loses power")
	if err != nil {
		return err
	}
	defer s.end()
	if err := dwell(ctx, d.pace.before); err != nil {
		return err
	}
	cut := s.mark("power lost")
	if err := d.nodes.hosts[0].Kill(); err != nil {
		return err
	}
	if err := d.holder(ctx, 1); err != nil {
		return err
	}
	back := s.mark("power is back")
	if err := d.nodes.hosts[0].Boot(ctx); err != nil {
		return err
	}
	if err := d.start(0); err != nil {
		return err
	}
	if err := d.holder(ctx, 0); err != nil {
		return err
	}
	r, err := s.end()
	if err != nil {
		return err
	}
	skew := demoNodes[1].skew()
	outage := r.Window(cut, back).LongestOutage
	low, high, grant := 2*demoAdvert+skew, 3*demoAdvert+skew, slack+r.MaxLateness
	d.promise(outage >= low-grant && outage <= high+grant, r,
		"Nobody for %s ms, then lb2.  (VRRP's own bounds: %s to %s ms)", ms(outage), ms(low), ms(high))
	d.returned(r, back)
	return nil
}

// returned tells of lb1's return by preemption.
func (d *demo) returned(r lab.Report, since time.Duration) {
	w := r.Window(since, r.To)
	at := time.Duration(-1)
	for _, i := range w.Intervals {
		if slices.Equal(i.Hosts, []string{demoNodes[0].name}) {
			at = i.From - since
			break
		}
	}
	d.promise(at >= 0, w, "Back, lb1 listened for %s s, then took over from lb2.  (nobody %d ms, both %d ms)",
		seconds(max(at, 0)), w.NoneMS, w.DualMS)
}

// blockedPath drops VRRP between all nodes; the mesh stays.
func (d *demo) blockedPath(ctx context.Context) error {
	if err := d.wait(ctx, func() bool {
		for i := range demoNodes {
			if s := d.ask(ctx, i); s == nil || !whole(s) {
				return false
			}
		}
		return true
	}); err != nil {
		return d.failed("the mesh did not become whole again", err)
	}
	s, err := d.measure(ctx, fmt.Sprintf("2. protocol 112 (VRRP) is blocked between all nodes for %s s", seconds(d.pace.blocked)))
	if err != nil {
		return err
	}
	defer s.end()
	if err := dwell(ctx, d.pace.before); err != nil {
		return err
	}
	other := d.startOther(ctx)
	s.mark("blocked")
	until := time.Now().Add(d.pace.blocked)
	fault, err := d.nodes.lab.DropProtocol(ctx, lab.ProtoVRRP)
	if err != nil {
		return err
	}
	vetoed := d.wait(ctx, func() bool { return d.verdict(ctx, 1) == "vetoed" && d.verdict(ctx, 2) == "vetoed" })
	if vetoed != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	var view strings.Builder
	if now := d.ask(ctx, 1); now != nil {
		now.Write(&view)
	}
	if err := dwell(ctx, time.Until(until)); err != nil {
		return err
	}
	hits, err := fault.Hits()
	if err != nil {
		return err
	}
	if err := fault.Undo(); err != nil {
		return err
	}
	s.mark("open again")
	if err := d.holder(ctx, 0); err != nil {
		return err
	}
	r, err := s.end()
	if err != nil {
		return err
	}
	d.promise(hits > 0 && onlyHolder(r, demoNodes[0].name), r, "One holder throughout: lb1.  (%d VRRP frames were dropped)", hits)
	d.promise(vetoed == nil, r, "lb2 and lb3 heard lb1 by the mesh alone and asked it: vetoed.")
	d.tellOther(other)
	fmt.Fprintln(d.out, "\n   lb2$ keepmesh status")
	d.screen.quote(view.String())
	return nil
}

// onlyHolder reports whether nobody but one node ever answered, and it without
// a gap longer than a busy machine makes.
func onlyHolder(r lab.Report, name string) bool {
	for _, i := range r.Intervals {
		if len(i.Hosts) > 1 || len(i.Hosts) == 1 && i.Hosts[0] != name {
			return false
		}
	}
	return r.Probes > 0 && r.LongestOutage <= slack+r.MaxLateness
}

// startOther does the same to keepalived, if there is one, and returns at once.
// The channel gives its report, or is closed.
func (d *demo) startOther(ctx context.Context) <-chan lab.Report {
	result := make(chan lab.Report, 1)
	// It began together with the others; where it cannot run, it never will.
	waiting, cancel := context.WithTimeout(ctx, demoAdvert)
	defer cancel()
	if d.other == nil || d.other.lab.WaitHolders(waiting, demoVIP, demoNodes[0].name) != nil {
		close(result)
		return result
	}
	go func() {
		defer close(result)
		p, err := d.other.lab.Probe(ctx, lab.ProbeOptions{Client: d.other.client, VIP: demoVIP})
		if err != nil {
			return
		}
		fault, err := d.other.lab.DropProtocol(ctx, lab.ProtoVRRP)
		if err != nil {
			return
		}
		_ = dwell(ctx, d.pace.blocked)
		if fault.Undo() != nil {
			return
		}
		_ = dwell(ctx, d.pace.after)
		if r, err := p.Stop(); err == nil && ctx.Err() == nil {
			result <- r
		}
	}()
	return result
}

func (d *demo) tellOther(result <-chan lab.Report) {
	r, ok := <-result
	if ok {
		d.tell("keepalived beside it, same block: two or more holders for %s ms.", ms(time.Duration(r.DualMS)*time.Millisecond))
	}
}

// orderlyStop ends the holder's daemon and starts it again.
func (d *demo) orderlyStop(ctx context.Context) error {
	s, err := d.measure(ctx, "3. lb1's daemon is stopped in good order (SIGTERM), then started")
	if err != nil {
		return err
	}
	defer s.end()
	if err := dwell(ctx, d.pace.before); err != nil {
		return err
	}
	term := s.mark("SIGTERM")
	if err := d.nodes.daemons[0].Signal(syscall.SIGTERM); err != nil {
		return err
	}
	stopped, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	if _, err := d.nodes.daemons[0].Wait(stopped); err != nil {
		return d.failed("lb1's daemon did not stop", err)
	}
	ended := lab.Now()
	if err := d.holder(ctx, 1); err != nil {
		return err
	}
	back := s.mark("started again")
	if err := d.start(0); err != nil {
		return err
	}
	if err := d.holder(ctx, 0); err != nil {
		return err
	}
	r, err := s.end()
	if err != nil {
		return err
	}
	skew := demoNodes[1].skew()
	outage := r.Window(term, back).LongestOutage
	d.promise(outage <= skew+slack+r.MaxLateness, r,
		"It ended in %s ms.  Nobody for %s ms, then lb2.  (Skew_Time of lb2: %s ms)", ms(ended-term), ms(outage), ms(skew))
	d.returned(r, back)
	return nil
}

// ms prints milliseconds with a space at the thousands.
func ms(d time.Duration) string {
	n := d.Round(time.Millisecond).Milliseconds()
	if n < 1000 {
		return strconv.FormatInt(n, 10)
	}
	return fmt.Sprintf("%d %03d", n/1000, n%1000)
}

func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Round(100*time.Millisecond).Seconds(), 'f', -1, 64)
}
