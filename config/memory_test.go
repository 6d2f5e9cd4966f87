package config

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// liveBytes gives what a loaded text keeps alive, its own text included.
func liveBytes(text string) (cfg *Config, bytes uint64) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	cfg, _ = Load(bundleOf(text), Options{NodeID: "x"})
	runtime.GC()
	runtime.ReadMemStats(&after)
	return cfg, after.HeapAlloc - min(before.HeapAlloc, after.HeapAlloc)
}

// TestAgainstKeepalived prints what 50,000 real servers cost beside
// `keepalived -t` in the same run, when KEEPMESH_BENCH is set: the time of each
// and their ratio, and the memory a loaded text keeps as a multiple of it.
func TestAgainstKeepalived(t *testing.T) {
	if os.Getenv("KEEPMESH_BENCH") == "" {
		t.Log("KEEPMESH_BENCH=1 compares with keepalived -t")
	}
	servers, repeats := 5000, 1
	if os.Getenv("KEEPMESH_BENCH") != "" {
		servers, repeats = 50000, 3
		needKeepalived(t)
	}
	text := bigText(servers, 1000)
	Load(bundleOf("global_defs {\n}\n"), Options{NodeID: "x"}) // the keyword table is made once
	cfg, bytes := liveBytes(text)
	t.Logf("%d real servers, %d bytes of text: %.1f times the text is kept", servers, len(text), float64(bytes)/float64(len(text)))
	runtime.KeepAlive(cfg)
	if bytes > 8*uint64(len(text)) {
		t.Errorf("%d bytes are kept for %d bytes of text", bytes, len(text))
	}
	file := filepath.Join(t.TempDir(), "big.conf")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	ours, theirs := time.Duration(1<<62), time.Duration(1<<62)
	for range repeats {
		begin := time.Now()
		if cfg, problems := Load(File(file), Options{NodeID: "x"}); cfg == nil || KeepalivedCode(problems) != 0 {
			t.Fatalf("the text does not load: %.500s", problemLines(problems))
		}
		ours = min(ours, time.Since(begin))
		if os.Getenv("KEEPMESH_BENCH") == "" {
			continue
		}
		begin = time.Now()
		if out, err := exec.Command("unshare", "-rn", "keepalived", "-t", "-f", file).CombinedOutput(); err != nil {
			t.Fatalf("keepalived -t: %v: %.500s", err, out)
		}
		theirs = min(theirs, time.Since(begin))
	}
	if os.Getenv("KEEPMESH_BENCH") != "" {
		t.Logf("ours %v, keepalived -t %v: %.3f of its time", ours, theirs, float64(ours)/float64(theirs))
	}
}
