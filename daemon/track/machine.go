package track

// Transition is what one result of a script changed.
type Transition uint8

// The transitions. Every script's first result is Up or Down.
const (
	None Transition = iota
	Up
	Down
)

// Script is keepalived's counter of one vrrp_script. Make it with NewScript.
//
// The counter r counts 0 to rise-1 while down and rise to rise+fall-1 while
// up. The first result alone decides, except that with init_fail the script
// counts as failed so far and needs rise successes.
type Script struct {
	rise, fall int
	r          int
	known      bool
}

// NewScript returns the machine before the first result. Values below 1 of
// rise (successes until up) and fall (failures until down) count as 1.
// initFail is the keyword init_fail.
func NewScript(rise, fall int, initFail bool) Script {
	s := Script{rise: max(rise, 1), fall: max(fall, 1)}
	if !initFail {
		s.r = s.rise - 1
	}
	return s
}

// Result takes the result of one run.
func (s *Script) Result(ok bool) Transition {
	first := !s.known
	s.known = true
	if !ok {
		if s.r > s.rise {
			s.r--
			return None
		}
		fell := s.r == s.rise
		s.r = 0
		if fell || first {
			return Down
		}
		return None
	}
	switch {
	case s.r < s.rise-1:
		s.r++
		if first {
			return Down
		}
		return None
	case s.r == s.rise-1:
		s.r = s.rise + s.fall - 1
		return Up
	}
	s.r = s.rise + s.fall - 1
	return None
}

// State tells whether the script is up, and whether any run has ended yet;
// before that up means nothing.
func (s *Script) State() (up, known bool) { return s.r >= s.rise, s.known }

// Progress tells how many results in a row have spoken against the present
// state and how many change it.
func (s *Script) Progress() (have, need int) {
	if s.r >= s.rise {
		return s.rise + s.fall - 1 - s.r, s.fall
	}
	return s.r, s.rise
}
