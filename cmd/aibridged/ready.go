package main

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

const (
	// readyFor is how long the answer of a check counts. A check writes to the disk, so that many who ask share one.
	readyFor = time.Second
	// readyPatience is how long a request for /readyz waits for a check. One that takes longer hangs in the disk.
	readyPatience = 3 * time.Second
)

var errDiskHangs = errors.New("the disk does not answer")

// readiness answers /readyz, and gateways elsewhere. A check that hangs is not repeated until it has ended.
type readiness struct {
	check func(context.Context) error // Why the gateway should be given no requests; nil: it should.

	mu   sync.Mutex
	last *readyCheck // Guarded by mu.
}

// readyCheck is one check.
type readyCheck struct {
	done chan struct{}
	err  error     // Set before done is closed.
	at   time.Time // When it ended; set before done is closed.
}

// ServeHTTP says ready, or why not, in one line that is for everybody's eyes.
func (r *readiness) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	err := r.notReady(request.Context())
	switch {
	case request.Context().Err() != nil:
	case err != nil:
		writeHealth(w, http.StatusServiceUnavailable, "not ready: "+err.Error())
	default:
		writeHealth(w, http.StatusOK, "ready")
	}
}

// notReady returns what a check that is under way or has only just ended says. It waits until ctx ends at most, and returns
// its error then.
func (r *readiness) notReady(ctx context.Context) error {
	current := r.current()
	timer := time.NewTimer(readyPatience)
	defer timer.Stop()
	select {
	case <-current.done:
		return current.err
	case <-timer.C:
		return errDiskHangs
	case <-ctx.Done():
		return ctx.Err()
	}
}

// current returns a check that is under way or has only just ended.
func (r *readiness) current() *readyCheck {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last != nil {
		select {
		case <-r.last.done:
			if time.Since(r.last.at) < readyFor {
				return r.last
			}
		default:
			return r.last
		}
	}
	started := &readyCheck{done: make(chan struct{})}
	r.last = started
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), readyPatience)
		defer cancel()
		started.err = r.check(ctx)
		started.at = time.Now()
		close(started.done)
	}()
	return started
}

// wait waits for a check that is under way: it uses the database, which is closed next.
func (r *readiness) wait() {
	r.mu.Lock()
	last := r.last
	r.mu.Unlock()
	if last != nil {
		<-last.done
	}
}
