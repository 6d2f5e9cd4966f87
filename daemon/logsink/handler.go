package logsink

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// handler formats records as `message key=value ...`; the outputs put time,
// level and name before that.
type handler struct {
	sink   *Sink
	prefix string // of keys: the open groups, each with its dot
	attrs  []byte // formatted attributes of With, each after a blank
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(_ context.Context, l slog.Level) bool {
	return l >= h.sink.level.Level()
}

// Handle implements slog.Handler. It never fails and never waits.
func (h *handler) Handle(_ context.Context, r slog.Record) error {
	e := h.sink.pool.Get().(*entry)
	e.time, e.level = r.Time, r.Level
	e.body = appendOneLine(e.body[:0], r.Message)
	e.body = append(e.body, h.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		e.body = appendAttr(e.body, h.prefix, a)
		return true
	})
	h.sink.put(e)
	return nil
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.attrs = append([]byte(nil), h.attrs...)
	for _, a := range attrs {
		next.attrs = appendAttr(next.attrs, h.prefix, a)
	}
	return &next
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	next := *h
	next.prefix += name + "."
	return &next
}

func appendAttr(b []byte, prefix string, a slog.Attr) []byte {
	v := a.Value.Resolve()
	if a.Key == "" && v.Kind() != slog.KindGroup {
		return b
	}
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, inner := range v.Group() {
			b = appendAttr(b, prefix, inner)
		}
		return b
	}
	b = append(b, ' ')
	b = append(b, prefix...)
	b = append(b, a.Key...)
	b = append(b, '=')
	switch v.Kind() {
	case slog.KindInt64:
		return strconv.AppendInt(b, v.Int64(), 10)
	case slog.KindUint64:
		return strconv.AppendUint(b, v.Uint64(), 10)
	case slog.KindBool:
		return strconv.AppendBool(b, v.Bool())
	case slog.KindFloat64:
		return strconv.AppendFloat(b, v.Float64(), 'g', -1, 64)
	case slog.KindDuration:
		return append(b, v.Duration().String()...)
	case slog.KindTime:
		return v.Time().AppendFormat(b, time.RFC3339Nano)
	case slog.KindString:
		return appendValue(b, v.String())
	default: // anything else, and what handlers resolve before
		return appendValue(b, fmt.Sprint(v.Any()))
	}
}

// appendValue quotes what would not read as one word.
func appendValue(b []byte, s string) []byte {
	if s == "" || strings.ContainsAny(s, " \"=") || !printable(s) {
		return strconv.AppendQuote(b, s)
	}
	return append(b, s...)
}

// appendOneLine replaces what would break or disguise a line of a log.
func appendOneLine(b []byte, s string) []byte {
	if printable(s) {
		return append(b, s...)
	}
	for _, r := range s {
		if !strconv.IsPrint(r) {
			r = ' '
		}
		b = utf8.AppendRune(b, r)
	}
	return b
}

func printable(s string) bool {
	for _, r := range s {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return false
		}
	}
	return true
}
