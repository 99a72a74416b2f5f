package aibridged

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged/aibridge"
)

// Running is a request that a server is serving.
type Running struct {
	ID          uint64 // Which no other request of this server has.
	Since       time.Time
	InitiatorID string // UUID.
	Username    string
	Provider    string // The first part of the path below the root, which is the name of a provider if there is one.

	// InterceptionID, APIKeyID, Model and Client are those of the interception. They are empty before the request has been
	// read, and if it is passed through.
	InterceptionID, APIKeyID, Model, Client string
}

// Running returns the requests that the server is serving, in no order.
func (s *Server) Running() []Running {
	s.running.mu.Lock()
	defer s.running.mu.Unlock()
	list := make([]Running, 0, len(s.running.byID))
	for _, r := range s.running.byID {
		one := r.told
		if begun := r.begun.Load(); begun != nil {
			one.InterceptionID, one.APIKeyID, one.Model, one.Client = begun.id.String(), begun.apiKeyID, begun.model, begun.client
		}
		list = append(list, one)
	}
	return list
}

// errEnded is the cause of the end of a request that [Server.End] ended.
var errEnded = errors.New("the request was ended by hand")

// End ends a request, and reports whether it was still being served. Its answer breaks off, and it is recorded as truncated.
// End does not wait for that.
func (s *Server) End(id uint64) bool {
	s.running.mu.Lock()
	defer s.running.mu.Unlock()
	r := s.running.byID[id]
	if r != nil {
		r.end(errEnded)
	}
	return r != nil
}

// running are the requests that a server is serving. Clients' connections bound how many there are.
type running struct {
	mu   sync.Mutex
	last uint64                     // Guarded by mu.
	byID map[uint64]*runningRequest // Guarded by mu.
}

// runningRequest is in the context of its request.
type runningRequest struct {
	end   context.CancelCauseFunc
	told  Running               // Set before it is added.
	begun atomic.Pointer[begun] // What the interception tells; nil before it begins.
}

// begun is what the start of an interception tells of a request.
type begun struct {
	id                      uuid.UUID
	apiKeyID, model, client string
}

type runningKey struct{}

// add lists an admitted request until remove is called.
func (l *running) add(one *runningRequest, r *http.Request) (remove func()) {
	caller := aibridge.CallerFromContext(r.Context())
	username, _ := caller.Actor.Metadata["Username"].(string)
	provider, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	one.told = Running{Since: time.Now(), InitiatorID: caller.Actor.ID, Username: username, Provider: provider}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	one.told.ID = l.last
	l.byID[l.last] = one
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.byID, one.told.ID)
	}
}

// noting is a recorder that notes which interception a running request has become.
type noting struct{ aibridge.Recorder }

// Record implements [aibridge.Recorder].
func (n noting) Record(ctx context.Context, records ...aibridge.Record) (aibridge.Commit, error) {
	start, isStart := records[0].(*aibridge.InterceptionStart)
	if !isStart {
		return n.Recorder.Record(ctx, records...)
	}
	if r, ok := ctx.Value(runningKey{}).(*runningRequest); ok {
		r.begun.Store(&begun{start.ID, start.APIKeyID, start.Model, start.Client})
	}
	return n.Recorder.Record(ctx, records...)
}
