package aibridged_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
)

// The tests of the transport itself are in internal/inproc. These test what a host sees of it.

func delegated(ctx context.Context) context.Context {
	return aibridge.WithDelegatedAPIKeyID(ctx, "key-id")
}

// inProcess returns a transport whose requests handler serves.
func inProcess(t testing.TB, handler http.HandlerFunc) http.RoundTripper {
	t.Helper()
	transport, err := aibridged.NewTransportFactory(handler).TransportFor("anthropic", aibridge.SourceAgents)
	if err != nil {
		t.Fatal(err)
	}
	return transport
}

// askInProcess posts a body to handler as the API key of ctx.
func askInProcess(ctx context.Context, t testing.TB, handler http.HandlerFunc) (*http.Response, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://gateway/v1/messages", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	return inProcess(t, handler).RoundTrip(request)
}

func mustAskInProcess(ctx context.Context, t testing.TB, handler http.HandlerFunc) *http.Response {
	t.Helper()
	response, err := askInProcess(ctx, t, handler)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

func TestTransportForRefuses(t *testing.T) {
	t.Parallel()
	handler := http.NotFoundHandler()
	for _, name := range []string{"", ".", "..", "a/b", "../x", "a/..", "%2e%2e", "a%2fb", "a?b", "a#b", "a b", "A", "a--b", "-a", "a\n", "ü"} {
		if transport, err := aibridged.NewTransportFactory(handler).TransportFor(name, aibridge.SourceAgents); err == nil || transport != nil {
			t.Errorf("there is a transport for %q", name)
		}
	}
	if transport, err := aibridged.NewTransportFactory(nil).TransportFor("anthropic", aibridge.SourceAgents); err == nil || transport != nil {
		t.Error("there is a transport without a handler")
	}
	for _, name := range []string{"a", "openai", "my-own-2"} {
		if _, err := aibridged.NewTransportFactory(handler).TransportFor(name, ""); err != nil {
			t.Errorf("there is no transport for %q: %v", name, err)
		}
	}
}

func TestTransportServesPath(t *testing.T) {
	t.Parallel()
	cases := []struct{ url, want string }{
		{"http://gateway/v1/messages", "/api/v2/aibridged/anthropic/v1/messages"},
		{"https://gateway/v1/messages?beta=true&x=%20", "/api/v2/aibridged/anthropic/v1/messages?beta=true&x=%20"},
		{"v1/messages", "/api/v2/aibridged/anthropic/v1/messages"},
		{"http://gateway", "/api/v2/aibridged/anthropic/"},
		{"http://gateway/v1/models/a%2Fb", "/api/v2/aibridged/anthropic/v1/models/a%2Fb"},
	}
	for _, c := range cases {
		target, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		build := func() *http.Request {
			return (&http.Request{Method: http.MethodGet, URL: target, Header: http.Header{"X-Header": {"1"}}}).WithContext(delegated(t.Context()))
		}
		request := build()
		response, err := inProcess(t, func(_ http.ResponseWriter, r *http.Request) {
			if r.RequestURI != c.want || r.URL.String() != c.want {
				t.Errorf("%s is served as %q and %q", c.url, r.RequestURI, r.URL)
			}
			if source := aibridge.SourceFromContext(r.Context()); source != aibridge.SourceAgents {
				t.Errorf("the source is %q", source)
			}
			if id, _ := aibridge.DelegatedAPIKeyIDFromContext(r.Context()); id != "key-id" {
				t.Errorf("the API key id is %q", id)
			}
			r.Header.Del("X-Header")
		}).RoundTrip(request)
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		response.Body.Close()
		if response.Request != request || !reflect.DeepEqual(request, build()) {
			t.Errorf("%s: the caller's request has changed", c.url)
		}
	}
}

// closedBody is a request body that notes whether it has been closed.
type closedBody struct {
	io.Reader
	closed bool
}

func (b *closedBody) Close() error {
	b.closed = true
	return nil
}

func TestTransportWantsAPIKeyID(t *testing.T) {
	t.Parallel()
	for _, ctx := range []context.Context{t.Context(), aibridge.WithDelegatedAPIKeyID(t.Context(), "")} {
		body := &closedBody{Reader: strings.NewReader("{}")}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://gateway/v1/messages", body)
		if err != nil {
			t.Fatal(err)
		}
		_, err = inProcess(t, func(http.ResponseWriter, *http.Request) { t.Error("the handler was called") }).RoundTrip(request)
		if !errors.Is(err, aibridged.ErrNoAuthKey) {
			t.Errorf("got %v, want ErrNoAuthKey", err)
		}
		if err != nil && !strings.Contains(err.Error(), "WithDelegatedAPIKeyID") {
			t.Errorf("%q does not say how to name a key", err)
		}
		if !body.closed {
			t.Error("the request's body is still open")
		}
	}
}

func TestTransportStreams(t *testing.T) {
	t.Parallel()
	read := make(chan struct{})
	response := mustAskInProcess(delegated(t.Context()), t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Early", "1")
		w.Header().Set("Trailer", "X-Trailer")
		w.WriteHeader(http.StatusEarlyHints) // Ignored.
		for range 10 {
			_, _ = io.WriteString(w, "event")
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			w.Header().Set("X-Early", "2")
			<-read
		}
		w.Header().Set("X-Trailer", "1")
	})
	defer response.Body.Close()
	if got := response.Header.Get("X-Early"); response.StatusCode != http.StatusOK || got != "1" {
		t.Errorf("got %d and the header %q", response.StatusCode, got)
	}
	for range 10 {
		event := make([]byte, 5)
		if _, err := io.ReadFull(response.Body, event); err != nil || string(event) != "event" {
			t.Fatalf("got %q, %v", event, err)
		}
		read <- struct{}{}
	}
	if rest, err := io.ReadAll(response.Body); len(rest) > 0 || err != nil {
		t.Errorf("at the end: %q, %v", rest, err)
	}
	if got := response.Trailer.Get("X-Trailer"); got != "1" {
		t.Errorf("the trailer is %q", got)
	}
}

func TestTransportBodyIsAReader(t *testing.T) {
	t.Parallel()
	want := strings.Repeat("event: x\ndata: {}\n\n", 100)
	response := mustAskInProcess(delegated(t.Context()), t, func(w http.ResponseWriter, _ *http.Request) {
		for line := range strings.Lines(want) {
			_, _ = io.WriteString(w, line)
		}
	})
	defer response.Body.Close()
	if err := iotest.TestReader(response.Body, []byte(want)); err != nil {
		t.Error(err)
	}
}

func TestTransportCancel(t *testing.T) {
	t.Parallel()
	cause := errors.New("no more use for it")
	ctx, cancel := context.WithCancelCause(delegated(t.Context()))
	ended := make(chan error, 1)
	response := mustAskInProcess(ctx, t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "half")
		<-r.Context().Done()
		ended <- context.Cause(r.Context())
	})
	defer response.Body.Close()
	if _, err := io.ReadFull(response.Body, make([]byte, 4)); err != nil {
		t.Error(err)
	}
	cancel(cause)
	if _, err := response.Body.Read(make([]byte, 1)); !errors.Is(err, cause) {
		t.Errorf("the body ended with %v, want the cause", err)
	}
	if err := <-ended; !errors.Is(err, cause) {
		t.Errorf("the handler's context ended with %v, want the cause", err)
	}
	if _, err := askInProcess(ctx, t, func(http.ResponseWriter, *http.Request) { t.Error("the handler was called") }); !errors.Is(err, cause) {
		t.Errorf("RoundTrip returned %v, want the cause", err)
	}
}

func TestTransportClose(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(delegated(t.Context()))
	defer cancel()
	ended := make(chan struct{})
	response := mustAskInProcess(ctx, t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		<-r.Context().Done()
		close(ended)
	})
	if err := response.Body.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	<-ended
	if ctx.Err() != nil {
		t.Error("closing the body ended the caller's context")
	}
}

func TestTransportHandlerFails(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer upstream.Close()
	target, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	upstreamTransport := &http.Transport{}
	defer upstreamTransport.CloseIdleConnections()
	contexts := make(chan context.Context, 1)
	cases := []struct {
		name       string
		handler    http.HandlerFunc
		wantStatus int
		wantBody   string
		wantErr    error // The body's error. errAny: any but io.EOF.
	}{
		{"nothing written", func(_ http.ResponseWriter, r *http.Request) { contexts <- r.Context() }, 200, "", nil},
		{"panic", func(http.ResponseWriter, *http.Request) { panic("boom") }, 500, "", errAny},
		{"late panic", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			panic("boom")
		}, 200, "half", errAny},
		{"abort", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			panic(http.ErrAbortHandler)
		}, 200, "half", io.ErrUnexpectedEOF},
		{"length missed", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			_, _ = io.WriteString(w, "half")
		}, 200, "half", io.ErrUnexpectedEOF},
		{"truncated upstream", (&httputil.ReverseProxy{
			Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
			Transport: upstreamTransport,
			ErrorLog:  log.New(io.Discard, "", 0),
		}).ServeHTTP, 200, "half", io.ErrUnexpectedEOF},
	}
	for _, c := range cases {
		response := mustAskInProcess(delegated(t.Context()), t, c.handler)
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != c.wantStatus || string(body) != c.wantBody {
			t.Errorf("%s: got %d and %q", c.name, response.StatusCode, body)
		}
		if !errors.Is(err, c.wantErr) && (c.wantErr != errAny || err == nil) {
			t.Errorf("%s: the body ended with %v, want %v", c.name, err, c.wantErr)
		}
	}
	if err := (<-contexts).Err(); err == nil {
		t.Error("the context of a handler that has returned goes on")
	}
	if _, err := askInProcess(delegated(t.Context()), t, func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler)
	}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an abort before the headers gave %v", err)
	}
}

var errAny = errors.New("any error")

// TestTransportTimeout checks that net/http's client sees that a request ended by a timeout.
func TestTransportTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(delegated(t.Context()), time.Second)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://gateway/v1/models", nil)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: inProcess(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })}
		_, err = client.Do(request)
		if urlError, ok := errors.AsType[*url.Error](err); !ok || !urlError.Timeout() {
			t.Errorf("got %v, want a timeout", err)
		}
	})
}

func ExampleNewTransportFactory() {
	gateway := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // In a real program, an *aibridged.Server.
		fmt.Fprintln(w, r.Method, r.URL.Path)
	})
	transport, err := aibridged.NewTransportFactory(gateway).TransportFor("anthropic", aibridge.SourceAgents)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := aibridge.WithDelegatedAPIKeyID(context.Background(), "key-id")
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://gateway/v1/messages", strings.NewReader("{}"))
	if err != nil {
		fmt.Println(err)
		return
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	fmt.Print(string(body), err)
	// Output:
	// POST /api/v2/aibridged/anthropic/v1/messages
	// <nil>
}
