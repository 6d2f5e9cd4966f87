package translate

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/keepmesh/keepmesh/daemon/settings"
	"github.com/keepmesh/keepmesh/vrrp"
)

const bfdText = `
global_defs {
    router_id R
    notification_email {
        a@b
    }
    notification_email_from c@d
    smtp_server 192.0.2.1 2525
    smtp_connect_timeout 7
    smtp_helo_name h
    smtp_alert_vrrp true
    no_email_faults
    startup_script "/bin/true up"
    startup_script_timeout 3
    vrrp_notify_priority_changes true
    fifo_write_vrrp_states_on_reload
}
bfd_instance near {
    neighbor_ip 192.0.2.2
    source_ip 192.0.2.9
    min_rx 100
    min_tx 50
    idle_tx 2000
    multiplier 4
    weight -7 reverse
}
bfd_instance far {
    neighbor_ip 2001:db8::1
    max_hops 3
    passive
    multihop
}
bfd_instance any {
    neighbor_ip 192.0.2.3
    max_hops -1
}
bfd_instance check {
    neighbor_ip 192.0.2.4
    checker
}
vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 1
    track_bfd {
        near
        far weight 5
        any
    }
    virtual_ipaddress {
        192.0.2.100
    }
}
vrrp_instance VI_2 {
    interface eth0
    virtual_router_id 2
    smtp_alert off
    notify_priority_changes off
    virtual_ipaddress {
        192.0.2.101
    }
}
vrrp_sync_group G {
    group {
        VI_2
    }
    track_bfd {
        any
    }
}
`

func TestBFDInstances(t *testing.T) {
	v, notes := VRRP(load(t, bfdText), nil)
	if len(notes) > 0 {
		t.Errorf("notes %q", notes)
	}
	ip := netip.MustParseAddr
	want := []settings.BFD{
		{Name: "near", Neighbor: ip("192.0.2.2"), Source: ip("192.0.2.9"), MinRx: 100 * time.Millisecond, MinTx: 50 * time.Millisecond,
			IdleTx: 2 * time.Second, Multiplier: 4, TTL: 255, MinTTL: 255},
		{Name: "far", Neighbor: ip("2001:db8::1"), MinRx: 10 * time.Millisecond, MinTx: 10 * time.Millisecond,
			IdleTx: time.Second, Multiplier: 5, Passive: true, Multihop: true, TTL: 64, MinTTL: 61},
		{Name: "any", Neighbor: ip("192.0.2.3"), MinRx: 10 * time.Millisecond, MinTx: 10 * time.Millisecond,
			IdleTx: time.Second, Multiplier: 5, TTL: 255},
	}
	if d := cmp.Diff(want, v.BFD, cmpopts.EquateComparable(netip.Addr{})); d != "" {
		t.Error(d)
	}
	got := map[vrrp.TrackerID]vrrp.Track{}
	for _, k := range append(v.Router.Instances[0].Trackers, v.Router.Groups[0].Trackers...) {
		got[k.ID] = k
	}
	for _, k := range []vrrp.Track{{ID: "bfd:near", Weight: -7, Reverse: true}, {ID: "bfd:far", Weight: 5}, {ID: "bfd:any"}} {
		if got[k.ID] != k {
			t.Errorf("%+v, want %+v", got[k.ID], k)
		}
	}
}

func TestAlertsAndScriptsOfTheDaemon(t *testing.T) {
	c := load(t, bfdText)
	out := Cluster(c, nil, "")
	want := settings.Mail{
		Server: "192.0.2.1:2525", Timeout: 7 * time.Second, Helo: "h", From: "c@d", To: []string{"a@b"}, RouterID: "R", NoFaults: true,
	}
	if d := cmp.Diff(want, out.Mail); d != "" || !out.StatesOnReload {
		t.Error(d, out.StatesOnReload)
	}
	hooks := []settings.Hooks{
		{Kind: "INSTANCE", Name: "VI_1", Mail: true, TellPriority: true},
		{Kind: "INSTANCE", Name: "VI_2"},
		{Kind: "GROUP", Name: "G", Mail: true},
	}
	if d := cmp.Diff(hooks, out.Hooks); d != "" {
		t.Error(d)
	}
	up, down := Life(c)
	if up == nil || up.Timeout != 3*time.Second || up.Command.Line != "/bin/true up" || down != nil {
		t.Errorf("%+v, %+v", up, down)
	}
}

func TestWeightedBFDOfAGroupsMemberIsLeftOutAndNamed(t *testing.T) {
	weighted := strings.Replace(bfdText, "smtp_alert off", "track_bfd {\n        far weight 5\n    }", 1)
	v, notes := VRRP(load(t, weighted), nil)
	if len(notes) != 1 || !strings.Contains(notes[0], "VI_2") || !strings.Contains(notes[0], "track_bfd") {
		t.Errorf("notes %q", notes)
	}
	for _, k := range v.Router.Instances[1].Trackers {
		if k.ID == "bfd:far" {
			t.Errorf("it is tracked: %+v", k)
		}
	}
	kept := strings.Replace(weighted, "vrrp_sync_group G {", "vrrp_sync_group G {\n    sync_group_tracking_weight", 1)
	v, notes = VRRP(load(t, kept), nil)
	if len(notes) != 0 || !slices.ContainsFunc(v.Router.Instances[1].Trackers, func(k vrrp.Track) bool { return k.ID == "bfd:far" && k.Weight == 5 }) {
		t.Errorf("notes %q, trackers %+v", notes, v.Router.Instances[1].Trackers)
	}
}
