package consensus

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// faultyDisk is a disk in memory that can be made to hang or to fail.
type faultyDisk struct {
	*raft.InmemStore
	mu   sync.Mutex
	hang chan struct{}
	err  error
}

func newFaultyDisk() *faultyDisk { return &faultyDisk{InmemStore: raft.NewInmemStore()} }

func (d *faultyDisk) fault() error {
	d.mu.Lock()
	hang, err := d.hang, d.err
	d.mu.Unlock()
	if hang != nil {
		<-hang
	}
	return err
}

func (d *faultyDisk) set(hang chan struct{}, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hang, d.err = hang, err
}

func (d *faultyDisk) StoreLogs(l []*raft.Log) error {
	if err := d.fault(); err != nil {
		return err
	}
	return d.InmemStore.StoreLogs(l)
}

func (d *faultyDisk) StoreLog(l *raft.Log) error { return d.StoreLogs([]*raft.Log{l}) }

func (d *faultyDisk) Set(k, v []byte) error {
	if err := d.fault(); err != nil {
		return err
	}
	return d.InmemStore.Set(k, v)
}

func (d *faultyDisk) SetUint64(k []byte, v uint64) error {
	if err := d.fault(); err != nil {
		return err
	}
	return d.InmemStore.SetUint64(k, v)
}

func (d *faultyDisk) Get(k []byte) ([]byte, error) {
	v, err := d.InmemStore.Get(k)
	if err != nil || len(v) == 0 {
		return nil, raftboltdb.ErrKeyNotFound
	}
	return v, nil
}

func (d *faultyDisk) Close() error { return nil }

func TestHungDiskBecomesAnErrorForGood(t *testing.T) {
	d := newFaultyDisk()
	failed := make(chan error, 1)
	s := newStore(d, 20*time.Millisecond, func(err error) { failed <- err })
	if err := s.SetUint64([]byte("k"), 1); err != nil {
		t.Fatal(err)
	}
	hang := make(chan struct{})
	d.set(hang, nil)
	err := s.StoreLog(&raft.Log{Index: 1})
	if err == nil || !strings.Contains(err.Error(), "the disk of data_dir hangs") {
		t.Fatalf("got %v", err)
	}
	if got := <-failed; !errors.Is(got, err) {
		t.Errorf("onFail heard %v", got)
	}
	if s.idle() {
		t.Error("idle with an operation under way")
	}
	d.set(nil, nil)
	close(hang)
	if again := s.SetUint64([]byte("k"), 2); !errors.Is(again, err) {
		t.Errorf("after it came back: %v, want the first error: Raft must not go on with a gap", again)
	}
	deadline := time.Now().Add(10 * time.Second)
	for !s.idle() {
		if time.Now().After(deadline) {
			t.Fatal("never idle")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestDiskErrorEndsTheGoroutineThatRaftWouldPanicOn(t *testing.T) {
	d := newFaultyDisk()
	s := newStore(d, time.Second, func(error) {})
	d.set(nil, errors.New("no space left on device"))
	if err := s.SetUint64([]byte("k"), 1); err == nil {
		t.Fatal("no error before Raft runs")
	}
	s.running.Store(true)
	returned, ended := false, make(chan struct{})
	go func() {
		defer close(ended)
		s.SetUint64([]byte("k"), 1)
		returned = true
	}()
	<-ended
	if returned {
		t.Error("Raft's goroutine went on, to its panic")
	}
}

func TestWhatIsNotThereIsNoFailure(t *testing.T) {
	d, err := openDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(d, time.Second, func(err error) { t.Errorf("failed: %v", err) })
	defer s.Close()
	if _, err := s.Get([]byte("none")); err == nil {
		t.Error("Get of nothing")
	}
	if err := s.GetLog(7, new(raft.Log)); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("GetLog of nothing: %v", err)
	}
	if err := s.SetUint64([]byte("k"), 1); err != nil {
		t.Error(err)
	}
}

func TestTwoProcessesOnOneDataDir(t *testing.T) {
	dir := t.TempDir()
	d, err := openDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := openDisk(dir); err == nil || !strings.Contains(err.Error(), "another keepmesh runs with this data_dir") {
		t.Errorf("got %v", err)
	}
}
