package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// emails loads a notification_email block and gives its words, which is where
// the meta-language can be seen at work.
func emails(t *testing.T, before, lines string) []string {
	t.Helper()
	cfg, problems := Load(bundleOf(before+"\nglobal_defs {\nnotification_email {\n"+lines+"\n}\n}\n"), bench())
	for _, p := range problems {
		if p.Severity == Error {
			t.Errorf("%s", p)
		}
	}
	return cfg.Global.NotificationEmail
}

func TestMetaLanguage(t *testing.T) {
	for _, c := range []struct {
		name, before, lines string
		want                []string
	}{
		{"comments are cut, also when glued", "", "a#x\nb!x\n# c\n ! d\ne", []string{"a", "b", "e"}},
		{"quotes protect comment marks", "", `"a#b" "c!d"`, []string{"a#b", "c!d"}},
		{"a backslash protects a comment mark", "", `a\#b`, []string{"a#b"}},
		{"quotes keep words together", "", `"a b" c`, []string{"a b", "c"}},
		{"a quote ends a word", "", `a"b c"d`, []string{"a", "b c", "d"}},
		{"carriage returns and tabs are blanks", "", "a\r\n\tb\t c\r", []string{"a", "b", "c"}},
		{"definitions", "$A=one", "$A ${A}x $A, ($A) $A.y $NONE", []string{"one", "onex", "one,", "(one)", "$A.y", "$NONE"}},
		{"later definitions win", "$A=one\n$A=two", "$A", []string{"two"}},
		{"definitions nest", "$A=one\n$B=${A}2", "$B", []string{"one2"}},
		{"definitions of several lines", "$A=x \\\n y1 \\\n y2", "$A", []string{"x", "y1", "y2"}},
		{"lines for this node", "", "@lb1 mine\n@lb2 other\n@^lb1 not\n@^lb2 both", []string{"mine", "both"}},
		{"built-in references", "", "${_HASH}a ${_BANG}b ${_INSTANCE} ${_ENV SITE} ${_PWD} ${_RANDOM 5 5}", []string{"#a", "!b", "lb1", "north", ".", "5"}},
		{"sequences", "", "~SEQ(i, 3) s$i\n~SEQ(i, 6, -2, 2) t${i}x\n~SEQx(i,9,11) x$i", []string{"s1", "s2", "s3", "t6x", "t4x", "t2x", "x9", "xa", "xb"}},
		{"sequences nest", "", "~SEQ(i, 2) ~SEQ(j, 2) n${i}${j}", []string{"n11", "n12", "n21", "n22"}},
		{"lists", "", "~LST(i, a, b) l$i\n~LST({i,j},{1,2},{3}) ${i}-${j}", []string{"la", "lb", "1-2", "3-"}},
		{"references in a sequence", "$N=2", "~SEQ(i, $N) s$i", []string{"s1", "s2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := emails(t, c.before, c.lines)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("words (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCommandsAreSplitAsKeepalivedSplitsThem(t *testing.T) {
	for line, want := range map[string][]string{
		`/bin/echo 'x y' z`:           {"/bin/echo", "x y", "z"},
		`/bin/sh -c 'a b' "c d" e\ f`: {"/bin/sh", "-c", "a b", "c d", "e f"},
		`pidof nginx && exit 0`:       {"pidof", "nginx", "&&", "exit", "0"},
		"  a\tb  ":                    {"a", "b"},
		`a ""`:                        {"a", ""},
		``:                            nil,
	} {
		if diff := cmp.Diff(want, splitCommand(line)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", line, diff)
		}
	}
}

func TestEscapes(t *testing.T) {
	for in, want := range map[string]string{
		`a\tb`: "a\tb", `\x41\102`: "AB", `\\`: `\`, `\cA`: "\x01", `\q`: "q", `end\`: `end\`, `\E`: "\x1b",
	} {
		if got := unescape(in); got != want {
			t.Errorf("unescape(%q) = %q, want %q", in, got, want)
		}
	}
}

func files(pairs ...string) Bundle {
	b := Bundle{Name: pairs[0]}
	for i := 0; i < len(pairs); i += 2 {
		b.Files = append(b.Files, BundleFile{Path: pairs[i], Text: pairs[i+1]})
	}
	return b
}

func TestIncludesAreRelativeToTheIncludingFile(t *testing.T) {
	b := files("keepalived.conf", "include conf.d/*.conf\n",
		"conf.d/a.conf", "global_defs {\n include sub/router.conf\n}\n",
		"conf.d/b.conf", "global_defs {\n bogus x\n}\n",
		"conf.d/sub/router.conf", "router_id here\n")
	cfg, problems := Load(b, bench())
	if cfg.Global.RouterID != "here" {
		t.Errorf("router_id is %q", cfg.Global.RouterID)
	}
	want := "error general conf.d/b.conf:2:2: global_defs: bogus: unknown keyword, ignored, from keepalived.conf:1:1\n"
	if diff := cmp.Diff(want, problemLines(problems)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if len(cfg.Bundle.Files) != 4 || cfg.Bundle.Name != "keepalived.conf" {
		t.Errorf("the bundle has %d files and is named %q", len(cfg.Bundle.Files), cfg.Bundle.Name)
	}
	again, _ := Load(cfg.Bundle, bench())
	if again.Global.RouterID != "here" {
		t.Error("the bundle does not load as the files did")
	}
}

func TestRunawayTextsEndInAnError(t *testing.T) {
	var deep []string
	for i := range 40 {
		deep = append(deep, "f"+string(rune('a'+i%26))+string(rune('a'+i/26)))
	}
	var chain []string
	for i, n := range deep {
		text := ""
		if i+1 < len(deep) {
			text = "include " + deep[i+1] + "\n"
		}
		chain = append(chain, n, text)
	}
	for _, c := range []struct {
		name string
		src  Bundle
		want string
	}{
		{"self-reference", bundleOf("$E=$E x\n$E\n"), "refers to itself"},
		{"mutual reference", bundleOf("$A=${B}${B}\n$B=${A}${A}\n${A}\n"), "grows without end"},
		{"multi-line self-reference", bundleOf("$E=x \\\n$E\n$E\n"), "expands without end"},
		{"sequence bomb", bundleOf("~SEQ(a,1000) ~SEQ(b,1000) ~SEQ(c,1000) x$a\n"), "expands without end"},
		{"one huge sequence", bundleOf("~SEQ(a,1,1000000000) x$a\n"), "expands without end"},
		{"include cycle", files("a.conf", "include b.conf\n", "b.conf", "include a.conf\n"), "includes itself"},
		{"deep includes", files(chain...), "nested includes"},
		{"long line", bundleOf(strings.Repeat("x", 10<<20)), "line of 10485760 bytes ignored"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, problems := Load(c.src, bench())
			if got := problemLines(problems); !strings.Contains(got, c.want) {
				t.Errorf("want a problem with %q, got\n%.2000s", c.want, got)
			}
		})
	}
}

func TestWhatIsNoTextIsRefused(t *testing.T) {
	if cfg, problems := Load(bundleOf("global_defs {\x00}"), bench()); cfg != nil || KeepalivedCode(problems) != 4 || !strings.Contains(problemLines(problems), "NUL byte") {
		t.Errorf("binary text: %v %s", cfg, problemLines(problems))
	}
	for path, want := range map[string]string{
		t.TempDir():           "is a directory",
		"/dev/zero":           "is a device",
		"/nonexistent/k.conf": "there is no file",
	} {
		cfg, problems := Load(File(path), bench())
		if cfg != nil || len(problems) != 1 || !strings.Contains(problems[0].Message, want) {
			t.Errorf("%s: want %q, got %v", path, want, problems)
		}
	}
}

func TestOurKeywordsInComments(t *testing.T) {
	text := "vrrp_instance VI_1 {\n interface eth0 #keepmesh: advert_transport both\n virtual_router_id 51\n #keepmesh: lan_probe off\n ! keepmesh: health_agreement majority\n virtual_ipaddress {\n  10.0.0.1\n }\n}\n"
	cfg, problems := Load(bundleOf(text), bench())
	i := cfg.Instances[0]
	if i.LANProbe != Off || i.AdvertTransport != "both" || i.HealthAgreement != "majority" || i.Interface != "eth0" {
		t.Errorf("lan_probe %v advert_transport %q health_agreement %q interface %q\n%s", i.LANProbe, i.AdvertTransport, i.HealthAgreement, i.Interface, problemLines(problems))
	}
	if rc := KeepalivedCode(problems); rc != 0 {
		t.Errorf("exit code %d, want 0", rc)
	}
}

func TestBundleOfFilesKeepsAbsoluteIncludes(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"keepalived.conf": "include " + dir + "/conf.d/*.conf\n", "conf.d/a.conf": "global_defs {\n router_id ${_PWD}\n}\n", "conf.d/run.conf": "bogus\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "conf.d/run.conf"), 0o755); err != nil {
		t.Fatal(err)
	}
	cfg, problems := Load(File(filepath.Join(dir, "keepalived.conf")), bench())
	if cfg.Global.RouterID != dir+"/conf.d" {
		t.Errorf("${_PWD} is %q", cfg.Global.RouterID)
	}
	if got := problemLines(problems); !strings.Contains(got, "is executable") || KeepalivedCode(problems) != 0 {
		t.Errorf("problems:\n%s", got)
	}
	raw, err := json.Marshal(cfg.Bundle)
	if err != nil {
		t.Fatal(err)
	}
	var copied Bundle
	if err := json.Unmarshal(raw, &copied); err != nil {
		t.Fatal(err)
	}
	if copied.Files[1].Path != "conf.d/a.conf" {
		t.Errorf("files are %q", copied.Files[1].Path)
	}
	again, _ := Load(copied, bench())
	if again.Global.RouterID != cfg.Global.RouterID {
		t.Errorf("the bundle gives router_id %q, the files %q", again.Global.RouterID, cfg.Global.RouterID)
	}
}

func TestInstancesThatCannotRunAreMarkedOrDropped(t *testing.T) {
	inst := func(name, iface, vrid string) string {
		return "vrrp_instance " + name + " {\n interface " + iface + "\n " + vrid + "\n virtual_ipaddress {\n  10.0.0." + name + "\n }\n}\n"
	}
	cfg, _ := Load(bundleOf(inst("1", "eth0", "virtual_router_id 51")+inst("2", "eth0", "virtual_router_id 51")+
		inst("3", "eth9", "virtual_router_id 52")+inst("4", "eth0", "priority 5")+inst("5", "lo", "virtual_router_id 53")), bench())
	var got []string
	for _, i := range cfg.Instances {
		got = append(got, i.Name+": "+i.Fault)
	}
	want := []string{"1: ", "2: virtual_router_id 51 is already used on eth0 by 1", "3: there is no interface eth9"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("instances (-want +got):\n%s", diff)
	}
}
