package aibridge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridge/mcp"
)

// reused is a ResponseWriter that keeps nothing, so that only the relay is measured.
type reused struct{ header http.Header }

func (w *reused) Header() http.Header { return w.header }
func (w *reused) WriteHeader(status int) {
	if status != http.StatusOK {
		panic(status)
	}
}
func (w *reused) Write(p []byte) (int, error) { return len(p), nil }
func (w *reused) Flush()                      {}

// offered are tools that nobody calls.
type offered struct {
	tools
	all []mcp.Tool
}

func (o *offered) Tools() []mcp.Tool { return o.all }

// BenchmarkRelay sends a request through the bridge without a network, a log or a queue, to measure what the relay
// itself costs.
func BenchmarkRelay(b *testing.B) {
	event := "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"some words of it\"}}\n\n"
	stream := pieces{beginning}
	for range 100 {
		stream = append(stream, event)
	}
	with := &offered{}
	for i := range 20 {
		with.all = append(with.all, mcp.Tool{
			ID: fmt.Sprintf("bmcp_docs_%02d", i), Description: strings.Repeat("It does something. ", 10),
			InputSchema: json.RawMessage(`{"type":"object","properties":{"query":{"type":"string","description":"` + strings.Repeat("words ", 40) + `"}}}`),
		})
	}
	large := `{"model":"claude","max_tokens":1000,"stream":true,"messages":[{"role":"user","content":"hello"}`
	for i := range 100 {
		large += fmt.Sprintf(`,{"role":"assistant","content":[{"type":"text","text":%q},{"type":"tool_use","id":"toolu_%d","name":"Bash","input":{"command":"ls"}}]},`+
			`{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_%d","content":%q}]}`, strings.Repeat("word ", 20), i, i, strings.Repeat("line ", 300))
	}
	large += `]}`
	for name, test := range map[string]struct {
		answer pieces
		body   string
		tools  mcp.ServerProxier
	}{
		"200 KB":            {append(stream, stop), large, nil},
		"200 KB, tools":     {append(stream, stop), large, with},
		"100 events, tools": {append(stream, stop), `{"model":"claude","max_tokens":1000,"stream":true,"messages":[{"role":"user","content":"hello"}]}`, with},
		"1 KB":              {pieces{whole}, `{"model":"claude","max_tokens":1000,"messages":[{"role":"user","content":"` + strings.Repeat("word ", 180) + `"}]}`, nil},
		"100 events":        {append(stream, stop), `{"model":"claude","max_tokens":1000,"stream":true,"messages":[{"role":"user","content":"hello"}]}`, nil},
	} {
		b.Run(name, func(b *testing.B) {
			bridge := newBridge(b, test.answer, discard{}, aibridge.BridgeOptions{
				Metrics: aibridge.NewMetrics(prometheus.NewRegistry()), Tools: test.tools,
			})
			r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://gateway/p/v1/messages?beta=true", nil)
			if err != nil {
				b.Fatal(err)
			}
			for name, value := range map[string]string{
				"User-Agent": "claude-cli/2.1.330 (external, sdk-cli)", "Anthropic-Version": "2023-06-01", "Accept": "application/json",
				"Content-Type": "application/json", "X-Claude-Code-Session-Id": "0b1e6f0e-0000-4000-8000-000000000000",
				"Accept-Encoding": "gzip, br", "X-Stainless-Lang": "js", "X-Stainless-Os": "Linux", "Anthropic-Beta": "a,b",
			} {
				r.Header.Set(name, value)
			}
			r.URL.Scheme, r.URL.Host = "", "" // As a server gets it: the host is in r.Host.
			b.ReportAllocs()
			for b.Loop() {
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader(test.body)), int64(len(test.body))
				bridge.ServeHTTP(&reused{header: http.Header{}}, r)
			}
		})
	}
}
