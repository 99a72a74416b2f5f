package aibridge_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/coder/aibridged/aibridge"
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

// BenchmarkRelay sends a request through the bridge without a network, a log or a queue, to measure what the relay
// itself costs.
func BenchmarkRelay(b *testing.B) {
	event := "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"some words of it\"}}\n\n"
	stream := pieces{beginning}
	for range 100 {
		stream = append(stream, event)
	}
	for name, test := range map[string]struct {
		answer pieces
		body   string
	}{
		"1 KB":       {pieces{whole}, `{"model":"claude","max_tokens":1000,"messages":[{"role":"user","content":"` + strings.Repeat("word ", 180) + `"}]}`},
		"100 events": {append(stream, stop), `{"model":"claude","max_tokens":1000,"stream":true,"messages":[{"role":"user","content":"hello"}]}`},
	} {
		b.Run(name, func(b *testing.B) {
			bridge := newBridge(b, test.answer, discard{}, aibridge.BridgeOptions{Metrics: aibridge.NewMetrics(prometheus.NewRegistry())})
			r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "/p/v1/messages?beta=true", nil)
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
			b.ReportAllocs()
			for b.Loop() {
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader(test.body)), int64(len(test.body))
				bridge.ServeHTTP(&reused{header: http.Header{}}, r)
			}
		})
	}
}
