package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"

	"github.com/keepmesh/keepmesh/daemon/logsink"
)

// childVariable carries the log options from the guardian to its children, and
// tells them that they are children.
const childVariable = "KEEPMESH_CHILD"

// logOptions are the options of logging as the command line has them.
type logOptions struct {
	Console  bool
	Syslog   bool
	Detail   bool
	Facility logsink.Facility
	File     string
}

// environ hands the options to the children.
func (o logOptions) environ() []string {
	b, err := json.Marshal(o)
	if err != nil {
		panic(err) // plain values
	}
	return []string{childVariable + "=" + string(b)}
}

// inherited are the options that the guardian handed over.
func inherited() logOptions {
	var o logOptions
	_ = json.Unmarshal([]byte(os.Getenv(childVariable)), &o)
	return o
}

// open opens the outputs of one process: "" is the guardian.
func (o logOptions) open(process string) (*logsink.Sink, error) {
	ident, file := "keepmesh", o.File
	if process != "" {
		ident += "_" + process
	}
	if file != "" {
		file = logsink.FileFor(file, process)
	}
	level := slog.LevelInfo
	if o.Detail {
		level = slog.LevelDebug
	}
	sink, err := logsink.Open(logsink.Options{
		Ident: ident, Level: level, Console: o.Console, Syslog: o.Syslog, Facility: o.Facility, File: file,
	})
	if err != nil {
		return nil, fmt.Errorf("opening the log: %w", err)
	}
	return sink, nil
}
