package observe

import (
	"net/http"
	"testing"
)

func BenchmarkRedaction(b *testing.B) {
	header := http.Header{
		"Accept": {"application/json"}, "Accept-Encoding": {"gzip, deflate, br, zstd"}, "Content-Type": {"application/json"},
		"Content-Length": {"48213"}, "User-Agent": {"claude-cli/2.1.330 (external, sdk-cli)"},
		"Anthropic-Beta":    {"claude-code-20250219,interleaved-thinking-2025-05-14,fine-grained-tool-streaming-2025-05-14"},
		"Anthropic-Version": {"2023-06-01"}, "X-App": {"cli"}, "X-Stainless-Arch": {"x64"}, "X-Stainless-Lang": {"js"},
		"X-Claude-Code-Session-Id": {"0b0a7a4e-3c5c-4a57-9a5a-0f4bd0a3a3f7"},
		"Traceparent":              {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
		"X-Api-Key":                {canary},
	}
	b.ReportAllocs()
	for b.Loop() {
		redactionOf(header).header(header)
	}
}
