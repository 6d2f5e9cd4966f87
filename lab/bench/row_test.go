package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestQuantilesAreByNearestRank(t *testing.T) {
	for _, test := range []struct {
		samples []float64
		want    [4]float64
	}{
		{nil, [4]float64{}},
		{[]float64{7}, [4]float64{7, 7, 7, 7}},
		{[]float64{3, 1, 2}, [4]float64{1, 2, 3, 3}},
		{[]float64{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}, [4]float64{1, 5.5, 9, 10}},
	} {
		s := collect("m", "s", keepmesh, "ms")
		for _, v := range test.samples {
			s.add(v)
		}
		s.finish()
		if got := [4]float64{s.Min, s.Median, s.P90, s.Max}; got != test.want || s.N != len(test.samples) {
			t.Errorf("of %v min, median, p90, max are %v, want %v", test.samples, got, test.want)
		}
	}
}

func TestStolenTimeVoidsASample(t *testing.T) {
	s := collect("m", "s", keepmesh, "ms")
	if !s.window(verdict{load: 2}) || s.window(verdict{load: 3, steal: 20 * time.Millisecond}) || !s.window(verdict{load: 1}) {
		t.Error("a window with stolen time counts, or one without does not")
	}
	got := []any{s.Thrown, s.StealMS, s.Load}
	if diff := cmp.Diff([]any{1, 20, [2]float64{1, 3}}, got); diff != "" {
		t.Error(diff)
	}
}

// The timers of RFC 3768 and RFC 9568 for priority 100, of which the lateness
// of a takeover is counted.
func TestTimersAreTheStandards(t *testing.T) {
	for _, test := range []struct {
		setup setup
		want  time.Duration
	}{
		{setup{version: 2, interval: time.Second}, 3609375 * time.Microsecond},
		{setup{version: 3, interval: 100 * time.Millisecond}, 360937500 * time.Nanosecond},
		{setup{version: 3, interval: 10 * time.Millisecond}, 36093750 * time.Nanosecond},
	} {
		if got := test.setup.down(100); got != test.want {
			t.Errorf("%s: %s, want %s", test.setup, got, test.want)
		}
	}
}

func TestManyInstancesHaveTheirOwnRoutersAndAddresses(t *testing.T) {
	s := setup{version: 3, interval: time.Second, instances: 1000}
	routers, addresses := map[router]bool{}, map[string]bool{}
	for n := range s.count() {
		routers[s.on(n)] = true
		addresses[vip(n).String()] = true
	}
	if len(routers) != 1000 || len(addresses) != 1000 || s.interfaces() != 4 {
		t.Errorf("%d routers, %d addresses, %d interfaces", len(routers), len(addresses), s.interfaces())
	}
	if conf := s.conf(100); strings.Count(conf, "vrrp_instance ") != 1000 {
		t.Error("not every instance is configured")
	}
}
