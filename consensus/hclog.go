package consensus

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"

	"github.com/keepmesh/keepmesh/mesh/link"
)

// slogger is Raft's logger over slog. Raft logs its elections and every failed
// heartbeat; what an operator should read is logged by this package, so the rest
// goes one level down and repeats are counted.
type slogger struct {
	log   *slog.Logger
	quiet *link.Throttle
	name  string
	args  []any
}

var _ hclog.Logger = (*slogger)(nil)

func (l *slogger) Log(level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	if level >= hclog.Warn {
		to = slog.LevelInfo
	}
	if !l.log.Enabled(context.Background(), to) {
		return
	}
	key := msg
	for i := 0; i+1 < len(args); i += 2 {
		if args[i] == "peer" || args[i] == "server-id" {
			key += fmt.Sprint(args[i+1])
		}
	}
	if ok, repeats := l.quiet.Allow(key); ok {
		if repeats > 0 {
			args = append(args[:len(args):len(args)], "repeats", repeats)
		}
		l.log.Log(context.Background(), to, l.name+": "+msg, args...)
	}
}

func (l *slogger) Trace(string, ...any)             {}
func (l *slogger) Debug(msg string, args ...any)    { l.Log(hclog.Debug, msg, args...) }
func (l *slogger) Info(msg string, args ...any)     { l.Log(hclog.Info, msg, args...) }
func (l *slogger) Warn(msg string, args ...any)     { l.Log(hclog.Warn, msg, args...) }
func (l *slogger) Error(msg string, args ...any)    { l.Log(hclog.Error, msg, args...) }
func (l *slogger) IsTrace() bool                    { return false }
func (l *slogger) IsDebug() bool                    { return l.log.Enabled(context.Background(), slog.LevelDebug) }
func (l *slogger) IsInfo() bool                     { return l.IsDebug() }
func (l *slogger) IsWarn() bool                     { return true }
func (l *slogger) IsError() bool                    { return true }
func (l *slogger) ImpliedArgs() []any               { return l.args }
func (l *slogger) Name() string                     { return l.name }
func (l *slogger) SetLevel(hclog.Level)             {}
func (l *slogger) GetLevel() hclog.Level            { return hclog.Debug }
func (l *slogger) ResetNamed(n string) hclog.Logger { return l.Named(n) }

func (l *slogger) With(args ...any) hclog.Logger {
	out := *l
	out.log, out.args = l.log.With(args...), append(l.args[:len(l.args):len(l.args)], args...)
	return &out
}

func (l *slogger) Named(name string) hclog.Logger {
	out := *l
	out.name = name
	return &out
}

func (l *slogger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(l.log.Handler(), slog.LevelDebug)
}

func (l *slogger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer {
	return l.StandardLogger(nil).Writer()
}
