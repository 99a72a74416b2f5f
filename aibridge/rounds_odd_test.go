package aibridge_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridge/mcp"
)

// oneTool returns a tool that answers at once.
func oneTool() *tools {
	return &tools{names: []string{"bmcp_docs_x"}, call: func(context.Context, string, json.RawMessage) (mcp.Result, error) { return found("x"), nil }}
}

// scripted is an upstream that answers each request with the next function, and with the last one for ever.
func scripted(t *testing.T, sent *[]*http.Request, answers ...func(body string) *http.Response) upstreamFunc {
	return func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		n := len(*sent)
		r.Body = io.NopCloser(bytes.NewReader(body))
		*sent = append(*sent, r)
		return answers[min(n, len(answers)-1)](string(body)), nil
	}
}

// saying returns an answer with a body; gzipped if coding is gzip.
func saying(status int, mediaType, coding, body string) func(string) *http.Response {
	return func(string) *http.Response {
		header := http.Header{"Content-Type": {mediaType}, "Etag": {`"e"`}}
		if coding == "gzip" {
			var coded bytes.Buffer
			w := gzip.NewWriter(&coded)
			_, _ = w.Write([]byte(body))
			_ = w.Close()
			body = coded.String()
			header.Set("Content-Encoding", "gzip")
		}
		return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
	}
}

const eventStream = "text/event-stream"

// TestCodedRounds has answers in a content coding, which nobody has asked for: the client gets one answer without it.
func TestCodedRounds(t *testing.T) {
	calling, done := streamed("1", "text a", "call bmcp_docs_x t {}"), streamed("2", "text b")
	for name, test := range map[string]struct {
		body    string
		answers []func(string) *http.Response
		calls   int
	}{
		"streams": {askStreamed, []func(string) *http.Response{saying(200, eventStream, "gzip", calling), saying(200, eventStream, "gzip", done)}, 1},
		"one":     {askStreamed, []func(string) *http.Response{saying(200, eventStream, "gzip", done)}, 0},
		"mixed":   {askStreamed, []func(string) *http.Response{saying(200, eventStream, "", calling), saying(200, eventStream, "gzip", done)}, 1},
		"bodies": {askBlocking, []func(string) *http.Response{
			saying(200, "application/json", "gzip", wholly("1", "text a", "call bmcp_docs_x t {}")), saying(200, "application/json", "gzip", wholly("2", "text b")),
		}, 1},
		"a body": {askBlocking, []func(string) *http.Response{saying(200, "application/json", "gzip", wholly("2", "text b"))}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var sent []*http.Request
			w, recorder := askWith(t, scripted(t, &sent, test.answers...), aibridge.BridgeOptions{Tools: oneTool()}, test.body)
			got := w.Body.String()
			if name == "a body" { // It is as it came.
				if w.Header().Get("Content-Encoding") != "gzip" || w.Header().Get("Etag") == "" || got[:2] != "\x1f\x8b" {
					t.Errorf("%v: the client got %q", w.Header(), got)
				}
				return
			}
			if w.Header().Get("Content-Encoding") != "" || (name == "mixed") != (w.Header().Get("Etag") != "") || !strings.Contains(got, `"b"`) || strings.Contains(got, "bmcp_") {
				t.Errorf("%v: the client got %q", w.Header(), got)
			}
			if n := len(recordsOf[*aibridge.ToolUsage](recorder)); n != test.calls {
				t.Errorf("%d calls are recorded", n)
			}
			if ended := recordsOf[*aibridge.InterceptionEnd](recorder); len(ended) != 1 || ended[0].ErrorType != "" || ended[0].ResponseBytes == 0 {
				t.Errorf("recorded %+v", *ended[0])
			}
		})
	}
}

// Each of several rounds that ended well has one usage: one that told none is recorded as such, since it has cost something. An answer
// without a call of ours has none then, and neither has one that failed.
func TestRoundsThatTellNoUsage(t *testing.T) {
	t.Parallel()
	silent := func(answer string) string { return usageMember.ReplaceAllString(answer, "") }
	for name, test := range map[string]struct {
		rounds []string // Of a stream and of a body: "told" or "silent", "fails" or "mixed".
		want   []bool   // Whether each recorded usage is untold.
	}{
		"first": {[]string{"silent", "told"}, []bool{true, false}}, "second": {[]string{"told", "silent"}, []bool{false, true}},
		"both": {[]string{"silent", "silent"}, []bool{true, true}}, "none": {[]string{"told", "told"}, []bool{false, false}},
		"fails": {[]string{"silent", "fails"}, []bool{true}}, "mixed": {[]string{"mixed"}, []bool{true}},
	} {
		for form, of := range map[string]struct {
			ask, mediaType string
			answer         func(id string, blocks ...string) string
		}{"stream": {askStreamed, eventStream, streamed}, "body": {askBlocking, "application/json", wholly}} {
			t.Run(name+" "+form, func(t *testing.T) {
				t.Parallel()
				var answers []func(string) *http.Response
				for n, kind := range test.rounds {
					blocks := []string{"text a", "call bmcp_docs_x t {}"}
					switch {
					case kind == "mixed":
						blocks = append(blocks, "call own o {}")
					case n == len(test.rounds)-1:
						blocks = blocks[:1]
					}
					answer := of.answer(fmt.Sprint("msg_", n), blocks...)
					if kind != "told" {
						answer = silent(answer)
					}
					status := http.StatusOK
					if kind == "fails" {
						status, answer = http.StatusServiceUnavailable, `{"type":"error","error":{"type":"overloaded_error","message":"m"}}`
					}
					answers = append(answers, saying(status, of.mediaType, "", answer))
				}
				var sent []*http.Request
				ask := strings.Replace(of.ask, "{", `{"tools":[{"name":"own","input_schema":{"type":"object"}}],`, 1)
				w, recorder := askWith(t, scripted(t, &sent, answers...), aibridge.BridgeOptions{Tools: oneTool()}, ask)
				told := slices.Contains(test.rounds, "told")
				if got := w.Body.String(); told && !strings.Contains(got, `"output_tokens":`+map[bool]string{true: "10", false: "5"}[name == "none"]) {
					t.Errorf("the client reads\n%s", got)
				}
				usages := recordsOf[*aibridge.TokenUsage](recorder)
				for n, usage := range usages {
					untold := usage.Metadata["untold"] == true
					if n >= len(test.want) || untold != test.want[n] || untold && usage.InputTokens+usage.OutputTokens != 0 || usage.MessageID != fmt.Sprint("msg_", n) {
						t.Errorf("usage %d: %+v", n, *usage)
					}
				}
				if len(usages) != len(test.want) {
					t.Errorf("%d usages, want %d", len(usages), len(test.want))
				}
			})
		}
	}
	var sent []*http.Request
	_, recorder := askWith(t, scripted(t, &sent, saying(200, eventStream, "", silent(streamed("1", "text a")))), aibridge.BridgeOptions{Tools: oneTool()}, askStreamed)
	if usages := recordsOf[*aibridge.TokenUsage](recorder); len(usages) != 0 {
		t.Errorf("an answer without a call: %+v", *usages[0])
	}
}

var usageMember = regexp.MustCompile(`,"usage":\{[^}]*\}`)

// TestLaterRoundInAnotherForm has a later round that answers with a JSON body in the place of a stream, or the other way
// round.
func TestLaterRoundInAnotherForm(t *testing.T) {
	stream, body := streamed("1", "text a", "call bmcp_docs_x t {}"), wholly("1", "text a", "call bmcp_docs_x t {}")
	for name, test := range map[string]struct {
		ask           string
		first, second func(string) *http.Response
		status        int
		want          string
		kind          aibridge.ErrorType
	}{
		"a body": {
			askStreamed, saying(200, eventStream, "", stream), saying(200, "application/json", "", wholly("2", "text b")), 200,
			"event: error\ndata: {\"error\":{\"message\":\"the upstream answered in another form", aibridge.ErrorTruncated,
		},
		"a body that calls itself a stream": {
			askStreamed, saying(200, eventStream, "", stream), saying(200, eventStream, "", wholly("2", "text b")), 200, "another form", aibridge.ErrorTruncated,
		},
		"an error in a body": {
			askStreamed, saying(200, eventStream, "", stream), saying(200, "application/json", "", `{"type":"error","error":{"type":"overloaded_error","message":"late"}}`), 200,
			"event: error\ndata: {\"error\":{\"message\":\"late\",\"type\":\"overloaded_error\"}", aibridge.ErrorOverloaded,
		},
		"a stream": {askBlocking, saying(200, "application/json", "", body), saying(200, eventStream, "", streamed("2", "text b")), 502, "another form", aibridge.ErrorTruncated},
		"an error in a stream": {
			askBlocking, saying(200, "application/json", "", body),
			saying(200, eventStream, "", "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"late\"}}\n\n"),
			502, "the upstream reported an error", aibridge.ErrorOverloaded,
		},
		"an error in a stream that has begun": {
			askBlocking, saying(200, "application/json", "", body),
			saying(200, eventStream, "", streamed("2", "text b")[:60]+"\n\nevent: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"late\"}}\n\n"),
			502, "the upstream reported an error", aibridge.ErrorOverloaded,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var sent []*http.Request
			w, recorder := askWith(t, scripted(t, &sent, test.first, test.second), aibridge.BridgeOptions{Tools: oneTool()}, test.ask)
			if got := w.Body.String(); w.Code != test.status || !strings.Contains(got, test.want) || strings.Contains(got, `"2"`) {
				t.Errorf("%d: the client got\n%s", w.Code, got)
			}
			if ended := recordsOf[*aibridge.InterceptionEnd](recorder); len(ended) != 1 || ended[0].ErrorType != test.kind {
				t.Errorf("recorded %+v", *ended[0])
			}
		})
	}
}

// TestRefusedTools has a provider that refuses the whole request for the schema of one tool, in the words of different
// providers: the request is served without that tool, and so are later ones.
func TestRefusedTools(t *testing.T) {
	names := []string{"bmcp_docs_a", "bmcp_docs_ab", "bmcp_docs_b"}
	refusing := func(says string) func(string) *http.Response {
		return func(body string) *http.Response {
			at := strings.Index(body, `"name":"bmcp_docs_ab"`)
			if at < 0 {
				return saying(200, eventStream, "", streamed("1", "text b"))(body)
			}
			return saying(400, "application/json", "", fmt.Sprintf(`{"type":"error","error":{"type":"invalid_request_error","message":%q}}`, says))(body)
		}
	}
	for says, want := range map[string]string{
		"tools.1.custom.input_schema: JSON schema is invalid":                  `["bmcp_docs_a","bmcp_docs_b","theirs"]`,
		"Invalid schema for function 'bmcp_docs_ab': schema must be an object": `["bmcp_docs_a","bmcp_docs_b","theirs"]`,
		"tools[1].function.parameters is wrong":                                `["bmcp_docs_a","bmcp_docs_b","theirs"]`,
		"tools.3.custom.input_schema: it is the client's":                      ``,
		"messages.0: nothing of tools":                                         ``,
	} {
		t.Run(says, func(t *testing.T) {
			var sent []*http.Request
			options := aibridge.BridgeOptions{Tools: &tools{names: names}, Conversations: aibridge.NewConversations(nil)}
			body := strings.Replace(askStreamed, `"messages"`, `"tools":[{"name":"theirs"}],"messages"`, 1)
			upstream := scripted(t, &sent, refusing(says))
			w, recorder := askWith(t, upstream, options, body)
			offered := func(r *http.Request) string {
				text, _ := io.ReadAll(r.Body)
				return gjson.GetBytes(text, "tools.#.name").Raw
			}
			if want == "" {
				if w.Code != 400 || len(sent) != 1 {
					t.Errorf("status %d after %d requests", w.Code, len(sent))
				}
				return
			}
			if w.Code != 200 || len(sent) != 2 || offered(sent[1]) != want {
				t.Fatalf("status %d after %d requests: %s", w.Code, len(sent), recordsOf[*aibridge.InterceptionEnd](recorder)[0].ErrorMessage)
			}
			askWith(t, upstream, options, body)
			if len(sent) != 3 || offered(sent[2]) != want {
				t.Errorf("the next request is refused, too")
			}
			if ended := recordsOf[*aibridge.InterceptionEnd](recorder); len(ended) != 1 || ended[0].ErrorType != "" {
				t.Errorf("recorded %+v", *ended[0])
			}
		})
	}
}

// TestHeadersOfLaterRounds has headers that are about one request, or about the bytes of a body.
func TestHeadersOfLaterRounds(t *testing.T) {
	var sent []*http.Request
	upstream := scripted(t, &sent, saying(200, eventStream, "", streamed("1", "call bmcp_docs_x t {}")), saying(200, eventStream, "", streamed("2", "text b")))
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/p/v1/messages", strings.NewReader(askStreamed))
	for _, name := range []string{"Idempotency-Key", "Content-MD5", "Digest", "Content-Digest", "Repr-Digest", "Anthropic-Beta", "X-Idempotency-Key", "If-None-Match", "Range"} {
		r.Header.Set(name, "x")
	}
	newBridge(t, upstream, &kept{}, aibridge.BridgeOptions{Tools: oneTool()}).ServeHTTP(httptest.NewRecorder(), r)
	for n, r := range sent {
		for _, name := range []string{"Content-Md5", "Digest", "Content-Digest", "Repr-Digest"} {
			if r.Header.Get(name) != "" {
				t.Errorf("request %d has %s of another body", n, name)
			}
		}
		for _, name := range []string{"X-Idempotency-Key", "If-None-Match", "Range"} {
			got := r.Header.Get(name) != "" || len(r.Header[strings.ToLower(name)]) > 0
			if got != (n == 0) {
				t.Errorf("request %d has %s: %t", n, name, got)
			}
		}
		//lint:ignore SA1008 So written, net/http does not take the request for one that it may send again.
		if got := len(r.Header["idempotency-key"]) > 0; got != (n == 0) || r.Header.Get("Anthropic-Beta") != "x" {
			t.Errorf("request %d: %v", n, r.Header)
		}
	}
}

// TestRoundIsRecordedBeforeTheNext checks what is recorded of a round when its tools run: were the process killed then, the
// tokens would be known.
func TestRoundIsRecordedBeforeTheNext(t *testing.T) {
	var sent []*http.Request
	recorder := &kept{}
	with := oneTool()
	with.call = func(context.Context, string, json.RawMessage) (mcp.Result, error) {
		if usages := recordsOf[*aibridge.TokenUsage](recorder); len(usages) != 1 || usages[0].MessageID != "1" {
			t.Errorf("recorded %+v", usages)
		}
		return found("x"), nil
	}
	upstream := scripted(t, &sent, saying(200, eventStream, "", streamed("1", "call bmcp_docs_x t {}")), func(string) *http.Response {
		if uses := recordsOf[*aibridge.ToolUsage](recorder); len(uses) != 1 || uses[0].InvocationError != "" {
			t.Errorf("recorded %+v", uses)
		}
		return saying(200, eventStream, "", streamed("2", "text b"))("")
	})
	newBridge(t, upstream, recorder, aibridge.BridgeOptions{Tools: with}).ServeHTTP(httptest.NewRecorder(),
		httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/p/v1/messages", strings.NewReader(askStreamed)))
	if n := len(recordsOf[*aibridge.TokenUsage](recorder)); n != 2 {
		t.Errorf("%d usages", n)
	}
	if n := len(recordsOf[*aibridge.ToolUsage](recorder)); n != 1 {
		t.Errorf("%d calls", n)
	}
}

// TestFirstRoundFails has tools and an upstream that does not answer: what is kept of no answer is nothing.
func TestFirstRoundFails(t *testing.T) {
	for _, path := range []string{"/p/v1/messages", "/o/v1/chat/completions", "/o/v1/responses"} {
		for _, answer := range []string{"unreachable", "529 {}", `{"error":{"message":"no"}}`} {
			up := &answers{all: []string{answer}}
			anthropic, err := aibridge.NewAnthropicProvider("p", aibridge.ProviderOptions{Key: "key-0123456789", Transport: up})
			if err != nil {
				t.Fatal(err)
			}
			openai, err := aibridge.NewOpenAIProvider("o", aibridge.ProviderOptions{Key: "key-0123456789", Transport: up})
			if err != nil {
				t.Fatal(err)
			}
			providers, err := aibridge.NewProviderSet(anthropic, openai)
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			bridge := acting(aibridge.NewRequestBridge(providers, &kept{}, aibridge.BridgeOptions{Tools: oneTool()}))
			body := strings.Replace(askStreamed, `"messages"`, `"input":"hi","messages"`, 1)
			bridge.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body)))
			if w.Code < 400 && answer[0] != '{' {
				t.Errorf("%s, %s: status %d", path, answer, w.Code)
			}
		}
	}
}
