package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Ability is something that a test may need of the machine.
type Ability int

// The abilities, each probed by using it.
const (
	Netns      Ability = iota // namespaces, cables and switches can be made
	Root                      // root of the machine, not of a user namespace
	UserNS                    // an ordinary user can make user namespaces
	RealTime                  // threads may be scheduled in real time
	Nftables                  // nft can filter frames on a bridge
	Keepalived                // keepalived 2.2.7 is installed
	Tcpdump                   // tcpdump compiles filters
	Tshark                    // tshark decodes VRRP and verifies its checksum
)

func (a Ability) String() string {
	names := [...]string{"network namespaces", "root", "user namespaces", "real-time scheduling", "nftables", "keepalived 2.2.7", "tcpdump", "tshark"}
	if a < 0 || int(a) >= len(names) {
		return fmt.Sprintf("ability %d", int(a))
	}
	return names[a]
}

// RequireVariable is the environment variable that, set to "all", makes a
// missing ability a failure.
const RequireVariable = "HA_REQUIRE"

// T is the part of testing.TB that Require needs.
type T interface {
	Helper()
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
}

var skips atomic.Int64

// Skips is how many tests of this process Require has skipped.
func Skips() int { return int(skips.Load()) }

// Require skips the test when the machine lacks an ability, saying which and
// why, or fails it when HA_REQUIRE=all demands them.
func Require(t T, abilities ...Ability) {
	t.Helper()
	for _, a := range abilities {
		err := a.Probe()
		if err == nil {
			continue
		}
		if os.Getenv(RequireVariable) == "all" {
			t.Fatalf("%s=all, but this machine lacks %s: %v", RequireVariable, a, err)
			return
		}
		skips.Add(1)
		t.Skipf("this machine lacks %s: %v", a, err)
		return
	}
}

// Probe finds out, once per process, whether the machine has the ability. An
// error says what is missing.
func (a Ability) Probe() error {
	if a < 0 || int(a) >= len(probes) {
		return fmt.Errorf("unknown ability %d", a)
	}
	p := &probes[a]
	p.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		p.err = p.fn(ctx)
	})
	return p.err
}

type abilityProbe struct {
	fn   func(context.Context) error
	once sync.Once
	err  error
}

var probes = [...]abilityProbe{
	Netns:      {fn: probeNetns},
	Root:       {fn: probeRoot},
	UserNS:     {fn: probeUserNS},
	RealTime:   {fn: probeRealTime},
	Nftables:   {fn: probeNftables},
	Keepalived: {fn: probeKeepalived},
	Tcpdump:    {fn: func(ctx context.Context) error { _, err := compileFilter(ctx, CaptureVRRP); return err }},
	Tshark:     {fn: probeTshark},
}

// output runs a program of the machine, with the folders of system programs
// in its PATH.
func output(ctx context.Context, argv ...string) (string, error) {
	path, err := lookPath(argv[0], hostEnviron(nil))
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, path, argv[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", argv[0], err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

func inSmallLab(ctx context.Context, fn func(*Lab) error) error {
	l, err := New(ctx, Options{Name: "probe"})
	if err != nil {
		return err
	}
	_, err = l.Host(ctx, "h", HostOptions{Interfaces: []Iface{{Name: "eth0"}}})
	if err == nil {
		err = fn(l)
	}
	return errors.Join(err, l.Close())
}

func probeNetns(ctx context.Context) error {
	return inSmallLab(ctx, func(*Lab) error { return nil })
}

func probeNftables(ctx context.Context) error {
	return inSmallLab(ctx, func(l *Lab) error {
		f, err := l.DropProtocol(ctx, ProtoVRRP)
		if err != nil {
			return err
		}
		return f.Undo()
	})
}

func probeRoot(context.Context) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("the user id is %d", os.Geteuid())
	}
	data, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return err
	}
	// Only the first user namespace maps all 2^32-1 ids to themselves.
	if f := strings.Fields(string(data)); len(f) != 3 || f[0] != "0" || f[1] != "0" || f[2] != "4294967295" {
		return errors.New("root of a user namespace only")
	}
	return nil
}

// probeUserNS has an ordinary user do what ReexecRootless does.
func probeUserNS(ctx context.Context) error {
	argv := []string{"unshare", "-Urmpn", "--mount-proc", "--fork", "true"}
	if probeRoot(ctx) == nil {
		argv = append([]string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"}, argv...)
	}
	_, err := output(ctx, argv...)
	return err
}

func probeRealTime(context.Context) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its policy
		done <- unix.SchedSetAttr(0, &unix.SchedAttr{
			Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: proberPriority,
		}, 0)
	}()
	return <-done
}

func probeKeepalived(ctx context.Context) error {
	out, err := output(ctx, "keepalived", "--version")
	if err == nil && !strings.Contains(out, "Keepalived v2.2.7") {
		err = fmt.Errorf("another version: %s", strings.TrimSpace(out))
	}
	return err
}

// probeTshark has tshark judge one good advert.
func probeTshark(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "keepmesh-tshark-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "advert.pcap")
	if err := os.WriteFile(file, sampleCapture(), 0o644); err != nil {
		return err
	}
	lines, err := tshark(ctx, file)
	if err != nil {
		return err
	}
	p, err := parsePacket(lines[0])
	if err == nil && (p.VRID != 7 || p.Checksum != 1) {
		err = fmt.Errorf("it reads a good advert of VRID 7 as VRID %d, checksum status %d", p.VRID, p.Checksum)
	}
	return err
}

// sampleCapture is a capture file with one good advert.
func sampleCapture() []byte {
	return append(pcapHeader(), pcapRecord(time.Now(), sampleAdvert())...)
}

// sampleAdvert is a version 2 advert of VRID 7, priority 100, for 10.0.0.100.
func sampleAdvert() []byte {
	ether := []byte{0x01, 0, 0x5e, 0, 0, 0x12, 0x02, 0, 0, 0, 0, 1, 0x08, 0}
	ip := []byte{0x45, 0xc0, 0, 40, 0, 1, 0, 0, 255, ProtoVRRP, 0, 0, 10, 0, 0, 1, 224, 0, 0, 18}
	vrrp := []byte{0x21, 7, 100, 1, 0, 1, 0, 0, 10, 0, 0, 100, 0, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(ip[10:], internetChecksum(ip))
	binary.BigEndian.PutUint16(vrrp[6:], internetChecksum(vrrp))
	return append(append(ether, ip...), vrrp...)
}
