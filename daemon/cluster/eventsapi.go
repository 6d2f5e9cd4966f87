package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/keepmesh/keepmesh/daemon/events"
	"github.com/keepmesh/keepmesh/mesh"
)

// eventQuery is what a reader of events asks for.
type eventQuery struct {
	after  uint64
	from   time.Time
	follow bool
}

func parseEventQuery(v url.Values) eventQuery {
	var q eventQuery
	q.after, _ = strconv.ParseUint(v.Get("after"), 10, 64)
	q.from, _ = time.Parse(time.RFC3339Nano, v.Get("from"))
	q.follow = v.Get("follow") != ""
	return q
}

// events answers with this node's, one JSON object a line; with follow=1 it
// goes on until the asker leaves.
func (s *server) events(w http.ResponseWriter, r *http.Request) {
	out := newLines(w)
	_ = s.ownEvents(r.Context(), parseEventQuery(r.URL.Query()), out.write)
}

func (s *server) ownEvents(ctx context.Context, q eventQuery, each func(...events.Event) error) error {
	for {
		list, more := s.p.history.Since(q.after, q.from)
		if len(list) > 0 {
			q.after = list[len(list)-1].Seq
			if err := each(list...); err != nil {
				return err
			}
		}
		if !q.follow {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// clusterEvents joins the events of all members that answer: what there is in
// the order of time, then, with follow=1, each as it comes.
func (s *server) clusterEvents(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	q := parseEventQuery(r.URL.Query())
	past := eventQuery{after: q.after, from: q.from}
	var mu sync.Mutex
	var all []events.Event
	collect := func(list ...events.Event) error {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, list...)
		return nil
	}
	_ = s.ownEvents(ctx, past, collect)
	others := s.p.mesh.alive()
	s.eachNode(ctx, others, freshness*3, past, collect)
	slices.SortStableFunc(all, func(a, b events.Event) int { return a.At.Compare(b.At) })
	out := newLines(w)
	if out.write(all...) != nil || !q.follow {
		return
	}
	// From here on each node's own numbers say what is new.
	last := map[string]uint64{}
	for _, e := range all {
		last[e.Node] = max(last[e.Node], e.Seq)
	}
	fresh := func(list ...events.Event) error {
		mu.Lock()
		defer mu.Unlock()
		return out.write(slices.DeleteFunc(list, func(e events.Event) bool { return e.Seq <= last[e.Node] })...)
	}
	now := eventQuery{from: q.from, follow: true}
	go s.eachNode(ctx, others, 0, now, fresh)
	_ = s.ownEvents(ctx, now, fresh)
}

// eachNode reads the events of other nodes, all at once, for at most limit
// where that is not zero.
func (s *server) eachNode(ctx context.Context, nodes []mesh.Node, limit time.Duration, q eventQuery, each func(...events.Event) error) {
	if len(nodes) == 0 {
		return
	}
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	transport := s.p.mesh.port.HTTPTransport()
	defer transport.CloseIdleConnections()
	asking := &http.Client{Transport: transport}
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Go(func() {
			if err := nodeEvents(ctx, asking, n.Addr.String(), q, each); err != nil && ctx.Err() == nil {
				s.p.log.Debug("events of another node", "node", n.Name, "err", err)
			}
		})
	}
	wg.Wait()
}

func nodeEvents(ctx context.Context, c *http.Client, addr string, q eventQuery, each func(...events.Event) error) error {
	v := url.Values{"after": {strconv.FormatUint(q.after, 10)}, "from": {q.from.Format(time.RFC3339Nano)}}
	if q.follow {
		v.Set("follow", "1")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/v1/events?"+v.Encode(), nil)
	if err != nil {
		return err
	}
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", addr, res.Status)
	}
	scan := bufio.NewScanner(res.Body)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		var e events.Event
		if err := json.Unmarshal(scan.Bytes(), &e); err != nil {
			return fmt.Errorf("reading an event of %s: %w", addr, err)
		}
		if err := each(e); err != nil {
			return err
		}
	}
	return scan.Err()
}

// alive are the other members that may answer. It is safe on nil.
func (m *meshNode) alive() []mesh.Node {
	if m == nil {
		return nil
	}
	view := m.mesh.View()
	return slices.DeleteFunc(view.Nodes, func(n mesh.Node) bool {
		return n.UUID == view.Self || n.Status != mesh.Alive && n.Status != mesh.Suspect
	})
}

// lines writes one JSON object a line and sends each batch at once.
type lines struct {
	enc   *json.Encoder
	flush func()
}

func newLines(w http.ResponseWriter) *lines {
	w.Header().Set("Content-Type", "application/x-ndjson")
	l := &lines{enc: json.NewEncoder(w), flush: func() {}}
	if f, ok := w.(http.Flusher); ok {
		l.flush = f.Flush
	}
	l.flush() // the asker learns that it is heard before anything happens
	return l
}

func (l *lines) write(list ...events.Event) error {
	for _, e := range list {
		if err := l.enc.Encode(e); err != nil {
			return err
		}
	}
	l.flush()
	return nil
}
