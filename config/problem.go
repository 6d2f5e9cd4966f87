package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Pos is a place in the text: the file as it was named by the main path or by
// an include, line and column counted from 1. Columns count bytes.
type Pos struct {
	File string `json:"file"`
	Line int32  `json:"line"`
	Col  int32  `json:"col"`
}

// String gives file:line:col, without the parts that are unknown.
func (p Pos) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Col == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// Severity orders problems by what `keepmesh check` makes of them.
type Severity int

const (
	Note    Severity = iota // accepted, worth knowing; exit 0
	Warning                 // accepted with a change of meaning; exit 1
	Error                   // ignored or refused; exit 2
)

var severityNames = [...]string{"note", "warning", "error"}

func (s Severity) String() string {
	if s < 0 || int(s) >= len(severityNames) {
		return fmt.Sprintf("severity(%d)", int(s))
	}
	return severityNames[s]
}

// MarshalJSON writes the severity as its name.
func (s Severity) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// Code says what `keepalived -t` would make of a problem. It is independent of
// Severity: keepalived counts a mere warning like an error.
type Code int

const (
	OursOnly        Code = iota // advice of ours that keepalived does not give: exit 0
	General                     // any other report of keepalived's: exit 5
	ScriptSecurity              // scripts run as root without script security: exit 6
	NoInterface                 // an interface does not exist: exit 5, before scripts are looked at
	NoConfigFile                // there is no such file: exit 6
	MissingArgument             // keepalived stops at once: exit 2
	Fatal                       // keepalived cannot go on: exit 4
)

var codeNames = [...]string{"ours-only", "general", "script-security", "no-interface", "no-config-file", "missing-argument", "fatal"}

func (c Code) String() string {
	if c < 0 || int(c) >= len(codeNames) {
		return fmt.Sprintf("code(%d)", int(c))
	}
	return codeNames[c]
}

// MarshalJSON writes the class as its name.
func (c Code) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }

// Problem is one finding about a configuration. Problems are collected, never
// thrown: the rest of the text is still read.
type Problem struct {
	Pos      Pos      `json:"pos"`
	Severity Severity `json:"severity"`
	Path     string   `json:"path,omitempty"`    // the enclosing blocks: "vrrp_instance VI_1"
	Keyword  string   `json:"keyword,omitempty"` // the statement in question
	Message  string   `json:"message"`           // what is wrong
	Hint     string   `json:"hint,omitempty"`    // what was expected, or what to do
	Code     Code     `json:"code"`
	Chain    []Pos    `json:"chain,omitempty"` // include and expansion sites, innermost first
}

// String gives `file:line:col: block path: keyword: what is wrong (hint)`.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Pos.String())
	for _, part := range []string{p.Path, p.Keyword, p.Message} {
		if part == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(part)
	}
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	for i, c := range p.Chain {
		if i == 0 {
			b.WriteString(", from ")
		} else {
			b.WriteString(", ")
		}
		b.WriteString(c.String())
	}
	return b.String()
}

// Worst gives the highest severity among the problems, and false for none.
func Worst(problems []Problem) (Severity, bool) {
	if len(problems) == 0 {
		return Note, false
	}
	worst := Note
	for _, p := range problems {
		worst = max(worst, p.Severity)
	}
	return worst, true
}

// CheckCode gives the exit code of `keepmesh check`: 0 clean or notes only,
// 1 warnings, 2 errors.
func CheckCode(problems []Problem) int {
	worst, _ := Worst(problems)
	return int(worst)
}

// KeepalivedCode gives the exit code that `keepalived -t` has for the same
// text: 2 when an argument is missing (it stops there), 4 when fatal, 5 when an
// interface is missing, 6 for script security whatever else was reported, 5
// for any other report, else 0.
func KeepalivedCode(problems []Problem) int {
	general, security, iface, fatal := false, false, false, false
	for _, p := range problems {
		switch p.Code {
		case OursOnly:
		case General:
			general = true
		case NoInterface:
			iface = true
		case ScriptSecurity, NoConfigFile:
			security = true
		case MissingArgument:
			return 2
		case Fatal:
			fatal = true
		}
	}
	switch {
	case fatal:
		return 4
	case iface:
		return 5
	case security:
		return 6
	case general:
		return 5
	}
	return 0
}

// ExitCode gives keepalived's -t code for the problems that Load returned
// beside this configuration.
func (c *Config) ExitCode(problems []Problem) int { return KeepalivedCode(problems) }

// sortProblems puts problems in the order of the text: by file in the order of
// first reading, then line, column, and severity.
func sortProblems(ps []Problem, order map[string]int) {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(order[a.Pos.File], order[b.Pos.File]),
			cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Pos.Col, b.Pos.Col),
			cmp.Compare(b.Severity, a.Severity),
		)
	})
}
