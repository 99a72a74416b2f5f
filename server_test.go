package aibridged_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace/noop"
	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/internal/testkit"
	"github.com/coder/aibridged/proto"
)

// poolFunc is a pool whose bridges are one handler.
type poolFunc func(ctx context.Context, req aibridged.Request) (http.Handler, error)

func (f poolFunc) Acquire(ctx context.Context, req aibridged.Request, _ aibridged.ClientFunc, _ aibridged.MCPProxyBuilder) (http.Handler, error) {
	return f(ctx, req)
}
func (poolFunc) ReplaceProviders([]aibridge.Provider) {}
func (poolFunc) Shutdown(context.Context) error       { return nil }
func serving(handler http.HandlerFunc) poolFunc {
	return func(context.Context, aibridged.Request) (http.Handler, error) { return handler, nil }
}

func newServer(t *testing.T, pool aibridged.Pooler, dialer aibridged.Dialer) *aibridged.Server {
	t.Helper()
	server, err := aibridged.New(context.Background(), pool, dialer, slog.Logger{}, noop.NewTracerProvider().Tracer("test"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return server
}

// forwarded is what a bridge was given.
type forwarded struct {
	request *http.Request
	acquire aibridged.Request
	actor   aibridge.Actor
}

// ask sends a request to a server whose bridges answer 200, and returns what the bridge was given, nil if it was not
// asked.
func ask(t *testing.T, control *testkit.ControlPlane, r *http.Request) (*httptest.ResponseRecorder, *forwarded) {
	t.Helper()
	var got *forwarded
	server := newServer(t, poolFunc(func(_ context.Context, req aibridged.Request) (http.Handler, error) {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			actor, _ := aibridge.ActorFromContext(r.Context())
			got = &forwarded{request: r, acquire: req, actor: actor}
		}), nil
	}), controlplane.InProcess(control))
	w := httptest.NewRecorder()
	server.ServeHTTP(w, r)
	return w, got
}

func newRequest(path string, header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader("{}"))
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

// TestPrefix is behaviour 1.1.
func TestPrefix(t *testing.T) {
	for _, path := range []string{"/api/v2/aibridged/anthropic/v1/messages", "/anthropic/v1/messages"} {
		_, got := ask(t, &testkit.ControlPlane{}, newRequest(path, "X-Api-Key", testkit.Token))
		if got == nil || got.request.URL.Path != "/anthropic/v1/messages" {
			t.Errorf("%s: the bridge got %+v", path, got)
		}
	}
	_, got := ask(t, &testkit.ControlPlane{}, newRequest("/api/v2/aibridgedx/v1/messages", "X-Api-Key", testkit.Token))
	if got == nil || got.request.URL.Path != "/api/v2/aibridgedx/v1/messages" {
		t.Errorf("a path that only begins like the prefix: %+v", got)
	}
}

// TestToken is behaviour 1.2 and 1.3: which token counts, and which credentials the bridge is given.
func TestToken(t *testing.T) {
	const other = "sk-other-credential"
	for _, test := range []struct {
		name   string
		header []string
		passed map[string]string
	}{
		{"bearer", []string{"Authorization", "Bearer " + testkit.Token}, nil},
		{"scheme in any case, blanks around", []string{"Authorization", "  bEaReR   " + testkit.Token + "  "}, nil},
		{"key", []string{"X-Api-Key", testkit.Token}, nil},
		{"bearer before key", []string{"Authorization", "Bearer " + testkit.Token, "X-Api-Key", other}, nil},
		{"another scheme is no token", []string{"Authorization", "Basic eDp5", "X-Api-Key", testkit.Token}, nil},
		{"empty bearer is none", []string{"Authorization", "Bearer ", "X-Api-Key", testkit.Token}, nil},
		{
			"governance with a bearer of the caller's own",
			[]string{"X-Coder-AI-Governance-Token", testkit.Token, "Authorization", "Bearer " + other},
			map[string]string{"Authorization": "Bearer " + other},
		},
		{
			"governance with a key of the caller's own",
			[]string{"X-Coder-AI-Governance-Token", testkit.Token, "X-Api-Key", other},
			map[string]string{"X-Api-Key": other},
		},
		{
			"our token where a provider's key belongs (fault 46)",
			[]string{"X-Coder-AI-Governance-Token", testkit.Token, "Authorization", "Bearer " + testkit.Token, "X-Note", testkit.Token},
			nil,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, got := ask(t, &testkit.ControlPlane{}, newRequest("/anthropic/v1/messages", test.header...))
			if got == nil {
				t.Fatalf("refused: %d %s", w.Code, w.Body)
			}
			if got.acquire.SessionKey != testkit.Token || got.acquire.APIKeyID != testkit.APIKeyID || got.acquire.InitiatorID != uuid.MustParse(testkit.OwnerID) {
				t.Errorf("acquired for %+v", got.acquire)
			}
			if got.actor.ID != testkit.OwnerID || got.actor.Metadata["Username"] != testkit.Username {
				t.Errorf("actor %+v", got.actor)
			}
			for _, name := range []string{"X-Coder-Ai-Governance-Token", "Authorization", "X-Api-Key", "X-Note"} {
				if value := got.request.Header.Get(name); value != test.passed[name] {
					t.Errorf("%s went on as %q, want %q", name, value, test.passed[name])
				}
			}
		})
	}
}

// TestTokenInQuery is behaviour 1.3: no query carries our token upstream either.
func TestTokenInQuery(t *testing.T) {
	_, got := ask(t, &testkit.ControlPlane{}, newRequest("/anthropic/v1/messages?a=1&x="+testkit.Token+"&b=%32", "X-Api-Key", testkit.Token))
	if got == nil || got.request.URL.RawQuery != "a=1&b=%32" {
		t.Errorf("query %+v", got)
	}
}

// TestDelegated is behaviour 1.5.
func TestDelegated(t *testing.T) {
	var asked *proto.IsAuthorizedRequest
	control := &testkit.ControlPlane{Authorize: func(_ context.Context, r *proto.IsAuthorizedRequest) (*proto.IsAuthorizedResponse, error) {
		asked = r
		return &proto.IsAuthorizedResponse{OwnerId: testkit.OwnerID, ApiKeyId: r.GetKeyId()}, nil
	}}
	for _, header := range [][]string{
		nil,
		{"X-Coder-AI-Governance-Token", "anything", "Authorization", "Bearer own"},
	} {
		r := newRequest("/anthropic/v1/messages", header...)
		_, got := ask(t, control, r.WithContext(aibridge.WithDelegatedAPIKeyID(r.Context(), "key-7")))
		if got == nil {
			t.Fatal("refused")
		}
		if asked.GetKey() != "" || asked.GetKeyId() != "key-7" || got.acquire.SessionKey != "" || got.acquire.APIKeyID != "key-7" {
			t.Errorf("asked %v, acquired for %+v", asked, got.acquire)
		}
		if want := strings.Join(header, "") != ""; (got.request.Header.Get("Authorization") == "Bearer own") != want {
			t.Errorf("header %v went on as %v", header, got.request.Header)
		}
	}
}

// TestRefusals is behaviour 1.4 with faults 44, 45, 49, 62 and 65: each refusal has its status and its documented text
// in the shape of the API that was called, and contains nothing else.
func TestRefusals(t *testing.T) {
	const secret = "10.9.8.7:5432 s3cret"
	token := []string{"X-Api-Key", testkit.Token}
	answer := func(response *proto.IsAuthorizedResponse, err error) *testkit.ControlPlane {
		return &testkit.ControlPlane{Authorize: func(context.Context, *proto.IsAuthorizedRequest) (*proto.IsAuthorizedResponse, error) {
			return response, err
		}}
	}
	for _, test := range []struct {
		name    string
		control *testkit.ControlPlane
		header  []string
		status  int
		text    string
	}{
		{"no token", &testkit.ControlPlane{}, nil, 400, aibridged.ErrNoAuthKey.Error()},
		{"no token but another scheme", &testkit.ControlPlane{}, []string{"Authorization", "Basic eDp5"}, 400, aibridged.ErrNoAuthKey.Error()},
		{"two tokens (fault 44)", &testkit.ControlPlane{}, append([]string{"X-Api-Key", "x"}, token...), 400, "header X-Api-Key is there more than once"},
		{"two bearers (fault 44)", &testkit.ControlPlane{}, []string{"Authorization", "Bearer a", "Authorization", "Bearer b"}, 400, "header Authorization is there more than once"},
		{"refused", answer(nil, errors.New("key expired: "+secret)), token, 403, aibridged.ErrUnauthorized.Error()},
		{"unparsable owner (fault 65)", answer(&proto.IsAuthorizedResponse{OwnerId: secret}, nil), token, 403, aibridged.ErrUnauthorized.Error()},
		{"empty owner (fault 65)", answer(&proto.IsAuthorizedResponse{}, nil), token, 403, aibridged.ErrUnauthorized.Error()},
		{"database away (fault 62)", answer(nil, drpcerr.WithCode(errors.New(secret), 14)), token, 503, aibridged.ErrConnect.Error()},
		{"connection lost (fault 62)", answer(nil, io.ErrUnexpectedEOF), token, 503, aibridged.ErrConnect.Error()},
		{"authentication failed", answer(nil, drpcerr.WithCode(errors.New(secret), 1001)), token, 403, aibridged.ErrUnauthorized.Error()},
		{"denied by policy", answer(nil, drpcerr.WithCode(errors.New(secret), 1002)), token, 403, aibridged.ErrUnauthorized.Error()},
		{"evaluation failed", answer(nil, drpcerr.WithCode(errors.New(secret), 1003)), token, 500, "the key could not be checked"},
		{"malformed", answer(nil, drpcerr.WithCode(errors.New(secret), 1004)), token, 500, "the key could not be checked"},
		{"evaluation failed at a timeout of its own", answer(nil, drpcerr.WithCode(fmt.Errorf("%s: %w", secret, os.ErrDeadlineExceeded), 1003)), token, 500, "the key could not be checked"},
		{"denied over a broken connection of its own", answer(nil, drpcerr.WithCode(io.ErrUnexpectedEOF, 1002)), token, 403, aibridged.ErrUnauthorized.Error()},
		{"a code that nobody knows", answer(nil, drpcerr.WithCode(errors.New(secret), 1999)), token, 500, "the key could not be checked"},
		{"not found", answer(nil, drpcerr.WithCode(errors.New(secret), 5)), token, 500, "the key could not be checked"},
		{"permission denied", answer(nil, drpcerr.WithCode(errors.New(secret), 7)), token, 403, aibridged.ErrUnauthorized.Error()},
		{"unauthenticated", answer(nil, drpcerr.WithCode(errors.New(secret), 16)), token, 403, aibridged.ErrUnauthorized.Error()},
		{"out of time", answer(nil, drpcerr.WithCode(errors.New(secret), 4)), token, 503, aibridged.ErrConnect.Error()},
		{"empty bearer (fault 45)", &testkit.ControlPlane{}, []string{"Authorization", "Bearer"}, 403, aibridged.ErrUnauthorized.Error()},
		{"blank inside (fault 45)", &testkit.ControlPlane{}, []string{"X-Api-Key", "a b"}, 403, aibridged.ErrUnauthorized.Error()},
		{"not ASCII (fault 45)", &testkit.ControlPlane{}, []string{"X-Api-Key", "schlüssel"}, 403, aibridged.ErrUnauthorized.Error()},
		{"100 kB (fault 45)", answer(nil, io.EOF), []string{"X-Api-Key", strings.Repeat("k", 100<<10)}, 403, aibridged.ErrUnauthorized.Error()},
	} {
		t.Run(test.name, func(t *testing.T) {
			for path, textOf := range shapes() {
				w, got := ask(t, test.control, newRequest(path, test.header...))
				if got != nil {
					t.Fatalf("%s: the request went on", path)
				}
				if w.Code != test.status {
					t.Errorf("%s: status %d, want %d", path, w.Code, test.status)
				}
				if text := textOf(t, w.Body.Bytes()); text != test.text {
					t.Errorf("%s: text %q, want %q", path, text, test.text)
				}
				if (w.Code == 503) != (w.Header().Get("Retry-After") != "") {
					t.Errorf("%s: status %d with Retry-After %q", path, w.Code, w.Header().Get("Retry-After"))
				}
				if strings.Contains(w.Body.String(), "s3cret") {
					t.Errorf("%s: the cause is told: %s", path, w.Body)
				}
			}
		})
	}
}

// shapes returns a path of each API, with a function that reads the text of its errors.
func shapes() map[string]func(*testing.T, []byte) string {
	openAI := func(t *testing.T, body []byte) string {
		t.Helper()
		var e struct {
			Error struct {
				Message, Type string
				Param, Code   *string
			}
		}
		if err := json.Unmarshal(body, &e); err != nil || e.Error.Type == "" {
			t.Errorf("not the shape of OpenAI: %s", body)
		}
		return e.Error.Message
	}
	return map[string]func(*testing.T, []byte) string{
		"/anthropic/v1/messages": func(t *testing.T, body []byte) string {
			t.Helper()
			var e struct {
				Type  string
				Error struct{ Type, Message string }
			}
			if err := json.Unmarshal(body, &e); err != nil || e.Type != "error" || e.Error.Type == "" {
				t.Errorf("not the shape of Anthropic: %s", body)
			}
			return e.Error.Message
		},
		"/openai/v1/chat/completions": openAI,
		"/openai/v1/responses":        openAI,
		"/anthropic/v1/models":        func(_ *testing.T, body []byte) string { return strings.TrimSuffix(string(body), "\n") },
	}
}

// TestPoolFailure is behaviour 1.4: without a bridge, 500 and the documented error.
func TestPoolFailure(t *testing.T) {
	cause := errors.New("cause")
	server := newServer(t, poolFunc(func(context.Context, aibridged.Request) (http.Handler, error) { return nil, cause }),
		controlplane.InProcess(&testkit.ControlPlane{}))
	w := httptest.NewRecorder()
	server.ServeHTTP(w, newRequest("/x", "X-Api-Key", testkit.Token))
	if w.Code != 500 || w.Body.String() != aibridged.ErrAcquireRequestHandler.Error()+"\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	_, err := server.GetRequestHandler(t.Context(), aibridged.Request{})
	if !errors.Is(err, aibridged.ErrAcquireRequestHandler) || !errors.Is(err, cause) {
		t.Errorf("GetRequestHandler: %v", err)
	}
}

// TestFault061DownAtStart is behaviour 1.4 and fault 61: without a control plane from the start, requests do not hang,
// and later ones are served without a restart.
func TestFault061DownAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		dial := controlplane.InProcess(&testkit.ControlPlane{})
		server := newServer(t, serving(func(http.ResponseWriter, *http.Request) {}), func(ctx context.Context) (aibridged.DRPCClient, error) {
			if !up.Load() {
				return nil, errors.New("refused")
			}
			return dial(ctx)
		})
		began := time.Now()
		w := httptest.NewRecorder()
		server.ServeHTTP(w, newRequest("/anthropic/v1/messages", "X-Api-Key", testkit.Token))
		if w.Code != 503 || time.Since(began) >= time.Second {
			t.Errorf("%d after %s", w.Code, time.Since(began))
		}
		up.Store(true)
		time.Sleep(11 * time.Second) // The longest pause between two dials is 10 s; the clock is fake.
		w = httptest.NewRecorder()
		server.ServeHTTP(w, newRequest("/anthropic/v1/messages", "X-Api-Key", testkit.Token))
		if w.Code != 200 {
			t.Errorf("once it is up: %d", w.Code)
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestDialBackoff is behaviour 1.6: pauses double from 50 ms to 10 s, and half of each is random.
func TestDialBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials []time.Time
		server := newServer(t, serving(nil), func(context.Context) (aibridged.DRPCClient, error) {
			dials = append(dials, time.Now())
			return nil, errors.New("refused")
		})
		time.Sleep(5 * time.Minute)
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		pause := 50 * time.Millisecond
		for i := 1; i < len(dials); i++ {
			if took := dials[i].Sub(dials[i-1]); took < pause/2 || took > pause {
				t.Errorf("pause %d took %s, want %s to %s", i, took, pause/2, pause)
			}
			pause = min(2*pause, 10*time.Second)
		}
		if len(dials) < 30 {
			t.Errorf("%d dials in five minutes", len(dials))
		}
	})
}

// TestDialPause bounds the pauses by an option.
func TestDialPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials []time.Time
		server, err := aibridged.NewServer(t.Context(), serving(nil), func(context.Context) (aibridged.DRPCClient, error) {
			dials = append(dials, time.Now())
			return nil, errors.New("refused")
		}, aibridged.ServerOptions{DialPause: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		for i := 1; i < len(dials); i++ {
			if took := dials[i].Sub(dials[i-1]); took > time.Second {
				t.Errorf("pause %d took %s", i, took)
			}
		}
		if len(dials) < 60 {
			t.Errorf("%d dials in a minute", len(dials))
		}
	})
}

// TestCanceledDialEnds is behaviour 1.6: a dialer that fails with context.Canceled ends the loop, and waiting callers
// fail.
func TestCanceledDialEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		server := newServer(t, serving(nil), func(context.Context) (aibridged.DRPCClient, error) {
			dials++
			return nil, context.Canceled
		})
		if _, err := server.Client(); !errors.Is(err, aibridged.ErrConnect) {
			t.Errorf("Client: %v", err)
		}
		time.Sleep(time.Minute)
		if dials != 1 {
			t.Errorf("%d dials", dials)
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestShutdownWaits is behaviour 1.7 and fault 111: new requests are refused, the one in flight ends well.
func TestShutdownWaits(t *testing.T) {
	began, release := make(chan struct{}), make(chan struct{})
	server := newServer(t, serving(func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-release
		_, _ = io.WriteString(w, "done")
	}), controlplane.InProcess(&testkit.ControlPlane{}))
	first := httptest.NewRecorder()
	firstEnded := make(chan struct{})
	go func() {
		defer close(firstEnded)
		server.ServeHTTP(first, newRequest("/anthropic/v1/messages", "X-Api-Key", testkit.Token))
	}()
	<-began
	shut := make(chan error)
	go func() { shut <- server.Shutdown(context.Background()) }()
	var second *httptest.ResponseRecorder
	for second == nil || second.Code == 200 { // Until Shutdown has begun.
		if second != nil {
			t.Fatal("a request was served while another blocks the handler")
		}
		if refused := tryRequest(server); refused != nil {
			second = refused
		}
	}
	if second.Code != 503 || second.Header().Get("Connection") != "close" {
		t.Errorf("while shutting down: %d %v", second.Code, second.Header())
	}
	const text = `{"type":"error","error":{"type":"overloaded_error","message":"the gateway is shutting down, try again"}}`
	if got := second.Body.String(); got != text || second.Header().Get("Retry-After") != "1" {
		t.Errorf("while shutting down: %s, Retry-After %q", got, second.Header().Get("Retry-After"))
	}
	close(release)
	<-firstEnded
	if first.Code != 200 || first.Body.String() != "done" {
		t.Errorf("in flight: %d %q", first.Code, first.Body)
	}
	if err := <-shut; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := server.Close(); err != nil {
		t.Errorf("Close after Shutdown: %v", err)
	}
	if _, err := server.Client(); !errors.Is(err, aibridged.ErrConnect) {
		t.Errorf("Client after Shutdown: %v", err)
	}
}

// tryRequest sends a request without a token: a server that serves refuses it with 400, one that shuts down with 503.
func tryRequest(server *aibridged.Server) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	server.ServeHTTP(w, newRequest("/anthropic/v1/messages"))
	if w.Code == 400 {
		return nil
	}
	return w
}

// TestShutdownCancels is behaviour 1.7: when Shutdown's context ends, requests are cancelled, and their ends are
// recorded.
func TestShutdownCancels(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"usage\":{\"input_tokens\":7}}}\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer upstream.Close()
	g := testkit.NewGateway(t, upstream.URL, testkit.GatewayOptions{})
	response, err := testkit.NewClient(t).Do(g.Request(t, http.MethodPost, "/anthropic/v1/messages", `{"model":"m","stream":true,"messages":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	reader := bufio.NewReader(response.Body)
	if _, err := reader.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Server.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := io.ReadAll(reader); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the client's stream ended with %v", err)
	}
	records := g.Control.Records()
	testkit.CheckPairs(t, records)
	if end := records[len(records)-1].GetInterceptionEnded(); end.GetErrorType() != "truncated" {
		t.Errorf("ended as %v", end)
	}
}

// TestNewRefuses gives New a missing argument each time.
func TestNewRefuses(t *testing.T) {
	tracer := noop.NewTracerProvider().Tracer("test")
	dialer := controlplane.InProcess(&testkit.ControlPlane{})
	if _, err := aibridged.New(t.Context(), nil, dialer, slog.Logger{}, tracer); err == nil {
		t.Error("a nil pool was taken")
	}
	if _, err := aibridged.New(t.Context(), serving(nil), nil, slog.Logger{}, tracer); err == nil {
		t.Error("a nil dialer was taken")
	}
	if _, err := aibridged.New(t.Context(), serving(nil), dialer, slog.Logger{}, nil); err == nil {
		t.Error("a nil tracer was taken")
	}
}
