package inproc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/aibridged/internal/contain"
)

// writer is the handler's [http.ResponseWriter]. It makes the client's response when the handler writes the headers.
type writer struct {
	caller   context.Context // The client's context.
	method   string
	incoming *incoming
	cancel   context.CancelCauseFunc // Ends the handler's context.
	header   http.Header             // The handler's header.
	pipe     pipe

	answered chan struct{}  // Closed when response or failed is set.
	response *http.Response // Nil where failed is set.
	failed   error

	mu       sync.Mutex
	status   int   // 0: the headers have not been written.
	length   int64 // The declared length, or -1.
	written  int64 // How many bytes the handler has tried to write.
	trailers []string
	returned bool
}

func newWriter(caller context.Context, method string, incoming *incoming, cancel context.CancelCauseFunc) *writer {
	w := &writer{
		caller:   caller,
		method:   method,
		incoming: incoming,
		cancel:   cancel,
		header:   make(http.Header),
		answered: make(chan struct{}),
	}
	w.pipe.init()
	return w
}

func (w *writer) Header() http.Header { return w.header }

// WriteHeader gives the client its response. It ignores informational responses and all calls but the first.
func (w *writer) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("invalid status %d", status)) // As net/http does.
	}
	if status < 200 && status != http.StatusSwitchingProtocols {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writeHeader(status, w.header)
}

func (w *writer) writeHeader(status int, header http.Header) {
	if w.status != 0 || w.returned {
		return
	}
	w.status = status
	w.respond(received(header))
	close(w.answered)
}

func (w *writer) Write(p []byte) (int, error) {
	if discard, err := w.beginWrite(len(p)); discard || err != nil {
		if err != nil {
			return 0, err
		}
		return len(p), nil
	}
	return w.pipe.write(p)
}

// beginWrite reports whether a write of n bytes must be discarded, or fails where it is not allowed.
func (w *writer) beginWrite(n int) (discard bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.returned {
		return false, errHandlerReturned
	}
	w.writeHeader(http.StatusOK, w.header)
	if n == 0 {
		return true, nil
	}
	if !bodyAllowed(w.status) {
		return false, http.ErrBodyNotAllowed
	}
	w.written += int64(n)
	if w.length >= 0 && w.written > w.length {
		return false, http.ErrContentLength
	}
	return w.method == http.MethodHead, nil
}

// Flush writes the headers. The body needs no flush.
func (w *writer) Flush() { _ = w.FlushError() }

// FlushError is Flush, and fails where the client does not read any more.
func (w *writer) FlushError() error {
	if _, err := w.beginWrite(0); err != nil {
		return err
	}
	return w.pipe.broken()
}

// SetWriteDeadline limits how long writes wait for the client to read. A write that misses the deadline fails with
// [os.ErrDeadlineExceeded], as do all later ones, and the client's body ends in [io.ErrUnexpectedEOF].
func (w *writer) SetWriteDeadline(t time.Time) error {
	w.pipe.setWriteDeadline(t)
	return nil
}

// SetReadDeadline limits how long the request's body may be read.
func (w *writer) SetReadDeadline(t time.Time) error {
	w.incoming.setDeadline(t)
	return nil
}

// EnableFullDuplex does nothing: reading and writing at the same time is always possible.
func (w *writer) EnableFullDuplex() error { return nil }

// finish ends the answer when the handler has returned. A nil err means that the answer is complete.
func (w *writer) finish(err error) {
	w.mu.Lock()
	if w.status == 0 {
		_, panicked := errors.AsType[*contain.Panic](err)
		switch {
		case err == nil:
			w.writeHeader(http.StatusOK, w.empty())
		case panicked:
			w.method = http.MethodGet // The body must carry the panic, even for a HEAD.
			w.writeHeader(http.StatusInternalServerError, nil)
		default:
			w.failed = err
			close(w.answered)
		}
	}
	w.returned = true
	if err == nil && w.hasBody() && w.length >= 0 && w.written < w.length {
		err = io.ErrUnexpectedEOF
	}
	var trailer http.Header
	if w.length < 0 { // As in HTTP/1.1: trailers need the chunked coding.
		trailer = w.trailer()
	}
	w.mu.Unlock()
	w.pipe.closeWrite(err, trailer)
}

// empty returns the headers of a handler that wrote nothing.
func (w *writer) empty() http.Header {
	header := w.header.Clone()
	if w.method != http.MethodHead && header.Get("Content-Length") == "" && w.trailer() == nil && len(header["Trailer"]) == 0 {
		header.Set("Content-Length", "0")
	}
	return header
}

// trailer returns the trailers that the handler announced, and those that it marked with [http.TrailerPrefix].
func (w *writer) trailer() http.Header {
	trailer := make(http.Header)
	for name, values := range w.header {
		if name, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			trailer[name] = values
		}
	}
	for _, name := range w.trailers {
		trailer[name] = append(trailer[name], w.header[name]...)
	}
	if len(trailer) == 0 {
		return nil
	}
	return received(trailer)
}

func (w *writer) hasBody() bool { return w.method != http.MethodHead && bodyAllowed(w.status) }

// bodyAllowed reports whether responses with that status have a body.
// https://www.rfc-editor.org/rfc/rfc9110#section-6.4.1
func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// contentLength returns the length that header declares, or -1.
func contentLength(header http.Header) int64 {
	n, err := strconv.ParseInt(header.Get("Content-Length"), 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}
