package config

import (
	"fmt"
	"slices"
	"strings"
)

// Change is one difference between two configurations: a block or a line of a
// list that came or went, or a statement whose value changed.
type Change struct {
	Op      string `json:"op"`                // "+", "-" or "~"
	Path    string `json:"path"`              // the block: "vrrp_instance VI_1"; empty at the top level
	Keyword string `json:"keyword,omitempty"` // empty when the block itself came or went
	Old     string `json:"old,omitempty"`
	New     string `json:"new,omitempty"`
}

// String gives "~ vrrp_instance VI_1: priority 100 -> 90".
func (c Change) String() string {
	s := c.Op
	if c.Path != "" {
		s += " " + c.Path
	}
	if c.Keyword == "" {
		return s
	}
	if c.Path != "" {
		s += ":"
	}
	s += " " + c.Keyword
	switch {
	case c.Old != "" && c.New != "":
		s += " " + c.Old + " -> " + c.New
	case c.Old != "":
		s += " " + c.Old
	case c.New != "":
		s += " " + c.New
	}
	return s
}

// Diff tells how b differs from a by what the two mean: defaults are filled
// in, blocks are matched by name, and neither layout nor the order of blocks
// and statements counts. The order of changes is that of a, then of what b
// alone has.
func Diff(a, b *Config) []Change {
	return diffEntries("", a.entries(), b.entries(), nil)
}

// ident tells an entry apart among its neighbours: by name for a block, by
// keyword for a statement; n counts those that are alike.
type ident struct {
	name string
	n    int
}

func idents(list []*entry) ([]ident, map[ident]*entry) {
	order := make([]ident, len(list))
	byIdent := make(map[ident]*entry, len(list))
	count := map[string]int{}
	for i, e := range list {
		name := e.key
		if e.kind == entryBlock || e.kind == entryList {
			name = "{" + e.id
		}
		order[i] = ident{name, count[name]}
		count[name]++
		byIdent[order[i]] = e
	}
	return order, byIdent
}

func diffEntries(path string, a, b []*entry, out []Change) []Change {
	orderA, _ := idents(a)
	orderB, inB := idents(b)
	known := make(map[ident]bool, len(a))
	for i, id := range orderA {
		known[id] = true
		out = diffEntry(path, a[i], inB[id], out)
	}
	for i, id := range orderB {
		if !known[id] {
			out = diffEntry(path, nil, b[i], out)
		}
	}
	return out
}

// diffEntry compares two entries of one identity; nil is an absent one.
func diffEntry(path string, a, b *entry, out []Change) []Change {
	one := a
	if one == nil {
		one = b
	}
	op := map[bool]string{true: "-", false: "+"}[b == nil]
	switch one.kind {
	case entryLine:
		switch {
		case a != nil && b != nil && a.text == b.text:
		case a != nil && b != nil:
			out = append(out, Change{Op: "~", Path: path, Keyword: one.key, Old: a.value(), New: b.value()})
		case a != nil:
			out = append(out, Change{Op: op, Path: path, Keyword: a.key, Old: a.value()})
		default:
			out = append(out, Change{Op: op, Path: path, Keyword: b.key, New: b.value()})
		}
	case entryList:
		out = diffList(path, a, b, out)
	case entryBlock:
		inner := one.text
		if path != "" {
			inner = path + " > " + one.text
		}
		if a == nil || b == nil {
			return append(out, Change{Op: op, Path: inner})
		}
		out = diffEntries(inner, a.body, b.body, out)
	}
	return out
}

func (e *entry) value() string { return strings.TrimSpace(strings.TrimPrefix(e.text, e.key)) }

func (e *entry) lines() []string {
	if e == nil {
		return nil
	}
	lines := make([]string, len(e.body))
	for i, l := range e.body {
		lines[i] = l.text
	}
	return lines
}

func diffList(path string, a, b *entry, out []Change) []Change {
	var keyword string
	if a != nil {
		keyword = a.text
	} else {
		keyword = b.text
	}
	old, now := a.lines(), b.lines()
	rest := slices.Clone(now)
	changed := false
	for _, l := range old {
		if n := slices.Index(rest, l); n >= 0 {
			rest = slices.Delete(rest, n, n+1)
			continue
		}
		changed = true
		out = append(out, Change{Op: "-", Path: path, Keyword: keyword, Old: l})
	}
	for _, l := range rest {
		changed = true
		out = append(out, Change{Op: "+", Path: path, Keyword: keyword, New: l})
	}
	if !changed && !slices.Equal(old, now) {
		out = append(out, Change{Op: "~", Path: path, Keyword: keyword, Old: fmt.Sprintf("(%s)", strings.Join(old, ", ")), New: fmt.Sprintf("(%s)", strings.Join(now, ", "))})
	}
	return out
}
