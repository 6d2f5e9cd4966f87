package status

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/keepmesh/keepmesh/daemon/ipc"
)

// Explain prints why an instance is in its state on each node.
func (s *Status) Explain(w io.Writer, i *Instance) {
	switch {
	case len(i.Owners) > 1:
		fmt.Fprintf(w, "%s is held by %s at once.\n", i.Name, strings.Join(i.Owners, " and "))
	case i.Owner != "":
		fmt.Fprintf(w, "%s holds %s.\n", i.Owner, i.Name)
	case i.Master != "":
		fmt.Fprintf(w, "%s holds %s; it is no member of this mesh.\n", i.Master, i.Name)
	default:
		fmt.Fprintf(w, "nobody is known to hold %s.\n", i.Name)
	}
	if i.State != "" {
		fmt.Fprintf(w, "  %s  %s  %s%s\n", s.Node, i.State, sumText(i.Priority, i.EffectivePriority, i.terms()), because(i.Reason))
	}
	for n := range i.Peers {
		p := &i.Peers[n]
		fmt.Fprintf(w, "  %s  %s  %s%s", p.Node, p.State, sumText(p.Priority, p.EffectivePriority, termTexts(p.Terms)), because(p.Reason))
		if heard := heardText(p); heard != "" {
			fmt.Fprintf(w, "   %s hears it: %s", s.Node, heard)
		}
		fmt.Fprintln(w)
	}
	if i.Fencing.Text != "" {
		fmt.Fprintf(w, "Verdict on %s: %s\n", s.Node, i.Fencing.Text)
	}
	if next, ok := i.successor(s.Node); ok {
		low := time.Duration(i.DownMS-i.AdvertMS) * time.Millisecond
		high := time.Duration(i.DownMS) * time.Millisecond
		if next == s.Node {
			fmt.Fprintf(w, "If %s dies now: %s takes over after %.1f to %.1f s.\n", i.Owner, next, low.Seconds(), high.Seconds())
		} else {
			fmt.Fprintf(w, "If %s dies now: %s takes over after its own timer.\n", i.Owner, next)
		}
	}
}

func (i *Instance) terms() []string { return termTexts(i.Terms) }

// successor is the backup with the highest effective priority.
func (i *Instance) successor(self string) (string, bool) {
	best, name := 0, ""
	if i.State == "BACKUP" {
		best, name = i.EffectivePriority, self
	}
	for n := range i.Peers {
		if p := &i.Peers[n]; p.State == "BACKUP" && p.EffectivePriority > best {
			best, name = p.EffectivePriority, p.Node
		}
	}
	return name, name != "" && i.Owner != ""
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return "  (" + reason + ")"
}

// sumText prints "97 = 100 base - 3 (script:chk_nginx: exit 1)".
func sumText(base, effective int, terms []string) string {
	text := fmt.Sprintf("%d = %d base", effective, base)
	for _, t := range terms {
		text += " " + t
	}
	return text
}

func heardText(p *Peer) string {
	var parts []string
	if p.HeardMS != nil {
		parts = append(parts, "VRRP "+age(time.Duration(*p.HeardMS)*time.Millisecond)+" ago")
	}
	if p.MeshHeardMS != nil {
		parts = append(parts, "mesh "+age(time.Duration(*p.MeshHeardMS)*time.Millisecond)+" ago")
	}
	return strings.Join(parts, ", ")
}

func termTexts(terms []ipc.Term) []string {
	var out []string
	for _, t := range terms {
		cause := ""
		if t.Cause != "" {
			cause = ": " + t.Cause
		}
		switch {
		case t.Fault:
			out = append(out, fmt.Sprintf("[FAULT by %s%s]", t.Tracker, cause))
		case t.Amount < 0:
			out = append(out, fmt.Sprintf("- %d (%s%s)", -t.Amount, t.Tracker, cause))
		case t.Amount > 0:
			out = append(out, fmt.Sprintf("+ %d (%s%s)", t.Amount, t.Tracker, cause))
		}
	}
	return out
}
