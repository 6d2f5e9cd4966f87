package consensus

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keepmesh/keepmesh/mesh/link"
)

// alone is a cluster of one on a faulty disk.
func alone(t *testing.T) (*Node, *faultyDisk) {
	t.Helper()
	dir := t.TempDir()
	id, err := link.OpenIdentity(link.IdentityConfig{Cluster: "edge", Name: "lb1", DataDir: dir, Key: bytes.Repeat([]byte{1}, 32)})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	l, err := link.Listen(link.Config{Bind: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Identity: id, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	d := newFaultyDisk()
	n, err := Start(Config{ServerID: id.UUID(), Name: "lb1", Cluster: "edge", Addr: l.Addrs()[0].String(), DataDir: dir, BootstrapExpect: 1,
		Link: l, Logger: log, Members: func() []Peer { return nil }, Tick: 20 * time.Millisecond, StoreDeadline: 200 * time.Millisecond, Heartbeat: 100 * time.Millisecond,
		open: func(string) (disk, error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.hang != nil || d.err != nil {
				return nil, errors.New("the disk is still broken")
			}
			return d, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Shutdown() })
	return n, d
}

func within(t *testing.T, n *Node, what string, ok func(Status) bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok(n.Status()) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s: %+v", what, n.Status())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestDiskThatHangsOrFailsStopsRaftNotTheProcess(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		hang bool
		err  error
		want string
	}{
		{"hangs", true, nil, "the disk of data_dir hangs"},
		{"fails", false, errors.New("no space left on device"), "no space left on device"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n, d := alone(t)
			within(t, n, "it leads", func(s Status) bool { return s.State == "leader" && s.Quorum })
			if _, err := n.Put(t.Context(), "k", []byte("v")); err != nil {
				t.Fatal(err)
			}
			hang := make(chan struct{})
			if c.hang {
				d.set(hang, nil)
			} else {
				d.set(nil, c.err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if _, err := n.Put(ctx, "k", []byte("w")); err == nil {
				t.Fatal("written on a broken disk")
			}
			within(t, n, "the failure shows", func(s Status) bool { return s.State == "down" && strings.Contains(s.Failure, "disk") })
			ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if _, err := n.Put(ctx, "k", nil); !errors.Is(err, ErrNoLeader) || !strings.Contains(err.Error(), "raft is down on this node") {
				t.Errorf("write while down: %v", err)
			}
			if v, ok := n.Get("k"); !ok || string(v.Data) != "v" {
				t.Error("local reads need the disk")
			}
			d.set(nil, nil)
			close(hang)
			within(t, n, "it leads again", func(s Status) bool { return s.State == "leader" && s.Quorum && s.Failure == "" })
			if _, err := n.Put(t.Context(), "k", []byte("x")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWatchTellsOfWrites(t *testing.T) {
	t.Parallel()
	n, _ := alone(t)
	within(t, n, "it leads", func(s Status) bool { return s.State == "leader" && s.Quorum })
	watch := n.Watch()
	before := n.State().Revision
	if _, err := n.Put(t.Context(), "k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	for deadline := time.After(10 * time.Second); n.State().Revision <= before; {
		select {
		case <-watch:
		case <-deadline:
			t.Fatal("no word of the write")
		}
	}
}

func TestCommandOfANewerReleaseStopsTheStateInsteadOfForkingIt(t *testing.T) {
	t.Parallel()
	n, _ := alone(t)
	within(t, n, "it leads", func(s Status) bool { return s.State == "leader" && s.Quorum })
	inst, err := n.running()
	if err != nil {
		t.Fatal(err)
	}
	if err := inst.raft.Apply([]byte(`{"v":99,"op":"fence"}`), time.Second).Error(); err != nil {
		t.Fatal(err)
	}
	within(t, n, "it is said", func(s Status) bool { return strings.Contains(s.Failure, "newer release") })
	before := n.State().Revision
	if _, err := n.Put(t.Context(), "k", []byte("v")); err == nil {
		t.Error("written after it")
	}
	if n.State().Revision != before {
		t.Error("the state went on")
	}
}

func TestConcurrentWritersEachCountOnce(t *testing.T) {
	t.Parallel()
	n, _ := alone(t)
	within(t, n, "it leads", func(s Status) bool { return s.State == "leader" && s.Quorum && s.ClusterID != "" })
	if _, err := n.CompareAndSwap(t.Context(), "count", 0, []byte{0}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				v, _ := n.Get("count")
				_, err := n.CompareAndSwap(t.Context(), "count", v.Revision, []byte{v.Data[0] + 1})
				if err == nil {
					return
				}
				if !errors.Is(err, ErrConflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if v, _ := n.Get("count"); v.Data[0] != 8 {
		t.Errorf("counted %d", v.Data[0])
	}
}
