package lab

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// course makes a report of stretches in ms, written as "a+b 20".
func course(stretches ...string) Report {
	r := Report{Probes: 1}
	at := time.Second
	for _, s := range stretches {
		who, ms, _ := strings.Cut(s, " ")
		var n int
		fmt.Sscan(ms, &n)
		i := Interval{From: at, To: at + time.Duration(n)*time.Millisecond}
		if who != "-" {
			i.Hosts = strings.Split(who, "+")
		}
		r.Intervals = append(r.Intervals, i)
		at = i.To
	}
	r.Reached = r.Intervals
	r.From, r.To = time.Second, at
	r.count()
	return r
}

func TestJudge(t *testing.T) {
	late := course("a 100")
	late.MaxLateness = MaxProberLateness + 1
	lossy := course("a+b 100")
	lossy.Lost = 1
	for name, c := range map[string]struct {
		report  Report
		bounds  Bounds
		verdict string
	}{
		"one holder":                    {course("a 100"), Bounds{}, "acquit"},
		"hand-over in time":             {course("a 100", "- 50", "b 100"), Bounds{MaxNoneMS: 50}, "acquit"},
		"hand-over too slow":            {course("a 100", "- 51", "b 100"), Bounds{MaxNoneMS: 50}, "convict"},
		"gaps add up":                   {course("a 9", "- 26", "a 9", "- 26"), Bounds{MaxNoneMS: 50}, "convict"},
		"two holders":                   {course("a 100", "a+b 2", "b 100"), Bounds{MaxDualMS: 1}, "convict"},
		"two holders within the bound":  {course("a 100", "a+b 1", "b 100"), Bounds{MaxDualMS: 1}, "acquit"},
		"three holders":                 {course("a+b+c 2"), Bounds{MaxDualMS: 1}, "convict"},
		"absence does not matter":       {course("- 500", "a 1"), Bounds{MaxNoneMS: -1}, "acquit"},
		"late prober":                   {late, Bounds{}, "unusable"},
		"late prober is no conviction":  {lossy, Bounds{}, "unusable"},
		"nothing measured is no alibi":  {Report{}, Bounds{MaxDualMS: 9, MaxNoneMS: 9}, "unusable"},
		"a window without any interval": {course("a 100").Window(0, 1), Bounds{}, "unusable"},
	} {
		err := Judge(c.report, c.bounds)
		var conviction *Conviction
		var unusable *Unusable
		got := "acquit"
		switch {
		case errors.As(err, &conviction):
			got = "convict"
			if !strings.Contains(err.Error(), "held by") {
				t.Errorf("%s: no evidence in %q", name, err)
			}
		case errors.As(err, &unusable):
			got = "unusable"
		case err != nil:
			t.Errorf("%s: %v", name, err)
		}
		if got != c.verdict {
			t.Errorf("%s: %s, want %s: %v", name, got, c.verdict, err)
		}
	}
}

func TestWindowCutsAReport(t *testing.T) {
	r := course("a 100", "a+b 40", "- 60", "b 100")
	r.Marks = []Mark{{time.Second, "begin"}, {1150 * time.Millisecond, "cut"}}
	w := r.Window(1120*time.Millisecond, 1170*time.Millisecond)
	if w.DualMS != 20 || w.NoneMS != 30 || w.LongestOutage != 30*time.Millisecond || len(w.Intervals) != 2 {
		t.Errorf("the window is %s", w)
	}
	if diff := cmp.Diff(r.Marks[1:], w.Marks); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(r, r.Window(0, time.Hour)); diff != "" {
		t.Error("the whole is not itself:", diff)
	}
}

func TestReportTellsTheCourse(t *testing.T) {
	r := course("a 100", "a+b 40")
	r.Marks = []Mark{{1100 * time.Millisecond, "cut"}}
	const want = `140 ms: two or more holders 40 ms, none 0 ms, longest outage 0 ms, prober late by up to 0.0 ms
       +0  held by a 100 ms
     +100  * cut
     +100  held by a+b 40 ms`
	if diff := cmp.Diff(want, r.String()); diff != "" {
		t.Error(diff)
	}
}

// fakeT records what Require does.
type fakeT struct{ skipped, failed bool }

func (*fakeT) Helper()                 {}
func (f *fakeT) Skipf(string, ...any)  { f.skipped = true }
func (f *fakeT) Fatalf(string, ...any) { f.failed = true }

func TestRequireSkipsOrFails(t *testing.T) {
	const missing = Ability(99)
	before := Skips()
	t.Setenv(RequireVariable, "")
	var lenient, strict fakeT
	Require(&lenient, missing)
	t.Setenv(RequireVariable, "all")
	Require(&strict, missing)
	if lenient != (fakeT{skipped: true}) || strict != (fakeT{failed: true}) || Skips() != before+1 {
		t.Errorf("lenient %+v, strict %+v, %d skips", lenient, strict, Skips()-before)
	}
	skips.Add(-1) // this one was no test
}

func TestExperimentsThatProveNothingAreRepeated(t *testing.T) {
	conviction, unusable := &Conviction{}, &Unusable{"busy"}
	for name, c := range map[string]struct {
		verdicts []error
		want     error
		runs     int
	}{
		"acquitted at once":      {[]error{nil}, nil, 1},
		"convicted at once":      {[]error{conviction, nil}, conviction, 1},
		"busy, then a verdict":   {[]error{fmt.Errorf("x: %w", unusable), nil}, nil, 2},
		"busy as long as it may": {[]error{unusable, unusable, unusable, nil}, unusable, 3},
	} {
		runs := 0
		got := Repeat(3, func() error { runs++; return c.verdicts[runs-1] })
		if !errors.Is(got, c.want) || runs != c.runs {
			t.Errorf("%s: %v after %d runs", name, got, runs)
		}
	}
}
