package notify

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestMailIsForObjectsThatAskForIt(t *testing.T) {
	var got []Change
	n := New(nil, nil)
	defer n.Close(context.Background())
	err := n.Apply(Config{
		Hooks: map[Object]Hooks{
			{Instance, "A"}: {Mail: true}, {Instance, "B"}: {}, {Instance, "D"}: {Mail: true, TellDeleted: true}, {Group, "A"}: {Mail: true},
		},
		Mail: func(c Change) { got = append(got, c) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []Change{
		{Instance, "A", Master, 100}, {Instance, "B", Master, 100}, {Instance, "C", Master, 100}, {Group, "A", Backup, 0},
		{Instance, "A", MasterPriority, 90}, {Instance, "A", Deleted, 90}, {Instance, "D", Deleted, 90},
	} {
		n.Notify(c)
	}
	// What is removed without notify_deleted is mailed as FAULT, as it is told.
	want := []Change{{Instance, "A", Master, 100}, {Group, "A", Backup, 0}, {Instance, "A", Fault, 90}, {Instance, "D", Deleted, 90}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if err := n.Apply(Config{Hooks: map[Object]Hooks{{Instance, "A"}: {Mail: true}}}); err != nil {
		t.Fatal(err)
	}
	n.Notify(Change{Instance, "A", Backup, 1})
	if len(got) != len(want) {
		t.Errorf("mailed without a relay: %v", got[len(want):])
	}
}

func TestRepeatWritesToTheFIFOAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := New(nil, nil)
	defer n.Close(context.Background())
	err = n.Apply(Config{
		Hooks: map[Object]Hooks{{Instance, "A"}: {Mail: true}},
		FIFOs: []FIFOConfig{{Path: path}},
		Mail:  func(c Change) { t.Errorf("mailed %v", c) },
	})
	if err != nil {
		t.Fatal(err)
	}
	n.Repeat(Change{Instance, "A", Master, 100})
	n.Repeat(Change{Group, "G", Backup, 0})
	want := "INSTANCE \"A\" MASTER 100\nGROUP \"G\" BACKUP 0\n"
	got := make([]byte, len(want))
	if _, err := f.Read(got); err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
}
