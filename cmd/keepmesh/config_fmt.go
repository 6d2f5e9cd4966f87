package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/keepmesh/keepmesh/config"
)

func formatCommand() *cobra.Command {
	var write bool
	cmd := &cobra.Command{
		Use: "fmt FILE", Short: "Lay a configuration out in the usual form; comments are kept",
		Long: "Print FILE, or standard input for -, with one statement a line and four blanks for each level.\n" +
			"What it says does not change: that is checked before anything is written. Included files are not touched.",
		Example: "  keepmesh config fmt keepalived.conf | diff keepalived.conf -\n  keepmesh config fmt -w keepalived.conf",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			if write && name == "-" {
				return fmt.Errorf("-w needs a file: standard input cannot be written back")
			}
			text, err := readText(cmd.InOrStdin(), name)
			if err != nil {
				return err
			}
			out, err := config.Format(text)
			if err != nil {
				return fmt.Errorf("%s: %w; see keepmesh check %s for what stands in the way", name, err, name)
			}
			switch {
			case !write:
				_, err = io.WriteString(cmd.OutOrStdout(), out)
				return err
			case out == text:
				return nil
			}
			return replaceFile(name, out)
		},
	}
	cmd.Flags().BoolVarP(&write, "write", "w", false, "write the result back to FILE")
	return cmd
}

func readText(stdin io.Reader, name string) (string, error) {
	if name == "-" {
		text, err := io.ReadAll(stdin)
		return string(text), err
	}
	text, err := config.File(name).Read(name)
	return string(text), err
}

// replaceFile puts a new text in a file's place in one step, with its mode and
// owner; a symbolic link stays one.
func replaceFile(name, text string) error {
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	st, err := os.Stat(real)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(real), "."+filepath.Base(real)+".*")
	if err != nil {
		return fmt.Errorf("writing beside %s: %w", real, err)
	}
	defer os.Remove(f.Name())
	if _, err = io.WriteString(f, text); err == nil {
		err = f.Chmod(st.Mode().Perm())
	}
	if err == nil {
		err = keepOwner(f, st)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", f.Name(), err)
	}
	return os.Rename(f.Name(), real)
}

// keepOwner gives a new file the owner of the one it will replace.
func keepOwner(f *os.File, st fs.FileInfo) error {
	owner, ok := st.Sys().(*syscall.Stat_t)
	if !ok || int(owner.Uid) == os.Geteuid() && int(owner.Gid) == os.Getegid() {
		return nil
	}
	return f.Chown(int(owner.Uid), int(owner.Gid))
}
