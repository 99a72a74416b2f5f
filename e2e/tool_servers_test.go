package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// toolServers are MCP servers that others have written: server-everything of the protocol's reference servers, with
// sessions, and one made with the official Go SDK, without.
type toolServers struct {
	everything *process
	url        string // Of everything.
	stateless  *httptest.Server
	spoken     sync.Map // The versions of the protocol, each a string, in which the stateless server got requests.
}

// greeting is the input of the Go SDK's tool.
type greeting struct {
	Name string `json:"name" jsonschema:"whom to greet"`
}

// startToolServers starts both. The caller stops them.
func startToolServers() (_ *toolServers, err error) {
	s := &toolServers{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	greeter := mcp.NewServer(&mcp.Implementation{Name: "greeter", Version: "1"}, nil)
	mcp.AddTool(greeter, &mcp.Tool{Name: "greet", Description: "Greets somebody."},
		func(_ context.Context, _ *mcp.CallToolRequest, in greeting) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "Hello, " + in.Name + "."}}}, nil, nil
		})
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return greeter }, &mcp.StreamableHTTPOptions{Stateless: true})
	s.stateless = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.spoken.Store(r.Header.Get("Mcp-Protocol-Version"), true)
		if id := r.Header.Get("Mcp-Session-Id"); id != "" {
			s.spoken.Store("session "+id, true)
		}
		handler.ServeHTTP(w, r)
	}))

	executable, err := filepath.Abs(filepath.Join("clients", "node_modules", ".bin", "mcp-server-everything"))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(executable); err != nil {
		return nil, fmt.Errorf("%w: `make e2e` installs it", err)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(executable, "streamableHttp")
	cmd.Env = append(os.Environ(), "PORT="+port)
	if s.everything, err = launch(cmd); err != nil {
		return nil, err
	}
	s.url = "http://127.0.0.1:" + port + "/mcp"
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return s, poll(ctx, func() (bool, error) {
		if err := s.everything.ended(); err != nil {
			return false, err
		}
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			return false, nil
		}
		return true, conn.Close()
	})
}

// freePort returns a port on which nothing listens.
func freePort() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	return port, errors.Join(err, listener.Close())
}

// configuration returns what a gateway's configuration says of the servers.
func (s *toolServers) configuration() string {
	if s == nil {
		return ""
	}
	return fmt.Sprintf("mcp_servers:\n  - {id: everything, url: %q}\n  - {id: go, url: %q}\n", s.url, s.stateless.URL)
}

func (s *toolServers) stop() error {
	if s.stateless != nil {
		s.stateless.Close()
	}
	if s.everything == nil {
		return nil
	}
	return s.everything.stop()
}
