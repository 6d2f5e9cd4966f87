package lab

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"
)

// Interval is a time in which the same hosts answered.
type Interval struct {
	Hosts    []string // in order of creation; empty: nobody
	From, To time.Duration
}

// Length is the duration of the interval.
func (i Interval) Length() time.Duration { return i.To - i.From }

func (i Interval) String() string {
	who := "nobody"
	if len(i.Hosts) > 0 {
		who = strings.Join(i.Hosts, "+")
	}
	return fmt.Sprintf("%s %d ms", who, i.Length().Milliseconds())
}

// Mark is something that was done during a measurement.
type Mark struct {
	At   time.Duration
	What string
}

// Report is what a Prober saw.
type Report struct {
	From, To      time.Duration
	Probes        int           // of each kind
	DualMS        int           // milliseconds with two or more holders, by ARP
	NoneMS        int           // milliseconds without a holder, by ARP
	Intervals     []Interval    // who held the address, by ARP; no gaps
	Reached       []Interval    // whom the client reached, by ICMP; no gaps
	Outages       []Interval    // those of Reached in which it reached nobody
	LongestOutage time.Duration // of Outages
	MaxLateness   time.Duration // of the prober's own sending
	Lost          uint32        // frames the sniffer was too slow for
	Marks         []Mark
}

// Window is the part of the report from one instant to another. Probes,
// MaxLateness and Lost stay those of the whole.
func (r Report) Window(from, to time.Duration) Report {
	from, to = max(from, r.From), min(to, r.To)
	w := Report{From: from, To: to, Probes: r.Probes, MaxLateness: r.MaxLateness, Lost: r.Lost}
	w.Intervals, w.Reached = clip(r.Intervals, from, to), clip(r.Reached, from, to)
	for _, m := range r.Marks {
		if m.At >= from && m.At < to {
			w.Marks = append(w.Marks, m)
		}
	}
	w.count()
	return w
}

func clip(list []Interval, from, to time.Duration) []Interval {
	var kept []Interval
	for _, i := range list {
		i.From, i.To = max(i.From, from), min(i.To, to)
		if i.From < i.To {
			kept = append(kept, i)
		}
	}
	return kept
}

// count derives the sums from the intervals.
func (r *Report) count() {
	var dual, none time.Duration
	for _, i := range r.Intervals {
		switch len(i.Hosts) {
		case 0:
			none += i.Length()
		case 1:
		default:
			dual += i.Length()
		}
	}
	r.DualMS, r.NoneMS = int(dual.Round(time.Millisecond).Milliseconds()), int(none.Round(time.Millisecond).Milliseconds())
	r.Outages, r.LongestOutage = nil, 0
	for _, i := range r.Reached {
		if len(i.Hosts) == 0 {
			r.Outages = append(r.Outages, i)
			r.LongestOutage = max(r.LongestOutage, i.Length())
		}
	}
}

// String shows the sums and the course of events, in ms from the start.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d ms: two or more holders %d ms, none %d ms, longest outage %d ms, prober late by up to %.1f ms",
		(r.To - r.From).Milliseconds(), r.DualMS, r.NoneMS, r.LongestOutage.Milliseconds(), float64(r.MaxLateness.Microseconds())/1000)
	type line struct {
		at   time.Duration
		text string
	}
	var lines []line
	for _, m := range r.Marks {
		lines = append(lines, line{m.At, "* " + m.What})
	}
	for _, i := range r.Intervals {
		lines = append(lines, line{i.From, "held by " + i.String()})
	}
	slices.SortStableFunc(lines, func(a, b line) int { return int(a.at - b.at) })
	const most = 60
	for i, l := range lines {
		if i == most {
			fmt.Fprintf(&b, "\n  ... and %d more", len(lines)-most)
			break
		}
		fmt.Fprintf(&b, "\n  %+7d  %s", (l.at - r.From).Milliseconds(), l.text)
	}
	return b.String()
}

// names lists the hosts of a set.
func names(order []string, set uint32) []string {
	var list []string
	for ; set != 0; set &= set - 1 {
		list = append(list, order[bits.TrailingZeros32(set)])
	}
	return list
}
