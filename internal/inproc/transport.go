// Package inproc passes the requests of an HTTP client to a handler in the same process, without a connection. The
// handler and the client see what they would see over a connection, except for the differences that [Transport] lists.
package inproc

import (
	"context"
	"io"
	"net/http"

	"github.com/coder/aibridged/internal/contain"
)

// Transport is an [http.RoundTripper] that calls a handler. It is safe for concurrent use and needs no closing.
//
// The handler gets a request of its own, as a server would have read it from a connection, and runs in a goroutine of
// its own, which ends when the handler returns. There is no buffer between the handler and the reader of the response's
// body: each Write returns when its bytes have been read, or when they cannot be read any more.
//
// The handler's context ends when the caller's does, when the response's body is closed before its end, and when the
// handler returns. Closing the body does not wait for the handler. The request's body is always closed, when the
// handler has returned or its context has ended, whichever is first.
//
// It differs from a connection in these points:
//
//   - RoundTrip returns at WriteHeader, before the first byte of the body.
//   - Nothing is added to the headers of either side: no Date, no User-Agent, no guess at a Content-Type.
//   - A panic before the headers is a 500 whose body fails with a [*contain.Panic]; later, the body fails. The panic
//     [http.ErrAbortHandler] is an [io.ErrUnexpectedEOF], of RoundTrip before the headers and of the body later.
//   - Informational responses (1xx) are ignored, and a connection cannot be hijacked.
type Transport struct {
	prefix string
	server *http.Server // Has the handler. It never listens: handlers look for a server in their context.
}

// New returns a transport that passes its requests to handler. It puts prefix before their paths; prefix must be empty,
// or begin with a slash and not end with one.
func New(handler http.Handler, prefix string) *Transport {
	return &Transport{prefix: prefix, server: &http.Server{Handler: handler}}
}

// RoundTrip passes one request to the handler. It returns when the handler has written the headers, and fails with the
// context's cause where the request's context ends before that. The caller must close the response's body.
func (t *Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	caller := request.Context()
	err := context.Cause(caller)
	if err == nil {
		err = check(request)
	}
	if err != nil {
		closeBody(request)
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(serverContext{caller, t.server})
	served, incoming, err := t.serverRequest(ctx, request)
	if err != nil {
		cancel(nil)
		closeBody(request)
		return nil, err
	}
	w := newWriter(caller, served.Method, incoming, cancel)
	go serve(t.server.Handler, w, served, cancel)

	select {
	case <-w.answered:
	case <-caller.Done():
		return nil, context.Cause(caller)
	}
	if w.failed != nil {
		return nil, w.failed
	}
	w.response.Request = request
	return w.response, nil
}

func closeBody(request *http.Request) {
	if request.Body != nil {
		_ = request.Body.Close() // RoundTrip must close the body, also where it fails.
	}
}

// serve runs the handler and then ends the request and the response, however the handler ended.
func serve(handler http.Handler, w *writer, request *http.Request, cancel context.CancelCauseFunc) {
	ctx := request.Context()
	stop := context.AfterFunc(ctx, func() {
		w.pipe.abort(context.Cause(ctx))
		w.incoming.end(context.Cause(ctx))
	})
	returned := false
	defer func() {
		err := outcome(recover(), returned)
		stop()
		if cause := context.Cause(ctx); cause != nil {
			err = cause // A handler that was cancelled may return as if its answer were complete.
		}
		cancel(nil)
		w.incoming.end(http.ErrBodyReadAfterClose)
		w.finish(err)
	}()
	handler.ServeHTTP(w, request)
	returned = true
}

// outcome returns the error at the end of the client's body: nil where the answer is complete.
func outcome(recovered any, returned bool) error {
	switch {
	case returned:
		return nil
	case recovered == nil, recovered == http.ErrAbortHandler: // nil: the handler called runtime.Goexit.
		return io.ErrUnexpectedEOF
	}
	return contain.Recovered(recovered)
}
