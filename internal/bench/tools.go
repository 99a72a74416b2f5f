package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coder/aibridged/internal/fakemcp"
)

const (
	// toolCount is how many tools the gateway with tools adds to each request.
	toolCount = 20
	// calledTool is the one that the upstream calls, as the gateway names it, and calledInput its input.
	calledTool  = "bmcp_bench_tool_0"
	calledInput = `{"path":"entry.go"}`
	// calledID is the id of the call: a request that has it has the result too.
	calledID = "call_of_the_bench"
)

// serveTools runs an MCP server on a free port, which it prints. Its tools answer at once.
func serveTools(ctx context.Context) error {
	words, tools := newText(), []fakemcp.Tool(nil)
	for n := range toolCount {
		schema, err := json.Marshal(words.schema())
		if err != nil {
			return err
		}
		tools = append(tools, fakemcp.Tool{
			Name: fmt.Sprintf("tool_%d", n), Description: words.prose(300), InputSchema: schema,
			Results: []json.RawMessage{json.RawMessage(`{"content":[{"type":"text","text":` + quote(words.prose(1000)) + `}]}`)},
		})
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", listener.Addr())
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: fakemcp.New(tools...)}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// calling returns the answer that calls the tool, in place of one of that shape.
func (f format) calling() *answer {
	a := &answer{ending: []byte(f.calls[len(f.calls)-1].text())}
	head := []byte(answerHead("text/event-stream; charset=utf-8") + "Transfer-Encoding: chunked\r\n\r\n")
	a.pieces = [][]byte{append(a.chunks(head, append(slices.Clone(f.opening), f.calls...)...), "0\r\n\r\n"...)}
	return a
}

// wantsCall reports whether a request is answered with a call first: its shape says so, and it has no result yet.
func (s shape) wantsCall(body []byte) bool { return s.calls && !bytes.Contains(body, []byte(calledID)) }

// callCost returns by how much the median time of a request grows if the model calls a tool in it, in milliseconds.
func (l load) callCost(ctx context.Context, s *server) ([]float64, error) {
	var medians []float64
	for _, calls := range []bool{false, true} {
		l.shape.calls = calls
		took, err := l.latency(ctx, s)
		if err != nil {
			return nil, err
		}
		medians = append(medians, took...)
	}
	return []float64{medians[1] - medians[0]}, nil
}

// callBase returns what a client without a gateway needs at least for the same: the median times of a request to the
// upstream and of a call of the tool, in milliseconds.
func (l load) callBase(ctx context.Context, m *comparison) ([]float64, error) {
	asked, err := l.latency(ctx, m.direct)
	if err != nil {
		return nil, err
	}
	called, err := toolLatency(ctx, "http://"+m.tools.address, l.requests)
	return []float64{asked[0] + called}, err
}

// toolLatency returns the median time of a call of the tool, in milliseconds.
func toolLatency(ctx context.Context, url string, calls int) (float64, error) {
	c := toolClient{url: url, http: &http.Client{Transport: &http.Transport{}}}
	defer c.http.CloseIdleConnections()
	const greeting = `{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}`
	if err := c.ask(ctx, "initialize", greeting); err != nil {
		return 0, err
	}
	took := make([]timing, calls)
	for n := range took {
		began := time.Now()
		if err := c.ask(ctx, "tools/call", `{"name":"tool_0","arguments":`+calledInput+`}`); err != nil {
			return 0, err
		}
		took[n].whole = time.Since(began)
	}
	return quantile(took, 0.5, timing.untilEnd), nil
}

// toolClient sends requests to the MCP server with nothing but HTTP.
type toolClient struct {
	url     string
	http    *http.Client
	session string
}

var errTool = errors.New("the MCP server answers with an error")

func (c *toolClient) ask(ctx context.Context, method, params string) error {
	body := `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":` + params + `}`
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json, text/event-stream")
	if c.session != "" {
		request.Header.Set("Mcp-Session-Id", c.session)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || !bytes.Contains(answer, []byte(`"result"`)) {
		return fmt.Errorf("%s: %w: %d %s", method, errTool, response.StatusCode, answer)
	}
	c.session = cmp.Or(response.Header.Get("Mcp-Session-Id"), c.session)
	return nil
}
