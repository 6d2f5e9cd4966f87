package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/keepmesh/keepmesh/config"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "The configuration language"}
	var asJSON bool
	keywords := &cobra.Command{
		Use: "keywords", Short: "List every keepalived keyword with its support: works, accepted (read, no effect yet) or refused", Args: cobra.NoArgs,
		Example: "  keepmesh config keywords | grep track_",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				return printJSON(cmd.OutOrStdout(), config.Keywords())
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(t, "SECTION\tKEYWORD\tSTATE\tSINCE\tARGUMENTS")
			for _, k := range config.Keywords() {
				since := k.Since
				if k.Ours {
					since = "keepmesh"
				}
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", k.Section, k.Name, k.Support, since, k.Args)
			}
			return t.Flush()
		},
	}
	keywords.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.AddCommand(keywords)
	return cmd
}
