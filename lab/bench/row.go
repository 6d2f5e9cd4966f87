package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"
)

// row is one measured quantity of one system.
type row struct {
	Measure string  `json:"measure"`
	Setup   string  `json:"setup"`
	System  string  `json:"system"`
	Unit    string  `json:"unit"`
	N       int     `json:"n"`
	Min     float64 `json:"min"`
	Median  float64 `json:"median"`
	P90     float64 `json:"p90"`
	Max     float64 `json:"max"`
	// Ratio is this median through keepalived's of the same run.
	Ratio     *float64   `json:"ratio,omitempty"`
	Thrown    int        `json:"thrown_away"` // samples with stolen time
	StealMS   int        `json:"steal_ms"`    // in the windows thrown away
	Load      [2]float64 `json:"load"`        // 1-minute average, least and most
	SnifferMS float64    `json:"sniffer_late_ms"`
	At        time.Time  `json:"at"`
	Samples   []float64  `json:"samples"`
}

// series collects the samples of one row.
type series struct {
	row
}

func (s *series) add(v float64) { s.Samples = append(s.Samples, v) }

// window accounts for the time in which a sample was taken, and reports
// whether the sample counts.
func (s *series) window(w verdict) bool {
	if s.Load[1] == 0 {
		s.Load[0] = w.load
	}
	s.Load[0], s.Load[1] = min(s.Load[0], w.load), max(s.Load[1], w.load)
	if w.steal > 0 {
		s.Thrown++
		s.StealMS += int(w.steal.Milliseconds())
		return false
	}
	return true
}

// finish computes the figures; quantiles are by nearest rank.
func (s *series) finish() {
	s.N, s.At = len(s.Samples), time.Now()
	if s.N == 0 {
		return
	}
	sorted := slices.Sorted(slices.Values(s.Samples))
	rank := func(q float64) float64 { return sorted[min(max(int(q*float64(s.N)+0.9999)-1, 0), s.N-1)] }
	s.Min, s.Median, s.P90, s.Max = sorted[0], rank(0.5), rank(0.9), sorted[s.N-1]
	if s.N%2 == 0 {
		s.Median = (sorted[s.N/2-1] + sorted[s.N/2]) / 2
	}
}

// bench is a run: its options and the rows so far.
type bench struct {
	options
	began time.Time
	file  *os.File
	rows  []*series
}

func newBench(o options) (*bench, error) {
	f, err := os.OpenFile(o.out, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	return &bench{options: o, began: time.Now(), file: f}, nil
}

func (b *bench) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%7.1f s  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

// collect makes an empty series for a system.
func collect(measure, setup, system, unit string) *series {
	return &series{row{Measure: measure, Setup: setup, System: system, Unit: unit}}
}

// report finishes series of one measure and compares those that measure the
// same thing with keepalived's.
func (b *bench) report(all ...*series) error {
	for _, s := range all {
		s.finish()
	}
	for _, s := range all {
		for _, other := range all {
			if other.System == keepalived && other.Measure == s.Measure && other.Setup == s.Setup && other.Median != 0 && s.N > 0 && other.N > 0 {
				r := s.Median / other.Median
				s.Ratio = &r
			}
		}
		line, err := json.Marshal(s.row)
		if err != nil {
			return err
		}
		if _, err := b.file.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("writing a row: %w", err)
		}
		b.rows = append(b.rows, s)
	}
	return nil
}

// finish prints the table.
func (b *bench) finish() error {
	table(os.Stdout, b.rows)
	return b.file.Close()
}

func table(out io.Writer, rows []*series) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "measure\tsetup\tsystem\tunit\tn\tmin\tmedian\tp90\tmax\tratio\tthrown\tload")
	last := ""
	for _, s := range rows {
		group := s.Measure + s.Setup
		if last != "" && group != last {
			fmt.Fprintln(w, "\t\t\t\t\t\t\t\t\t\t\t")
		}
		last = group
		ratio := ""
		if s.Ratio != nil && s.System != keepalived {
			ratio = fmt.Sprintf("%.2f", *s.Ratio)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%d\t%.1f-%.1f\n", s.Measure, s.Setup, s.System, s.Unit, s.N,
			figure(s.Min), figure(s.Median), figure(s.P90), figure(s.Max), ratio, s.Thrown, s.Load[0], s.Load[1])
	}
	_ = w.Flush() // to a terminal or a pipe: nothing could be done about it
}

// figure shows three significant digits or so.
func figure(v float64) string {
	switch a := max(v, -v); {
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 1:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.3f", v)
	}
}

// ms is a duration in milliseconds.
func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
