package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/daemon/script"
)

// repository is the way from this package to the root.
const repository = "../.."

// document is one text for people, cut into prose and fenced blocks.
type document struct {
	name   string // below the root
	prose  string
	blocks []block
}

type block struct {
	kind, text string
	line       int
}

func documents(t *testing.T) []document {
	t.Helper()
	var all []document
	for _, pattern := range []string{"README.md", "docs/*.md", "docs/adr/*.md"} {
		names, err := filepath.Glob(filepath.Join(repository, pattern))
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %v, %v", pattern, names, err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			d := document{name: strings.TrimPrefix(name, repository+"/")}
			inside := false
			for n, line := range strings.Split(string(text), "\n") {
				switch {
				case strings.HasPrefix(line, "```") && !inside:
					d.blocks = append(d.blocks, block{kind: line[3:], line: n + 1})
					inside = true
				case strings.HasPrefix(line, "```"):
					inside = false
				case inside:
					b := &d.blocks[len(d.blocks)-1]
					b.text += line + "\n"
				default:
					d.prose += line + "\n"
				}
			}
			if inside {
				t.Errorf("%s: the last fenced block has no end", d.name)
			}
			all = append(all, d)
		}
	}
	return all
}

// checkLine reports what is wrong with a command line that begins with
// keepmesh, make, or another program, which is not looked at.
func checkLine(t *testing.T, where, line string) bool {
	t.Helper()
	line, _, _ = strings.Cut(line, " #")
	line, _, _ = strings.Cut(line, " > ")
	words, err := script.Split(strings.NewReplacer("[", "", "]", "").Replace(line))
	if err != nil {
		t.Errorf("%s: `%s`: %v", where, line, err)
		return false
	}
	if len(words) > 0 && words[0] == "sudo" {
		words = words[1:]
	}
	if len(words) == 0 {
		return false
	}
	switch filepath.Base(words[0]) {
	case "make":
		text, err := os.ReadFile(filepath.Join(repository, "Makefile"))
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range words[1:] {
			if !strings.Contains(target, "=") && !strings.Contains(string(text), "\n"+target+":") {
				t.Errorf("%s: `%s`: there is no target %s", where, line, target)
			}
		}
		return true
	case "keepmesh":
		checkKeepmesh(t, where, line, words[1:])
		return true
	}
	return false
}

func checkKeepmesh(t *testing.T, where, line string, args []string) {
	t.Helper()
	cmd, rest, err := rootCommand().Find(args)
	if err != nil || !cmd.Runnable() && len(rest) > 0 {
		t.Errorf("%s: `%s` is no command: %v", where, line, err)
		return
	}
	if cmd.DisableFlagParsing { // keepalived's own command line
		var flags []string
		for _, w := range rest {
			if w != "$DAEMON_ARGS" {
				flags = append(flags, w)
			}
		}
		if _, _, err := parseKeepalived(flags); err != nil {
			t.Errorf("%s: `%s`: %v", where, line, err)
		}
		return
	}
	if !cmd.Runnable() {
		return // a group of commands is named
	}
	if err := cmd.ParseFlags(rest); err != nil {
		t.Errorf("%s: `%s`: %v", where, line, err)
		return
	}
	// A command that is only named in a sentence has no arguments.
	if args := cmd.Flags().Args(); len(args) > 0 {
		if err := cmd.ValidateArgs(args); err != nil {
			t.Errorf("%s: `%s`: %v", where, line, err)
		}
	}
}

var inlineCode = regexp.MustCompile("`([^`\n]+)`")

func TestEveryCommandLineInTheDocumentsExists(t *testing.T) {
	found := map[string]int{}
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			if b.kind != "sh" {
				continue
			}
			for line := range strings.Lines(b.text) {
				if checkLine(t, d.name, strings.TrimSpace(line)) {
					found[d.name]++
				}
			}
		}
		for _, m := range inlineCode.FindAllStringSubmatch(d.prose, -1) {
			if strings.HasPrefix(m[1], "keepmesh ") || strings.HasPrefix(m[1], "make ") {
				checkLine(t, d.name, m[1])
				found[d.name]++
			}
		}
	}
	if found["README.md"] < 10 {
		t.Errorf("only %d command lines were found in README.md", found["README.md"])
	}
}

func TestEveryCommandLineOfTheUnitsExists(t *testing.T) {
	found := 0
	for _, pattern := range []string{"*.service", "*.d/*.conf"} {
		names, err := filepath.Glob(filepath.Join(repository, "deploy/systemd", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(text)) {
				key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
				if strings.HasPrefix(key, "Exec") && checkLine(t, name, value) {
					found++
				}
			}
		}
	}
	if found != 4 {
		t.Errorf("%d command lines, want ExecStart and ExecStopPost of two units", found)
	}
}

func TestEveryConfigurationInTheDocumentsParses(t *testing.T) {
	found := map[string]int{}
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			switch b.kind {
			case "conf", "mesh":
				found[b.kind]++
				file := filepath.Join(t.TempDir(), "snippet."+b.kind)
				if err := os.WriteFile(file, []byte(b.text), 0o644); err != nil {
					t.Fatal(err)
				}
				var problems []config.Problem
				if b.kind == "mesh" {
					_, problems = config.LoadMesh(file)
				} else {
					_, problems = config.Load(config.File(file), config.Options{NodeID: "lb1"})
				}
				for _, p := range problems {
					if p.Severity != config.Note {
						t.Errorf("%s:%d: %s", d.name, b.line, p)
					}
				}
			case "sh", "text":
			default:
				t.Errorf("%s:%d: a block of kind %q is checked by nobody: conf, mesh, sh or text", d.name, b.line, b.kind)
			}
		}
	}
	if found["conf"] == 0 || found["mesh"] == 0 {
		t.Errorf("found %v", found)
	}
}

var link = regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`)

func TestEveryLinkInTheDocumentsLeadsSomewhere(t *testing.T) {
	for _, d := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(d.prose, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(repository, filepath.Dir(d.name), m[1])); err != nil {
				t.Errorf("%s: %v", d.name, err)
			}
		}
	}
}

// What the README says is missing must still be missing.
func TestReadmeDeniesNothingThatWorks(t *testing.T) {
	works := map[string]bool{}
	for _, k := range config.Keywords() {
		if k.Support == config.Works {
			works[k.Name] = true
		}
	}
	text, err := os.ReadFile(filepath.Join(repository, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## What it does not do yet\n")
	section, _, _ = strings.Cut(section, "\n## ")
	_, section, list := strings.Cut(section, "\n- Read, without effect so far:")
	section, _, _ = strings.Cut(section, "\n")
	words := inlineCode.FindAllStringSubmatch(section, -1)
	if !ok || !list || len(words) < 2 {
		t.Fatalf("no list of what has no effect yet: %q", section)
	}
	for _, w := range words {
		if works[w[1]] {
			t.Errorf("README.md says that %s has no effect, but it works", w[1])
		}
	}
}

// Every command explains itself.
func TestEveryCommandHasAnExample(t *testing.T) {
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			visit(sub)
		}
		if !c.Runnable() {
			return
		}
		if c.Short == "" || c.Example == "" {
			t.Errorf("%s has no description or no example", c.CommandPath())
		}
		for line := range strings.Lines(c.Example) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "keepmesh ") {
				first, _, _ := strings.Cut(line, " | ")
				checkLine(t, c.CommandPath(), first)
			}
		}
	}
	visit(rootCommand())
}
