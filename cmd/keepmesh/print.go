package main

import (
	"encoding/json"
	"io"
)

// printLine prints one JSON value on one line.
func printLine(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }
