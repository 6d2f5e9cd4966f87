package protocol

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keepmesh/keepmesh/daemon/settings"
	"github.com/keepmesh/keepmesh/vrrp/speaker"
)

func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return "file:" + path
	}
	thirty2 := strings.Repeat("k", 32)
	for spec, want := range map[string]int{
		thirty2: 32, strings.Repeat("k", 64): 64, "hex:" + strings.Repeat("0a", 32): 32,
		file("text", thirty2+"\r\n"): 32, file("hex", "hex:"+strings.Repeat("0a", 64)+"\n"): 64,
		thirty2[1:]: 0, strings.Repeat("k", 65): 0, "hex:" + strings.Repeat("0", 65): 0, "hex:" + strings.Repeat("0a", 31): 0,
		"hex:" + strings.Repeat("0g", 32): 0, file("large", strings.Repeat("k", 300)): 0, "file:" + dir + "/none": 0,
	} {
		got, err := secretOf(spec)
		if len(got) != want || (err == nil) != (want > 0) {
			t.Errorf("%.20s...: %d bytes, %v; want %d", spec, len(got), err, want)
		}
	}
}

// Only the key that would be used keeps the instance from running.
func TestUnusableKeys(t *testing.T) {
	good, bad := settings.HMACKey{ID: 1, Spec: strings.Repeat("k", 32)}, settings.HMACKey{ID: 2, Spec: "short"}
	var log bytes.Buffer
	p := &process{log: slog.New(slog.NewTextHandler(&log, nil))}
	for active, fault := range map[uint8]bool{1: false, 2: true} {
		s := settings.Instance{HMAC: &settings.HMAC{Keys: []settings.HMACKey{good, bad}, Active: active}}
		var out speaker.Instance
		p.protect("VI_1", &s, &out)
		if (s.Fault != "") != fault || (out.HMAC == nil) != fault {
			t.Errorf("active key %d: fault %q, config %+v", active, s.Fault, out.HMAC)
		}
		if !fault && len(out.HMAC.Keys) != 1 {
			t.Errorf("keys %+v", out.HMAC.Keys)
		}
	}
	if !strings.Contains(log.String(), "left out") {
		t.Errorf("the bad key is not named: %s", log.String())
	}
}

func TestStartupDelayIsTheLongerOfBoth(t *testing.T) {
	cfg := &settings.VRRP{DelayAfterBoot: 40 * time.Second}
	cfg.Router.StartupDelay = 5 * time.Second
	for up, want := range map[time.Duration]time.Duration{
		10 * time.Second: 30 * time.Second, 38 * time.Second: 5 * time.Second, time.Hour: 5 * time.Second,
	} {
		if got := startupDelay(cfg, up); got != want {
			t.Errorf("%s after boot: %s, want %s", up, got, want)
		}
	}
	if sinceBoot() <= 0 {
		t.Error("the machine was never started")
	}
}
