package bedrock_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridge/bedrock"
	"github.com/coder/aibridged/internal/fakebedrock"
	"github.com/coder/aibridged/internal/testkit"
)

// key is the credentials of the gateway under test.
func key() fakebedrock.Key {
	return fakebedrock.Key{ID: "AKIAGATEWAY", Secret: "canary-secret-of-the-gateway", Token: "canary-session-token-of-the-gateway"}
}

func static() bedrock.Credentials {
	return bedrock.Credentials{AccessKeyID: key().ID, SecretAccessKey: key().Secret, SessionToken: key().Token}
}

// hello is an answer's events.
func hello() []string {
	return []string{
		`{"type":"message_start","message":{"id":"msg_bdrk_1","type":"message","role":"assistant","model":"claude-sonnet-4-5-20250929","content":[],"usage":{"input_tokens":3,"output_tokens":1}}}`,
		`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}      `,
		`{"type":"content_block_stop","index":0}`,
		`{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}`,
		`{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":3,"outputTokenCount":2}}`,
	}
}

// helloSSE is the same as a stream of the Messages API.
func helloSSE() string {
	kinds := []string{"message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop"}
	stream := ""
	for i, event := range hello() {
		stream += "event: " + kinds[i] + "\ndata: " + event + "\n\n"
	}
	return stream
}

const helloBody = `{ "id":"msg_bdrk_1","type":"message","role":"assistant","model":"claude-sonnet-4-5-20250929","content":[{"type":"text","text":"Hello"}],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":2}}`

// answering returns the options of a Bedrock that knows the gateway's credentials and gives one answer.
func answering(answer fakebedrock.Answer) fakebedrock.Options {
	return fakebedrock.Options{
		Keys: []fakebedrock.Key{key()}, APIKeys: []string{"bedrock-api-key-of-somebody"},
		Answer: func(fakebedrock.Request) fakebedrock.Answer { return answer },
	}
}

// newGateway starts a gateway with one provider, named "bedrock", at an upstream.
func newGateway(t *testing.T, upstream string, options bedrock.Options) *testkit.Gateway {
	t.Helper()
	options.Provider.BaseURL = upstream
	if options.Region == "" {
		options.Region = "us-east-1"
	}
	provider, err := bedrock.NewProvider("bedrock", options)
	if err != nil {
		t.Fatal(err)
	}
	return testkit.NewGateway(t, "", testkit.GatewayOptions{Provider: []aibridge.Provider{provider}})
}

// result is an answer as a client has read it.
type result struct {
	status int
	header http.Header
	body   string
	err    error // The answer broke off.
}

// post sends a request of the user's, with further headers, which are pairs of name and value.
func post(t *testing.T, g *testkit.Gateway, path, body string, headers ...string) result {
	t.Helper()
	r := g.Request(t, http.MethodPost, path, body)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return do(t, r)
}

func do(t *testing.T, r *http.Request) result {
	t.Helper()
	answer, err := testkit.NewClient(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	return result{answer.StatusCode, answer.Header, string(body), err}
}

// ask is a request of the Messages API.
const ask = `{"model":"claude-sonnet-4-5","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"Hi"}]}`
