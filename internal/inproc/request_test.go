package inproc_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coder/aibridged/internal/inproc"
)

// closing is a request body that counts how often it is closed.
type closing struct {
	io.Reader
	closed atomic.Int64
}

func (c *closing) Close() error {
	c.closed.Add(1)
	if closer, ok := c.Reader.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

// TestRequestBodyIsClosed checks that the body is closed once, whatever happens to the request.
func TestRequestBodyIsClosed(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	cases := []struct {
		name    string
		change  func(*http.Request) *http.Request
		handler http.HandlerFunc
	}{
		{"read", nil, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body) }},
		{"not read", nil, func(http.ResponseWriter, *http.Request) {}},
		{"closed", nil, func(_ http.ResponseWriter, r *http.Request) { _, _ = r.Body.Close(), r.Body.Close() }},
		{"panic", nil, func(http.ResponseWriter, *http.Request) { panic("boom") }},
		{"abort", nil, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		{"no URL", func(r *http.Request) *http.Request { r.URL = nil; return r }, nil},
		{"opaque URL", func(r *http.Request) *http.Request { r.URL = &url.URL{Scheme: "http", Opaque: "//a/b"}; return r }, nil},
		{"no header", func(r *http.Request) *http.Request { r.Header = nil; return r }, nil},
		{"bad method", func(r *http.Request) *http.Request { r.Method = "GET "; return r }, nil},
		{"bad header name", func(r *http.Request) *http.Request { r.Header["X:"] = []string{"1"}; return r }, nil},
		{"bad header value", func(r *http.Request) *http.Request { r.Header["X"] = []string{"a\nb"}; return r }, nil},
		{"bad trailer", func(r *http.Request) *http.Request { r.Trailer = http.Header{"": nil}; return r }, nil},
		{"bad query", func(r *http.Request) *http.Request { r.URL.RawQuery = "key=secret\x00"; return r }, nil},
		{"ended context", func(r *http.Request) *http.Request { return r.WithContext(ended) }, nil},
	}
	for _, c := range cases {
		body := &closing{Reader: strings.NewReader("some text")}
		request := newRequest(http.MethodPost, "http://gateway/", body)
		if c.change != nil {
			request = c.change(request)
		}
		response, err := inproc.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c.handler == nil {
				t.Errorf("%s: the handler was called", c.name)
				return
			}
			c.handler(w, r)
		}), "").RoundTrip(request)
		if wantErr := c.handler == nil || c.name == "abort"; (err != nil) != wantErr {
			t.Errorf("%s: got the error %v", c.name, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells a secret: %v", c.name, err)
		}
		if err == nil {
			_, _ = io.ReadAll(response.Body)
			response.Body.Close()
		}
		if n := body.closed.Load(); n != 1 {
			t.Errorf("%s: the body was closed %d times", c.name, n)
		}
	}
}

// TestCancelInterruptsReading cancels a request while its handler waits for more of the body.
func TestCancelInterruptsReading(t *testing.T) {
	t.Parallel()
	source, sink := io.Pipe()
	defer sink.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	began, failed := make(chan struct{}), make(chan error, 1)
	go func() {
		<-began
		cancel(errGaveUp)
	}()
	_, err := inproc.New(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		_, err := r.Body.Read(make([]byte, 1))
		failed <- err
	}), "").RoundTrip(newRequest(http.MethodPost, "http://gateway/", source).WithContext(ctx))
	if err != errGaveUp {
		t.Errorf("RoundTrip returned %v, want the cause", err)
	}
	if err := <-failed; err != errGaveUp {
		t.Errorf("the handler's read returned %v, want the cause", err)
	}
}

// TestRequestLength checks bodies against the length that their requests declare.
func TestRequestLength(t *testing.T) {
	t.Parallel()
	cases := []struct {
		declared int64
		want     string
		wantErr  error
	}{
		{4, "text", nil},
		{3, "tex", nil},
		{5, "text", io.ErrUnexpectedEOF},
	}
	for _, c := range cases {
		request := newRequest(http.MethodPost, "http://gateway/", strings.NewReader("text"))
		request.ContentLength = c.declared
		response, err := inproc.New(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if string(body) != c.want || !errors.Is(err, c.wantErr) {
				t.Errorf("of declared %d bytes: read %q, %v", c.declared, body, err)
			}
		}), "").RoundTrip(request)
		if err != nil {
			t.Errorf("declared %d: %v", c.declared, err)
			continue
		}
		response.Body.Close()
	}
}

// TestRequestIsNotChanged has a handler change its request, and checks that the client's stays the same.
func TestRequestIsNotChanged(t *testing.T) {
	t.Parallel()
	build := func() *http.Request {
		request := newRequest(http.MethodPost, "http://gateway/a?b=c", http.NoBody)
		request.Header["x-lower"] = []string{"1"}
		request.Header.Set("Authorization", "Bearer token")
		request.Trailer = http.Header{"X-Trailer": nil}
		return request
	}
	request := build()
	response, err := inproc.New(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		r.Header.Del("Authorization")
		r.Header["X-Lower"][0] = "2"
		r.URL.Path = "/other"
		r.Method = "DELETE"
		r.Host = "elsewhere"
		r.Trailer = http.Header{"X-Trailer": {"1"}}
	}), "/prefix").RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if want := build(); !reflect.DeepEqual(request, want) {
		t.Errorf("the request has become %+v, want %+v", request, want)
	}
	if response.Request != request {
		t.Error("the response is to another request")
	}
}
