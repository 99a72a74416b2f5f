package chat_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
	"github.com/coder/aibridged/internal/wire/chat"
)

// TestResults has results of every kind: the messages are text only, and images follow in a message of the user's.
func TestResults(t *testing.T) {
	text := func(text string) wire.Part { return wire.Part{Text: text} }
	image := wire.Part{MediaType: "image/png", Data: []byte{1, 2}}
	for name, test := range map[string]struct {
		results []wire.Result
		want    string
	}{
		"text": {
			[]wire.Result{{Parts: []wire.Part{text("a\""), text("b")}}, {}},
			`{"role":"tool","tool_call_id":"o1","content":"a\"\nb"},{"role":"tool","tool_call_id":"o2","content":""}`,
		},
		"errors": {
			[]wire.Result{{Parts: []wire.Part{text("no such file")}, IsError: true}, {Parts: []wire.Part{text("error 7")}, IsError: true}},
			`{"role":"tool","tool_call_id":"o1","content":"Error: no such file"},{"role":"tool","tool_call_id":"o2","content":"error 7"}`,
		},
		"an empty error": {
			[]wire.Result{{IsError: true}, {}},
			`{"role":"tool","tool_call_id":"o1","content":"Error: "},{"role":"tool","tool_call_id":"o2","content":""}`,
		},
		"no result": {
			nil,
			`{"role":"tool","tool_call_id":"o1","content":""},{"role":"tool","tool_call_id":"o2","content":""}`,
		},
		"images": {
			[]wire.Result{{Parts: []wire.Part{text("see"), image, image}}, {Parts: []wire.Part{image}}},
			`{"role":"tool","tool_call_id":"o1","content":"see"},` +
				`{"role":"tool","tool_call_id":"o2","content":"The result is the images in the next message of the user."},` +
				`{"role":"user","content":[{"type":"text","text":"Images of the result of the call o1:"},` +
				`{"type":"image_url","image_url":{"url":"data:image/png;base64,AQI="}},{"type":"image_url","image_url":{"url":"data:image/png;base64,AQI="}},` +
				`{"type":"text","text":"Images of the result of the call o2:"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AQI="}}]}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := exchange{t: t, results: func(call wire.ToolCall) wire.Result {
				if n := int(call.ID[1] - '1'); n < len(test.results) {
					return test.results[n]
				}
				return wire.Result{}
			}}
			x.run(wire.Stream, chunks("c1", `{"tool_calls":[{"index":0,"id":"o1","function":{"name":"bmcp_a_x","arguments":"{"}},`+
				`{"index":1,"id":"o2","function":{"name":"bmcp_a_x","arguments":""}}]}`), chunks("c2", `{"content":"ok"}`, `"stop"`))
			_, results, _ := strings.Cut(x.next(), `]},`)
			same(t, "results", results, test.want)
			if calls := x.turns[0].Calls; calls[0].Input != "{" || calls[1].Input != "" {
				t.Errorf("the inputs are not as they came: %+v", calls)
			}
			answered(t, []byte(x.bodies[1]))
		})
	}
}

// TestRestoreImages puts images behind the client's results, too.
func TestRestoreImages(t *testing.T) {
	x := exchange{t: t, results: func(wire.ToolCall) wire.Result {
		return wire.Result{Parts: []wire.Part{{MediaType: "image/png", Data: []byte{1, 2}}}}
	}}
	x.run(wire.Stream, chunks("c1", `{"tool_calls":[{"index":0,"id":"call_0123456789abcdef1","function":{"name":"Read","arguments":"{}"}},`+
		`{"index":1,"id":"o1","function":{"name":"bmcp_a_x","arguments":"{}"}}]}`))
	got := restored(t, x.kept, `{"role":"assistant","tool_calls":[{"id":"call_0123456789abcdef1","function":{"name":"Read","arguments":"{}"}}]},`+
		`{"role":"tool","tool_call_id":"call_0123456789abcdef1","content":""},{"role":"user","content":"and?"}`)
	answered(t, []byte(`{"messages":[`+got+`]}`))
	if !strings.Contains(got, `{"role":"tool","tool_call_id":"call_0123456789abcdef1","content":""},{"role":"user","content":[`) {
		t.Errorf("the images are not behind the results: %s", got)
	}
}

// TestEvents has the events that the gateway makes. They never continue one of the upstream's.
func TestEvents(t *testing.T) {
	joint := join(t, isOurs, mayBeOurs)
	joint.Begin(wire.Stream)
	for event := range split([]byte("data: {\"id\":\"c\",\"choices\":[]}\n")) {
		same(t, "an event without an end", string(joint.Ping(joint.Pass(nil, event))), "data: {\"id\":\"c\",\"choices\":[]}\n\n\n: ping\n\n")
	}
	same(t, "a ping", string(joint.Ping(nil)), ": ping\n\n")
	failure := wire.Failure{Type: "server_error", Message: "a\n\"b\""}
	same(t, "an error", string(joint.Fail(nil, failure)),
		`data: {"error":{"message":"a\n\"b\"","type":"server_error","code":null}}`+"\n\n")
	same(t, "a second error", string(joint.Fail(nil, failure)), "")
	same(t, "an error of ours", string(join(t, isOurs, mayBeOurs).Fail(nil, wire.Failure{Message: "m"})),
		`data: {"error":{"message":"m","type":"server_error","code":null}}`+"\n\n")
	joint = join(t, isOurs, mayBeOurs)
	joint.Begin(wire.Stream)
	same(t, "an error with a code", string(joint.Fail(nil, wire.Failure{Type: "t", Code: "c"})),
		`data: {"error":{"message":"","type":"t","code":"c"}}`+"\n\n")
}

// TestUpstreamError has an upstream that ends a round of ours with an error: the client gets it, and no other.
func TestUpstreamError(t *testing.T) {
	for _, failing := range []string{
		`data: {"error":{"message":"overloaded","type":"server_error"}}`,
		`data: {"choices":[{"index":0,"finish_reason":"error","error":{"message":"m"}}]}`,
		"event: error\ndata: {\"message\":\"m\"}",
	} {
		joint := join(t, isOurs, mayBeOurs)
		joint.Begin(wire.Stream)
		var client []byte
		calling := `data: {"choices":[{"delta":{"tool_calls":[{"id":"o1","function":{"name":"bmcp_a_x","arguments":"{}"}}]}}]}` + "\n\n"
		for event := range split([]byte(calling), []byte(failing+"\n\n")) {
			client = joint.Pass(client, event)
		}
		client = joint.Fail(client, wire.Failure{Type: "server_error", Message: "overloaded"})
		same(t, "the stream", string(client), failing+"\n\n")
	}
}

// TestTurnTooLarge has no memory for a turn: it is not continued, and a body that cannot be held is not lost, nor shows ours.
func TestTurnTooLarge(t *testing.T) {
	share := memory.New(1).Share()
	format := chat.Format()
	body := parse(t, plainRequest)
	long := strings.Repeat("x", 100<<10)
	message := `{"role":"assistant","content":"` + long + `","tool_calls":[{"index":0,"id":"o1","function":{"name":"bmcp_a_x","arguments":"{}"}}]}`
	joint := format.Tooling.Join(wire.Joined{Body: body, Request: &wire.Request{}, IsOurs: isOurs, Memory: share})
	joint.Begin(wire.Stream)
	for event := range split([]byte(chunks("c1", message))) {
		joint.Pass(nil, event)
	}
	if turn := joint.Turn(); len(turn.Calls) != 1 {
		t.Errorf("it wants %+v", turn)
	}
	if _, err := joint.Continue(make([]wire.Result, 1)); !errors.Is(err, wire.ErrTurnTooLarge) {
		t.Errorf("got %v", err)
	}
	joint = format.Tooling.Join(wire.Joined{Body: body, Request: &wire.Request{}, IsOurs: isOurs, Memory: share})
	joint.Begin(wire.Body)
	client := joint.Pass(nil, sse.Event{Data: []byte(`{"choices":[{"message":` + message + `}]}`)})
	if turn := joint.Turn(); len(turn.Calls) != 0 {
		t.Errorf("a body that the client has wants %+v", turn)
	}
	same(t, "the body", string(joint.Finish(client)), `{"choices":[{"message":{"role":"assistant","content":"`+long+`"}}]}`)
}

// TestErrorBesideOurs has an error in a chunk with a call of ours: the client gets the error without the call.
func TestErrorBesideOurs(t *testing.T) {
	joint := join(t, isOurs, mayBeOurs)
	joint.Begin(wire.Stream)
	var client []byte
	for event := range split([]byte(`data: {"choices":[{"delta":{"tool_calls":[{"id":"o1","function":{"name":"bmcp_a_x","arguments":"{}"}}]},` +
		`"error":{"message":"m"}}]}` + "\n\n")) {
		client = joint.Pass(client, event)
	}
	same(t, "the stream", string(joint.Fail(client, wire.Failure{Type: "t"})), `data: {"choices":[{"delta":{},"error":{"message":"m"}}]}`+"\n\n")
}

// TestLargeEvent has an event too large to be read, in a later round whose predecessor lacks its last blank line: its pieces
// stay together.
func TestLargeEvent(t *testing.T) {
	joint := join(t, isOurs, mayBeOurs)
	joint.Begin(wire.Stream)
	var client []byte
	for event := range split([]byte(`data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"bmcp_a_x","arguments":"{}"}}]}}]}` + "\n\n: hi")) {
		client = joint.Pass(client, event)
	}
	joint.Turn()
	if _, err := joint.Continue(make([]wire.Result, 1)); err != nil {
		t.Fatal(err)
	}
	joint.Begin(wire.Stream)
	for _, piece := range []string{"data: a", "b", "c\n\n"} {
		client = joint.Pass(client, sse.Event{Raw: []byte(piece), Opaque: true})
	}
	same(t, "the stream", string(client), ": hi\n\ndata: abc\n\n")
}

// TestFinishReasons has turns that end for every reason: none is run that may be cut.
func TestFinishReasons(t *testing.T) {
	for reason, runs := range map[string]bool{
		`"tool_calls"`: true, `"stop"`: true, `null`: true, `"function_call"`: true, `"length"`: false, `"content_filter"`: false,
	} {
		message := `{"tool_calls":[{"index":0,"id":"o1","function":{"name":"bmcp_a_x","arguments":"{}"}}]}`
		for form, answer := range map[wire.Form]string{
			wire.Body:   `{"choices":[{"message":` + message + `,"finish_reason":` + reason + `}]}`,
			wire.Stream: chunks("c", message, "\""+strings.Trim(reason, `"`)+"\""),
		} {
			x := exchange{t: t}
			if form == wire.Stream && reason == `null` {
				answer = chunks("c", message)
			}
			if x.run(form, answer); len(x.turns[0].Calls) > 0 != runs {
				t.Errorf("%s in form %d: it wants %+v", reason, form, x.turns[0])
			}
			if strings.Contains(string(x.client), "bmcp_a_x") {
				t.Errorf("%s in form %d: the client gets %s", reason, form, x.client)
			}
		}
	}
}

// TestErrorBehindTheEnd has an error behind the finish reason of a turn with a call of ours: the client gets both in order.
func TestErrorBehindTheEnd(t *testing.T) {
	joint := join(t, isOurs, mayBeOurs)
	joint.Begin(wire.Stream)
	var client []byte
	finish, failing := `data: {"choices":[{"delta":{},"finish_reason":"tool_calls"}]}`+"\n\n", `data: {"error":{"message":"m"}}`+"\n\n"
	for event := range split([]byte(`data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"bmcp_a_x","arguments":"{}"}}]}}]}` + "\n\n" +
		finish + failing)) {
		client = joint.Pass(client, event)
	}
	same(t, "the stream", string(joint.Finish(client)), finish+failing)
}

// TestLaterError has a later round that ends with an error: its chunk has the id of the first one.
func TestLaterError(t *testing.T) {
	first := chunks("c1", `{"tool_calls":[{"index":0,"id":"o1","function":{"name":"bmcp_a_x","arguments":"{}"}}]}`, `"tool_calls"`)
	for failing, want := range map[string]string{
		`{"id":"c2","created":7,"choices":[{"index":0,"delta":{},"finish_reason":"error"}]}`:                                    `{"id":"c1","created":2,"choices":[{"index":0,"delta":{},"finish_reason":"error"}]}`,
		`{"id":"c2","choices":[{"index":0,"delta":{"content":""},"error":{"message":"m"},"finish_reason":"error"}],"usage":{}}`: `{"id":"c1","choices":[{"index":0,"delta":{"content":""},"error":{"message":"m"},"finish_reason":"error"}],"usage":{}}`,
		`{"error":{"message":"m"},"id":"c2"}`: `{"error":{"message":"m"},"id":"c1"}`,
		`{ "error": {"message":"m"} }`:        `{ "error": {"message":"m"} }`,
	} {
		x := exchange{t: t}
		x.run(wire.Stream, first, "data: "+failing+"\n\n")
		_, got, _ := strings.Cut(string(x.client), "data: ")
		same(t, failing, strings.TrimSpace(got), want)
	}
}

// TestUsageOfEarlierRounds has a last round that tells no usage: a client that asks for it gets that of the rounds before, once.
func TestUsageOfEarlierRounds(t *testing.T) {
	ours := `{"tool_calls":[{"index":0,"id":"o1","function":{"name":"bmcp_a_x","arguments":"{}"}}]}`
	mixed := `{"tool_calls":[{"index":0,"id":"o2","function":{"name":"bmcp_a_x","arguments":"{}"}},{"index":1,"id":"t","function":{"name":"Read","arguments":"{}"}}]}`
	first := chunks("c1", ours, `"tool_calls"`, `-{"total_tokens":3}`)
	const told = `data: {"object":"chat.completion.chunk","choices":[],"id":"c1","created":2,"usage":{"total_tokens":3}}` + "\n\n"
	for name, test := range map[string]struct {
		request string
		rounds  []string
		want    bool
	}{
		"asked":        {"", []string{first, chunks("c2", `{"content":"a"}`, `"stop"`)}, true},
		"mixed":        {"", []string{first, chunks("c2", mixed, `"tool_calls"`)}, true},
		"three rounds": {"", []string{first, chunks("c2", ours, `"tool_calls"`), chunks("c3", `{"content":"a"}`, `"stop"`)}, true},
		"told":         {"", []string{first, chunks("c2", `{"content":"a"}`, `"stop"`, `-{"total_tokens":4}`)}, false},
		"never told":   {"", []string{chunks("c1", ours, `"tool_calls"`), chunks("c2", `{"content":"a"}`, `"stop"`)}, false},
		"not asked":    {`{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}`, []string{first, chunks("c2", `{"content":"a"}`, `"stop"`)}, false},
		"asked otherwise": {
			`{"model":"m","stream":true,"usage":{"include":true},"messages":[{"role":"user","content":"hi"}]}`,
			[]string{first, chunks("c2", `{"content":"a"}`, `"stop"`)}, true,
		},
	} {
		x := exchange{t: t, request: test.request}
		x.run(wire.Stream, test.rounds...)
		if got := strings.HasSuffix(string(x.client), told+"data: [DONE]\n\n"); got != test.want || strings.Count(string(x.client), told) > 1 {
			t.Errorf("%s: the client gets\n%s", name, x.client)
		}
	}
}
