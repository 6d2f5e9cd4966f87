package translate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/daemon/settings"
	"github.com/keepmesh/keepmesh/vrrp"
	"github.com/keepmesh/keepmesh/vrrp/packet"
)

// loadBroken loads a text that config complains about.
func loadBroken(t *testing.T, text string, interfaces ...string) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keepalived.conf")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c, problems := config.Load(config.File(path), config.Options{
		Interfaces: func() ([]string, error) { return append([]string{"eth0"}, interfaces...), nil },
	})
	if c == nil {
		t.Fatal(problems)
	}
	return c
}

// plain is an instance with lines added.
func plain(name string, vrid string, lines ...string) string {
	return "vrrp_instance " + name + " {\n    state BACKUP\n    interface eth0\n    virtual_router_id " + vrid +
		"\n    virtual_ipaddress {\n        10.0.0." + vrid + "\n    }\n    " + strings.Join(lines, "\n    ") + "\n}\n"
}

const ahLines = "authentication {\n    auth_type AH\n    auth_pass longer-than-eight\n    }"

func TestAHKeepsItsKey(t *testing.T) {
	v, notes := VRRP(load(t, plain("VI_1", "51", ahLines)), nil)
	s := v.Instances[0]
	if len(notes) != 0 || !s.AuthAH || string(s.AuthPass) != "longer-t" {
		t.Errorf("AH %v, key %q, notes %q", s.AuthAH, s.AuthPass, notes)
	}
}

func hmacLines(more ...string) string {
	return "auth_hmac {\n        key 1 hex:" + strings.Repeat("0a", 32) + "\n        key 2 file:/etc/keepalived/key2\n        " +
		strings.Join(more, "\n        ") + "\n    }"
}

func TestHMACIsTranslated(t *testing.T) {
	keys := []settings.HMACKey{{ID: 1, Spec: "hex:" + strings.Repeat("0a", 32)}, {ID: 2, Spec: "file:/etc/keepalived/key2"}}
	for name, tt := range map[string]struct {
		lines []string
		want  *settings.HMAC
	}{
		"defaults":      {[]string{hmacLines("active_key 2")}, &settings.HMAC{Keys: keys, Active: 2, Window: 5 * time.Second}},
		"slow adverts":  {[]string{hmacLines("active_key 1"), "advert_int 4"}, &settings.HMAC{Keys: keys, Active: 1, Window: 12 * time.Second}},
		"window":        {[]string{hmacLines("active_key 1", "time_window 9")}, &settings.HMAC{Keys: keys, Active: 1, Window: 9 * time.Second}},
		"monotonic":     {[]string{hmacLines("active_key 1", "anti_replay monotonic")}, &settings.HMAC{Keys: keys, Active: 1}},
		"permissive":    {[]string{hmacLines("active_key 1", "mode permissive")}, &settings.HMAC{Keys: keys, Active: 1, Mode: packet.HMACPermissive, Window: 5 * time.Second}},
		"receive-only":  {[]string{hmacLines("active_key 1", "mode receive-only")}, &settings.HMAC{Keys: keys, Active: 1, Mode: packet.HMACReceiveOnly, Window: 5 * time.Second}},
		"strict":        {[]string{hmacLines("active_key 1", "mode permissive"), "strict_mode"}, &settings.HMAC{Keys: keys, Active: 1, Window: 5 * time.Second}},
		"no active key": {[]string{hmacLines("active_key 3")}, nil},
	} {
		v, _ := VRRP(loadBroken(t, plain("VI_1", "51", append(tt.lines, "version 3")...)), nil)
		if diff := cmp.Diff(tt.want, v.Instances[0].HMAC); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		tracked := false
		for _, k := range v.Router.Instances[0].Trackers {
			tracked = tracked || k.ID == "config:VI_1"
		}
		if tracked != (tt.want != nil) {
			t.Errorf("%s: whether the keys are usable is tracked: %v", name, tracked)
		}
	}
}

// Of two instances with one VRID the second stays in FAULT, and the first runs.
func TestBarredInstances(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"VRID clash":         {plain("A", "51") + plain("B", "51") + plain("C", "52"), []string{"", "virtual_router_id 51 is already used on eth0 by A", ""}},
		"clash, other cast":  {plain("A", "51") + plain("B", "51", "unicast_peer {\n10.0.0.2\n}"), []string{"", "virtual_router_id 51 is already used on eth0 by A"}},
		"clash, no such dev": {strings.ReplaceAll(plain("A", "51")+plain("B", "51"), "eth0", "eth7"), []string{"", "virtual_router_id 51 is already used on eth7 by A"}},
		"no unicast peer":    {plain("A", "51", "unicast_src_ip 10.0.0.1", "unicast_fault_no_peer"), []string{"there is no unicast peer"}},
		"no interface":       {strings.ReplaceAll(plain("A", "51"), "eth0", "eth7"), []string{""}},
	} {
		c := loadBroken(t, tt.text, "lo")
		v, notes := VRRP(c, &config.Mesh{})
		var got []string
		barred := 0
		for n, s := range v.Instances {
			r := v.Router.Instances[n]
			got = append(got, s.Fault)
			if (r.Key.Barred == r.Name) != (s.Fault != "") || s.Fault != "" && (r.AskPermit || len(r.Trackers) != 1) {
				t.Errorf("%s: %s is %+v", name, r.Name, r)
			}
			if s.Fault != "" {
				barred++
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if len(notes) != barred {
			t.Errorf("%s: notes %q", name, notes)
		}
		if _, err := vrrp.New().Prepare(v.Router); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What config says of an interface that is absent must be told from the rest.
func TestAbsentInterfaceIsToldByItsWords(t *testing.T) {
	c := loadBroken(t, strings.ReplaceAll(plain("A", "51"), "eth0", "eth7"), "lo")
	if f := c.Instances[0].Fault; !strings.HasPrefix(f, noInterface) {
		t.Errorf("config says %q", f)
	}
}

func TestStrictAndOwnerAndChecksums(t *testing.T) {
	v, notes := VRRP(load(t, plain("A", "51", "version 3", "priority 255", "state MASTER", "strict_mode")), nil)
	r, s := v.Router.Instances[0], v.Instances[0]
	if !s.OwnerIgnore || !r.LowerPrioNoAdvert || r.HigherPrioSendAdvert || r.Announce.LowerPrioRepeat != 0 || len(notes) != 0 {
		t.Errorf("a strict owner: %+v, %+v, notes %q", s, r, notes)
	}
	v, _ = VRRP(load(t, plain("A", "51", "version 3", "strict_mode")), nil)
	if v.Instances[0].OwnerIgnore {
		t.Error("a backup ignores adverts")
	}
	v, notes = VRRP(load(t, plain("A", "51", "version 3", "old_unicast_checksum never", "timer_expired_backup 120", "nopreempt", "unicast_peer {\n10.0.0.2\n}")), nil)
	r, s = v.Router.Instances[0], v.Instances[0]
	if s.OldUnicast != packet.OldUnicastNever || s.ChecksumGroup.String() != "224.0.0.18" || r.TimerExpiredBackup != 120 || len(notes) != 0 {
		t.Errorf("%+v, timer %d, notes %q", s, r.TimerExpiredBackup, notes)
	}
	v, notes = VRRP(load(t, plain("A", "51", "timer_expired_backup")), nil)
	if v.Router.Instances[0].TimerExpiredBackup != 0 || len(notes) != 1 {
		t.Errorf("timer_expired_backup without nopreempt: notes %q", notes)
	}
}

func TestDelayAfterBootIsKeptApart(t *testing.T) {
	v, _ := VRRP(load(t, "global_defs {\n    vrrp_startup_delay 2.5\n    vrrp_delay_after_boot 40\n}\n"+plain("A", "51")), nil)
	if v.Router.StartupDelay != 2500*time.Millisecond || v.DelayAfterBoot != 40*time.Second {
		t.Errorf("delays %s, %s", v.Router.StartupDelay, v.DelayAfterBoot)
	}
}
