package ipc

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func pair(t *testing.T, nonblock bool) (a, b *Conn) {
	t.Helper()
	fa, fb, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	ends := make([]*Conn, 2)
	for n, f := range []*os.File{fa, fb} {
		fd, err := unix.Dup(int(f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		if ends[n], err = New(fd, nonblock); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { ends[0].Close(); ends[1].Close() })
	return ends[0], ends[1]
}

func TestMessageArrivesWhole(t *testing.T) {
	a, b := pair(t, false)
	want := &Message{State: &State{Kind: Group, Name: "VG 1", From: "BACKUP", To: "MASTER", Priority: 97, Reason: "ü"}}
	if err := a.Send(want, nil); err != nil {
		t.Fatal(err)
	}
	got, file, err := b.Receive()
	if err != nil || file != nil {
		t.Fatalf("Receive: file %v, err %v", file, err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestMemoryFileRidesAlong(t *testing.T) {
	a, b := pair(t, false)
	f, err := Memfile("test", map[string]string{"text": strings.Repeat("x", 5<<20)})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := a.Send(&Message{Prepare: &Prepare{Gen: 7}}, f); err != nil {
		t.Fatal(err)
	}
	m, got, err := b.Receive()
	if err != nil || got == nil || m.Prepare == nil || m.Prepare.Gen != 7 {
		t.Fatalf("got %+v, file %v, err %v", m, got, err)
	}
	defer got.Close()
	for range 2 { // by position: a second reader sees the same
		var v map[string]string
		if err := ReadMemfile(got, &v); err != nil {
			t.Fatal(err)
		}
		if len(v["text"]) != 5<<20 {
			t.Errorf("read %d bytes", len(v["text"]))
		}
	}
}

func TestSendNeverWaitsForAReaderThatDoesNotRead(t *testing.T) {
	a, _ := pair(t, false)
	m := &Message{Event: &Event{Text: strings.Repeat("x", 60<<10)}}
	for range 1000 {
		if err := a.Send(m, nil); err != nil {
			if !errors.Is(err, ErrFull) {
				t.Fatalf("Send: %v", err)
			}
			return
		}
	}
	t.Fatal("1000 messages of 60 kB were taken without a reader")
}

func TestReceiveTellsEmptyFromGone(t *testing.T) {
	a, b := pair(t, true)
	if _, _, err := b.Receive(); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("empty: %v", err)
	}
	a.Close()
	if _, _, err := b.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("gone: %v", err)
	}
}

// The guardian keeps its copies open: a process's death is then no end of file.
func TestWhatADeadProcessWroteIsReadByItsPeer(t *testing.T) {
	fa, fb, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer fa.Close()
	defer fb.Close()
	fd, err := unix.Dup(int(fa.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	dying, err := New(fd, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := dying.Send(&Message{Hello: &Hello{Boot: 1}}, nil); err != nil {
		t.Fatal(err)
	}
	dying.Close()
	peer, err := New(int(fb.Fd()), true)
	if err != nil {
		t.Fatal(err)
	}
	if m, _, err := peer.Receive(); err != nil || m.Hello == nil {
		t.Fatalf("got %+v, %v", m, err)
	}
	if _, _, err := peer.Receive(); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("after the death: %v, want EAGAIN", err)
	}
}

func TestTooLargeIsRefusedNotCut(t *testing.T) {
	a, _ := pair(t, false)
	if err := a.Send(&Message{Event: &Event{Text: strings.Repeat("x", MaxMessage)}}, nil); err == nil {
		t.Error("a message above MaxMessage was sent")
	}
}
