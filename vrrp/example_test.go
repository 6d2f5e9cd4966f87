package vrrp_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/keepmesh/keepmesh/vrrp"
)

// A shell gives the Router its configuration, feeds it events, ticks it at each
// deadline, and carries the actions out.
func ExampleRouter() {
	router := vrrp.New()
	plan, err := router.Prepare(vrrp.Config{Instances: []vrrp.InstanceConfig{{
		Name:    "VI_1",
		Key:     vrrp.Key{Family: 4, VRID: 51, Interface: "eth0"},
		Version: 2, Priority: 100, AdvertInterval: time.Second, DownTimerAdverts: 3,
		Source: netip.MustParseAddr("192.0.2.1"),
	}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	start := vrrp.Instant(time.Hour) // any origin but zero
	now := start
	router.Commit(now, plan)
	actions := router.Step(now, &vrrp.Start{})
	for range 3 {
		for _, action := range actions {
			switch a := action.(type) {
			case *vrrp.StateChanged:
				fmt.Println(now.Sub(start), a.From, "->", a.To)
			case *vrrp.SendAdvert:
				fmt.Println(now.Sub(start), "advert of priority", a.Priority)
			}
		}
		now, _ = router.Deadline()
		actions = router.Step(now, &vrrp.Tick{})
	}
	// Output:
	// 0s INIT -> BACKUP
	// 3.609375s advert of priority 100
	// 3.609375s BACKUP -> MASTER
	// 4.609375s advert of priority 100
}
