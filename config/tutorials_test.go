package config

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// loadTutorial loads one file against a machine that has what it names.
func loadTutorial(t *testing.T, name string) (*Config, []Problem) {
	t.Helper()
	opt := bench()
	opt.Interfaces = func() ([]string, error) { return []string{"lo", "eth0", "eth1", "ens33", "ens34", "ens192"}, nil }
	opt.Scripts = everyScript{}
	cfg, problems := Load(File(filepath.Join("testdata/tutorials", name)), opt)
	for _, p := range problems {
		if p.Severity == Error {
			t.Errorf("%s", p)
		}
	}
	return cfg, problems
}

func TestTutorialsLoadWithoutErrors(t *testing.T) {
	files, err := filepath.Glob("testdata/tutorials/*.conf")
	if err != nil || len(files) < 12 {
		t.Fatalf("found %d files: %v", len(files), err)
	}
	for _, f := range files {
		loadTutorial(t, filepath.Base(f))
	}
}

func TestTutorialSyncGroupWithRoutes(t *testing.T) {
	cfg, problems := loadTutorial(t, "000-host163.conf")
	if len(cfg.SyncGroups) != 1 || len(cfg.Instances) != 2 {
		t.Fatalf("%d groups, %d instances", len(cfg.SyncGroups), len(cfg.Instances))
	}
	for _, i := range cfg.Instances {
		if i.SyncGroup != "VG_1" || i.State != Master || i.Priority != 200 {
			t.Errorf("%s: group %q state %v priority %d", i.Name, i.SyncGroup, i.State, i.Priority)
		}
	}
	in, out := cfg.Instances[0], cfg.Instances[1]
	if in.GARP.MasterDelay != 10*time.Second || out.GARP.MasterDelay != 5*time.Second {
		t.Errorf("garp_master_delay is %v and %v", in.GARP.MasterDelay, out.GARP.MasterDelay)
	}
	vip := in.VIPs[0]
	want := Address{
		Prefix: netip.MustParsePrefix("10.210.214.253/24"), Dev: "eth0", Scope: -1,
		BroadcastMode: BroadcastAddr, Broadcast: netip.MustParseAddr("10.210.214.255"), Raw: vip.Raw, Pos: vip.Pos,
	}
	addrs := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	prefixes := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	if diff := cmp.Diff(want, vip, addrs, prefixes); diff != "" {
		t.Errorf("address (-want +got):\n%s", diff)
	}
	r := out.VirtualRoutes[0]
	if !r.Default || r.Via != netip.MustParseAddr("202.102.152.1") || r.Dev != "eth1" {
		t.Errorf("route %+v", r)
	}
	if !strings.Contains(problemLines(problems), "/dev/tcp redirection is bash syntax") {
		t.Errorf("the bash redirection is not named:\n%s", problemLines(problems))
	}
}

func TestTutorialStaticObjects(t *testing.T) {
	cfg, _ := loadTutorial(t, "000-static.conf")
	if len(cfg.StaticAddresses) != 1 || len(cfg.StaticRoutes) != 1 {
		t.Fatalf("%d addresses, %d routes", len(cfg.StaticAddresses), len(cfg.StaticRoutes))
	}
	i := cfg.Instances[0]
	if !i.DontTrackPrimary || i.PreemptDelay != 300*time.Second || i.McastSrcIP != netip.MustParseAddr("10.210.214.163") {
		t.Errorf("dont_track_primary %v, preempt_delay %v, mcast_src_ip %v", i.DontTrackPrimary, i.PreemptDelay, i.McastSrcIP)
	}
	if len(i.TrackInterfaces) != 1 || i.TrackInterfaces[0].Name != "eth1" {
		t.Errorf("tracks %+v", i.TrackInterfaces)
	}
}

func TestTutorialCustomGroupAndScripts(t *testing.T) {
	cfg, _ := loadTutorial(t, "001-scripts.conf")
	i := cfg.Instances[0]
	if i.McastDstIP != netip.MustParseAddr("224.1.101.33") {
		t.Errorf("adverts go to %v", i.McastDstIP)
	}
	var weights []int
	for _, tr := range i.TrackScripts {
		weights = append(weights, tr.Weight)
	}
	if diff := cmp.Diff([]int{-20, -3}, weights); diff != "" {
		t.Errorf("weights (-want +got):\n%s", diff)
	}
	if s := cfg.Scripts[1]; s.Fall != 2 || s.Rise != 2 || s.Timeout != time.Second || s.Spec.Args[0] != "pidof" {
		t.Errorf("chk_nginx is %+v", s)
	}
	if diff := cmp.Diff([]string{"/etc/keepalived/notify.sh", "master"}, i.Notify.Master.Args); diff != "" {
		t.Errorf("notify_master (-want +got):\n%s", diff)
	}
}

func TestTutorialDoubleMasterKeepsVirtualServers(t *testing.T) {
	cfg, problems := loadTutorial(t, "001-double-master.conf")
	if len(cfg.VirtualServers) != 2 || len(cfg.VirtualServers[0].RealServers) != 2 {
		t.Fatalf("%d virtual servers", len(cfg.VirtualServers))
	}
	v := cfg.VirtualServers[0]
	if v.Scheduler != "wrr" || v.Forward.Method != "DR" || v.SorryServer == nil || v.RealServers[0].Port != 80 {
		t.Errorf("virtual server %+v", v)
	}
	c := v.RealServers[0].Checkers[0]
	if c.Kind != CheckHTTP || c.HTTP.URLs[0].Path != "/index.html" || *c.Timing.Retry != 3 {
		t.Errorf("checker %+v", c)
	}
	noted := 0
	for _, p := range problems {
		if p.Keyword == "virtual_server" && p.Message == "accepted, no effect yet" {
			noted++
		}
	}
	if noted != 2 {
		t.Errorf("virtual_server is noted %d times, want once per block:\n%s", noted, problemLines(problems))
	}
	if l := cfg.Instances[0].VIPs[0].Label; l != "ens34:0" {
		t.Errorf("label %q", l)
	}
}

func TestTutorialBasicPair(t *testing.T) {
	master, _ := loadTutorial(t, "003-master.conf")
	backup, _ := loadTutorial(t, "003-backup.conf")
	for _, c := range []struct {
		cfg   *Config
		state State
		prio  int
		src   string
	}{{master, Master, 101, "192.168.2.115"}, {backup, Backup, 100, "192.168.2.227"}} {
		i := c.cfg.Instances[0]
		if i.State != c.state || i.Priority != c.prio || i.McastSrcIP != netip.MustParseAddr(c.src) || i.Auth != (Auth{AuthPass, "1111"}) {
			t.Errorf("%+v", i)
		}
		if i.VIPs[0].Prefix != netip.MustParsePrefix("192.168.2.233/32") {
			t.Errorf("address %v", i.VIPs[0].Prefix)
		}
	}
}

func TestTutorialUnicastNopreempt(t *testing.T) {
	cfg, problems := loadTutorial(t, "004-node144.conf")
	i := cfg.Instances[0]
	if !i.Unicast || !i.NoPreempt || i.UnicastSrcIP != netip.MustParseAddr("172.18.5.144") ||
		len(i.UnicastPeers) != 1 || i.UnicastPeers[0].Addr != netip.MustParseAddr("172.18.5.145") {
		t.Errorf("%+v", i)
	}
	if rc := KeepalivedCode(problems); rc != 0 {
		t.Errorf("exit code %d:\n%s", rc, problemLines(problems))
	}
}

func TestTutorialServiceCheck(t *testing.T) {
	cfg, _ := loadTutorial(t, "002-haproxy1.conf")
	if s := cfg.Scripts[0]; s.Interval != 5*time.Second || s.Timeout != 5*time.Second || s.Weight != 0 {
		t.Errorf("%+v", s)
	}
	if tr := cfg.Instances[0].TrackScripts; len(tr) != 1 || tr[0].HasWeight {
		t.Errorf("%+v", tr)
	}
}
