package aibridged_test

import (
	"context"
	"errors"
	"flag"
	stdslog "log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cdr.dev/slog/v3"
	mcpgo "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridge/mcp"
	"github.com/coder/aibridged/proto"
)

var _ = flag.Duration("mcp-churn", 2*time.Second, "how long bridges with MCP sessions come and go")

// sessionServer is an MCP server that knows which sessions are open.
type sessionServer struct {
	http.Handler
	url string

	mu     sync.Mutex
	open   map[string]bool // Guarded by mu.
	opened int             // Guarded by mu.
}

// newSessionServer starts a server of these versions of the protocol; none: of all.
func newSessionServer(t *testing.T, versions ...string) *sessionServer {
	t.Helper()
	there := server.NewMCPServer("sessions", "1", server.WithToolCapabilities(true))
	there.AddTool(mcpgo.NewTool("greet"), func(context.Context, mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
		return mcpgo.NewToolResultText("hello"), nil
	})
	s := &sessionServer{open: map[string]bool{}, Handler: server.NewStreamableHTTPServer(there, server.WithStateful(true),
		server.WithStreamableHTTPProtocolVersions(versions...), server.WithStreamableHTTPLogger(stdslog.New(stdslog.DiscardHandler)))}
	listening := httptest.NewServer(s)
	t.Cleanup(listening.Close)
	s.url = listening.URL + "/mcp"
	return s
}

func (s *sessionServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodDelete {
		s.Handler.ServeHTTP(sessionWriter{w, s}, r)
		return
	}
	s.Handler.ServeHTTP(w, r)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, r.Header.Get("Mcp-Session-Id"))
}

// sessionWriter notes the session that an answer opens, before the client learns of it.
type sessionWriter struct {
	http.ResponseWriter
	server *sessionServer
}

func (w sessionWriter) WriteHeader(status int) {
	if id := w.Header().Get("Mcp-Session-Id"); id != "" && status == http.StatusOK {
		w.server.mu.Lock()
		if !w.server.open[id] {
			w.server.open[id] = true
			w.server.opened++
		}
		w.server.mu.Unlock()
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w sessionWriter) Flush() { w.ResponseWriter.(http.Flusher).Flush() }

// toolsControl is a control plane whose users all have the same MCP servers, each with a token of their own.
type toolsControl struct {
	*recordsClient
	servers []*proto.MCPServerConfig
}

func (c *toolsControl) GetMCPServerConfigs(context.Context, *proto.GetMCPServerConfigsRequest) (*proto.GetMCPServerConfigsResponse, error) {
	return &proto.GetMCPServerConfigsResponse{ExternalAuthMcpConfigs: c.servers}, nil
}

func (*toolsControl) GetMCPServerAccessTokensBatch(_ context.Context, in *proto.GetMCPServerAccessTokensBatchRequest) (*proto.GetMCPServerAccessTokensBatchResponse, error) {
	tokens := map[string]string{}
	for _, id := range in.GetMcpServerConfigIds() {
		tokens[id] = "token-of-" + in.GetUserId()
	}
	return &proto.GetMCPServerAccessTokensBatchResponse{AccessTokens: tokens}, nil
}

// Users have MCP sessions, with a server that knows sessions and one that does not, while bridges are evicted and
// providers replaced all the time. No request fails, and at the end nothing is left.
func TestMCPSessionsComeAndGo(t *testing.T) {
	const users = 50
	descriptors := openDescriptors(t)
	goroutines := runtime.NumGoroutine()
	t.Run("load", func(t *testing.T) {
		withSessions, stateless := newSessionServer(t, mcpgo.ProtocolVersion20251125), newSessionServer(t)
		control := &toolsControl{recordsClient: &recordsClient{}, servers: []*proto.MCPServerConfig{
			{Id: "sessions", Url: withSessions.url}, {Id: "stateless", Url: stateless.url},
		}}
		clientFn := func() (aibridged.DRPCClient, error) { return control, nil }
		var mu sync.Mutex
		latest := map[aibridged.Request]mcp.ServerProxier{} // Guarded by mu: the sessions of each user's latest bridge.
		factory := aibridged.NewMCPProxyFactory(slog.Logger{}, noTracer(), clientFn)
		builder := builderFunc(func(ctx context.Context, req aibridged.Request) (mcp.ServerProxier, error) {
			built, err := factory.Build(ctx, req, nil)
			mu.Lock()
			defer mu.Unlock()
			latest[req] = built
			return built, err
		})
		pool := newPool(t, aibridged.PoolOptions{MaxItems: users / 3}, provider(t, "one"))

		ctx, cancel := context.WithTimeout(t.Context(), flag.Lookup("mcp-churn").Value.(flag.Getter).Get().(time.Duration))
		defer cancel()
		var requests, calls atomic.Int64
		var running sync.WaitGroup
		for number := range byte(users) {
			running.Go(func() {
				for ctx.Err() == nil {
					handler, err := pool.Acquire(t.Context(), user(number), clientFn, builder)
					if err != nil {
						t.Errorf("acquire: %v", err)
						return
					}
					mu.Lock()
					tools := latest[user(number)]
					mu.Unlock()
					// The bridge may have been evicted by now, and the sessions be those of the next one.
					for _, tool := range tools.Tools() {
						result, err := tools.Call(t.Context(), tool.ID, nil)
						switch {
						case err == nil && result.Parts[0].Text == "hello":
							calls.Add(1)
						case !errors.Is(err, mcp.ErrClosed) && !errors.Is(err, mcp.ErrUnknownTool):
							t.Errorf("call of %s: %v, %v", tool.ID, result, err)
						}
					}
					served200(t, handler)
					requests.Add(1)
				}
			})
		}
		running.Go(func() {
			for ctx.Err() == nil {
				pool.ReplaceProviders([]aibridge.Provider{provider(t, "one")})
				select {
				case <-time.After(20 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
		running.Wait()
		if err := pool.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		m := pool.CacheMetrics()
		t.Logf("%d requests, %d calls, %d bridges, %d sessions", requests.Load(), calls.Load(), m.KeysAdded(), withSessions.opened)
		withSessions.mu.Lock()
		defer withSessions.mu.Unlock()
		if withSessions.opened == 0 || len(withSessions.open) > 0 || calls.Load() == 0 {
			t.Errorf("%d of %d sessions are still open, after %d calls", len(withSessions.open), withSessions.opened, calls.Load())
		}
		if stateless.opened > 0 {
			t.Errorf("%d sessions with a server that needs none", stateless.opened)
		}
	})
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > goroutines || openDescriptors(t) > descriptors {
		if time.Now().After(deadline) {
			t.Errorf("%d goroutines and %d descriptors, %d and %d before", runtime.NumGoroutine(), openDescriptors(t), goroutines, descriptors)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// openDescriptors returns how many descriptors this process has open, or zero where the system does not say.
func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}
