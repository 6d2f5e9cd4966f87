package speaker

import "github.com/keepmesh/keepmesh/vrrp"

// vetoHeap orders members by vetoAt; members without a deadline are not in it.
type vetoHeap []*member

func (h *vetoHeap) top() *member {
	if len(*h) == 0 {
		return nil
	}
	return (*h)[0]
}

// first is the earliest instant, zero for none.
func (h *vetoHeap) first() vrrp.Instant {
	if m := h.top(); m != nil {
		return m.vetoAt
	}
	return 0
}

// set moves a member to its new instant; zero takes it out.
func (h *vetoHeap) set(m *member, at vrrp.Instant) {
	if at == 0 {
		h.remove(m)
		return
	}
	if m.heapPos < 0 {
		m.heapPos = len(*h)
		*h = append(*h, m)
	}
	m.vetoAt = at
	h.up(m.heapPos)
	h.down(m.heapPos)
}

func (h *vetoHeap) remove(m *member) {
	n := m.heapPos
	m.vetoAt = 0
	if n < 0 {
		return
	}
	last := len(*h) - 1
	h.swap(n, last)
	*h = (*h)[:last]
	m.heapPos = -1
	if n < last {
		h.up(n)
		h.down(n)
	}
}

func (h *vetoHeap) swap(a, b int) {
	s := *h
	s[a], s[b] = s[b], s[a]
	s[a].heapPos, s[b].heapPos = a, b
}

func (h *vetoHeap) up(n int) {
	for n > 0 {
		parent := (n - 1) / 2
		if (*h)[parent].vetoAt <= (*h)[n].vetoAt {
			return
		}
		h.swap(n, parent)
		n = parent
	}
}

func (h *vetoHeap) down(n int) {
	for {
		least := n
		for child := 2*n + 1; child <= 2*n+2 && child < len(*h); child++ {
			if (*h)[child].vetoAt < (*h)[least].vetoAt {
				least = child
			}
		}
		if least == n {
			return
		}
		h.swap(n, least)
		n = least
	}
}
