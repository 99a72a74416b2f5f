package aibridge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridge/mcp"
)

// talk is how a client talks to a gateway in a format, in turns whose answer calls a tool of ours and one of the client's.
type talk struct {
	path string
	// answer returns the upstream's n-th answer.
	answer func(n int) string
	// body returns a request of these messages, or input items.
	body func(history []string) string
	// goOn returns what the client adds to its history for an answer: that, and the result of its own call.
	goOn func(answer string, n int) []string
}

func talks() map[string]talk {
	const mine, theirs = "call_0123456789abcdefgh_%d", "call_hgfedcba9876543210_%d"
	return map[string]talk{
		"messages": {
			path: "/o/v1/messages",
			answer: func(n int) string {
				return fmt.Sprintf(`{"id":"msg_%d","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"t%[1]d"},`+
					`{"type":"tool_use","id":"`+mine+`","name":"bmcp_docs_x","input":{}},{"type":"tool_use","id":"`+theirs+`","name":"Bash","input":{}}],`+
					`"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":1}}`, n, n, n)
			},
			body: func(history []string) string {
				return `{"model":"m","max_tokens":9,"tools":[{"name":"Bash","input_schema":{"type":"object"}}],"messages":[{"role":"user","content":"hi"}` + joinedBehind(history) + `]}`
			},
			goOn: func(answer string, n int) []string {
				return []string{
					`{"role":"assistant","content":` + gjson.Get(answer, "content").Raw + `}`,
					fmt.Sprintf(`{"role":"user","content":[{"type":"tool_result","tool_use_id":"`+theirs+`","content":"r%[1]d"}]}`, n),
				}
			},
		},
		"chat": {
			path: "/o/v1/chat/completions",
			answer: func(n int) string {
				return fmt.Sprintf(`{"id":"c%d","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"t%[1]d","tool_calls":[`+
					`{"id":"`+mine+`","type":"function","function":{"name":"bmcp_docs_x","arguments":"{}"}},{"id":"`+theirs+`","type":"function","function":{"name":"Bash","arguments":"{}"}}]},`+
					`"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`, n, n, n)
			},
			body: func(history []string) string {
				return `{"model":"m","tools":[{"type":"function","function":{"name":"Bash"}}],"messages":[{"role":"user","content":"hi"}` + joinedBehind(history) + `]}`
			},
			goOn: func(answer string, n int) []string {
				return []string{gjson.Get(answer, "choices.0.message").Raw, fmt.Sprintf(`{"role":"tool","tool_call_id":"`+theirs+`","content":"r%[1]d"}`, n)}
			},
		},
		"responses": {
			path: "/o/v1/responses",
			answer: func(n int) string {
				return fmt.Sprintf(`{"id":"resp_%d","object":"response","status":"completed","model":"m","output":[{"type":"message","id":"msg_%[1]d","role":"assistant","content":[{"type":"output_text","text":"t%[1]d"}]},`+
					`{"type":"function_call","id":"fc_a%[1]d","call_id":"`+mine+`","name":"bmcp_docs_x","arguments":"{}"},{"type":"function_call","id":"fc_b%[1]d","call_id":"`+theirs+`","name":"Bash","arguments":"{}"}],`+
					`"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2}}`, n, n, n)
			},
			body: func(history []string) string {
				return `{"model":"m","store":false,"tools":[{"type":"function","name":"Bash"}],"input":[{"role":"user","content":"hi"}` + joinedBehind(history) + `]}`
			},
			goOn: func(answer string, n int) []string {
				var items []string
				for _, item := range gjson.Get(answer, "output").Array() {
					items = append(items, item.Raw)
				}
				return append(items, fmt.Sprintf(`{"type":"function_call_output","call_id":"`+theirs+`","output":"r%[1]d"}`, n))
			},
		},
	}
}

func joinedBehind(values []string) string {
	var b strings.Builder
	for _, value := range values {
		b.WriteString("," + value)
	}
	return b.String()
}

// TestSeveralGateways has the requests of a conversation served by two gateways in every order: what goes upstream is the
// same as if one of them had served all.
func TestSeveralGateways(t *testing.T) {
	const turns = 6
	for name, talk := range talks() {
		t.Run(name, func(t *testing.T) {
			want := talk.play(t, turns, 0)
			for order := 1; order < 1<<turns; order++ {
				got := talk.play(t, turns, order)
				for n := range want {
					if got[n] != want[n] {
						t.Fatalf("order %0*b, request %d: got\n%s\nwant\n%s", turns, order, n, got[n], want[n])
					}
				}
			}
			if last := want[turns-1]; strings.Count(last, "bmcp_docs_x") != turns || strings.Count(last, "ours") != turns-1 {
				t.Errorf("the last request lacks something: %s", last)
			}
		})
	}
}

// play has a conversation, whose n-th request goes to the gateway that the n-th bit of an order says. It returns what the
// upstream got.
func (k talk) play(t *testing.T, turns, order int) []string {
	t.Helper()
	var all []string
	for n := range turns {
		all = append(all, k.answer(n))
	}
	up := &answers{all: all}
	shared := &store{turns: map[string][]byte{}}
	gateways := []*aibridge.Conversations{aibridge.NewConversations(shared), aibridge.NewConversations(shared)}
	ask := k.asking(t, up, func(int) string { return "ours" })
	var history []string
	for n := range turns {
		history = slices.Concat(history, k.goOn(ask(gateways[order>>n&1], "", k.body(history)), n))
	}
	return up.requests()
}

// TestStoredConversationsKeepTheirTools has conversations whose requests say only which answer, or which conversation, they go
// on with: they keep the tools that they began with, and those that begin later have the new ones.
func TestStoredConversationsKeepTheirTools(t *testing.T) {
	answer := func(n int) string {
		return fmt.Sprintf(`{"id":"resp_%d","object":"response","status":"completed","model":"m","output":[],"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2}}`, n)
	}
	for name, test := range map[string]struct{ first, later string }{
		"an answer":             {`"input":"hi"`, `"previous_response_id":"resp_%d","input":"and %[1]d?"`},
		"an answer, as items":   {`"input":[{"role":"user","content":"hi"}]`, `"previous_response_id":"resp_%d","input":[{"role":"user","content":"a"},{"role":"user","content":"%[1]d"}]`},
		"a conversation":        {`"conversation":"conv_1","input":"hi"`, `"conversation":"conv_1","input":"and %d?"`},
		"a conversation object": {`"conversation":{"id":"conv_1"},"input":"hi"`, `"conversation":{"id":"conv_1"},"input":"and %d?"`},
	} {
		t.Run(name, func(t *testing.T) {
			up := &answers{}
			for n := range 9 {
				up.all = append(up.all, answer(n))
			}
			provider, err := aibridge.NewOpenAIProvider("o", aibridge.ProviderOptions{Key: "key-0123456789", Transport: up})
			if err != nil {
				t.Fatal(err)
			}
			providers, err := aibridge.NewProviderSet(provider)
			if err != nil {
				t.Fatal(err)
			}
			with := &tools{names: []string{"bmcp_docs_x"}}
			bridge := acting(aibridge.NewRequestBridge(providers, &kept{}, aibridge.BridgeOptions{Tools: with, Conversations: aibridge.NewConversations(nil)}))
			offered := func(members string) string {
				body := `{"model":"m",` + members + `}`
				bridge.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/o/v1/responses", strings.NewReader(body)))
				sent := up.requests()
				var names []string
				for _, tool := range gjson.Get(sent[len(sent)-1], "tools.#.name").Array() {
					names = append(names, tool.Str)
				}
				return strings.Join(names, " ")
			}
			want := []string{"bmcp_docs_x", "bmcp_docs_x", "bmcp_docs_x", "bmcp_docs_w bmcp_docs_x", "bmcp_docs_x"}
			got := []string{offered(test.first)}
			with.names = []string{"bmcp_docs_w", "bmcp_docs_x"}
			got = append(got, offered(fmt.Sprintf(test.later, 0)), offered(fmt.Sprintf(test.later, 1)), offered(`"input":"something else"`), offered(fmt.Sprintf(test.later, 2)))
			if !slices.Equal(got, want) {
				t.Errorf("offered %q, want %q", got, want)
			}
		})
	}
}

// TestChatRoundsAreDivided has rounds with texts and thoughts before a turn of the client's, which gets all of it as one
// message. When it goes on, each round is again as it went upstream before, so that the provider's prompt cache holds.
func TestChatRoundsAreDivided(t *testing.T) {
	message := func(members, calls string) string {
		return `{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant"` + members + `,"tool_calls":[` + calls +
			`]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`
	}
	call := func(n int, name string) string {
		return fmt.Sprintf(`{"id":"call_0123456789abcdefgh_%d","type":"function","function":{"name":%q,"arguments":"{}"}}`, n, name)
	}
	for name, test := range map[string]struct{ first, second, last string }{
		"texts":                  {`,"content":"one "`, `,"content":"two \"é\" "`, `,"content":"three"`},
		"no text in the last":    {`,"content":"one"`, `,"content":null`, `,"content":null`},
		"no text in the first":   {`,"content":null`, `,"content":""`, `,"content":"three"`},
		"text between":           {`,"content":null`, `,"content":"two"`, `,"content":null`},
		"thoughts":               {`,"content":"one","reasoning_content":"a"`, `,"content":"two","reasoning_content":"b"`, `,"content":"three","reasoning_content":"c"`},
		"thoughts in one":        {`,"content":"one","reasoning_content":"a"`, `,"content":null`, `,"content":"three"`},
		"thoughts in the last":   {`,"content":"one"`, `,"content":"one"`, `,"content":"one","reasoning_content":"c"`},
		"reasoning and thoughts": {`,"content":"","reasoning":"a"`, `,"content":"","reasoning":"ab"`, `,"content":"","reasoning":"abc"`},
	} {
		t.Run(name, func(t *testing.T) {
			up := &answers{all: []string{
				message(test.first, call(1, "bmcp_docs_x")), message(test.second, call(2, "bmcp_docs_x")),
				message(test.last, call(3, "bmcp_docs_x")+","+call(4, "Bash")), message(`,"content":"end"`, ""),
			}}
			provider, err := aibridge.NewOpenAIProvider("o", aibridge.ProviderOptions{Key: "key-0123456789", Transport: up})
			if err != nil {
				t.Fatal(err)
			}
			providers, err := aibridge.NewProviderSet(provider)
			if err != nil {
				t.Fatal(err)
			}
			with := &tools{names: []string{"bmcp_docs_x"}, call: func(context.Context, string, json.RawMessage) (mcp.Result, error) { return found("ours"), nil }}
			bridge := acting(aibridge.NewRequestBridge(providers, &kept{}, aibridge.BridgeOptions{Tools: with, Conversations: aibridge.NewConversations(nil)}))
			ask := func(history string) string {
				w := httptest.NewRecorder()
				body := `{"model":"m","tools":[{"type":"function","function":{"name":"Bash"}}],"messages":[{"role":"user","content":"hi"}` + history + `]}`
				bridge.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/o/v1/chat/completions", strings.NewReader(body)))
				return gjson.Get(w.Body.String(), "choices.0.message").Raw
			}
			seen := ask("")
			ask("," + seen + `,{"role":"tool","tool_call_id":"call_0123456789abcdefgh_4","content":"theirs"}`)
			sent := up.requests()
			if len(sent) != 4 {
				t.Fatalf("sent %q", sent)
			}
			loop, later := gjson.Get(sent[2], "messages").Array(), gjson.Get(sent[3], "messages").Array()
			for i, want := range loop {
				if later[i].Raw != want.Raw {
					t.Errorf("message %d is\n%s\nand was\n%s\nthe client has\n%s", i, later[i].Raw, want.Raw, seen)
				}
			}
			last := gjson.Parse(message(test.last, "")).Get("choices.0.message")
			for _, member := range []string{"content", "reasoning_content", "reasoning"} {
				if got, want := later[len(loop)].Get(member).Str, last.Get(member).Str; got != want {
					t.Errorf("%s of the last message is %q, want %q: %s", member, got, want, later[len(loop)].Raw)
				}
			}
		})
	}
}

// asking returns a function that sends a request to a gateway, of a session if its client tells one, and returns the answer. The n-th
// call of the gateway's tool has the n-th result.
func (k talk) asking(t *testing.T, up http.RoundTripper, result func(n int) string) func(gateway *aibridge.Conversations, session, body string) string {
	t.Helper()
	maker := aibridge.NewOpenAIProvider
	if strings.HasSuffix(k.path, "messages") {
		maker = aibridge.NewAnthropicProvider
	}
	provider, err := maker("o", aibridge.ProviderOptions{Key: "key-0123456789", Transport: up})
	if err != nil {
		t.Fatal(err)
	}
	providers, err := aibridge.NewProviderSet(provider)
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	with := &tools{names: []string{"bmcp_docs_x"}, call: func(context.Context, string, json.RawMessage) (mcp.Result, error) {
		calls++
		return found(result(calls)), nil
	}}
	return func(gateway *aibridge.Conversations, session, body string) string {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, k.path, strings.NewReader(body))
		if session != "" {
			r.Header.Set("User-Agent", "codex_exec/0.169")
			r.Header.Set("Session-Id", session)
		}
		w := httptest.NewRecorder()
		acting(aibridge.NewRequestBridge(providers, &kept{}, aibridge.BridgeOptions{Tools: with, Conversations: gateway})).ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", body, w.Code, w.Body)
		}
		return w.Body.String()
	}
}
