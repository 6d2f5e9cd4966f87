package mesh

import (
	"bytes"
	"context"
	"log/slog"
	"regexp"
	"strings"

	"github.com/keepmesh/keepmesh/mesh/link"
)

// logWriter takes the gossip library's lines to slog. The library logs much
// that is its daily business; what an operator should read is logged by this
// package in its own words, so the rest goes one level down and repeats are
// counted.
type logWriter struct {
	log   *slog.Logger
	quiet *link.Throttle
}

var (
	logLevels = map[string]slog.Level{"DEBUG": slog.LevelDebug, "INFO": slog.LevelDebug, "WARN": slog.LevelInfo, "ERR": slog.LevelInfo, "ERROR": slog.LevelInfo}
	logNumber = regexp.MustCompile(`[0-9]+`)
)

func (w *logWriter) Write(line []byte) (int, error) {
	text := string(bytes.TrimSpace(line))
	level := slog.LevelDebug
	if strings.HasPrefix(text, "[") {
		if name, rest, ok := strings.Cut(text[1:], "]"); ok {
			level, text = logLevels[name], strings.TrimSpace(rest)
		}
	}
	if !w.log.Enabled(context.Background(), level) {
		return len(line), nil
	}
	text = strings.TrimPrefix(text, "memberlist: ")
	if strings.HasPrefix(text, "Decrypt packet failed") {
		level = slog.LevelWarn
		text = "gossip packet cannot be decrypted: its sender has another encrypt_key_file: " + text
	}
	if ok, repeats := w.quiet.Allow(logNumber.ReplaceAllString(text, "")); ok {
		w.log.Log(context.Background(), level, "gossip: "+text, "repeats", repeats)
	}
	return len(line), nil
}
