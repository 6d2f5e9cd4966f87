package dump

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/daemon/ipc"
)

// patience bounds every wait for keepalived.
const patience = 60 * time.Second

// signalJSON is SIGRTMIN+2 as glibc counts: it keeps two signals for itself.
const signalJSON = syscall.Signal(36)

// oracleCase is one configuration in one state. What keepalived knows and no
// configuration says (which tracker is down, whom a backup hears) is Terms and
// Masters; everything else comes from keepalived's own JSON.
type oracleCase struct {
	name   string
	setup  string // shell, in the namespace, before keepalived starts
	states map[string]string
	terms  map[string][]ipc.Term
	// effective priorities to wait for, where terms move them.
	effective map[string]int
	masters   map[string]string
	groups    map[string]string
	ready     string // a pattern that the data dump must match
	ours      string // an interface that keepalived makes
	peer      bool
}

var oracleCases = []oracleCase{
	{
		name:   "group",
		states: map[string]string{"VI_1": "MASTER", "VI_2": "MASTER", "VI_6": "MASTER"},
		groups: map[string]string{"G1": "MASTER"},
	},
	{
		name: "backup", peer: true,
		states:    map[string]string{"V2": "BACKUP", "V3": "BACKUP", "V6": "BACKUP"},
		terms:     map[string][]ipc.Term{"V2": {{Tracker: "script:load", State: "down", Amount: -15}}},
		effective: map[string]int{"V2": 85},
		masters:   map[string]string{"V2": "10.0.0.2", "V3": "10.0.0.2", "V6": "fe80::ff:fe00:100"},
	},
	{
		name: "fault", setup: "ip link set v2 down",
		states: map[string]string{"DEAD": "FAULT", "WAITING": "INIT", "CUT": "FAULT", "FOLLOWER": "FAULT"},
		terms: map[string][]ipc.Term{
			"DEAD":    {{Tracker: "script:dead", State: "down", Fault: true}},
			"WAITING": {{Tracker: "script:slow", State: "unknown"}},
			"CUT":     {{Tracker: "link:v2", State: "down", Fault: true}},
		},
		groups: map[string]string{"PAIR": "FAULT"},
		ready:  `Script = dead\n(.*\n){8} *Init state = unknown`,
	},
	{
		name:      "options",
		states:    map[string]string{"STRICT": "MASTER", "CLOSED": "MASTER", "MAC": "MASTER"},
		terms:     map[string][]ipc.Term{"CLOSED": {{Tracker: "script:moved", State: "down", Amount: 3}}},
		effective: map[string]int{"CLOSED": 153},
		ours:      "vrrp.83",
	},
}

// accepted are the differences from keepalived, each replaced on both sides.
var accepted = []struct {
	pattern *regexp.Regexp
	by      string
	reason  string
}{
	{regexp.MustCompile(`fd_(in|out)( =)? -?\d+`), "fd_$1$2 N", "descriptors of another process"},
	{regexp.MustCompile(`(?m)^   Read timeout = \d.*$`), "   Read timeout = TIME", "the next deadline is not in the snapshot"},
	{regexp.MustCompile(`Master down timer = (\d*?)\d{1,3} usecs`), "Master down timer = ${1}000 usecs", "the snapshot has milliseconds"},
	{regexp.MustCompile(`libnftnl version .*`), "libnftnl version N", "the library that keepalived is linked with"},
	{regexp.MustCompile(`(?m)^   (Not )?IPv6 forwarding. Last checked.*\n`), "", "kept by keepalived to choose its neighbour adverts"},
	{regexp.MustCompile(`(?m)^   (Original (arp_ignore|arp_filter|promote_secondaries)|rp_filter|Reset ARP config counter) ?\d*\n`), "", "sysctls that keepalived saved for its VMACs"},
	{regexp.MustCompile(`(?m)^   State = (idle|running)$`), "   State = idle or running", "a script may run at any moment"},
	{regexp.MustCompile(`(?m)^     VI_1, weight -20$`), "     VI_1, weight 0", "a weight that the sync group voids is zero in the model, keepalived keeps it in an interface's list"},
	{regexp.MustCompile(`(?m)^ (GARP|GNA) next time .*$`), " $1 next time TIME", "the queue of announcements is not in the snapshot"},
	{regexp.MustCompile(`(?m)^ current realtime .*\n`), "", "the scheduling of keepalived's own process"},
	{regexp.MustCompile(`(?m)^    (Sent|Received): \d+$`), "    $1: N", "adverts go on between two signals"},
}

func normal(s string) string {
	for _, a := range accepted {
		s = a.pattern.ReplaceAllString(s, a.by)
	}
	return s
}

// moments is how often a case may be played: the dumps are of three moments,
// and a busy machine lets a timer end between two of them.
const moments = 4

func TestDumpsAreKeepalivedsLineByLine(t *testing.T) {
	needKeepalived(t)
	for _, c := range oracleCases {
		t.Run(c.name, func(t *testing.T) {
			var diffs []string
			for range moments {
				if diffs = differences(t, &c); len(diffs) == 0 {
					return
				}
			}
			t.Error(strings.Join(diffs, "\n"))
		})
	}
}

// differences plays a case and compares the three dumps.
func differences(t *testing.T, c *oracleCase) (diffs []string) {
	t.Helper()
	o := runOracle(t, c)
	cfg, snap, env := o.inputs(t, c)
	for _, d := range []struct {
		kind  string
		write func(b *bytes.Buffer) error
	}{
		{"json", func(b *bytes.Buffer) error { return writeJSON(b, cfg, snap, env) }},
		{"stats", func(b *bytes.Buffer) error { return Stats(b, cfg, snap) }},
		{"data", func(b *bytes.Buffer) error { return Data(b, cfg, snap, env) }},
	} {
		var b bytes.Buffer
		if err := d.write(&b); err != nil {
			t.Fatal(err)
		}
		want, got := normal(o.files[d.kind]), normal(b.String())
		if d.kind == "json" {
			want, got = strings.ReplaceAll(want, `,"`, ",\n\""), strings.ReplaceAll(got, `,"`, ",\n\"")
		}
		if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
			diffs = append(diffs, d.kind+": keepalived (-), ours (+):\n"+diff)
		}
	}
	return diffs
}

// needKeepalived skips where keepalived 2.2.7 or a namespace is missing.
func needKeepalived(t *testing.T) {
	t.Helper()
	missing := func(why string, err error) {
		if os.Getenv("HA_REQUIRE") == "all" {
			t.Fatalf("%s: %v", why, err)
		}
		t.Skipf("%s: %v", why, err)
	}
	out, err := exec.Command("keepalived", "--version").CombinedOutput()
	if err == nil && !bytes.Contains(out, []byte("v2.2.7 ")) {
		err = fmt.Errorf("it is %s", bytes.SplitN(out, []byte("\n"), 2)[0])
	}
	if err != nil {
		missing("keepalived 2.2.7 is not installed", err)
	}
	if out, err := exec.Command("unshare", "-n", "-m", "ip", "link", "add", "v", "type", "veth", "peer", "name", "p").CombinedOutput(); err != nil {
		missing("no network namespace with a veth pair can be made", fmt.Errorf("%w: %s", err, out))
	}
}

// oracle is a keepalived that has written its dumps.
type oracle struct {
	conf  string
	links []byte
	files map[string]string
}

// runOracle starts keepalived in namespaces of its own, waits for the states
// of the case, and has it write all dumps. TMPDIR keeps them apart from those
// of other keepaliveds.
func runOracle(t *testing.T, c *oracleCase) *oracle {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join("testdata", c.name+".conf"))
	if err != nil {
		t.Fatal(err)
	}
	o := &oracle{conf: filepath.Join(dir, "k.conf"), files: map[string]string{}}
	text = bytes.ReplaceAll(text, []byte("/tmp/keepmesh-dump-"), []byte(dir+"/"))
	if err := os.WriteFile(o.conf, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "level"), []byte("0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	peer := ""
	if c.peer {
		peer = startPeer(t, dir, c.name)
	}
	script := `set -e
mount --make-rprivate /
mount -t tmpfs none /run
ip link set lo up
for i in 0 1 2; do
  ip link add v$i address 02:00:00:00:00:0$i type veth peer name p$i address 02:00:00:00:01:0$i
  for l in v$i p$i; do
    echo 0 > /proc/sys/net/ipv6/conf/$l/accept_dad
    ip link set $l up
  done
  ip addr add 10.0.$i.1/24 dev v$i
done
` + peer + c.setup + `
for l in v0 v1 v2; do
  while [ -n "$(ip -6 addr show dev $l tentative)" ]; do :; done
done
# The peer's end of v0 comes up in its own time.
while ! ip -o link show dev v0 | grep -q 'state UP'; do :; done
ip -j addr > ` + dir + `/links
cd ` + dir + `
exec keepalived -n -l -D -f k.conf -p ` + dir + `/p -r ` + dir + `/r -c ` + dir + `/c
`
	cmd := exec.Command("unshare", "-n", "-m", "sh", "-c", script)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "TZ=UTC")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, cmd, dir) })
	o.await(t, cmd.Process, dir, c)
	return o
}

// startPeer gives the shell lines that start a second keepalived behind p0.
// It ends with the first one's namespace: its link goes, and stop kills it.
func startPeer(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".peer.conf"))
	if err != nil {
		t.Fatal(err)
	}
	sub := filepath.Join(dir, "peer")
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(sub, "k.conf"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	run := `echo $$ > ` + sub + `/pid
while ! ip link show p0 >/dev/null 2>&1; do :; done
echo 0 > /proc/sys/net/ipv6/conf/p0/accept_dad
ip link set p0 up
ip addr add 10.0.0.2/24 dev p0
cd ` + sub + `
TMPDIR=` + sub + ` exec keepalived -n -l -D -f k.conf -p ` + sub + `/p -r ` + sub + `/r -c ` + sub + `/c
`
	if err := os.WriteFile(filepath.Join(sub, "run"), []byte(run), 0o644); err != nil {
		t.Fatal(err)
	}
	return `unshare -n sh ` + sub + `/run > ` + sub + `/log 2>&1 &
while [ ! -s ` + sub + `/pid ]; do :; done
ip link set p0 netns $(cat ` + sub + `/pid)
`
}

func stop(t *testing.T, cmd *exec.Cmd, dir string) {
	if t.Failed() {
		for _, name := range []string{"log", "peer/log"} {
			if b, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
				t.Logf("%s:\n%s", name, b)
			}
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "peer/pid")); err == nil {
		if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && pid > 1 {
			syscall.Kill(pid, syscall.SIGTERM)
		}
	}
	cmd.Process.Signal(syscall.SIGTERM)
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Errorf("keepalived does not end on SIGTERM")
		cmd.Process.Kill()
		<-ended
	}
}

// await asks for JSON until the states are those of the case, and then for the
// other dumps. keepalived serves one signal after the other, so that a dump is
// complete once the next one is there.
func (o *oracle) await(t *testing.T, p *os.Process, dir string, c *oracleCase) {
	t.Helper()
	deadline := time.Now().Add(patience)
	vrrpRuns := func() bool { _, err := os.Stat(filepath.Join(dir, "r")); return err == nil }
	until(t, deadline, "keepalived's VRRP process", vrrpRuns)
	until(t, deadline, "the states "+fmt.Sprint(c.states), func() bool {
		return settled(o.ask(t, p, dir, "json", signalJSON, deadline), c)
	})
	ready := regexp.MustCompile(c.ready)
	until(t, deadline, "a data dump with "+c.ready, func() bool {
		o.files["data"] = o.complete(t, p, dir, "data", syscall.SIGUSR1, deadline)
		return ready.MatchString(o.files["data"])
	})
	o.files["stats"] = o.complete(t, p, dir, "stats", syscall.SIGUSR2, deadline)
	if !settled(o.files["json"], c) {
		t.Fatalf("the states did not last: %s", o.files["json"])
	}
	var err error
	if o.links, err = os.ReadFile(filepath.Join(dir, "links")); err != nil {
		t.Fatal(err)
	}
}

func until(t *testing.T, deadline time.Time, what string, done func() bool) {
	t.Helper()
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// ask has a dump written anew and reads it.
func (o *oracle) ask(t *testing.T, p *os.Process, dir, kind string, sig syscall.Signal, deadline time.Time) string {
	t.Helper()
	path := filepath.Join(dir, "keepalived."+kind)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := p.Signal(sig); err != nil {
		t.Fatal(err)
	}
	var b []byte
	until(t, deadline, path, func() bool {
		var err error
		b, err = os.ReadFile(path)
		return err == nil && bytes.HasSuffix(b, []byte("\n")) && (kind != "json" || json.Valid(b))
	})
	return string(b)
}

// complete asks for a dump, and reads it once the JSON that was asked for
// after it is there.
func (o *oracle) complete(t *testing.T, p *os.Process, dir, kind string, sig syscall.Signal, deadline time.Time) string {
	t.Helper()
	o.ask(t, p, dir, kind, sig, deadline)
	o.files["json"] = o.ask(t, p, dir, "json", signalJSON, deadline)
	b, err := os.ReadFile(filepath.Join(dir, "keepalived."+kind))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// theirs is what the test takes from keepalived's JSON.
type theirs struct {
	Data struct {
		Iname          string      `json:"iname"`
		State          int         `json:"state"`
		Effective      int         `json:"effective_priority"`
		MasterPriority int         `json:"master_priority"`
		Transition     json.Number `json:"last_transition"`
	} `json:"data"`
	Stats struct {
		Received uint64 `json:"advert_rcvd"`
		Sent     uint64 `json:"advert_sent"`
		Became   uint64 `json:"become_master"`
		Released uint64 `json:"release_master"`
		ZeroRcvd uint64 `json:"pri_zero_rcvd"`
		ZeroSent uint64 `json:"pri_zero_sent"`
	} `json:"stats"`
}

func parseTheirs(text string) []theirs {
	var list []theirs
	if json.Unmarshal([]byte(text), &list) != nil {
		return nil
	}
	return list
}

func settled(text string, c *oracleCase) bool {
	list := parseTheirs(text)
	for _, x := range list {
		want := c.states[x.Data.Iname]
		if want == "INIT" {
			want = "FAULT"
		}
		if int64(x.Data.State) != stateNumber(want) {
			return false
		}
		if want, ok := c.effective[x.Data.Iname]; ok && x.Data.Effective != want {
			return false
		}
		if c.masters[x.Data.Iname] != "" && x.Data.MasterPriority == 0 {
			return false
		}
	}
	return len(list) == len(c.states)
}

var downTimer = regexp.MustCompile(`(?s) VRRP Instance = (\S+)\n.*?Using src_ip = (\S+)`)
var downValue = regexp.MustCompile(`Master down timer = (\d+) usecs`)

// inputs turns what keepalived said of itself into our arguments.
func (o *oracle) inputs(t *testing.T, c *oracleCase) (*config.Config, *ipc.Snapshot, Env) {
	t.Helper()
	cfg, problems := config.Load(config.File(o.conf), config.Options{})
	for _, p := range problems {
		if p.Severity == config.Error {
			t.Errorf("our reader says: %v", p)
		}
	}
	s := &ipc.Snapshot{}
	for _, x := range parseTheirs(o.files["json"]) {
		name := x.Data.Iname
		i := ipc.InstanceStatus{
			Name: name, State: c.states[name], Effective: x.Data.Effective, Terms: c.terms[name],
			Master: c.masters[name], MasterPriority: x.Data.MasterPriority,
			Stats: ipc.Stats{
				AdvertsReceived: x.Stats.Received, AdvertsSent: x.Stats.Sent, BecameMaster: x.Stats.Became,
				ReleasedMaster: x.Stats.Released, PriZeroReceived: x.Stats.ZeroRcvd, PriZeroSent: x.Stats.ZeroSent,
			},
		}
		sec, usec, _ := strings.Cut(x.Data.Transition.String(), ".")
		n, _ := strconv.ParseInt(sec, 10, 64)
		m, _ := strconv.ParseInt(usec, 10, 64)
		i.Since = time.Unix(n, m*1000)
		for _, block := range downTimer.FindAllStringSubmatch(o.files["data"], -1) {
			if block[1] == name {
				us, _ := strconv.ParseInt(downValue.FindStringSubmatch(block[0])[1], 10, 64)
				i.DownMS = us / 1000
				if i.Source = block[2]; i.Source == "(none)" {
					i.Source = ""
				}
			}
		}
		s.Instances = append(s.Instances, i)
	}
	for name, state := range c.groups {
		s.Groups = append(s.Groups, ipc.GroupStatus{Name: name, State: state})
	}
	env := Env{
		Hostname: "unused", Location: time.UTC, Interfaces: linksOf(t, o.links), User: lookupUser,
		Executable: func(p string) string {
			found, err := exec.LookPath(p)
			if err != nil {
				return ""
			}
			if real, err := filepath.EvalSymlinks(found); err == nil {
				return real
			}
			return found
		},
	}
	if c.ours != "" {
		base := env.Interfaces[len(env.Interfaces)-1]
		env.Interfaces = append(env.Interfaces, Interface{
			Name: c.ours, Index: base.Index + 1, MAC: net.HardwareAddr{0, 0, 0x5e, 0, 1, 83}, Flags: base.Flags, MTU: base.MTU,
			Base: base.Name, Kind: "VMAC", Mode: "private", Ours: true,
		})
	}
	return cfg, s, env
}

func lookupUser(name, group string) (uid, gid uint32, ok bool) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, false
	}
	id := func(s string) uint32 { n, _ := strconv.ParseUint(s, 10, 32); return uint32(n & math.MaxUint32) }
	uid, gid = id(u.Uid), id(u.Gid)
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			return 0, 0, false
		}
		gid = id(g.Gid)
	}
	return uid, gid, true
}

// linksOf reads the output of "ip -j addr".
func linksOf(t *testing.T, b []byte) []Interface {
	t.Helper()
	var list []struct {
		Index   int      `json:"ifindex"`
		Name    string   `json:"ifname"`
		Flags   []string `json:"flags"`
		MTU     int      `json:"mtu"`
		Address string   `json:"address"`
		Addrs   []struct {
			Local netip.Addr `json:"local"`
			Len   int        `json:"prefixlen"`
		} `json:"addr_info"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatalf("reading the interfaces: %v: %s", err, b)
	}
	names := map[string]net.Flags{
		"UP": net.FlagUp, "BROADCAST": net.FlagBroadcast, "LOOPBACK": net.FlagLoopback, "MULTICAST": net.FlagMulticast, "LOWER_UP": net.FlagRunning,
	}
	var out []Interface
	for _, l := range list {
		f := Interface{Name: l.Name, Index: l.Index, MTU: l.MTU}
		for _, w := range l.Flags {
			f.Flags |= names[w]
		}
		if f.Flags&net.FlagLoopback == 0 {
			f.MAC, _ = net.ParseMAC(l.Address)
		}
		for _, a := range l.Addrs {
			f.Addrs = append(f.Addrs, netip.PrefixFrom(a.Local, a.Len))
		}
		out = append(out, f)
	}
	return out
}
