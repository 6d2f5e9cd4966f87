package mail

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const patience = 20 * time.Second

// relay is an SMTP server. reply may answer a command in its own way; "drop"
// closes the connection.
type relay struct {
	net.Listener
	mu    sync.Mutex
	reply func(command string) string
	got   chan []string // the lines of each connection that said DATA
}

func newRelay(t *testing.T) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	r := &relay{Listener: l, got: make(chan []string, 100)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go r.serve(c)
		}
	}()
	return r
}

func (r *relay) answers(f func(string) string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reply = f
}

func (r *relay) special(command string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reply == nil {
		return ""
	}
	return r.reply(command)
}

func (r *relay) serve(c net.Conn) {
	defer c.Close()
	var lines []string
	say := func(s string) { fmt.Fprintf(c, "%s\r\n", s) }
	switch s := r.special("connect"); s {
	case "":
		say("220-relay\r\n220 ready")
	case "drop":
		return
	default:
		say(s)
	}
	text := false
	for in := bufio.NewReader(c); ; {
		l, err := in.ReadString('\n')
		if err != nil {
			return
		}
		lines = append(lines, l)
		if text && l != ".\r\n" {
			continue
		}
		command := strings.TrimSpace(l)
		if s := r.special(command); s == "drop" {
			return
		} else if s != "" {
			say(s)
			continue
		}
		switch command {
		case "DATA":
			text = true
			say("354 go on")
		case ".":
			text = false
			say("250 taken")
		case "QUIT":
			r.got <- lines // before the client may begin the next one
			say("221 bye")
			return
		default:
			say("250-yes\r\n250 indeed")
		}
	}
}

func (r *relay) next(t *testing.T) []string {
	t.Helper()
	select {
	case l := <-r.got:
		return l
	case <-time.After(patience):
		t.Fatal("no mail came")
	}
	return nil
}

func (r *relay) config() Config {
	return Config{
		Server: r.Addr().String(), Timeout: 5 * time.Second, Helo: "lb1.example",
		From: "Boss <boss@example.org>", To: []string{"ops@example.org", "Second <two@example.org>"},
	}
}

func newQueue(t *testing.T, c Config, opt Options) *Queue {
	t.Helper()
	q := New(opt)
	t.Cleanup(func() { closeNow(q) })
	q.Apply(c)
	return q
}

func closeNow(q *Queue) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	q.Close(ctx)
}

func subject(lines []string) string {
	for _, l := range lines {
		if s, ok := strings.CutPrefix(l, "Subject: "); ok {
			return strings.TrimSpace(s)
		}
	}
	return ""
}

func eventually(t *testing.T, q *Queue, ok func(Stats) bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(q.Stats()); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain; %+v", q.Stats())
		}
	}
}

func TestDialogueIsKeepaliveds(t *testing.T) {
	r := newRelay(t)
	q := newQueue(t, r.config(), Options{})
	m, _ := VRRP("LVS_ONE", false, "VI_1", "MASTER")
	m.At = time.Date(2026, 11, 5, 9, 8, 7, 0, time.FixedZone("", -3*3600-1800))
	q.Send(m)
	want := []string{
		"HELO lb1.example\r\n",
		"MAIL FROM:<boss@example.org>\r\n",
		"RCPT TO:<ops@example.org>\r\n",
		"RCPT TO:<two@example.org>\r\n",
		"DATA\r\n",
		"Date: Thu, 05 Nov 2026 09:08:07 -0330\r\n",
		"From: Boss <boss@example.org>\r\n",
		"Subject: [LVS_ONE] VRRP Instance VI_1 - Entering MASTER state\r\n",
		"X-Mailer: Keepalived\r\n",
		"To: ops@example.org, Second <two@example.org>\r\n",
		"\r\n",
		"=> VRRP Instance is now owning VRRP VIPs <=\r\n",
		"\r\n",
		".\r\n",
		"QUIT\r\n",
	}
	if d := cmp.Diff(want, r.next(t)); d != "" {
		t.Error(d)
	}
}

func TestTextOfEachTransition(t *testing.T) {
	type row struct {
		group   bool
		state   string
		subject string
		text    string
	}
	rows := []row{
		{false, "MASTER", "[r] VRRP Instance N - Entering MASTER state", "=> VRRP Instance is now owning VRRP VIPs <="},
		{false, "BACKUP", "[r] VRRP Instance N - Entering BACKUP state", "=> VRRP Instance is no longer owning VRRP VIPs <="},
		{false, "FAULT", "[r] VRRP Instance N - Entering FAULT state", "=> VRRP Instance is no longer owning VRRP VIPs <="},
		{false, "STOP", "[r] VRRP Instance N - Stopping", "=> VRRP Instance stopping <="},
		{false, "DELETED", "[r] VRRP Instance N - Deleted", "=> VRRP Deleted at reload <="},
		{true, "MASTER", "[r] VRRP Group N - Entering MASTER state", "=> All VRRP group instances are now in MASTER state <="},
		{true, "BACKUP", "[r] VRRP Group N - Entering BACKUP state", "=> All VRRP group instances are now in BACKUP state <="},
		{true, "FAULT", "[r] VRRP Group N - Entering FAULT state", "=> All VRRP group instances are now in FAULT state <="},
		{true, "STOP", "[r] VRRP Group N - Stopping", "=> All VRRP group instances are now stopping <="},
	}
	for _, w := range rows {
		m, ok := VRRP("r", w.group, "N", w.state)
		if got := (row{w.group, w.state, m.Subject, m.Text}); got != w || !ok {
			t.Errorf("%v %+v, want %+v", ok, got, w)
		}
	}
	for _, state := range []string{"MASTER_RX_LOWER_PRI", "MASTER_PRIORITY", "BACKUP_PRIORITY", "INIT"} {
		if m, ok := VRRP("r", false, "N", state); ok {
			t.Errorf("%s: %+v", state, m)
		}
	}
}

func TestNamesCannotForgeHeadersOrEndTheText(t *testing.T) {
	c := Config{From: "a@b\r\nBcc: x@y", To: []string{"c@d\n.\n"}}
	got := string(compose(&c, &Message{Subject: "s\r\n\r\nX: y", Text: "one\n.\nthree"}))
	want := "Date: Mon, 01 Jan 0001 00:00:00 +0000\r\nFrom: a@bBcc: x@y\r\nSubject: sX: y\r\n" +
		"X-Mailer: Keepalived\r\nTo: c@d.\r\n\r\none\r\n.\r\nthree\r\n\r\n"
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	r := newRelay(t)
	q := newQueue(t, r.config(), Options{})
	q.Send(Message{Subject: "s", Text: "one\n.\nthree"})
	if text := strings.Join(r.next(t), ""); !strings.Contains(text, "one\r\n..\r\nthree\r\n\r\n.\r\nQUIT") {
		t.Errorf("the lone dot is not stuffed:\n%s", text)
	}
}

func TestRelayThatIsAwayGetsEverythingInOrderLater(t *testing.T) {
	for _, how := range []string{"drop", "554 go away", "421 not now"} {
		r := newRelay(t)
		tried := make(chan struct{}, 100)
		r.answers(func(c string) string {
			if c != "connect" {
				return ""
			}
			tried <- struct{}{}
			return how
		})
		q := newQueue(t, r.config(), Options{Retry: time.Millisecond})
		for _, s := range []string{"one", "two", "three"} {
			q.Send(Message{Subject: s})
		}
		for range 3 {
			<-tried
		}
		r.answers(nil)
		for _, s := range []string{"one", "two", "three"} {
			if got := subject(r.next(t)); got != s {
				t.Errorf("%s: %q came, want %q", how, got, s)
			}
		}
		eventually(t, q, func(s Stats) bool { return s == Stats{Sent: 3} })
	}
}

func TestMailWantedLaterDoesNotHoldUpTheOthers(t *testing.T) {
	r := newRelay(t)
	var once sync.Once
	r.answers(func(c string) (s string) {
		if strings.HasPrefix(c, "MAIL") {
			once.Do(func() { s = "451 later" })
		}
		return s
	})
	q := newQueue(t, r.config(), Options{Retry: 100 * time.Millisecond})
	q.Send(Message{Subject: "one"})
	q.Send(Message{Subject: "two"})
	if got := []string{subject(r.next(t)), subject(r.next(t))}; got[0] != "two" || got[1] != "one" {
		t.Errorf("came as %q", got)
	}
}

func TestRefusedMailIsDroppedAndTheNextIsSent(t *testing.T) {
	r := newRelay(t)
	var once sync.Once
	r.answers(func(c string) (s string) {
		if c == "." {
			once.Do(func() { s = "554 no" })
		}
		return s
	})
	q := newQueue(t, r.config(), Options{})
	q.Send(Message{Subject: "one"})
	q.Send(Message{Subject: "two"})
	if got := subject(r.next(t)); got != "two" {
		t.Errorf("%q came", got)
	}
	eventually(t, q, func(s Stats) bool { return s == Stats{Sent: 1, Dropped: 1} })
}

func TestOtherRecipientsGetWhatOneIsRefused(t *testing.T) {
	r := newRelay(t)
	r.answers(func(c string) string {
		if strings.HasPrefix(c, "RCPT TO:<ops") {
			return "550 unknown"
		}
		return ""
	})
	q := newQueue(t, r.config(), Options{})
	q.Send(Message{Subject: "one"})
	if got := subject(r.next(t)); got != "one" {
		t.Errorf("%q came", got)
	}
	r.answers(func(c string) string {
		if strings.HasPrefix(c, "RCPT") {
			return "550 unknown"
		}
		return ""
	})
	q.Send(Message{Subject: "two"})
	eventually(t, q, func(s Stats) bool { return s == Stats{Sent: 1, Dropped: 1} })
}

func TestSendNeverWaitsAndAFullQueueLosesTheOldest(t *testing.T) {
	r := newRelay(t)
	connected := make(chan struct{}, 100)
	free := make(chan struct{})
	r.answers(func(c string) string {
		if c == "connect" {
			connected <- struct{}{}
			<-free
		}
		return ""
	})
	q := newQueue(t, r.config(), Options{Limit: 3})
	q.Send(Message{Subject: "0"})
	<-connected // the relay is silent from here on
	for n := 1; n <= 5; n++ {
		q.Send(Message{Subject: fmt.Sprint(n)})
	}
	if s := q.Stats(); s.Waiting != 3 || s.Dropped != 3 {
		t.Errorf("%+v", s)
	}
	close(free)
	for _, want := range []string{"0", "3", "4", "5"} {
		if got := subject(r.next(t)); got != want {
			t.Errorf("%q came, want %q", got, want)
		}
	}
	eventually(t, q, func(s Stats) bool { return s == Stats{Sent: 4, Dropped: 2} })
}

func TestOldMailIsDropped(t *testing.T) {
	r := newRelay(t)
	r.answers(func(string) string { return "drop" })
	q := newQueue(t, r.config(), Options{Retry: time.Millisecond, MaxAge: 20 * time.Millisecond})
	q.Send(Message{Subject: "one"})
	eventually(t, q, func(s Stats) bool { return s == Stats{Dropped: 1} })
}

func TestACorrectedRelayIsUsedAtOnce(t *testing.T) {
	away, r := newRelay(t), newRelay(t)
	tried := make(chan struct{}, 100)
	away.answers(func(string) string { tried <- struct{}{}; return "drop" })
	q := newQueue(t, away.config(), Options{Retry: time.Hour})
	q.Send(Message{Subject: "one"})
	<-tried
	eventually(t, q, func(Stats) bool { q.mu.Lock(); defer q.mu.Unlock(); return q.pause > 0 })
	q.Apply(r.config())
	if got := subject(r.next(t)); got != "one" {
		t.Errorf("%q came", got)
	}
}

func TestWithoutRelayOrRecipientsNothingWaits(t *testing.T) {
	for _, c := range []Config{{To: []string{"a@b"}}, {Server: "127.0.0.1:1"}} {
		q := newQueue(t, c, Options{})
		q.Send(Message{Subject: "one"})
		if s := q.Stats(); s != (Stats{}) {
			t.Errorf("%+v", s)
		}
	}
}

func TestCloseSendsWhatWaitsAndGivesUpWhereTheRelayIsAway(t *testing.T) {
	r := newRelay(t)
	q := New(Options{})
	q.Apply(r.config())
	for _, s := range []string{"one", "two"} {
		q.Send(Message{Subject: s})
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	q.Close(ctx)
	if s := q.Stats(); s != (Stats{Sent: 2}) {
		t.Errorf("%+v", s)
	}
	silent := newRelay(t)
	silent.answers(func(string) string { <-ctx.Done(); return "drop" })
	q = New(Options{})
	q.Apply(silent.config())
	q.Send(Message{Subject: "one"})
	q.Send(Message{Subject: "two"})
	closeNow(q)
	if s := q.Stats(); s != (Stats{Dropped: 2}) {
		t.Errorf("%+v", s)
	}
}
