package config

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// vrrpPart is what WriteVRRP covers.
type vrrpPart struct {
	StaticAddresses []Address
	StaticRoutes    []Route
	StaticRules     []Rule
	Scripts         []*Script
	TrackFiles      []*TrackFile
	TrackProcesses  []*TrackProcess
	BFDs            []*BFD
	SyncGroups      []*SyncGroup
	Instances       []*Instance
}

func vrrpOf(c *Config) vrrpPart {
	return vrrpPart{c.StaticAddresses, c.StaticRoutes, c.StaticRules, c.Scripts, c.TrackFiles, c.TrackProcesses, c.BFDs, c.SyncGroups, c.Instances}
}

func TestEffectiveConfigurationReloadsToTheSameModel(t *testing.T) {
	var names []string
	for _, pattern := range []string{"testdata/corpus/*.conf", "testdata/tutorials/*.conf"} {
		more, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, more...)
	}
	opt := bench()
	opt.Interfaces, opt.Scripts, opt.User = nil, nil, nil
	same := cmp.Options{
		cmpopts.IgnoreTypes(Pos{}, Block{}),
		cmpopts.IgnoreUnexported(Script{}, Route{}),
		cmpopts.IgnoreFields(Address{}, "Raw"), cmpopts.IgnoreFields(Route{}, "Raw"), cmpopts.IgnoreFields(Rule{}, "Raw"),
		cmpopts.EquateEmpty(),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		// A script's weight becomes the line's own when written out.
		cmpopts.IgnoreFields(Track{}, "HasWeight"),
	}
	instances := 0
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			want, _ := Load(File(name), opt)
			instances += len(want.Instances)
			var b strings.Builder
			if err := want.WriteVRRP(&b); err != nil {
				t.Fatal(err)
			}
			got, problems := Load(bundleOf(b.String()), opt)
			for _, p := range problems {
				if strings.Contains(p.Message, "unknown keyword") || strings.Contains(p.Message, "brace") {
					t.Errorf("%s\n%s", p, b.String())
				}
			}
			if diff := cmp.Diff(vrrpOf(want), vrrpOf(got), same); diff != "" {
				t.Errorf("(-read +written and read again):\n%s\n%s", diff, b.String())
			}
		})
	}
	if instances < 60 {
		t.Errorf("only %d instances were compared", instances)
	}
}
