package guardian

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRespawnBacksOffAsKeepalived(t *testing.T) {
	c := &child{}
	var got []time.Duration
	for range 9 {
		got = append(got, c.nextDelay(time.Second))
	}
	for n, seconds := range []float64{0, 1, 2, 4, 8, 16, 32, 60, 60} {
		if got[n].Seconds() != seconds {
			t.Errorf("delay %d is %s, want %v s", n, got[n], seconds)
		}
	}
	if d := c.nextDelay(time.Minute); d != 0 {
		t.Errorf("after a life of a minute: %s, want 0", d)
	}
}

func TestPIDFileIsHeldByItsLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.pid")
	// A stale file with a living pid, as private pid namespaces leave it.
	if err := os.WriteFile(path, []byte("1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := lockPIDFile(path)
	if err != nil {
		t.Fatalf("a stale file keeps the daemon from starting: %v", err)
	}
	if b, _ := os.ReadFile(path); len(b) != 0 {
		t.Errorf("before readiness the file says %q", b)
	}
	if err := p.write(4711); err != nil {
		t.Fatal(err)
	}
	_, err = lockPIDFile(path)
	if !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), "4711") {
		t.Errorf("second daemon: %v", err)
	}
	p.release()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after release: %v", err)
	}
}
