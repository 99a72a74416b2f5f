package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/mcp"

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
func toolLatency(ctx context.Context, url string, calls int) (_ float64, err error) {
	c, err := client.NewStreamableHttpClient(url)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := c.Start(ctx); err != nil {
		return 0, err
	}
	if _, err := c.Initialize(ctx, mcp.InitializeRequest{Params: mcp.InitializeParams{
		ProtocolVersion: mcp.LATEST_PROTOCOL_VERSION, ClientInfo: mcp.Implementation{Name: "bench", Version: "1"},
	}}); err != nil {
		return 0, err
	}
	took := make([]timing, calls)
	for n := range took {
		began := time.Now()
		if _, err := c.CallTool(ctx, mcp.CallToolRequest{Params: mcp.CallToolParams{Name: "tool_0", Arguments: json.RawMessage(calledInput)}}); err != nil {
			return 0, err
		}
		took[n].whole = time.Since(began)
	}
	return quantile(took, 0.5, timing.untilEnd), nil
}
