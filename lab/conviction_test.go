package lab

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"
)

// keepalivedConf is one instance with the VIP, as many machines run it.
func keepalivedConf(priority int) string {
	return fmt.Sprintf(`global_defs {
    router_id lab
}
vrrp_instance VI_1 {
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority %d
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass secret
    }
    virtual_ipaddress {
        %s/24
    }
}
`, priority, vip)
}

// trio is three hosts with keepalived and a client.
type trio struct {
	lab    *Lab
	nodes  [3]*Host
	procs  [3]*Proc
	client *Host
}

// newTrio starts keepalived with priorities 150, 100 and 50; the first alone
// holds the address. The others start after it, because on a busy machine
// their first timers could end together.
func newTrio(t *testing.T) *trio {
	t.Helper()
	Require(t, Netns, Nftables, Keepalived)
	x := &trio{lab: newTestLab(t, Options{Name: "trio"})}
	x.client = lanHost(t, x.lab, "client", 200)
	ctx := testContext(t, time.Minute)
	for i, priority := range []int{150, 100, 50} {
		x.nodes[i] = lanHost(t, x.lab, fmt.Sprintf("n%d", i+1), byte(i+1))
		var err error
		if x.procs[i], err = x.nodes[i].Keepalived(keepalivedConf(priority)); err != nil {
			t.Fatal(err)
		}
		want := regexp.MustCompile(`\(VI_1\) Entering BACKUP STATE`)
		if i == 0 {
			want = regexp.MustCompile(`\(VI_1\) Entering MASTER STATE`)
		}
		if _, err := x.procs[i].WaitOutput(ctx, want); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.lab.WaitHolders(ctx, vip, "n1"); err != nil {
		t.Fatal(err)
	}
	return x
}

// onTrio runs an experiment beside other tests, in a lab of its own, and anew
// if its run proves nothing because this machine was too busy.
func onTrio(t *testing.T, experiment func(x *trio) error) {
	t.Helper()
	t.Parallel()
	err := Repeat(3, func() error {
		x := newTrio(t)
		return errors.Join(experiment(x), x.lab.Close())
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (x *trio) probe(t *testing.T) *Prober {
	t.Helper()
	p, err := x.lab.Probe(t.Context(), ProbeOptions{Client: x.client, VIP: vip})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// stop ends the measurement and skips nothing: a prober that was late itself
// makes the test fail as unusable, not as a verdict on the daemon.
func stop(t *testing.T, p *Prober) Report {
	t.Helper()
	r, err := p.Stop()
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r)
	return r
}

// run lets d pass on the measurement's clock: the length of a fault is part
// of the experiment, not a wait for an event.
func run(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

func TestPlainKeepalivedIsConvictedWhenProtocol112IsDropped(t *testing.T) {
	onTrio(t, func(x *trio) error {
		p := x.probe(t)
		p.Mark("protocol 112 dropped")
		fault, err := x.lab.DropProtocol(t.Context(), ProtoVRRP)
		if err != nil {
			t.Fatal(err)
		}
		run(t, 20*time.Second)
		hits, err := fault.Hits()
		if err != nil || hits < 20 {
			t.Fatalf("the fault met %d adverts, %v", hits, err)
		}
		if err := fault.Undo(); err != nil {
			t.Fatal(err)
		}
		p.Mark("healed")
		if err := x.lab.WaitHolders(testContext(t, 30*time.Second), vip, "n1"); err != nil {
			t.Fatal(err)
		}
		r := stop(t, p)
		if err := convicted(r, 15*time.Second); err != nil {
			return err // about 17 s are expected
		}
		three := time.Duration(0)
		for _, i := range r.Intervals {
			if len(i.Hosts) == 3 {
				three += i.Length()
			}
		}
		if three < 15*time.Second {
			t.Errorf("three holders for %s, expected about 16 s", three)
		}
		return nil
	})
}

func TestKeepalivedIsAcquittedWhenItIsTerminated(t *testing.T) {
	Require(t, Tcpdump, Tshark)
	onTrio(t, func(x *trio) error {
		p := x.probe(t)
		c, err := x.lab.Capture(t.Context(), CaptureVRRP)
		if err != nil {
			t.Fatal(err)
		}
		p.Mark("TERM to n1")
		status, err := x.procs[0].Stop(testContext(t, 20*time.Second))
		if err != nil || status.Code != 0 {
			t.Fatalf("keepalived ended with %v, %v", status, err)
		}
		if err := x.lab.WaitHolders(testContext(t, 20*time.Second), vip, "n2"); err != nil {
			t.Fatal(err)
		}
		r := stop(t, p)
		// The successor waits its skew of 609 ms after the advert of priority 0.
		if err := Judge(r, Bounds{MaxDualMS: 0, MaxNoneMS: 2000}); err != nil {
			return err
		}
		if r.NoneMS < 300 {
			t.Errorf("nobody held the address for %d ms only, below the skew: the prober is blind", r.NoneMS)
		}
		packets, err := c.Stop(testContext(t, time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		// Once n1 has left, the next word is the successor's.
		var course []string
		for _, q := range packets.VRRP() {
			if s := fmt.Sprintf("%s %d", q.Host, q.Priority); !slices.Contains(course, s) && s != "n1 150" {
				course = append(course, s)
			}
			if q.VRID != 51 || q.Version != 2 || q.Auth != 1 || q.Interval != time.Second {
				t.Errorf("an advert reads %+v", q)
			}
		}
		if !slices.Equal(course, []string{"n1 0", "n2 100"}) {
			t.Errorf("the adverts are from %v", course)
		}
		if complaints := packets.Complaints(); len(complaints) > 0 {
			t.Errorf("tshark complains: %q", complaints)
		}
		return nil
	})
}

func TestPowerLossShowsAsAnOutageWithinTheProtocolsBounds(t *testing.T) {
	onTrio(t, func(x *trio) error {
		p := x.probe(t)
		run(t, 300*time.Millisecond)
		p.Mark("n1 loses power")
		if err := x.nodes[0].Kill(); err != nil {
			t.Fatal(err)
		}
		if err := x.lab.WaitHolders(testContext(t, 20*time.Second), vip, "n2"); err != nil {
			t.Fatal(err)
		}
		run(t, 300*time.Millisecond) // the client's view of the successor
		r := stop(t, p)
		// 2A+S to 3A+S for priority 100, and the scheduling of a busy machine.
		const least, most, slack = 2609 * time.Millisecond, 3609 * time.Millisecond, 1500 * time.Millisecond
		if err := Judge(r, Bounds{MaxDualMS: 0, MaxNoneMS: int((most + slack).Milliseconds())}); err != nil {
			return err
		}
		if r.LongestOutage < least-100*time.Millisecond || r.LongestOutage > most+slack {
			t.Errorf("outage of %s, outside of %s to %s", r.LongestOutage, least, most)
		}
		if last := r.Reached[len(r.Reached)-1]; len(last.Hosts) != 1 || last.Hosts[0] != "n2" {
			t.Errorf("at the end the client reaches %v, want n2", last.Hosts)
		}
		return nil
	})
}

// convicted is nil when the judge convicts the run of two holders for at least
// so long.
func convicted(r Report, least time.Duration) error {
	verdict := Judge(r, Bounds{MaxDualMS: 0, MaxNoneMS: -1})
	var conviction *Conviction
	if errors.As(verdict, &conviction) && r.DualMS >= int(least.Milliseconds()) {
		return nil
	}
	if verdict == nil {
		verdict = errors.New("acquitted")
	}
	return fmt.Errorf("two or more holders for %d ms, expected %s or more; the verdict is: %w", r.DualMS, least, verdict)
}

func TestFrozenKeepalivedIsConvicted(t *testing.T) {
	onTrio(t, func(x *trio) error {
		ctx := testContext(t, time.Minute)
		tree, err := x.procs[0].Tree()
		if err != nil || len(tree) < 2 {
			t.Fatalf("keepalived's processes are %v, %v", tree, err)
		}
		p := x.probe(t)
		p.Mark("keepalived of n1 frozen")
		if err := x.nodes[0].Freeze(ctx, tree...); err != nil {
			t.Fatal(err)
		}
		run(t, 8*time.Second)
		p.Mark("thawed")
		if err := x.nodes[0].Thaw(ctx, tree...); err != nil {
			t.Fatal(err)
		}
		if err := x.lab.WaitHolders(ctx, vip, "n1"); err != nil {
			t.Fatal(err)
		}
		// 8 s less the longest wait of the successor, 3A+S.
		return convicted(stop(t, p), 3500*time.Millisecond)
	})
}

func TestCrashedKeepalivedLeavesItsAddressBehind(t *testing.T) {
	onTrio(t, func(x *trio) error {
		ctx := testContext(t, time.Minute)
		p := x.probe(t)
		p.Mark("keepalived of n1 killed")
		if err := x.procs[0].Crash(ctx); err != nil {
			t.Fatal(err)
		}
		if status, err := x.procs[0].Wait(ctx); err != nil || status.Signal == 0 {
			t.Errorf("it ended with %+v, %v", status, err)
		}
		if err := x.lab.WaitHolders(ctx, vip, "n1", "n2"); err != nil {
			t.Fatal(err)
		}
		run(t, time.Second)
		if list, err := x.nodes[0].Processes(); err != nil || len(list) != 0 {
			t.Errorf("after the crash n1 runs %v, %v", list, err)
		}
		return convicted(stop(t, p), 800*time.Millisecond)
	})
}

func TestLostCarrierMovesTheAddressWithoutTwoHolders(t *testing.T) {
	onTrio(t, func(x *trio) error {
		p := x.probe(t)
		p.Mark("n1 without carrier")
		fault, err := x.nodes[0].CarrierDown("eth0")
		if err != nil {
			t.Fatal(err)
		}
		if err := x.lab.WaitHolders(testContext(t, 20*time.Second), vip, "n2"); err != nil {
			t.Fatal(err)
		}
		p.Mark("healed")
		heal(t, fault)
		if err := x.lab.WaitHolders(testContext(t, 20*time.Second), vip, "n1"); err != nil {
			t.Fatal(err)
		}
		// At preemption the old master may answer for an instant longer.
		return Judge(stop(t, p), Bounds{MaxDualMS: 50, MaxNoneMS: 6000})
	})
}
