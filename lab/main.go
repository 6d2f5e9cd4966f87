package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Environment variables by which a process learns that it was started as a
// part of a lab. They are removed from the environment of everything that
// runs inside a host.
const (
	envPrefix = "KEEPMESH_LAB_"
	envInit   = envPrefix + "INIT"
	envUserns = envPrefix + "USERNS"
	envSender = envPrefix + "SENDER"
)

// Main must be the first call of main or TestMain of every program that uses
// a lab. In an ordinary process it returns at once. In a process that a lab
// started as the init of a host or as a sender of probes it never returns; in one that ReexecRootless
// started it finishes the set-up of the user namespace and returns.
func Main() {
	if spec, ok := os.LookupEnv(envInit); ok {
		os.Unsetenv(envInit)
		os.Exit(hostInit(spec))
	}
	if spec, ok := os.LookupEnv(envSender); ok {
		os.Exit(senderMain(spec))
	}
	if _, ok := os.LookupEnv(envUserns); ok {
		os.Unsetenv(envUserns)
		if settleUserNamespace() != nil {
			os.Exit(1) // ReexecRootless reports it
		}
	}
}

// Now is the lab's clock: the time since an arbitrary origin by
// CLOCK_MONOTONIC. It is comparable between all processes of the machine.
func Now() time.Duration {
	var ts unix.Timespec
	// CLOCK_MONOTONIC always exists, so the call cannot fail.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return time.Duration(ts.Nano())
}

// hostInit is the whole life of the first process of a host. Its return
// value is the exit code, and its end is the end of the host.
func hostInit(spec string) int {
	var cfg initConfig
	if err := json.Unmarshal([]byte(spec), &cfg); err != nil {
		fmt.Fprintln(os.Stderr, "lab host: reading the start parameters:", err)
		return 2
	}
	a, err := newAgent(os.NewFile(controlFD, "control"))
	if err != nil {
		fmt.Fprintf(os.Stderr, "lab host %s: %v\n", cfg.Name, err)
		return 2
	}
	if err := cfg.settle(); err != nil {
		a.send(response{Op: opReady, Err: err.Error()}, -1)
		return 1
	}
	a.send(response{Op: opReady}, -1)
	a.serve()
	return 0
}

// hostEnviron is the environment of processes inside a host: this process's
// own without the lab's variables, in the C locale, with the folders of
// system programs in PATH even for an ordinary user.
func hostEnviron(extra []string) []string {
	var env []string
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, kv := range os.Environ() {
		switch {
		case strings.HasPrefix(kv, envPrefix), strings.HasPrefix(kv, "LC_"), strings.HasPrefix(kv, "LANG"):
		case strings.HasPrefix(kv, "PATH="):
			path = kv[len("PATH="):] + ":" + path
		default:
			env = append(env, kv)
		}
	}
	env = append(env, "PATH="+path, "LC_ALL=C")
	return append(env, extra...)
}
