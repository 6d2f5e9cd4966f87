package config

import (
	"testing"
)

func TestTableHasEveryKeywordOnce(t *testing.T) {
	seen := map[string]bool{}
	n := 0
	for _, k := range Keywords() {
		id := k.Section + "/" + k.Name
		if seen[id] {
			t.Errorf("%s stands twice in the table", id)
		}
		seen[id] = true
		if k.set == nil && k.lines == nil && k.sub == "" {
			t.Errorf("%s is neither decoded nor a block", id)
		}
		if !k.Ours {
			n++
		}
	}
	if n != 531 {
		t.Errorf("the table has %d keywords of keepalived, want 531", n)
	}
}
