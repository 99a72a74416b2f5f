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
// Read has waited for limit without a byte. Only the time within a Read counts: an upstream does not count as silent
// because its client reads slowly. A limit of zero is 5 minutes.
//
// The body must be closed or read to its end, as any response body; that also ends the context of the request.
func Idle(next http.RoundTripper, limit time.Duration) http.RoundTripper {
	return &idle{next: next, limit: or(limit, 5*time.Minute)}
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
	body := &idleBody{body: resp.Body, limit: i.limit, cancel: cancel, began: time.Now()}
	body.armed.Store(true)
	body.timer = time.AfterFunc(i.limit, body.look)
	resp.Body = body
	return resp, nil
}

// idleBody is a response body that is watched while a Read waits. It needs no goroutine: the timer's function cancels
// the request, and that ends the Read. The timer is not set for each Read, since a stream has thousands of them: when
// it fires, it looks how long the current Read has been waiting, and sets itself for the rest of the limit.
type idleBody struct {
	body   io.ReadCloser
	limit  time.Duration
	cancel context.CancelCauseFunc

	began   time.Time    // The time from which waiting counts.
	waiting atomic.Int64 // When the current Read began, in nanoseconds after began, plus one; 0: no Read waits.
	armed   atomic.Bool  // The timer will fire.
	timer   *time.Timer
	silent  atomic.Bool
}

func (b *idleBody) Read(p []byte) (int, error) {
	b.waiting.Store(int64(time.Since(b.began)) + 1)
	if !b.armed.Load() {
		b.arm(b.limit)
	}
	n, err := b.body.Read(p)
	b.waiting.Store(0)
	if err == nil {
		return n, nil
	}
	b.end() // Nothing more will be read.
	if err != io.EOF && b.silent.Load() {
		err = ErrIdle
	}
	return n, err
}

func (b *idleBody) arm(d time.Duration) {
	b.armed.Store(true)
	b.timer.Reset(d)
}

// look is called when the timer fires.
func (b *idleBody) look() {
	since := b.waiting.Load()
	if since == 0 {
		b.armed.Store(false)
		if since = b.waiting.Load(); since == 0 {
			return // The next Read sets the timer.
		}
	}
	if left := b.limit - (time.Since(b.began) - time.Duration(since-1)); left > 0 {
		b.arm(left)
		return
	}
	b.silent.Store(true)
	b.cancel(ErrIdle)
}

// end stops the timer and ends the request's context.
func (b *idleBody) end() {
	b.timer.Stop()
	b.cancel(nil)
}

// Close closes the body and ends the request's context, in this order: a body closed first can still hand its
// connection back. If a Read waits, Close ends it first.
func (b *idleBody) Close() error {
	if b.waiting.Load() != 0 {
		b.cancel(context.Canceled)
	}
	err := b.body.Close()
	b.end()
	return err
}
