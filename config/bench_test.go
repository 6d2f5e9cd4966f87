package config

import (
	"fmt"
	"strings"
	"testing"
)

// bigText has one virtual server per thousand real servers, or one in all.
func bigText(servers, perService int) string {
	var b strings.Builder
	for i := range servers {
		if i%perService == 0 {
			if i > 0 {
				b.WriteString("}\n")
			}
			fmt.Fprintf(&b, "virtual_server 10.%d.%d.1 80 {\n    delay_loop 6\n    lvs_sched rr\n    lvs_method NAT\n    protocol TCP\n", 100+i/perService/250, i/perService%250)
		}
		fmt.Fprintf(&b, "    real_server 10.%d.%d.%d 80 {\n        weight 1\n        TCP_CHECK {\n            connect_timeout 3\n        }\n    }\n", i/62500, i/250%250, i%250+1)
	}
	b.WriteString("}\n")
	return b.String()
}

func benchmarkLoad(b *testing.B, servers, perService int) {
	text := bigText(servers, perService)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		cfg, problems := Load(bundleOf(text), bench())
		if len(cfg.VirtualServers) != (servers+perService-1)/perService || KeepalivedCode(problems) != 0 {
			b.Fatalf("%d services\n%.500s", len(cfg.VirtualServers), problemLines(problems))
		}
	}
}

func BenchmarkLoad12500RealServers(b *testing.B)      { benchmarkLoad(b, 12500, 1000) }
func BenchmarkLoad50000RealServers(b *testing.B)      { benchmarkLoad(b, 50000, 1000) }
func BenchmarkLoad10000RealServersInOne(b *testing.B) { benchmarkLoad(b, 10000, 10000) }
func BenchmarkLoad50000RealServersInOne(b *testing.B) { benchmarkLoad(b, 50000, 50000) }

// TestManyRealServersAreReadInLinearMemory compares allocations, which do not
// depend on the machine's speed: four times the text may take five times as
// many.
func TestManyRealServersAreReadInLinearMemory(t *testing.T) {
	small, large := bigText(500, 500), bigText(2000, 2000)
	count := func(text string) float64 {
		return testing.AllocsPerRun(3, func() { Load(bundleOf(text), Options{NodeID: "x"}) })
	}
	a, b := count(small), count(large)
	if b > 5*a {
		t.Errorf("%.0f allocations for 500 servers, %.0f for 2000", a, b)
	}
}
