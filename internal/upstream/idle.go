package upstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// ErrIdle says that an upstream fell silent in the middle of its answer.
var ErrIdle = errors.New("upstream silent for too long")

// Idle returns a RoundTripper whose response bodies fail with [ErrIdle], and whose request is then cancelled, when a
// Read has waited for limit without a byte. Only the time within a Read counts: a client that reads slowly does not
// make its upstream a silent one. A limit of zero is 60 s.
//
// The body must be closed or read to its end, as any response body; that also ends the context of the request.
func Idle(next http.RoundTripper, limit time.Duration) http.RoundTripper {
	return &idle{next: next, limit: or(limit, time.Minute)}
}

type idle struct {
	next  http.RoundTripper
	limit time.Duration
}

// RoundTrip implements [http.RoundTripper].
func (i *idle) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	resp, err := i.next.RoundTrip(r.WithContext(ctx))
	if err != nil {
		cancel(nil)
		return nil, err
	}
	resp.Request = r
	if resp.Body == http.NoBody {
		cancel(nil)
		return resp, nil
	}
	resp.Body = &idleBody{body: resp.Body, limit: i.limit, cancel: cancel}
	return resp, nil
}

// idleBody is a response body with a timer that runs while a Read waits. It needs no goroutine: the timer's function
// cancels the request, and that ends the Read.
type idleBody struct {
	body   io.ReadCloser
	limit  time.Duration
	cancel context.CancelCauseFunc
	timer  *time.Timer // Made by the first Read, stopped between two.
	silent atomic.Bool
}

func (b *idleBody) Read(p []byte) (int, error) {
	if b.timer == nil {
		b.timer = time.AfterFunc(b.limit, b.fire)
	} else {
		b.timer.Reset(b.limit)
	}
	n, err := b.body.Read(p)
	b.timer.Stop()
	if err == nil {
		return n, nil
	}
	b.cancel(nil) // Nothing more will be read.
	if err != io.EOF && b.silent.Load() {
		err = ErrIdle
	}
	return n, err
}

func (b *idleBody) fire() {
	b.silent.Store(true)
	b.cancel(ErrIdle)
}

// Close closes the body and ends the request's context, in this order: a body closed first can still hand its
// connection back. It may be called while a Read waits.
func (b *idleBody) Close() error {
	err := b.body.Close()
	b.cancel(nil)
	return err
}
