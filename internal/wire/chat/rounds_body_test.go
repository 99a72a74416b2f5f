package chat

import (
	"testing"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// The log probabilities of all rounds stand one behind the other, as their texts do.
func TestLogprobsOfRounds(t *testing.T) {
	body, err := jsonedit.Parse([]byte(`{"model":"m","messages":[{"role":"user","content":"x"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	const call = `,"tool_calls":[{"id":"a","type":"function","function":{"name":"bmcp_x","arguments":"{}"}}]`
	answer := func(text, calls, logprobs, reason string) string {
		return `{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"` + text + `"` + calls + `}` + logprobs + `,"finish_reason":"` + reason + `"}]}`
	}
	of := func(token string) string {
		return `,"logprobs":{"content":[{"token":"` + token + `","logprob":-0.5}],"refusal":null}`
	}
	for name, test := range map[string]struct {
		first, last string
		want        []string
	}{
		"both": {of("hi"), of("bye"), []string{"hi", "bye"}}, "the first": {of("hi"), `,"logprobs":null`, []string{"hi"}},
		"the last": {`,"logprobs":null`, of("bye"), []string{"bye"}}, "none": {"", "", nil},
	} {
		j := newJoint(wire.Joined{Body: body, Request: &wire.Request{}, IsOurs: func(name string) bool { return name == "bmcp_x" }})
		j.Begin(wire.Body)
		j.Pass(nil, sse.Event{Data: []byte(answer("hi", call, test.first, "tool_calls"))})
		if turn := j.Turn(); len(turn.Calls) != 1 {
			t.Fatalf("%s: %+v", name, turn)
		}
		if _, err := j.Continue([]wire.Result{{}}); err != nil {
			t.Fatal(err)
		}
		j.Begin(wire.Body)
		j.Pass(nil, sse.Event{Data: []byte(answer("bye", "", test.last, "stop"))})
		j.Turn()
		got := gjson.ParseBytes(j.Finish(nil))
		tokens := got.Get("choices.0.logprobs.content.#.token").Array()
		for i, token := range tokens {
			if i >= len(test.want) || token.Str != test.want[i] {
				t.Errorf("%s: %s", name, got)
			}
		}
		if len(tokens) != len(test.want) || got.Get("choices.0.message.content").Str != "hibye" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// The usage of the rounds is told also if the last one tells none.
func TestUsageOfEarlierRounds(t *testing.T) {
	body, err := jsonedit.Parse([]byte(`{"model":"m","messages":[{"role":"user","content":"x"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	const usage = `,"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}`
	for name, test := range map[string]struct{ first, last, want string }{
		"both": {usage, usage, `{"prompt_tokens":6,"completion_tokens":4,"total_tokens":10}`}, "the first": {usage, "", `{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}`},
		"then null": {usage, `,"usage":null`, `{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}`}, "the last": {"", usage, `{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}`},
		"none": {"", "", ""}, "null": {"", `,"usage":null`, "null"},
	} {
		j := newJoint(wire.Joined{Body: body, Request: &wire.Request{}, IsOurs: func(name string) bool { return name == "bmcp_x" }})
		j.Begin(wire.Body)
		j.Pass(nil, sse.Event{Data: []byte(`{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"hi","tool_calls":[` +
			`{"id":"a","type":"function","function":{"name":"bmcp_x","arguments":"{}"}}]},"finish_reason":"tool_calls"}]` + test.first + `}`)})
		j.Turn()
		if _, err := j.Continue([]wire.Result{{}}); err != nil {
			t.Fatal(err)
		}
		j.Begin(wire.Body)
		j.Pass(nil, sse.Event{Data: []byte(`{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"bye"},"finish_reason":"stop"}]` + test.last + `}`)})
		j.Turn()
		got := string(j.Finish(nil))
		if !gjson.Valid(got) || gjson.Get(got, "usage").Raw != test.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}
