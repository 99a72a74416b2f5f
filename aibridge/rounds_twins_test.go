package aibridge_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridge/mcp"
)

// bothAPIs returns the providers "a" of Anthropic's API and "o" of OpenAI's.
func bothAPIs(t *testing.T, options aibridge.ProviderOptions) *aibridge.ProviderSet {
	t.Helper()
	anthropic, err := aibridge.NewAnthropicProvider("a", options)
	if err != nil {
		t.Fatal(err)
	}
	openai, err := aibridge.NewOpenAIProvider("o", options)
	if err != nil {
		t.Fatal(err)
	}
	set, err := aibridge.NewProviderSet(anthropic, openai)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// askOn sends a request to a bridge whose provider has two keys, with a tool of the gateway.
func askOn(ctx context.Context, t *testing.T, upstream http.RoundTripper, with *tools, path, body string) (*httptest.ResponseRecorder, *kept) {
	t.Helper()
	options := aibridge.ProviderOptions{Transport: upstream, Keys: []aibridge.Key{{Secret: "key-a"}, {Secret: "key-b"}}}
	recorder, w := &kept{}, httptest.NewRecorder()
	bridge := acting(aibridge.NewRequestBridge(bothAPIs(t, options), recorder, aibridge.BridgeOptions{Tools: with}))
	bridge.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPost, path, strings.NewReader(body)))
	return w, recorder
}

// begun are answers, by their API, that call a tool of the gateway and have a text before that.
func begun() map[string]struct{ path, ask, streamed, wholly string } {
	const (
		message  = `{"type":"message","id":"m1","role":"assistant","content":[{"type":"output_text","text":"a"}]}`
		call     = `{"type":"function_call","id":"f1","call_id":"t","name":"bmcp_docs_x","arguments":"{}"}`
		response = `{"id":"r1","object":"response","status":"completed","model":"m","output":[` + message + `,` + call + `]}`
		inChat   = `"tool_calls":[{"index":0,"id":"t","type":"function","function":{"name":"bmcp_docs_x","arguments":"{}"}}]`
	)
	return map[string]struct{ path, ask, streamed, wholly string }{
		"messages": {"/a/v1/messages", askBlocking, streamed("m", "text a", "call bmcp_docs_x t {}"), wholly("m", "text a", "call bmcp_docs_x t {}")},
		"chat": {
			"/o/v1/chat/completions", `{"model":"m","stream":false,"messages":[{"role":"user","content":"hi"}]}`,
			`data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":"a"}}]}` + "\n\n" +
				`data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{` + inChat + `},"finish_reason":"tool_calls"}]}` + "\n\ndata: [DONE]\n\n",
			`{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"a",` + inChat + `},"finish_reason":"tool_calls"}]}`,
		},
		"responses": {
			"/o/v1/responses", `{"model":"m","stream":false,"input":"hi"}`,
			`data: {"type":"response.created","response":{"id":"r1","object":"response","status":"in_progress","output":[]}}` + "\n\n" +
				`data: {"type":"response.output_item.done","output_index":0,"item":` + message + "}\n\n" +
				`data: {"type":"response.output_item.done","output_index":1,"item":` + call + "}\n\n" + `data: {"type":"response.completed","response":` + response + "}\n\n",
			response,
		},
	}
}

// TestErrorsOfLaterRounds has a later round for which no key is ready, or that the tools' limits end: the error within a stream
// says the same as the one with a status.
func TestErrorsOfLaterRounds(t *testing.T) {
	for name, c := range begun() {
		for status, kind := range map[int]string{429: "rate_limit_error", 401: "api_error server_error"} {
			got := map[bool]gjson.Result{}
			for _, isStream := range []bool{false, true} {
				first, ask := c.wholly, c.ask
				if isStream {
					first = c.streamed
					ask = strings.Replace(strings.Replace(c.ask, `"stream":false`, `"stream":true`, 1), `"model"`, `"model"`, 1)
					if name == "messages" {
						ask = askStreamed
					}
				}
				up := &keyedAnswers{answers: answers{all: []string{first}}, refused: "key-a key-b", status: status}
				w, recorder := askOn(t.Context(), t, up, oneTool(), c.path, ask)
				body := w.Body.String()
				if at := strings.LastIndex(body, "data: {"); isStream && at >= 0 {
					body = body[at+len("data: "):]
				}
				got[isStream] = gjson.Get(body, "error")
				if response := gjson.Get(body, "response.error"); response.Exists() {
					got[isStream] = response
				}
				if ended := recordsOf[*aibridge.InterceptionEnd](recorder); len(ended) != 1 || ended[0].ErrorType == "" {
					t.Errorf("%s, %d: recorded %+v", name, status, ended)
				}
			}
			blocking, stream := got[false], got[true]
			if !strings.Contains(kind, blocking.Get("type").Str) || blocking.Get("message").Str != stream.Get("message").Str {
				t.Errorf("%s, %d: %s and %s", name, status, blocking, stream)
			}
			// A failed response has a code alone.
			same := blocking.Get("type").Str == stream.Get("type").Str && blocking.Get("code").Str == stream.Get("code").Str
			if name == "responses" {
				same = stream.Get("code").Str == "rate_limit_exceeded" && status == 429 || stream.Get("code").Str == "server_error" && status == 401
			}
			if !same {
				t.Errorf("%s, %d: a stream ends with %s, and else it is %s", name, status, stream, blocking)
			}
		}
	}
}

// TestCallsWithoutAnEnd has streams that end in good order though a call of the gateway's tools never did, alone, beside one of the
// client's, and in a later round: no call is run, the client gets an error, and the record says that the answer was cut.
func TestCallsWithoutAnEnd(t *testing.T) {
	const stop = "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n"
	const done = `data: {"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","id":"f1","call_id":"t","name":"bmcp_docs_x","arguments":""}}` + "\n\n"
	c := begun()
	without := func(stream, what, with string) string {
		t.Helper()
		if !strings.Contains(stream, what) {
			t.Fatalf("no %q in %q", what, stream)
		}
		return strings.ReplaceAll(stream, what, with)
	}
	call := `{"type":"function_call","id":"f1","call_id":"t","name":"bmcp_docs_x","arguments":"{}"}`
	unended := without(without(c["responses"].streamed, `data: {"type":"response.output_item.done","output_index":1,"item":`+call+"}\n\n", done), ","+call, "")
	for name, test := range map[string]struct {
		path, ask string
		all       []string
		calls     int
	}{
		"messages":              {"/a/v1/messages", askStreamed, []string{without(c["messages"].streamed, stop, "")}, 0},
		"messages, beside more": {"/a/v1/messages", askStreamed, []string{without(streamed("m", "text a", "call bmcp_docs_x t {}", "call bmcp_docs_x u {}"), stop, "")}, 0},
		"messages, mixed":       {"/a/v1/messages", askStreamed, []string{without(streamed("m", "text a", "call bmcp_docs_x t {}", "call Bash u {}"), stop, "")}, 0},
		"messages, later":       {"/a/v1/messages", askStreamed, []string{c["messages"].streamed, without(c["messages"].streamed, stop, "")}, 1},
		"responses":             {"/o/v1/responses", `{"model":"m","stream":true,"input":"hi"}`, []string{unended}, 0},
		"responses, later":      {"/o/v1/responses", `{"model":"m","stream":true,"input":"hi"}`, []string{c["responses"].streamed, unended}, 1},
	} {
		calls := 0
		with := &tools{names: []string{"bmcp_docs_x"}, call: func(context.Context, string, json.RawMessage) (mcp.Result, error) {
			calls++
			return found("x"), nil
		}}
		w, recorder := askOn(t.Context(), t, &answers{all: test.all}, with, test.path, test.ask)
		got := w.Body.String()
		if calls != test.calls || strings.Contains(got, "bmcp_") || strings.Contains(got, "message_stop") || strings.Contains(got, "response.completed") ||
			!strings.Contains(got, "event: error") && !strings.Contains(got, "response.failed") {
			t.Errorf("%s: %d calls, the client got %s", name, calls, got)
		}
		if ended := recordsOf[*aibridge.InterceptionEnd](recorder); len(ended) != 1 || ended[0].ErrorType != aibridge.ErrorTruncated {
			t.Errorf("%s: recorded %+v", name, *ended[0])
		}
	}
}

// TestInputThatIsNoObject has calls of the gateway whose input is another value, streamed and not: what goes back to the provider
// is the same, and what the API takes.
func TestInputThatIsNoObject(t *testing.T) {
	for input, want := range map[string]string{
		"null": `{"INVALID_JSON":"null"}`, "[]": `{"INVALID_JSON":"[]"}`, `"x"`: `{"INVALID_JSON":"\"x\""}`, "7": `{"INVALID_JSON":"7"}`, `{"a":1}`: `{"a":1}`, "{}": "{}",
	} {
		for ask, first := range map[string]string{
			askBlocking: wholly("m", "call bmcp_docs_x t "+input), askStreamed: streamed("m", "call bmcp_docs_x t "+input),
		} {
			last := wholly("m2", "text b")
			if ask == askStreamed {
				last = streamed("m2", "text b")
			}
			up := &answers{all: []string{first, last}}
			_, recorder := askOn(t.Context(), t, up, oneTool(), "/a/v1/messages", ask)
			sent := up.requests()
			back := gjson.Get(sent[len(sent)-1], "messages.1.content.0")
			if got := back.Get("input").Raw; len(sent) != 2 || got != want || back.Get("name").Str != "bmcp_docs_x" {
				t.Errorf("%s: sent back %s, want %s", input, back, want)
			}
			usage := recordsOf[*aibridge.ToolUsage](recorder)
			if failed := len(usage) == 1 && usage[0].InvocationError != ""; failed != !strings.HasPrefix(want, input) {
				t.Errorf("%s: recorded %+v", input, usage)
			}
		}
	}
	missing := strings.Replace(wholly("m", "call bmcp_docs_x t {}"), `,"input":{}`, "", 1)
	up := &answers{all: []string{missing, wholly("m2", "text b")}}
	askOn(t.Context(), t, up, oneTool(), "/a/v1/messages", askBlocking)
	if sent := up.requests(); gjson.Get(sent[len(sent)-1], "messages.1.content.0.input").Raw != "{}" {
		t.Errorf("sent back %s", sent[len(sent)-1])
	}
}

// TestCallsThatTheGatewayEnds has a gateway that ends a request while its tools run: the model and the record are told the same, of
// the calls that ran that they may have, and of those that had not begun that they did not.
func TestCallsThatTheGatewayEnds(t *testing.T) {
	const asked = `{"model":"m","conversation":"conv_0123456789abcdef0123","input":"hi"}`
	call := `{"type":"function_call","id":"f1","call_id":"t1","name":"bmcp_docs_x","arguments":"{}"}`
	answer := `{"id":"resp_1","object":"response","status":"completed","model":"m","output":[` + call + `,` + strings.ReplaceAll(call, "1", "2") + `]}`
	for cause, said := range map[error]string{errors.New("server is shut down"): "server is shut down", context.Canceled: "canceled"} {
		ctx, end := context.WithCancelCause(t.Context())
		with := &tools{names: []string{"bmcp_docs_x"}, call: func(ctx context.Context, _ string, _ json.RawMessage) (mcp.Result, error) {
			end(cause)
			<-ctx.Done()
			return mcp.Result{}, errors.New("the server did not answer as the protocol wants")
		}}
		shared := &store{turns: map[string][]byte{}}
		provider, err := aibridge.NewOpenAIProvider("o", aibridge.ProviderOptions{Key: "key-0123456789", Transport: &answers{all: []string{answer}}})
		if err != nil {
			t.Fatal(err)
		}
		set, err := aibridge.NewProviderSet(provider)
		if err != nil {
			t.Fatal(err)
		}
		recorder := &kept{}
		bridge := acting(aibridge.NewRequestBridge(set, recorder, aibridge.BridgeOptions{
			Tools: with, Conversations: aibridge.NewConversations(shared), ToolLimits: aibridge.ToolLimits{Calls: 1},
		}))
		bridge.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodPost, "/o/v1/responses", strings.NewReader(asked)))
		var told []string
		for key, turn := range shared.turns {
			if strings.Contains(key, "conversation:") {
				for _, result := range gjson.GetBytes(turn, "rounds.0.results").Array() {
					var written []byte
					if err := json.Unmarshal([]byte(result.Raw), &written); err != nil {
						t.Fatal(err)
					}
					told = append(told, gjson.GetBytes(written, "output").Str)
				}
			}
		}
		usage := recordsOf[*aibridge.ToolUsage](recorder)
		if len(told) != 2 || len(usage) != 2 {
			t.Fatalf("told %q, recorded %+v", told, usage)
		}
		cut, notBegun := 0, 0
		for i, text := range told {
			text = strings.TrimPrefix(text, "Error: ")
			if strings.Contains(text, "may have run") {
				cut++
			}
			if strings.Contains(text, "was not run") {
				notBegun++
			}
			if recorded := usage[i].InvocationError; !strings.HasPrefix(recorded, text) || !strings.Contains(recorded, said) {
				t.Errorf("told %q, recorded %q", text, recorded)
			}
		}
		if cut != 1 || notBegun != 1 {
			t.Errorf("told %q", told)
		}
	}
}
