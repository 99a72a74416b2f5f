package testkit

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"cdr.dev/slog/v3"
	"cdr.dev/slog/v3/sloggers/sloghuman"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/controlplane"
)

// ProviderKey is the provider key of the gateway under test. It may appear nowhere but in upstream requests.
const ProviderKey = "sk-canary-provider-key-0123456789"

// Gateway is a whole gateway with a control plane in memory. It listens on a port, and can be used in process.
type Gateway struct {
	Server  *aibridged.Server
	Pool    *aibridged.CachedBridgePool
	Control *ControlPlane
	HTTP    *httptest.Server
	Log     *Log
}

// GatewayOptions are the settings of a gateway under test. The zero value is a gateway with both providers and default
// limits.
type GatewayOptions struct {
	Control  *ControlPlane
	Dialer   aibridged.Dialer // Nil: to Control, in-process.
	Limits   aibridge.Limits
	Provider []aibridge.Provider // Nil: anthropic and openai at the upstream of NewGateway.
	Pool     aibridged.PoolOptions
	Metrics  *aibridged.Metrics
	Bridges  *aibridge.Metrics // Those of bridges; nil: none.
	Records  aibridged.RecordOptions
	// MCPServers are the addresses of MCP servers, by their ids.
	MCPServers map[string]string
	// Tracer gets the spans. Nil: nobody does.
	Tracer trace.Tracer

	FindToken func(text string) (start, end int)
}

// NewGateway starts a gateway whose providers anthropic and openai are at upstreamURL. It is shut down with the test.
func NewGateway(t testing.TB, upstreamURL string, options GatewayOptions) *Gateway {
	t.Helper()
	if options.Control == nil {
		options.Control = &ControlPlane{}
	}
	if options.MCPServers != nil {
		options.Control.MCPServers = options.MCPServers
	}
	if options.Dialer == nil {
		options.Dialer = controlplane.InProcess(options.Control)
	}
	if options.Provider == nil {
		options.Provider = Providers(t, upstreamURL, options.Limits)
	}
	g := &Gateway{Control: options.Control, Log: &Log{}}
	logger := slog.Make(sloghuman.Sink(g.Log)).Leveled(slog.LevelDebug)
	tracer := options.Tracer
	if tracer == nil {
		tracer = noop.NewTracerProvider().Tracer("test")
	}
	var err error
	if g.Pool, err = aibridged.NewCachedBridgePool(options.Pool, options.Provider, logger, options.Bridges, tracer); err != nil {
		t.Fatalf("new pool: %v", err)
	}
	if g.Server, err = aibridged.NewServer(context.Background(), g.Pool, options.Dialer, aibridged.ServerOptions{
		Logger: logger, Tracer: tracer, Metrics: options.Metrics, Records: options.Records, FindToken: options.FindToken,
	}); err != nil {
		t.Fatalf("new server: %v", err)
	}
	g.HTTP = httptest.NewServer(g.Server)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		// Where the test itself shut the server down with a cancelled context, Shutdown returns that error again.
		if err := g.Server.Shutdown(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("shut the gateway down: %v", err)
		}
		g.HTTP.Close()
	})
	return g
}

// Providers returns the providers anthropic and openai at upstreamURL.
func Providers(t testing.TB, upstreamURL string, limits aibridge.Limits) []aibridge.Provider {
	t.Helper()
	anthropic, err := aibridge.NewAnthropicProvider("anthropic", aibridge.ProviderOptions{
		BaseURL: upstreamURL, Key: ProviderKey, Limits: limits, Digests: true,
	})
	if err != nil {
		t.Fatalf("anthropic: %v", err)
	}
	openai, err := aibridge.NewOpenAIProvider("openai", aibridge.ProviderOptions{
		BaseURL: upstreamURL + "/v1", Key: ProviderKey, Limits: limits, Digests: true,
	})
	if err != nil {
		t.Fatalf("openai: %v", err)
	}
	return []aibridge.Provider{anthropic, openai}
}

// Request returns a request to the gateway over the network, with the user's token, and with body as JSON if it is not
// empty.
func (g *Gateway) Request(t testing.TB, method, path, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, g.HTTP.URL+aibridge.RootPath+path, strings.NewReader(body))
	if err != nil {
		t.Fatalf("request: %v", err)
	}
	r.Header.Set("Authorization", "Bearer "+Token)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

// NewClient returns an HTTP client that leaves requests and answers alone: it asks for no compression and follows no
// redirect.
func NewClient(t testing.TB) *http.Client {
	t.Helper()
	transport := &http.Transport{DisableCompression: true, IdleConnTimeout: time.Minute}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Log keeps a gateway's log. It is safe for concurrent use.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer // Guarded by mu.
}

// Write implements [io.Writer].
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String returns the log so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
