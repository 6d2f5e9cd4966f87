package config

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
)

//go:generate sh -c "go run ../cmd/keepmesh config keywords --markdown > ../docs/compat.md"

// WriteCompatibility writes docs/compat.md: every keyword of the table with
// its state and the test that observes its effect.
func WriteCompatibility(w io.Writer) error {
	b := bufio.NewWriter(w)
	rows := append(Keywords(), MeshKeywords()...)
	keywords, words, works := 0, 0, 0
	for _, k := range rows {
		switch {
		case k.Ours:
			continue
		case k.word:
			words++
		default:
			keywords++
		}
		if k.Support == Works {
			works++
		}
	}
	fmt.Fprintf(b, `# Compatibility with keepalived.conf

Generated from the keyword table: `+"`keepmesh config keywords --markdown`"+`. Do not edit.

All %d keywords of keepalived up to 2.4, and the %d words of its line languages, are read, checked and kept: %d of them work, the others are accepted.

- **works**: the named test sees the effect outside of the parser.
- **accepted**: read with its range and default, shown by `+"`keepmesh config show --effective`"+`; loading says "accepted, no effect yet" with file and line.
- **refused**: the statement is an error.

*Since* is the keepalived version that has the keyword, when it is newer than 2.2.7; *keepmesh* marks keywords of our own,
which may also be written as a comment, `+"`#keepmesh: KEYWORD ARGS`"+`, that keepalived skips.
`, keywords, words, works)
	var sections []string
	for _, k := range rows {
		if !slices.Contains(sections, k.Section) {
			sections = append(sections, k.Section)
		}
	}
	for _, section := range sections {
		fmt.Fprintf(b, "\n## %s\n\n| keyword | arguments | state | since | test |\n|---|---|---|---|---|\n", section)
		for _, k := range rows {
			if k.Section == section {
				compatibilityRow(b, &k)
			}
		}
	}
	return b.Flush()
}

func compatibilityRow(w io.Writer, k *Keyword) {
	code := func(s string) string {
		if s == "" {
			return ""
		}
		return "`" + strings.ReplaceAll(s, "|", `\|`) + "`"
	}
	since := k.Since
	if k.Ours {
		since = "keepmesh"
	}
	fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", code(k.Name), code(k.Args), k.Support, since, k.Test)
}
