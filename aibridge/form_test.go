package aibridge_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/coder/aibridged/aibridge"
)

// recordsTo serves a bridge to an upstream, and returns its address and what it records.
func recordsTo(t *testing.T, upstream http.Handler) (string, *usages) {
	t.Helper()
	server := httptest.NewServer(upstream)
	t.Cleanup(server.Close)
	recorder := new(usages)
	gateway := httptest.NewServer(bridgeInto(t, server.URL, recorder))
	t.Cleanup(gateway.Close)
	return gateway.URL, recorder
}

// streams returns the beginning and the rest of a stream of each format.
func streams() map[string][2]string {
	return map[string][2]string{
		"/p/v1/messages": {
			"data: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"m\",\"usage\":{\"input_tokens\":21,\"output_tokens\":1}}}\n\n",
			"data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":4}}\n\ndata: {\"type\":\"message_stop\"}\n\n",
		},
		"/o/v1/chat/completions": {
			"data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n",
			"data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":21,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n",
		},
		"/o/v1/responses": {
			"data: {\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"model\":\"m\",\"status\":\"in_progress\"}}\n\n",
			"data: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"model\":\"m\",\"status\":\"completed\",\"output\":[],\"usage\":{\"input_tokens\":21,\"output_tokens\":4}}}\n\n",
		},
	}
}

// inTwo is an upstream that sends the rest of its answer only once the client has seen the first piece. An empty kind is no
// Content-Type at all.
func inTwo(kind, first, rest string, seen <-chan struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = []string{kind}
		if kind == "" {
			w.Header()["Content-Type"] = nil
		}
		_, _ = io.WriteString(w, first)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-seen:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, rest)
	})
}

// TestStreamByAnotherName is about a stream that was asked for and comes under another type, or none, or with lines that
// no blank line separates: each event reaches the client before the next is sent, and what they say is recorded.
func TestStreamByAnotherName(t *testing.T) {
	t.Parallel()
	kinds := []string{"text/event-stream", "text/event-stream; charset=utf-8", "text/plain; charset=utf-8", "application/json", "application/octet-stream", "", "nonsense"}
	changes := map[string]func(string) string{
		"as it is":       func(s string) string { return s },
		"no blank lines": func(s string) string { return strings.ReplaceAll(s, "\n\n", "\n") },
		"CRLF":           func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
		"comments":       func(s string) string { return ": working\n" + strings.ReplaceAll(s, "\n\n", "\n\n: ping\n") },
		"white space":    func(s string) string { return "\n\n" + s },
	}
	for path, stream := range streams() {
		for _, kind := range kinds {
			for name, change := range changes {
				first, rest := change(stream[0]), change(stream[1])
				if name == "comments" {
					first = "\ufeff" + first // A mark stands at the beginning only.
				}
				seen := make(chan struct{})
				address, recorder := recordsTo(t, inTwo(kind, first, rest, seen))
				response, err := http.Post(address+path, "application/json", strings.NewReader(askStream))
				if err != nil {
					t.Fatal(err)
				}
				got := make([]byte, len(first))
				if _, err := io.ReadFull(response.Body, got); err != nil || string(got) != first {
					t.Errorf("%s, %q, %s: %q, %v", path, kind, name, got, err)
				}
				close(seen)
				end, err := io.ReadAll(response.Body)
				if err != nil || string(end) != rest {
					t.Errorf("%s, %q, %s: then %q, %v", path, kind, name, end, err)
				}
				response.Body.Close()
				usage, kinds := recorder.take()
				if usage != "21/4" || kinds != "" {
					t.Errorf("%s, %q, %s: usage %s, ended as %q", path, kind, name, usage, kinds)
				}
			}
		}
	}
}

// bodies are one answer of each format that is no stream.
func bodies() map[string]string {
	return map[string]string{
		"/p/v1/messages":         `{"id":"m","type":"message","role":"assistant","model":"m","content":[],"stop_reason":"end_turn","usage":{"input_tokens":21,"output_tokens":4}}`,
		"/o/v1/chat/completions": `{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":21,"completion_tokens":4}}`,
		"/o/v1/responses":        `{"id":"r","object":"response","model":"m","status":"completed","output":[],"usage":{"input_tokens":21,"output_tokens":4}}`,
	}
}

// TestBodyByAnotherName is about JSON bodies under any type, whether a stream was asked for or not.
func TestBodyByAnotherName(t *testing.T) {
	t.Parallel()
	for path, body := range bodies() {
		for _, kind := range []string{"application/json", "text/event-stream", "text/plain", "application/problem+json", ""} {
			for _, asked := range []string{askStream, askWhole} {
				for _, before := range []string{"", "\n \r\n", "\ufeff"} {
					for _, behind := range []string{"", "\n\n", "\n\ndata: [DONE]\n\n", "\n[DONE]"} {
						for _, coded := range []bool{false, true} {
							whole := before + body + behind
							address, recorder := recordsTo(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
								w.Header()["Content-Type"] = []string{kind}
								if kind == "" {
									w.Header()["Content-Type"] = nil
								}
								if coded {
									w.Header().Set("Content-Encoding", "gzip")
									z := gzip.NewWriter(w)
									_, _ = io.WriteString(z, whole)
									_ = z.Close()
									return
								}
								_, _ = io.WriteString(w, whole)
							}))
							_, got, err := ask(t, address, path, asked)
							if coded && err == nil {
								var z *gzip.Reader
								if z, err = gzip.NewReader(strings.NewReader(got)); err == nil {
									var plain []byte
									plain, err = io.ReadAll(z)
									got = string(plain)
								}
							}
							if err != nil || got != whole {
								t.Errorf("%s, %q, %q: %q, %v", path, kind, whole, got, err)
							}
							usage, ended := recorder.take()
							if usage != "21/4" || ended != "" {
								t.Errorf("%s, %q, asked %s, coded %t, %q: usage %s, ended as %q", path, kind, asked, coded, whole, usage, ended)
							}
						}
					}
				}
			}
		}
	}
}

// TestValueInTime is about a JSON value that comes in pieces in the place of a stream, under a type that does not say JSON:
// each piece goes on before the next is sent. If the value breaks off, so does the answer.
func TestValueInTime(t *testing.T) {
	t.Parallel()
	for path, body := range bodies() {
		for _, cut := range []bool{false, true} {
			seen := make(chan struct{})
			first, rest := body[:30], body[30:]
			if cut {
				rest = rest[:10]
			}
			address, recorder := recordsTo(t, inTwo("text/event-stream", first, rest, seen))
			response, err := http.Post(address+path, "application/json", strings.NewReader(askStream))
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(first))
			if _, err := io.ReadFull(response.Body, got); err != nil || string(got) != first {
				t.Errorf("%s: %q, %v", path, got, err)
			}
			close(seen)
			end, err := io.ReadAll(response.Body)
			response.Body.Close()
			if string(end) != rest || (err != nil) != cut {
				t.Errorf("%s, cut %t: then %q, %v", path, cut, end, err)
			}
			usage, ended := recorder.take()
			if want := map[bool]string{false: "21/4", true: " truncated"}[cut]; strings.TrimSuffix(usage+" "+ended, " ") != want {
				t.Errorf("%s, cut %t: usage %s, ended as %q", path, cut, usage, ended)
			}
		}
	}
}

// TestNotUnderstood is about answers to a stream that are none of its format: they end as the upstream ended them.
func TestNotUnderstood(t *testing.T) {
	t.Parallel()
	for path := range streams() {
		for _, kind := range []string{"text/event-stream", "text/plain", "text/html", ""} {
			for _, answer := range []string{
				"no healthy upstream", "<html>\n<body>\n\n", "data: hello\n\ndata: world\n\n", ": ping\n\n", "event: done\n\n",
				"data: {\"nothing\":\"known\"}\n\n", "true\n",
			} {
				address, recorder := recordsTo(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header()["Content-Type"] = []string{kind}
					if kind == "" {
						w.Header()["Content-Type"] = nil
					}
					_, _ = io.WriteString(w, answer)
				}))
				_, got, err := ask(t, address, path, askStream)
				if err != nil || got != answer {
					t.Errorf("%s, %q: %q became %q, %v", path, kind, answer, got, err)
				}
				if _, ended := recorder.take(); ended != "unknown" {
					t.Errorf("%s, %q, %q: ended as %q", path, kind, answer, ended)
				}
			}
		}
		for _, status := range []int{http.StatusNoContent, http.StatusOK} {
			address, recorder := recordsTo(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
			_, _, err := ask(t, address, path, askStream)
			_, ended := recorder.take()
			if broken := err != nil; broken != (status == http.StatusOK) || (ended == "truncated") != broken {
				t.Errorf("%s: status %d without content: %v, ended as %q", path, status, err, ended)
			}
		}
	}
}

// TestJSONLinesInTime is about an upstream that streams JSON values, one a line: each goes on at once.
func TestJSONLinesInTime(t *testing.T) {
	t.Parallel()
	seen := make(chan struct{})
	address, _ := recordsTo(t, inTwo("application/x-ndjson", "{\"message\":1}\n", "{\"message\":2}\n", seen))
	response, err := http.Post(address+"/o/v1/chat/completions", "application/json", strings.NewReader(askStream))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	first := make([]byte, len("{\"message\":1}\n"))
	if _, err := io.ReadFull(response.Body, first); err != nil {
		t.Fatal(err)
	}
	close(seen)
	if rest, err := io.ReadAll(response.Body); err != nil || string(rest) != "{\"message\":2}\n" {
		t.Errorf("%q, %v", rest, err)
	}
}

// TestUpstreamThatRefusesToBeAsked is about upstreams that do not know the member by which the gateway asks for usage:
// the request is sent once more as it came, and the next for the model goes as it comes.
func TestUpstreamThatRefusesToBeAsked(t *testing.T) {
	t.Parallel()
	const (
		asked  = `{"model":"m","stream":true,"messages":[]}`
		answer = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
	)
	for name, refusal := range map[string]struct {
		status  int
		text    string
		coded   bool
		further bool // It is asked again.
	}{
		"422":                 {422, `{"error":{"message":"unknown field in body: stream_options","param":"stream_options"}}`, false, true},
		"400":                 {400, `{"detail":[{"loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}`, false, true},
		"the option":          {400, `include_usage is not supported`, false, true},
		"camel case":          {400, `property streamOptions is not allowed`, false, true},
		"in words":            {400, `Stream options can only be defined when streaming`, false, true},
		"escaped":             {422, `{"message":"stream\u005foptions"}`, false, true},
		"late":                {400, strings.Repeat(" ", 200<<10) + "stream_options", false, true},
		"coded":               {400, `{"error":{"message":"stream_options?"}}`, true, true},
		"another member":      {400, `{"error":{"message":"unknown field: tools"}}`, false, false},
		"another status":      {403, `{"error":{"message":"stream_options"}}`, false, false},
		"an error of servers": {500, `{"error":{"message":"stream_options"}}`, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			var bodies []string
			address, recorder := recordsTo(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if r.Header.Get("Content-Encoding") == "gzip" {
					z, err := gzip.NewReader(bytes.NewReader(body))
					if err == nil {
						body, _ = io.ReadAll(z)
					}
				}
				bodies = append(bodies, string(body))
				if !strings.Contains(string(body), "stream_options") {
					w.Header().Set("Content-Type", "text/event-stream")
					_, _ = io.WriteString(w, answer)
					return
				}
				w.Header().Set("Content-Type", "application/json")
				if refusal.coded {
					w.Header().Set("Content-Encoding", "gzip")
				}
				w.WriteHeader(refusal.status)
				if refusal.coded {
					z := gzip.NewWriter(w)
					_, _ = io.WriteString(z, refusal.text)
					_ = z.Close()
					return
				}
				_, _ = io.WriteString(w, refusal.text)
			}))
			response, got, err := ask(t, address, "/o/v1/chat/completions", asked)
			if !refusal.further {
				if response.StatusCode != refusal.status || got != refusal.text || len(bodies) != 1 {
					t.Errorf("status %d, %q, after %d requests", response.StatusCode, got, len(bodies))
				}
				return
			}
			if err != nil || response.StatusCode != http.StatusOK || got != answer {
				t.Errorf("status %d, %q, %v", response.StatusCode, got, err)
			}
			if len(bodies) != 2 || bodies[1] != asked {
				t.Errorf("sent %q", bodies)
			}
			if _, ended := recorder.take(); ended != "" {
				t.Errorf("ended as %q", ended)
			}
			if _, got, err = ask(t, address, "/o/v1/chat/completions", asked); err != nil || got != answer || len(bodies) != 3 || bodies[2] != asked {
				t.Errorf("the next: %q, %v, sent %q", got, err, bodies[2:])
			}
			if _, _, _ = ask(t, address, "/o/v1/chat/completions", strings.Replace(asked, `"m"`, `"other"`, 1)); len(bodies) != 5 {
				t.Errorf("another model: %d requests, want 5", len(bodies))
			}
			if _, _, _ = ask(t, address, "/o/v1/chat/completions", asked[:1]+`"stream_options":{"include_usage":true},`+asked[1:]); len(bodies) != 6 {
				t.Errorf("a client that asks itself: %d requests, want 6", len(bodies))
			}
		})
	}
}

// TestRefusalOfSomethingElse is about an upstream that refuses a request for another reason, in words that name the member
// by which the gateway asks: the client gets that refusal, and the usage of other requests for the model is asked for.
func TestRefusalOfSomethingElse(t *testing.T) {
	t.Parallel()
	address, recorder := recordsTo(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case bytes.Contains(body, []byte("x_stream_options")):
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write(body)
		case bytes.Contains(body, []byte("include_usage")):
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":21,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n")
		}
	}))
	const bad = `{"model":"m","stream":true,"messages":[],"x_stream_options":1}`
	response, got, _ := ask(t, address, "/o/v1/chat/completions", bad)
	if response.StatusCode != http.StatusBadRequest || got != bad {
		t.Errorf("status %d, %q", response.StatusCode, got)
	}
	recorder.take()
	_, _, _ = ask(t, address, "/o/v1/chat/completions", askStream)
	if usage, ended := recorder.take(); usage != "21/4" || ended != "" {
		t.Errorf("usage %s, ended as %q", usage, ended)
	}
}

// TestNeverAskForUsage sends every request as it came.
func TestNeverAskForUsage(t *testing.T) {
	var sent string
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent = string(body)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n")
	}))
	defer upstream.Close()
	provider, err := aibridge.NewOpenAIProvider("o", aibridge.ProviderOptions{BaseURL: upstream.URL + "/v1", Key: "key", UsageInStreams: aibridge.UsageNever})
	if err != nil {
		t.Fatal(err)
	}
	providers, err := aibridge.NewProviderSet(provider)
	if err != nil {
		t.Fatal(err)
	}
	defer providers.CloseIdleConnections()
	gateway := httptest.NewServer(acting(aibridge.NewRequestBridge(providers, new(ends), aibridge.BridgeOptions{})))
	defer gateway.Close()
	_, got, err := ask(t, gateway.URL, "/o/v1/chat/completions", askStream)
	if err != nil || sent != askStream || !strings.Contains(got, "prompt_tokens") {
		t.Errorf("sent %s, got %q, %v", sent, got, err)
	}
	if _, err := aibridge.NewOpenAIProvider("o", aibridge.ProviderOptions{UsageInStreams: "sometimes"}); err == nil {
		t.Error("a setting that is none is taken")
	}
}

// usages is a Recorder that keeps the token usages and ends of interceptions.
type usages struct {
	mu      sync.Mutex
	records []aibridge.Record // Guarded by mu.
}

func (u *usages) Record(_ context.Context, records ...aibridge.Record) (aibridge.Commit, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.records = append(u.records, records...)
	return nil, nil
}

// take returns the usage and the error types since the last call.
func (u *usages) take() (usage, ended string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	defer func() { u.records = nil }()
	for _, record := range u.records {
		switch record := record.(type) {
		case *aibridge.TokenUsage:
			usage += fmt.Sprintf("%d/%d", record.InputTokens, record.OutputTokens)
		case *aibridge.InterceptionEnd:
			ended += string(record.ErrorType)
		}
	}
	return usage, ended
}
