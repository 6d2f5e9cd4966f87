package e2e

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/keepmesh/keepmesh/lab"
)

// blockTime is how long protocol 112 is dropped.
const blockTime = 20 * time.Second

// slackDual is what the prober may see of two holders where one hands over to
// itself: nothing, but for an answer that it counts in two milliseconds.
const slackDual = 3

// Protocol 112 is dropped between three nodes for twenty seconds. One checker
// judges three subjects in one run: keepalived and keepmesh without a mesh are
// to be convicted, keepmesh with one is to be acquitted.
func TestWireHoldsOneHolderWhileProtocol112IsBlocked(t *testing.T) {
	lab.Require(t, lab.Netns, lab.Nftables, lab.Keepalived)
	var convicted, bare, joined lab.Report
	subjects := []struct {
		name  string
		opt   fleetOptions
		start func(*fleet)
		into  *lab.Report
		want  bool // to be acquitted
	}{
		{"keepalived", fleetOptions{plain: true}, (*fleet).startKeepalived, &convicted, false},
		{"keepmesh without a mesh", fleetOptions{plain: true}, (*fleet).startAll, &bare, false},
		{"keepmesh", fleetOptions{}, (*fleet).startAll, &joined, true},
	}
	var fleets []*fleet
	for _, s := range subjects {
		f := newFleet(t, s.opt)
		s.start(f)
		f.pass(f.interval())
		fleets = append(fleets, f)
	}
	verdicts := make([]error, len(subjects))
	// The subjects run side by side, so that they see the same machine; a run
	// in which a prober was late proves nothing and is repeated.
	err := lab.Repeat(2, func() error {
		var wg sync.WaitGroup
		for n, s := range subjects {
			wg.Go(func() {
				var err error
				*s.into, err = fleets[n].blocked()
				if err == nil {
					err = lab.Judge(*s.into, lab.Bounds{MaxDualMS: slackDual, MaxNoneMS: slackDual})
				}
				verdicts[n] = err
			})
		}
		wg.Wait()
		for _, v := range verdicts {
			var unusable *lab.Unusable
			if errors.As(v, &unusable) {
				return v
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for n, s := range subjects {
		t.Logf("%s: two or more holders for %d ms, three for %d ms, none for %d ms, prober late by %s",
			s.name, s.into.DualMS, heldBy(*s.into, 3).Milliseconds(), s.into.NoneMS, s.into.MaxLateness)
		var guilty *lab.Conviction
		switch {
		case s.want && verdicts[n] != nil:
			t.Errorf("%s is convicted: %v", s.name, verdicts[n])
		case !s.want && verdicts[n] == nil:
			t.Errorf("%s is acquitted: the checker sees nothing\n%s", s.name, *s.into)
		case !s.want && !errors.As(verdicts[n], &guilty):
			t.Errorf("%s: %v", s.name, verdicts[n])
		}
	}
	if three := heldBy(convicted, 3); three < 10*time.Second {
		t.Errorf("keepalived had three holders for %s only; the block did not block", three)
	}
}

// heldBy is for how long so many hosts held at once.
func heldBy(r lab.Report, hosts int) (sum time.Duration) {
	for _, i := range r.Intervals {
		if len(i.Hosts) == hosts {
			sum += i.Length()
		}
	}
	return sum
}

// startKeepalived starts the real one on every node.
func (f *fleet) startKeepalived() {
	f.t.Helper()
	for _, m := range f.nodes {
		m.proc = f.keepalived(m.Host, m.conf)
	}
	f.holds(fleetVIP, "n1")
}

// blocked drops protocol 112 for the whole time and measures from before it
// until the nodes have settled again. It runs beside others, so it reports
// what goes wrong by Errorf and by its error.
func (f *fleet) blocked() (lab.Report, error) {
	client := f.hostNamed("client")
	p, err := f.Probe(f.t.Context(), lab.ProbeOptions{Client: client, VIP: vipOf(fleetVIP)})
	if err != nil {
		return lab.Report{}, err
	}
	from := p.Mark("before")
	block, err := f.DropProtocol(f.t.Context(), lab.ProtoVRRP)
	if err != nil {
		return lab.Report{}, err
	}
	p.Mark("protocol 112 dropped")
	end := time.NewTimer(blockTime)
	defer end.Stop()
	if !f.opt.plain {
		if err := f.provesVetoed(); err != nil {
			f.t.Error(err)
		}
	}
	<-end.C
	if hits, err := block.Hits(); err != nil || hits < 10 {
		f.t.Errorf("the block met %d frames, %v", hits, err)
	}
	if err := block.Undo(); err != nil {
		return lab.Report{}, err
	}
	p.Mark("healed")
	time.Sleep(3 * f.interval())
	r, err := p.Stop()
	if err != nil || f.opt.plain {
		return r, err
	}
	// Afterwards: the verdicts are lifted and nothing has moved at any time.
	for _, m := range f.nodes[1:] {
		i := f.instance(m.Host, fleetName)
		if i == nil || i.Fencing.Verdict != "" || i.State != "BACKUP" || i.Owner != "n1" {
			f.t.Errorf("after the block %s says %+v", m.Name(), i)
		}
	}
	for _, a := range f.between(from, 0, "", fleetVRID) {
		if a.Host != "n1" {
			f.t.Errorf("%s advertised priority %d during or after the block", a.Host, a.Priority)
			break
		}
	}
	if gap := f.longestGap(from, lab.Now(), "n1", fleetVRID); gap > 1500*time.Millisecond {
		f.t.Errorf("n1 was silent for %s", gap)
	}
	return r, nil
}

// provesVetoed waits, during a block, until both backups say that they are
// vetoed and their events name the direction.
func (f *fleet) provesVetoed() error {
	limit := time.Now().Add(10 * time.Second)
	for _, m := range f.nodes[1:] {
		for {
			i := f.instance(m.Host, fleetName)
			if i != nil && i.Fencing.Verdict == "vetoed" && i.Owner == "n1" && contains(f.history(m), "n1 is mute: no member hears its adverts on the LAN, but it holds") {
				break
			}
			if time.Now().After(limit) {
				return fmt.Errorf("during the block %s says %+v; its events: %q", m.Name(), i, f.history(m))
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	return nil
}

// During the block the holder's host is lost: the next one takes over at its
// own timer. The old holder comes back and preempts, without a word on the LAN.
func TestWireTakesOverAndPreemptsWhileProtocol112IsBlocked(t *testing.T) {
	f := newFleet(t, fleetOptions{})
	f.startAll()
	block := f.drop(lab.ProtoVRRP)
	f.verdict(f.node(2), "vetoed")
	f.verdict(f.node(3), "vetoed")
	err := lab.Repeat(2, func() error {
		p := f.prober()
		f.pass(f.interval())
		died := f.powerOff(f.node(1))
		p.Mark("n1 lost")
		f.holds(fleetVIP, "n2")
		late := f.takeover(died, "n1", 2)
		f.verdict(f.node(3), "vetoed")
		f.powerOn(f.node(1))
		p.Mark("n1 back")
		f.holds(fleetVIP, "n1")
		f.verdict(f.node(2), "vetoed")
		r, err := p.Stop()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("takeover %s after its timer; two holders %d ms, none %d ms", late, r.DualMS, r.NoneMS)
		if late > f.interval()/2 {
			t.Errorf("the takeover came %s after M", late)
		}
		bounds := lab.Bounds{MaxDualMS: slackDual, MaxNoneMS: int(f.down(2).Milliseconds()) + 200}
		return lab.Judge(r, bounds)
	})
	if err != nil {
		t.Error(err)
	}
	f.heal(block)
	f.verdict(f.node(2), "")
	f.verdict(f.node(3), "")
	f.holds(fleetVIP, "n1")
}
