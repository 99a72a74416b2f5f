package mcp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

func TestRefusedURLs(t *testing.T) {
	for _, url := range []string{
		"", "/mcp", "mcp.example.com", "stdio:///bin/sh", "stdio:sh", "file:///etc/passwd", "unix:///run/sock", "ftp://example.com",
		"ws://example.com", "http://", "http:///mcp", "https:example.com", "http://user:" + testToken + "@example.com",
		"http://%zz/" + testToken, "http://example.com:port/" + testToken, "HTTP//example.com", "javascript:alert(1)", "/bin/sh -c true",
	} {
		_, err := NewStreamableHTTPProxy(ProxyOptions{ID: "srv", URL: url})
		if !errors.Is(err, ErrRefusedURL) || strings.Contains(err.Error(), testToken) {
			t.Errorf("%q: %v", url, err)
		}
	}
	for _, url := range []string{"http://localhost:1/mcp", "https://example.com", "HTTPS://example.com/?a=b#c", "http://[::1]:8080"} {
		if _, err := NewStreamableHTTPProxy(ProxyOptions{ID: "srv", URL: url}); err != nil {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	reached := make(chan http.Header, 10)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached <- r.Header }))
	t.Cleanup(elsewhere.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		p := newProxy(t, ProxyOptions{URL: rawServer{"initialize": func(w http.ResponseWriter, r *http.Request, _ rawCall) {
			http.Redirect(w, r, elsewhere.URL, status)
		}}.start(t), Headers: withToken(testToken)})
		if err := p.Init(t.Context()); !errors.Is(err, errRedirect) {
			t.Errorf("status %d: %v", status, err)
		}
	}
	if len(reached) > 0 {
		t.Errorf("the redirect was followed with %v", <-reached)
	}
}

func TestLinkLocalAddressesAreNotDialled(t *testing.T) {
	for _, host := range []string{"169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "224.0.0.1"} {
		p := newProxy(t, ProxyOptions{URL: "http://" + host + "/latest/meta-data"})
		if err := p.Init(t.Context()); !errors.Is(err, errLinkLocal) {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestHangingServerIsGivenUp(t *testing.T) {
	for name, url := range map[string]string{
		"connect":     "http://192.0.2.1:9/", // An address of a network that does not exist.
		"initialize":  rawServer{"initialize": hang}.start(t),
		"initialized": rawServer{"notifications/initialized": hang}.start(t),
		"list":        rawServer{"tools/list": hang}.start(t),
		"drip": rawServer{"tools/list": func(w http.ResponseWriter, r *http.Request, _ rawCall) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}}.start(t),
	} {
		t.Run(name, func(t *testing.T) {
			options := ProxyOptions{URL: url, ConnectTimeout: 50 * time.Millisecond}
			if name == "connect" {
				options.Transport = neverDials{}
			}
			p := newProxy(t, options)
			for range 2 {
				if err := p.Init(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v", err)
				}
			}
			if len(p.Tools()) > 0 {
				t.Errorf("tools %v", p.Tools())
			}
		})
	}
}

// neverDials is a transport that never gets a connection.
type neverDials struct{}

func (neverDials) RoundTrip(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

func TestInitGoesOnWithoutItsCaller(t *testing.T) {
	begun, proceed := make(chan struct{}, 1), make(chan struct{})
	p := newProxy(t, ProxyOptions{URL: rawServer{"initialize": func(w http.ResponseWriter, r *http.Request, call rawCall) {
		begun <- struct{}{}
		<-proceed
		answer(w, call, `{"protocolVersion":"2025-06-18","capabilities":{"tools":{}}}`)
	}}.start(t)})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Init(ctx) }()
	receive(t, begun, "the handshake")
	cancel()
	if err := receive(t, ended, "Init"); !errors.Is(err, context.Canceled) {
		t.Errorf("Init: %v", err)
	}
	close(proceed)
	if err := p.Init(t.Context()); err != nil { // Joins the attempt, or finds it done.
		t.Fatal(err)
	}
	if len(begun) > 0 || len(p.Tools()) != 1 {
		t.Errorf("%d more handshakes, tools %v", len(begun), p.Tools())
	}
}

func TestConcurrentInitsConnectOnce(t *testing.T) {
	var handshakes atomic.Int32
	url := rawServer{"initialize": func(w http.ResponseWriter, _ *http.Request, call rawCall) {
		handshakes.Add(1)
		answer(w, call, `{"protocolVersion":"2025-06-18","capabilities":{"tools":{}}}`)
	}}.start(t)
	p := newProxy(t, ProxyOptions{URL: url})
	var inits sync.WaitGroup
	for range 20 {
		inits.Go(func() {
			if err := p.Init(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	inits.Wait()
	if got := handshakes.Load(); got != 1 {
		t.Errorf("%d handshakes", got)
	}
}

func TestFailingHandshakes(t *testing.T) {
	status := func(status int) func(http.ResponseWriter, *http.Request, rawCall) {
		return func(w http.ResponseWriter, _ *http.Request, _ rawCall) { w.WriteHeader(status) }
	}
	for name, test := range map[string]struct {
		server rawServer
		want   string
		kind   error
	}{
		"no such path":        {rawServer{"initialize": status(404)}, "HTTP status 404", nil},
		"unauthorized":        {rawServer{"initialize": status(401)}, "linked again", ErrUnauthorized},
		"forbidden":           {rawServer{"initialize": status(403)}, "HTTP status 403", nil},
		"version of tomorrow": {rawServer{"initialize": answerWith(`{"protocolVersion":"2026-07-28"}`)}, `version "2026-07-28"`, nil},
		"no version":          {rawServer{"initialize": answerWith(`{}`)}, `version ""`, nil},
		"no object":           {rawServer{"initialize": answerWith(`7`)}, "the answer to initialize", nil},
		"list is no list":     {rawServer{"tools/list": answerWith(`{"tools":7}`)}, "the answer to tools/list", nil},
		"list unauthorized":   {rawServer{"tools/list": status(401)}, "linked again", ErrUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProxy(t, ProxyOptions{ID: "the-server", URL: test.server.start(t)})
			err := p.Init(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "the-server") {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if test.kind != nil && !errors.Is(err, test.kind) {
				t.Errorf("error %v is no %v", err, test.kind)
			}
		})
	}
}

func TestShutdown(t *testing.T) {
	s := newRealServer(t)
	s.add("tool")
	p := connect(t, ProxyOptions{URL: s.url, Headers: withToken(testToken)})
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if err := p.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(p.Tools()) > 0 {
		t.Error("tools after Shutdown")
	}
	if err := p.Init(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Init after Shutdown: %v", err)
	}
	if _, err := p.Call(t.Context(), "bmcp_srv_tool", nil); err == nil {
		t.Error("Call after Shutdown")
	}
	for i, token := range s.headers("Authorization") {
		if token != "Bearer "+testToken {
			t.Errorf("request %d, of all up to the farewell, has %q", i, token)
		}
	}
}

func TestShutdownEndsTheSessionAtTheServer(t *testing.T) {
	gone := make(chan string, 1)
	url := rawServer{
		"initialize": func(w http.ResponseWriter, _ *http.Request, call rawCall) {
			w.Header().Set("Mcp-Session-Id", "the-session")
			answer(w, call, `{"protocolVersion":"2025-06-18","capabilities":{"tools":{}}}`)
		},
		http.MethodDelete: func(_ http.ResponseWriter, r *http.Request, _ rawCall) {
			gone <- r.Header.Get("Mcp-Session-Id") + " " + r.Header.Get("Authorization")
			<-r.Context().Done() // Shutdown waits for this only until its context ends.
		},
	}.start(t)
	p := connect(t, ProxyOptions{URL: url, Headers: withToken(testToken)})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Shutdown(ctx) }()
	if got := receive(t, gone, "the farewell"); got != "the-session Bearer "+testToken {
		t.Errorf("the farewell is of %q", got)
	}
	cancelled := time.Now()
	cancel()
	if err := receive(t, ended, "Shutdown"); err != nil || time.Since(cancelled) >= farewellTimeout {
		t.Errorf("Shutdown: %v, %v after its context ended", err, time.Since(cancelled))
	}
}

func TestShutdownWhileConnecting(t *testing.T) {
	for _, method := range []string{"initialize", "tools/list"} {
		begun := make(chan struct{}, 1)
		p := newProxy(t, ProxyOptions{URL: rawServer{method: func(w http.ResponseWriter, r *http.Request, call rawCall) {
			begun <- struct{}{}
			hang(w, r, call)
		}}.start(t), ConnectTimeout: time.Hour})
		ended := make(chan error, 1)
		go func() { ended <- p.Init(t.Context()) }()
		receive(t, begun, method)
		if err := p.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := receive(t, ended, "Init"); !errors.Is(err, ErrClosed) {
			t.Errorf("Init: %v", err)
		}
	}
}

// A session that the server opens during Shutdown is ended too.
func TestShutdownWhileASessionIsOpened(t *testing.T) {
	begun, proceed, gone := make(chan struct{}), make(chan struct{}), make(chan string, 1)
	p := newProxy(t, ProxyOptions{URL: rawServer{
		"initialize": func(w http.ResponseWriter, _ *http.Request, call rawCall) {
			close(begun)
			<-proceed
			w.Header().Set("Mcp-Session-Id", "the-session")
			answer(w, call, `{"protocolVersion":"2025-06-18","capabilities":{"tools":{}}}`)
		},
		"tools/list":      func(http.ResponseWriter, *http.Request, rawCall) { t.Error("asked for a list") },
		http.MethodDelete: func(_ http.ResponseWriter, r *http.Request, _ rawCall) { gone <- r.Header.Get("Mcp-Session-Id") },
	}.start(t)})
	var all sync.WaitGroup
	all.Go(func() {
		if err := p.Init(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Init: %v", err)
		}
	})
	receive(t, begun, "the handshake")
	all.Go(func() {
		if err := p.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
	receive(t, p.life.Done(), "Shutdown")
	close(proceed)
	all.Wait()
	if got := receive(t, gone, "the farewell"); got != "the-session" {
		t.Errorf("the farewell is of %q", got)
	}
}

func TestServerIsAnsweredItsPing(t *testing.T) {
	answers := make(chan string, 2)
	var asked sync.Once
	url := rawServer{
		http.MethodGet: func(w http.ResponseWriter, r *http.Request, _ rawCall) {
			w.Header().Set("Content-Type", "text/event-stream")
			asked.Do(func() {
				fmt.Fprint(w, "data: {\"jsonrpc\":\"2.0\",\"id\":\"p1\",\"method\":\"ping\"}\n\n")
				fmt.Fprint(w, "data: {\"jsonrpc\":\"2.0\",\"id\":\"p2\",\"method\":\"sampling/createMessage\"}\n\n")
			})
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
		"": func(w http.ResponseWriter, _ *http.Request, call rawCall) { // A response has no method.
			answers <- string(call.ID)
			w.WriteHeader(http.StatusAccepted)
		},
	}.start(t)
	connect(t, ProxyOptions{URL: url})
	got := []string{receive(t, answers, "an answer"), receive(t, answers, "an answer")}
	slices.Sort(got)
	if !slices.Equal(got, []string{`"p1"`, `"p2"`}) {
		t.Errorf("answers to %v", got)
	}
}

func TestConnectingIsASpan(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")
	ctx, parent := tracer.Start(t.Context(), "parent")
	p := newProxy(t, ProxyOptions{URL: rawServer{}.start(t), Tracer: tracer})
	if err := p.Init(ctx); err != nil {
		t.Fatal(err)
	}
	if err := p.Shutdown(ctx); err != nil { // Waits for the span's end.
		t.Fatal(err)
	}
	ended := spans.Ended()
	if len(ended) != 1 || ended[0].Name() != "MCP init" || ended[0].Parent().SpanID() != parent.SpanContext().SpanID() {
		t.Errorf("spans %v", ended)
	}
}
