package keepmesh

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/keepmesh/keepmesh/"

// rule says what a folder may import of this repository, and why not more.
type rule struct {
	may []string // prefixes below the module; "stdlib" forbids other modules too
	why string
}

// rules is the import table of the architecture. The longest prefix of a
// package's path counts; an empty list means nothing of ours.
var rules = map[string]rule{
	"cmd/keepmesh":  {[]string{"daemon", "config", "lab"}, "the command line is thin: engines are reached through daemon"},
	"config":        {nil, "the file's structures must not leak into the engines, nor theirs into it"},
	"vrrp":          {[]string{"stdlib"}, "the protocol is pure: it runs in the simulator, in tests and in the daemon alike"},
	"vrrp/packet":   {[]string{"stdlib"}, "the codec is pure and fuzzed"},
	"vrrp/wire":     {[]string{"stdlib", "vrrp"}, "the datagrams of the second wire are a pure codec"},
	"vrrp/veto":     {[]string{"stdlib", "vrrp"}, "the veto is a pure machine beside the Router"},
	"vrrp/speaker":  {[]string{"vrrp"}, "the loop knows the protocol and its sockets; the kernel's addresses are given to it behind an interface"},
	"consensus":     {[]string{"mesh/link"}, "an engine imports no other engine; the shared port is all they have in common"},
	"mesh":          {[]string{"mesh/link"}, "an engine imports no other engine"},
	"mesh/link":     {nil, "the shared port is below everything that uses it"},
	"lvs":           {nil, "an engine imports nothing of ours"},
	"checks":        {nil, "an engine imports nothing of ours"},
	"netif":         {nil, "the only code that changes the kernel's network state must stand alone"},
	"daemon":        {[]string{"config", "vrrp", "consensus", "mesh", "lvs", "checks", "netif", "daemon"}, "composition knows everything below it, and not the lab"},
	"daemon/script": {nil, "the one executor of scripts serves everybody"},
	"daemon/e2e":    {[]string{"lab"}, "end-to-end tests run the built binary as a user would"},
	"lab":           {[]string{"lab"}, "the lab judges every daemon alike: it must not share the code that it judges"},
	"deploy":        {[]string{"config"}, "the examples are loaded by a test"},
}

// engines never import each other.
var engines = []string{"vrrp", "lvs", "checks", "mesh", "consensus"}

func TestImportDirections(t *testing.T) {
	out, err := exec.Command("go", "list", "-test", "-f",
		`{{if not .ForTest}}{{.ImportPath}} {{join .Imports ","}}{{end}}`, "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		path, imports, _ := strings.Cut(strings.TrimSpace(line), " ")
		pkg, ours := strings.CutPrefix(path, module)
		if !ours || strings.HasSuffix(pkg, ".test") {
			continue
		}
		name, r, ok := ruleFor(pkg)
		if !ok {
			t.Errorf("%s stands in no rule: say in this table what it may import", pkg)
			continue
		}
		seen[name] = true
		for imp := range strings.SplitSeq(imports, ",") {
			check(t, pkg, imp, name, r)
		}
	}
	if len(seen) < 10 {
		t.Errorf("only %d rules met a package: the table or the listing is wrong", len(seen))
	}
}

func ruleFor(pkg string) (string, rule, bool) {
	for p := pkg; p != ""; {
		if r, ok := rules[p]; ok {
			return p, r, true
		}
		cut := strings.LastIndexByte(p, '/')
		if cut < 0 {
			break
		}
		p = p[:cut]
	}
	return "", rule{}, false
}

func check(t *testing.T, pkg, imp, name string, r rule) {
	t.Helper()
	dep, ours := strings.CutPrefix(imp, module)
	if !ours {
		if contains(r.may, "stdlib") && strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") {
			t.Errorf("%s imports %s: %s may import the standard library only, because %s", pkg, imp, name, r.why)
		}
		return
	}
	if within(dep, name) && !forbidsItself(name) {
		return
	}
	for _, may := range r.may {
		if within(dep, may) {
			return
		}
	}
	t.Errorf("%s imports %s: not allowed for %s, because %s", pkg, dep, name, r.why)
}

// forbidsItself: the pure Router must not reach down into its own shell.
func forbidsItself(name string) bool { return name == "vrrp" }

func within(pkg, prefix string) bool { return pkg == prefix || strings.HasPrefix(pkg, prefix+"/") }

func contains(list []string, x string) bool {
	for _, s := range list {
		if s == x {
			return true
		}
	}
	return false
}

// The table itself must not allow what the architecture forbids.
func TestEnginesAreStrangers(t *testing.T) {
	for _, engine := range engines {
		for _, may := range rules[engine].may {
			for _, other := range engines {
				if other != engine && within(may, other) && may != "mesh/link" {
					t.Errorf("the table lets %s import %s", engine, may)
				}
			}
		}
		for _, may := range rules[engine].may {
			if may == "config" || may == "daemon" {
				t.Errorf("the table lets the engine %s import %s", engine, may)
			}
		}
	}
}
