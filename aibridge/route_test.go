package aibridge

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"

	"cdr.dev/slog/v3"
	"cdr.dev/slog/v3/sloggers/slogjson"
)

// noted is an upstream that notes its requests and answers each with an empty object.
type noted struct{ requests []string }

func (n *noted) RoundTrip(r *http.Request) (*http.Response, error) {
	n.requests = append(n.requests, r.Method+" "+r.URL.RequestURI())
	for name := range r.Header {
		if strings.Contains(strings.ToLower(name), "method") {
			n.requests = append(n.requests, name) // No test expects one.
		}
	}
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader("{}")), ContentLength: 2,
	}, nil
}

// routing is a bridge with the providers anthropic and openai at one noted upstream.
func routing(t testing.TB, log io.Writer, entries map[string][]string) (*RequestBridge, *noted) {
	t.Helper()
	up := &noted{}
	anthropic, err := NewAnthropicProvider("anthropic", ProviderOptions{BaseURL: "http://up", Key: "key", Transport: up, Passthrough: entries["anthropic"]})
	if err != nil {
		t.Fatal(err)
	}
	openai, err := NewOpenAIProvider("openai", ProviderOptions{BaseURL: "http://up/v1", Key: "key", Transport: up, Passthrough: entries["openai"]})
	if err != nil {
		t.Fatal(err)
	}
	set, err := NewProviderSet(anthropic, openai)
	if err != nil {
		t.Fatal(err)
	}
	return NewRequestBridge(set, noRecords{}, BridgeOptions{APIKeyID: "key-1", Logger: slog.Make(slogjson.Sink(log))}), up
}

// asAda returns the request as one of a user.
func asAda(r *http.Request) *http.Request {
	return r.WithContext(AsActor(r.Context(), Actor{ID: "ada"}))
}

// TestRoutes is about what goes upstream without an entry of the configuration.
func TestRoutes(t *testing.T) {
	passed := []string{
		"POST /anthropic/v1/messages/count_tokens", "POST /anthropic/v1/messages/count_tokens?beta=true",
		"GET /anthropic/v1/models", "HEAD /anthropic/v1/models", "GET /anthropic/v1/models/claude-x?after=a%2Fb", "POST /anthropic/api/event_logging/batch",
		"GET /openai/v1/models", "GET /openai/v1/models?limit=3", "GET /openai/v1/models/gpt-x", "HEAD /openai/v1/models/gpt-x",
		"GET /openai/v1/models/mistralai/mistral-7b", "GET /openai/v1/models/mistralai%2Fmistral-7b", "GET /openai/v1/models/a%2fb%2Fc:free",
		"GET /openai/v1/models/gpt-x.", "GET /openai/v1/models/a%2Fb...", "GET /openai/v1/models/%40cf%2Fmeta", "GET /openai/v1/models/",
		"GET /openai/v1/responses/resp_1", "GET /openai/v1/responses/resp_1?stream=true&starting_after=3", "HEAD /openai/v1/responses/resp_1",
		"GET /openai/v1/responses/resp_1/input_items?limit=2", "DELETE /openai/v1/responses/resp_1", "POST /openai/v1/responses/resp_1/cancel",
		"POST /openai/v1/responses/input_tokens",
		"POST /openai/v1/conversations", "GET /openai/v1/conversations/conv_1", "POST /openai/v1/conversations/conv_1",
		"DELETE /openai/v1/conversations/conv_1", "GET /openai/v1/conversations/conv_1/items", "POST /openai/v1/conversations/conv_1/items",
		"GET /openai/v1/conversations/conv_1/items/msg_1", "DELETE /openai/v1/conversations/conv_1/items/msg_1",
	}
	for _, request := range passed {
		bridge, up := routing(t, io.Discard, nil)
		method, target, _ := strings.Cut(request, " ")
		w := httptest.NewRecorder()
		bridge.ServeHTTP(w, asAda(httptest.NewRequest(method, target, nil)))
		_, below, _ := strings.Cut(target[1:], "/")
		if want := []string{method + " /" + below}; w.Code != http.StatusOK || !slices.Equal(up.requests, want) {
			t.Errorf("%s: status %d, sent %q, want %q", request, w.Code, up.requests, want)
		}
	}

	refused := []struct {
		request string
		status  int
		entry   string // The entry that the answer names; empty: none.
	}{
		{"DELETE /openai/v1/models/ft:gpt-x:org::id", 403, "DELETE /v1/models/"},
		{"DELETE /anthropic/v1/models/claude-x", 403, "DELETE /v1/models/"},
		{"POST /openai/v1/models", 403, "POST /v1/models"},
		{"PUT /openai/v1/models/x", 403, "PUT /v1/models/"},
		{"GET /openai/v1/files", 403, "GET /v1/files"},
		{"HEAD /openai/v1/files", 403, "GET /v1/files"},
		{"GET /openai/v1/files/file-1/content", 403, "GET /v1/files/"},
		{"POST /openai/v1/batches", 403, "POST /v1/batches"},
		{"DELETE /openai/v1/fine_tuning/jobs/x", 403, "DELETE /v1/fine_tuning/"},
		{"GET /openai/v1/organization/admin_api_keys", 403, "GET /v1/organization/"},
		{"POST /anthropic/v1/messages/batches", 403, "POST /v1/messages/batches"},
		{"POST /openai/v1/audio/speech", 403, "POST /v1/audio/"},
		// Lists show what others have stored.
		{"GET /openai/v1/conversations", 403, "GET /v1/conversations"},
		{"GET /openai/v1/responses", 404, ""},
		{"POST /openai/v1/conversations/conv_1/items/msg_1", 403, "POST /v1/conversations/"},
		{"DELETE /openai/v1/responses/resp_1/input_items", 403, "DELETE /v1/responses/"},
		// An entry for everything below /v1/responses/ would let unrecorded calls through.
		// These are no ids of responses.
		{"GET /openai/v1/responses/compact", 404, ""},
		{"HEAD /openai/v1/responses/compact", 404, ""},
		{"DELETE /openai/v1/responses/compact", 404, ""},
		{"GET /openai/v1/responses/input_tokens", 403, "GET /v1/responses/"},
		{"DELETE /openai/v1/responses/input_tokens", 403, "DELETE /v1/responses/"},
		{"GET /openai/v1/responses/Input_Tokens", 403, "GET /v1/responses/"},
		{"POST /openai/v1/responses/compact/cancel", 403, "POST /v1/responses/compact/cancel"},
		{"GET /openai/v1/responses/input_tokens/input_items", 403, "GET /v1/responses/"},
		{"POST /openai/v1/responses/resp_1/retry", 403, "POST /v1/responses/resp_1/"},
		{"POST /openai/v1/responses/resp_1", 403, "POST /v1/responses/resp_1"},
		// A path that an upstream could take for a recorded one.
		{"POST /openai/v1/chat/completions/", 404, ""},
		{"POST /openai/v1/Responses", 404, ""},
		{"POST /openai/v1/responses/Compact/", 404, ""},
		{"GET /openai/v1/chat/completions", 404, ""},
		{"GET /openai/v1/chat/completions/chatcmpl_1", 403, "GET /v1/chat/"},
		{"OPTIONS /openai/v1/files", 404, ""},
		{"GET /openai/v2/files", 404, ""},
		{"GET /openai/v1beta/files", 404, ""},
		{"GET /openai/", 404, ""},
		{"GET /openai", 404, ""},
		{"GET /anthropic/", 404, ""},
		{"GET /nobody/v1/models", 404, ""},
		{"BREW /openai/v1/models", 405, ""},
		{"get /openai/v1/models", 405, ""},
		{"GET /openai/v1/%6dodels", 404, ""},
		{"GET /openai/v1/models/..%2Ffiles", 400, ""},
		{"GET /openai/v1/models/a%2F..%2F..%2Ffiles", 400, ""},
		{"GET /openai/v1/models/a%2F..", 400, ""},
		{"GET /openai/v1/models/a%2F%2Fb", 400, ""},
		{"GET /openai/v1/models/%2Fetc", 400, ""},
		{"GET /openai/v1/models/..", 400, ""},
		{"GET /openai/v1/models/...", 400, ""},
		{"GET /openai/v1/models/a%252Fb", 400, ""},
		{"GET /openai/v1/models/a%5Cb", 400, ""},
		{"GET /openai/v1/models/%2e%2e%2Ffiles", 400, ""},
		{"GET /openai/v1/models/a%2Fb/c", 400, ""},
		{"GET /openai/v1/responses/a%2Fb", 400, ""},
		{"DELETE /openai/v1/models/a%2Fb", 400, ""},
		{"GET /openai/v1/models;x=1", 400, ""},
		{"GET /openai/v1//models", 400, ""},
	}
	for _, test := range refused {
		bridge, up := routing(t, io.Discard, nil)
		method, target, _ := strings.Cut(test.request, " ")
		w := httptest.NewRecorder()
		bridge.ServeHTTP(w, asAda(httptest.NewRequest(method, target, nil)))
		quoted := "passthrough: [" + strings.ReplaceAll(`"`+test.entry+`"]`, `"`, `\"`)
		named := strings.Contains(w.Body.String(), "passthrough:")
		if w.Code != test.status || named != (test.entry != "") || method != "HEAD" && named && !strings.Contains(w.Body.String(), quoted) {
			if method != "HEAD" { // It has no body.
				t.Errorf("%s: status %d, %s; want %d and %s", test.request, w.Code, w.Body, test.status, test.entry)
			}
		}
		if len(up.requests) > 0 {
			t.Errorf("%s: sent %q", test.request, up.requests)
		}
		if strings.HasPrefix(target, "/openai/") && method != "BREW" && method != "get" {
			if w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("%s: the error is %q, not in the API's shape", test.request, w.Header().Get("Content-Type"))
			}
		}
	}
}

// TestEntryIsNoName has an entry for one response: it is still an id for the provider's own routes, and an id may begin like
// the name of a route.
func TestEntryIsNoName(t *testing.T) {
	for _, request := range []string{
		"GET /openai/v1/responses/resp_1", "DELETE /openai/v1/responses/resp_1", "PUT /openai/v1/responses/resp_1",
		"GET /openai/v1/responses/compacted", "GET /openai/v1/responses/input_tokens_1/input_items",
	} {
		bridge, up := routing(t, io.Discard, map[string][]string{"openai": {"PUT /v1/responses/resp_1"}})
		method, target, _ := strings.Cut(request, " ")
		w := httptest.NewRecorder()
		bridge.ServeHTTP(w, asAda(httptest.NewRequest(method, target, nil)))
		if w.Code != http.StatusOK || len(up.requests) != 1 {
			t.Errorf("%s: status %d, sent %q", request, w.Code, up.requests)
		}
	}
}

// TestEntryOpens is about the entry that a refusal names: with it in the configuration, the request passes.
func TestEntryOpens(t *testing.T) {
	for _, request := range []string{
		"DELETE /openai/v1/models/ft:gpt-x", "GET /openai/v1/files", "GET /openai/v1/files/file-1/content", "POST /openai/v1/responses/resp_1/retry",
		"PATCH /anthropic/v1/organizations", "POST /anthropic/v1/messages/batches", "PUT /openai/v1/a/b/c/d", "DELETE /openai/v1/models/a%2Fb",
	} {
		method, target, _ := strings.Cut(request, " ")
		name, below, _ := strings.Cut(target[1:], "/")
		bridge, _ := routing(t, io.Discard, nil)
		entry := bridge.providers.byName[name].openingEntry(method, "/"+below)
		opened, up := routing(t, io.Discard, map[string][]string{name: {entry}})
		w := httptest.NewRecorder()
		opened.ServeHTTP(w, asAda(httptest.NewRequest(method, target, nil)))
		if want := []string{method + " /" + below}; w.Code != http.StatusOK || !slices.Equal(up.requests, want) {
			t.Errorf("%s with %q: status %d, sent %q, want %q", request, entry, w.Code, up.requests, want)
		}
	}
}

func TestEntriesAreChecked(t *testing.T) {
	for entry, want := range map[string]string{
		"GET /v1/files/": "", "POST /v1/files": "", "DELETE /v1/models/": "", "GET /v1/": "", "GET /v1/chat/completions": "",
		"":                                    "write a method, a space and a path",
		"/v1/files":                           "write a method, a space and a path",
		"GET":                                 "write a method, a space and a path",
		"GET\t/v1/files":                      "write a method, a space and a path",
		"get /v1/files":                       "the method must be GET, POST, PUT, PATCH or DELETE, in capitals",
		"* /v1/files":                         "the method must be",
		"OPTIONS /v1/files":                   "the method must be",
		"CONNECT /v1/files":                   "the method must be",
		"HEAD /v1/files":                      "write GET: it covers HEAD",
		"GET  /v1/files":                      `the path has ' '`,
		"GET /v1/files ":                      `the path has ' '`,
		"GET v1/files":                        "it must begin with a slash",
		"GET ":                                "it must begin with a slash",
		"GET /v1/files/*":                     "is no pattern: end it with a slash",
		"GET /v1/files/{id}":                  "is no pattern",
		"GET /v1/files?x=1":                   "is no pattern",
		"GET /v1/files#x":                     `the path has '#'`,
		"GET /v1/fil%65s":                     `the path has '%'`,
		"GET /v1//files":                      "it has an empty segment",
		"GET /v1/../admin":                    "it has a dot segment",
		"GET /v1/./files":                     "it has a dot segment",
		"GET /v1/files;x":                     `the path has ';'`,
		"GET /files":                          "the path must begin with /v1/",
		"GET /":                               "the path must begin with /v1/",
		"GET /v1":                             "the path must begin with /v1/",
		"POST /v1/responses":                  "it covers POST /v1/responses, which is recorded",
		"POST /v1/RESPONSES":                  "it covers POST /v1/responses",
		"POST /v1/responses/":                 "it covers POST /v1/responses",
		"POST /v1/chat/completions/":          "it covers POST /v1/chat/completions",
		"POST /v1/":                           "it covers POST /v1/",
		"GET /v1/" + strings.Repeat("x", 300): "it has more than 256 bytes",
	} {
		_, err := NewOpenAIProvider("openai", ProviderOptions{Passthrough: []string{"GET /v1/fine", entry}})
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", entry, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), `provider "openai": passthrough: entry "`)):
			t.Errorf("%q: error %v, want %s", entry, err, want)
		}
	}
	if _, err := NewAnthropicProvider("a", ProviderOptions{Passthrough: []string{"GET /"}}); err == nil {
		t.Error("an entry that opens everything was taken")
	}
}

// TestMethodOverride is about headers by which some upstreams take a request for one of another method: they do not go
// upstream.
func TestMethodOverride(t *testing.T) {
	for _, target := range []string{"/openai/v1/models/ft:x", "/openai/v1/files"} {
		for _, name := range []string{"X-HTTP-Method-Override", "X-Http-Method", "x-method-override", "X_HTTP_Method_Override"} {
			bridge, up := routing(t, io.Discard, map[string][]string{"openai": {"GET /v1/files"}})
			for _, value := range []string{"DELETE", "get"} {
				w, r := httptest.NewRecorder(), asAda(httptest.NewRequest(http.MethodGet, target, nil))
				r.Header[http.CanonicalHeaderKey(name)] = []string{value}
				bridge.ServeHTTP(w, r)
				if w.Code != http.StatusOK {
					t.Errorf("%s with %s %s: status %d", target, name, value, w.Code)
				}
			}
			if len(up.requests) != 2 {
				t.Errorf("%s: sent %q", name, up.requests)
			}
		}
	}
}

// TestPassThroughLine is about the line that a passed-through request leaves: it has the route, not the path, and so no
// id. A refused request leaves a line without its path, too.
func TestPassThroughLine(t *testing.T) {
	var log strings.Builder
	bridge, _ := routing(t, &log, map[string][]string{"openai": {"GET /v1/files/"}})
	for target, route := range map[string]string{
		"/openai/v1/models/secret-id":               "/v1/models/",
		"/openai/v1/conversations/secret-id":        "/v1/conversations/{conversation_id}",
		"/openai/v1/responses/secret-id?x=secret":   "/v1/responses/{response_id}",
		"/openai/v1/files/secret-id/content":        "/v1/files/",
		"/openai/v1/vector_stores/secret-id/closed": "",
	} {
		log.Reset()
		bridge.ServeHTTP(httptest.NewRecorder(), asAda(httptest.NewRequest(http.MethodGet, target, nil)))
		if strings.Contains(log.String(), "secret") || strings.Count(log.String(), "\n") != 1 {
			t.Errorf("%s: logged %s", target, &log)
		}
		var line struct {
			Msg    string         `json:"msg"`
			Fields map[string]any `json:"fields"`
		}
		if err := json.Unmarshal([]byte(log.String()), &line); err != nil {
			t.Fatalf("%v: %s", err, &log)
		}
		if route == "" {
			continue
		}
		for name, want := range map[string]any{
			"initiator_id": "ada", "api_key_id": "key-1", "provider": "openai", "method": "GET", "route": route, "status": 200.0,
		} {
			if line.Msg != "request passed through" || line.Fields[name] != want {
				t.Errorf("%s: %s is %v, want %v", target, name, line.Fields[name], want)
			}
		}
	}
}

// FuzzRoutes checks that a request goes upstream only if every reading of its path leads to the route that was found.
func FuzzRoutes(f *testing.F) {
	for _, seed := range []string{
		"GET /v1/models/a%2Fb", "GET /v1/models/x.", "DELETE /v1/models/x", "GET /v1/responses/r/", "POST /v1/responses/%63ompact", "GET /v1/models/a%2f..",
		"POST /v1/responses/r/cancel", "GET /v1/conversations/c/items/i", "POST /v1/Responses/compact", "GET /v1/files/%2e", "POST /v1/chat/completions/",
	} {
		f.Add(seed)
	}
	bridge, _ := routing(f, io.Discard, map[string][]string{"openai": {"GET /v1/files/", "POST /v1/uploads/"}})
	provider := bridge.providers.byName["openai"]
	f.Fuzz(func(t *testing.T, request string) {
		method, escaped, _ := strings.Cut(request, " ")
		address, err := url.ParseRequestURI("/openai" + escaped)
		if err != nil || !strings.HasPrefix(escaped, "/") {
			return
		}
		r := (&http.Request{Method: method, URL: address}).WithContext(context.Background())
		to, err := bridge.providers.find(r)
		if err != nil {
			if entry := provider.openingEntry(method, to.path); entry != "" {
				if _, err := parseEntry(entry, provider.prefix, provider.routes); err != nil {
					t.Errorf("%s: the entry %q is named and refused: %v", request, entry, err)
				}
			}
			return
		}
		plain, err := url.PathUnescape(to.path)
		if err != nil {
			t.Fatal(err)
		}
		for _, reading := range []string{to.path, plain, path.Clean(plain), strings.ToLower(plain)} {
			found, ok := provider.route(method, reading)
			if to.route.format != nil && found.path != to.route.path {
				t.Errorf("%s goes to %s and could be read as %q", request, to.route.path, reading)
			}
			if to.route.format == nil && ok && found.format != nil {
				t.Errorf("%s is passed through and could be read as %q, which is recorded", request, reading)
			}
			if prefix, isTree := strings.CutSuffix(to.route.path, "/"); isTree && !strings.HasPrefix(strings.ToLower(reading), strings.ToLower(prefix)) {
				t.Errorf("%s goes to %s and could be read as %q", request, to.route.path, reading)
			}
		}
	})
}
