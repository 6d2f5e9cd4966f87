package dump

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/daemon/ipc"
)

var update = flag.Bool("update", false, "write the golden files anew")

func load(t *testing.T, name string) *config.Config {
	t.Helper()
	c, problems := config.Load(config.File(filepath.Join("testdata", name)), config.Options{})
	for _, p := range problems {
		if p.Severity == config.Error {
			t.Fatalf("%v", p)
		}
	}
	return c
}

func loadText(t *testing.T, text string) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "k.conf")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c, problems := config.Load(config.File(path), config.Options{})
	for _, p := range problems {
		if p.Severity == config.Error {
			t.Fatalf("%v", p)
		}
	}
	return c
}

func goldenEnv() Env {
	up := net.FlagUp | net.FlagRunning | net.FlagBroadcast | net.FlagMulticast
	link := func(n int, addrs ...string) Interface {
		f := Interface{Name: "v" + string(rune('0'+n)), Index: n + 2, Flags: up, MTU: 1500, MAC: net.HardwareAddr{2, 0, 0, 0, 0, byte(n)}}
		for _, a := range addrs {
			f.Addrs = append(f.Addrs, netip.MustParsePrefix(a))
		}
		return f
	}
	lo := Interface{Name: "lo", Index: 1, Flags: net.FlagUp | net.FlagRunning | net.FlagLoopback, MTU: 65536, Addrs: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}}
	return Env{
		Hostname: "node.example.com", Location: time.UTC,
		Interfaces: []Interface{
			lo, link(0, "10.0.0.1/24", "10.0.0.7/24", "10.0.0.100/24", "fe80::1/64"), link(1, "10.0.1.1/24"),
			link(2, "10.0.2.1/24", "fe80::2/64", "fe80::3/64", "2001:db8::9/64"),
		},
		User:       func(name, _ string) (uid, gid uint32, ok bool) { return 7, 8, name == "root" },
		Executable: func(p string) string { return "/usr" + p },
		FileValue:  func(string) int64 { return -3 },
		Running:    func(name string) bool { return name == "slow" },
	}
}

// goldenSnapshot has every state: the first instance is MASTER, the second
// BACKUP, the third in FAULT, and a fourth is not in the snapshot yet.
func goldenSnapshot(c *config.Config) *ipc.Snapshot {
	s := &ipc.Snapshot{}
	since := time.Date(2024, 2, 3, 4, 5, 6, 7008000, time.UTC)
	for n, i := range c.Instances {
		st := ipc.InstanceStatus{Name: i.Name, Since: since.Add(time.Duration(n) * time.Hour), Effective: i.Priority, DownMS: 3609, Source: "10.0.0.1"}
		st.Stats = ipc.Stats{
			AdvertsReceived: 1, AdvertsSent: 2, BecameMaster: 3, ReleasedMaster: 4, PacketLenErrors: 5, IntervalErrors: 6,
			TTLErrors: 7, TypeErrors: 8, AddrListErrors: 9, VersionErrors: 10, ChecksumErrors: 11, AuthTypeInvalid: 12,
			AuthTypeMismatch: 13, AuthFailure: 14, PriZeroReceived: 15, PriZeroSent: 16,
		}
		switch n {
		case 0:
			st.State = "MASTER"
		case 1:
			st.State, st.Master, st.MasterPriority = "BACKUP", "10.0.0.2", 201
			st.Effective -= 10
			st.Terms = []ipc.Term{{Tracker: "script:load", State: "down", Amount: -10}}
		case 2:
			st.State = "FAULT"
			st.Terms = []ipc.Term{{Tracker: "link:v2", State: "down", Fault: true}, {Tracker: "script:slow", State: "unknown"}}
		default:
			continue
		}
		s.Instances = append(s.Instances, st)
	}
	for _, g := range c.SyncGroups {
		s.Groups = append(s.Groups, ipc.GroupStatus{Name: g.Name, State: "BACKUP"})
	}
	return s
}

func TestDumpsAreAsBefore(t *testing.T) {
	for _, name := range []string{"group", "backup", "fault", "options"} {
		c := load(t, name+".conf")
		s, env := goldenSnapshot(c), goldenEnv()
		for kind, write := range map[string]func(b *bytes.Buffer) error{
			"data":  func(b *bytes.Buffer) error { return Data(b, c, s, env) },
			"stats": func(b *bytes.Buffer) error { return Stats(b, c, s) },
			"json":  func(b *bytes.Buffer) error { return JSON(b, c, s) },
		} {
			var b bytes.Buffer
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".golden."+kind)
			if *update {
				if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")); diff != "" {
				t.Errorf("%s (-want +got):\n%s", golden, diff)
			}
		}
	}
}

func TestJSONSurvivesEveryByteOfANameAndAPassword(t *testing.T) {
	c := loadText(t, "vrrp_instance V {\n interface v0\n virtual_router_id 1\n virtual_ipaddress { 10.0.0.1 }\n}\n")
	i := c.Instances[0]
	i.Name, i.Auth = "a\"b\\c/d\te\x01ü", config.Auth{Type: config.AuthPass, Pass: `p\"w`}
	var b bytes.Buffer
	if err := JSON(&b, c, nil); err != nil {
		t.Fatal(err)
	}
	var got []struct {
		Data struct {
			Iname string `json:"iname"`
			Auth  string `json:"auth_data"`
			State int    `json:"state"`
		} `json:"data"`
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatalf("%v in %s", err, b.Bytes())
	}
	if len(got) != 1 || got[0].Data.Iname != i.Name || got[0].Data.Auth != i.Auth.Pass || got[0].Data.State != 0 {
		t.Errorf("got %+v", got)
	}
	if !strings.Contains(b.String(), `c\/d`) {
		t.Errorf("a slash is not escaped as keepalived does: %s", b.String())
	}
}

func TestGeneralIsPercentG(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 1: "1", 0.5: "0.5", 0.25: "0.25", 1.5: "1.5", 10: "10", 0.01: "0.01", 40.95: "40.95", 123456: "123456",
		1234567: "1.23457e+06", 0.0001: "0.0001", 0.00001: "1e-05", 0.123456789: "0.123457", 99999.95: "99999.9", -2.5: "-2.5", 999999.6: "1e+06",
	} {
		if got := general(v); got != want {
			t.Errorf("general(%v) = %s, want %s", v, got, want)
		}
	}
}

type brokenWriter struct{}

var errBroken = errors.New("no space left")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestAFailingWriterIsReported(t *testing.T) {
	c := load(t, "group.conf")
	for name, err := range map[string]error{
		"data": Data(brokenWriter{}, c, nil, Env{}), "stats": Stats(brokenWriter{}, c, nil), "json": JSON(brokenWriter{}, c, nil),
	} {
		if !errors.Is(err, errBroken) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestAScriptThatCannotRunIsForgotten(t *testing.T) {
	c := load(t, "group.conf")
	env := goldenEnv()
	env.Executable = func(path string) string {
		if path == "/bin/true" {
			return path
		}
		return ""
	}
	var data, object bytes.Buffer
	if err := Data(&data, c, nil, env); err != nil {
		t.Fatal(err)
	}
	if err := writeJSON(&object, c, nil, env); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"data": data.String(), "json": object.String()} {
		if strings.Contains(text, "echo") || strings.Contains(text, "state transition") || strings.Contains(text, `"script_master"`) {
			t.Errorf("%s names a script that cannot run:\n%s", name, text)
		}
	}
	if !strings.Contains(data.String(), "Command = '/bin/true'") {
		t.Errorf("the script that can run is missing:\n%s", data.String())
	}
}

func TestTheDefaultScriptUserAndTheRelayAreThoseThatExist(t *testing.T) {
	nobody := func(string, string) (uid, gid uint32, ok bool) { return 0, 0, false }
	for text, want := range map[string]map[string]bool{
		"router_id a\n smtp_server mail.example.com 2525":      {" Default script uid:gid 0:0\n": true, " Smtp server": false, " Smtp HELO name": false},
		"enable_script_security\n smtp_server relay.test 2525": {" Default script uid:gid": false, " Smtp server = 192.0.2.25\n Smtp server port = 2525\n": true},
	} {
		c := loadText(t, "global_defs {\n "+text+"\n}\n")
		resolve := func(host string) string { return map[string]string{"relay.test": "192.0.2.25"}[host] }
		var b bytes.Buffer
		if err := Data(&b, c, nil, Env{Hostname: "h", User: nobody, Resolve: resolve}); err != nil {
			t.Fatal(err)
		}
		for line, present := range want {
			if strings.Contains(b.String(), line) != present {
				t.Errorf("%s\n%q present: want %t in\n%s", text, line, present, b.String())
			}
		}
	}
}
