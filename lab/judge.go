package lab

import (
	"errors"
	"fmt"
	"time"
)

// Bounds are what a run may show at most.
type Bounds struct {
	MaxDualMS int // milliseconds with two or more holders
	MaxNoneMS int // milliseconds without a holder; negative: any
}

// MaxProberLateness is what a prober's own scheduling may be late by for its
// run to count.
const MaxProberLateness = 100 * time.Millisecond

// Conviction is the verdict on a run that broke a bound, with the evidence.
type Conviction struct {
	Report Report
	Bounds Bounds
}

func (c *Conviction) Error() string {
	return fmt.Sprintf("convicted: two or more holders for %d ms (at most %d), none for %d ms (at most %d)\n%s",
		c.Report.DualMS, c.Bounds.MaxDualMS, c.Report.NoneMS, c.Bounds.MaxNoneMS, c.Report)
}

// Unusable is the verdict on a run that proves nothing, in either direction.
type Unusable struct{ Reason string }

func (u *Unusable) Error() string { return "the run proves nothing: " + u.Reason }

// Judge acquits a run by nil, convicts it by *Conviction, or rejects it by
// *Unusable: a prober that was late itself saw gaps that were its own.
func Judge(r Report, b Bounds) error {
	switch {
	case r.Probes == 0 || len(r.Intervals) == 0:
		return &Unusable{"no probe was sent"}
	case r.MaxLateness > MaxProberLateness:
		return &Unusable{fmt.Sprintf("the prober was late by %d ms, at most %d are allowed",
			r.MaxLateness.Milliseconds(), MaxProberLateness.Milliseconds())}
	case r.Lost > 0:
		return &Unusable{fmt.Sprintf("the sniffer lost %d frames", r.Lost)}
	case r.DualMS > b.MaxDualMS || (b.MaxNoneMS >= 0 && r.NoneMS > b.MaxNoneMS):
		return &Conviction{r, b}
	}
	return nil
}

// Repeat runs an experiment, and again as long as its verdict is *Unusable, at
// most so many times. The last verdict stands.
func Repeat(tries int, experiment func() error) error {
	for {
		err := experiment()
		var unusable *Unusable
		if tries--; tries <= 0 || !errors.As(err, &unusable) {
			return err
		}
	}
}
