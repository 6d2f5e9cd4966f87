package consensus

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// disk is what a Raft store does on disk.
type disk interface {
	raft.LogStore
	raft.StableStore
	Close() error
}

func openDisk(dir string) (disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("raft directory: %w: data_dir must be writable", err)
	}
	path := filepath.Join(dir, "raft.db")
	db, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: &bbolt.Options{Timeout: time.Second}})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("%s is in use: another keepmesh runs with this data_dir; stop it or give each its own", path)
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w: if it is damaged, remove the directory %s and the cluster sends its state again", path, err, dir)
	}
	return db, nil
}

// store puts a deadline on every operation of a disk. The first failure is
// final: from then on everything fails at once, and onFail is told.
//
// Raft panics when the term cannot be stored or a committed entry cannot be
// read. Both happen on goroutines of Raft that hold nothing; once running is
// set, such a goroutine is ended instead, and Shutdown of Raft finds the others.
type store struct {
	disk     disk
	deadline time.Duration
	onFail   func(error)
	running  atomic.Bool
	pending  atomic.Int32 // operations that have not come back

	once   sync.Once
	failed atomic.Pointer[error]
}

func newStore(d disk, deadline time.Duration, onFail func(error)) *store {
	return &store{disk: d, deadline: deadline, onFail: onFail}
}

// do runs one operation. Answers that are no failure of the disk pass.
func (s *store) do(what string, op func() error) error {
	if err := s.failed.Load(); err != nil {
		return *err
	}
	done := make(chan error, 1)
	s.pending.Add(1)
	go func() {
		defer s.pending.Add(-1)
		done <- op()
	}()
	timer := time.NewTimer(s.deadline)
	defer timer.Stop()
	select {
	case err := <-done:
		if err == nil || errors.Is(err, raftboltdb.ErrKeyNotFound) || errors.Is(err, raft.ErrLogNotFound) {
			return err
		}
		return s.fail(fmt.Errorf("%s on disk: %w", what, err))
	case <-timer.C:
		return s.fail(fmt.Errorf("%s on disk: no answer within %s: the disk of data_dir hangs", what, s.deadline))
	}
}

func (s *store) fail(err error) error {
	s.once.Do(func() {
		s.failed.Store(&err)
		go s.onFail(err)
	})
	return *s.failed.Load()
}

// must ends the calling goroutine where Raft would bring the process down.
func (s *store) must(err error) error {
	if err != nil && s.running.Load() && s.failed.Load() != nil {
		runtime.Goexit()
	}
	return err
}

func (s *store) FirstIndex() (n uint64, err error) {
	err = s.do("reading the log", func() (err error) { n, err = s.disk.FirstIndex(); return })
	return settled(n, err)
}

func (s *store) LastIndex() (n uint64, err error) {
	err = s.do("reading the log", func() (err error) { n, err = s.disk.LastIndex(); return })
	return settled(n, err)
}

// settled keeps a late answer of a failed operation out of the result.
func settled(n uint64, err error) (uint64, error) {
	if err != nil {
		return 0, err
	}
	return n, nil
}

func (s *store) GetLog(index uint64, log *raft.Log) error {
	got := new(raft.Log)
	if err := s.do("reading the log", func() error { return s.disk.GetLog(index, got) }); err != nil {
		return s.must(err)
	}
	*log = *got
	return nil
}

func (s *store) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

func (s *store) StoreLogs(logs []*raft.Log) error {
	return s.do("writing the log", func() error { return s.disk.StoreLogs(logs) })
}

func (s *store) DeleteRange(low, high uint64) error {
	return s.do("trimming the log", func() error { return s.disk.DeleteRange(low, high) })
}

func (s *store) Set(key, val []byte) error {
	return s.do("writing the vote", func() error { return s.disk.Set(key, val) })
}

func (s *store) Get(key []byte) ([]byte, error) {
	var out []byte
	if err := s.do("reading the vote", func() (err error) { out, err = s.disk.Get(key); return }); err != nil {
		return nil, err
	}
	return out, nil
}

func (s *store) SetUint64(key []byte, val uint64) error {
	return s.must(s.do("writing the term", func() error { return s.disk.SetUint64(key, val) }))
}

func (s *store) GetUint64(key []byte) (n uint64, err error) {
	err = s.do("reading the term", func() (err error) { n, err = s.disk.GetUint64(key); return })
	return settled(n, err)
}

// Close closes the disk, in the background where it hangs.
func (s *store) Close() {
	done := make(chan struct{})
	s.pending.Add(1)
	go func() {
		defer s.pending.Add(-1)
		defer close(done)
		_ = s.disk.Close()
	}()
	select {
	case <-done:
	case <-time.After(s.deadline):
	}
}

// idle reports whether everything that was asked of the disk has come back, so
// that it can be opened again.
func (s *store) idle() bool { return s.pending.Load() == 0 }
