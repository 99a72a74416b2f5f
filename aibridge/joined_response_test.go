package aibridge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridge/mcp"
)

// TestStoredResponsesAsSeen reads stored responses of which the client has not seen all: it gets what it has seen, under the id
// that it knows, in each form.
func TestStoredResponsesAsSeen(t *testing.T) {
	const (
		ours    = `{"type":"function_call","id":"fc_1","call_id":"c1","name":"bmcp_docs_x","arguments":"{}"}`
		own     = `{"type":"function","name":"own","parameters":{}}`
		tools   = `"tools":[` + own + `,{"type":"function","name":"bmcp_docs_x","parameters":{}}]`
		mine    = `{"type":"function_call","id":"fc_2","call_id":"call_0123456789abcdef","name":"own","arguments":"{}"}`
		first   = `{"type":"message","id":"msg_1","role":"assistant","content":[{"type":"output_text","text":"a"}]}`
		second  = `{"type":"message","id":"msg_2","role":"assistant","content":[{"type":"output_text","text":"b"}]}`
		shownBy = `"tools":[` + own + `]`
	)
	response := func(id string, created int, more, tools, output string, tokens int) string {
		return fmt.Sprintf(`{"id":"%s","object":"response","created_at":%d,"status":"completed",%s,"store":true,%s,"output":[%s],"usage":{"input_tokens":%d,"output_tokens":1,"total_tokens":%d}}`,
			id, created, more, tools, output, tokens, tokens+1)
	}
	const none, after = `"previous_response_id":null`, `"previous_response_id":"resp_1"`
	sent := map[string]string{
		"resp_1": response("resp_1", 1, none, tools, first+","+ours, 1),
		"resp_2": response("resp_2", 2, after, tools, second+","+strings.ReplaceAll(ours, "1", "2")+","+mine, 10),
		"resp_3": response("resp_3", 3, none, tools, second, 5),
	}
	events := func(response string, output ...string) (stream string) {
		say := func(kind, members string) {
			stream += fmt.Sprintf("event: response.%s\ndata: {\"type\":\"response.%s\",\"sequence_number\":%d,%s}\n\n", kind, kind, strings.Count(stream, "event:")+4, members)
		}
		say("created", `"response":`+strings.Replace(response, `"completed"`, `"in_progress"`, 1))
		for _, item := range output {
			at, item, _ := strings.Cut(item, " ")
			say("output_item.done", `"output_index":`+at+`,"item":`+item)
		}
		say("completed", `"response":`+response)
		return stream
	}
	var paths []string
	rounds := 0
	upstream := upstreamFunc(func(r *http.Request) (*http.Response, error) {
		paths = append(paths, r.Method+" "+r.URL.EscapedPath())
		answer, media := "", "application/json"
		id := strings.Split(r.URL.Path, "/")
		switch {
		case strings.HasSuffix(r.URL.Path, "/input_items"):
			answer = `{"object":"list","data":[` + ours + `,{"type":"function_call_output","call_id":"c1"}, {"type":"message","id":"msg_0"}],"has_more":false}`
		case r.Method == http.MethodDelete:
			answer = `{"id":"` + id[3] + `","object":"response","deleted":true}`
		case len(id) == 3:
			rounds++
			answer = sent[fmt.Sprintf("resp_%d", rounds)]
		case r.URL.Query().Get("stream") == "true":
			media = "text/event-stream"
			answer = events(sent["resp_2"], "0 "+second, "1 "+strings.ReplaceAll(ours, "1", "2"), "2 "+mine)
		default:
			answer = sent[id[3]]
		}
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {media}}, Body: io.NopCloser(strings.NewReader(answer)), ContentLength: int64(len(answer)), Request: r}, nil
	})
	provider, err := aibridge.NewOpenAIProvider("o", aibridge.ProviderOptions{Key: "key-0123456789", Transport: upstream})
	if err != nil {
		t.Fatal(err)
	}
	providers, err := aibridge.NewProviderSet(provider)
	if err != nil {
		t.Fatal(err)
	}
	with := toolsNamed("bmcp_docs_x")
	shared := &store{turns: map[string][]byte{}}
	send := func(method, path, body string) string {
		bridge := acting(aibridge.NewRequestBridge(providers, &kept{}, aibridge.BridgeOptions{Tools: with, Conversations: aibridge.NewConversations(shared)}))
		server := httptest.NewServer(bridge)
		defer server.Close()
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/o/v1/responses"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		got, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Errorf("%s %s: %v", method, path, err)
		}
		return string(got)
	}
	got := send(http.MethodPost, "", `{"model":"m","input":"hi","tools":[`+own+`]}`)
	seen := response("resp_1", 1, none, shownBy, first+","+second+","+mine, 11)
	seen = strings.Replace(seen, `"output_tokens":1,"total_tokens":12`, `"output_tokens":2,"total_tokens":13`, 1)
	if got != seen {
		t.Fatalf("the client got\n%s\nwant\n%s", got, seen)
	}
	for request, want := range map[string]string{
		"GET /resp_1":         seen,
		"POST /resp_1/cancel": seen,
		"GET /resp_1?stream=true&starting_after=3": events(seen, "1 "+second, "2 "+mine),
		"GET /resp_1/input_items":                  `{"object":"list","data":[{"type":"message","id":"msg_0"}],"has_more":false}`,
		"DELETE /resp_1":                           `{"id":"resp_1","object":"response","deleted":true}`,
		// Of these nothing is known. What is ours is hidden all the same.
		"GET /resp_3": response("resp_3", 3, none, shownBy, second, 5),
		"GET /resp_2": response("resp_2", 2, after, shownBy, second+","+mine, 10),
	} {
		method, path, _ := strings.Cut(request, " ")
		got := send(method, path, "")
		if strings.Contains(path, "stream") {
			// Until it ends, the output and the usage are those of the last round.
			begun := strings.Split(want, "\n\n")[0]
			got = strings.Replace(got, strings.Split(got, "\n\n")[0], begun, 1)
		}
		if got != want {
			t.Errorf("%s: the client got\n%s\nwant\n%s", request, got, want)
		}
	}
	if begun := send(http.MethodGet, "/resp_1?stream=true", ""); strings.Contains(begun, "bmcp_") || gjson.Get(strings.Split(begun, "data: ")[1], "response.id").Str != "resp_1" {
		t.Errorf("the client got %s", begun)
	}
}

func toolsNamed(names ...string) *tools {
	return &tools{names: names, call: func(context.Context, string, json.RawMessage) (mcp.Result, error) { return found("x"), nil }}
}
