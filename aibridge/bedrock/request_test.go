package bedrock_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridge/bedrock"
	"github.com/coder/aibridged/internal/fakebedrock"
)

// TestRequests checks what reaches Bedrock for a request of the Messages API, byte for byte.
func TestRequests(t *testing.T) {
	const messages = `"messages":[{"role":"user","content":"Hi"}]`
	const arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"
	models := map[string]string{
		"claude-sonnet-4-5": "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-3-7-sonnet": "anthropic.claude-3-7-sonnet-20250219-v1:0",
		"claude-opus-4-1": arn, "odd": "a b?c#d%2F;é",
	}
	for name, test := range map[string]struct {
		query   string
		body    string
		headers []string
		uri     string
		want    string
	}{
		"stream": {
			body: `{"model":"claude-sonnet-4-5","stream":true,"max_tokens":9, ` + messages + `, "n": 1e400}`,
			uri:  "/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/invoke-with-response-stream",
			want: `{"max_tokens":9, ` + messages + `, "n": 1e400,"anthropic_version":"bedrock-2023-05-31"}`,
		},
		"blocking, without a query": {
			query: "?beta=true",
			body:  ` { ` + messages + `,"model":"claude-sonnet-4-5" , "stream" : false } `,
			uri:   "/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/invoke",
			want:  ` { ` + messages + `,"anthropic_version":"bedrock-2023-05-31" } `,
		},
		"ARN": {
			body: `{"model":"claude-opus-4-1",` + messages + `}`,
			uri:  "/model/arn:aws:bedrock:us-east-1:123456789012:application-inference-profile%2Fabc123/invoke",
			want: `{` + messages + `,"anthropic_version":"bedrock-2023-05-31"}`,
		},
		"ARN from the client": {
			body: `{` + messages + `,"model":"` + arn + `"}`,
			uri:  "/model/arn:aws:bedrock:us-east-1:123456789012:application-inference-profile%2Fabc123/invoke",
			want: `{` + messages + `,"anthropic_version":"bedrock-2023-05-31"}`,
		},
		"odd id": {
			body: `{"model":"odd",` + messages + `}`,
			uri:  "/model/a%20b%3Fc%23d%252F%3B%C3%A9/invoke",
			want: `{` + messages + `,"anthropic_version":"bedrock-2023-05-31"}`,
		},
		"not in the table": {
			body: `{"model":"anthropic.claude-haiku-4-5-20251001-v1:0",` + messages + `}`,
			uri:  "/model/anthropic.claude-haiku-4-5-20251001-v1:0/invoke",
			want: `{` + messages + `,"anthropic_version":"bedrock-2023-05-31"}`,
		},
		"version of the client": {
			body: `{"model":"claude-sonnet-4-5","anthropic_version":"bedrock-2099-01-01",` + messages + `}`,
			uri:  "/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/invoke",
			want: `{"anthropic_version":"bedrock-2099-01-01",` + messages + `}`,
		},
		"flags": {
			body:    `{"model":"claude-sonnet-4-5","betas":["tool-examples-2025-10-29","of-the-body"],"anthropic_beta":["interleaved-thinking-2025-05-14"],` + messages + `}`,
			headers: []string{"anthropic-beta", "claude-code-20250219, context-management-2025-06-27,interleaved-thinking-2025-05-14", "anthropic-beta", "ours-2026-01-01"},
			uri:     "/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/invoke",
			want:    `{"anthropic_beta":["context-management-2025-06-27","interleaved-thinking-2025-05-14","ours-2026-01-01","tool-examples-2025-10-29"],` + messages + `,"anthropic_version":"bedrock-2023-05-31"}`,
		},
		"flags of which none goes": {
			body:    `{"model":"claude-sonnet-4-5","anthropic_beta":["x"],` + messages + `}`,
			headers: []string{"anthropic-beta", "y"},
			uri:     "/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/invoke",
			want:    `{` + messages + `,"anthropic_version":"bedrock-2023-05-31"}`,
		},
		"what a newer model accepts": {
			body: `{"model":"us.anthropic.claude-opus-4-6-v1","context_management":{"edits":[]},"output_config":{"effort":"high","format":{}},"tools":[{"name":"t","strict":true,"eager_input_streaming":true,"defer_loading":true,"cache_control":{"type":"ephemeral","ttl":"1h"}}],` + messages + `}`,
			uri:  "/model/us.anthropic.claude-opus-4-6-v1/invoke",
			want: `{"context_management":{"edits":[]},"output_config":{"effort":"high","format":{}},"tools":[{"name":"t","strict":true,"defer_loading":true,"cache_control":{"type":"ephemeral","ttl":"1h"}}],` + messages + `,"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["fine-grained-tool-streaming-2025-05-14"]}`,
		},
		"what a middle one accepts": {
			body:    `{"model":"claude-sonnet-4-5","output_config":{"effort":"high","format":{}},` + messages + `,"system":[{"type":"text","text":"s","cache_control":{"ttl":"1h","type":"ephemeral"}}]}`,
			headers: []string{"anthropic-beta", "effort-2025-11-24"},
			uri:     "/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/invoke",
			want:    `{"output_config":{"format":{}},` + messages + `,"system":[{"type":"text","text":"s","cache_control":{"ttl":"1h","type":"ephemeral"}}],"anthropic_version":"bedrock-2023-05-31"}`,
		},
		"what an older one accepts": {
			body: `{"model":"claude-3-7-sonnet","context_management":{"edits":[]},"output_config":{"effort":"high"},"cache_control":{"type":"ephemeral","ttl":"1h"},` +
				`"tools":[{"name":"strict","input_schema":{"properties":{"strict":{}}}} , {"strict":true,"name":"t","eager_input_streaming":true,"cache_control":{"ttl":"1h","type":"ephemeral"}}],` +
				`"system":[{"type":"text","text":"\"ttl\"","cache_control":{"type":"ephemeral","ttl":"1h"}}],` +
				`"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"5m"}}],"cache_control":{"type":"ephemeral","ttl":"1h"}}]},{"role":"user","content":"{\"ttl\":1}"}]}`,
			headers: []string{"anthropic-beta", "context-management-2025-06-27,token-efficient-tools-2025-02-19"},
			uri:     "/model/anthropic.claude-3-7-sonnet-20250219-v1:0/invoke",
			want: `{"cache_control":{"type":"ephemeral"},` +
				`"tools":[{"name":"strict","input_schema":{"properties":{"strict":{}}}} , {"name":"t","cache_control":{"type":"ephemeral"}}],` +
				`"system":[{"type":"text","text":"\"ttl\"","cache_control":{"type":"ephemeral"}}],` +
				`"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}],"cache_control":{"type":"ephemeral"}}]},{"role":"user","content":"{\"ttl\":1}"}]` +
				`,"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["token-efficient-tools-2025-02-19"]}`,
		},
		"a profile whose model only the client's name tells": {
			body: `{"model":"claude-opus-4-1","output_config":{"format":{}},"metadata":{"user_id":"u"},` + messages + `}`,
			uri:  "/model/arn:aws:bedrock:us-east-1:123456789012:application-inference-profile%2Fabc123/invoke",
			want: `{"metadata":{"user_id":"u"},` + messages + `,"anthropic_version":"bedrock-2023-05-31"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			answer := fakebedrock.Answer{Body: helloBody}
			if strings.HasSuffix(test.uri, "stream") {
				answer = fakebedrock.Answer{Frames: fakebedrock.Events(hello()...)}
			}
			fake := fakebedrock.New(t, answering(answer))
			g := newGateway(t, fake.URL, bedrock.Options{Models: models, Betas: []string{"ours-2026-01-01"}, Credentials: static()})
			headers := append([]string{"anthropic-version", "2023-06-01", "X-Custom", "kept", "X-Ai-Bridge-Sign", "no"}, test.headers...)
			if got := post(t, g, "/bedrock/v1/messages"+test.query, test.body, headers...); got.status != http.StatusOK {
				t.Fatalf("%d %s", got.status, got.body)
			}
			sent := fake.Requests()
			if len(sent) != 1 {
				t.Fatalf("%d requests", len(sent))
			}
			if sent[0].URI != test.uri || sent[0].Body != test.want {
				t.Errorf("sent %s\n%s\nwant %s\n%s", sent[0].URI, sent[0].Body, test.uri, test.want)
			}
			for name, want := range map[string]string{
				"Anthropic-Beta": "", "Anthropic-Version": "", "X-Ai-Bridge-Sign": "", "X-Api-Key": "", "X-Custom": "kept",
				"Accept-Encoding": "identity", "Content-Type": "application/json", "Accept": "application/json", "X-Amz-Security-Token": key().Token,
			} {
				if got := sent[0].Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

// TestSentBase checks that a base URL's path stays in front of what is sent.
func TestSentBase(t *testing.T) {
	fake := fakebedrock.New(t, answering(fakebedrock.Answer{Body: helloBody}))
	g := newGateway(t, fake.URL+"/a%2Fb/", bedrock.Options{Credentials: static()})
	if got := post(t, g, "/bedrock/v1/messages", `{"model":"m","messages":[]}`); got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if got := fake.Requests()[0].URI; got != "/a%2Fb/model/m/invoke" {
		t.Error(got)
	}
}

func TestModelsThatNoPathCanName(t *testing.T) {
	fake := fakebedrock.New(t, answering(fakebedrock.Answer{Body: helloBody}))
	g := newGateway(t, fake.URL, bedrock.Options{Credentials: static(), Models: map[string]string{"m": ".."}})
	for _, body := range []string{`{"model":".","messages":[]}`, `{"model":"m","messages":[]}`, `{"thread":"t"}`} {
		if got := post(t, g, "/bedrock/v1/messages", body); got.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", body, got.status, got.body)
		}
	}
	if sent := fake.Requests(); len(sent) != 0 {
		t.Errorf("%d requests were sent", len(sent))
	}
}

func TestMantle(t *testing.T) {
	const stream = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
	options := answering(fakebedrock.Answer{Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: stream})
	options.Service = "bedrock-mantle"
	fake := fakebedrock.New(t, options)
	body := `{"model":"claude-sonnet-4-5","stream":true,"betas":["x"],"tools":[{"strict":true}],"messages":[]}`
	for name, with := range map[string]bedrock.Options{
		"signed":  {API: bedrock.Mantle, Credentials: static()},
		"API key": {API: bedrock.Mantle, Provider: aibridge.ProviderOptions{Key: "bedrock-api-key-of-somebody"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, fake.URL+"/anthropic", with)
			for _, path := range []string{"/v1/messages?beta=true", "/v1/messages/count_tokens?beta=true"} {
				got := post(t, g, "/bedrock"+path, body, "anthropic-beta", "a,b", "anthropic-version", "2023-06-01")
				if got.status != http.StatusOK || got.body != stream {
					t.Fatalf("%s: %d %q", path, got.status, got.body)
				}
				sent := fake.Requests()
				last := sent[len(sent)-1]
				if last.URI != "/anthropic"+path || last.Body != body || last.Header.Get("Anthropic-Beta") != "a,b" || last.Header.Get("Anthropic-Version") != "2023-06-01" {
					t.Errorf("sent %+v", last)
				}
			}
			g.Control.WaitEnds(t, 1)
		})
	}
}

// TestMemoryIsGivenBack checks that the copies of bodies are counted, and given back.
func TestMemoryIsGivenBack(t *testing.T) {
	fake := fakebedrock.New(t, answering(fakebedrock.Answer{Frames: fakebedrock.Events(hello()...)}))
	memory := aibridge.NewMemory(64 << 20)
	g := newGateway(t, fake.URL, bedrock.Options{Credentials: static(), Provider: aibridge.ProviderOptions{Memory: memory}})
	large := strings.Replace(ask, "Hi", strings.Repeat("x", 3<<20), 1)
	for range 3 {
		if got := post(t, g, "/bedrock/v1/messages", large); got.status != http.StatusOK || got.body != helloSSE() {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	g.Control.WaitEnds(t, 3)
	if err := g.Server.Close(); err != nil {
		t.Fatal(err)
	}
	if used := memory.Used(); used != 0 {
		t.Errorf("%d bytes are still counted", used)
	}
}
