package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keepmesh/keepmesh/consensus"
	"github.com/keepmesh/keepmesh/daemon/client"
)

// server is the API on the run directory's socket. Its methods are safe on nil.
type server struct {
	p    *process
	path string
	l    net.Listener
	http *http.Server
}

// listenAPI takes the socket. One that a dead daemon left is replaced; one
// that answers belongs to another daemon.
func listenAPI(p *process, runDir string) (*server, error) {
	path := filepath.Join(runDir, client.SocketName)
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close()
		return nil, fmt.Errorf("%s is served by another daemon: give this one its own --run-dir", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing a stale API socket: %w", err)
	}
	old := unix.Umask(0o117)
	l, err := net.Listen("unix", path)
	unix.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("opening the API socket: %w; does the run directory exist?", err)
	}
	return &server{p: p, path: path, l: l}, nil
}

func (s *server) start() {
	s.http = &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = s.http.Serve(s.l) }()
}

func (s *server) close() {
	if s == nil {
		return
	}
	if s.http != nil {
		_ = s.http.Close()
	}
	_ = s.l.Close()
	_ = os.Remove(s.path)
}

// handler serves people on this machine.
func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	s.common(mux)
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, r *http.Request) { reply(w, s.p.clusterStatus(r.Context())) })
	mux.HandleFunc("GET /v1/cluster/events", s.clusterEvents)
	mux.HandleFunc("GET /v1/kv", s.kvGet)
	mux.HandleFunc("PUT /v1/kv", s.kvPut)
	mux.HandleFunc("DELETE /v1/kv", s.kvDelete)
	mux.HandleFunc("POST /v1/cluster/init", func(w http.ResponseWriter, _ *http.Request) {
		if s.p.mesh == nil {
			refuse(w, http.StatusConflict, errNoMesh)
			return
		}
		if err := s.p.mesh.raft.Bootstrap(); err != nil {
			refuse(w, http.StatusConflict, err)
			return
		}
		reply(w, struct{}{})
	})
	return mux
}

// meshHandler serves other nodes, who have proved who they are.
func (s *server) meshHandler() http.Handler {
	mux := http.NewServeMux()
	s.common(mux)
	return mux
}

func (s *server) common(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/node", func(w http.ResponseWriter, r *http.Request) { reply(w, s.p.nodeStatus(r.Context())) })
	mux.HandleFunc("GET /v1/events", s.events)
}

var errNoMesh = errors.New("this daemon has no mesh: start it with --mesh and a mesh.conf")

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v)
}

func refuse(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(client.Failure{Error: err.Error()})
}

// kvCode maps what went wrong with a key to an HTTP status.
func kvCode(err error) int {
	switch {
	case errors.Is(err, consensus.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, consensus.ErrConflict):
		return http.StatusConflict
	case errors.Is(err, consensus.ErrNoLeader):
		return http.StatusServiceUnavailable
	case errors.Is(err, consensus.ErrUnknownOutcome):
		return http.StatusGatewayTimeout
	}
	return http.StatusBadRequest
}

func (s *server) kvGet(w http.ResponseWriter, r *http.Request) {
	key := r.URL.Query().Get("key")
	if s.p.mesh == nil {
		refuse(w, http.StatusConflict, errNoMesh)
		return
	}
	if r.URL.Query().Get("linearizable") != "" {
		v, err := s.p.mesh.raft.GetLinearizable(r.Context(), key)
		if err != nil {
			refuse(w, kvCode(err), err)
			return
		}
		reply(w, client.Value{Key: key, Value: string(v.Data), Revision: v.Revision, AsOf: v.AsOf})
		return
	}
	v, ok := s.p.mesh.raft.Get(key)
	if !ok {
		refuse(w, http.StatusNotFound, fmt.Errorf("no value for %q on this node", key))
		return
	}
	reply(w, client.Value{Key: key, Value: string(v.Data), Revision: v.Revision, AsOf: v.AsOf})
}

// writeTime bounds a write: elections take well under it.
const writeTime = 10 * time.Second

func (s *server) kvPut(w http.ResponseWriter, r *http.Request) {
	if s.p.mesh == nil {
		refuse(w, http.StatusConflict, errNoMesh)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, consensus.MaxValue))
	if err != nil {
		refuse(w, http.StatusRequestEntityTooLarge, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), writeTime)
	defer cancel()
	key := r.URL.Query().Get("key")
	rev, err := s.p.mesh.raft.Put(ctx, key, body)
	if err != nil {
		refuse(w, kvCode(err), err)
		return
	}
	reply(w, client.Value{Key: key, Value: string(body), Revision: rev, AsOf: time.Now()})
}

func (s *server) kvDelete(w http.ResponseWriter, r *http.Request) {
	if s.p.mesh == nil {
		refuse(w, http.StatusConflict, errNoMesh)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), writeTime)
	defer cancel()
	if err := s.p.mesh.raft.Delete(ctx, r.URL.Query().Get("key")); err != nil {
		refuse(w, kvCode(err), err)
		return
	}
	reply(w, struct{}{})
}
