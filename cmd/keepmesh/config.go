package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/keepmesh/keepmesh/config"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "The configuration language: keywords, layout, effective values, differences"}
	cmd.AddCommand(keywordsCommand(), formatCommand(), showCommand(), diffCommand())
	return cmd
}

func keywordsCommand() *cobra.Command {
	var asJSON, markdown bool
	cmd := &cobra.Command{
		Use: "keywords", Short: "List every keepalived keyword with its support: works, accepted (read, no effect yet) or refused", Args: cobra.NoArgs,
		Example: "  keepmesh config keywords | grep track_\n  keepmesh config keywords --markdown > docs/compat.md",
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			switch {
			case asJSON:
				return printJSON(out, config.Keywords())
			case markdown:
				return config.WriteCompatibility(out)
			}
			t := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
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
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.Flags().BoolVar(&markdown, "markdown", false, "print the compatibility document, with the test behind each working keyword")
	cmd.MarkFlagsMutuallyExclusive("json", "markdown")
	return cmd
}

// loadAlone reads a configuration without looking at this machine. It fails
// only where there is nothing to read; problems are counted on the error
// stream.
func loadAlone(cmd *cobra.Command, file, nodeID string) (*config.Config, error) {
	cfg, problems := config.Load(config.File(file), config.Options{NodeID: nodeID})
	if cfg == nil {
		return nil, exitError{code: 2, text: problems[0].String()}
	}
	if worst, ok := config.Worst(problems); ok && worst == config.Error {
		n := 0
		for _, p := range problems {
			if p.Severity == config.Error {
				n++
			}
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %d errors, what they concern is left out; see keepmesh check %s\n", file, n, file)
	}
	return cfg, nil
}

func showCommand() *cobra.Command {
	var nodeID string
	var effective bool
	cmd := &cobra.Command{
		Use: "show [FILE]", Short: "Print a configuration: as written with its included files, or as it takes effect",
		Long: "Print a configuration as it is written, each included file after the one that names it.\n" +
			"With --effective: as one text without includes, conditions and definitions, with the defaults spelt out;\n" +
			"keepalived and keepmesh make of it what they make of the file.",
		Example: "  keepmesh config show --effective\n  keepmesh config show --effective --node lb2 keepalived.conf > lb2.conf",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := "/etc/keepalived/keepalived.conf"
			if len(args) > 0 {
				file = args[0]
			}
			cfg, err := loadAlone(cmd, file, nodeID)
			if err != nil {
				return err
			}
			if effective {
				return cfg.WriteEffective(cmd.OutOrStdout())
			}
			return writeBundle(cmd.OutOrStdout(), cfg.Bundle)
		},
	}
	cmd.Flags().BoolVar(&effective, "effective", false, "what takes effect, with defaults filled in")
	cmd.Flags().StringVar(&nodeID, "node", "", "id for @id lines (default: the host name)")
	return cmd
}

func writeBundle(w io.Writer, b config.Bundle) error {
	for _, f := range b.Files {
		if len(b.Files) > 1 {
			if _, err := fmt.Fprintf(w, "# %s\n", f.Path); err != nil {
				return err
			}
		}
		if _, err := io.WriteString(w, f.Text); err != nil {
			return err
		}
	}
	return nil
}

func diffCommand() *cobra.Command {
	var nodeID string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "diff A B", Short: "Tell how two configurations differ by meaning: blocks and keywords, not lines",
		Long:    "Exit codes: 0 they mean the same, 1 they differ, 2 one of them cannot be read.",
		Example: "  keepmesh config diff /etc/keepalived/keepalived.conf new.conf",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := loadAlone(cmd, args[0], nodeID)
			if err != nil {
				return err
			}
			b, err := loadAlone(cmd, args[1], nodeID)
			if err != nil {
				return err
			}
			changes := config.Diff(a, b)
			if asJSON {
				if changes == nil {
					changes = []config.Change{}
				}
				if err := printJSON(cmd.OutOrStdout(), changes); err != nil {
					return err
				}
			} else {
				for _, c := range changes {
					fmt.Fprintln(cmd.OutOrStdout(), c)
				}
			}
			if len(changes) > 0 {
				return exitError{code: 1}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&nodeID, "node", "", "id for @id lines (default: the host name)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the changes as JSON")
	return cmd
}
