package aibridge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridge/mcp"
)

// tools is a ServerProxier whose calls are a function's.
type tools struct {
	names []string
	all   []mcp.Tool // Of names.
	call  func(ctx context.Context, name string, input json.RawMessage) (mcp.Result, error)
}

func (t *tools) Init(context.Context) error     { return nil }
func (t *tools) Shutdown(context.Context) error { return nil }
func (t *tools) Tools() []mcp.Tool {
	if slices.EqualFunc(t.all, t.names, func(tool mcp.Tool, name string) bool { return tool.ID == name }) {
		return t.all
	}
	t.all = make([]mcp.Tool, len(t.names))
	for i, name := range t.names {
		t.all[i] = mcp.Tool{
			ID: name, ServerID: "docs", ServerURL: "http://docs", Name: name, InputSchema: json.RawMessage(`{"type":"object"}`),
		}
	}
	return t.all
}

func (t *tools) Call(ctx context.Context, name string, input json.RawMessage) (mcp.Result, error) {
	return t.call(ctx, name, input)
}

func found(text string) mcp.Result { return mcp.Result{Parts: []mcp.Part{{Text: text}}} }

// answers is an upstream that gives one answer after the other, and the last one for ever.
type answers struct {
	all []string // A stream, a JSON body, or a status and a body.

	mu   sync.Mutex
	sent []string // Guarded by mu.
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	answer := a.all[min(len(a.sent), len(a.all)-1)]
	a.sent = append(a.sent, string(body))
	response := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/event-stream"}}}
	switch {
	case answer == "unreachable":
		return nil, errors.New("connection refused")
	case strings.HasPrefix(answer, "{"):
		response.Header.Set("Content-Type", "application/json")
	case strings.HasPrefix(answer, "529 "):
		response.StatusCode, answer = 529, strings.TrimPrefix(answer, "529 ")
		response.Header.Set("Content-Type", "application/json")
	}
	response.Body = io.NopCloser(strings.NewReader(answer))
	return response, nil
}

func (a *answers) requests() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.sent)
}

// kept is a Recorder that keeps all records.
type kept struct {
	mu      sync.Mutex
	records []aibridge.Record // Guarded by mu.
}

func (k *kept) Record(_ context.Context, records ...aibridge.Record) (aibridge.Commit, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.records = append(k.records, records...)
	return nil, nil
}

func recordsOf[R aibridge.Record](k *kept) (all []R) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, record := range k.records {
		if r, ok := record.(R); ok {
			all = append(all, r)
		}
	}
	return all
}

const (
	askStreamed = `{"model":"m","max_tokens":99,"stream":true,"messages":[{"role":"user","content":"hi"}]}`
	askBlocking = `{"model":"m","max_tokens":99,"messages":[{"role":"user","content":"hi"}]}`
)

// streamed returns an answer of Messages with these blocks: "text …", or "call NAME ID INPUT".
func streamed(id string, blocks ...string) string {
	var stream strings.Builder
	event := func(format string, values ...any) {
		data := fmt.Sprintf(format, values...)
		fmt.Fprintf(&stream, "event: %s\ndata: %s\n\n", gjson.Get(data, "type").Str, data)
	}
	event(`{"type":"message_start","message":{"id":%q,"usage":{"input_tokens":10,"output_tokens":1}}}`, id)
	stop := "end_turn"
	for i, block := range blocks {
		words := strings.SplitN(block, " ", 4)
		if words[0] == "call" {
			stop = "tool_use"
			event(`{"type":"content_block_start","index":%d,"content_block":{"type":"tool_use","id":%q,"name":%q,"input":{}}}`, i, words[2], words[1])
			event(`{"type":"content_block_delta","index":%d,"delta":{"type":"input_json_delta","partial_json":%q}}`, i, words[3])
		} else {
			event(`{"type":"content_block_start","index":%d,"content_block":{"type":"text","text":""}}`, i)
			event(`{"type":"content_block_delta","index":%d,"delta":{"type":"text_delta","text":%q}}`, i, strings.TrimPrefix(block, "text "))
		}
		event(`{"type":"content_block_stop","index":%d}`, i)
	}
	event(`{"type":"message_delta","delta":{"stop_reason":%q},"usage":{"output_tokens":5}}`, stop)
	event(`{"type":"message_stop"}`)
	return stream.String()
}

// wholly returns the same answer as a body.
func wholly(id string, blocks ...string) string {
	var content []string
	stop := "end_turn"
	for _, block := range blocks {
		if words := strings.SplitN(block, " ", 4); words[0] == "call" {
			stop = "tool_use"
			content = append(content, fmt.Sprintf(`{"type":"tool_use","id":%q,"name":%q,"input":%s}`, words[2], words[1], words[3]))
		} else {
			content = append(content, fmt.Sprintf(`{"type":"text","text":%q}`, strings.TrimPrefix(block, "text ")))
		}
	}
	return fmt.Sprintf(`{"id":%q,"type":"message","role":"assistant","content":[%s],"stop_reason":%q,"usage":{"input_tokens":10,"output_tokens":5}}`,
		id, strings.Join(content, ","), stop)
}

// askWith sends a request to a bridge with tools, and returns what the client gets and what is recorded.
func askWith(t *testing.T, upstream http.RoundTripper, options aibridge.BridgeOptions, body string) (*httptest.ResponseRecorder, *kept) {
	t.Helper()
	recorder := &kept{}
	w := httptest.NewRecorder()
	bridge := newBridge(t, upstream, recorder, options)
	bridge.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/p/v1/messages", strings.NewReader(body)))
	return w, recorder
}

// TestRounds has two rounds, streamed and not: each call is run once and recorded with its result, and each round's usage.
func TestRounds(t *testing.T) {
	for name, test := range map[string]struct{ body, first, last string }{
		"streamed": {askStreamed, streamed("msg_1", "text a", "call bmcp_docs_x t1 {}", "call bmcp_docs_x t2 {}"), streamed("msg_2", "text b")},
		"blocking": {askBlocking, wholly("msg_1", "text a", "call bmcp_docs_x t1 {}", "call bmcp_docs_x t2 {}"), wholly("msg_2", "text b")},
	} {
		t.Run(name, func(t *testing.T) {
			up := &answers{all: []string{test.first, test.last}}
			var calls sync.Map
			with := &tools{names: []string{"bmcp_docs_x"}, call: func(_ context.Context, name string, input json.RawMessage) (mcp.Result, error) {
				n, _ := calls.LoadOrStore(name, new(int))
				if _ = n; string(input) != "{}" {
					t.Errorf("input %s", input)
				}
				return found("result"), nil
			}}
			w, recorder := askWith(t, up, aibridge.BridgeOptions{Tools: with}, test.body)
			got := w.Body.String()
			if w.Code != http.StatusOK || strings.Contains(got, "bmcp_") || strings.Contains(got, "msg_2") || !strings.Contains(got, `"a"`) || !strings.Contains(got, `"b"`) || !strings.Contains(got, `"output_tokens":10`) {
				t.Errorf("%d: the client got\n%s", w.Code, got)
			}
			sent := up.requests()
			if len(sent) != 2 || gjson.Get(sent[1], "messages.#").Int() != 3 || gjson.Get(sent[1], "messages.2.content.#").Int() != 2 ||
				gjson.Get(sent[0], "tools.0.name").Str != "bmcp_docs_x" || gjson.Get(sent[1], "tools").Raw != gjson.Get(sent[0], "tools").Raw {
				t.Errorf("sent %q", sent)
			}
			uses := recordsOf[*aibridge.ToolUsage](recorder)
			if len(uses) != 2 || !uses[0].Injected || uses[0].ServerURL != "http://docs" || uses[0].InvocationError != "" || uses[0].ToolCallID != "t1" {
				t.Errorf("recorded %+v", uses)
			}
			if usages := recordsOf[*aibridge.TokenUsage](recorder); len(usages) != 2 || usages[0].MessageID != "msg_1" || usages[1].OutputTokens != 5 {
				t.Errorf("recorded %+v, %+v", *usages[0], *usages[1])
			}
			if ended := recordsOf[*aibridge.InterceptionEnd](recorder); len(ended) != 1 || ended[0].ErrorType != "" {
				t.Errorf("recorded %+v", ended)
			}
		})
	}
}

// TestFailingCalls has calls that give no result: the model reads why, and the answer goes on.
func TestFailingCalls(t *testing.T) {
	for name, test := range map[string]struct {
		call string
		run  func(context.Context) (mcp.Result, error)
		want string
	}{
		"an error": {"call bmcp_docs_x t {}", func(context.Context) (mcp.Result, error) { return mcp.Result{}, mcp.ErrSessionExpired }, "session expired"},
		"a panic":  {"call bmcp_docs_x t {}", func(context.Context) (mcp.Result, error) { panic("secret") }, "could not be called"},
		"the tool's own": {"call bmcp_docs_x t {}", func(context.Context) (mcp.Result, error) {
			return mcp.Result{IsError: true, Parts: found("bad").Parts}, nil
		}, "bad"},
		"no object":        {"call bmcp_docs_x t [1]", nil, "not a JSON object"},
		"half of an input": {`call bmcp_docs_x t {"a":`, nil, "not a JSON object"},
		"unknown":          {"call bmcp_docs_gone t {}", func(context.Context) (mcp.Result, error) { return mcp.Result{}, mcp.ErrUnknownTool }, "unknown tool"},
		"hangs": {"call bmcp_docs_x t {}", func(ctx context.Context) (mcp.Result, error) {
			<-ctx.Done()
			return mcp.Result{}, context.Cause(ctx)
		}, "did not answer within 1m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				up := &answers{all: []string{streamed("1", test.call), streamed("2", "text b")}}
				with := &tools{names: []string{"bmcp_docs_x"}, call: func(ctx context.Context, _ string, _ json.RawMessage) (mcp.Result, error) { return test.run(ctx) }}
				w, recorder := askWith(t, up, aibridge.BridgeOptions{Tools: with}, askStreamed)
				sent := up.requests()
				if len(sent) != 2 || !strings.Contains(gjson.Get(sent[1], "messages.2.content.0.content.0.text").Str, test.want) || !gjson.Get(sent[1], "messages.2.content.0.is_error").Bool() {
					t.Errorf("sent %q", sent[1:])
				}
				if uses := recordsOf[*aibridge.ToolUsage](recorder); len(uses) != 1 || !uses[0].Injected || !strings.Contains(uses[0].InvocationError, test.want) {
					t.Errorf("recorded %+v", uses)
				}
				if !strings.Contains(w.Body.String(), "message_stop") || strings.Contains(w.Body.String(), "secret") {
					t.Errorf("the client got %s", w.Body)
				}
			})
		})
	}
}

// TestLimitsOfTools has models and tools that do not come to an end: the answer ends with an error that says why.
func TestLimitsOfTools(t *testing.T) {
	for name, test := range map[string]struct {
		limits        aibridge.ToolLimits
		slow          time.Duration
		rounds, calls int
		want          string
	}{
		"rounds": {aibridge.ToolLimits{Rounds: 3}, 0, 4, 3, "3 rounds are the limit"}, // Nobody would read the last result.
		"total":  {aibridge.ToolLimits{Total: 100 * time.Second}, 40 * time.Second, 3, 3, "longer than 1m40s"},
	} {
		for _, body := range []string{askStreamed, askBlocking} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					answer := streamed("1", "call bmcp_docs_x t {}")
					if body == askBlocking {
						answer = wholly("1", "call bmcp_docs_x t {}")
					}
					up := &answers{all: []string{answer}}
					calls := 0
					with := &tools{names: []string{"bmcp_docs_x"}, call: func(ctx context.Context, _ string, _ json.RawMessage) (mcp.Result, error) {
						calls++ // They run one after the other.
						select {
						case <-time.After(test.slow):
							return found("x"), nil
						case <-ctx.Done():
							return mcp.Result{}, context.Cause(ctx)
						}
					}}
					w, recorder := askWith(t, up, aibridge.BridgeOptions{Tools: with, ToolLimits: test.limits}, body)
					if n := len(up.requests()); n != test.rounds || calls != test.calls {
						t.Errorf("%d requests and %d calls, want %d and %d", n, calls, test.rounds, test.calls)
					}
					if uses := recordsOf[*aibridge.ToolUsage](recorder); len(uses) != test.rounds || test.calls < test.rounds && !strings.Contains(uses[test.calls].InvocationError, "not called") {
						t.Errorf("recorded %+v", uses)
					}
					if !strings.Contains(w.Body.String(), test.want) || body == askBlocking && w.Code != http.StatusForbidden {
						t.Errorf("%d: the client got %s", w.Code, w.Body)
					}
					if ended := recordsOf[*aibridge.InterceptionEnd](recorder); len(ended) != 1 || ended[0].ErrorType != aibridge.ErrorUnknown || !strings.Contains(ended[0].ErrorMessage, test.want) {
						t.Errorf("recorded %+v", ended)
					}
				})
			})
		}
	}
}

// TestCallsSideBySide has 20 calls in one turn: as many run at a time as the limit allows.
func TestCallsSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var blocks []string
		for i := range 20 {
			blocks = append(blocks, fmt.Sprintf("call bmcp_docs_x t%d {\"n\":%d}", i, i))
		}
		up := &answers{all: []string{streamed("1", blocks...), streamed("2", "text b")}}
		var mu sync.Mutex
		var now, most int
		with := &tools{names: []string{"bmcp_docs_x"}, call: func(_ context.Context, _ string, input json.RawMessage) (mcp.Result, error) {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			now--
			mu.Unlock()
			return found(string(input)), nil
		}}
		began := time.Now()
		_, recorder := askWith(t, up, aibridge.BridgeOptions{Tools: with}, askStreamed)
		if took := time.Since(began); most != 8 || took != 3*time.Second {
			t.Errorf("%d at a time, in %s", most, took)
		}
		results := gjson.Get(up.requests()[1], "messages.2.content").Array()
		for i, result := range results {
			if result.Get("tool_use_id").Str != fmt.Sprintf("t%d", i) || result.Get("content.0.text").Str != fmt.Sprintf(`{"n":%d}`, i) {
				t.Errorf("result %d is %s", i, result.Raw)
			}
		}
		if len(results) != 20 || len(recordsOf[*aibridge.ToolUsage](recorder)) != 20 {
			t.Errorf("%d results", len(results))
		}
	})
}

// TestPings has a tool that runs for ten minutes: the client's stream is never silent for long.
func TestPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &answers{all: []string{streamed("1", "text a", "call bmcp_docs_x t {}"), streamed("2", "text b")}}
		with := &tools{names: []string{"bmcp_docs_x"}, call: func(context.Context, string, json.RawMessage) (mcp.Result, error) {
			time.Sleep(10*time.Minute + time.Second)
			return found("x"), nil
		}}
		w, _ := askWith(t, up, aibridge.BridgeOptions{Tools: with, ToolLimits: aibridge.ToolLimits{Call: time.Hour}}, askStreamed)
		if n := strings.Count(w.Body.String(), "event: ping\n"); n != 40 {
			t.Errorf("%d pings in\n%s", n, w.Body)
		}
		if !strings.Contains(w.Body.String(), "message_stop") {
			t.Error("the answer does not end")
		}
	})
}

// TestClientLeavesToolsRun has a client that leaves while a tool runs: the call ends, and nothing is asked again.
func TestClientLeavesWhileToolsRun(t *testing.T) {
	for _, body := range []string{askStreamed, askBlocking} {
		synctest.Test(t, func(t *testing.T) {
			first := streamed("1", "text a", "call bmcp_docs_x t {}")
			if body == askBlocking {
				first = wholly("1", "text a", "call bmcp_docs_x t {}")
			}
			up := &answers{all: []string{first}}
			ctx, leave := context.WithCancel(t.Context())
			with := &tools{names: []string{"bmcp_docs_x"}, call: func(ctx context.Context, _ string, _ json.RawMessage) (mcp.Result, error) {
				leave()
				<-ctx.Done()
				return mcp.Result{}, context.Cause(ctx)
			}}
			recorder := &kept{}
			bridge := newBridge(t, up, recorder, aibridge.BridgeOptions{Tools: with})
			func() {
				defer func() {
					if reason := recover(); reason != nil && reason != http.ErrAbortHandler {
						panic(reason)
					}
				}()
				bridge.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodPost, "/p/v1/messages", strings.NewReader(body)))
			}()
			if n := len(up.requests()); n != 1 {
				t.Errorf("%d requests", n)
			}
			if uses := recordsOf[*aibridge.ToolUsage](recorder); len(uses) != 1 || !uses[0].Injected {
				t.Errorf("recorded %+v", uses)
			}
			if ended := recordsOf[*aibridge.InterceptionEnd](recorder); len(ended) != 1 || ended[0].ErrorType != aibridge.ErrorClientClosed {
				t.Errorf("recorded %+v", ended[0])
			}
		})
	}
}

// TestLaterRoundFails has later rounds that go wrong: the answer ends with an error in its own form, and no call is run again.
func TestLaterRoundFails(t *testing.T) {
	const overloaded = `529 {"type":"error","error":{"type":"overloaded_error","message":"too much"}}`
	half := streamed("2", "text b")
	for name, test := range map[string]struct {
		body, first, second string
		status              int
		want                string
		kind                aibridge.ErrorType
	}{
		"refused, streamed":     {askStreamed, streamed("1", "call bmcp_docs_x t {}"), overloaded, 200, "event: error\ndata: {\"error\":{\"message\":\"too much\",\"type\":\"overloaded_error\"}", aibridge.ErrorOverloaded},
		"refused, blocking":     {askBlocking, wholly("1", "call bmcp_docs_x t {}"), overloaded, 529, strings.TrimPrefix(overloaded, "529 "), aibridge.ErrorOverloaded},
		"unreachable, streamed": {askStreamed, streamed("1", "call bmcp_docs_x t {}"), "unreachable", 200, "event: error", aibridge.ErrorTruncated},
		"unreachable, blocking": {askBlocking, wholly("1", "call bmcp_docs_x t {}"), "unreachable", 502, `"type":"error"`, aibridge.ErrorTruncated},
		"cut, streamed":         {askStreamed, streamed("1", "call bmcp_docs_x t {}"), half[:len(half)-60], 200, "event: error", aibridge.ErrorTruncated},
		"cut, blocking":         {askBlocking, wholly("1", "call bmcp_docs_x t {}"), wholly("2", "text b")[:60], 502, `"type":"error"`, aibridge.ErrorTruncated},
		"an error event":        {askStreamed, streamed("1", "call bmcp_docs_x t {}"), "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"late\"}}\n\n", 200, "late", aibridge.ErrorOverloaded},
	} {
		t.Run(name, func(t *testing.T) {
			up := &answers{all: []string{test.first, test.second}}
			calls := 0
			with := &tools{names: []string{"bmcp_docs_x"}, call: func(context.Context, string, json.RawMessage) (mcp.Result, error) {
				calls++
				return found("x"), nil
			}}
			w, recorder := askWith(t, up, aibridge.BridgeOptions{Tools: with}, test.body)
			if got := w.Body.String(); w.Code != test.status || !strings.Contains(got, test.want) || strings.Contains(got, "message_stop") || strings.Count(got, "event: error") > 1 {
				t.Errorf("%d: the client got\n%s", w.Code, got)
			}
			if ended := recordsOf[*aibridge.InterceptionEnd](recorder); len(ended) != 1 || ended[0].ErrorType != test.kind {
				t.Errorf("recorded %+v", ended[0])
			}
			if uses := recordsOf[*aibridge.ToolUsage](recorder); len(uses) != 1 || calls != 1 || len(up.requests()) != 2 {
				t.Errorf("%d calls, recorded %+v", calls, uses)
			}
		})
	}
}

// store is a TurnStore in memory.
type store struct {
	mu    sync.Mutex
	turns map[string][]byte // Guarded by mu.
	asked []string          // Guarded by mu.
	fails bool
	told  chan aibridge.KeptTurn // Gets what is kept, if it is not nil.
}

func (s *store) Keep(_ context.Context, turn aibridge.KeptTurn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails {
		return errors.New("away")
	}
	for _, key := range turn.Keys {
		s.turns[turn.InitiatorID+" "+key] = turn.Turn
	}
	if s.told != nil {
		s.told <- turn
	}
	return nil
}

func (s *store) Find(_ context.Context, initiator string, keys []string) (map[string][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails {
		return nil, errors.New("away")
	}
	found := map[string][]byte{}
	for _, key := range keys {
		s.asked = append(s.asked, key)
		if turn, ok := s.turns[initiator+" "+key]; ok {
			found[key] = turn
		}
	}
	return found, nil
}

// TestMixedTurns has a turn that calls a tool of ours and one of the client's. The client gets its call. When it comes back
// with the result, to the same gateway or to another one, ours is where it belongs; where nobody knows it, the
// conversation goes on without.
func TestMixedTurns(t *testing.T) {
	const theirs = `{"name":"theirs","input_schema":{"type":"object"}}`
	first := strings.Replace(askStreamed, `"messages"`, `"tools":[`+theirs+`],"messages"`, 1)
	later := strings.Replace(first, `"hi"}]`, `"hi"},{"role":"assistant","content":[{"type":"text","text":"a"},{"type":"tool_use","id":"b","name":"theirs","input":{"q":1}}]},`+
		`{"role":"user","content":[{"type":"tool_result","tool_use_id":"b","content":"mine"}]}]`, 1)
	answer := streamed("1", "text a", "call bmcp_docs_x t {}", `call theirs b {"q":1}`)
	with := &tools{names: []string{"bmcp_docs_x"}, call: func(context.Context, string, json.RawMessage) (mcp.Result, error) { return found("ours"), nil }}
	for name, test := range map[string]struct {
		shared *store
		other  bool // Another gateway serves the second request.
		want   bool
	}{
		"one gateway":             {nil, false, true},
		"one gateway and a store": {&store{turns: map[string][]byte{}}, false, true},
		"another gateway":         {&store{turns: map[string][]byte{}}, true, true},
		"nobody knows":            {nil, true, false},
		"the store is away":       {&store{fails: true}, true, false},
		"away, but known here":    {&store{fails: true}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			remembering := func() *aibridge.Conversations {
				if test.shared == nil {
					return aibridge.NewConversations(nil)
				}
				return aibridge.NewConversations(test.shared)
			}
			options := aibridge.BridgeOptions{Tools: with, Conversations: remembering()}
			up := &answers{all: []string{answer, streamed("2", "text done")}}
			w, recorder := askWith(t, up, options, first)
			got := w.Body.String()
			if strings.Contains(got, "bmcp_") || !strings.Contains(got, `"name":"theirs"`) || !strings.Contains(got, `"index":1,"content_block":{"type":"tool_use"`) || !strings.Contains(got, `"stop_reason":"tool_use"`) {
				t.Errorf("the client got\n%s", got)
			}
			if uses := recordsOf[*aibridge.ToolUsage](recorder); len(uses) != 2 || !uses[0].Injected || uses[1].Injected {
				t.Errorf("recorded %+v", uses)
			}
			if test.other {
				options.Conversations = remembering()
			}
			for range 2 {
				askWith(t, up, options, later)
			}
			sent := up.requests()
			results := gjson.Get(sent[1], "messages.2.content")
			if len(sent) != 3 || sent[1] != sent[2] || (results.Get("0.tool_use_id").Str == "t") != test.want || results.Get("#").Int() == 2 != test.want ||
				gjson.Get(sent[1], "messages.1.content.#(id==t)").Exists() != test.want || !json.Valid([]byte(sent[1])) {
				t.Errorf("sent %s", sent[1:])
			}
			if test.shared != nil && !test.other && len(test.shared.asked) > 0 {
				t.Errorf("the store was asked for %q, which this process knows", test.shared.asked)
			}
		})
	}
}

// TestConversationKeepsItsTools has tools that join and leave while a conversation lasts.
func TestConversationKeepsItsTools(t *testing.T) {
	with := &tools{names: []string{"bmcp_docs_a"}}
	options := aibridge.BridgeOptions{Tools: with, Conversations: aibridge.NewConversations(nil)}
	up := &answers{all: []string{streamed("1", "text a")}}
	goesOn := strings.Replace(askStreamed, `"hi"}]`, `"hi"},{"role":"assistant","content":"a"},{"role":"user","content":"more"}]`, 1)
	other := strings.Replace(askStreamed, `"hi"`, `"hello"`, 1)
	for _, step := range []struct {
		now  []string
		body string
		want string
	}{
		{[]string{"bmcp_docs_a"}, askStreamed, `["bmcp_docs_a"]`},
		{[]string{"bmcp_docs_a", "bmcp_docs_b"}, goesOn, `["bmcp_docs_a"]`},
		{[]string{"bmcp_docs_a", "bmcp_docs_b"}, other, `["bmcp_docs_a","bmcp_docs_b"]`},
		{[]string{"bmcp_docs_b"}, goesOn, `["bmcp_docs_a"]`},
		{nil, goesOn, `["bmcp_docs_a"]`},
		{[]string{"bmcp_docs_b"}, askStreamed, `["bmcp_docs_b"]`},
	} {
		with.names = step.now
		askWith(t, up, options, step.body)
		sent := up.requests()
		if got := gjson.Get(sent[len(sent)-1], "tools.#.name").Raw; got != step.want {
			t.Errorf("with %q: sent %s, want %s", step.now, got, step.want)
		}
	}
}

// TestOffer has requests of which some must not have tools of ours, or not all.
func TestOffer(t *testing.T) {
	var many []string
	for i := range 300 {
		many = append(many, fmt.Sprintf("bmcp_docs_%03d", i))
	}
	for name, test := range map[string]struct {
		names []string
		tools string
		want  []string
	}{
		"before the client's":   {[]string{"bmcp_docs_x"}, `"tools":[{"name":"a"}],`, []string{"bmcp_docs_x", "a"}},
		"the client's own name": {[]string{"bmcp_docs_x", "bmcp_docs_y"}, `"tools":[{"name":"bmcp_docs_x"}],`, []string{"bmcp_docs_y", "bmcp_docs_x"}},
		"too many":              {many, `"tools":[{"name":"a"}],`, append(slices.Clone(many[:127]), "a")},
		"none":                  {nil, `"tools":[{"name":"a"}],`, []string{"a"}},
		"no choice":             {[]string{"bmcp_docs_x"}, `"tool_choice":{"type":"any"},"tools":[{"name":"a"}],`, []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			up := &answers{all: []string{streamed("1", "text a")}}
			body := strings.Replace(askStreamed, `"messages"`, test.tools+`"messages"`, 1)
			w, _ := askWith(t, up, aibridge.BridgeOptions{Tools: &tools{names: test.names}}, body)
			var got []string
			for _, name := range gjson.Get(up.requests()[0], "tools.#.name").Array() {
				got = append(got, name.Str)
			}
			if !slices.Equal(got, test.want) || w.Body.String() != streamed("1", "text a") {
				t.Errorf("sent %q, the client got %s", got, w.Body)
			}
		})
	}
}

// TestFirstIDStandsForTheLast has a stored response of two rounds, of which the client knows the first id alone: as the
// previous response and in paths it stands for the last round's.
func TestFirstIDStandsForTheLast(t *testing.T) {
	response := func(id, output string) string {
		return fmt.Sprintf(`{"id":%q,"object":"response","status":"completed","store":true,"output":[%s],"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2}}`, id, output)
	}
	up := &answers{all: []string{
		response("resp_1", `{"type":"function_call","id":"fc_1","call_id":"c1","name":"bmcp_docs_x","arguments":"{}"}`),
		response("resp_2", `{"type":"message","id":"msg_2","role":"assistant","content":[{"type":"output_text","text":"b"}]}`),
		response("resp_3", ``),
	}}
	var paths []string
	asked := upstreamFunc(func(r *http.Request) (*http.Response, error) {
		paths = append(paths, r.Method+" "+r.URL.EscapedPath())
		if r.Body == nil {
			r.Body = http.NoBody
		}
		return up.RoundTrip(r)
	})
	provider, err := aibridge.NewOpenAIProvider("o", aibridge.ProviderOptions{Key: "key-0123456789", Transport: asked})
	if err != nil {
		t.Fatal(err)
	}
	providers, err := aibridge.NewProviderSet(provider)
	if err != nil {
		t.Fatal(err)
	}
	with := &tools{names: []string{"bmcp_docs_x"}, call: func(context.Context, string, json.RawMessage) (mcp.Result, error) { return found("x"), nil }}
	shared := &store{turns: map[string][]byte{}}
	send := func(method, path, body string) string {
		bridge := acting(aibridge.NewRequestBridge(providers, &kept{}, aibridge.BridgeOptions{Tools: with, Conversations: aibridge.NewConversations(shared)}))
		w := httptest.NewRecorder()
		bridge.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
		return w.Body.String()
	}
	if got := send(http.MethodPost, "/o/v1/responses", `{"model":"m","input":"hi"}`); gjson.Get(got, "id").Str != "resp_1" || strings.Contains(got, "bmcp_") {
		t.Errorf("the client got %s", got)
	}
	send(http.MethodPost, "/o/v1/responses", `{"model":"m","previous_response_id":"resp_1","input":"more"}`)
	send(http.MethodPost, "/o/v1/responses/compact", `{"model":"m","previous_response_id":"resp_1"}`)
	for _, path := range []string{"GET /o/v1/responses/resp_1", "GET /o/v1/responses/resp_1/input_items?limit=1", "POST /o/v1/responses/resp_1/cancel", "GET /o/v1/responses/resp_2"} {
		method, path, _ := strings.Cut(path, " ")
		send(method, path, "")
	}
	sent := up.requests()
	for _, n := range []int{2, 3} {
		if got := gjson.Get(sent[n], "previous_response_id").Str; got != "resp_2" {
			t.Errorf("request %d has the previous response %q", n, got)
		}
	}
	want := []string{
		"POST /v1/responses", "POST /v1/responses", "POST /v1/responses", "POST /v1/responses/compact",
		"GET /v1/responses/resp_2", "GET /v1/responses/resp_1/input_items", "POST /v1/responses/resp_2/cancel", "GET /v1/responses/resp_2",
	}
	if !slices.Equal(paths, want) {
		t.Errorf("asked %q, want %q", paths, want)
	}
}

// TestConversationOutlivesItsGateway asks another gateway about a stored conversation while a tool of the first one runs, as
// after its process was killed: the call gets a result that says so, and so the provider takes the request.
func TestConversationOutlivesItsGateway(t *testing.T) {
	calling := `{"id":"resp_1","object":"response","status":"completed","output":[{"type":"function_call","id":"fc_1","call_id":"c1","name":"bmcp_docs_x","arguments":"{}"}],"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2}}`
	done := `{"id":"resp_2","object":"response","status":"completed","output":[],"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2}}`
	for name, test := range map[string]struct{ ask, next, want, key string }{
		"a conversation": {
			`{"model":"m","conversation":"conv_1","input":"hi"}`, `{"model":"m","conversation":"conv_1","input":"more"}`, `"conversation":"conv_1","input":[{"type":"function_call_output","call_id":"c1"`, " conversation:conv_1",
		},
		"a previous response": {
			`{"model":"m","previous_response_id":"resp_0","input":"hi"}`, `{"model":"m","previous_response_id":"resp_1","input":"more"}`, `"previous_response_id":"resp_1","input":[{"type":"function_call_output","call_id":"c1"`, " response:resp_1",
		},
		"nothing stored": {`{"model":"m","conversation":"conv_1","store":false,"input":"hi"}`, `{"model":"m","conversation":"conv_1","input":"more"}`, `"conversation":"conv_1","input":"more"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			up, shared := &answers{all: []string{calling, done, done}}, &store{turns: map[string][]byte{}}
			provider, err := aibridge.NewOpenAIProvider("o", aibridge.ProviderOptions{Key: "key-0123456789", Transport: up})
			if err != nil {
				t.Fatal(err)
			}
			providers, err := aibridge.NewProviderSet(provider)
			if err != nil {
				t.Fatal(err)
			}
			with := &tools{names: []string{"bmcp_docs_x"}}
			send := func(body string) {
				bridge := acting(aibridge.NewRequestBridge(providers, &kept{}, aibridge.BridgeOptions{Tools: with, Conversations: aibridge.NewConversations(shared)}))
				bridge.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/o/v1/responses", strings.NewReader(body)))
			}
			with.call = func(context.Context, string, json.RawMessage) (mcp.Result, error) {
				isKept := func() bool {
					shared.mu.Lock()
					defer shared.mu.Unlock()
					for key := range shared.turns {
						if strings.HasSuffix(key, test.key) {
							return true
						}
					}
					return false
				}
				for deadline := time.Now().Add(5 * time.Second); name != "nothing stored" && !isKept() && time.Now().Before(deadline); {
					runtime.Gosched()
				}
				send(test.next)
				return found("x"), nil
			}
			send(test.ask)
			if sent := up.requests(); len(sent) != 3 || !strings.Contains(sent[1], test.want) {
				t.Errorf("sent %q", sent)
			}
		})
	}
}
