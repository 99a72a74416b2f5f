package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
)

func TestCall(t *testing.T) {
	const big = 12345678901234567
	s := newRealServer(t)
	s.addTool("echo", func(_ context.Context, request mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
		return mcpgo.NewToolResultText(string(request.Params.RawArguments)), nil
	})
	s.addTool("fails", func(context.Context, mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
		return mcpgo.NewToolResultError("no such file"), nil
	})
	s.addTool("breaks", func(context.Context, mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
		return nil, errors.New("broken inside")
	})
	s.addTool("structured", func(context.Context, mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
		return mcpgo.NewToolResultStructured(map[string]any{"n": big}, "a number"), nil
	})
	s.addTool("structured_twice", func(context.Context, mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
		return mcpgo.NewToolResultStructuredOnly(map[string]any{"n": big}), nil
	})
	s.addTool("mixed", func(context.Context, mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
		return &mcpgo.CallToolResult{Content: []mcpgo.Content{
			mcpgo.NewTextContent("first"),
			mcpgo.NewImageContent("AAAA", "image/png"),
			mcpgo.NewEmbeddedResource(mcpgo.TextResourceContents{URI: "file:///a", Text: "second"}),
			mcpgo.NewEmbeddedResource(mcpgo.BlobResourceContents{URI: "file:///b", MIMEType: "x/y", Blob: "AAAA"}),
			mcpgo.NewResourceLink("file:///c", "c", "", ""),
		}}, nil
	})
	p := connect(t, ProxyOptions{URL: s.url})
	for name, test := range map[string]struct {
		tool, input string
		want        Result
		failure     string
	}{
		"ok":            {tool: "echo", input: fmt.Sprintf(` {"b": %d, "a": "<"} `, big), want: texts(fmt.Sprintf(`{"b":%d,"a":"\u003c"}`, big))},
		"no input":      {tool: "echo", want: texts(`{}`)},
		"null input":    {tool: "echo", input: `null`, want: texts(`{}`)},
		"no object":     {tool: "echo", input: `[1]`, failure: "not a JSON object"},
		"no JSON":       {tool: "echo", input: `{"a":`, failure: "not a JSON object"},
		"its own error": {tool: "fails", want: Result{Parts: []Part{{Text: "no such file"}}, IsError: true}},
		"its own panic": {tool: "breaks", failure: "broken inside"},
		"structured":    {tool: "structured", want: texts("a number", fmt.Sprintf(`{"n":%d}`, big))},
		"said twice":    {tool: "structured_twice", want: texts(fmt.Sprintf(`{"n":%d}`, big))},
		"no text": {tool: "mixed", want: texts("first", `[image of type "image/png" left out: it is not a PNG, JPEG, GIF or WebP image]`,
			"second", `[resource file:///b of type "x/y" left out]`, "[resource file:///c]")},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := p.Call(t.Context(), "bmcp_srv_"+test.tool, json.RawMessage(test.input))
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("result %+v, want %+v", got, test.want)
			}
			if test.failure == "" && err != nil || test.failure != "" && (err == nil || !strings.Contains(err.Error(), test.failure)) {
				t.Errorf("error %v, want %q", err, test.failure)
			}
		})
	}
}

func TestCallOfUnknownTool(t *testing.T) {
	s := newRealServer(t)
	s.add("known")
	p := connect(t, ProxyOptions{URL: s.url})
	for _, id := range []string{"", "known", "bmcp_srv_unknown", strings.Repeat("x", 1<<20)} {
		_, err := p.Call(t.Context(), id, nil)
		if !errors.Is(err, ErrUnknownTool) || len(err.Error()) > 300 {
			t.Errorf("Call(%.20q): %.400v", id, err)
		}
	}
}

// TestHostileAnswers has servers whose answers to a call are broken or too large. Each makes one call fail and nothing
// else; the leak check at the end of the tests finds goroutines that remain.
func TestHostileAnswers(t *testing.T) {
	endless := func(w http.ResponseWriter, line string) {
		block := strings.Repeat(line, 1+(64<<10)/len(line))
		for {
			if _, err := fmt.Fprint(w, block); err != nil {
				return
			}
		}
	}
	events := func(lines ...string) func(http.ResponseWriter, *http.Request, rawCall) {
		return func(w http.ResponseWriter, _ *http.Request, call rawCall) {
			w.Header().Set("Content-Type", "text/event-stream")
			for _, line := range lines {
				fmt.Fprintf(w, "data: %s\n\n", strings.ReplaceAll(line, "ID", string(call.ID)))
			}
		}
	}
	json := func(text string) func(http.ResponseWriter, *http.Request, rawCall) {
		return func(w http.ResponseWriter, _ *http.Request, call rawCall) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, strings.ReplaceAll(text, "ID", string(call.ID)))
		}
	}
	for name, test := range map[string]struct {
		handle func(http.ResponseWriter, *http.Request, rawCall)
		want   string // Part of the error's text, or "" where the result is "fine".
	}{
		"100 MB": {func(w http.ResponseWriter, _ *http.Request, call rawCall) {
			answer(w, call, `{"content":[{"type":"text","text":"`+strings.Repeat("x", 100<<20)+`"}]}`)
		}, "answer too large"},
		"endless JSON": {func(w http.ResponseWriter, _ *http.Request, _ rawCall) {
			w.Header().Set("Content-Type", "application/json")
			endless(w, `                `)
		}, "answer too large"},
		"endless line": {func(w http.ResponseWriter, _ *http.Request, _ rawCall) {
			w.Header().Set("Content-Type", "text/event-stream")
			endless(w, "data: x")
		}, "answer too large"},
		"endless events": {func(w http.ResponseWriter, _ *http.Request, _ rawCall) {
			w.Header().Set("Content-Type", "text/event-stream")
			endless(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\""+strings.Repeat("x", 10<<10)+"\"}\n\n")
		}, "answer too large"},
		"deep JSON":        {json(`{"jsonrpc":"2.0","id":ID,"result":` + strings.Repeat("[", 1<<20) + `}`), "max depth"},
		"binary":           {json("\x00\xff\xfe\x80"), "invalid character"},
		"batch":            {json(`[{"jsonrpc":"2.0","id":ID,"result":{}}]`), "cannot unmarshal array"},
		"another id":       {json(`{"jsonrpc":"2.0","id":"other","result":{}}`), "answer is to another request"},
		"no id":            {json(`{"jsonrpc":"2.0","result":{}}`), "should contain RPC id"},
		"neither":          {json(`{"jsonrpc":"2.0","id":ID}`), "neither a result nor an error"},
		"null":             {json(`{"jsonrpc":"2.0","id":ID,"result":null}`), "the"},
		"a result of text": {json(`{"jsonrpc":"2.0","id":ID,"result":"x"}`), "the tool's result"},
		"an error":         {json(`{"jsonrpc":"2.0","id":ID,"error":{"code":-5,"message":"no luck"}}`), "JSON-RPC error -5: no luck"},
		"HTML":             {func(w http.ResponseWriter, _ *http.Request, _ rawCall) { fmt.Fprint(w, "<html>") }, "unexpected content type"},
		"nothing":          {func(w http.ResponseWriter, _ *http.Request, _ rawCall) { w.WriteHeader(http.StatusAccepted) }, "unexpected content type"},
		"500": {func(w http.ResponseWriter, _ *http.Request, _ rawCall) {
			w.WriteHeader(500)
			fmt.Fprint(w, `{"error":{"message":"out of order"}}`)
		}, "HTTP status 500: out of order"},
		"502 in HTML": {func(w http.ResponseWriter, _ *http.Request, _ rawCall) {
			w.WriteHeader(502)
			fmt.Fprint(w, `<html>`)
		}, "HTTP status 502"},
		"cut off": {func(w http.ResponseWriter, _ *http.Request, _ rawCall) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"jsonrpc":`)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, "unexpected EOF"},
		"stream without an answer": {events(`{"jsonrpc":"2.0","method":"x"}`), "unexpected nil response"},
		"many answers": {events(`{"jsonrpc":"2.0","method":"x"}`, `not JSON`, `{"id":7,"method":"ping"}`,
			`{"jsonrpc":"2.0","Id":ID,"result":{"content":[{"type":"text","text":"fine"}]}}`,
			`{"jsonrpc":"2.0","id":ID,"result":{}}`, `{"jsonrpc":"2.0","id":ID,"result":{}}`,
			`{"jsonrpc":"2.0","id":ID,"result":{}}`), ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := connect(t, ProxyOptions{URL: rawServer{"tools/call": test.handle}.start(t)})
			result, err := p.Call(t.Context(), "bmcp_srv_tool", nil)
			switch {
			case test.want == "" && (err != nil || textOf(result) != "fine"):
				t.Errorf("result %+v, error %v", result, err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("result %+v, error %v, want %q", result, err, test.want)
			}
			if test.want == "" {
				return
			}
			told, ok := err.(interface{ Told() string })
			words := []string{"too large", "no luck", "HTTP status", "as the protocol wants", "cannot be reached, or broke"}
			if !ok || !slices.ContainsFunc(words, func(word string) bool { return strings.Contains(told.Told(), word) }) ||
				strings.Contains(told.Told(), "127.0.0.1") || strings.Contains(told.Told(), "Go ") {
				t.Errorf("the model is told %q", told)
			}
		})
	}
}

// TestModelIsToldNoAddress has servers that cannot be reached: the error has the address for operators, the model does not get it.
func TestModelIsToldNoAddress(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	address := server.Listener.Addr().String()
	server.Close()
	_, err := net.Dial("tcp", address)
	failed := secrets(nil).failure("call", fmt.Errorf("failed to send request: %w", err))
	if told, ok := failed.(interface{ Told() string }); !ok || !strings.Contains(failed.Error(), address) || strings.Contains(told.Told(), address) || !strings.Contains(told.Told(), "cannot be reached") {
		t.Errorf("%v: the model is told %q", failed, told)
	}
}

// panickyTransport panics on POST once calls is set.
type panickyTransport struct{ calls atomic.Bool }

func (p *panickyTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if p.calls.Load() && req.Method == http.MethodPost {
		panic("out of my depth with " + testToken)
	}
	return http.DefaultTransport.RoundTrip(req)
}

func TestPanicIsContained(t *testing.T) {
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	transport := &panickyTransport{}
	p := connect(t, ProxyOptions{URL: rawServer{}.start(t), Headers: withToken(testToken), Transport: transport})
	transport.calls.Store(true)
	_, err := p.Call(t.Context(), "bmcp_srv_tool", nil)
	if err == nil || !strings.Contains(err.Error(), "out of my depth with [redacted]") {
		t.Errorf("error %v", err)
	}
}

func TestHangingCallEnds(t *testing.T) {
	called, cancelled := make(chan string, 1), make(chan string, 1)
	url := rawServer{
		"tools/call": func(w http.ResponseWriter, r *http.Request, call rawCall) {
			called <- string(call.ID)
			hang(w, r, call)
		},
		"notifications/cancelled": func(w http.ResponseWriter, _ *http.Request, call rawCall) {
			cancelled <- string(call.Params.RequestID)
			w.WriteHeader(http.StatusAccepted)
		},
	}.start(t)
	for name, test := range map[string]struct {
		timeout time.Duration
		end     func(p *StreamableHTTPProxy, cancel func())
		want    error
		tells   bool
	}{
		"at the time limit":    {50 * time.Millisecond, func(*StreamableHTTPProxy, func()) {}, context.DeadlineExceeded, true},
		"with its caller":      {time.Hour, func(_ *StreamableHTTPProxy, cancel func()) { cancel() }, context.Canceled, true},
		"with all the session": {time.Hour, func(p *StreamableHTTPProxy, _ func()) { _ = p.Shutdown(context.Background()) }, ErrClosed, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := connect(t, ProxyOptions{URL: url, CallTimeout: test.timeout})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			var calls sync.WaitGroup
			calls.Go(func() {
				_, err := p.Call(ctx, "bmcp_srv_tool", nil)
				ended <- err
			})
			id := receive(t, called, "the call")
			test.end(p, cancel)
			if err := receive(t, ended, "the end of the call"); !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			calls.Wait()
			if test.tells {
				if got := receive(t, cancelled, "the cancellation"); got != id {
					t.Errorf("request %s was cancelled, not %s", got, id)
				}
			}
		})
	}
}

func TestUsersAreApart(t *testing.T) {
	s := newRealServer(t)
	s.addTool("whoami", func(_ context.Context, request mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
		return mcpgo.NewToolResultText(request.Header.Get("X-User") + " " + request.Header.Get("Mcp-Session-Id")), nil
	})
	answers := make(map[string]string)
	for _, user := range []string{"alice", "bob"} {
		p := connect(t, ProxyOptions{URL: s.url, Headers: map[string]string{"X-User": user, "Authorization": "Bearer of-" + user}})
		for range 20 {
			result, err := p.Call(t.Context(), "bmcp_srv_whoami", nil)
			if err != nil {
				t.Fatal(err)
			}
			answers[user] = textOf(result)
		}
	}
	alice, bob := strings.Fields(answers["alice"]), strings.Fields(answers["bob"])
	if len(alice) != 2 || len(bob) != 2 || alice[1] == bob[1] {
		t.Errorf("alice is %v, bob is %v", alice, bob)
	}
	for _, token := range s.headers("Authorization") {
		if token != "Bearer of-alice" && token != "Bearer of-bob" {
			t.Errorf("a request with %q", token)
		}
	}
}

// A server that was restarted does not know the session: it answers 404 and runs nothing. All callers share one new
// session, and each call is made once more.
func TestFault96SessionIsForgotten(t *testing.T) {
	s := newRealServer(t)
	var calls, handshakes atomic.Int32
	start := func() {
		s.wrap(withoutStream) // A stream would break, and so tell the proxy that the server was restarted.
		s.wrap(counting("initialize", &handshakes))
		s.addTool("tool", func(context.Context, mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
			calls.Add(1)
			return mcpgo.NewToolResultText("done"), nil
		}, mcpgo.WithReadOnlyHintAnnotation(false), mcpgo.WithIdempotentHintAnnotation(false))
	}
	start()
	p := connect(t, ProxyOptions{URL: s.url})
	s.restart()
	start()
	s.add("more")
	const callers = 20
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			if result, err := p.Call(t.Context(), "bmcp_srv_tool", nil); err != nil || textOf(result) != "done" {
				t.Errorf("result %+v, error %v", result, err)
			}
		})
	}
	all.Wait()
	if got := names(p.Tools()); !slices.Equal(got, []string{"more", "tool"}) {
		t.Errorf("tools %v after the restart", got)
	}
	if calls.Load() != callers || handshakes.Load() != 2 {
		t.Errorf("the tool ran %d times, after %d handshakes", calls.Load(), handshakes.Load())
	}
}

// counting counts the requests with a method.
func counting(method string, count *atomic.Int32) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if strings.Contains(string(body), `"method":"`+method+`"`) {
				count.Add(1)
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			next.ServeHTTP(w, r)
		})
	}
}

// sessionServer is a rawServer that gives each handshake a session of its own.
func sessionServer(call func(w http.ResponseWriter, r *http.Request, call rawCall)) rawServer {
	var sessions atomic.Int32
	return rawServer{
		"initialize": func(w http.ResponseWriter, _ *http.Request, call rawCall) {
			w.Header().Set("Mcp-Session-Id", fmt.Sprintf("session-%d", sessions.Add(1)))
			answer(w, call, `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}}}`)
		},
		"tools/list": answerWith(`{"tools":[{"name":"tool"},{"name":"reads","annotations":{"readOnlyHint":true}},` +
			`{"name":"twice","annotations":{"idempotentHint":true}}]}`),
		"tools/call": call,
	}
}

// A server that never knows a session gets one handshake and one more try from each call.
func TestFault96ServerForgetsEverySession(t *testing.T) {
	var calls atomic.Int32
	p := connect(t, ProxyOptions{URL: sessionServer(func(w http.ResponseWriter, _ *http.Request, _ rawCall) {
		calls.Add(1)
		w.WriteHeader(http.StatusNotFound)
	}).start(t)})
	if _, err := p.Call(t.Context(), "bmcp_srv_tool", nil); !errors.Is(err, ErrSessionExpired) || calls.Load() != 2 {
		t.Errorf("error %v after %d calls", err, calls.Load())
	}
}

// A call that the server had begun to answer is not made again, whatever becomes of the answer, unless the server says
// that this does no harm.
func TestFault96CutCallIsNotMadeAgain(t *testing.T) {
	cut := func(w http.ResponseWriter, _ *http.Request, _ rawCall) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	// The stream ends in an orderly way and is to be resumed, but the server has forgotten the session then.
	toResume := func(status int) func(http.ResponseWriter, *http.Request, rawCall) {
		return func(w http.ResponseWriter, r *http.Request, _ rawCall) {
			if r.Method == http.MethodGet {
				w.WriteHeader(status)
				return
			}
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "id: 1\nretry: 10\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n")
		}
	}
	for name, test := range map[string]struct {
		handle func(http.ResponseWriter, *http.Request, rawCall)
		tool   string
		calls  int32
	}{
		"cut":                      {cut, "tool", 1},
		"cut, read-only":           {cut, "reads", 1},
		"session gone":             {toResume(404), "tool", 1},
		"session gone, read-only":  {toResume(404), "reads", 2},
		"session gone, idempotent": {toResume(404), "twice", 2},
		"token gone":               {toResume(401), "tool", 1},
		"token gone, read-only":    {toResume(401), "reads", 2},
		"server broken":            {toResume(500), "reads", 1},
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int32
			raw := sessionServer(func(w http.ResponseWriter, r *http.Request, call rawCall) {
				calls.Add(1)
				test.handle(w, r, call)
			})
			raw[http.MethodGet] = func(w http.ResponseWriter, r *http.Request, call rawCall) {
				if r.Header.Get("Last-Event-Id") == "" {
					w.WriteHeader(http.StatusMethodNotAllowed)
					return
				}
				test.handle(w, r, call)
			}
			p := connect(t, ProxyOptions{URL: raw.start(t), Reauthorize: func(context.Context) (map[string]string, error) { return nil, nil }})
			_, err := p.Call(t.Context(), "bmcp_srv_"+test.tool, nil)
			if err == nil || calls.Load() != test.calls {
				t.Errorf("error %v after %d calls, want %d", err, calls.Load(), test.calls)
			}
		})
	}
}

// Some servers answer 400 where the protocol wants 404. The call fails, and the next one finds a new session.
func TestFault96SessionIsForgottenWithoutASay(t *testing.T) {
	var known atomic.Value
	known.Store("session-1")
	raw := sessionServer(nil)
	guard := func(handle func(http.ResponseWriter, *http.Request, rawCall)) func(http.ResponseWriter, *http.Request, rawCall) {
		return func(w http.ResponseWriter, r *http.Request, call rawCall) {
			if r.Header.Get("Mcp-Session-Id") != known.Load() {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			handle(w, r, call)
		}
	}
	raw["tools/call"] = guard(answerWith(`{"content":[{"type":"text","text":"done"}]}`))
	raw["tools/list"] = guard(func(w http.ResponseWriter, _ *http.Request, call rawCall) {
		answer(w, call, `{"tools":[{"name":"tool"},{"name":"of-`+known.Load().(string)+`"}]}`)
	})
	l, logger := newLogs()
	p := connect(t, ProxyOptions{URL: raw.start(t), Logger: logger})
	l.await(t, "MCP server's tools")
	known.Store("session-2")
	if _, err := p.Call(t.Context(), "bmcp_srv_tool", nil); err == nil {
		t.Error("the first call has a result")
	}
	l.await(t, "MCP server's tools")
	if got := names(p.Tools()); !slices.Equal(got, []string{"of-session-2", "tool"}) {
		t.Errorf("tools %v", got)
	}
	if result, err := p.Call(t.Context(), "bmcp_srv_tool", nil); err != nil || textOf(result) != "done" {
		t.Errorf("result %+v, error %v", result, err)
	}
}

// withoutStream offers no stream of notifications.
func withoutStream(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// guarded refuses requests that do not carry the present token.
func guarded(token *atomic.Value) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer "+token.Load().(string) {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func TestExpiredTokenIsRenewedOnce(t *testing.T) {
	var token atomic.Value
	token.Store("first-token")
	s := newRealServer(t)
	s.add("tool")
	s.wrap(guarded(&token))
	renewals := 0
	p := connect(t, ProxyOptions{URL: s.url, Headers: withToken("first-token"),
		Reauthorize: func(context.Context) (map[string]string, error) {
			renewals++ // The race detector reports two that run at once.
			return withToken(token.Load().(string)), nil
		},
	})
	token.Store("second-token")
	var calls sync.WaitGroup
	for range 50 {
		calls.Go(func() {
			if result, err := p.Call(t.Context(), "bmcp_srv_tool", nil); err != nil || textOf(result) != "this is tool" {
				t.Errorf("result %+v, error %v", result, err)
			}
		})
	}
	calls.Wait()
	if renewals != 1 {
		t.Errorf("%d renewals", renewals)
	}
}

func TestRenewalLeavesRunningCallsAlone(t *testing.T) {
	var token atomic.Value
	token.Store("first-token")
	begun, proceed := make(chan struct{}), make(chan struct{})
	s := newRealServer(t)
	s.add("tool")
	s.addTool("long", func(ctx context.Context, _ mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
		close(begun)
		select {
		case <-proceed:
		case <-ctx.Done():
		}
		return mcpgo.NewToolResultText("done at last"), ctx.Err()
	})
	s.wrap(guarded(&token))
	p := connect(t, ProxyOptions{URL: s.url, Headers: withToken("first-token"),
		Reauthorize: func(context.Context) (map[string]string, error) { return withToken(token.Load().(string)), nil },
	})
	var calls sync.WaitGroup
	calls.Go(func() {
		if result, err := p.Call(t.Context(), "bmcp_srv_long", nil); err != nil || textOf(result) != "done at last" {
			t.Errorf("the running call: %+v, %v", result, err)
		}
	})
	receive(t, begun, "the call")
	token.Store("second-token")
	if _, err := p.Call(t.Context(), "bmcp_srv_tool", nil); err != nil {
		t.Error(err)
	}
	close(proceed)
	calls.Wait()
}

func TestExpiredTokenThatIsNotRenewed(t *testing.T) {
	for name, reauthorize := range map[string]func(context.Context) (map[string]string, error){
		"nobody to ask":   nil,
		"refused":         func(context.Context) (map[string]string, error) { return nil, errors.New("revoked " + testToken) },
		"refused as well": func(context.Context) (map[string]string, error) { return withToken("another-token"), nil },
	} {
		t.Run(name, func(t *testing.T) {
			var token atomic.Value
			token.Store(testToken)
			s := newRealServer(t)
			s.add("tool")
			s.wrap(guarded(&token))
			p := connect(t, ProxyOptions{URL: s.url, Headers: withToken(testToken), Reauthorize: reauthorize})
			token.Store("revoked")
			for range 2 {
				_, err := p.Call(t.Context(), "bmcp_srv_tool", nil)
				if !errors.Is(err, ErrUnauthorized) || strings.Contains(err.Error(), testToken) {
					t.Errorf("error %v", err)
				}
			}
			if len(p.Tools()) != 1 {
				t.Error("the tool is gone")
			}
		})
	}
}

// TestNoTokenLeaves has a server that repeats the credentials wherever it can.
func TestNoTokenLeaves(t *testing.T) {
	const key = "query-secret-1234"
	echo := testToken + " and " + key
	url := rawServer{"tools/call": func(w http.ResponseWriter, _ *http.Request, call rawCall) {
		switch string(call.Params.Arguments) {
		case `{"as":"result"}`:
			answer(w, call, `{"isError":true,"content":[{"type":"text","text":"bad token `+echo+`"}]}`)
		case `{"as":"error"}`:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":1,"message":%q}}`, call.ID, echo)
		case `{"as":"status"}`:
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, `{"error":{"message":%q}}`, echo)
		case `{"as":"redirect"}`:
			w.Header().Set("Location", "http://127.0.0.1:1/?"+echo)
			w.WriteHeader(http.StatusFound)
		case `{"as":"type"}`:
			w.Header().Set("Content-Type", echo)
		case `{"as":"abort"}`:
			panic(http.ErrAbortHandler)
		}
	}}.start(t)
	p := connect(t, ProxyOptions{URL: url + "/?key=" + key, Headers: withToken(testToken)})
	for _, as := range []string{"result", "error", "status", "redirect", "type", "abort"} {
		result, err := p.Call(t.Context(), "bmcp_srv_tool", json.RawMessage(`{"as":"`+as+`"}`))
		said := fmt.Sprintf("%+v %v %+v %#v", result, err, err, errors.Unwrap(err))
		if strings.Contains(said, testToken) || strings.Contains(said, key) {
			t.Errorf("%s: %s", as, said)
		}
		if (err == nil) != (as == "result") {
			t.Errorf("%s: error %v", as, err)
		}
	}
}
