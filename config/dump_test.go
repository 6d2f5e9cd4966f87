package config

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// sameModel compares models up to where things were written.
func sameModel() cmp.Option {
	return cmp.Options{
		cmpopts.IgnoreTypes(Pos{}, Block{}),
		cmpopts.IgnoreUnexported(Script{}, Route{}, VirtualServer{}, MiscCheck{}), cmpopts.IgnoreFields(Config{}, "Bundle"),
		cmpopts.IgnoreFields(Address{}, "Raw"), cmpopts.IgnoreFields(Route{}, "Raw"), cmpopts.IgnoreFields(Rule{}, "Raw"),
		cmpopts.EquateEmpty(),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		// A script's weight becomes the line's own when written out.
		cmpopts.IgnoreFields(Track{}, "HasWeight"),
	}
}

func TestEffectiveConfigurationReloadsToTheSameModel(t *testing.T) {
	var names []string
	for _, pattern := range []string{"testdata/corpus/*.conf", "testdata/tutorials/*.conf", "testdata/effective/*.conf"} {
		more, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, more...)
	}
	opt := bench()
	opt.Interfaces, opt.Scripts, opt.User = nil, nil, nil
	instances := 0
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			want, _ := Load(File(name), opt)
			instances += len(want.Instances)
			var b strings.Builder
			if err := want.WriteEffective(&b); err != nil {
				t.Fatal(err)
			}
			got, problems := Load(bundleOf(b.String()), opt)
			for _, p := range problems {
				if strings.Contains(p.Message, "unknown keyword") || strings.Contains(p.Message, "brace") {
					t.Errorf("%s\n%s", p, b.String())
				}
			}
			if diff := cmp.Diff(want, got, sameModel()); diff != "" {
				t.Errorf("(-read +written and read again):\n%s\n%s", diff, b.String())
			}
		})
	}
	if instances < 60 {
		t.Errorf("only %d instances were compared", instances)
	}
}
