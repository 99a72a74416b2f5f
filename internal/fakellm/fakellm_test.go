package fakellm

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// paths are the formats' routes by name.
func paths() map[string]string {
	return map[string]string{
		"messages": "/v1/messages", "chat": "/v1/chat/completions", "responses": "/v1/responses",
	}
}

// request returns a body of a format with a prompt and a declared tool.
func request(t *testing.T, format, prompt string, stream bool) string {
	t.Helper()
	body := object{"model": "fake-large", "stream": stream}
	conversation := []object{{"role": "user", "content": prompt}}
	switch format {
	case "messages":
		body["messages"], body["tools"] = conversation, []object{{"name": "Bash", "input_schema": object{}}}
	case "chat":
		body["messages"] = conversation
		body["tools"] = []object{{"type": "function", "function": object{"name": "Bash"}}}
		body["stream_options"] = object{"include_usage": true}
	case "responses":
		body["input"] = conversation
		body["tools"] = []object{
			{"type": "function", "name": "Bash"}, {"type": "custom", "name": "patch"},
			{"type": "namespace", "name": "agents", "tools": []object{{"type": "function", "name": "spawn"}}},
		}
	}
	return string(encode(body))
}

// post sends body to a server in the same process, with a key, and returns the answer.
func post(t *testing.T, s *Server, path, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer any")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func decode(t *testing.T, data []byte) object {
	t.Helper()
	var decoded object
	if err := json.Unmarshal(data, &decoded); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return decoded
}

// at returns the value at a path of names and indexes within a decoded object.
func at(t *testing.T, within object, path ...any) any {
	t.Helper()
	value := any(map[string]any(within))
	for _, step := range path {
		switch step := step.(type) {
		case string:
			inside, ok := value.(map[string]any)
			if !ok {
				t.Fatalf("%v: no object at %s: %v", path, step, value)
			}
			value = inside[step]
		case int:
			inside, ok := value.([]any)
			if !ok || step >= len(inside) {
				t.Fatalf("%v: no element %d: %v", path, step, value)
			}
			value = inside[step]
		}
	}
	return value
}

func TestRoutes(t *testing.T) {
	const key, bearer, version = "X-Api-Key", "Authorization", "Anthropic-Version"
	for _, test := range []struct {
		method, path string
		headers      []string
		status       int
		want         string // Part of the body.
	}{
		{"GET", "/healthz", nil, 200, "ok\n"},
		{"POST", "/v1/messages", nil, 401, `"type":"authentication_error"`},
		{"POST", "/v1/chat/completions", nil, 401, `"code":"invalid_api_key"`},
		{"POST", "/v1/responses", nil, 401, `"code":"invalid_api_key"`},
		{"GET", "/v1/models", []string{key, "any"}, 200, `"object":"list"`},
		{"GET", "/v1/models", []string{bearer, "Bearer any", version, "2023-06-01"}, 200, `"first_id":"fake-large"`},
		{"GET", "/v1/models/some", []string{key, "any"}, 200, `"id":"some"`},
		{"GET", "/v1/models/some", []string{key, "any", version, "2023-06-01"}, 200, `"display_name":"some"`},
		{"GET", "/v1/messages", []string{key, "any"}, 404, `"type":"not_found_error"`},
		{"POST", "/v1/other", []string{key, "any"}, 404, `"message":"no such route: POST /v1/other"`},
		{"POST", "/v1/other", []string{key, "any", version, "2023-06-01"}, 404, `"type":"not_found_error"`},
		{"GET", "/v1/responses", []string{bearer, "Bearer any", "Upgrade", "websocket"}, 426, "WebSocket"},
	} {
		t.Run(test.method+test.path, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), test.method, test.path, nil)
			for i := 0; i < len(test.headers); i += 2 {
				r.Header.Set(test.headers[i], test.headers[i+1])
			}
			w := httptest.NewRecorder()
			New(Options{}).ServeHTTP(w, r)
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.want) {
				t.Errorf("got %d %s, want %d with %s", w.Code, w.Body, test.status, test.want)
			}
		})
	}
}

func TestBadRequests(t *testing.T) {
	for format, path := range paths() {
		for name, body := range map[string]string{
			"no JSON": `{`, "no object": `[]`, "no model": `{"messages":[],"input":"x"}`,
			"wrong type": `{"model":"x","messages":5,"input":[5]}`,
			"wrong content": `{"model":"x","messages":[{"role":"user","content":[5]}],` +
				`"input":[{"role":"user","content":[5]}]}`,
			"wrong directive": request(t, format, "[[delay: soon]]", false),
		} {
			t.Run(format+" "+name, func(t *testing.T) {
				s := New(Options{})
				if w := post(t, s, path, body); w.Code != 400 || at(t, decode(t, w.Body.Bytes()), "error", "message") == "" {
					t.Errorf("got %d %s", w.Code, w.Body)
				}
				if got := s.Served(); len(got) != 1 || got[0].Status != 400 || got[0].Complete {
					t.Errorf("served %+v", got)
				}
			})
		}
	}
}

// endless is a body that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestBodyTooLarge(t *testing.T) {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/messages", io.NopCloser(endless{}))
	r.Header.Set("X-Api-Key", "any")
	w := httptest.NewRecorder()
	New(Options{}).ServeHTTP(w, r)
	if w.Code != 413 || !strings.Contains(w.Body.String(), "request_too_large") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestCountTokensAgreesWithUsage(t *testing.T) {
	const body = `{"model":"x","system":[{"type":"text","text":"be brief"}],` +
		`"messages":[{"role":"user","content":"one two three"}]}`
	s := New(Options{})
	counted := decode(t, post(t, s, "/v1/messages/count_tokens", body).Body.Bytes())
	billed := decode(t, post(t, s, "/v1/messages", body).Body.Bytes())
	if at(t, counted, "input_tokens") != 5.0 || at(t, billed, "usage", "input_tokens") != 5.0 {
		t.Errorf("counted %v, billed %v, want 5", counted, billed)
	}
	if w := post(t, s, "/v1/messages/count_tokens", "{}"); w.Code != 400 {
		t.Errorf("without a model: %d", w.Code)
	}
}

func TestServedIsBoundedAndLogged(t *testing.T) {
	logged := 0
	s := New(Options{IDPrefix: "demo", Log: func(Served) { logged++ }})
	for i := range maxServed + 2 {
		post(t, s, "/v1/messages", request(t, "messages", fmt.Sprint(i), false), "Authorization", "secret")
	}
	served := s.Served()
	if len(served) != maxServed || logged != maxServed+2 {
		t.Fatalf("kept %d, logged %d", len(served), logged)
	}
	if served[0].Prompt != "2" || served[maxServed-1].Prompt != fmt.Sprint(maxServed+1) {
		t.Errorf("kept from %q to %q", served[0].Prompt, served[maxServed-1].Prompt)
	}
	if served[0].AnswerID != "msg_demofake000003000" {
		t.Errorf("id %s", served[0].AnswerID)
	}
	if strings.Contains(fmt.Sprintf("%+v", served), "secret") {
		t.Error("a credential was kept")
	}
}

func ExampleNew() {
	upstream := httptest.NewServer(New(Options{}))
	defer upstream.Close()
	body := `{"model":"fake-small","messages":[{"role":"user","content":"Hi! [[text: Good day.]]"}]}`
	request, err := http.NewRequest(http.MethodPost, upstream.URL+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		fmt.Println(err)
		return
	}
	request.Header.Set("Authorization", "Bearer any")
	response, err := upstream.Client().Do(request)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	var answer struct {
		Choices []struct {
			Message struct {
				Content string `json:"content"`
			} `json:"message"`
		} `json:"choices"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(answer.Choices[0].Message.Content)
	// Output: Good day.
}
