package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"

	"github.com/keepmesh/keepmesh/daemon/client"
	"github.com/keepmesh/keepmesh/daemon/events"
)

// askTime bounds a question to the daemon.
const askTime = 5 * time.Second

func statusCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "The whole cluster from this node: who holds each address, who would follow, quorum",
		Example: "  keepmesh status\n  keepmesh status --json | jq '.instances[].owner'",
		Args:    cobra.NoArgs,
	}
	runDir := runDirFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), askTime)
		defer cancel()
		s, err := client.New(*runDir).Status(ctx)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), s)
		}
		s.Write(cmd.OutOrStdout())
		return nil
	}
	return cmd
}

func explainCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "explain NAME",
		Short:   "Why an instance is in its state on each node, and what happens next if the holder dies",
		Example: "  keepmesh explain VI_1",
		Args:    cobra.ExactArgs(1),
	}
	runDir := runDirFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), askTime)
		defer cancel()
		s, err := client.New(*runDir).Status(ctx)
		if err != nil {
			return err
		}
		for i := range s.Instances {
			if s.Instances[i].Name != args[0] {
				continue
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), s.Instances[i])
			}
			s.Explain(cmd.OutOrStdout(), &s.Instances[i])
			return nil
		}
		return fmt.Errorf("no instance %q is known here; keepmesh status lists them", args[0])
	}
	return cmd
}

func eventsCommand() *cobra.Command {
	var asJSON, follow bool
	var since time.Duration
	cmd := &cobra.Command{
		Use:     "events",
		Short:   "What happened in the cluster: changes of state, checks, verdicts, alarms, with their causes",
		Example: "  keepmesh events --since 1h\n  keepmesh events --follow --json",
		Args:    cobra.NoArgs,
	}
	runDir := runDirFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	cmd.Flags().BoolVar(&follow, "follow", false, "go on with new events")
	cmd.Flags().DurationVar(&since, "since", 0, "only what is younger (default: everything kept)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt)
		defer stop()
		var from time.Time
		if since > 0 {
			from = time.Now().Add(-since)
		}
		return client.New(*runDir).Events(ctx, from, follow, func(e events.Event) error {
			if asJSON {
				return printLine(cmd.OutOrStdout(), e)
			}
			name := e.Instance
			if name != "" {
				name += ": "
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s  %-10s %-8s  %s%s\n", e.At.Local().Format("15:04:05.000"), e.Node, e.Kind, name, e.Text)
			return err
		})
	}
	return cmd
}
