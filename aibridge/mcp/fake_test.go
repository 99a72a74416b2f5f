package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	stdslog "log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cdr.dev/slog/v3"
	mcpgo "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// patience is how long a test waits for what it expects before it fails.
const patience = 20 * time.Second

const testToken = "tok-5d1f0c9e8b7a"

func withToken(token string) map[string]string {
	return map[string]string{"Authorization": "Bearer " + token}
}

// realServer is an MCP server built with mcp-go.
type realServer struct {
	*server.MCPServer
	url string

	versions []string // Of the protocol. None: all that mcp-go speaks.

	mu      sync.Mutex
	handler http.Handler
	seen    []http.Header
}

// newRealServer starts a server that has sessions, lists two tools a page and announces changes.
func newRealServer(t *testing.T) *realServer {
	t.Helper()
	return startRealServer(t, mcpgo.ProtocolVersion20251125, mcpgo.ProtocolVersion20250618)
}

// newStatelessServer is newRealServer with a server that speaks the stateless protocol too.
func newStatelessServer(t *testing.T) *realServer {
	t.Helper()
	return startRealServer(t)
}

func startRealServer(t *testing.T, versions ...string) *realServer {
	t.Helper()
	s := &realServer{versions: versions}
	s.restart()
	listening := httptest.NewServer(s)
	t.Cleanup(listening.Close)
	s.url = listening.URL + "/mcp"
	return s
}

// restart makes the server forget its sessions, and its tools.
func (s *realServer) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.MCPServer = server.NewMCPServer("real", "1", server.WithPaginationLimit(2), server.WithToolCapabilities(true))
	s.handler = server.NewStreamableHTTPServer(s.MCPServer, server.WithStreamableHTTPProtocolVersions(s.versions...),
		server.WithStateful(true), server.WithStreamableHTTPLogger(stdslog.New(stdslog.DiscardHandler)))
}

func (s *realServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.seen = append(s.seen, r.Header.Clone())
	handler := s.handler
	s.mu.Unlock()
	handler.ServeHTTP(w, r)
}

// wrap puts middleware before the present handler; restart removes it.
func (s *realServer) wrap(middleware func(http.Handler) http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler = middleware(s.handler)
}

func (s *realServer) headers(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var values []string
	for _, header := range s.seen {
		values = append(values, header.Get(name))
	}
	return values
}

// add adds tools. The result of each contains its own name.
func (s *realServer) add(names ...string) {
	for _, name := range names {
		s.addTool(name, func(context.Context, mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
			return mcpgo.NewToolResultText("this is " + name), nil
		})
	}
}

func (s *realServer) addTool(name string, handler server.ToolHandlerFunc, options ...mcpgo.ToolOption) {
	s.AddTool(mcpgo.NewTool(name, append(options, mcpgo.WithDescription("does "+name))...), handler)
}

// rawServer answers requests by method with the handlers of a test. Without a handler it answers the handshake and
// tools/list correctly.
type rawServer map[string]func(w http.ResponseWriter, r *http.Request, call rawCall)

type rawCall struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
		Cursor    string          `json:"-"`
		HasCursor bool            `json:"-"`
		RawCursor *string         `json:"cursor"`
		RequestID json.RawMessage `json:"requestId"`
	} `json:"params"`
}

func (s rawServer) start(t *testing.T) string {
	t.Helper()
	listening := httptest.NewServer(s)
	t.Cleanup(listening.Close)
	return listening.URL
}

func (s rawServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		if handle := s[r.Method]; handle != nil {
			handle(w, r, rawCall{})
			return
		}
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	var call rawCall
	body, _ := io.ReadAll(r.Body)
	if err := json.Unmarshal(body, &call); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if given := call.Params.RawCursor; given != nil {
		call.Params.Cursor, call.Params.HasCursor = *given, true
	}
	if handle := s[call.Method]; handle != nil {
		handle(w, r, call)
		return
	}
	switch call.Method {
	case "initialize":
		answer(w, call, `{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"raw","version":"1"}}`)
	case "tools/list":
		answer(w, call, `{"tools":[{"name":"tool","inputSchema":{"type":"object"}}]}`)
	default:
		w.WriteHeader(http.StatusAccepted)
	}
}

// statelessDiscovery is the answer to server/discover of a server that speaks the stateless protocol.
const statelessDiscovery = `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}`

// answer writes a JSON-RPC response.
func answer(w http.ResponseWriter, call rawCall, result string) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, call.ID, result)
}

// answerWith returns a handler that answers with result.
func answerWith(result string) func(http.ResponseWriter, *http.Request, rawCall) {
	return func(w http.ResponseWriter, _ *http.Request, call rawCall) { answer(w, call, result) }
}

// hang is a handler that answers nothing until the client is gone.
func hang(_ http.ResponseWriter, r *http.Request, _ rawCall) { <-r.Context().Done() }

// newProxy returns a proxy for a server. The test's cleanup shuts it down.
func newProxy(t *testing.T, options ProxyOptions) *StreamableHTTPProxy {
	t.Helper()
	if options.ID == "" {
		options.ID = "srv"
	}
	p, err := NewStreamableHTTPProxy(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	return p
}

// connect returns a proxy that is connected.
func connect(t *testing.T, options ProxyOptions) *StreamableHTTPProxy {
	t.Helper()
	p := newProxy(t, options)
	if err := p.Init(t.Context()); err != nil {
		t.Fatalf("Init: %v", err)
	}
	return p
}

// texts returns a result of texts.
func texts(all ...string) Result {
	var result Result
	for _, text := range all {
		result.Parts = append(result.Parts, Part{Text: text})
	}
	return result
}

// textOf returns the texts of a result, as lines.
func textOf(result Result) string {
	var all []string
	for _, part := range result.Parts {
		all = append(all, part.Text)
	}
	return strings.Join(all, "\n")
}

func names(tools []Tool) []string {
	var found []string
	for _, tool := range tools {
		found = append(found, tool.Name)
	}
	slices.Sort(found)
	return found
}

// logs is a sink from which tests await entries.
type logs chan slog.SinkEntry

func newLogs() (logs, slog.Logger) {
	l := make(logs, 1000)
	return l, slog.Make(l).Leveled(slog.LevelDebug)
}

func (l logs) LogEntry(_ context.Context, entry slog.SinkEntry) { l <- entry }

func (l logs) Sync() {}

// await returns the next entry with that message.
func (l logs) await(t *testing.T, message string) slog.SinkEntry {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case entry := <-l:
			if entry.Message == message {
				return entry
			}
		case <-timeout:
			t.Fatalf("%q was not logged", message)
		}
	}
}

// field returns the value of a field as text.
func field(entry slog.SinkEntry, name string) string {
	for _, f := range entry.Fields {
		if f.Name == name {
			return fmt.Sprint(f.Value)
		}
	}
	return ""
}

// receive returns what comes out of a channel.
func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}
