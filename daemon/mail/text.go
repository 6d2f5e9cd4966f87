package mail

import (
	"bytes"
	"strings"
	"time"
)

// Message is one alert.
type Message struct {
	Subject string // with the router_id, see VRRP
	Text    string
	At      time.Time // when it happened; Send fills a zero one in
}

// The states that VRRP knows, in the words of notify scripts.
const (
	master  = "MASTER"
	backup  = "BACKUP"
	fault   = "FAULT"
	stop    = "STOP"
	deleted = "DELETED"
)

// VRRP is keepalived's alert for a transition of an instance, or of a sync
// group. It is false for what keepalived sends no mail for.
func VRRP(routerID string, group bool, name, state string) (Message, bool) {
	m := Message{Subject: "Entering " + state + " state"}
	switch state {
	case master, backup, fault:
		switch {
		case group:
			m.Text = "=> All VRRP group instances are now in " + state + " state <="
		case state == master:
			m.Text = "=> VRRP Instance is now owning VRRP VIPs <="
		default:
			m.Text = "=> VRRP Instance is no longer owning VRRP VIPs <="
		}
	case stop:
		m.Subject, m.Text = "Stopping", "=> VRRP Instance stopping <="
		if group {
			m.Text = "=> All VRRP group instances are now stopping <="
		}
	case deleted:
		m.Subject, m.Text = "Deleted", "=> VRRP Deleted at reload <="
	default:
		return Message{}, false
	}
	kind := "Instance"
	if group {
		kind = "Group"
	}
	m.Subject = "[" + routerID + "] VRRP " + kind + " " + name + " - " + m.Subject
	return m, true
}

// dateLayout is RFC 5322 section 3.3, as keepalived writes it.
const dateLayout = "Mon, 02 Jan 2006 15:04:05 -0700"

// compose is what stands between DATA and the final dot, with CRLF at each
// line's end.
func compose(c *Config, m *Message) []byte {
	var b bytes.Buffer
	line := func(parts ...string) {
		for _, p := range parts {
			b.WriteString(oneLine(p))
		}
		b.WriteString("\r\n")
	}
	line("Date: ", m.At.Format(dateLayout))
	line("From: ", c.From)
	line("Subject: ", m.Subject)
	line("X-Mailer: Keepalived")
	line("To: ", strings.Join(c.To, ", "))
	line()
	for l := range strings.Lines(m.Text) {
		line(strings.TrimRight(l, "\r\n"))
	}
	line()
	return b.Bytes()
}

// oneLine takes out what would begin another header, and NUL, which RFC 5322
// forbids.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' || r == 0 {
			return -1
		}
		return r
	}, s)
}

// envelope is the address for MAIL FROM and RCPT TO: a display name is left
// out, without which no relay takes it (keepalived sends it along).
func envelope(a string) string {
	if open, end := strings.LastIndexByte(a, '<'), strings.LastIndexByte(a, '>'); open >= 0 && end > open {
		a = a[open+1 : end]
	}
	return strings.TrimSpace(oneLine(a))
}
