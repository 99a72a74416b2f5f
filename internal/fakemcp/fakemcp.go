// Package fakemcp is an MCP server over streamable HTTP whose tools answer as scripted. It is for tests and demonstrations.
package fakemcp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// Tool is a scripted tool. Its fields have the names of the protocol.
type Tool struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	InputSchema json.RawMessage `json:"inputSchema"`
	// Results are what its calls get, in their order, each as the result of a tools/call. The last one counts for all calls
	// that follow.
	Results []json.RawMessage `json:"results"`
	// Run takes the place of Results. It is for tests that must see when a call is made.
	Run func(ctx context.Context, arguments json.RawMessage) (json.RawMessage, error) `json:"-"`
}

// Call is a call that the server has got.
type Call struct {
	Tool      string
	Arguments string // The JSON of an object.
}

// Server is the server. It is an [http.Handler], and safe for concurrent use.
type Server struct {
	http.Handler
	mcp *server.MCPServer

	mu    sync.Mutex
	calls []Call         // Guarded by mu.
	made  map[string]int // Guarded by mu; how often each tool was called.
}

// New returns a server with these tools.
func New(tools ...Tool) *Server {
	s := &Server{mcp: server.NewMCPServer("fakemcp", "1", server.WithToolCapabilities(true)), made: map[string]int{}}
	for _, tool := range tools {
		s.Add(tool)
	}
	s.Handler = server.NewStreamableHTTPServer(s.mcp)
	return s
}

// Add adds a tool, or replaces that of the same name, and tells the sessions that there are.
func (s *Server) Add(tool Tool) {
	if len(tool.InputSchema) == 0 {
		tool.InputSchema = json.RawMessage(`{"type":"object","properties":{}}`)
	}
	described := mcpgo.NewToolWithRawSchema(tool.Name, tool.Description, tool.InputSchema)
	s.mcp.AddTool(described, func(ctx context.Context, request mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
		return s.call(ctx, tool, request)
	})
}

// Remove removes a tool.
func (s *Server) Remove(name string) { s.mcp.DeleteTools(name) }

// Calls returns the calls so far, in the order in which they came.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

func (s *Server) call(ctx context.Context, tool Tool, request mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
	arguments, err := json.Marshal(request.Params.Arguments)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.calls = append(s.calls, Call{tool.Name, string(arguments)})
	n := s.made[tool.Name]
	s.made[tool.Name]++
	s.mu.Unlock()
	var result json.RawMessage
	switch {
	case tool.Run != nil:
		if result, err = tool.Run(ctx, arguments); err != nil {
			return nil, err
		}
	case len(tool.Results) == 0:
		return nil, fmt.Errorf("no result of the tool %q is scripted", tool.Name)
	default:
		result = tool.Results[min(n, len(tool.Results)-1)]
	}
	return mcpgo.ParseCallToolResult(&result)
}
