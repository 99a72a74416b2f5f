package inproc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// remoteAddr is the client's address that handlers see: this machine, no port.
const remoteAddr = "127.0.0.1:0"

// check refuses requests that could not be sent over a connection. The errors contain no value.
func check(request *http.Request) error {
	switch {
	case request.URL == nil:
		return errors.New("request without a URL")
	case request.URL.Opaque != "":
		return errors.New("request with an opaque URL")
	case request.Header == nil:
		return errors.New("request without a header")
	case request.Method != "" && !isToken(request.Method):
		return fmt.Errorf("invalid method %q", request.Method)
	}
	if err := checkHeader(request.Header); err != nil {
		return fmt.Errorf("request header: %w", err)
	}
	if err := checkHeader(request.Trailer); err != nil {
		return fmt.Errorf("request trailer: %w", err)
	}
	return nil
}

// serverRequest returns the request that the handler serves, and its body.
func (t *Transport) serverRequest(ctx context.Context, request *http.Request) (*http.Request, *incoming, error) {
	path := request.URL.EscapedPath()
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	uri := t.prefix + path
	if request.URL.RawQuery != "" || request.URL.ForceQuery {
		uri += "?" + request.URL.RawQuery
	}
	target, err := url.ParseRequestURI(uri)
	if err != nil {
		if parse, ok := errors.AsType[*url.Error](err); ok {
			err = parse.Err // Only the cause: the error itself quotes the URL, whose query may have a key in it.
		}
		return nil, nil, fmt.Errorf("request path: %w", err)
	}
	served := (&http.Request{
		Method:     request.Method,
		URL:        target,
		RequestURI: uri,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     received(request.Header),
		Host:       request.Host,
		RemoteAddr: remoteAddr,
	}).WithContext(ctx)
	if served.Method == "" {
		served.Method = http.MethodGet
	}
	served.Host = cmp.Or(served.Host, request.URL.Host, "localhost")
	return served, setBody(served, request), nil
}

// setBody gives served the body of request, and sets the fields and headers for its length.
func setBody(served, request *http.Request) *incoming {
	for _, name := range []string{"Host", "Content-Length", "Transfer-Encoding", "Trailer"} {
		served.Header.Del(name)
	}
	if request.Body == nil || request.Body == http.NoBody {
		served.Body = http.NoBody
		switch served.Method {
		case http.MethodPost, http.MethodPut, http.MethodPatch:
			served.Header.Set("Content-Length", "0")
		}
		return &incoming{source: http.NoBody, left: 0}
	}
	body := &incoming{source: request.Body, left: request.ContentLength}
	if request.ContentLength > 0 {
		served.Header.Set("Content-Length", strconv.FormatInt(request.ContentLength, 10))
	} else {
		// A client's ContentLength of 0 with a body, and any negative length, mean that the length is unknown.
		body.left = -1
		served.TransferEncoding = []string{"chunked"}
		served.Trailer = announced(request.Trailer)
		body.atEOF = func() { fill(served.Trailer, request.Trailer) }
	}
	served.ContentLength = body.left
	served.Body = body
	return body
}

// announced returns a trailer with trailer's names and no values yet.
func announced(trailer http.Header) http.Header {
	if len(trailer) == 0 {
		return nil
	}
	names := make(http.Header, len(trailer))
	for name := range trailer {
		names[http.CanonicalHeaderKey(name)] = nil
	}
	return names
}

// fill copies the values of trailer into the announced trailer served.
func fill(served, trailer http.Header) {
	for name, values := range received(trailer) {
		if _, ok := served[name]; ok {
			served[name] = values
		}
	}
}

// incoming is the body of a request as the handler sees it: it can be read until the request has ended, and closed at
// any time. The client's body is closed once. Only one goroutine at a time may read.
type incoming struct {
	source io.ReadCloser
	left   int64  // Bytes until the end, -1 where unknown.
	atEOF  func() // Called at the end of the body, or nil.

	mu    sync.Mutex
	ended error // The error of later reads, or nil.
	timer *time.Timer
}

func (b *incoming) Read(p []byte) (int, error) {
	if err := b.hasEnded(); err != nil {
		return 0, err
	}
	if b.left == 0 {
		return 0, io.EOF
	}
	if b.left > 0 {
		p = p[:min(int64(len(p)), b.left)]
	}
	n, err := b.source.Read(p)
	if b.left > 0 {
		b.left -= int64(n)
	}
	switch {
	case err == nil:
		return n, nil
	case b.hasEnded() != nil: // The client's body was closed during the read, which caused err.
		return n, b.hasEnded()
	case err == io.EOF && b.left > 0:
		return n, io.ErrUnexpectedEOF
	case err == io.EOF && b.atEOF != nil:
		b.atEOF()
	}
	return n, err
}

// Close closes the client's body.
func (b *incoming) Close() error {
	return b.end(http.ErrBodyReadAfterClose)
}

// end closes the client's body, if it is still open, and makes reads fail with err.
func (b *incoming) end(err error) error {
	b.mu.Lock()
	if b.timer != nil {
		b.timer.Stop()
	}
	if b.ended != nil {
		b.mu.Unlock()
		return nil
	}
	b.ended = err
	b.mu.Unlock()
	return b.source.Close()
}

func (b *incoming) hasEnded() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ended
}

// setDeadline ends the body at that time. A read under way is interrupted only if closing the client's body interrupts
// it.
func (b *incoming) setDeadline(t time.Time) {
	b.mu.Lock()
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	passed := !t.IsZero() && !time.Now().Before(t)
	if !t.IsZero() && !passed && b.ended == nil {
		b.timer = time.AfterFunc(time.Until(t), func() { _ = b.end(os.ErrDeadlineExceeded) })
	}
	b.mu.Unlock()
	if passed {
		_ = b.end(os.ErrDeadlineExceeded)
	}
}

// serverContext is a client's context as the handler should see it.
type serverContext struct {
	context.Context
	server *http.Server
}

// Value hides the client's trace, which would otherwise see the handler's own requests. It returns a server for
// [http.ServerContextKey]: without one, [httputil.ReverseProxy] ends a cut answer as if it were complete.
func (c serverContext) Value(key any) any {
	if key == http.ServerContextKey {
		return c.server
	}
	value := c.Context.Value(key)
	if _, ok := value.(*httptrace.ClientTrace); ok {
		return nil
	}
	return value
}
