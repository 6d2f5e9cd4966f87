package track

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// play feeds results, s for success and f for failure, and returns the
// transitions, u, d or a dot.
func play(s *Script, results string) string {
	out := make([]byte, 0, len(results))
	for _, c := range results {
		out = append(out, ".ud"[s.Result(c == 's')])
	}
	return string(out)
}

func TestScriptFollowsKeepalivedsCounter(t *testing.T) {
	for _, tc := range []struct {
		name          string
		rise, fall    int
		initFail      bool
		results, want string
	}{
		{"first success decides", 3, 3, false, "s", "u"},
		{"first failure decides", 3, 3, false, "f", "d"},
		{"one of each", 1, 1, false, "sfsf", "udud"},
		{"fall counts failures in a row", 1, 2, false, "sfsfff", "u...d."},
		{"rise counts successes in a row", 2, 1, false, "fsfssf", "d...ud"},
		{"a success refills", 1, 3, false, "sffsffsfff", "u........d"},
		{"a failure empties", 3, 1, false, "fssfsss", "d.....u"},
		{"init_fail with rise 1", 1, 1, true, "s", "u"},
		{"init_fail with rise 3", 3, 1, true, "sssf", "d.ud"},
		{"init_fail failing", 3, 2, true, "fsss", "d..u"},
		{"zero counts as one", 0, 0, false, "sf", "ud"},
	} {
		s := NewScript(tc.rise, tc.fall, tc.initFail)
		got := play(&s, tc.results)
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, d)
		}
	}
}

func TestProgressCountsTowardsTheChange(t *testing.T) {
	s := NewScript(2, 3, false)
	type at struct{ Have, Need int }
	var got []at
	for _, ok := range []bool{true, false, false, true, false, false, false, true} {
		s.Result(ok)
		h, n := s.Progress()
		got = append(got, at{h, n})
	}
	want := []at{{0, 3}, {1, 3}, {2, 3}, {0, 3}, {1, 3}, {2, 3}, {0, 2}, {1, 2}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("progress (-want +got):\n%s", d)
	}
}

// The counter must agree with the rule it stands for: up after rise successes
// in a row while down, down after fall failures in a row while up.
func TestScriptAgreesWithTheRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rise, fall := rapid.IntRange(1, 5).Draw(t, "rise"), rapid.IntRange(1, 5).Draw(t, "fall")
		results := rapid.SliceOf(rapid.Bool()).Draw(t, "results")
		s := NewScript(rise, fall, false)
		up, row := false, 0
		for i, ok := range results {
			want := None
			switch {
			case i == 0:
				up, row = ok, 0
				if want = Down; ok {
					want = Up
				}
			case ok == up:
				row = 0
			default:
				if row++; up && row == fall {
					want, up, row = Down, false, 0
				} else if !up && row == rise {
					want, up, row = Up, true, 0
				}
			}
			if got := s.Result(ok); got != want {
				t.Fatalf("result %d of %v: got %d, want %d", i, results, got, want)
			}
		}
	})
}
