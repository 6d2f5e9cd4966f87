package script

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// bashOnly are pieces of text that bash understands and a plain sh does not.
// There is no /dev/tcp anywhere but inside bash.
var bashOnly = []string{"/dev/tcp/", "/dev/udp/", "[[ ", "<("}

// shellWords are words that mean something to a shell and nothing to a
// program.
var shellWords = []string{"&&", "||", "|", ";", "&", ">", ">>", "<", "2>", "2>&1", ">/dev/null", "&>/dev/null"}

// Doubts lists what is likely not meant in a script: bash syntax that sh will
// run, and shell operators that reach a program as arguments because no shell
// is there. Each text says what happens and what to write instead. They are
// warnings: keepalived runs such a script all the same.
//
// It works on a parsed command; for a resolved one it also reads up to 64 KiB
// of a script that begins with #!/bin/sh. Where /bin/sh is bash, bash syntax
// is no doubt.
func (c Command) Doubts() []string {
	if len(c.Args) == 0 {
		return nil
	}
	if c.Shell && c.Path != "" && !strings.HasPrefix(c.Args[0], "<") {
		return []string{fmt.Sprintf("%s has no #! line: it is run by sh (keepalived 2.2.7 counts it as a success without running it); begin it with #!/bin/sh", c.Path)}
	}
	var doubts []string
	bash := shIsBash()
	text, ran := c.shText()
	if piece := bashPiece(text); piece != "" && !bash {
		doubts = append(doubts, fmt.Sprintf("`%s` is bash syntax, but %s is run by sh, where it fails every time; %s", strings.TrimSpace(piece), ran, c.remedy()))
	}
	if text == "" {
		for _, w := range c.Args[1:] {
			if slices.Contains(shellWords, w) {
				doubts = append(doubts, fmt.Sprintf("`%s` is passed to %s as an argument, since no shell is involved; write /bin/sh -c '...' if it is meant for one", w, filepath.Base(c.Args[0])))
				break
			}
		}
	}
	return doubts
}

// shText is the text that sh will interpret, and its name for people.
func (c Command) shText() (text, name string) {
	if strings.HasPrefix(c.Args[0], "<") {
		return c.Args[0], "this line"
	}
	if base := filepath.Base(c.Args[0]); base == "sh" || base == "dash" {
		if i := slices.Index(c.Args, "-c"); i > 0 && i+1 < len(c.Args) {
			return c.Args[i+1], "this line"
		}
		return "", ""
	}
	if c.Path == "" {
		return "", ""
	}
	f, err := os.Open(c.Path)
	if err != nil {
		return "", ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil || !bytes.HasPrefix(b, []byte("#!")) {
		return "", ""
	}
	first, rest, _ := strings.Cut(string(b), "\n")
	if interpreter := strings.Fields(first[2:]); len(interpreter) != 1 || filepath.Base(interpreter[0]) != "sh" {
		return "", ""
	}
	return rest, c.Path
}

func (c Command) remedy() string {
	if strings.HasPrefix(c.Args[0], "<") {
		return fmt.Sprintf("write /bin/bash -c '%s' or use nc -z", c.Args[0])
	}
	if base := filepath.Base(c.Args[0]); base == "sh" || base == "dash" {
		return "write /bin/bash instead of " + c.Args[0]
	}
	return "begin the file with #!/bin/bash"
}

// bashPiece finds bash syntax outside comment lines.
func bashPiece(text string) string {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for _, piece := range bashOnly {
			if strings.Contains(line, piece) {
				return piece
			}
		}
	}
	return ""
}

var shPath = "/bin/sh"

func shIsBash() bool {
	real, err := filepath.EvalSymlinks(shPath)
	return err == nil && filepath.Base(real) == "bash"
}
