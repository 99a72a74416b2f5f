package aibridged_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"storj.io/drpc"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridge/mcp"
	"github.com/coder/aibridged/proto"
)

// builderFunc makes a function an MCPProxyBuilder.
type builderFunc func(ctx context.Context, req aibridged.Request) (mcp.ServerProxier, error)

func (f builderFunc) Build(ctx context.Context, req aibridged.Request, _ trace.Tracer) (mcp.ServerProxier, error) {
	return f(ctx, req)
}

// toolSessions stands for the tools of one bridge: it has no tools, but must be closed.
type toolSessions struct {
	of    aibridged.Request
	close func(ctx context.Context) error // Nil: closing succeeds at once.

	mu     sync.Mutex
	closed int // Guarded by mu: calls of Shutdown.
}

func (*toolSessions) Init(context.Context) error { return nil }
func (*toolSessions) Tools() []mcp.Tool          { return nil }

func (*toolSessions) Call(_ context.Context, id string, _ json.RawMessage) (mcp.Result, error) {
	return mcp.Result{}, mcp.ErrUnknownTool
}

func (s *toolSessions) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed++
	s.mu.Unlock()
	if s.close == nil {
		return nil
	}
	return s.close(ctx)
}

func (s *toolSessions) closings() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// toolsMaker is an MCPProxyBuilder that keeps what it built.
type toolsMaker struct {
	mu    sync.Mutex
	built []*toolSessions // Guarded by mu.
}

func (m *toolsMaker) Build(_ context.Context, req aibridged.Request, _ trace.Tracer) (mcp.ServerProxier, error) {
	return m.add(req), nil
}

func (m *toolsMaker) add(req aibridged.Request) *toolSessions {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.built = append(m.built, &toolSessions{of: req})
	return m.built[len(m.built)-1]
}

func (m *toolsMaker) all() []*toolSessions {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.built)
}

// closings returns how often each of the tools was closed, in the order in which they were built.
func (m *toolsMaker) closings() []int {
	var closings []int
	for _, tools := range m.all() {
		closings = append(closings, tools.closings())
	}
	return closings
}

// recordsClient is a control plane that accepts all records.
type recordsClient struct {
	aibridged.DRPCClient // Nil: no other method is called.

	mu      sync.Mutex
	records []*proto.Record // Guarded by mu.
}

func (*recordsClient) DRPCConn() drpc.Conn { return nil }

func (c *recordsClient) RecordBatch(_ context.Context, in *proto.RecordBatchRequest) (*proto.RecordBatchResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.records = append(c.records, in.GetRecords()...)
	return &proto.RecordBatchResponse{}, nil
}

// keyIDs returns the API key ids of the recorded interceptions.
func (c *recordsClient) keyIDs() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []string
	for _, record := range c.records {
		if start := record.GetInterception(); start != nil {
			ids = append(ids, start.GetApiKeyId())
		}
	}
	return ids
}

// logLines is a log sink that keeps its entries.
type logLines struct {
	mu      sync.Mutex
	entries []slog.SinkEntry // Guarded by mu.
}

func (l *logLines) LogEntry(_ context.Context, entry slog.SinkEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, entry)
}

func (*logLines) Sync() {}

// messages returns the texts of the entries with a level.
func (l *logLines) messages(level slog.Level) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var texts []string
	for _, entry := range l.entries {
		if entry.Level == level {
			texts = append(texts, entry.Message)
		}
	}
	return texts
}

// causes returns the errors that the entries have, as values.
func (l *logLines) causes() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var causes []error
	for _, entry := range l.entries {
		for _, field := range entry.Fields {
			if cause, ok := field.Value.(error); ok {
				causes = append(causes, cause)
			}
		}
	}
	return causes
}

// has reports whether some entry has a field of this name.
func (l *logLines) has(field string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.entries, func(entry slog.SinkEntry) bool {
		return slices.ContainsFunc(entry.Fields, func(f slog.Field) bool { return f.Name == field })
	})
}

// poolUnderTest is a pool with fake tools and a fake control plane.
type poolUnderTest struct {
	*aibridged.CachedBridgePool

	tools   *toolsMaker
	control *recordsClient
	log     *logLines
}

// newPool returns a pool that the test must shut down, for instance by checkClosed.
func newPool(t *testing.T, options aibridged.PoolOptions, providers ...aibridge.Provider) *poolUnderTest {
	t.Helper()
	p := &poolUnderTest{tools: &toolsMaker{}, control: &recordsClient{}, log: &logLines{}}
	var err error
	p.CachedBridgePool, err = aibridged.NewCachedBridgePool(options, providers, slog.Make(p.log), nil, noTracer())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func noTracer() trace.Tracer { return noop.NewTracerProvider().Tracer("test") }

func (p *poolUnderTest) client() (aibridged.DRPCClient, error) { return p.control, nil }

// user returns a request of the user with a number.
func user(number byte) aibridged.Request {
	return aibridged.Request{SessionKey: "secret", APIKeyID: "key", InitiatorID: uuid.UUID{15: number}}
}

// acquire acquires, with tools that the pool's own maker builds.
func (p *poolUnderTest) acquire(t *testing.T, req aibridged.Request) http.Handler {
	t.Helper()
	handler, err := p.Acquire(t.Context(), req, p.client, p.tools)
	if err != nil {
		t.Fatalf("acquire: %v", err)
	}
	return handler
}

// use acquires a bridge and serves one request with it, which releases the bridge. It returns the name of the upstream
// that answered.
func (p *poolUnderTest) use(t *testing.T, req aibridged.Request) string {
	t.Helper()
	return served200(t, p.acquire(t, req))
}

// touch acquires a bridge and releases it without a request.
func (p *poolUnderTest) touch(t *testing.T, req aibridged.Request) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := p.Acquire(ctx, req, p.client, p.tools); err != nil {
		t.Fatalf("acquire: %v", err)
	}
}

// checkClosed shuts the pool down and fails the test unless all tools have been closed exactly once.
func (p *poolUnderTest) checkClosed(t *testing.T) {
	t.Helper()
	if err := p.Shutdown(t.Context()); err != nil {
		t.Errorf("shut down: %v", err)
	}
	for _, tools := range p.tools.all() {
		if n := tools.closings(); n != 1 {
			t.Errorf("the tools of %v were closed %d times", tools.of, n)
		}
	}
}

// checkCounts fails the test unless the pool has these counts.
func (p *poolUnderTest) checkCounts(t *testing.T, hits, misses, added, evicted uint64) {
	t.Helper()
	m := p.CacheMetrics()
	got := [4]uint64{m.Hits(), m.Misses(), m.KeysAdded(), m.KeysEvicted()}
	if want := [4]uint64{hits, misses, added, evicted}; got != want {
		t.Errorf("hits, misses, added, evicted are %v, want %v", got, want)
	}
}

// upstreamFunc is a function as the transport to an upstream.
type upstreamFunc func(r *http.Request) (*http.Response, error)

func (f upstreamFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// provider returns a provider "anthropic" with the key "key-of-<upstream>", whose upstream answers with its own name.
func provider(t testing.TB, upstream string) aibridge.Provider {
	t.Helper()
	return providerAt(t, upstream, func(r *http.Request) (*http.Response, error) {
		return answerOf(r, "text/plain", io.NopCloser(strings.NewReader(upstream))), nil
	})
}

func providerAt(t testing.TB, name string, upstream upstreamFunc) aibridge.Provider {
	t.Helper()
	p, err := aibridge.NewAnthropicProvider("anthropic", aibridge.ProviderOptions{
		BaseURL: "http://upstream.invalid", Key: "key-of-" + name, Transport: upstream,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func answerOf(r *http.Request, contentType string, body io.ReadCloser) *http.Response {
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {contentType}}, Body: body, ContentLength: -1, Request: r,
	}
}

// newActing returns a request of an actor, as a host hands it to a bridge.
func newActing(ctx context.Context, method, path, body string) *http.Request {
	return httptest.NewRequestWithContext(aibridge.AsActor(ctx, aibridge.Actor{ID: "ada"}), method, path, strings.NewReader(body))
}

// served200 serves a pass-through request and returns the answer's body.
func served200(t *testing.T, handler http.Handler) string {
	t.Helper()
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, newActing(t.Context(), http.MethodGet, "/anthropic/v1/models", ""))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// streamUpstream is an upstream whose answers the test writes.
type streamUpstream struct {
	keys    chan string // The key of each request that came.
	answers chan *io.PipeWriter
}

func newStreamUpstream() *streamUpstream {
	return &streamUpstream{keys: make(chan string, 16), answers: make(chan *io.PipeWriter, 16)}
}

func (u *streamUpstream) RoundTrip(r *http.Request) (*http.Response, error) {
	body, answer := io.Pipe()
	u.keys <- r.Header.Get("X-Api-Key")
	u.answers <- answer
	return answerOf(r, "text/event-stream", body), nil
}

const (
	streamBegin = "event: message_start\n" +
		`data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","usage":{"input_tokens":3,"output_tokens":1}}}` + "\n\n"
	streamEnd = "event: message_stop\n" + `data: {"type":"message_stop"}` + "\n\n"
)

// stream is a request whose answer has begun.
type stream struct {
	upstream *io.PipeWriter
	key      string // The key that it went upstream with.
	client   *httptest.ResponseRecorder
	done     chan struct{}
}

// startStream serves a bridged request until its first event has come through.
func startStream(t *testing.T, handler http.Handler, upstream *streamUpstream) *stream {
	t.Helper()
	s := &stream{client: httptest.NewRecorder(), done: make(chan struct{})}
	body := `{"model":"m","max_tokens":1,"stream":true,"messages":[{"role":"user","content":"hi"}]}`
	r := newActing(t.Context(), http.MethodPost, "/anthropic/v1/messages", body)
	go func() {
		defer close(s.done)
		handler.ServeHTTP(s.client, r)
	}()
	select {
	case s.upstream = <-upstream.answers:
		s.key = <-upstream.keys
	case <-s.done:
		t.Fatalf("refused with %d: %s", s.client.Code, s.client.Body)
	}
	if _, err := io.WriteString(s.upstream, streamBegin); err != nil { // Returns once the gateway has read it.
		t.Fatal(err)
	}
	return s
}

// finish ends the answer, and fails the test unless the client has all of it.
func (s *stream) finish(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(s.upstream, streamEnd); err != nil {
		t.Fatalf("the gateway hung up: %v", err)
	}
	_ = s.upstream.Close() // A pipe's writer closes without an error.
	<-s.done
	if got := s.client.Body.String(); s.client.Code != http.StatusOK || got != streamBegin+streamEnd {
		t.Errorf("status %d, answer %q", s.client.Code, got)
	}
}

// running reports whether the request is still being served. It is for synctest bubbles.
func (s *stream) running() bool {
	synctest.Wait()
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// after runs f and returns how long it took by the bubble's clock.
func after(f func()) time.Duration {
	started := time.Now()
	f()
	return time.Since(started)
}
