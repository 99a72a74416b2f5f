package aibridge_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridge/mcp"
)

// keyedAnswers is an upstream that gives one answer after the other, but refuses keys from the second request on.
type keyedAnswers struct {
	answers

	refused string // The keys, with blanks between them.
	status  int    // With which they are refused.
	asked   []string
}

func (k *keyedAnswers) RoundTrip(r *http.Request) (*http.Response, error) {
	key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ") + r.Header.Get("X-Api-Key")
	k.asked = append(k.asked, key)
	if len(k.asked) > 1 && strings.Contains(k.refused, key) {
		_, err := io.Copy(io.Discard, r.Body)
		return &http.Response{
			StatusCode: k.status, Header: http.Header{"Content-Type": {"application/json"}, "Retry-After": {"9"}},
			Body: io.NopCloser(strings.NewReader(`{"type":"error","error":{"type":"rate_limit_error","message":"not with this key"}}`)),
		}, err
	}
	return k.answers.RoundTrip(r)
}

// TestLaterRoundsFailOver has a key that is refused in the second round: another key goes on, the client sees one answer, no
// call is run again, and the end has the key that served last. What was encrypted for an account stays on its keys.
func TestLaterRoundsFailOver(t *testing.T) {
	const (
		askResponses = `{"model":"m","store":false,"input":"hi"}`
		called       = `{"id":"resp_1","object":"response","model":"m","status":"completed","output":[{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"sealed"},` +
			`{"type":"function_call","id":"fc_1","call_id":"t","name":"bmcp_docs_x","arguments":"{}","status":"completed"}],"usage":{"input_tokens":3,"output_tokens":1,"total_tokens":4}}`
		answered = `{"id":"resp_2","object":"response","model":"m","status":"completed","output":[{"type":"message","id":"msg_2","role":"assistant","status":"completed",` +
			`"content":[{"type":"output_text","text":"b","annotations":[]}]}],"usage":{"input_tokens":3,"output_tokens":1,"total_tokens":4}}`
	)
	first := func(blocks func(string, ...string) string) string {
		return blocks("msg_1", "text a", "call bmcp_docs_x t {}")
	}
	last := func(blocks func(string, ...string) string) string { return blocks("msg_2", "text b") }
	for name, c := range map[string]struct {
		target, body, first, last, refused string
		asked                              string
		status                             int
		want                               string
		unauthorized                       bool // Keys are refused with 401, and not with 429.
	}{
		"streamed":         {"/a/v1/messages", askStreamed, first(streamed), last(streamed), "key-a", "key-a key-a key-b", 200, `"b"`, false},
		"401, streamed":    {"/a/v1/messages", askStreamed, first(streamed), last(streamed), "key-a", "key-a key-a key-b", 200, `"b"`, true},
		"401, blocking":    {"/a/v1/messages", askBlocking, first(wholly), last(wholly), "key-a", "key-a key-a key-b", 200, `"b"`, true},
		"all 401 streamed": {"/a/v1/messages", askStreamed, first(streamed), last(streamed), "key-a key-b key-c", "key-a key-a key-b key-c", 200, "event: error", true},
		"all 401 blocking": {"/a/v1/messages", askBlocking, first(wholly), last(wholly), "key-a key-b key-c", "key-a key-a key-b key-c", 502, "refuses the gateway's keys", true},
		"blocking":         {"/a/v1/messages", askBlocking, first(wholly), last(wholly), "key-a", "key-a key-a key-b", 200, `"b"`, false},
		"two are refused":  {"/a/v1/messages", askBlocking, first(wholly), last(wholly), "key-a key-b", "key-a key-a key-b key-c", 200, `"b"`, false},
		"all, streamed":    {"/a/v1/messages", askStreamed, first(streamed), last(streamed), "key-a key-b key-c", "key-a key-a key-b key-c", 200, "event: error", false},
		"all, blocking":    {"/a/v1/messages", askBlocking, first(wholly), last(wholly), "key-a key-b key-c", "key-a key-a key-b key-c", 429, "rate_limit_error", false},
		"encrypted":        {"/o/v1/responses", askResponses, called, answered, "key-a", "key-a key-a key-c", 200, `"b"`, false},
		"encrypted, alone": {"/o/v1/responses", askResponses, called, answered, "key-a key-c", "key-a key-a key-c", 429, "rate_limit_error", false},
	} {
		t.Run(name, func(t *testing.T) {
			up := &keyedAnswers{answers: answers{all: []string{c.first, c.last}}, refused: c.refused, status: http.StatusTooManyRequests}
			if c.unauthorized {
				up.status = http.StatusUnauthorized
			}
			options := aibridge.ProviderOptions{Transport: up, Keys: []aibridge.Key{{Secret: "key-a", Account: "x"}, {Secret: "key-b", Account: "y"}, {Secret: "key-c", Account: "x"}}}
			options.Retries.Attempts = 3 // That is for first rounds.
			calls := 0
			with := &tools{names: []string{"bmcp_docs_x"}, call: func(context.Context, string, json.RawMessage) (mcp.Result, error) {
				calls++
				return found("x"), nil
			}}
			recorder, w := &kept{}, httptest.NewRecorder()
			bridge := acting(aibridge.NewRequestBridge(bothAPIs(t, options), recorder, aibridge.BridgeOptions{Tools: with}))
			bridge.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, c.target, strings.NewReader(c.body)))
			if got := w.Body.String(); w.Code != c.status || !strings.Contains(got, c.want) || strings.Contains(got, "bmcp_") {
				t.Errorf("%d: the client got\n%s", w.Code, got)
			}
			if asked := strings.Join(up.asked, " "); asked != c.asked || calls != 1 {
				t.Errorf("%d calls, asked with %s", calls, asked)
			}
			ended := recordsOf[*aibridge.InterceptionEnd](recorder)
			wantType := aibridge.ErrorType("")
			if c.want != `"b"` {
				wantType = aibridge.ErrorRateLimited
				if c.unauthorized {
					wantType = aibridge.ErrorUnauthorized
				}
			}
			if len(ended) != 1 || ended[0].ErrorType != wantType {
				t.Errorf("recorded %+v", ended[0])
			}
		})
	}
}
