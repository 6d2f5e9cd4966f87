// Command keepmesh keeps floating addresses alive on Linux: VRRP as keepalived
// speaks it, and nodes that know each other.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/keepmesh/keepmesh/lab"
)

// version is set by the linker.
var version = "dev"

func main() {
	lab.Main() // a lab's host re-executes this binary; elsewhere it does nothing
	os.Exit(dispatch(os.Args))
}

// dispatch chooses between the three ways in which the binary is called: as
// keepalived, as one of the daemon's processes, or as keepmesh.
func dispatch(args []string) int {
	if filepath.Base(args[0]) == "keepalived" {
		return keepalivedMain(args[1:])
	}
	if len(args) > 1 {
		switch args[1] {
		case "keepalived":
			return keepalivedMain(args[2:])
		case "vrrp", "cluster":
			if os.Getenv(childVariable) != "" {
				return childMain(args[1])
			}
		}
	}
	root := rootCommand()
	root.SetArgs(args[1:])
	if err := root.Execute(); err != nil {
		var coded exitError
		if as(err, &coded) {
			if coded.text != "" {
				fmt.Fprintln(os.Stderr, "keepmesh: "+coded.text)
			}
			return coded.code
		}
		fmt.Fprintln(os.Stderr, "keepmesh: "+err.Error())
		return 1
	}
	return 0
}
