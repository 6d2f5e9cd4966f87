package track

import "sync"

// outbox hands events to one function from one goroutine, so that a slow
// receiver blocks neither the watchers nor Apply. A newer event of an id
// replaces one that still waits: what matters is the present state, and the
// box stays as small as the number of ids.
type outbox[T any] struct {
	mu     sync.Mutex
	order  []string
	events map[string]T
	wake   chan struct{}
	quit   chan struct{}
}

func newOutbox[T any](deliver func(id string, event T)) *outbox[T] {
	o := &outbox[T]{events: map[string]T{}, wake: make(chan struct{}, 1), quit: make(chan struct{})}
	go o.run(deliver)
	return o
}

func (o *outbox[T]) put(id string, event T) {
	o.mu.Lock()
	if _, waits := o.events[id]; !waits {
		o.order = append(o.order, id)
	}
	o.events[id] = event
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// drop forgets a waiting event of an id that is no longer configured.
func (o *outbox[T]) drop(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, waits := o.events[id]; !waits {
		return
	}
	delete(o.events, id)
	for i, other := range o.order {
		if other == id {
			o.order = append(o.order[:i], o.order[i+1:]...)
			break
		}
	}
}

func (o *outbox[T]) take() (id string, event T, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.order) == 0 {
		return id, event, false
	}
	id = o.order[0]
	o.order = o.order[1:]
	event = o.events[id]
	delete(o.events, id)
	return id, event, true
}

func (o *outbox[T]) run(deliver func(string, T)) {
	for {
		select {
		case <-o.quit:
			return
		case <-o.wake:
		}
		for {
			select {
			case <-o.quit:
				return
			default:
			}
			id, event, ok := o.take()
			if !ok {
				break
			}
			deliver(id, event)
		}
	}
}

// close ends the delivery; an event being delivered may still be under way.
func (o *outbox[T]) close() { close(o.quit) }
