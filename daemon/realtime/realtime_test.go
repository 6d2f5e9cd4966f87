package realtime

import (
	"strings"
	"testing"
)

func TestRequestTravelsByEnvironment(t *testing.T) {
	for _, want := range []Request{
		{Priority: 50, TimeMicros: 10000, NoSwap: true, Nice: -5}, {NoSwap: true}, {Nice: 3}, {Priority: 1},
	} {
		env := want.Environ()
		if len(env) != 1 {
			t.Fatalf("%+v gives %q", want, env)
		}
		_, text, _ := strings.Cut(env[0], "=")
		if got, ok := parse(text); !ok || got != want {
			t.Errorf("%q is read as %+v, %v", text, got, ok)
		}
	}
}

// A run-time limit alone asks for nothing: it only bounds a priority.
func TestOrdinarySchedulingNeedsNoEnvironment(t *testing.T) {
	for _, r := range []Request{{}, {TimeMicros: 10000}} {
		if env := r.Environ(); env != nil {
			t.Errorf("%+v gives %q", r, env)
		}
	}
}

func TestGarbageAsksForNothing(t *testing.T) {
	for _, text := range []string{"", "50", "50:1:true", "x:1:true:0", "50:-1:true:0", "50:1:maybe:0"} {
		if r, ok := parse(text); ok {
			t.Errorf("%q is read as %+v", text, r)
		}
	}
}
