package mail

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"time"
)

// verdict says what a failed attempt means for the mail and for the queue.
type verdict uint8

const (
	away    verdict = iota // the relay cannot be talked to: everything waits
	later                  // the relay wants this mail later (4xx)
	refused                // never (5xx)
)

// failure is an attempt that did not deliver.
type failure struct {
	verdict verdict
	err     error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// judge makes a failure of what step ended with. 421 is the relay's word for
// "going away" at any step (RFC 5321 section 3.8).
func judge(step string, err error) *failure {
	f := &failure{verdict: away, err: fmt.Errorf("%s: %w", step, err)}
	var reply *textproto.Error
	if errors.As(err, &reply) && reply.Code != 421 {
		switch reply.Code / 100 {
		case 4:
			f.verdict = later
		case 5:
			f.verdict = refused
		}
	}
	return f
}

// deliver speaks one dialogue. Every step, the connection too, has
// Config.Timeout; ctx ends it at once. The recipients that the relay refused
// although it took the mail for others are given back. A relay that answers
// the end of the text late has perhaps taken the mail: it is sent again, since
// an alert that comes twice is better than none.
func deliver(ctx context.Context, c *Config, m *Message) (rejected []error, fail *failure) {
	dialer := net.Dialer{Timeout: c.Timeout}
	conn, err := dialer.DialContext(ctx, "tcp", c.Server)
	if err != nil {
		return nil, judge("connecting", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	d := dialogue{text: textproto.NewConn(conn), conn: conn, limit: c.Timeout}
	d.extend()

	if err := d.expect(220); err != nil {
		f := judge("greeting", err)
		f.verdict = away // 554 here is about this host or the relay, not the mail
		return nil, f
	}
	if err := d.say(250, "HELO %s", oneLine(c.Helo)); err != nil {
		f := judge("HELO", err)
		f.verdict = away
		return nil, f
	}
	if err := d.say(25, "MAIL FROM:<%s>", envelope(c.From)); err != nil {
		return nil, judge("MAIL FROM", err)
	}
	rejected, f := d.recipients(c.To)
	if f != nil {
		return nil, f
	}
	if err := d.say(354, "DATA"); err != nil {
		return nil, judge("DATA", err)
	}
	if err := d.body(compose(c, m)); err != nil {
		return nil, judge("end of the text", err)
	}
	d.quit()
	return rejected, nil
}

// dialogue is one connection with a limit for each step.
type dialogue struct {
	text  *textproto.Conn
	conn  net.Conn
	limit time.Duration
}

func (d *dialogue) expect(code int) error {
	_, _, err := d.text.ReadResponse(code)
	return err
}

func (d *dialogue) extend() { _ = d.conn.SetDeadline(time.Now().Add(d.limit)) }

// say sends a command and expects a code, or its first digits.
func (d *dialogue) say(code int, format string, a ...any) error {
	d.extend()
	if err := d.text.PrintfLine(format, a...); err != nil {
		return err
	}
	return d.expect(code)
}

func (d *dialogue) body(b []byte) error {
	d.extend()
	w := d.text.DotWriter()
	if _, err := w.Write(b); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return d.expect(250)
}

// recipients names all of them. It fails where the relay takes none; then it
// says so for a refusal that may end rather than for one that will not.
func (d *dialogue) recipients(to []string) (rejected []error, fail *failure) {
	for _, r := range to {
		err := d.say(25, "RCPT TO:<%s>", envelope(r))
		if err == nil {
			continue
		}
		f := judge("RCPT TO "+r, err)
		if f.verdict == away {
			return nil, f
		}
		if fail == nil || f.verdict == later {
			fail = f
		}
		rejected = append(rejected, f)
	}
	if len(rejected) < len(to) {
		return rejected, nil
	}
	d.quit()
	return nil, fail
}

// quit is politeness: what matters has been said.
func (d *dialogue) quit() { _ = d.say(221, "QUIT") }
