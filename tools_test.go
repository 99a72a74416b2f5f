package aibridged_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/coder/aibridged/internal/fakemcp"
	"github.com/coder/aibridged/internal/testkit"
)

// upstreamAnswers is an upstream that gives one answer after the other, and the last one for ever. It is safe for concurrent use.
type upstreamAnswers struct {
	header http.Header
	all    [][]byte

	mu   sync.Mutex
	sent []string // Guarded by mu.
}

func (a *upstreamAnswers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // The gateway broke its request off.
	}
	a.mu.Lock()
	answer := a.all[min(len(a.sent), len(a.all)-1)]
	a.sent = append(a.sent, string(body))
	a.mu.Unlock()
	for name, values := range a.header {
		w.Header()[name] = values
	}
	_, _ = w.Write(answer) // A gateway that left has its own test.
}

func (a *upstreamAnswers) requests() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.sent...)
}

// withToolServer starts a gateway with the tools of a server "docs" and an upstream.
func withToolServer(t *testing.T, up http.Handler, tools ...fakemcp.Tool) *testkit.Gateway {
	t.Helper()
	upstream := httptest.NewServer(up)
	t.Cleanup(upstream.Close)
	docs := httptest.NewServer(fakemcp.New(tools...))
	t.Cleanup(func() {
		docs.CloseClientConnections()
		docs.Close()
	})
	return testkit.NewGateway(t, upstream.URL, testkit.GatewayOptions{MCPServers: map[string]string{"docs": docs.URL}})
}

// exchangeJSON sends a request, and returns the answer's header and body.
func exchangeJSON(t *testing.T, g *testkit.Gateway, path, body string) (http.Header, string) {
	t.Helper()
	response, err := testkit.NewClient(t).Do(g.Request(t, http.MethodPost, path, body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.Header, string(answer)
}

// plainRequests are requests of each format without tools, to which a list of tools can be added.
func plainRequests() map[string]string {
	return map[string]string{
		"/anthropic/v1/messages":      `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]%s}`,
		"/openai/v1/chat/completions": `{"model":"m","messages":[{"role":"user","content":"Hi"}]%s}`,
		"/openai/v1/responses":        `{"model":"m","input":"Hi"%s}`,
	}
}

// TestThousandTools offers the first of 1,000 tools in the order of their names, as many as a request may have, and in the same
// bytes each time: a provider's prompt cache is of no use otherwise.
func TestThousandTools(t *testing.T) {
	var tools []fakemcp.Tool
	for n := range 1000 {
		tools = append(tools, fakemcp.Tool{Name: fmt.Sprintf("tool_%03d", (n*617)%1000), InputSchema: json.RawMessage(`{"type":"object","properties":{}}`)})
	}
	for path, request := range plainRequests() {
		t.Run(path, func(t *testing.T) {
			up := &upstreamAnswers{header: http.Header{"Content-Type": {"application/json"}}, all: [][]byte{[]byte(`{"id":"x"}`)}}
			g := withToolServer(t, up, tools...)
			own := `,"tools":[` + strings.TrimSuffix(strings.Repeat(`{"type":"function","name":"own","function":{"name":"own"}},`, 28), ",") + `]`
			for _, extra := range []string{"", own} {
				for range 10 {
					exchangeJSON(t, g, path, fmt.Sprintf(request, extra))
				}
			}
			sent := up.requests()
			for n, body := range sent {
				if want := sent[n/10*10]; body != want {
					t.Fatalf("request %d went upstream as\n%s\nand the same one before as\n%s", n, body, want)
				}
			}
			for n, most := range map[int]int{0: 128, 10: 100} {
				if got := strings.Count(sent[n], `"bmcp_docs_tool_`); got != most {
					t.Errorf("request %d has %d tools of the gateway, want %d", n, got, most)
				}
				last := -1
				for i := range most {
					at := strings.Index(sent[n], fmt.Sprintf(`"bmcp_docs_tool_%03d"`, i))
					if at <= last {
						t.Fatalf("request %d: tool %d stands at %d, behind one at %d", n, i, at, last)
					}
					last = at
				}
			}
			if got := strings.Count(g.Log.String(), "more tools than a request may have"); got != 1 {
				t.Errorf("warned %d times, want once", got)
			}
		})
	}
}

// TestCodedAnswers has an upstream that codes its answers though nobody asked for that. What the client gets of several rounds
// is not coded, and an answer in a coding that nobody knows goes on as it came.
func TestCodedAnswers(t *testing.T) {
	round := func(n int, block string, reason string) []byte {
		return fmt.Appendf(nil, `event: message_start
data: {"type":"message_start","message":{"id":"msg_%d","role":"assistant","content":[],"usage":{"input_tokens":9,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":%s}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":%q},"usage":{"input_tokens":9,"output_tokens":2}}

event: message_stop
data: {"type":"message_stop"}

`, n, block, reason)
	}
	call := round(1, `{"type":"tool_use","id":"toolu_1","name":"bmcp_docs_search","input":{}}`, "tool_use")
	text := round(2, `{"type":"text","text":"Done."}`, "end_turn")
	tool := fakemcp.Tool{Name: "search", Results: []json.RawMessage{[]byte(`{"content":[{"type":"text","text":"Found."}]}`)}}
	const request = `{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"Hi"}]}`

	t.Run("gzip", func(t *testing.T) {
		up := &upstreamAnswers{
			header: http.Header{"Content-Type": {"text/event-stream"}, "Content-Encoding": {"gzip"}},
			all:    [][]byte{gzipped(t, call), gzipped(t, text)},
		}
		header, got := exchangeJSON(t, withToolServer(t, up, tool), "/anthropic/v1/messages", request)
		if coding := header.Get("Content-Encoding"); coding != "" || strings.Contains(got, "bmcp_") || !strings.Contains(got, "Done.") || !strings.Contains(got, "msg_1") {
			t.Errorf("the client got, coded as %q,\n%q", coding, got)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		up := &upstreamAnswers{header: http.Header{"Content-Type": {"text/event-stream"}, "Content-Encoding": {"x-secret"}}, all: [][]byte{text}}
		header, got := exchangeJSON(t, withToolServer(t, up, tool), "/anthropic/v1/messages", request)
		if coding := header.Get("Content-Encoding"); coding != "x-secret" || got != string(text) {
			t.Errorf("the client got, coded as %q,\n%q", coding, got)
		}
	})
	t.Run("blocking", func(t *testing.T) {
		body := gzipped(t, []byte(` {"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]} `))
		up := &upstreamAnswers{header: http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}, all: [][]byte{body}}
		header, got := exchangeJSON(t, withToolServer(t, up, tool), "/openai/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"Hi"}]}`)
		if coding := header.Get("Content-Encoding"); coding != "gzip" || got != string(body) {
			t.Errorf("the client got, coded as %q,\n%q", coding, got)
		}
	})
}

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var coded bytes.Buffer
	w := gzip.NewWriter(&coded)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return coded.Bytes()
}
