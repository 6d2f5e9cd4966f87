package logsink

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Facility is a syslog facility of RFC 3164, section 4.1.1. The zero value
// means DAEMON.
type Facility int

// The facilities that keepalived's option -S knows, besides local0 to local7.
const (
	User   Facility = 1
	Daemon Facility = 3
	Local0 Facility = 16
)

// ParseFacility reads the argument of -S: 0 to 7, local0 to local7, user or
// daemon.
func ParseFacility(s string) (Facility, error) {
	switch s {
	case "user":
		return User, nil
	case "daemon":
		return Daemon, nil
	}
	if d := strings.TrimPrefix(s, "local"); len(d) == 1 && d[0] >= '0' && d[0] <= '7' {
		return Local0 + Facility(d[0]-'0'), nil
	}
	return 0, fmt.Errorf("log facility %q: must be 0 to 7, local0 to local7, user or daemon", s)
}

const (
	// syslogRetry is the least time between two attempts to connect.
	syslogRetry = time.Second
	// syslogPatience is how long a line waits for a slow syslog daemon, and
	// syslogHaste how long those do that follow a lost one.
	syslogPatience = 100 * time.Millisecond
	syslogHaste    = time.Millisecond
	// syslogMax is the longest datagram; the rest of a line is cut.
	syslogMax = 8192
)

// syslog writes RFC 3164 lines to a local daemon.
type syslog struct {
	path     string
	facility Facility
	ident    string // "name[pid]: "
	conn     *net.UnixConn
	tried    time.Time
	buf      []byte
	lost     int // lines since the daemon last took one
}

func newSyslog(path, ident string, f Facility) *syslog {
	if f == 0 {
		f = Daemon
	}
	return &syslog{path: path, facility: f, ident: ident + "[" + strconv.Itoa(os.Getpid()) + "]: "}
}

func severity(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return 3
	case l >= slog.LevelWarn:
		return 4
	case l >= slog.LevelInfo:
		return 6
	}
	return 7
}

// write tells whether the daemon took the line.
func (s *syslog) write(e *entry) bool {
	if s.conn == nil && !s.connect() {
		s.lost++
		return false
	}
	if s.lost > 0 {
		lost := &entry{time: e.time, level: slog.LevelWarn,
			body: fmt.Appendf(nil, "lines lost for want of a syslog daemon count=%d", s.lost)}
		if s.send(lost) == nil {
			s.lost = 0
		}
	}
	err := s.send(e)
	if err == nil {
		return true
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		// The daemon has restarted: its old socket refuses.
		s.close()
		s.tried = time.Time{}
		if s.connect() && s.send(e) == nil {
			return true
		}
	}
	s.lost++
	return false
}

func (s *syslog) connect() bool {
	if time.Since(s.tried) < syslogRetry {
		return false
	}
	s.tried = time.Now()
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.path, Net: "unixgram"})
	if err != nil {
		return false
	}
	s.conn = conn
	return true
}

func (s *syslog) send(e *entry) error {
	if s.conn == nil {
		return net.ErrClosed
	}
	b := append(s.buf[:0], '<')
	b = strconv.AppendInt(b, int64(s.facility)<<3|int64(severity(e.level)), 10)
	b = append(b, '>')
	b = e.time.AppendFormat(b, "Jan _2 15:04:05 ")
	b = append(b, s.ident...)
	b = append(b, e.body...)
	if len(b) > syslogMax {
		b = b[:syslogMax]
	}
	s.buf = b
	wait := syslogPatience
	if s.lost > 0 {
		wait = syslogHaste
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	_, err := s.conn.Write(b)
	return err
}

func (s *syslog) close() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}
