package vrrp_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepmesh/keepmesh/vrrp"
)

var update = flag.Bool("update", false, "rewrite the traces in testdata")

// TestTraces runs the scenarios in testdata. A file is a row of blocks, parted
// by blank lines: commands, a line "----", and what they brought about.
func TestTraces(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no traces: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runTrace(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("trace differs (-want +got); -update accepts it:\n%s", diff)
			}
		})
	}
}

func runTrace(t *testing.T, text string) string {
	s := &script{lan: newLAN()}
	var blocks []string
	s.lan.trace = func(line string) { fmt.Fprintln(&s.out, line) }
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		commands, _, traced := strings.Cut(block, "----")
		commands = strings.TrimSuffix(commands, "\n")
		if !traced {
			blocks = append(blocks, block)
			if !strings.HasPrefix(block, "#") {
				t.Fatalf("a block without ----:\n%s", block)
			}
			continue
		}
		s.out.Reset()
		for line := range strings.SplitSeq(commands, "\n") {
			if line == "" || line[0] == '#' {
				continue
			}
			if err := s.command(strings.Fields(line)); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
		}
		out := s.out.String()
		if out == "" {
			out = "nothing\n"
		}
		blocks = append(blocks, commands+"\n----\n"+strings.TrimSuffix(out, "\n"))
	}
	return strings.Join(blocks, "\n\n") + "\n"
}

type script struct {
	lan *lan
	out strings.Builder
}

// command runs one line: a verb, a node, an instance, then key=value words.
func (s *script) command(words []string) error {
	verb, rest := words[0], words[1:]
	switch verb {
	case "run":
		d, err := time.ParseDuration(rest[0])
		s.lan.run(d)
		return err
	case "sleep": // nobody's loop runs
		d, err := time.ParseDuration(rest[0])
		s.lan.now = s.lan.now.Add(d)
		return err
	case "cut":
		s.lan.cut[[2]string{rest[0], rest[1]}] = true
		return nil
	case "heal":
		clear(s.lan.cut)
		return nil
	case "mesh":
		d, err := time.ParseDuration(rest[0])
		s.lan.mesh = d
		return err
	}
	n := s.lan.node(rest[0])
	rest = rest[1:]
	switch verb {
	case "start":
		n.step(&vrrp.Start{})
	case "stop":
		n.step(&vrrp.Stop{})
	case "crash":
		n.dead = true
	case "answer":
		n.answer = rest[0]
	case "commit":
		return n.commit()
	case "refused":
		err := n.commit()
		fmt.Fprintln(&s.out, err)
	case "delay":
		d, err := time.ParseDuration(rest[0])
		n.cfg.StartupDelay = d
		return err
	case "group":
		return s.group(n, rest)
	case "drop":
		n.cfg.Instances = slices.DeleteFunc(n.cfg.Instances, func(c vrrp.InstanceConfig) bool { return c.Name == rest[0] })
		n.cfg.Groups = slices.DeleteFunc(n.cfg.Groups, func(c vrrp.GroupConfig) bool { return c.Name == rest[0] })
	case "instance":
		return s.instance(n, rest[0], rest[1:])
	case "view":
		s.view(n, rest[0])
	case "track":
		return s.track(n, rest)
	default:
		return s.event(n, verb, rest[0], rest[1:])
	}
	return nil
}

func (s *script) view(n *node, name string) {
	v := n.view(name)
	at := func(i vrrp.Instant) string {
		if i == 0 {
			return "-"
		}
		return fmt.Sprintf("%.4fs", i.Sub(epoch).Seconds())
	}
	fmt.Fprintf(&s.out, "%s %s %s since %s (%s), priority %d of %d\n", n.name, name, v.State, at(v.Since), v.Reason, v.Effective, v.Priority)
	fmt.Fprintf(&s.out, "  down at %s, advert at %s, preempt at %s, until %s, learnt %s\n", at(v.DownAt), at(v.AdvertAt), at(v.PreemptAt), at(v.Until), v.LearntInterval)
	for w, h := range v.Heard {
		if h.At != 0 {
			fmt.Fprintf(&s.out, "  heard on %s: %s priority %d at %s\n", wireNames[w], h.Source, h.Priority, at(h.At))
		}
	}
	for _, c := range v.Contributions {
		fmt.Fprintf(&s.out, "  %s weight %d: %+d fault=%t\n", c.ID, c.Weight, c.Amount, c.Fault)
	}
	if len(v.Faults)+len(v.Waiting) > 0 {
		fmt.Fprintf(&s.out, "  faults %q waiting %q\n", v.Faults, v.Waiting)
	}
	if v.Verdict != "" {
		fmt.Fprintf(&s.out, "  verdict %s\n", v.Verdict)
	}
}

// track sets a condition: track NODE ID up|down|unknown|NUMBER [cause...]
func (s *script) track(n *node, words []string) error {
	ev := &vrrp.TrackerChanged{ID: vrrp.TrackerID(words[0]), Cause: strings.Join(words[2:], " ")}
	switch words[1] {
	case "up":
		ev.State = vrrp.Up
	case "down":
		ev.State = vrrp.Down
	case "unknown":
	default:
		value, err := strconv.Atoi(words[1])
		if err != nil {
			return err
		}
		ev.State, ev.Value = vrrp.Up, value
	}
	n.step(ev)
	return nil
}

// parseTrack reads ID/WEIGHT, with /reverse and /value behind it.
func parseTrack(text string) (vrrp.Track, error) {
	parts := strings.Split(text, "/")
	t := vrrp.Track{ID: vrrp.TrackerID(parts[0])}
	var err error
	for _, p := range parts[1:] {
		switch p {
		case "reverse":
			t.Reverse = true
		case "value":
			t.Value = true
		default:
			t.Weight, err = strconv.Atoi(p)
		}
	}
	return t, err
}

func (s *script) group(n *node, words []string) error {
	g := vrrp.GroupConfig{Name: words[0]}
	for _, w := range words[1:] {
		key, value, ok := strings.Cut(w, "=")
		switch {
		case w == "weights":
			g.TrackWeights = true
		case key == "track" && ok:
			t, err := parseTrack(value)
			if err != nil {
				return err
			}
			g.Trackers = append(g.Trackers, t)
		default:
			g.Members = append(g.Members, w)
		}
	}
	n.cfg.Groups = slices.DeleteFunc(n.cfg.Groups, func(c vrrp.GroupConfig) bool { return c.Name == g.Name })
	n.cfg.Groups = append(n.cfg.Groups, g)
	return nil
}

func (s *script) instance(n *node, name string, words []string) error {
	c := n.config(name)
	if c == nil {
		n.cfg.Instances = append(n.cfg.Instances, instance(name, 51, 100, n.source))
		c = n.config(name)
	}
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		if err := set(c, key, value); err != nil {
			return fmt.Errorf("%s: %w", w, err)
		}
	}
	return nil
}

func set(c *vrrp.InstanceConfig, key, value string) (err error) {
	number := func() int {
		v, e := strconv.Atoi(value)
		err = e
		return v
	}
	duration := func() time.Duration {
		v, e := time.ParseDuration(value)
		err = e
		return v
	}
	switch key {
	case "vrid":
		c.Key.VRID = uint8(number())
	case "dev":
		c.Key.Interface = value
	case "prio":
		c.Priority = uint8(number())
	case "v":
		c.Version = uint8(number())
	case "int":
		c.AdvertInterval = duration()
	case "nopreempt":
		c.NoPreempt = value != "off"
	case "preempt_delay":
		c.PreemptDelay = duration()
	case "overslept":
		c.TimerExpiredBackup = uint8(number())
	case "higher_send":
		c.HigherPrioSendAdvert = true
	case "lower_quiet":
		c.LowerPrioNoAdvert = true
	case "ask":
		c.AskPermit = true
	case "refresh":
		c.Announce.Refresh = duration()
	case "src":
		c.Source = netip.Addr{}
		if value != "" {
			c.Source, err = netip.ParseAddr(value)
		}
	case "track":
		var t vrrp.Track
		t, err = parseTrack(value)
		c.Trackers = append(c.Trackers, t)
	case "untrack":
		c.Trackers = nil
	default:
		return fmt.Errorf("unknown setting")
	}
	return err
}

// event sends what a shell would: VERB NODE INSTANCE key=value ...
func (s *script) event(n *node, verb, name string, words []string) error {
	id, ok := n.ids[name]
	if !ok {
		return fmt.Errorf("no instance %s", name)
	}
	args := map[string]string{}
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		args[key] = value
	}
	number, _ := strconv.Atoi(args["prio"])
	wait, _ := time.ParseDuration(args["retry"])
	source, _ := netip.ParseAddr(args["from"])
	switch verb {
	case "advert":
		ev := &vrrp.Advert{Instance: id, Source: source, Priority: uint8(number), Interval: n.config(name).AdvertInterval}
		if args["wire"] == "mesh" {
			ev.Wire = vrrp.Mesh
		}
		if v := args["int"]; v != "" {
			ev.Interval, _ = time.ParseDuration(v)
		}
		n.step(ev)
	case "permit":
		ev := &vrrp.Permit{Instance: id, Epoch: 7}
		if v := args["for"]; v != "" {
			d, _ := time.ParseDuration(v)
			ev.Until = s.lan.now.Add(d)
		}
		n.step(ev)
	case "refuse":
		n.step(&vrrp.Refuse{Instance: id, Verdict: "vetoed", Retry: wait})
	case "revoke":
		n.step(&vrrp.Revoke{Instance: id, Reason: "lease lost"})
	case "takeover":
		n.step(&vrrp.Takeover{Instance: id, Reason: "holder is wedged"})
	case "lost":
		n.step(&vrrp.AddressLost{Instance: id, What: "10.0.0.100"})
	case "holdfailed":
		n.step(&vrrp.HoldFailed{Instance: id, Reason: "address refused", Retry: wait})
	case "source":
		n.step(&vrrp.SourceChanged{Instance: id, Source: source})
	default:
		return fmt.Errorf("unknown command")
	}
	return nil
}
