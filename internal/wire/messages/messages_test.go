package messages_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
	"github.com/coder/aibridged/internal/wire/messages"
	"github.com/coder/aibridged/internal/wire/wiretest"
)

func suite() wiretest.Suite {
	return wiretest.Suite{
		Format:       messages.Format(),
		Exchanges:    os.DirFS("testdata"),
		Conversation: `"messages":[]`,
		Call: func(i int, input string) string {
			return fmt.Sprintf(`{"type":"content_block_start","index":%d,`+
				`"content_block":{"type":"tool_use","id":"toolu_%d","name":"T","input":%s}}`, i, i, input)
		},
	}
}

func TestFormat(t *testing.T)    { wiretest.Run(t, suite()) }
func FuzzTrack(f *testing.F)     { wiretest.FuzzTrack(f, suite()) }
func FuzzInspect(f *testing.F)   { wiretest.FuzzInspect(f, suite()) }
func BenchmarkText(b *testing.B) { wiretest.BenchmarkObserve(b, messages.Format(), textDelta()) }
func BenchmarkInput(b *testing.B) {
	wiretest.BenchmarkObserve(b, messages.Format(), inputDelta(), callStart())
}

func textDelta() sse.Event {
	return sse.Event{
		Type: []byte("content_block_delta"),
		Data: []byte(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"some more of the text"}}`),
	}
}

func callStart() sse.Event {
	return sse.Event{Data: []byte(`{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"a","name":"A"}}`)}
}

func inputDelta() sse.Event {
	return sse.Event{
		Type: []byte("content_block_delta"),
		Data: []byte(`{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"\"a\": "}}`),
	}
}

func TestInspect(t *testing.T) {
	wiretest.Requests(t, messages.Format(), []wiretest.RequestCase{
		{Name: "thread without messages", Body: `{"thread":{"id":"t"}}`},
		{Name: "thread and messages of null", Body: `{"model":"m","thread":"t","messages":null}`, Want: wire.Request{Model: "m"}},
		{Name: "thread of null", Body: `{"model":"m","thread":null}`, Refused: true},
		{Name: "thread and an object for messages", Body: `{"thread":"t","messages":{}}`, Refused: true},
		{Name: "messages and no model", Body: `{"messages":[]}`, Refused: true},
		{Name: "no messages", Body: `{"model":"m"}`, Refused: true},
		{Name: "messages null", Body: `{"model":"m","messages":null}`, Refused: true},
		{Name: "messages an object", Body: `{"model":"m","messages":{}}`, Refused: true},
		{Name: "messages a string", Body: `{"model":"m","messages":"[]"}`, Refused: true},
		{
			Name: "no message",
			Body: `{"model":"m","messages":[]}`,
			Want: wire.Request{Model: "m"},
		},
		{
			Name: "string",
			Body: `{"model":"m","messages":[{"role":"user","content":"hi \u00fc"}]}`,
			Want: wire.Request{Model: "m", Prompt: []string{"hi ü"}, PromptIsString: true, Opening: "hi ü"},
		},
		{
			Name: "parts",
			Body: `{"model":"m","messages":[{"role":"assistant","content":"no"},{"role":"user","content":[
				{"type":"text","text":"<system-reminder>x</system-reminder>"},{"type":"image","source":{}},
				{"type":"text","text":"typed"},{"type":"text","text":""},{"type":"text","text":7}]}]}`,
			Want: wire.Request{
				Model: "m", Prompt: []string{"<system-reminder>x</system-reminder>", "typed", ""},
				Opening: "<system-reminder>x</system-reminder>",
			},
		},
		{
			Name: "system message at the end",
			Body: `{"model":"m","messages":[{"role":"user","content":"typed"},{"role":"system","content":"# Environment"},
				{"role":"developer","content":"more"}]}`,
			Want: wire.Request{Model: "m", Prompt: []string{"typed"}, PromptIsString: true, Opening: "typed"},
		},
		{
			Name: "only system messages",
			Body: `{"model":"m","messages":[{"role":"system","content":"# Environment"}]}`,
			Want: wire.Request{Model: "m"},
		},
		{
			Name: "no text",
			Body: `{"model":"m","messages":[{"role":"user","content":[{"type":"image","source":{}}]}]}`,
			Want: wire.Request{Model: "m", Prompt: []string{}},
		},
		{
			Name: "content of no known type",
			Body: `{"model":"m","messages":[{"role":"user","content":{"type":"text","text":"no"}}]}`,
			Want: wire.Request{Model: "m", Prompt: []string{}},
		},
		{
			Name: "last is the assistant's",
			Body: `{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"{"}]}`,
			Want: wire.Request{Model: "m", Opening: "hi"},
		},
		{
			Name: "no objects",
			Body: `{"model":"m","messages":["user",[1],null]}`,
			Want: wire.Request{Model: "m"},
		},
		{
			Name: "tool results",
			Body: `{"model":"m","messages":[
				{"role":"assistant","content":[{"type":"tool_use","id":"a"},{"type":"tool_use","id":"b"}]},
				{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"result"}]},
				{"type":"tool_result","tool_use_id":"b","content":"result"}]},{"role":"system","content":"later"}]}`,
			Want: wire.Request{Model: "m", Prompt: []string{}, BesideToolResults: true, ToolResultID: "b"},
		},
		{
			Name: "text beside tool results",
			Body: `{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"Tool loaded."},
				{"type":"tool_result","tool_use_id":"a"},{"type":"text","text":"stop"}]}]}`,
			Want: wire.Request{
				Model: "m", Prompt: []string{"Tool loaded.", "stop"}, Opening: "Tool loaded.", BesideToolResults: true, ToolResultID: "a",
			},
		},
		{
			Name: "earlier tool results",
			Body: `{"model":"m","messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"a"}]},
				{"role":"assistant","content":"done"},{"role":"user","content":"thanks"}]}`,
			Want: wire.Request{Model: "m", Prompt: []string{"thanks"}, PromptIsString: true},
		},
		{
			Name: "tool result that is not the user's",
			Body: `{"model":"m","messages":[{"role":"tool","content":[{"type":"tool_result","tool_use_id":"a"}]}]}`,
			Want: wire.Request{Model: "m", ToolResultID: "a"},
		},
		{
			Name: "system string",
			Body: `{"model":"m","system":"You are Qwen Code","messages":[]}`,
			Want: wire.Request{Model: "m", System: "You are Qwen Code"},
		},
		{
			Name: "system blocks",
			Body: `{"model":"m","system":[{"type":"other"},{"type":"text","text":"first"},{"type":"text","text":"second"}],
				"messages":[]}`,
			Want: wire.Request{Model: "m", System: "first"},
		},
		{
			Name: "system cut at a character",
			Body: `{"model":"m","system":"x` + strings.Repeat("ü", 200) + `","messages":[]}`,
			Want: wire.Request{Model: "m", System: "x" + strings.Repeat("ü", 127)},
		},
		{
			Name: "system null",
			Body: `{"model":"m","system":null,"messages":[]}`,
			Want: wire.Request{Model: "m"},
		},
	})
}
