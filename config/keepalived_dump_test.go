package config

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// dumpScript makes the interfaces, then lets keepalived load each file and
// write its .data dump, which goes to FILE.data. Signals come until there is a
// dump: the daemon takes none before it is ready.
const dumpScript = `cd "$1"; shift; ip link set lo up; n=0
for i in "$@"; do n=$((n+1)); ip link add "$i" type veth peer name "p$n" && ip link set "$i" up && ip link set "p$n" up || exit 99; done
for f in *.conf; do
  mkdir "$f.tmp"
  TMPDIR=$PWD/$f.tmp keepalived -n -l -G -P -i lb1 -f "$PWD/$f" -p "$PWD/$f.tmp/k" -r "$PWD/$f.tmp/v" -c "$PWD/$f.tmp/c" >"$f.log" 2>&1 & k=$!
  t=0
  while [ $t -lt 100 ] && [ ! -s "$f.tmp/v" ]; do t=$((t+1)); sleep 0.05; done
  while [ $t -lt 100 ] && [ ! -s "$f.tmp/keepalived.data" ]; do t=$((t+1)); kill -USR1 $k; sleep 0.1; done
  kill -KILL $k $(cat "$f.tmp/v"); wait $k
  mv "$f.tmp/keepalived.data" "$f.data"
done`

// changing are the fields of a dump that differ from one run to the next.
var changing = regexp.MustCompile(`(?m)^.*(MAC = |fe80::|[Tt]ime|Last|Config(uration)? file|[Ss]eed|pid|PID|Master router|Next |Sands|[Tt]ransition|ifindex|index =|Current time|Wantstate|VRRP Instance state|has |Original |promote_sec|Reset ARP|Interface flags|linkbeat|state|Stat(us|e) = |Using src_ip|Number of).*\n`)

// moments is how often two dumps may differ before their texts do.
const moments = 8

// hostInterfaces is the dump's section about the host: what addresses and
// sysctls the interfaces have at the moment is none of the text's doing.
var hostInterfaces = regexp.MustCompile(`(?s)------< Interfaces >------\n.*?(\n------<|$)`)

var relayName = regexp.MustCompile(`smtp_server\s+\S+`)

// dumps gives the dump of each text, by name; empty where there is none.
func dumps(t *testing.T, interfaces []string, texts map[string]string) map[string]string {
	t.Helper()
	const side = 4 // namespaces at once
	dirs := [side]string{}
	for n := range dirs {
		dirs[n] = t.TempDir()
	}
	names := slices.Sorted(maps.Keys(texts))
	for n, name := range names {
		if err := os.WriteFile(filepath.Join(dirs[n%side], name+".conf"), []byte(texts[name]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var running sync.WaitGroup
	for _, dir := range dirs {
		running.Go(func() {
			cmd := exec.Command("unshare", append([]string{"-rnm", "sh", "-c", dumpScript, "sh", dir}, interfaces...)...)
			if out, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() == 99 {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	running.Wait()
	got := map[string]string{}
	for n, name := range names {
		data, err := os.ReadFile(filepath.Join(dirs[n%side], name+".conf.data"))
		if err != nil {
			log, _ := os.ReadFile(filepath.Join(dirs[n%side], name+".conf.log"))
			t.Errorf("keepalived wrote no dump of %s:\n%s", name, log)
		}
		got[name] = changing.ReplaceAllString(hostInterfaces.ReplaceAllString(string(data), "$1"), "")
	}
	return got
}

// TestKeepalivedDumpsTheEffectiveTextAsTheOriginal lets the real daemon load
// each configuration and what WriteEffective makes of it, and compares its own
// dumps of the two. The checker process needs IPVS and is left out.
func TestKeepalivedDumpsTheEffectiveTextAsTheOriginal(t *testing.T) {
	needKeepalived(t)
	texts := map[string]string{}
	for _, pattern := range []string{"testdata/corpus/*.conf", "testdata/tutorials/*.conf", "testdata/effective/*.conf"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			cfg, _ := Load(File(file), Options{NodeID: "lb1"})
			if len(cfg.Instances) == 0 || cfg.Global.LVSSync != nil || slices.ContainsFunc(cfg.Instances, func(i *Instance) bool { return i.LVSSyncInterface != "" }) {
				continue // the synchronisation daemon is the kernel's IPVS
			}
			var effective strings.Builder
			if err := cfg.WriteEffective(&effective); err != nil {
				t.Fatal(err)
			}
			original, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			name := strings.TrimSuffix(filepath.Base(file), ".conf")
			for suffix, text := range map[string]string{".original": string(original), ".effective": effective.String()} {
				// A relay's name would be resolved before anything else.
				texts[name+suffix] = relayName.ReplaceAllString(text, "smtp_server 127.0.0.1")
			}
		}
	}
	// A dump is of one moment: scripts may have run or not, timers differ. What
	// differs is asked for again; the text differs if all moments do.
	interfaces, fields := allInterfaces(t), 0
	for round := 1; len(texts) > 0; round++ {
		got := dumps(t, interfaces, texts)
		for name, original := range got {
			name, ok := strings.CutSuffix(name, ".original")
			if !ok {
				continue
			}
			diff := cmp.Diff(strings.Split(original, "\n"), strings.Split(got[name+".effective"], "\n"))
			if diff != "" && round < moments {
				continue
			}
			if diff != "" {
				t.Errorf("%s (-original +effective):\n%s", name, diff)
			}
			fields += strings.Count(original, " = ")
			delete(texts, name+".original")
			delete(texts, name+".effective")
		}
	}
	if fields < 5000 {
		t.Errorf("only %d fields were compared", fields)
	}
}

// allInterfaces are those that any configuration of the corpus or the
// tutorials names.
func allInterfaces(t *testing.T) []string {
	t.Helper()
	all := []string{"eth0", "eth1", "ens33", "ens34", "ens192"}
	for _, v := range verdicts(t) {
		for _, i := range v.interfaces {
			if !slices.Contains(all, i) {
				all = append(all, i)
			}
		}
	}
	return all
}
