package aibridge_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/aibridge"
)

// accountsThatStore is an upstream of several accounts, each of which knows only the responses that it has stored itself. The
// first request whose body has a text is answered with a call of a tool of the gateway, and its next round is refused to the key
// that asked first.
type accountsThatStore struct {
	owners  map[string]string // The keys, by the ids of the responses.
	refused string
	asked   []string
}

func (a *accountsThatStore) RoundTrip(r *http.Request) (*http.Response, error) {
	key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	previous := gjson.GetBytes(body, "previous_response_id").Str
	if path := strings.Split(r.URL.Path, "/"); len(path) > 3 && strings.HasPrefix(path[3], "resp_") {
		previous = path[3]
	}
	a.asked = append(a.asked, key+" "+previous)
	say := func(status int, media, text string) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {media}}, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
	}
	if owner := a.owners[previous]; previous != "" && owner != key {
		return say(404, "application/json", `{"error":{"message":"not found","code":"previous_response_not_found"}}`)
	}
	id, item := "resp_"+fmt.Sprint(len(a.owners)+1), `{"type":"message","id":"msg_1","role":"assistant","content":[{"type":"output_text","text":"b"}]}`
	switch {
	case len(a.owners) == 0:
		item = `{"type":"function_call","id":"fc_1","call_id":"c1","name":"bmcp_docs_x","arguments":"{}"}`
		a.refused = key
	case len(a.owners) == 1 && key == a.refused:
		return say(429, "application/json", `{"error":{"message":"slow down"}}`)
	case previous != "" && !strings.HasSuffix(r.URL.Path, "/responses"):
		id = previous
	}
	if a.owners[id] == "" {
		a.owners[id] = key
	}
	response := `{"id":"` + id + `","object":"response","status":"completed","model":"m","output":[` + item + `],"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2}}`
	if gjson.GetBytes(body, "stream").Bool() {
		return say(200, "text/event-stream", `data: {"type":"response.created","response":`+strings.Replace(response, "completed", "in_progress", 1)+"}\n\n"+
			`data: {"type":"response.output_item.done","output_index":0,"item":`+item+"}\n\n"+`data: {"type":"response.completed","response":`+response+"}\n\n")
	}
	return say(200, "application/json", response)
}

// TestStoredAfterFailover has a response whose last round was served by another account than its first one. The client knows the
// first one's id. What it asks for by that goes to the account that has what the id stands for, and what only the first account
// has goes to that; also if a gateway has started anew, and must look for both.
func TestStoredAfterFailover(t *testing.T) {
	const last, first = "resp_2", "resp_1"
	for request, stands := range map[string]string{
		`POST  {"model":"m","input":"more","previous_response_id":"resp_1"}`:               last,
		`POST  {"model":"m","input":"more","stream":true,"previous_response_id":"resp_1"}`: last,
		`POST  {"previous_response_id":"resp_\u0031","model":"m","input":[]}`:              last,
		`GET /resp_1 `:             last,
		`GET /resp%5F1 `:           last,
		`POST /resp_1/cancel {}`:   last,
		`DELETE /resp_1 `:          last,
		`GET /resp_1/input_items `: first,
		`POST /input_tokens {"model":"m","previous_response_id":"resp_1"}`: first,
	} {
		for _, stream := range []string{`"stream":true,`, ""} {
			for _, anew := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					up := &accountsThatStore{owners: map[string]string{}}
					shared := &store{turns: map[string][]byte{}}
					var bridge http.Handler
					start := func() {
						provider, err := aibridge.NewOpenAIProvider("o", aibridge.ProviderOptions{Transport: up, Keys: []aibridge.Key{{Secret: "key-a"}, {Secret: "key-b"}}})
						if err != nil {
							t.Fatal(err)
						}
						set, err := aibridge.NewProviderSet(provider)
						if err != nil {
							t.Fatal(err)
						}
						bridge = acting(aibridge.NewRequestBridge(set, &kept{}, aibridge.BridgeOptions{
							Tools: toolsNamed("bmcp_docs_x"), Conversations: aibridge.NewConversations(shared),
						}))
					}
					start()
					send := func(method, path, body string) *httptest.ResponseRecorder {
						w := httptest.NewRecorder()
						bridge.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, "/o/v1/responses"+path, strings.NewReader(body)))
						return w
					}
					if w := send(http.MethodPost, "", `{`+stream+`"model":"m","input":"hi"}`); w.Code != 200 || len(up.owners) != 2 || up.owners[first] == up.owners[last] {
						t.Fatalf("%d %s: stored by %v", w.Code, w.Body, up.owners)
					}
					if anew {
						start()
					}
					time.Sleep(time.Minute) // The key does not rest any more.
					method, rest, _ := strings.Cut(request, " ")
					path, body, _ := strings.Cut(rest, " ")
					want := up.owners[stands] + " " + stands
					for range 3 {
						up.asked = nil
						w := send(method, path, body)
						if n := len(up.asked); w.Code != 200 || n == 0 || up.asked[n-1] != want || n > 1 && !anew {
							t.Fatalf("%s, %s %v: %d %s: asked %q, want %q", request, stream, anew, w.Code, w.Body, up.asked, want)
						}
					}
				})
			}
		}
	}
}
