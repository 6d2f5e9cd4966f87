package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/daemon/translate"
	"github.com/keepmesh/keepmesh/vrrp"
)

// played is the router that a configuration makes, and the time.
type played struct {
	t      *testing.T
	router *vrrp.Router
	now    vrrp.Instant
	ids    map[string]vrrp.InstanceID
	out    strings.Builder
	at     vrrp.Instant // what is written counts from here
}

const settled = vrrp.Instant(1e9)

// play starts the router of a configuration whose links are all up, at 0 s.
func play(t *testing.T, text string) *played {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keepalived.conf")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg, problems := config.Load(config.File(file), config.Options{NodeID: "n"})
	for _, p := range problems {
		if p.Severity == config.Error {
			t.Fatalf("the test's own text: %s", p)
		}
	}
	settings, notes := translate.VRRP(cfg, nil)
	if len(notes) > 0 {
		t.Fatalf("left out: %v", notes)
	}
	p := &played{t: t, router: vrrp.New(), now: settled, at: settled, ids: map[string]vrrp.InstanceID{}}
	plan, err := p.router.Prepare(settings.Router)
	if err != nil {
		t.Fatal(err)
	}
	p.router.Commit(p.now, plan)
	for _, v := range p.router.Instances() {
		p.ids[v.Name] = v.ID
	}
	for _, i := range settings.Router.Instances {
		for _, tr := range i.Trackers {
			p.router.Step(p.now, &vrrp.TrackerChanged{ID: tr.ID, State: vrrp.Up})
		}
		p.step(&vrrp.SourceChanged{Instance: p.ids[i.Name], Source: netip.MustParseAddr("10.0.0.1")})
	}
	for _, g := range settings.Router.Groups {
		for _, tr := range g.Trackers {
			p.router.Step(p.now, &vrrp.TrackerChanged{ID: tr.ID, State: vrrp.Up})
		}
	}
	p.step(&vrrp.Start{})
	return p
}

func (p *played) step(e vrrp.Event) {
	for _, a := range p.router.Step(p.now, e) {
		s := ""
		switch a := a.(type) {
		case *vrrp.SendAdvert:
			s = fmt.Sprintf("sends %d", a.Priority)
		case *vrrp.Announce:
			s = fmt.Sprintf("announces %d", a.Repeat)
		case *vrrp.StateChanged:
			s = fmt.Sprintf("%v %d", a.To, a.Priority)
		}
		if s != "" {
			fmt.Fprintf(&p.out, "%.2f %s\n", time.Duration(p.now-p.at).Seconds(), s)
		}
	}
}

// run lets time pass.
func (p *played) run(d time.Duration) {
	p.t.Helper()
	end := p.now.Add(d)
	for range 10000 {
		at, ok := p.router.Deadline()
		if !ok || at > end {
			p.now = end
			return
		}
		p.now = max(at, p.now)
		p.step(&vrrp.Tick{})
	}
	p.t.Fatal("time stands still")
}

// heard lets an instance hear an advert.
func (p *played) heard(instance string, priority uint8) {
	p.step(&vrrp.Advert{Instance: p.ids[instance], Source: netip.MustParseAddr("10.0.0.2"), Priority: priority, Interval: time.Second})
}

func (p *played) changed(id string, state vrrp.TrackerState) {
	p.step(&vrrp.TrackerChanged{ID: vrrp.TrackerID(id), State: state})
}

// mark forgets what was written and counts time from here.
func (p *played) mark() {
	p.out.Reset()
	p.at = p.now
}

// said gives the lines about what is asked for.
func (p *played) said(words ...string) string {
	var b strings.Builder
	for line := range strings.Lines(p.out.String()) {
		for _, w := range words {
			if strings.Contains(line, w) {
				b.WriteString(line)
				break
			}
		}
	}
	return b.String()
}

const effectText = `global_defs {
    %s
}
vrrp_script s {
    script "/bin/true"
}
vrrp_sync_group G {
    group {
       A 
       B
    }
    %s
}
vrrp_instance A {
    interface eth0
    virtual_router_id 1
    %s
    virtual_ipaddress {
        10.0.0.100/24
    }
}
vrrp_instance B {
    interface eth0
    virtual_router_id 2
    virtual_ipaddress {
        10.0.0.101/24
    }
}
`

// effect puts settings into the globals and into the lone instance A.
func effect(t *testing.T, globals, instance string) *played {
	text := fmt.Sprintf(effectText, globals, "", instance)
	head, rest, _ := strings.Cut(text, "vrrp_sync_group")
	_, a, _ := strings.Cut(rest, "vrrp_instance A")
	a, _, _ = strings.Cut(a, "vrrp_instance B")
	return play(t, head+"vrrp_instance A"+a)
}

func TestTimersAndAnnouncementsFollowTheirKeywords(t *testing.T) {
	t.Parallel()
	active := func(p *played) { p.run(4 * time.Second); p.mark() }
	hearsLower := func(p *played) { p.run(4 * time.Second); p.mark(); p.heard("A", 50); p.run(8 * time.Second) }
	hearsHigher := func(p *played) { p.run(4 * time.Second); p.mark(); p.heard("A", 200) }
	start := func(p *played) { p.run(12 * time.Second) }
	for _, c := range []struct {
		globals, instance string
		play              func(*played)
		about, want       string
	}{
		{"", "", start, "announces", "3.61 announces 5\n8.61 announces 5\n"},
		{"vrrp_garp_master_delay 2", "", start, "announces", "3.61 announces 5\n5.61 announces 5\n"},
		{"", "garp_master_delay 2", start, "announces", "3.61 announces 5\n5.61 announces 5\n"},
		{"vrrp_garp_master_repeat 3", "", start, "announces", "3.61 announces 3\n8.61 announces 3\n"},
		{"", "garp_master_repeat 3", start, "announces", "3.61 announces 3\n8.61 announces 3\n"},
		{"vrrp_min_garp", "", start, "announces", "3.61 announces 1\n"},
		{"vrrp_garp_master_refresh 3", "garp_master_delay 0", start, "announces", "3.61 announces 5\n6.61 announces 1\n9.61 announces 1\n"},
		{"", "garp_master_delay 0\n garp_master_refresh 3", start, "announces", "3.61 announces 5\n6.61 announces 1\n9.61 announces 1\n"},
		{"vrrp_garp_master_refresh_repeat 2", "garp_master_delay 0\n garp_master_refresh 7", start, "announces", "3.61 announces 5\n10.61 announces 2\n"},
		{"", "garp_master_delay 0\n garp_master_refresh 7\n garp_master_refresh_repeat 2", start, "announces", "3.61 announces 5\n10.61 announces 2\n"},
		{"", "garp_master_delay 0\n", hearsLower, "announces", "0.00 announces 5\n5.00 announces 5\n"},
		{"vrrp_garp_lower_prio_repeat 2", "garp_master_delay 0\n", hearsLower, "announces", "0.00 announces 2\n5.00 announces 2\n"},
		{"", "garp_master_delay 0\n garp_lower_prio_repeat 2", hearsLower, "announces", "0.00 announces 2\n5.00 announces 2\n"},
		{"vrrp_garp_lower_prio_delay 3", "garp_master_delay 0\n", hearsLower, "announces", "0.00 announces 5\n3.00 announces 5\n"},
		{"", "garp_master_delay 0\n garp_lower_prio_delay 3", hearsLower, "announces", "0.00 announces 5\n3.00 announces 5\n"},
		{"vrrp_down_timer_adverts 5", "", start, "MASTER", "5.61 MASTER 100\n"},
		{"", "down_timer_adverts 5", start, "MASTER", "5.61 MASTER 100\n"},
		{"", "", hearsHigher, "sends", ""},
		{"vrrp_higher_prio_send_advert", "", hearsHigher, "sends", "0.00 sends 100\n"},
		{"", "higher_prio_send_advert", hearsHigher, "sends", "0.00 sends 100\n"},
		{"", "", func(p *played) { active(p); p.heard("A", 50) }, "sends", "0.00 sends 100\n"},
		{"vrrp_lower_prio_no_advert", "", func(p *played) { active(p); p.heard("A", 50) }, "sends", ""},
		{"", "lower_prio_no_advert", func(p *played) { active(p); p.heard("A", 50) }, "sends", ""},
		{"vrrp_strict", "", func(p *played) { active(p); p.heard("A", 50) }, "sends", ""},
		{"", "strict_mode", func(p *played) { active(p); p.heard("A", 50) }, "sends", ""},
		{"vrrp_startup_delay 2", "", start, "MASTER", "5.61 MASTER 100\n"},
		{"", "nopreempt\n preempt", func(p *played) { p.mark(); p.heard("A", 50); p.run(4 * time.Second) }, "MASTER", "3.61 MASTER 100\n"},
		{"", "nopreempt", func(p *played) {
			p.mark()
			for range 4 {
				p.heard("A", 50)
				p.run(time.Second)
			}
		}, "MASTER", ""},
	} {
		p := effect(t, c.globals, c.instance)
		c.play(p)
		if diff := cmp.Diff(c.want, p.said(c.about)); diff != "" {
			t.Errorf("%s / %s: %s (-want +got):\n%s\n%s", c.globals, c.instance, c.about, diff, p.out.String())
		}
	}
}

func TestWeightsOfTrackersFollowTheirKeywords(t *testing.T) {
	t.Parallel()
	down := func(id string) func(*played) {
		return func(p *played) {
			p.run(4 * time.Second)
			p.mark()
			p.changed(id, vrrp.Down)
			p.run(1500 * time.Millisecond)
		}
	}
	for _, c := range []struct {
		group, instance string
		play            func(*played)
		want            string // the last advert or state
	}{
		{"", "track_interface {\n eth1 weight -30\n }", down("link:eth1"), "sends 0"}, // a member's weight is a fault
		{"sync_group_tracking_weight", "track_interface {\n eth1 weight -30\n }", down("link:eth1"), "sends 70"},
		{"sync_group_tracking_weight", "track_script {\n s weight -20\n }", down("script:s"), "sends 80"},
		{"sync_group_tracking_weight", "track_script {\n s weight 20 reverse\n }", down("script:s"), "sends 100"},
		{"track_interface {\n eth1\n }", "", down("link:eth1"), "sends 0"},
		{"track_script {\n s\n }", "", down("script:s"), "sends 0"},
	} {
		p := play(t, fmt.Sprintf(effectText, "", c.group, c.instance))
		c.play(p)
		if got := p.said("sends"); !strings.Contains(got, c.want+"\n") {
			t.Errorf("%s / %s: got\n%s, want %q", c.group, c.instance, p.out.String(), c.want)
		}
	}
}
