package main

import (
	"github.com/spf13/cobra"
)

func demoCommand() *cobra.Command {
	return &cobra.Command{Use: "demo", Short: "Three nodes and a client in namespaces of this machine: a failover and a blocked path to watch", Args: cobra.NoArgs}
}
