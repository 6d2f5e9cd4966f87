package e2e

import (
	"bufio"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepmesh/keepmesh/lab"
)

// sink is an SMTP server that takes everything.
type sink struct {
	mu    sync.Mutex
	mails []string // what the client said, whole dialogues
}

func (w *world) sink(h *lab.Host, address string) *sink {
	w.t.Helper()
	l, err := h.Listen("tcp", address)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	s := &sink{}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s
}

func (s *sink) serve(c net.Conn) {
	defer c.Close()
	fmt.Fprint(c, "220 sink\r\n")
	var said strings.Builder
	text := false
	for in := bufio.NewReader(c); ; {
		l, err := in.ReadString('\n')
		if err != nil {
			return
		}
		said.WriteString(l)
		switch command := strings.TrimSpace(l); {
		case command == "." && text:
			text = false
			fmt.Fprint(c, "250 taken\r\n")
		case text:
		case command == "DATA":
			text = true
			fmt.Fprint(c, "354 go on\r\n")
		case command == "QUIT":
			s.mu.Lock()
			s.mails = append(s.mails, said.String())
			s.mu.Unlock()
			fmt.Fprint(c, "221 bye\r\n")
			return
		default:
			fmt.Fprint(c, "250 yes\r\n")
		}
	}
}

var dateHeader = regexp.MustCompile(`\r\nDate: [A-Z][a-z]{2}, [0-3][0-9] [A-Z][a-z]{2} 20[0-9]{2} [0-9:]{8} [-+][0-9]{4}\r\n`)

// mails waits for a number of dialogues and gives them without their dates, in
// the order of the text.
func (w *world) mails(s *sink, count int) []string {
	w.t.Helper()
	var got []string
	w.eventually(fmt.Sprintf("%d mails", count), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		got = slices.Clone(s.mails)
		return len(got) >= count
	}, func() string { return strings.Join(got, "\n") })
	for n := range got {
		if !dateHeader.MatchString(got[n]) {
			w.t.Errorf("no date in %q", got[n])
		}
		got[n] = dateHeader.ReplaceAllString(got[n], "\r\n")
	}
	slices.Sort(got)
	return got
}

const alertGlobals = `global_defs {
    router_id LVS_ONE
    notification_email {
        ops@example.org
        two@example.org
    }
    notification_email_from boss@example.org
    smtp_server 127.0.0.1 2525
    smtp_helo_name helo.example
    %s
}
`

func alertInstance(n int, extra string) string {
	return fmt.Sprintf(`vrrp_instance VI_%d {
    interface eth0
    virtual_router_id %d
    priority 100
    version 3
    advert_int 0.1
    virtual_ipaddress {
        10.9.0.10%d/24
    }
    %s
}
`, n, n, n, extra)
}

// Both programs send the same mails for the same transitions; keepmesh gets
// those of its own end out as well.
func TestAlertMailsAreKeepaliveds(t *testing.T) {
	t.Parallel()
	lab.Require(t, lab.Netns, lab.Keepalived)
	for _, defaults := range []string{"smtp_alert", "smtp_alert\n    no_email_faults"} {
		t.Run(defaults, func(t *testing.T) {
			var seen [2][]string
			for n, program := range []string{"keepalived", "keepmesh"} {
				w := newWorld(t)
				h := w.host("n1", "eth0", "10.9.0.1/24")
				s := w.sink(h, "127.0.0.1:2525")
				small := fmt.Sprintf(alertGlobals, defaults) + alertInstance(1, "") + alertInstance(2, "") +
					alertInstance(5, "smtp_alert off") + "vrrp_sync_group G {\n    group {\n        VI_1\n        VI_2\n    }\n}\n"
				p := programs[program](w, h, small+alertInstance(3, "notify_deleted")+alertInstance(4, ""))
				w.mails(s, 10)
				w.reload(h, p, small)
				faults := strings.Contains(defaults, "no_email_faults")
				gone, down := 2, 3
				if faults {
					gone, down = 1, 0
				}
				w.mails(s, 10+gone)
				w.run(h, "ip", "link", "set", "eth0", "down")
				w.holds("10.9.0.101")
				w.mails(s, 10+gone+down)
				w.run(h, "ip", "link", "set", "eth0", "up")
				seen[n] = w.mails(s, 16+gone+down)
				if program == "keepmesh" {
					w.stop(p)
					last := w.mails(s, len(seen[n])+3)
					if got := strings.Count(strings.Join(last, ""), " - Stopping\r\n"); got != 3 {
						t.Errorf("%d mails of the end", got)
					}
				}
			}
			if d := cmp.Diff(seen[0], seen[1]); d != "" {
				t.Errorf("mails (-keepalived +keepmesh):\n%s", d)
			}
		})
	}
}

// A relay that comes up later gets what was said before, and a silent one
// delays nothing.
func TestAlertMailsWaitForTheRelay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.host("n1", "eth0", "10.9.0.1/24")
	p := w.keepmesh(h, fmt.Sprintf(alertGlobals, "smtp_alert_vrrp")+alertInstance(1, ""))
	w.holds("10.9.0.101", "n1")
	w.says(p, "alert mails wait")
	s := w.sink(h, "127.0.0.1:2525")
	got := w.mails(s, 2)
	for n, want := range []string{"Entering BACKUP state", "Entering MASTER state"} {
		if !strings.Contains(got[n], want) {
			t.Errorf("mail %d is %q, want %s", n, got[n], want)
		}
	}
}

// The FIFO gets new priorities, and all states after a reload, as asked.
func TestPrioritiesAndStatesOnTheFIFO(t *testing.T) {
	t.Parallel()
	lab.Require(t, lab.Netns, lab.Keepalived)
	var seen [2][]string
	for n, program := range []string{"keepalived", "keepmesh"} {
		w := newWorld(t)
		h := w.host("n1", "eth0", "10.9.0.1/24")
		w.write(h, "/etc/keepalived/fifo.sh", 0o755, "#!/bin/sh\ncat \"$1\" >>/etc/lines\n")
		w.write(h, "/etc/tracked", 0o644, "0\n")
		conf := "global_defs {\n    script_user root\n    vrrp_notify_fifo /run/vrrp.fifo\n    vrrp_notify_fifo_script /etc/keepalived/fifo.sh\n" +
			"    vrrp_notify_priority_changes true\n    fifo_write_vrrp_states_on_reload\n}\n" +
			"track_file TF {\n    file /etc/tracked\n}\n" +
			alertInstance(1, "track_file {\n        TF weight 1\n    }") +
			alertInstance(2, "notify_priority_changes off\n    track_file {\n        TF weight 1\n    }")
		p := programs[program](w, h, conf)
		w.text(h, "/etc/lines", `(?s)VI_1" MASTER.*VI_2" MASTER|VI_2" MASTER.*VI_1" MASTER`)
		w.write(h, "/etc/tracked", 0o644, "5\n")
		w.text(h, "/etc/lines", `VI_1" MASTER_PRIORITY 105`)
		w.write(h, "/etc/tracked", 0o644, "-10\n")
		lines := strings.Split(strings.TrimSpace(w.text(h, "/etc/lines", `VI_1" MASTER_PRIORITY 90\n`)), "\n")
		slices.Sort(lines)
		seen[n] = lines
		if program == "keepmesh" {
			before := strings.Join(lines, "\n")
			w.signal(p, sigHUP)
			after := w.text(h, "/etc/lines", `(?s)PRIORITY 90\n.*INSTANCE "VI_2" MASTER 90\n`)
			if !strings.Contains(after, "INSTANCE \"VI_1\" MASTER 90\n") {
				t.Errorf("after the reload:\n%s\nbefore:\n%s", after, before)
			}
		}
	}
	if d := cmp.Diff(seen[0], seen[1]); d != "" {
		t.Errorf("lines (-keepalived +keepmesh):\n%s", d)
	}
}

// startup_script ends before any child begins, shutdown_script begins when all
// have ended; a reload runs neither.
func TestScriptsOfTheDaemonsLife(t *testing.T) {
	t.Parallel()
	lab.Require(t, lab.Netns, lab.Keepalived)
	for _, program := range []string{"keepalived", "keepmesh"} {
		w := newWorld(t)
		h := w.host("n1", "eth0", "10.9.0.1/24")
		// The address says whether the vrrp process has begun, or has ended.
		w.write(h, "/etc/keepalived/life.sh", 0o755, "#!/bin/sh\nsleep 0.3\necho $1 $(ip -o -4 addr show dev eth0 | wc -l) >>/etc/life\n")
		w.write(h, "/etc/keepalived/note.sh", 0o755, "#!/bin/sh\necho $3 >>/etc/life\n")
		p := programs[program](w, h, "global_defs {\n    script_user root\n    startup_script \"/etc/keepalived/life.sh up\"\n"+
			"    shutdown_script \"/etc/keepalived/life.sh down\"\n}\n"+alertInstance(1, "notify /etc/keepalived/note.sh"))
		w.holds("10.9.0.101", "n1")
		w.text(h, "/etc/life", "MASTER\n")
		w.signal(p, sigHUP)
		w.pass(300 * time.Millisecond)
		w.stop(p)
		got := w.text(h, "/etc/life", "down")
		if d := cmp.Diff("up 1\nBACKUP\nMASTER\nSTOP\ndown 1\n", got); d != "" {
			t.Errorf("%s (-want +got):\n%s", program, d)
		}
	}
}
