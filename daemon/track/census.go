package track

import (
	"bytes"
	"os"
	"slices"
	"strconv"
)

// census reads the processes under root, and knows from events what /proc does
// not say in time: a process is still there for a moment after it has told of
// its end.
type census struct {
	root    string
	counted map[int]bool // matched something at the last count, or since
	ended   map[int]bool // have told of their end
}

func newCensus(root string) census {
	return census{root: root, counted: map[int]bool{}, ended: map[int]bool{}}
}

// note takes an event and says whether it may have changed a count.
func (c *census) note(ev procEvent, tracked map[string]*process) bool {
	switch ev.what {
	case procLost:
		return true
	case procFork:
		delete(c.ended, ev.pid)
		if c.counted[ev.parent] { // the child has its parent's name until it executes
			c.counted[ev.pid] = true
			return true
		}
	case procExec, procName:
		if c.counted[ev.pid] {
			return true
		}
		name, cmdline, ok := c.process(strconv.Itoa(ev.pid), true)
		if !ok {
			return false
		}
		for _, t := range tracked {
			if t.matches(name, cmdline) {
				c.counted[ev.pid] = true
				return true
			}
		}
	case procExit:
		if c.counted[ev.pid] {
			c.ended[ev.pid] = true
			return true
		}
	}
	return false
}

// count reads all processes once and counts for each of the tracked. Zombies do
// not count.
func (c *census) count(tracked []*process) []int {
	counts := make([]int, len(tracked))
	cmdlines := slices.ContainsFunc(tracked, func(p *process) bool { return !p.byName() })
	dir, err := os.Open(c.root)
	if err != nil {
		return counts
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	clear(c.counted)
	ended := map[int]bool{}
	for _, text := range names {
		pid, err := strconv.Atoi(text)
		if err != nil {
			continue
		}
		name, cmdline, ok := c.process(text, cmdlines)
		if !ok {
			continue
		}
		if c.ended[pid] {
			ended[pid] = true
			continue
		}
		for i, t := range tracked {
			if t.matches(name, cmdline) {
				counts[i]++
				c.counted[pid] = true
			}
		}
	}
	c.ended = ended
	return counts
}

// process reads the name and, if asked for, the command line of one process;
// false: it has ended.
func (c *census) process(pid string, withCmdline bool) (name, cmdline []byte, ok bool) {
	stat, err := os.ReadFile(c.root + "/" + pid + "/stat")
	if err != nil {
		return nil, nil, false
	}
	// The name may itself hold parentheses: it ends at the last one.
	from, to := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if from < 0 || to < from || to+2 >= len(stat) || stat[to+2] == 'Z' || stat[to+2] == 'X' {
		return nil, nil, false
	}
	if withCmdline {
		cmdline, _ = os.ReadFile(c.root + "/" + pid + "/cmdline")
	}
	return stat[from+1 : to], cmdline, true
}
