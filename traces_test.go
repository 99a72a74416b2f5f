package aibridged_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/coder/aibridged/internal/fakellm"
	"github.com/coder/aibridged/internal/fakemcp"
	"github.com/coder/aibridged/internal/testkit"
)

const (
	clientTrace  = "0af7651916cd43dd8448eb211c80319c"
	clientSpan   = "b7ad6b7169203331"
	clientParent = "00-" + clientTrace + "-" + clientSpan + "-01"
	clientState  = "vendor=a,other=b"
)

// traced is a gateway whose spans are kept.
type traced struct {
	*testkit.Gateway

	spans spanLog

	mu       sync.Mutex
	upstream []http.Header // Guarded by mu: the headers that the upstream got.
}

// newTraced starts a gateway with an MCP server that has a tool which works and one that fails.
func newTraced(t *testing.T, up http.Handler) *traced {
	t.Helper()
	g := &traced{spans: spanLog{tracetest.NewInMemoryExporter(), make(chan struct{}, 1)}}
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.upstream = append(g.upstream, r.Header.Clone())
		g.mu.Unlock()
		up.ServeHTTP(w, r)
	}))
	t.Cleanup(upstream.Close)
	docs := httptest.NewServer(fakemcp.New(
		fakemcp.Tool{Name: "search", Results: []json.RawMessage{json.RawMessage(`{"content":[{"type":"text","text":"found"}]}`)}},
		fakemcp.Tool{Name: "fails", Results: []json.RawMessage{json.RawMessage(`{"content":[{"type":"text","text":"no"}],"isError":true}`)}},
	))
	t.Cleanup(func() {
		docs.CloseClientConnections()
		docs.Close()
	})
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(g.spans))
	g.Gateway = testkit.NewGateway(t, upstream.URL, testkit.GatewayOptions{
		MCPServers: map[string]string{"docs": docs.URL}, Tracer: provider.Tracer("test"),
	})
	return g
}

// ask sends a request of the client's trace, and returns the answer's status when the gateway has ended its spans.
func (g *traced) ask(t *testing.T, method, path, body string) int {
	t.Helper()
	r := g.Request(t, method, path, body)
	r.Header["Traceparent"], r.Header["Tracestate"] = []string{clientParent}, []string{clientState}
	response, err := testkit.NewClient(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	g.await(t, "Intercept", "Passthrough")
	return response.StatusCode
}

// await waits until a span of one of these names has ended.
func (g *traced) await(t *testing.T, names ...string) {
	t.Helper()
	for patience := time.After(testkit.Patience); len(g.named(names...)) == 0; {
		select {
		case <-g.spans.exported:
		case <-patience:
			t.Fatalf("no span %q", names)
		}
	}
}

// spanLog keeps spans, and tells that some have come since it was last asked.
type spanLog struct {
	*tracetest.InMemoryExporter

	exported chan struct{}
}

// ExportSpans implements [sdktrace.SpanExporter].
func (l spanLog) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := l.InMemoryExporter.ExportSpans(ctx, spans)
	select {
	case l.exported <- struct{}{}:
	default:
	}
	return err
}

// named returns the spans of these names that have ended.
func (g *traced) named(names ...string) []tracetest.SpanStub {
	return slices.DeleteFunc(g.spans.GetSpans(), func(s tracetest.SpanStub) bool { return !slices.Contains(names, s.Name) })
}

// has checks attributes of a span.
func has(t *testing.T, span tracetest.SpanStub, want ...attribute.KeyValue) {
	t.Helper()
	all := attribute.NewSet(span.Attributes...)
	for _, want := range want {
		if got, _ := all.Value(want.Key); got != want.Value {
			t.Errorf("span %s: %s is %q, want %q", span.Name, want.Key, got.String(), want.Value.String())
		}
	}
}

// TestTraces sends requests of each format through a gateway, streamed and not, each with a round of a tool that works and one
// of a tool that fails, and checks the spans: their names, whose children they are, what they say, and that they belong to the
// client's trace, whose headers reach the upstream as they came.
func TestTraces(t *testing.T) {
	const script = `[[usage: input=7 output=5 cache_read=3]] [[tool: bmcp_docs_search {}]] [[then]] [[usage: input=11 output=2]] [[tool: bmcp_docs_fails {}]] [[then]] [[usage: input=13 output=1]] [[text: Done.]]`
	for name, body := range map[string]string{
		"/anthropic/v1/messages":      `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"SCRIPT"}]MORE}`,
		"/openai/v1/chat/completions": `{"model":"m","messages":[{"role":"user","content":"SCRIPT"}]MORE}`,
		"/openai/v1/responses":        `{"model":"m","input":"SCRIPT"MORE}`,
	} {
		for form, more := range map[string]string{"blocking": "", "stream": `,"stream":true`} {
			t.Run(name+" "+form, func(t *testing.T) {
				g := newTraced(t, fakellm.New(fakellm.Options{}))
				quoted := strings.ReplaceAll(script, `"`, `\"`)
				if status := g.ask(t, http.MethodPost, name, strings.NewReplacer("SCRIPT", quoted, "MORE", more).Replace(body)); status != 200 {
					t.Fatalf("status %d", status)
				}
				intercept := g.named("Intercept")[0]
				provider := "openai"
				if strings.HasPrefix(name, "/anthropic") {
					provider = "anthropic"
				}
				has(t, intercept,
					attribute.String("gen_ai.provider.name", provider), attribute.String("gen_ai.operation.name", "chat"), attribute.String("gen_ai.request.model", "m"),
					attribute.String("gen_ai.response.model", "m"), attribute.Int("gen_ai.usage.input_tokens", 34), attribute.Int("gen_ai.usage.output_tokens", 8),
					attribute.Int("gen_ai.usage.cache_read.input_tokens", 3), attribute.Int("rounds", 3), attribute.Bool("stream", more != ""))
				if intercept.Status.Code != codes.Unset || intercept.SpanKind != trace.SpanKindServer {
					t.Errorf("the interception: %v, %v", intercept.Status, intercept.SpanKind)
				}
				if got := intercept.Parent.SpanID().String(); got != clientSpan {
					t.Errorf("the interception is a child of %s", got)
				}
				rounds := g.named("Intercept.Upstream")
				if len(rounds) != 3 {
					t.Fatalf("%d rounds", len(rounds))
				}
				for n, round := range rounds {
					has(t, round,
						attribute.Int("gen_ai.usage.input_tokens", []int{10, 11, 13}[n]), attribute.Int("gen_ai.usage.output_tokens", []int{5, 2, 1}[n]),
						attribute.Int("http.response.status_code", 200), attribute.String("gen_ai.response.model", "m"))
					if round.Status.Code != codes.Unset || round.Parent.SpanID() != intercept.SpanContext.SpanID() || round.SpanKind != trace.SpanKindClient {
						t.Errorf("round %d: %v, child of %s, %v", n, round.Status, round.Parent.SpanID(), round.SpanKind)
					}
				}
				calls := g.named("Intercept.ToolCall")
				if len(calls) != 2 {
					t.Fatalf("%d calls", len(calls))
				}
				has(t, calls[0], attribute.String("gen_ai.tool.name", "bmcp_docs_search"), attribute.String("mcp.server", "docs"), attribute.String("gen_ai.operation.name", "execute_tool"))
				has(t, calls[1], attribute.String("gen_ai.tool.name", "bmcp_docs_fails"), attribute.String("error.type", "tool_error"))
				if calls[0].Status.Code != codes.Unset || calls[1].Status.Code != codes.Error {
					t.Errorf("the calls: %v, %v", calls[0].Status, calls[1].Status)
				}
				acquire := g.named("CachedBridgePool.Acquire")
				if len(acquire) != 1 || len(acquire[0].Events) != 1 || acquire[0].Events[0].Name != "cache_miss" {
					t.Errorf("acquired %v", acquire)
				}
				if opened := g.named("MCP init"); len(opened) != 1 || opened[0].Parent.SpanID() != acquire[0].SpanContext.SpanID() {
					t.Errorf("MCP init: %v", opened)
				}
				g.checkTrace(t, 3)
			})
		}
	}
}

// checkTrace checks that all spans and the line of the log belong to the client's trace, and that the headers which name it
// came to the upstream as they were, in so many requests.
func (g *traced) checkTrace(t *testing.T, requests int) {
	t.Helper()
	for _, span := range g.spans.GetSpans() {
		if got := span.SpanContext.TraceID().String(); got != clientTrace {
			t.Errorf("span %s belongs to trace %s", span.Name, got)
		}
	}
	if log := g.Log.String(); !strings.Contains(log, clientTrace) {
		t.Errorf("the log does not name the trace: %s", log)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.upstream) != requests {
		t.Errorf("%d requests went upstream", len(g.upstream))
	}
	for _, header := range g.upstream {
		if got := header["Traceparent"]; len(got) != 1 || got[0] != clientParent || header.Get("Tracestate") != clientState {
			t.Errorf("the upstream got traceparent %q and tracestate %q", got, header["Tracestate"])
		}
	}
}

// TestTracesOfPassthrough checks the span of a request that is passed through, of embeddings, and of what fails.
func TestTracesOfPassthrough(t *testing.T) {
	for name, test := range map[string]struct {
		method, path, body string
		status             int
		answer             string
		span               string
		want               []attribute.KeyValue
		isError            bool
	}{
		"passed through": {"GET", "/openai/v1/models", "", 200, `{}`, "Passthrough", []attribute.KeyValue{
			attribute.String("gen_ai.provider.name", "openai"), attribute.String("provider_name", "openai"), attribute.Int("http.response.status_code", 200),
		}, false},
		"passed through and refused": {"GET", "/openai/v1/models/x", "", 404, `{}`, "Passthrough", []attribute.KeyValue{
			attribute.Int("http.response.status_code", 404), attribute.String("error.type", "bad_request"),
		}, true},
		"embeddings": {"POST", "/openai/v1/embeddings", `{"model":"m","input":"x"}`, 200, `{"object":"list","model":"m-2","data":[],"usage":{"prompt_tokens":9,"total_tokens":9}}`, "Intercept", []attribute.KeyValue{
			attribute.String("gen_ai.operation.name", "embeddings"), attribute.String("gen_ai.response.model", "m-2"), attribute.Int("gen_ai.usage.input_tokens", 9),
		}, false},
		"overloaded": {"POST", "/anthropic/v1/messages", `{"model":"m","messages":[]}`, 529, `{"type":"error","error":{"type":"overloaded_error","message":"x"}}`, "Intercept.Upstream", []attribute.KeyValue{
			attribute.Int("http.response.status_code", 529), attribute.String("error.type", "overloaded"),
		}, true},
		"an error in the answer": {"POST", "/anthropic/v1/messages", `{"model":"m","messages":[],"stream":true}`, 200, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"x\"}}\n\n", "Intercept", []attribute.KeyValue{
			attribute.String("error.type", "overloaded"),
		}, true},
		"cut off": {"POST", "/anthropic/v1/messages", `{"model":"m","messages":[],"stream":true}`, 200, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"m\"}}\n\n", "Intercept.Upstream", []attribute.KeyValue{
			attribute.String("error.type", "truncated"), attribute.String("gen_ai.response.id", "msg_1"),
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := newTraced(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.answer)
			}))
			g.ask(t, test.method, test.path, test.body)
			span := g.named(test.span)[0]
			has(t, span, test.want...)
			if (span.Status.Code == codes.Error) != test.isError {
				t.Errorf("status %v", span.Status)
			}
			g.checkTrace(t, 1)
		})
	}
}

// TestTraceEndsWithTheAnswer checks that the spans of a stream do not end before its last byte.
func TestTraceEndsWithTheAnswer(t *testing.T) {
	goOn := make(chan struct{})
	g := newTraced(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"m\"}}\n\n")
		_ = http.NewResponseController(w).Flush()
		<-goOn
		_, _ = io.WriteString(w, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")
	}))
	response, err := testkit.NewClient(t).Do(g.Request(t, http.MethodPost, "/anthropic/v1/messages", `{"model":"m","messages":[],"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body := bufio.NewReader(response.Body)
	if _, err := body.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if got := g.named("Intercept", "Intercept.Upstream"); len(got) != 0 {
		t.Errorf("ended before the answer: %v", got)
	}
	close(goOn)
	_, _ = io.Copy(io.Discard, body)
	g.await(t, "Intercept")
	if got := g.named("Intercept.Upstream"); len(got) != 1 || got[0].Status.Code != codes.Unset {
		t.Errorf("the round: %v", got)
	}
}

// TestTracesOfClientsThatLeave checks that the spans say who ended an answer.
func TestTracesOfClientsThatLeave(t *testing.T) {
	g := newTraced(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"m\"}}\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	response, err := testkit.NewClient(t).Do(g.Request(t, http.MethodPost, "/anthropic/v1/messages", `{"model":"m","messages":[],"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(response.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	g.await(t, "Intercept")
	for _, span := range g.named("Intercept", "Intercept.Upstream") {
		has(t, span, attribute.String("error.type", "client_closed"))
	}
}

// TestOddTraceparents checks what a client can write in the place of a trace: the gateway begins one of its own, and the header
// reaches the upstream all the same.
func TestOddTraceparents(t *testing.T) {
	for _, odd := range [][]string{
		{"nothing"}, {""}, {"00-" + clientTrace + "-0000000000000000-01"}, {clientParent, clientParent}, {strings.Repeat("0", 5000)}, {"ff-" + clientTrace + "-" + clientSpan + "-01"},
	} {
		g := newTraced(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }))
		r := g.Request(t, http.MethodGet, "/openai/v1/models", "")
		r.Header["Traceparent"] = odd
		response, err := testkit.NewClient(t).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		g.await(t, "Passthrough")
		if span := g.named("Passthrough")[0]; span.Parent.IsValid() || span.SpanContext.TraceID().String() == clientTrace {
			t.Errorf("%.60q: the span is a child of %v", odd, span.Parent)
		}
		g.mu.Lock()
		got := g.upstream[0]["Traceparent"]
		g.mu.Unlock()
		if !slices.Equal(got, odd) {
			t.Errorf("%.60q: the upstream got %.60q", odd, got)
		}
	}
}
