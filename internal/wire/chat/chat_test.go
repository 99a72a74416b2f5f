package chat_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
	"github.com/coder/aibridged/internal/wire/chat"
	"github.com/coder/aibridged/internal/wire/wiretest"
)

func suite() wiretest.Suite {
	return wiretest.Suite{
		Format:       chat.Format(),
		Exchanges:    os.DirFS("testdata"),
		Conversation: `"messages":[]`,
		Call: func(i int, input string) string {
			return fmt.Sprintf(`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":%d,"id":"call_%d",`+
				`"function":{"name":"T","arguments":%s}}]}}]}`, i, i, strconv.Quote(input))
		},
	}
}

func TestFormat(t *testing.T)     { wiretest.Run(t, suite()) }
func FuzzTrack(f *testing.F)      { wiretest.FuzzTrack(f, suite()) }
func FuzzInspect(f *testing.F)    { wiretest.FuzzInspect(f, suite()) }
func BenchmarkText(b *testing.B)  { wiretest.BenchmarkObserve(b, chat.Format(), textDelta()) }
func BenchmarkUsage(b *testing.B) { wiretest.BenchmarkObserve(b, chat.Format(), runningUsage()) }

func textDelta() sse.Event {
	return sse.Event{Data: []byte(`{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1763000000,` +
		`"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_1","choices":[{"index":0,` +
		`"delta":{"content":" more"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"abc"}`)}
}

func runningUsage() sse.Event {
	return sse.Event{Data: []byte(`{"id":"c3","model":"m","choices":[{"index":0,"delta":{"content":"a"}}],` +
		`"usage":{"prompt_tokens":10,"completion_tokens":1,"total_tokens":11}}`)}
}

// BenchmarkWithhold measures the cost of Withhold per chunk, for a stream with a chunk to be withheld.
func BenchmarkWithhold(b *testing.B) {
	body, err := jsonedit.Parse([]byte(`{"model":"m","stream":true,"messages":[]}`))
	if err != nil {
		b.Fatal(err)
	}
	request, err := chat.Format().Inspect(body)
	if err != nil {
		b.Fatal(err)
	}
	event := textDelta()
	b.ReportAllocs()
	for b.Loop() {
		if request.Withhold(event) {
			b.Fatal("text was withheld")
		}
	}
}

func TestInspect(t *testing.T) {
	wiretest.Requests(t, chat.Format(), []wiretest.RequestCase{
		{
			Name: "text in the place of messages", Body: `{"models":["a"],"prompt":"hi"}`,
			Want: wire.Request{Prompt: []string{"hi"}, PromptIsString: true, Opening: "hi"},
		},
		{Name: "prompt of null", Body: `{"model":"m","prompt":null}`, Refused: true},
		{Name: "prompt and an object for messages", Body: `{"model":"m","prompt":"hi","messages":{}}`, Refused: true},
		{Name: "messages and no model", Body: `{"messages":[],"prompt":"hi"}`, Refused: true},
		{Name: "no messages", Body: `{"model":"m"}`, Refused: true},
		{Name: "messages null", Body: `{"model":"m","messages":null}`, Refused: true},
		{Name: "messages an object", Body: `{"model":"m","messages":{}}`, Refused: true},
		{
			Name: "string",
			Body: `{"model":"m","messages":[{"role":"system","content":"You are Cline"},{"role":"user","content":"hi"}]}`,
			Want: wire.Request{Model: "m", System: "You are Cline", Prompt: []string{"hi"}, PromptIsString: true, Opening: "hi"},
		},
		{
			Name: "parts",
			Body: `{"model":"m","messages":[
				{"role":"developer","content":[{"type":"text","text":"Be"},{"type":"text","text":"brief"}]},
				{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url"},{"type":"text","text":"b"}]}]}`,
			Want: wire.Request{Model: "m", System: "Be", Prompt: []string{"a", "b"}, Opening: "a"},
		},
		{
			Name: "system message at the end",
			Body: `{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"system","content":"late"}]}`,
			Want: wire.Request{Model: "m", Prompt: []string{"hi"}, PromptIsString: true, Opening: "hi"},
		},
		{
			Name: "tool results",
			Body: `{"model":"m","messages":[{"role":"user","content":"hi"},
				{"role":"assistant","tool_calls":[{"id":"a"},{"id":"b"}]},
				{"role":"tool","tool_call_id":"a","content":"x"},{"role":"tool","tool_call_id":"b","content":"y"}]}`,
			Want: wire.Request{Model: "m", ToolResultID: "b", Opening: "hi"},
		},
		{
			Name: "earlier tool result",
			Body: `{"model":"m","messages":[{"role":"tool","tool_call_id":"a","content":"x"},{"role":"user","content":"hi"}]}`,
			Want: wire.Request{Model: "m", Prompt: []string{"hi"}, PromptIsString: true, Opening: "hi"},
		},
		{
			Name: "last is the assistant's",
			Body: `{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"x"}]}`,
			Want: wire.Request{Model: "m", Opening: "hi"},
		},
		{
			Name: "no content",
			Body: `{"model":"m","messages":[{"role":"user"}]}`,
			Want: wire.Request{Model: "m", Prompt: []string{}},
		},
		{
			Name: "system cut at a character",
			Body: `{"model":"m","messages":[{"role":"system","content":"` + strings.Repeat("🌍", 65) + `"}]}`,
			Want: wire.Request{Model: "m", System: strings.Repeat("🌍", 64)},
		},
		{
			Name: "streamed",
			Body: `{"model":"m","stream":true,"messages":[]}`,
			Want: wire.Request{Model: "m", Stream: true},
		},
	})
}

// BenchmarkPassText measures the cost of passing a chunk with nothing but text, in the first round and in a later one.
func BenchmarkPassText(b *testing.B) {
	for name, rounds := range map[string]int{"first": 1, "later": 2} {
		b.Run(name, func(b *testing.B) {
			joint := join(b, isOurs, mayBeOurs)
			for range rounds - 1 {
				joint.Begin(wire.Stream)
				calling := chunks("c1", `{"tool_calls":[{"index":0,"id":"o1","function":{"name":"bmcp_a_x","arguments":"{}"}}]}`)
				for event := range split([]byte(calling)) {
					joint.Pass(nil, event)
				}
				joint.Turn()
				if _, err := joint.Continue(make([]wire.Result, 1)); err != nil {
					b.Fatal(err)
				}
			}
			joint.Begin(wire.Stream)
			event := textDelta()
			event.Raw = []byte("data: " + string(event.Data) + "\n\n")
			ready := joint.Pass(nil, event)
			b.SetBytes(int64(len(event.Data)))
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				ready = joint.Pass(ready[:0], event)
				if n++; n == 1000 { // As an answer has.
					b.StopTimer()
					joint.Begin(wire.Stream)
					ready = joint.Pass(ready[:0], event)
					n = 0
					b.StartTimer()
				}
			}
		})
	}
}

// BenchmarkPassCall measures the cost of passing a piece of a call of the client's.
func BenchmarkPassCall(b *testing.B) {
	event := func(delta string) sse.Event {
		data := `{"id":"c1","object":"chat.completion.chunk","created":1763000000,"model":"m","choices":[{"index":0,"delta":` + delta +
			`,"finish_reason":null}]}`
		return sse.Event{Raw: []byte("data: " + data + "\n\n"), Data: []byte(data)}
	}
	first := event(`{"tool_calls":[{"index":0,"id":"t1","function":{"name":"Write","arguments":"{\"text\":\""}}]}`)
	piece := event(`{"tool_calls":[{"index":0,"function":{"arguments":"some"}}]}`)
	b.ReportAllocs()
	var joint wire.Joint
	var ready []byte
	for n := 0; b.Loop(); n++ {
		if n%1000 == 0 { // As an answer has.
			joint = join(b, isOurs, mayBeOurs)
			joint.Begin(wire.Stream)
			ready = joint.Pass(ready[:0], first)
		}
		ready = joint.Pass(ready[:0], piece)
	}
}
