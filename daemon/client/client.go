// Package client speaks to a running daemon by its API socket.
package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/keepmesh/keepmesh/daemon/events"
	"github.com/keepmesh/keepmesh/daemon/status"
)

// SocketName is the API socket's name in the run directory.
const SocketName = "api.sock"

// Failure is the body of every answer that is not a success.
type Failure struct {
	Error string `json:"error"`
}

// Value is one replicated value as a node knows it.
type Value struct {
	Key      string    `json:"key"`
	Value    string    `json:"value"`
	Revision uint64    `json:"revision"`
	AsOf     time.Time `json:"as_of"`
}

// Client asks one daemon.
type Client struct {
	socket string
	http   *http.Client
}

// New makes a client of the daemon with that run directory. It does no I/O.
func New(runDir string) *Client {
	socket := filepath.Join(runDir, SocketName)
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}}
}

// do sends a request; an answer that is no success is an error with its text.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, body []byte) (io.ReadCloser, error) {
	u := url.URL{Scheme: "http", Host: "keepmesh", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("no daemon answers at %s: is it running? Another run directory is given with --run-dir", c.socket)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("%s may not be opened by this user: run the command as root", c.socket)
	case err != nil:
		return nil, fmt.Errorf("asking the daemon at %s: %w", c.socket, err)
	}
	if res.StatusCode/100 == 2 {
		return res.Body, nil
	}
	defer res.Body.Close()
	var f Failure
	if err := json.NewDecoder(res.Body).Decode(&f); err != nil || f.Error == "" {
		return nil, fmt.Errorf("the daemon answers %s to %s", res.Status, path)
	}
	return nil, errors.New(f.Error)
}

func (c *Client) get(ctx context.Context, path string, query url.Values, v any) error {
	return c.decode(ctx, http.MethodGet, path, query, nil, v)
}

func (c *Client) decode(ctx context.Context, method, path string, query url.Values, body []byte, v any) error {
	r, err := c.do(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	defer r.Close()
	if v == nil {
		return nil
	}
	return json.NewDecoder(r).Decode(v)
}

// Status asks for the whole cluster.
func (c *Client) Status(ctx context.Context) (status.Status, error) {
	var s status.Status
	return s, c.get(ctx, "/v1/status", nil, &s)
}

// Get reads a value as the node knows it, or, linearizable, as the cluster does.
func (c *Client) Get(ctx context.Context, key string, linearizable bool) (Value, error) {
	q := url.Values{"key": {key}}
	if linearizable {
		q.Set("linearizable", "1")
	}
	var v Value
	return v, c.get(ctx, "/v1/kv", q, &v)
}

// Put writes a value, on the leader wherever it is.
func (c *Client) Put(ctx context.Context, key string, value []byte) (Value, error) {
	var v Value
	return v, c.decode(ctx, http.MethodPut, "/v1/kv", url.Values{"key": {key}}, value, &v)
}

// Delete removes a value.
func (c *Client) Delete(ctx context.Context, key string) error {
	return c.decode(ctx, http.MethodDelete, "/v1/kv", url.Values{"key": {key}}, nil, nil)
}

// Init forms a cluster of this node alone.
func (c *Client) Init(ctx context.Context) error {
	return c.decode(ctx, http.MethodPost, "/v1/cluster/init", nil, nil, nil)
}

// Events calls each with every event of every node that answers from the time
// given on, oldest first; with follow it goes on until ctx is done or each
// fails.
func (c *Client) Events(ctx context.Context, from time.Time, follow bool, each func(events.Event) error) error {
	return c.events(ctx, "/v1/cluster/events", from, follow, each)
}

// NodeEvents is Events of the asked node alone.
func (c *Client) NodeEvents(ctx context.Context, from time.Time, follow bool, each func(events.Event) error) error {
	return c.events(ctx, "/v1/events", from, follow, each)
}

func (c *Client) events(ctx context.Context, path string, from time.Time, follow bool, each func(events.Event) error) error {
	q := url.Values{"from": {from.Format(time.RFC3339Nano)}}
	if follow {
		q.Set("follow", "1")
	}
	r, err := c.do(ctx, http.MethodGet, path, q, nil)
	if err != nil {
		return err
	}
	defer r.Close()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e events.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("reading an event: %w", err)
		}
		if err := each(e); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return lines.Err()
}
