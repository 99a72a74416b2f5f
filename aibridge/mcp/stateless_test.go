package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
)

// A server that speaks the stateless protocol is never asked for a session. Each request names its version, its method
// and what it is about.
func TestStatelessProtocol(t *testing.T) {
	s := newStatelessServer(t)
	s.add("one", "two", "three", "nämé")
	s.AddTool(mcpgo.NewToolWithRawSchema("region", "", json.RawMessage(
		`{"type":"object","properties":{"r":{"type":"string","x-mcp-header":"Region"}}}`)),
		func(_ context.Context, request mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
			return mcpgo.NewToolResultText("in " + request.Header.Get("Mcp-Param-Region")), nil
		})
	p := connect(t, ProxyOptions{URL: s.url, Headers: withToken(testToken)})
	if got, want := names(p.Tools()), []string{"nämé", "one", "region", "three", "two"}; !slices.Equal(got, want) {
		t.Errorf("tools %v, want %v", got, want)
	}
	for _, tool := range p.Tools() {
		result, err := p.Call(t.Context(), tool.ID, json.RawMessage(`{"r":"eu"}`))
		want := "this is " + tool.Name
		if tool.Name == "region" {
			want = "in eu"
		}
		if err != nil || textOf(result) != want {
			t.Errorf("%s: result %+v, error %v", tool.Name, result, err)
		}
	}
	if err := p.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	methods := s.headers("Mcp-Method")
	if methods[0] != "server/discover" || slices.Contains(methods, "") || slices.Contains(methods, "initialize") {
		t.Errorf("methods %q", methods)
	}
	if i := slices.Index(methods, "tools/call"); i < 0 || s.headers("Mcp-Name")[i] == "" {
		t.Errorf("names %q", s.headers("Mcp-Name"))
	}
	for name, want := range map[string]string{
		"Mcp-Protocol-Version": "2026-07-28", "Mcp-Session-Id": "", "Authorization": "Bearer " + testToken,
	} {
		for _, value := range s.headers(name) {
			if value != want {
				t.Errorf("%s is %q", name, value)
			}
		}
	}
}

// The stateless protocol forbids to use a tool that wants what cannot be in a header there. Older ones do not know of it.
func TestToolWithABadHeader(t *testing.T) {
	list := answerWith(`{"tools":[{"name":"good"},{"name":"bad","inputSchema":{"type":"object","properties":{"a":{"type":"array","x-mcp-header":"A"}}}}]}`)
	for want, raw := range map[int]rawServer{
		1: {"server/discover": answerWith(statelessDiscovery), "tools/list": list},
		2: {"tools/list": list},
	} {
		if p := connect(t, ProxyOptions{URL: raw.start(t)}); len(p.Tools()) != want {
			t.Errorf("tools %v, want %d", names(p.Tools()), want)
		}
	}
}

func TestStatelessToolsFollowTheServer(t *testing.T) {
	s := newStatelessServer(t)
	s.add("one", "two")
	l, logger := newLogs()
	p := connect(t, ProxyOptions{URL: s.url, Logger: logger})
	s.add("three") // Whether the stream of changes is open by now or not.
	for field(l.await(t, "MCP server's tools"), "tools") != "3" {
	}
	s.DeleteTools("one")
	l.await(t, "MCP server's tools")
	if got, want := names(p.Tools()), []string{"three", "two"}; !slices.Equal(got, want) {
		t.Errorf("tools %v, want %v", got, want)
	}
}

// The end of a stateless call is told by closing its connection, and by nothing else.
func TestStatelessCallIsAbandoned(t *testing.T) {
	called, gone := make(chan struct{}), make(chan struct{})
	p := connect(t, ProxyOptions{URL: rawServer{
		"server/discover": answerWith(statelessDiscovery),
		"tools/call": func(_ http.ResponseWriter, r *http.Request, _ rawCall) {
			close(called)
			<-r.Context().Done()
			close(gone)
		},
		"notifications/cancelled": func(http.ResponseWriter, *http.Request, rawCall) { t.Error("cancelled by a notification") },
	}.start(t)})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var call sync.WaitGroup
	call.Go(func() {
		if _, err := p.Call(ctx, "bmcp_srv_tool", nil); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
	receive(t, called, "the call")
	cancel()
	call.Wait()
	receive(t, gone, "the end of the connection")
}

// rpcFailure answers with a JSON-RPC error.
func rpcFailure(status, code int, data string) func(http.ResponseWriter, *http.Request, rawCall) {
	return func(w http.ResponseWriter, _ *http.Request, call rawCall) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":"no","data":%s}}`, call.ID, code, data)
	}
}

// TestDiscovery has servers that answer server/discover in all manners. Most of them get an initialize then.
func TestDiscovery(t *testing.T) {
	const older = `{"supported":["2025-11-25","2025-06-18"],"requested":"2026-07-28"}`
	for name, test := range map[string]struct {
		discover func(http.ResponseWriter, *http.Request, rawCall)
		want     string // The version then spoken; or, if the server is not usable, part of the error.
	}{
		"it speaks it":             {answerWith(statelessDiscovery), "2026-07-28"},
		"it speaks all":            {answerWith(`{"supportedVersions":["2026-07-28","2025-11-25"],"capabilities":{"tools":{}}}`), "2026-07-28"},
		"it speaks older ones":     {answerWith(`{"supportedVersions":["2025-11-25"],"capabilities":{"tools":{}}}`), "2025-06-18"},
		"it speaks newer ones":     {answerWith(`{"supportedVersions":["2031-01-01"],"capabilities":{"tools":{}}}`), "2025-06-18"},
		"no object":                {answerWith(`7`), "2025-06-18"},
		"method not found":         {rpcFailure(200, -32601, `null`), "2025-06-18"},
		"method not found, 404":    {rpcFailure(404, -32601, `null`), "2025-06-18"},
		"no session":               {rpcFailure(400, -32000, `"no session"`), "2025-06-18"},
		"invalid request":          {rpcFailure(400, -32600, `null`), "2025-06-18"},
		"code 0":                   {rpcFailure(400, 0, `null`), "2025-06-18"},
		"below the reserved codes": {rpcFailure(400, -32019, `null`), "2025-06-18"},
		"above the reserved codes": {rpcFailure(400, -32023, `null`), "2025-06-18"},
		"older ones offered":       {rpcFailure(400, -32022, older), "2025-06-18"},
		"older ones offered, 200":  {rpcFailure(200, -32022, older), "2025-06-18"},
		"header mismatch":          {rpcFailure(400, -32020, older), "HTTP status 400: no"},
		"capability missing":       {rpcFailure(200, -32021, `null`), "JSON-RPC error -32021: no"},
		"newer ones offered":       {rpcFailure(400, -32022, `{"supported":["2031-01-01"]}`), "HTTP status 400: no"},
		"nothing offered":          {rpcFailure(400, -32022, `"?"`), "HTTP status 400: no"},
		"plain 400":                {func(w http.ResponseWriter, _ *http.Request, _ rawCall) { w.WriteHeader(400) }, "2025-06-18"},
		"plain 404":                {func(w http.ResponseWriter, _ *http.Request, _ rawCall) { w.WriteHeader(404) }, "2025-06-18"},
		"405":                      {func(w http.ResponseWriter, _ *http.Request, _ rawCall) { w.WriteHeader(405) }, "2025-06-18"},
		"500":                      {func(w http.ResponseWriter, _ *http.Request, _ rawCall) { w.WriteHeader(500) }, "2025-06-18"},
		"202":                      {func(w http.ResponseWriter, _ *http.Request, _ rawCall) { w.WriteHeader(202) }, "2025-06-18"},
		"HTML":                     {func(w http.ResponseWriter, _ *http.Request, _ rawCall) { fmt.Fprint(w, "<html>") }, "2025-06-18"},
		"broken off":               {func(http.ResponseWriter, *http.Request, rawCall) { panic(http.ErrAbortHandler) }, "2025-06-18"},
		"too large": {func(w http.ResponseWriter, _ *http.Request, call rawCall) {
			answer(w, call, `"`+strings.Repeat("x", maxAnswer)+`"`)
		}, "2025-06-18"},
		"no answer": {hang, "2025-06-18"},
		"401":       {func(w http.ResponseWriter, _ *http.Request, _ rawCall) { w.WriteHeader(401) }, "credentials refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			spoken := map[string]string{}
			note := func(handle func(http.ResponseWriter, *http.Request, rawCall)) func(http.ResponseWriter, *http.Request, rawCall) {
				return func(w http.ResponseWriter, r *http.Request, call rawCall) {
					mu.Lock()
					spoken[call.Method] = r.Header.Get("Mcp-Protocol-Version")
					mu.Unlock()
					handle(w, r, call)
				}
			}
			p := newProxy(t, ProxyOptions{ConnectTimeout: 3 * time.Second, URL: rawServer{
				"server/discover": test.discover,
				"initialize":      note(answerWith(`{"protocolVersion":"2025-06-18","capabilities":{"tools":{}}}`)),
				"tools/list":      note(answerWith(`{"tools":[{"name":"tool"}]}`)),
			}.start(t)})
			err := p.Init(t.Context())
			if !strings.HasPrefix(test.want, "20") {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("error %v, want %q", err, test.want)
				}
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil || spoken["tools/list"] != test.want || spoken["initialize"] != "" {
				t.Errorf("error %v, versions %v", err, spoken)
			}
		})
	}
}

// A 404 without a session says nothing about a session: no other is opened, and the call is not made again.
func TestStatelessNotFound(t *testing.T) {
	calls, discoveries := 0, 0
	p := connect(t, ProxyOptions{URL: rawServer{
		"server/discover": func(w http.ResponseWriter, _ *http.Request, call rawCall) {
			discoveries++
			answer(w, call, statelessDiscovery)
		},
		"tools/call": func(w http.ResponseWriter, r *http.Request, call rawCall) {
			calls++
			rpcFailure(404, -32601, `null`)(w, r, call)
		},
	}.start(t)})
	_, err := p.Call(t.Context(), "bmcp_srv_tool", nil)
	if err == nil || errors.Is(err, ErrSessionExpired) || calls != 1 || discoveries != 1 {
		t.Errorf("error %v after %d calls, %d discoveries", err, calls, discoveries)
	}
}
