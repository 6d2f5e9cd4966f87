package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/daemon/client"
	"github.com/keepmesh/keepmesh/daemon/node"
	"github.com/keepmesh/keepmesh/daemon/sdnotify"
)

// rootCommand is keepmesh's own command line.
func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "keepmesh",
		Short:         "Keeps floating addresses alive: VRRP as keepalived speaks it, and nodes that know each other",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(runCommand(), checkCommand(), statusCommand(), explainCommand(), eventsCommand(),
		clusterCommand(), configCommand(), purgeCommand(), demoCommand(), keepalivedHelp())
	return root
}

// keepalivedHelp documents the way in which dispatch calls keepalivedMain.
func keepalivedHelp() *cobra.Command {
	return &cobra.Command{
		Use:                "keepalived [FLAGS]",
		Short:              "Run in place of keepalived, with its own flags and exit codes",
		Example:            "  keepmesh keepalived -n -l -D -f /etc/keepalived/keepalived.conf\n  keepmesh keepalived -t",
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return exitError{code: keepalivedMain(args)}
		},
	}
}

func runCommand() *cobra.Command {
	var opt node.Options
	var log logOptions
	var foregroundSyslog bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon in the foreground",
		Example: "  keepmesh run -f /etc/keepalived/keepalived.conf\n" +
			"  keepmesh run -f keepalived.conf --mesh mesh.conf --run-dir /run/keepmesh-2",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			log.Console, log.Syslog = !foregroundSyslog, foregroundSyslog
			sink, err := log.open("")
			if err != nil {
				return err
			}
			defer sink.Close()
			opt.Log, opt.Env = sink.Logger(), log.environ()
			if opt.Manager, err = sdnotify.FromEnv(); err != nil {
				opt.Log.Warn("cannot reach the service manager", "err", err)
			}
			if opt.RunDir == "" {
				opt.RunDir = node.DefaultRunDir()
			}
			opt.PIDFile, opt.VRRPPIDFile, opt.ClusterPIDFile = opt.RunDir+"/keepmesh.pid", opt.RunDir+"/vrrp.pid", opt.RunDir+"/cluster.pid"
			if opt.MeshFile == "" {
				if _, err := os.Stat(config.DefaultMeshFile); err == nil {
					opt.MeshFile = config.DefaultMeshFile
				}
			}
			opt.Log.Info("keepmesh starts", "version", version, "config", opt.ConfigFile, "mesh", opt.MeshFile)
			if err := node.Run(context.Background(), opt); err != nil {
				return exitError{code: node.ExitCode(err), text: err.Error()}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&opt.ConfigFile, "file", "f", "/etc/keepalived/keepalived.conf", "the keepalived.conf")
	f.StringVar(&opt.MeshFile, "mesh", "", "the mesh.conf (default "+config.DefaultMeshFile+" if it exists; without one: plain keepalived)")
	f.StringVar(&opt.RunDir, "run-dir", "", "directory of the API socket and pid files (default "+node.DefaultRunDir()+")")
	f.StringVar(&opt.NodeID, "node", "", "id for @id lines (default: mesh.conf's node_name, or the host name)")
	f.BoolVarP(&log.Detail, "detail", "D", false, "log in detail")
	f.StringVar(&log.File, "log-file", "", "also log to FILE")
	f.BoolVar(&foregroundSyslog, "syslog", false, "log to syslog instead of the terminal")
	return cmd
}

// runDirFlag is shared by every command that speaks to the daemon.
func runDirFlag(cmd *cobra.Command) *string {
	return cmd.PersistentFlags().String("run-dir", node.DefaultRunDir(), "run directory of the daemon to ask")
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func checkCommand() *cobra.Command {
	var nodeID string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "check FILE",
		Short:   "Check a keepalived.conf: every problem with file, line and column",
		Example: "  keepmesh check /etc/keepalived/keepalived.conf\n  keepmesh check --node lb2 --json keepalived.conf",
		Long:    "Exit codes: 0 clean (notes allowed), 1 warnings only, 2 errors.",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, problems := config.Load(config.File(args[0]), machine(nodeID))
			out := cmd.OutOrStdout()
			if asJSON {
				if problems == nil {
					problems = []config.Problem{}
				}
				if err := printJSON(out, problems); err != nil {
					return err
				}
			} else {
				counts := map[config.Severity]int{}
				for _, p := range problems {
					counts[p.Severity]++
					fmt.Fprintf(out, "%s: %s\n", p.Severity, p)
				}
				fmt.Fprintf(out, "%d errors, %d warnings, %d notes\n", counts[config.Error], counts[config.Warning], counts[config.Note])
			}
			if code := config.CheckCode(problems); code != 0 {
				return exitError{code: code}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&nodeID, "node", "", "id for @id lines (default: the host name)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the problems as JSON")
	return cmd
}

func purgeCommand() *cobra.Command {
	var file, nodeID string
	cmd := &cobra.Command{
		Use:     "purge",
		Short:   "Remove from the kernel what a dead daemon left: the addresses, routes and rules of the configuration",
		Example: "  keepmesh purge -f /etc/keepalived/keepalived.conf     # ExecStopPost= of the unit",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := node.PurgeFile(file, nodeID)
			if n > 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "removed %d addresses, routes or rules\n", n)
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "/etc/keepalived/keepalived.conf", "the keepalived.conf of the dead daemon")
	cmd.Flags().StringVar(&nodeID, "node", "", "id for @id lines (default: the host name)")
	return cmd
}

func clusterCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "cluster", Short: "Life cycle and values of the mesh"}
	runDir := runDirFlag(cmd)
	var asJSON, linearizable bool
	put := &cobra.Command{
		Use: "put KEY VALUE", Short: "Write a replicated value, from any node", Args: cobra.ExactArgs(2),
		Example: "  keepmesh cluster put note/rack-4 'power work until friday'",
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := client.New(*runDir).Put(cmd.Context(), args[0], []byte(args[1]))
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is committed at revision %d\n", v.Key, v.Revision)
			return nil
		},
	}
	get := &cobra.Command{
		Use: "get KEY", Short: "Read a replicated value as this node knows it", Args: cobra.ExactArgs(1),
		Example: "  keepmesh cluster get note/rack-4\n  keepmesh cluster get --linearizable note/rack-4",
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := client.New(*runDir).Get(cmd.Context(), args[0], linearizable)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), v)
			}
			fmt.Fprintln(cmd.OutOrStdout(), v.Value)
			return nil
		},
	}
	get.Flags().BoolVar(&linearizable, "linearizable", false, "ask the cluster, not this node's copy")
	get.Flags().BoolVar(&asJSON, "json", false, "print value, revision and age as JSON")
	del := &cobra.Command{
		Use: "delete KEY", Short: "Remove a replicated value", Args: cobra.ExactArgs(1),
		Example: "  keepmesh cluster delete note/rack-4",
		RunE: func(cmd *cobra.Command, args []string) error {
			return client.New(*runDir).Delete(cmd.Context(), args[0])
		},
	}
	initialise := &cobra.Command{
		Use: "init", Short: "Form a cluster of this node alone; others join it", Args: cobra.NoArgs,
		Example: "  keepmesh cluster init     # once, where mesh.conf has no bootstrap_expect",
		RunE:    func(cmd *cobra.Command, _ []string) error { return client.New(*runDir).Init(cmd.Context()) },
	}
	members := &cobra.Command{
		Use: "members", Short: "List the nodes of the mesh", Args: cobra.NoArgs,
		Example: "  keepmesh cluster members --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := client.New(*runDir).Status(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), s.Members)
			}
			if len(s.Members) == 0 {
				return errors.New("this daemon has no mesh: start it with --mesh and a mesh.conf")
			}
			for _, m := range s.Members {
				fmt.Fprintf(cmd.OutOrStdout(), "%-20s %-24s %-9s %s\n", m.Name, m.Addr, m.Role, m.Status)
			}
			return nil
		},
	}
	members.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.AddCommand(initialise, members, put, get, del, keysCommand())
	return cmd
}

// keyBytes is the length of a new gossip key: AES-256.
const keyBytes = 32

func keysCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "The key that makes a node a member"}
	cmd.AddCommand(&cobra.Command{
		Use: "generate", Short: "Print a new cluster key, for encrypt_key_file on every node", Args: cobra.NoArgs,
		Example: "  (umask 077; keepmesh cluster keys generate > /etc/keepmesh/gossip.key)",
		RunE: func(cmd *cobra.Command, _ []string) error {
			key := make([]byte, keyBytes)
			if _, err := rand.Read(key); err != nil {
				return fmt.Errorf("reading random bytes: %w", err)
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), base64.StdEncoding.EncodeToString(key))
			return err
		},
	})
	return cmd
}
