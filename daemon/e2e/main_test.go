package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/keepmesh/keepmesh/lab"
)

// labsAtOnce is how many labs run side by side: the tests wait for timers far
// more than they compute.
const labsAtOnce = "4"

// binary is the path of the program under test.
var binary string

// suite builds the program before the tests run.
type suite struct{ m *testing.M }

func TestMain(m *testing.M) {
	if address := os.Getenv(serveVariable); address != "" {
		serve(address)
	}
	os.Exit(lab.RunTests(suite{m}))
}

func (s suite) Run() int {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		if err := flag.Set("test.parallel", labsAtOnce); err != nil {
			panic(err) // the flag is the testing package's own
		}
	}
	dir, err := os.MkdirTemp("", "keepmesh-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	// The folder is entered by the unprivileged user of one test as well.
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	if binary, err = build(dir); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: no program to test:", err)
		return 1
	}
	return s.m.Run()
}

func build(dir string) (string, error) {
	if given := os.Getenv("KEEPMESH_BIN"); given != "" {
		return filepath.Abs(given)
	}
	out := filepath.Join(dir, "keepmesh")
	cmd := exec.Command("go", "build", "-o", out, "../../cmd/keepmesh")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, text)
	}
	return out, nil
}
