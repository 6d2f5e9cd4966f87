package config

import (
	"slices"
	"strings"
	"sync"
)

// Tier says how common a keyword is: A in ordinary configurations, B with
// serious operators, C rare or legacy.
type Tier byte

const (
	A Tier = 'A'
	B Tier = 'B'
	C Tier = 'C'
)

// Support says what becomes of a keyword that is read.
type Support string

const (
	Works    Support = "works"    // has its effect
	Accepted Support = "accepted" // read into the model, no effect yet
	Refused  Support = "refused"  // cannot be had; the statement is an error
)

// Keyword is one row of the table that the parser, the documentation and
// `config keywords` share.
type Keyword struct {
	Section string  `json:"section"` // enclosing blocks joined by "/", "root" at the top
	Name    string  `json:"keyword"`
	Tier    Tier    `json:"-"`
	Support Support `json:"state"`
	Since   string  `json:"since,omitempty"` // keepalived version when newer than 2.2.7
	Args    string  `json:"args,omitempty"`  // what follows the keyword
	Test    string  `json:"test,omitempty"`  // the Go test that observes the effect of a working keyword
	Ours    bool    `json:"ours,omitempty"`  // ours alone; also as "#keepmesh: KEYWORD ARGS"

	set      func(*decoder, *stmt) // a statement, or the opening of a block
	sub      string                // section inside the block; empty for none
	done     func(*decoder)        // the block ended
	lines    func(*decoder, *stmt) // a block of plain lines: called for each
	recorded bool                  // kept in its block's Seen
	word     bool                  // a word of a line: for the documentation only
	bare     string                // what keepalived makes of a missing value: "" exits, "report" or "quiet"
}

// block says whether the keyword is followed by braces.
func (k *Keyword) block() bool { return k.sub != "" || k.lines != nil }

// keywordTable is the table with its index by section and name.
type keywordTable struct {
	rows    []Keyword
	section map[string]map[string]*Keyword
}

var theTable = sync.OnceValue(func() *keywordTable {
	t := &keywordTable{section: map[string]map[string]*Keyword{}}
	for _, part := range []func() []Keyword{
		rootKeywords, globalKeywords, groupKeywords, instanceKeywords, ourKeywords,
		scriptKeywords, trackerKeywords, serverKeywords, realServerKeywords, checkerKeywords, lineWords,
	} {
		t.rows = append(t.rows, part()...)
	}
	for i := range t.rows {
		k := &t.rows[i]
		k.Support = Accepted
		k.recorded = !strings.HasPrefix(k.Section, "virtual_server/real_server") || lvsRecorded[k.Name]
		if t.section[k.Section] == nil {
			t.section[k.Section] = map[string]*Keyword{}
		}
		t.section[k.Section][k.Name] = k
	}
	t.markEffects(effects)
	return t
})

// lvsRecorded are the keywords of real servers and checkers whose presence
// matters: these blocks may be very many.
var lvsRecorded = map[string]bool{"smtp_alert": true, "track_file": true, "name": true}

// Keywords gives every keyword of both files' languages, in the order of the
// table.
func Keywords() []Keyword { return slices.Clone(theTable().rows) }

// suggest gives the keyword of the section that is nearest to a misspelt one,
// or the section in which the word would be right; empty when neither is.
func (t *keywordTable) suggest(section, word string) string {
	best, bestD := "", max(1, min(len(word)/3, 3))+1
	for name := range t.section[section] {
		d := editDistance(strings.ToLower(word), strings.ToLower(name), bestD+1)
		if d < bestD || d == bestD && best != "" && name < best {
			best, bestD = name, d
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	var homes []string
	for i := range t.rows {
		if t.rows[i].Name == word && !t.rows[i].word && !slices.Contains(homes, t.rows[i].Section) {
			homes = append(homes, t.rows[i].Section)
		}
	}
	if len(homes) > 0 && len(homes) <= 3 {
		return "belongs into " + strings.Join(homes, " or ")
	}
	return ""
}

// editDistance counts insertions, deletions, replacements and swaps of
// neighbours; anything at or above limit may be reported as limit.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit || len(a) > 64 || len(b) > 64 {
		return limit
	}
	var two, one, cur [66]int
	for j := range len(b) + 1 {
		one[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(one[j]+1, cur[j-1]+1, one[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], two[j-2]+1)
			}
		}
		two, one = one, cur
	}
	return min(one[len(b)], limit)
}
