package config

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// definition is what $NAME stands for; more than one line where the value was
// continued with a backslash.
type definition struct {
	lines []string
	pos   Pos
}

func nameEnd(s string) int {
	i := 0
	for i < len(s) && (s[i] == '_' || s[i] >= 'a' && s[i] <= 'z' || s[i] >= 'A' && s[i] <= 'Z' || i > 0 && s[i] >= '0' && s[i] <= '9') {
		i++
	}
	return i
}

// define takes "$NAME=VALUE" with its continuation lines; false when the line
// is something else. A later definition replaces an earlier one.
func (r *reader) define(line string, pos Pos) bool {
	if line[0] != '$' {
		return false
	}
	n := nameEnd(line[1:]) + 1
	if n == 1 || n >= len(line) || line[n] != '=' {
		return false
	}
	def := &definition{pos: pos}
	value := strings.TrimLeft(line[n+1:], blanks)
	for {
		more, continued := strings.CutSuffix(value, `\`)
		def.lines = append(def.lines, strings.TrimRight(more, blanks))
		if !continued {
			break
		}
		text, _, ok := r.physical()
		if !ok {
			break
		}
		value = decomment(text).text
	}
	r.defs[line[1:n]] = def
	return true
}

// expandLine substitutes references, applies ~SEQ and ~LST, follows includes,
// and emits what remains. Every produced line costs from one budget, so that
// neither self-reference nor nested sequences can run away.
func (r *reader) expandLine(q queued) {
	text := q.text
	if q.depth > maxNesting {
		r.runaway(q.pos, "the line")
		return
	}
	if strings.IndexByte(text, '$') >= 0 || strings.IndexByte(text, '~') >= 0 {
		if r.repeat(q) {
			return
		}
		text = r.substitute(&q)
		if r.stopped || text == "" {
			return
		}
	}
	if len(q.chain) > 0 {
		r.chains[Pos{File: q.pos.File, Line: q.pos.Line}] = q.chain
	}
	if strings.HasPrefix(text, "include") && r.include(text, q.pos) {
		return
	}
	r.emit(text, q.pos, q.depth == 0)
}

// spend takes n bytes from the expansion budget; when it is used up, reading
// stops with an error.
func (r *reader) spend(n int, pos Pos, what string) bool {
	if r.expanded += n; r.expanded <= maxExpanded {
		return true
	}
	r.runaway(pos, what)
	return false
}

// runaway stops reading.
func (r *reader) runaway(pos Pos, what string) {
	r.problem(pos, Error, Fatal, what+" expands without end", fmt.Sprintf("expansion may add %d bytes and nest %d deep; nothing after this line was read", maxExpanded, maxNesting))
	r.stopped = true
	r.queue = nil
}

// substitute replaces $NAME and ${NAME}. A value of several lines puts its
// later lines before whatever is read next.
func (r *reader) substitute(q *queued) string {
	text := q.text
	expanded := false
	for i, rounds := 0, 0; i < len(text); {
		k := strings.IndexByte(text[i:], '$')
		if k < 0 {
			break
		}
		i += k
		name, args, n := reference(text[i:])
		if n == 0 {
			i++
			continue
		}
		value, rest, def, ok := r.value(name, args, text[i:i+n])
		if !ok {
			i += n
			continue
		}
		if rounds++; rounds > 1000 || len(text)+len(value) > maxLine {
			r.problem(q.pos, Error, Fatal, "$"+name+" refers to itself or grows without end", fmt.Sprintf("a line may have %d bytes after expansion", maxLine))
			r.stopped = true
			return ""
		}
		if !r.spend(len(value)+1, q.pos, "$"+name) {
			return ""
		}
		if def != nil && len(q.chain) < 8 && !slices.Contains(q.chain, def.pos) {
			q.chain = append(slices.Clip(q.chain), def.pos)
		}
		expanded = true
		tail := text[i+n:]
		if len(rest) > 0 {
			for j := len(rest) - 1; j >= 0; j-- {
				l := rest[j]
				if j == len(rest)-1 {
					l += tail
				}
				if !r.spend(len(l)+expandedLine, q.pos, "$"+name) {
					return ""
				}
				r.queue = append(r.queue, queued{text: l, pos: q.pos, chain: q.chain, depth: q.depth + 1})
			}
			tail = ""
		}
		// Values are scanned again, so that references nest; those that run
		// the program itself (_ENV and so on) are final.
		text = text[:i] + value + tail
		if def == nil {
			i += len(value)
		}
	}
	if expanded {
		q.depth++
	}
	return text
}

// reference recognises a reference at the start of s: n is its length, 0 for
// none. The short form must be followed by a blank, a comma, ) or nothing.
func reference(s string) (name, args string, n int) {
	if len(s) > 1 && s[1] == '{' {
		end := strings.IndexByte(s, '}')
		if end < 0 {
			return "", "", 0
		}
		inner := s[2:end]
		k := nameEnd(inner)
		if k == 0 || k < len(inner) && strings.IndexByte(blanks, inner[k]) < 0 {
			return "", "", 0
		}
		return inner[:k], strings.TrimSpace(inner[k:]), end + 1
	}
	k := nameEnd(s[1:])
	if k == 0 || k+1 < len(s) && strings.IndexByte(" \t,)", s[k+1]) < 0 {
		return "", "", 0
	}
	return s[1 : k+1], "", k + 1
}

// value gives what a reference stands for; an unknown one stays as written.
func (r *reader) value(name, args, verbatim string) (string, []string, *definition, bool) {
	if def, ok := r.defs[name]; ok && args == "" {
		return def.lines[0], def.lines[1:], def, true
	}
	braced := verbatim[1] == '{'
	switch name {
	case "_PWD":
		if dir := r.stackDir(); dir != "" {
			return dir, nil, nil, true
		}
	case "_INSTANCE":
		return r.opt.NodeID, nil, nil, true
	case "_HASH":
		return "#", nil, nil, true
	case "_BANG":
		return "!", nil, nil, true
	case "_ENV":
		if braced && args != "" && r.opt.Env != nil {
			return r.opt.Env(args), nil, nil, true
		}
	case "_RANDOM":
		lo, hi := 0, 32767
		f := strings.Fields(args)
		if len(f) > 0 {
			lo, _ = strconv.Atoi(f[0])
		}
		if len(f) > 1 {
			hi, _ = strconv.Atoi(f[1])
		}
		if hi < lo {
			hi = lo
		}
		if r.noChance {
			return strconv.Itoa(lo), nil, nil, true
		}
		return strconv.Itoa(lo + rand.IntN(hi-lo+1)), nil, nil, true
	}
	return "", nil, nil, false
}

func (r *reader) stackDir() string {
	if len(r.stack) == 0 {
		return ""
	}
	f := r.stack[len(r.stack)-1]
	if src, ok := r.src.(interface{ dirOf(name string) string }); ok {
		return src.dirOf(f.name)
	}
	return f.dir()
}

// repeat handles a line that starts with ~SEQ(...) or ~LST(...): it queues the
// rest of the line once for each value. Inner ones are expanded when their
// line is read.
func (r *reader) repeat(q queued) bool {
	var rows [][]string
	var names []string
	switch {
	case strings.HasPrefix(q.text, "~SEQ"), strings.HasPrefix(q.text, "~LST"):
	default:
		return false
	}
	open, end := strings.IndexByte(q.text, '('), strings.IndexByte(q.text, ')')
	if open < 4 || end < open {
		r.problem(q.pos, Error, General, "~SEQ or ~LST without its ( )", "~SEQ(var, start, step, end) or ~LST(var, value, ...)")
		return true
	}
	// Parameters may come from definitions; the rest of the line must keep its
	// references, which may be to the variable.
	params := queued{text: q.text[open+1 : end], pos: q.pos}
	inner := r.substitute(&params)
	if r.stopped {
		return true
	}
	var bad string
	if q.text[1] == 'S' {
		names, rows, bad = sequence(q.text[4:open], inner, maxExpanded-r.expanded)
	} else {
		names, rows, bad = list(inner)
	}
	if bad != "" {
		r.problem(q.pos, Error, General, bad, "~SEQ(var, start, step, end) or ~LST(var, value, ...)")
		return true
	}
	rest := strings.TrimLeft(q.text[end+1:], blanks)
	for n := len(rows) - 1; n >= 0; n-- {
		row, line := rows[n], rest
		for i, name := range names {
			v := ""
			if i < len(row) {
				v = row[i]
			}
			line = replaceVar(line, name, v)
		}
		if !r.spend(len(line)+expandedLine, q.pos, q.text[:4]) {
			return true
		}
		r.queue = append(r.queue, queued{text: line, pos: q.pos, chain: q.chain, depth: q.depth + 1})
	}
	return true
}

// replaceVar replaces references to one variable in a line.
func replaceVar(line, name, value string) string {
	for i := 0; i < len(line); {
		k := strings.IndexByte(line[i:], '$')
		if k < 0 {
			break
		}
		i += k
		got, args, n := reference(line[i:])
		if n == 0 || got != name || args != "" {
			i++
			continue
		}
		line = line[:i] + value + line[i+n:]
		i += len(value)
	}
	return line
}

func sequence(kind, params string, budget int) (names []string, rows [][]string, bad string) {
	f := strings.Split(params, ",")
	if len(f) < 2 || len(f) > 4 {
		return nil, nil, fmt.Sprintf("~SEQ has %d parameters, not 2 to 4", len(f))
	}
	for i := range f {
		f[i] = strings.TrimSpace(f[i])
	}
	var n []int64
	for _, s := range f[1:] {
		v, err := strconv.ParseInt(s, 0, 64)
		if err != nil || v > 1<<40 || v < -1<<40 {
			return nil, nil, fmt.Sprintf("~SEQ: %q is not a number", s)
		}
		n = append(n, v)
	}
	start, step, end := int64(1), int64(1), n[len(n)-1]
	if len(n) > 1 {
		start = n[0]
	} else if end < 0 {
		start = -1
	}
	if len(n) > 2 {
		step = n[1]
	} else if end < start {
		step = -1
	}
	if step == 0 || (end-start)/step < 0 {
		return nil, nil, fmt.Sprintf("~SEQ from %d to %d cannot go by %d", start, end, step)
	}
	format := "%d"
	if strings.Contains(kind, "x") {
		format = "%x"
	}
	for v := start; step > 0 && v <= end || step < 0 && v >= end; v += step {
		rows = append(rows, []string{fmt.Sprintf(format, v)})
		if budget -= expandedLine; budget < 0 {
			break
		}
	}
	return f[:1], rows, ""
}

// list parses "var, a, b" and "{v,w}, {a,b}, {c}".
func list(params string) (names []string, rows [][]string, bad string) {
	var fields []string
	depth, start := 0, 0
	for i := 0; i <= len(params); i++ {
		switch {
		case i == len(params), params[i] == ',' && depth == 0:
			fields = append(fields, strings.TrimSpace(params[start:i]))
			start = i + 1
		case params[i] == '{':
			depth++
		case params[i] == '}':
			depth--
		}
	}
	tuple := func(s string) []string {
		if in, ok := strings.CutPrefix(s, "{"); ok {
			f := strings.Split(strings.TrimSuffix(in, "}"), ",")
			for i := range f {
				f[i] = strings.TrimSpace(f[i])
			}
			return f
		}
		return []string{s}
	}
	if len(fields) < 2 || fields[0] == "" {
		return nil, nil, "~LST needs a variable and values"
	}
	for _, f := range fields[1:] {
		rows = append(rows, tuple(f))
	}
	return tuple(fields[0]), rows, ""
}
