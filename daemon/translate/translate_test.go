package translate

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/daemon/settings"
	"github.com/keepmesh/keepmesh/vrrp"
)

func load(t *testing.T, text string) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keepalived.conf")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c, problems := config.Load(config.File(path), config.Options{})
	for _, p := range problems {
		if p.Severity == config.Error {
			t.Fatalf("the test's own text: %s", p)
		}
	}
	return c
}

const basic = `
vrrp_instance VI_1 {
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority 100
    advert_int 2
    authentication {
        auth_type PASS
        auth_pass 123789
    }
    track_interface {
        eth1 weight -20
    }
    virtual_ipaddress {
        10.0.0.100
        10.0.1.5/24 brd + dev eth1 label eth1:vip scope link
    }
    virtual_ipaddress_excluded {
        10.0.0.101/32
    }
    virtual_routes {
        default via 10.0.0.254
        192.168.0.0/16 via 10.0.0.1 dev eth1 metric 5
    }
    %s
}
`

func TestInstanceOfTheTutorials(t *testing.T) {
	v, notes := VRRP(load(t, strings.Replace(basic, "%s", "", 1)), nil)
	if len(notes) > 0 {
		t.Errorf("notes %q", notes)
	}
	r, s := v.Router.Instances[0], v.Instances[0]
	if r.Key.VRID != 51 || r.Priority != 100 || r.AdvertInterval != 2*time.Second || r.Version != 2 || r.AskPermit {
		t.Errorf("router %+v", r)
	}
	if d := cmp.Diff("123789\x00\x00", string(s.AuthPass)); d != "" {
		t.Errorf("password is not padded: %s", d)
	}
	if s.Group.String() != "224.0.0.18" || s.Peers != nil {
		t.Errorf("group %s, peers %v", s.Group, s.Peers)
	}
	want := []string{"10.0.0.100/32 dev eth0", "10.0.1.5/24 dev eth1"}
	for n, a := range s.VIPs {
		if a.String() != want[n] {
			t.Errorf("address %s, want %s", a, want[n])
		}
	}
	if a := s.VIPs[1]; a.Broadcast.String() != "10.0.1.255" || a.Label != "eth1:vip" || a.Scope != 253 {
		t.Errorf("attributes %+v", a)
	}
	if len(s.Excluded) != 1 || len(s.Routes) != 2 || s.Routes[1].Metric != 5 {
		t.Errorf("excluded %v, routes %v", s.Excluded, s.Routes)
	}
	if d := cmp.Diff([]string{"eth0", "eth1"}, s.WatchLinks); d != "" {
		t.Error(d)
	}
	ids := map[vrrp.TrackerID]int{}
	for _, k := range r.Trackers {
		ids[k.ID] = k.Weight
	}
	if d := cmp.Diff(map[vrrp.TrackerID]int{"link:eth0": 0, "source:VI_1": 0, "link:eth1": -20}, ids); d != "" {
		t.Error(d)
	}
}

func TestDontTrackPrimaryLeavesItsInterfaceOut(t *testing.T) {
	v, _ := VRRP(load(t, strings.Replace(basic, "%s", "dont_track_primary", 1)), nil)
	for _, k := range v.Router.Instances[0].Trackers {
		if k.ID == "link:eth0" {
			t.Error("the own interface is tracked")
		}
	}
}

func TestMeshAsksForPermission(t *testing.T) {
	v, _ := VRRP(load(t, strings.Replace(basic, "%s", "", 1)), &config.Mesh{})
	r := v.Router.Instances[0]
	if !r.AskPermit || !v.Mesh {
		t.Errorf("AskPermit %v, Mesh %v", r.AskPermit, v.Mesh)
	}
	if r.Trackers[len(r.Trackers)-2].ID != "mute:VI_1" && r.Trackers[2].ID != "mute:VI_1" {
		t.Errorf("no tracker by which the veto can shut: %v", r.Trackers)
	}
}

func TestUnicast(t *testing.T) {
	v, _ := VRRP(load(t, strings.Replace(basic, "%s", "unicast_src_ip 10.0.0.1\nunicast_peer {\n10.0.0.2\n10.0.0.3 min_ttl 5 max_ttl 9\n}", 1)), nil)
	r, s := v.Router.Instances[0], v.Instances[0]
	if !r.Key.Unicast || r.Source.String() != "10.0.0.1" || s.Group.IsValid() || !s.CheckUnicastSrc {
		t.Errorf("key %+v, source %s, group %v, check %v", r.Key, r.Source, s.Group, s.CheckUnicastSrc)
	}
	if len(s.Peers) != 2 || !s.Peers[1].HasTTL || s.Peers[1].MinTTL != 5 || s.Peers[1].MaxTTL != 9 {
		t.Errorf("peers %+v", s.Peers)
	}
}

func TestMembersOfAGroupHaveNoInterfaceWeights(t *testing.T) {
	c := load(t, strings.Replace(basic, "%s", "", 1)+"vrrp_sync_group G { group { VI_1 } }\n")
	v, _ := VRRP(c, nil)
	for _, k := range v.Router.Instances[0].Trackers {
		if k.ID == "link:eth1" && k.Weight != 0 {
			t.Errorf("weight %d: it would be dropped, not tracked", k.Weight)
		}
	}
	if len(v.Router.Groups) != 1 || v.Router.Groups[0].Members[0] != "VI_1" {
		t.Errorf("groups %+v", v.Router.Groups)
	}
}

func TestRouterTakesWhatIsTranslated(t *testing.T) {
	files, err := filepath.Glob("../../config/testdata/tutorials/*.conf")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d tutorials found, err %v", len(files), err)
	}
	for _, f := range files {
		c, _ := config.Load(config.File(f), config.Options{})
		if c == nil {
			t.Errorf("%s is not loaded", f)
			continue
		}
		v, _ := VRRP(c, nil)
		if len(v.Instances) != len(v.Router.Instances) {
			t.Errorf("%s: %d instances, %d settings", f, len(v.Router.Instances), len(v.Instances))
		}
		if _, err := vrrp.New().Prepare(v.Router); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

func TestRouteThatCannotBeSaidIsLeftOutAndNamed(t *testing.T) {
	v, notes := VRRP(load(t, strings.NewReplacer("default via 10.0.0.254", "10.7.0.0/16 encap mpls 5 via 10.0.0.254", "%s", "").Replace(basic)), nil)
	if len(notes) != 1 || !strings.Contains(notes[0], "10.7.0.0/16") {
		t.Errorf("notes %q", notes)
	}
	for _, r := range v.Instances[0].Routes {
		if strings.HasPrefix(r.String(), "10.7") {
			t.Error("half a route was translated")
		}
	}
}

const scripts = `
vrrp_script used { 
    script "/bin/true"
    interval 3
    weight -7
    rise 2
    fall 4
}
vrrp_script unused { 
    script "/bin/false"
}
vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 1
    virtual_ipaddress { 
        10.0.0.100
    }
    track_script {
        used weight -9 
    }
    notify_master "/bin/echo master"
    notify "/bin/echo any"
}
`

func TestScriptsNobodyTracksAreNotRun(t *testing.T) {
	c := load(t, scripts)
	out := Cluster(c, nil, "lb1")
	if len(out.Scripts) != 1 {
		t.Fatalf("%d scripts, want the tracked one", len(out.Scripts))
	}
	s := out.Scripts[0]
	if s.ID != "script:used" || s.Interval != 3*time.Second || s.Timeout != 3*time.Second || s.Rise != 2 || s.Fall != 4 {
		t.Errorf("%+v", s)
	}
	v, _ := VRRP(c, nil)
	for _, k := range v.Router.Instances[0].Trackers {
		if k.ID == "script:used" && k.Weight != -9 {
			t.Errorf("weight %d: the line's own counts", k.Weight)
		}
	}
	want := settings.Hooks{
		Kind: "INSTANCE", Name: "VI_1",
		Master: &settings.Command{Args: []string{"/bin/echo", "master"}, Line: "/bin/echo master"},
		Any:    &settings.Command{Args: []string{"/bin/echo", "any"}, Line: "/bin/echo any"},
	}
	if d := cmp.Diff(want, out.Hooks[0]); d != "" {
		t.Error(d)
	}
}

func TestNumbered(t *testing.T) {
	for word, want := range map[string]int{"": 0, "main": 254, "100": 100, "0x10": 16} {
		if got, ok := numbered(tables, word); !ok || got != want {
			t.Errorf("table %q is %d, %v", word, got, ok)
		}
	}
	if _, ok := numbered(tables, "blue"); ok {
		t.Error("an unknown name of a table was taken")
	}
}

func TestDefaultRouteIsOne(t *testing.T) {
	v, _ := VRRP(load(t, strings.Replace(basic, "%s", "", 1)), nil)
	if got := v.Instances[0].Routes[0].String(); got != "default via 10.0.0.254" {
		t.Errorf("route %q", got)
	}
}

func TestGroupProbeAndFilesAreTheInstancesOwn(t *testing.T) {
	text := "track_file f {\n file /run/f\n weight 3\n}\n" + strings.Replace(basic, "%s",
		"mcast_dst_ip 224.0.1.9\n    lan_probe off\n    track_src_ip\n    mcast_src_ip 10.0.0.1\n    track_file {\n        f\n    }", 1)
	v, _ := VRRP(load(t, text), &config.Mesh{})
	r, s := v.Router.Instances[0], v.Instances[0]
	if s.Group.String() != "224.0.1.9" || s.LANProbe != config.Off || !s.TrackSrc || r.Source.String() != "10.0.0.1" {
		t.Errorf("group %s, probe %v, track_src_ip %v, source %s", s.Group, s.LANProbe, s.TrackSrc, r.Source)
	}
	want := vrrp.Track{ID: "file:f", Weight: 3, Value: true}
	if !slices.Contains(r.Trackers, want) {
		t.Errorf("%+v is not among %+v", want, r.Trackers)
	}
}
