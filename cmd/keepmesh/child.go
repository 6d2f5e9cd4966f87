package main

import (
	"fmt"
	"os"

	"github.com/keepmesh/keepmesh/daemon/cluster"
	"github.com/keepmesh/keepmesh/daemon/protocol"
	"github.com/keepmesh/keepmesh/daemon/realtime"
)

// The descriptors that the guardian gives a child.
const (
	controlFD = 3
	eventsFD  = 4
)

// childMain runs one of the daemon's processes.
func childMain(role string) int {
	var refused error
	if role == "vrrp" {
		refused = realtime.Enter()
	}
	sink, err := inherited().open(role)
	if err != nil {
		fmt.Fprintln(os.Stderr, "keepmesh "+role+": "+err.Error())
		return 1
	}
	defer sink.Close()
	log := sink.Logger()
	if refused != nil {
		log.Warn("no real-time scheduling", "err", refused)
	}
	run := cluster.Run
	if role == "vrrp" {
		run = protocol.Run
	}
	if err := run(controlFD, eventsFD, log); err != nil {
		log.Error("process ends", "err", err)
		return 1
	}
	return 0
}
