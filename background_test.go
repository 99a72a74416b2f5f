package aibridged_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/sqlite"
	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/internal/testkit"
)

// The states of one background response as an upstream tells them.
const (
	backgroundHead  = `"id":"resp_1","object":"response","background":true,"model":"up-1"`
	backgroundQueue = `{` + backgroundHead + `,"status":"queued","output":[],"usage":null}`
	backgroundHalf  = `{` + backgroundHead + `,"status":"in_progress","output":[],"usage":null}`
	backgroundCalls = `{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"First."}]},` +
		`{"type":"function_call","id":"fc_1","call_id":"call_1","name":"look","arguments":"{\"q\":1}","status":"completed"},` +
		`{"type":"function_call","id":"fc_2","call_id":"call_2","name":"list","arguments":"{}","status":"completed"},` +
		`{"type":"function_call","id":"fc_3","call_id":"call_3","name":"look","arguments":"{\"q\":2}","status":"completed"}`
	backgroundUsage = `{"input_tokens":30,"output_tokens":12,"output_tokens_details":{"reasoning_tokens":8},"total_tokens":42}`
	backgroundFinal = `{` + backgroundHead + `,"status":"completed","output":[` + backgroundCalls + `],"usage":` + backgroundUsage + `}`

	backgroundBegin = "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":" + backgroundHalf + "}\n\n" +
		"event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"sequence_number\":1,\"output_index\":1,\"item\":" +
		"{\"type\":\"function_call\",\"id\":\"fc_1\",\"call_id\":\"call_1\",\"name\":\"look\",\"arguments\":\"\"}}\n\n" +
		"event: response.function_call_arguments.delta\ndata: {\"type\":\"response.function_call_arguments.delta\",\"sequence_number\":2," +
		"\"item_id\":\"fc_1\",\"output_index\":1,\"delta\":\"{\\\"q\"}\n\n"
	backgroundEnd = "event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\",\"sequence_number\":9,\"output_index\":3,\"item\":" +
		"{\"type\":\"function_call\",\"id\":\"fc_3\",\"call_id\":\"call_3\",\"name\":\"look\",\"arguments\":\"{\\\"q\\\":2}\"}}\n\n" +
		"event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":10,\"response\":" + backgroundFinal + "}\n\n"
)

// backgroundUpstream makes one response in the background.
type backgroundUpstream struct {
	*httptest.Server

	gzip  atomic.Bool  // Answers are compressed, though nobody asks for that.
	polls atomic.Int32 // How many polls are answered before the response is final, below zero.
	whole atomic.Bool  // A stream of the request that begins the response goes on to its end.
	final atomic.Value // The final state, a string.
}

func newBackgroundUpstream(t *testing.T) *backgroundUpstream {
	u := &backgroundUpstream{}
	u.final.Store(backgroundFinal)
	u.Server = httptest.NewServer(http.HandlerFunc(u.serve))
	t.Cleanup(u.Close)
	return u
}

func (u *backgroundUpstream) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	final, _ := u.final.Load().(string)
	answer, kind := final, "application/json"
	switch {
	case r.Method == http.MethodPost && strings.Contains(string(body), `"stream":true`):
		kind, answer = "text/event-stream", backgroundBegin
		if u.whole.Load() {
			answer += backgroundEnd
		}
	case r.Method == http.MethodPost && !strings.HasSuffix(r.URL.Path, "/cancel"):
		answer = backgroundQueue
	case r.URL.Query().Get("stream") == "true":
		kind, answer = "text/event-stream", backgroundEnd
	case u.polls.Add(1) <= 0:
		answer = backgroundHalf
	}
	w.Header().Set("Content-Type", kind)
	out := io.Writer(w)
	if u.gzip.Load() {
		w.Header().Set("Content-Encoding", "gzip")
		coded := gzip.NewWriter(w)
		defer coded.Close()
		out = coded
	}
	_, _ = io.WriteString(out, answer)
	if kind == "text/event-stream" && !strings.HasSuffix(answer, backgroundEnd) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

// replicas are two gateways with one control plane over SQLite.
type replicas struct {
	up       *backgroundUpstream
	store    *aibridgedserver.Server
	token    string
	gateways [2]*testkit.Gateway
}

func newReplicas(t *testing.T) *replicas {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "control.db"))
	if err != nil {
		t.Fatal(err)
	}
	store, err := aibridgedserver.New(t.Context(), db, aibridgedserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &replicas{up: newBackgroundUpstream(t), store: store}
	if r.token, _, err = store.CreateToken(t.Context(), aibridgedserver.TokenParams{Username: "ada"}); err != nil {
		t.Fatal(err)
	}
	for n := range r.gateways {
		r.gateways[n] = testkit.NewGateway(t, r.up.URL, testkit.GatewayOptions{Dialer: controlplane.InProcess(store)})
	}
	return r
}

// ask sends a request to gateway n and returns the answer's body. If leave is set, it leaves after the first bytes.
func (r *replicas) ask(t *testing.T, n int, method, path, body string, leave bool) string {
	t.Helper()
	return askAs(t, r.gateways[n], r.token, method, path, body, leave)
}

func askAs(t *testing.T, g *testkit.Gateway, token, method, path, body string, leave bool) string {
	t.Helper()
	request := g.Request(t, method, "/openai/v1/responses"+path, body)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := testkit.NewClient(t).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: status %d", method, path, response.StatusCode)
	}
	if leave {
		_, err = io.ReadFull(response.Body, make([]byte, len(backgroundBegin)))
		if err != nil {
			t.Fatal(err)
		}
		return ""
	}
	text := io.Reader(response.Body)
	if response.Header.Get("Content-Encoding") == "gzip" {
		if text, err = gzip.NewReader(text); err != nil {
			t.Fatal(err)
		}
	}
	got, err := io.ReadAll(text)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return string(got)
}

// summary waits until n interceptions have ended and the first has a usage or none is awaited, and returns in a line
// what is recorded of the first.
func (r *replicas) summary(t *testing.T, n int, usage bool) string {
	t.Helper()
	for deadline := time.Now().Add(testkit.Patience); ; {
		var all []*aibridgedserver.Interception
		for i, err := range r.store.Interceptions(t.Context(), aibridgedserver.InterceptionFilter{}) {
			if err != nil {
				t.Fatal(err)
			}
			if i.EndedAt != nil {
				all = append(all, i)
			}
		}
		if len(all) == n && (!usage || len(all[0].TokenUsages) > 0) || time.Now().After(deadline) {
			if len(all) != n {
				t.Fatalf("%d interceptions have ended, want %d", len(all), n)
			}
			return summaryOf(all[0])
		}
		<-time.After(5 * time.Millisecond)
	}
}

func summaryOf(i *aibridgedserver.Interception) string {
	var line strings.Builder
	for _, u := range i.TokenUsages {
		fmt.Fprintf(&line, "usage %d/%d of %s; ", u.InputTokens, u.OutputTokens, u.MsgID)
	}
	for _, u := range i.ToolUsages {
		fmt.Fprintf(&line, "%s %s %s; ", u.ToolCallID, u.Tool, u.Input)
	}
	for _, m := range i.ModelThoughts {
		fmt.Fprintf(&line, "thought %s", m.Content)
	}
	return line.String()
}

const (
	askBackground       = `{"model":"m","input":"hi","background":true}`
	askBackgroundStream = `{"model":"m","input":"hi","background":true,"stream":true}`
	backgroundRecorded  = `usage 30/12 of resp_1; call_1 look {"q":1}; call_2 list {}; call_3 look {"q":2}; thought First.`
)

// TestBackgroundPolled is about a response that is polled at two gateways: what it did is recorded once.
func TestBackgroundPolled(t *testing.T) {
	t.Parallel()
	for name, reader := range map[string]int{"same gateway": 0, "another gateway": 1} {
		t.Run(name, func(t *testing.T) {
			r := newReplicas(t)
			r.up.polls.Store(-2)
			if got := r.ask(t, 0, http.MethodPost, "", askBackground, false); got != backgroundQueue {
				t.Errorf("got %s", got)
			}
			if got := r.summary(t, 1, false); got != "" {
				t.Errorf("recorded %s before the end", got)
			}
			for n, want := range []string{backgroundHalf, backgroundHalf, backgroundFinal, backgroundFinal, backgroundFinal} {
				if got := r.ask(t, reader, http.MethodGet, "/resp_1", "", false); got != want {
					t.Errorf("poll %d: got %s", n, got)
				}
			}
			r.ask(t, 1-reader, http.MethodGet, "/resp_1?include=x", "", false)
			if got := r.summary(t, 1, true); got != backgroundRecorded {
				t.Errorf("recorded %s", got)
			}
		})
	}
}

// TestBackgroundResumed is about a stream that its client leaves and resumes at another gateway.
func TestBackgroundResumed(t *testing.T) {
	t.Parallel()
	for _, coded := range []bool{false, true} {
		r := newReplicas(t)
		r.ask(t, 0, http.MethodPost, "", askBackgroundStream, true)
		if got := r.summary(t, 1, false); got != "" {
			t.Errorf("recorded %s before the end", got)
		}
		r.up.gzip.Store(coded)
		for n := range 2 {
			if got := r.ask(t, 1-n, http.MethodGet, "/resp_1?stream=true&starting_after=8", "", false); got != backgroundEnd {
				t.Errorf("got %s", got)
			}
			r.ask(t, n, http.MethodGet, "/resp_1", "", false)
		}
		if got := r.summary(t, 1, true); got != backgroundRecorded {
			t.Errorf("coded %t: recorded %s", coded, got)
		}
	}
}

// TestBackgroundStreamedWhole is about a stream that is read to its end and then polled.
func TestBackgroundStreamedWhole(t *testing.T) {
	t.Parallel()
	r := newReplicas(t)
	r.up.whole.Store(true)
	r.ask(t, 0, http.MethodPost, "", askBackgroundStream, false)
	for n := range 2 {
		r.ask(t, n, http.MethodGet, "/resp_1", "", false)
	}
	if got := r.summary(t, 1, true); !strings.HasPrefix(got, "usage 30/12 of resp_1; ") || strings.Count(got, "usage") != 1 || strings.Count(got, "call_") != 3 {
		t.Errorf("recorded %s", got)
	}
}

// TestBackgroundCancelled is about a response whose final state the answer to its cancellation shows.
func TestBackgroundCancelled(t *testing.T) {
	t.Parallel()
	r := newReplicas(t)
	r.up.final.Store(strings.Replace(backgroundFinal, `"completed"`, `"cancelled"`, 1))
	r.ask(t, 0, http.MethodPost, "", askBackground, false)
	r.ask(t, 1, http.MethodPost, "/resp_1/cancel", "", false)
	if got := r.summary(t, 1, true); got != backgroundRecorded {
		t.Errorf("recorded %s", got)
	}
}

// TestStoredResponse is about a response that was not begun in the background: reading it again records nothing.
func TestStoredResponse(t *testing.T) {
	t.Parallel()
	control := &testkit.ControlPlane{}
	up := newBackgroundUpstream(t)
	up.final.Store(strings.Replace(backgroundFinal, `"background":true`, `"background":false`, 1))
	g := testkit.NewGateway(t, up.URL, testkit.GatewayOptions{Control: control})
	askAs(t, g, testkit.Token, http.MethodGet, "/resp_1", "", false)
	shutDown(t, g)
	if records := control.Records(); len(records) != 0 {
		t.Errorf("recorded %v", records)
	}
}

func shutDown(t *testing.T, g *testkit.Gateway) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	if err := g.Server.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestBackgroundAtPlainHost is about a control plane that knows neither ids of records nor of background responses: one
// gateway still records each response once and with its interception, also after its providers were replaced. An
// upstream need not repeat that a response is one of the background.
func TestBackgroundAtPlainHost(t *testing.T) {
	t.Parallel()
	control := &testkit.ControlPlane{}
	up := newBackgroundUpstream(t)
	up.final.Store(strings.Replace(backgroundFinal, `"background":true,`, ``, 1))
	g := testkit.NewGateway(t, up.URL, testkit.GatewayOptions{Control: control})
	askAs(t, g, testkit.Token, http.MethodPost, "", askBackground, false)
	g.Pool.ReplaceProviders(testkit.Providers(t, up.URL, aibridge.Limits{}))
	for range 3 {
		askAs(t, g, testkit.Token, http.MethodGet, "/resp_1", "", false)
	}
	shutDown(t, g)
	var started string
	counts := map[string]int{}
	for _, record := range control.Records() {
		switch {
		case record.GetInterception() != nil:
			started = record.GetInterception().GetId()
		case record.GetTokenUsage() != nil:
			counts["usage of "+record.GetTokenUsage().GetInterceptionId()]++
		case record.GetToolUsage() != nil:
			counts["call of "+record.GetToolUsage().GetInterceptionId()]++
		}
	}
	if counts["usage of "+started] != 1 || counts["call of "+started] != 3 || len(counts) != 2 {
		t.Errorf("recorded %v for interception %s", counts, started)
	}
}
