package responses_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
	"github.com/coder/aibridged/internal/wire/responses"
	"github.com/coder/aibridged/internal/wire/wiretest"
)

func suite() wiretest.Suite {
	return wiretest.Suite{
		Format:       responses.Format(),
		Exchanges:    os.DirFS("testdata"),
		Conversation: `"input":[]`,
		Call: func(i int, input string) string {
			return fmt.Sprintf(`{"type":"response.output_item.done","output_index":%d,"item":{"type":"function_call",`+
				`"id":"fc_%d","call_id":"call_%d","name":"T","arguments":%s}}`, i, i, i, strconv.Quote(input))
		},
	}
}

func TestFormat(t *testing.T)    { wiretest.Run(t, suite()) }
func FuzzTrack(f *testing.F)     { wiretest.FuzzTrack(f, suite()) }
func FuzzInspect(f *testing.F)   { wiretest.FuzzInspect(f, suite()) }
func BenchmarkText(b *testing.B) { wiretest.BenchmarkObserve(b, responses.Format(), textDelta()) }
func BenchmarkArguments(b *testing.B) {
	wiretest.BenchmarkObserve(b, responses.Format(), argumentsDelta(), callAdded())
}
func BenchmarkCompleted(b *testing.B) { wiretest.BenchmarkObserve(b, responses.Format(), completed()) }

func textDelta() sse.Event {
	return sse.Event{
		Type: []byte("response.output_text.delta"),
		Data: []byte(`{"type":"response.output_text.delta","sequence_number":42,"item_id":"msg_0123456789abcdef",` +
			`"output_index":0,"content_index":0,"delta":" more","logprobs":[],"obfuscation":"0123456789a"}`),
	}
}

func callAdded() sse.Event {
	return sse.Event{Data: []byte(`{"type":"response.output_item.added","output_index":1,"item":{"id":"fc_0123456789abcdef",` +
		`"type":"function_call","call_id":"a","name":"A"}}`)}
}

func argumentsDelta() sse.Event {
	return sse.Event{
		Type: []byte("response.function_call_arguments.delta"),
		Data: []byte(`{"type":"response.function_call_arguments.delta","sequence_number":42,` +
			`"item_id":"fc_0123456789abcdef","output_index":0,"delta":"\"a\"","obfuscation":"0123456789a"}`),
	}
}

// completed is an event as large as those that Codex gets: the answer repeats the instructions.
func completed() sse.Event {
	return sse.Event{Data: []byte(`{"type":"response.completed","response":{"id":"resp_1","instructions":"` +
		strings.Repeat("You are a coding agent. ", 4000) + `","output":[{"type":"function_call","id":"fc_1",` +
		`"call_id":"call_1","name":"T","arguments":"{}"}],"usage":{"input_tokens":1,"output_tokens":1}}}`)}
}

func TestInspect(t *testing.T) {
	wiretest.Requests(t, responses.Format(), []wiretest.RequestCase{
		{Name: "no model and nothing that has one", Body: `{"input":"hi"}`, Refused: true},
		{Name: "prompt null", Body: `{"prompt":null,"input":"hi"}`, Refused: true},
		{Name: "prompt beside an empty model", Body: `{"model":"","prompt":{"id":"p"}}`, Refused: true},
		{Name: "prompt beside a model that is no string", Body: `{"model":7,"prompt":{"id":"p"}}`, Refused: true},
		{Name: "saved prompt", Body: `{"prompt":{"id":"p"},"stream":true}`, Want: wire.Request{Stream: true}},
		{Name: "saved prompt beside a model of null", Body: `{"prompt":{"id":"p"},"model":null}`},
		{Name: "saved prompt and model", Body: `{"prompt":{"id":"p"},"model":"m"}`, Want: wire.Request{Model: "m"}},
		{Name: "conversation without a model", Body: `{"conversation":"conv_1"}`},
		{Name: "earlier response without a model", Body: `{"previous_response_id":"resp_1"}`},
		{Name: "agent without a model", Body: `{"agent":{"type":"agent_reference","name":"a"}}`},
		{Name: "list of models", Body: `{"models":["a","b"]}`},
		{Name: "input a number", Body: `{"model":"m","input":7}`, Refused: true},
		{Name: "input an object", Body: `{"model":"m","input":{}}`, Refused: true},
		{Name: "input a boolean", Body: `{"model":"m","input":true}`, Refused: true},
		{
			Name: "no input",
			Body: `{"model":"m","previous_response_id":"resp_1"}`,
			Want: wire.Request{Model: "m"},
		},
		{
			Name: "input null",
			Body: `{"model":"m","input":null}`,
			Want: wire.Request{Model: "m"},
		},
		{
			Name: "string",
			Body: `{"model":"m","input":"h\u00fc","instructions":"You are"}`,
			Want: wire.Request{Model: "m", System: "You are", Prompt: []string{"hü"}, PromptIsString: true, Opening: "hü"},
		},
		{
			Name: "empty string",
			Body: `{"model":"m","input":""}`,
			Want: wire.Request{Model: "m", Prompt: []string{""}, PromptIsString: true},
		},
		{
			Name: "items",
			Body: `{"model":"m","instructions":null,"input":[{"type":"additional_tools","tools":[]},
				{"type":"message","role":"developer","content":[{"type":"input_text","text":"You are Codex"}]},
				{"type":"message","role":"user","content":[{"type":"input_text","text":"<environment_context>"}]},
				{"type":"message","role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_image"},
				{"type":"input_text","text":"b"}]}]}`,
			Want: wire.Request{Model: "m", System: "You are Codex", Prompt: []string{"a", "b"}, Opening: "<environment_context>"},
		},
		{
			Name: "message without type",
			Body: `{"model":"m","input":[{"role":"user","content":"hi"},{"role":"developer","content":"late"}]}`,
			Want: wire.Request{Model: "m", Prompt: []string{"hi"}, PromptIsString: true, Opening: "hi"},
		},
		{
			Name: "instructions before developer item",
			Body: `{"model":"m","instructions":"first","input":[{"role":"developer","content":"second"}]}`,
			Want: wire.Request{Model: "m", System: "first"},
		},
		{
			Name: "function call output",
			Body: `{"model":"m","input":[{"role":"user","content":"hi"},{"type":"function_call","call_id":"a"},
				{"type":"function_call_output","call_id":"a","output":"x"},
				{"type":"function_call_output","call_id":"b","output":"y"}]}`,
			Want: wire.Request{Model: "m", ToolResultID: "b", Opening: "hi"},
		},
		{
			Name: "custom tool call output",
			Body: `{"model":"m","input":[{"type":"custom_tool_call_output","call_id":"c","output":"x"}]}`,
			Want: wire.Request{Model: "m", ToolResultID: "c"},
		},
		{
			Name: "tool search output",
			Body: `{"model":"m","input":[{"type":"tool_search_output","call_id":"e","tools":[]}]}`,
			Want: wire.Request{Model: "m", ToolResultID: "e"},
		},
		{
			Name: "hosted call output",
			Body: `{"model":"m","input":[{"type":"local_shell_call_output","call_id":"d"},
				{"type":"message","role":"system","content":"x"}]}`,
			Want: wire.Request{Model: "m", System: "x", ToolResultID: "d"},
		},
		{
			Name: "last is the assistant's",
			Body: `{"model":"m","input":[{"role":"user","content":"hi"},{"type":"message","role":"assistant","content":"x"}]}`,
			Want: wire.Request{Model: "m", Opening: "hi"},
		},
		{
			Name: "last is no message",
			Body: `{"model":"m","input":[{"role":"user","content":"hi"},{"type":"item_reference","id":"x"}]}`,
			Want: wire.Request{Model: "m", Opening: "hi"},
		},
		{
			Name: "only system messages",
			Body: `{"model":"m","input":[{"role":"system","content":"You are"}]}`,
			Want: wire.Request{Model: "m", System: "You are"},
		},
	})
}

func TestInspectCompact(t *testing.T) {
	wiretest.Requests(t, responses.Compact(), []wiretest.RequestCase{
		{Name: "nothing", Body: `{}`, Refused: true},
		{Name: "model of null and no input", Body: `{"model":null}`, Refused: true},
		{Name: "model an array", Body: `{"model":[],"input":[]}`, Refused: true},
		{
			Name: "items", Body: `{"model":"m","input":[{"role":"user","content":"hi"},{"role":"assistant","content":"hello"}]}`,
			Want: wire.Request{Model: "m", Opening: "hi", Generated: true},
		},
		{
			Name: "model of null", Body: `{"model":null,"input":"hi"}`,
			Want: wire.Request{Prompt: []string{"hi"}, PromptIsString: true, Opening: "hi", Generated: true},
		},
		{Name: "earlier response", Body: `{"previous_response_id":"resp_1"}`, Want: wire.Request{Generated: true}},
	})
}
