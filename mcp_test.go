package aibridged

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"
	mcpgo "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/coder/aibridged/aibridge/mcp"
	"github.com/coder/aibridged/proto"
)

// mcpControlPlane is a control plane that answers the calls about MCP and no others.
type mcpControlPlane struct {
	DRPCClient

	configs func(user string) (*proto.GetMCPServerConfigsResponse, error)
	tokens  func(user string, ids []string) (*proto.GetMCPServerAccessTokensBatchResponse, error)
}

func (c *mcpControlPlane) GetMCPServerConfigs(_ context.Context, in *proto.GetMCPServerConfigsRequest) (*proto.GetMCPServerConfigsResponse, error) {
	return c.configs(in.GetUserId())
}

func (c *mcpControlPlane) GetMCPServerAccessTokensBatch(_ context.Context, in *proto.GetMCPServerAccessTokensBatchRequest) (*proto.GetMCPServerAccessTokensBatchResponse, error) {
	return c.tokens(in.GetUserId(), in.GetMcpServerConfigIds())
}

// mcpServer is an MCP server whose tool returns the credentials it is called with.
type mcpServer struct {
	url     string
	mu      sync.Mutex
	refused string // A token that the server refuses.
}

func newMCPServer(t *testing.T) *mcpServer {
	t.Helper()
	there := server.NewMCPServer("test", "1")
	for _, name := range []string{"whoami", "other"} {
		there.AddTool(mcpgo.NewTool(name), func(_ context.Context, request mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
			return mcpgo.NewToolResultText(spelled(request.Header.Get("Authorization"))), nil
		})
	}
	s := &mcpServer{}
	streamable := server.NewStreamableHTTPServer(there)
	listening := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		refused := s.refused != "" && r.Header.Get("Authorization") == "Bearer "+s.refused
		s.mu.Unlock()
		if refused {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		streamable.ServeHTTP(w, r)
	}))
	t.Cleanup(listening.Close)
	s.url = listening.URL + "/mcp"
	return s
}

func (s *mcpServer) refuse(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = token
}

// spelled puts dots into a credential, so that results do not repeat credentials.
func spelled(credential string) string { return strings.Join(strings.Split(credential, ""), ".") }

// warnings collects the warnings that are logged, by server.
type warnings struct {
	mu    sync.Mutex
	of    map[string]error
	whole []string
}

func (w *warnings) LogEntry(_ context.Context, entry slog.SinkEntry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var about string
	var reason error
	for _, field := range entry.Fields {
		switch value := field.Value.(type) {
		case error:
			reason = value
			w.whole = append(w.whole, value.Error())
		case string:
			if field.Name == "mcp_server" {
				about = value
			}
			w.whole = append(w.whole, value)
		}
	}
	if entry.Level == slog.LevelWarn {
		w.of[about] = reason
	}
}

func (*warnings) Sync() {}

// buildMCP builds and initialises the sessions of a user, and shuts them down at the end of the test.
func buildMCP(t *testing.T, client DRPCClient, req Request) (mcp.ServerProxier, *warnings) {
	t.Helper()
	logged := &warnings{of: make(map[string]error)}
	factory := NewMCPProxyFactory(slog.Make(logged), noop.NewTracerProvider().Tracer(""), func() (DRPCClient, error) { return client, nil })
	built, err := factory.Build(t.Context(), req, nil)
	if err != nil {
		t.Fatalf("Build: %v", err)
	}
	t.Cleanup(func() {
		if err := built.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	if tools := built.Tools(); len(tools) > 0 {
		t.Errorf("Build connected: %v", tools)
	}
	if err := built.Init(t.Context()); err != nil {
		t.Fatalf("Init: %v", err)
	}
	return built, logged
}

func toolIDs(built mcp.ServerProxier) []string {
	var ids []string
	for _, tool := range built.Tools() {
		ids = append(ids, tool.ID)
	}
	return ids
}

// credentialAt returns the credential with which a server's whoami is called.
func credentialAt(t *testing.T, built mcp.ServerProxier, id string) string {
	t.Helper()
	result, err := built.Call(t.Context(), "bmcp_"+id+"_whoami", nil)
	if err != nil {
		t.Fatalf("Call: %v", err)
	}
	return strings.ReplaceAll(result.Parts[0].Text, ".", "")
}

func TestMCPSessionsOfAUser(t *testing.T) {
	there := newMCPServer(t)
	user := uuid.New()
	asked := 0
	client := &mcpControlPlane{
		configs: func(got string) (*proto.GetMCPServerConfigsResponse, error) {
			if got != user.String() {
				t.Errorf("configs of user %q", got)
			}
			return &proto.GetMCPServerConfigsResponse{
				CoderMcpConfig: &proto.MCPServerConfig{Id: InternalMCPServerID, Url: there.url, ToolDenyRegex: "^other$"},
				ExternalAuthMcpConfigs: []*proto.MCPServerConfig{
					{Id: "git", Url: there.url, ToolAllowRegex: "^whoami$"}, {Id: "jira", Url: there.url},
				},
			}, nil
		},
		tokens: func(got string, ids []string) (*proto.GetMCPServerAccessTokensBatchResponse, error) {
			if asked++; asked > 1 {
				t.Error("tokens were asked for twice")
			}
			if got != user.String() || !slices.Equal(ids, []string{"git", "jira"}) {
				t.Errorf("tokens of user %q for %v", got, ids)
			}
			return &proto.GetMCPServerAccessTokensBatchResponse{AccessTokens: map[string]string{"git": "git-token", "jira": "jira-token"}}, nil
		},
	}
	built, logged := buildMCP(t, client, Request{SessionKey: "session-key", InitiatorID: user})
	want := []string{"bmcp_coder_whoami", "bmcp_git_whoami", "bmcp_jira_other", "bmcp_jira_whoami"}
	if got := toolIDs(built); !slices.Equal(got, want) {
		t.Errorf("tools %v, want %v; warnings %v", got, want, logged.of)
	}
	for id, want := range map[string]string{"coder": "Bearer session-key", "git": "Bearer git-token", "jira": "Bearer jira-token"} {
		if got := credentialAt(t, built, id); got != want {
			t.Errorf("%s is called with %q, want %q", id, got, want)
		}
	}
}

func TestBadMCPServerIsLeftOutAlone(t *testing.T) {
	there := newMCPServer(t)
	client := &mcpControlPlane{
		configs: func(string) (*proto.GetMCPServerConfigsResponse, error) {
			return &proto.GetMCPServerConfigsResponse{
				CoderMcpConfig: &proto.MCPServerConfig{Id: InternalMCPServerID},
				ExternalAuthMcpConfigs: []*proto.MCPServerConfig{
					nil,
					{Id: "no-url"},
					{Id: "bad-allow", Url: there.url, ToolAllowRegex: "("},
					{Id: "bad-deny", Url: there.url, ToolDenyRegex: "["},
					{Id: "command", Url: "stdio:///bin/sh"},
					{Id: "no-token", Url: there.url},
					{Id: "open", Url: there.url}, // Its token is empty: the server needs none.
					{Id: "token-error", Url: there.url},
					{Id: InternalMCPServerID, Url: there.url},
					{Id: "good", Url: there.url},
					{Id: "good", Url: "http://example.com"},
				},
			}, nil
		},
		tokens: func(_ string, ids []string) (*proto.GetMCPServerAccessTokensBatchResponse, error) {
			if want := []string{"command", "no-token", "open", "token-error", "good"}; !slices.Equal(ids, want) {
				t.Errorf("tokens for %v, want %v", ids, want)
			}
			return &proto.GetMCPServerAccessTokensBatchResponse{
				AccessTokens: map[string]string{"command": "a-token", "open": "", "token-error": "b-token", "good": "c-token"},
				Errors:       map[string]string{"token-error": "not linked"},
			}, nil
		},
	}
	built, logged := buildMCP(t, client, Request{SessionKey: "session-key"})
	if got, want := toolIDs(built), []string{"bmcp_good_other", "bmcp_good_whoami", "bmcp_open_other", "bmcp_open_whoami"}; !slices.Equal(got, want) {
		t.Errorf("tools %v, want %v", got, want)
	}
	want := map[string]error{
		"": ErrEmptyConfig, InternalMCPServerID: errServerIDUse, "no-url": ErrEmptyConfig,
		"bad-allow": ErrCompileRegex, "bad-deny": ErrCompileRegex, "command": mcp.ErrRefusedURL,
		"no-token": errNoToken, "token-error": errNoToken, "good": errServerIDUse,
	}
	logged.mu.Lock()
	defer logged.mu.Unlock()
	for id, reason := range want {
		if !errors.Is(logged.of[id], reason) {
			t.Errorf("%q: %v, want %v", id, logged.of[id], reason)
		}
	}
	if len(logged.of) != len(want) {
		t.Errorf("warnings of %d servers, want %d: %v", len(logged.of), len(want), logged.of)
	}
	for _, said := range logged.whole {
		if slices.ContainsFunc([]string{"session-key", "a-token", "b-token", "c-token"}, func(secret string) bool { return strings.Contains(said, secret) }) {
			t.Errorf("logged %q", said)
		}
	}
}

func TestMCPSessionsOfADelegatedRequest(t *testing.T) {
	there := newMCPServer(t)
	client := &mcpControlPlane{configs: func(string) (*proto.GetMCPServerConfigsResponse, error) {
		return &proto.GetMCPServerConfigsResponse{CoderMcpConfig: &proto.MCPServerConfig{Id: InternalMCPServerID, Url: there.url}}, nil
	}}
	built, logged := buildMCP(t, client, Request{APIKeyID: "key-id"})
	if len(built.Tools()) > 0 || len(logged.of) > 0 {
		t.Errorf("tools %v, warnings %v", toolIDs(built), logged.of)
	}
}

func TestMCPSessionsWithoutServers(t *testing.T) {
	client := &mcpControlPlane{configs: func(string) (*proto.GetMCPServerConfigsResponse, error) { return nil, nil }}
	built, logged := buildMCP(t, client, Request{SessionKey: "session-key"})
	if len(built.Tools()) > 0 || len(logged.of) > 0 {
		t.Errorf("tools %v, warnings %v", toolIDs(built), logged.of)
	}
}

func TestMCPBuildFailsWithTheControlPlane(t *testing.T) {
	down := errors.New("down")
	one := &proto.GetMCPServerConfigsResponse{ExternalAuthMcpConfigs: []*proto.MCPServerConfig{{Id: "git", Url: "http://localhost:1"}}}
	for name, client := range map[string]*mcpControlPlane{
		"no client": nil,
		"configs":   {configs: func(string) (*proto.GetMCPServerConfigsResponse, error) { return nil, down }},
		"tokens": {
			configs: func(string) (*proto.GetMCPServerConfigsResponse, error) { return one, nil },
			tokens:  func(string, []string) (*proto.GetMCPServerAccessTokensBatchResponse, error) { return nil, down },
		},
	} {
		t.Run(name, func(t *testing.T) {
			factory := NewMCPProxyFactory(slog.Logger{}, nil, func() (DRPCClient, error) {
				if client == nil {
					return nil, down
				}
				return client, nil
			})
			if built, err := factory.Build(t.Context(), Request{SessionKey: "session-key"}, nil); built != nil || !errors.Is(err, down) {
				t.Errorf("Build: %v, %v", built, err)
			}
		})
	}
}

func TestExpiredMCPTokenIsAskedForAgain(t *testing.T) {
	there := newMCPServer(t)
	tokens := []string{"first-token", "second-token"}
	client := &mcpControlPlane{
		configs: func(string) (*proto.GetMCPServerConfigsResponse, error) {
			return &proto.GetMCPServerConfigsResponse{ExternalAuthMcpConfigs: []*proto.MCPServerConfig{{Id: "git", Url: there.url}}}, nil
		},
		tokens: func(_ string, ids []string) (*proto.GetMCPServerAccessTokensBatchResponse, error) {
			if len(tokens) == 0 {
				return &proto.GetMCPServerAccessTokensBatchResponse{Errors: map[string]string{"git": "link it again"}}, nil
			}
			token := tokens[0]
			tokens = tokens[1:]
			return &proto.GetMCPServerAccessTokensBatchResponse{AccessTokens: map[string]string{ids[0]: token}}, nil
		},
	}
	built, _ := buildMCP(t, client, Request{})
	for _, want := range []string{"first-token", "second-token"} {
		if got := credentialAt(t, built, "git"); got != "Bearer "+want {
			t.Errorf("called with %q, want %q", got, want)
		}
		there.refuse(want)
	}
	_, err := built.Call(t.Context(), "bmcp_git_whoami", nil)
	if !errors.Is(err, mcp.ErrUnauthorized) || !strings.Contains(err.Error(), "link it again") {
		t.Errorf("Call with no token left: %v", err)
	}
}

// The options of a factory are the limits of the sessions that it builds.
func TestMCPOptions(t *testing.T) {
	there := server.NewMCPServer("test", "1")
	there.AddTool(mcpgo.NewTool("large"), func(context.Context, mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
		return mcpgo.NewToolResultText(strings.Repeat("x", 100)), nil
	})
	there.AddTool(mcpgo.NewTool("slow"), func(ctx context.Context, _ mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	listening := httptest.NewServer(server.NewStreamableHTTPServer(there))
	t.Cleanup(listening.Close)
	hangs := newHangingServer(t)
	client := &mcpControlPlane{
		configs: func(string) (*proto.GetMCPServerConfigsResponse, error) {
			return &proto.GetMCPServerConfigsResponse{ExternalAuthMcpConfigs: []*proto.MCPServerConfig{
				{Id: "good", Url: listening.URL + "/mcp"}, {Id: "hangs", Url: hangs},
			}}, nil
		},
		tokens: func(string, []string) (*proto.GetMCPServerAccessTokensBatchResponse, error) {
			return &proto.GetMCPServerAccessTokensBatchResponse{AccessTokens: map[string]string{"good": "", "hangs": ""}}, nil
		},
	}
	const wait = 500 * time.Millisecond
	factory := NewMCPProxyFactory(slog.Logger{}, noop.NewTracerProvider().Tracer(""), func() (DRPCClient, error) { return client, nil }).
		WithOptions(MCPOptions{Wait: wait, ConnectTimeout: time.Minute, CallTimeout: 50 * time.Millisecond, ResultBytes: 10})
	// The second time, nobody waits for the server that hangs: the wait for it is over for now.
	for i := range 2 {
		built, err := factory.Build(t.Context(), Request{InitiatorID: uuid.UUID{1}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := built.Init(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); (took >= wait) != (i == 0) {
			t.Errorf("Init %d took %s", i, took)
		}
		if got := toolIDs(built); !slices.Equal(got, []string{"bmcp_good_large", "bmcp_good_slow"}) {
			t.Errorf("tools %v", got)
		}
		result, err := built.Call(t.Context(), "bmcp_good_large", nil)
		if err != nil || len(result.Parts) != 2 || result.Parts[0].Text != strings.Repeat("x", 10) {
			t.Errorf("result %v, error %v", result, err)
		}
		if _, err := built.Call(t.Context(), "bmcp_good_slow", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the slow call: %v", err)
		}
		if err := built.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
	// Limits below zero are the defaults, as zero is.
	if got := factory.WithOptions(MCPOptions{Wait: -1, ConnectTimeout: -1, CallTimeout: -1, ResultBytes: -1}).options; got != (MCPOptions{}) {
		t.Errorf("options %+v", got)
	}
}

// newHangingServer starts a server that answers nothing.
func newHangingServer(t *testing.T) string {
	t.Helper()
	listening := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // Only then does the end of the connection end the context.
		<-r.Context().Done()
	}))
	t.Cleanup(listening.Close)
	return listening.URL
}
