package events

import (
	"strconv"
	"testing"
	"time"
)

func TestLogForgetsTheOldestOnly(t *testing.T) {
	l := NewLog()
	for n := range capacity + 10 {
		l.Add(Event{At: time.Unix(int64(n), 0), Text: strconv.Itoa(n)})
	}
	got, _ := l.Since(0, time.Time{})
	if len(got) != capacity {
		t.Fatalf("%d events, want %d", len(got), capacity)
	}
	for n, e := range got {
		if e.Text != strconv.Itoa(n+10) || e.Seq != uint64(n+11) {
			t.Fatalf("event %d is %q with number %d", n, e.Text, e.Seq)
		}
	}
}

func TestSinceNumberAndTime(t *testing.T) {
	l := NewLog()
	for n := range 5 {
		l.Add(Event{At: time.Unix(int64(100+n), 0)})
	}
	if got, _ := l.Since(3, time.Time{}); len(got) != 2 || got[0].Seq != 4 {
		t.Errorf("after number 3: %v", got)
	}
	if got, _ := l.Since(0, time.Unix(104, 0)); len(got) != 1 {
		t.Errorf("from the last second: %v", got)
	}
}

func TestFollowerIsWoken(t *testing.T) {
	l := NewLog()
	_, more := l.Since(0, time.Time{})
	select {
	case <-more:
		t.Fatal("woken before anything happened")
	default:
	}
	l.Add(Event{})
	<-more
}
