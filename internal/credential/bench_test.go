package credential

import (
	"net/http"
	"testing"
)

// usual is the header of a coding client's request.
func usual() http.Header {
	return http.Header{
		"Accept": {"application/json"}, "Accept-Encoding": {"gzip, deflate, br, zstd"}, "Content-Type": {"application/json"},
		"Content-Length": {"48213"}, "User-Agent": {"claude-cli/2.1.330 (external, sdk-cli)"},
		"Anthropic-Beta":    {"claude-code-20250219,interleaved-thinking-2025-05-14,fine-grained-tool-streaming-2025-05-14"},
		"Anthropic-Version": {"2023-06-01"}, "X-App": {"cli"}, "X-Stainless-Arch": {"x64"}, "X-Stainless-Lang": {"js"},
		"X-Stainless-Os": {"Linux"}, "X-Stainless-Package-Version": {"0.60.0"}, "X-Stainless-Retry-Count": {"0"},
		"X-Stainless-Runtime": {"node"}, "X-Stainless-Runtime-Version": {"v24.3.0"}, "X-Stainless-Timeout": {"600"},
		"X-Claude-Code-Session-Id": {"0b0a7a4e-3c5c-4a57-9a5a-0f4bd0a3a3f7"},
		"Traceparent":              {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
		"Authorization":            {"Bearer sk-ant-api03-Zm9vYmFyYmF6cXV4-Zm9vYmFyYmF6cXV4_Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4-AAAAAA"},
	}
}

// TestUsualHeadersCostNoAllocation holds the scan of a usual request, which finds nothing, to no allocation.
func TestUsualHeadersCostNoAllocation(t *testing.T) {
	header := usual()
	tokens := Tokens{Presented: "AAAAAAAAAA-BBBBBBBBBBBBBBBBBBBBBBBBBB", Find: FindCoderKey}
	if n := testing.AllocsPerRun(100, func() { header = tokens.Without(header) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	for name := range header {
		if n := testing.AllocsPerRun(100, func() { fateOf(name) }); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if len(header) != len(usual()) {
		t.Errorf("only %d of %d headers are left", len(header), len(usual()))
	}
}

func BenchmarkWithout(b *testing.B) {
	header := usual()
	tokens := Tokens{Presented: "AAAAAAAAAA-BBBBBBBBBBBBBBBBBBBBBBBBBB", Find: FindCoderKey}
	b.ReportAllocs()
	for b.Loop() {
		header = tokens.Without(header)
	}
}

func BenchmarkForward(b *testing.B) {
	header := usual()
	b.ReportAllocs()
	for b.Loop() {
		Forward(header, "")
	}
}
