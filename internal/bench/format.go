package main

// format holds the requests and answers of one API. Half of the connections of a workload use one format, half the
// other.
type format struct {
	provider string // The first segment of the path at the gateway.
	path     string
	headers  string // The headers of a request, without its credential.
	// credential is the header with the client's key, up to the key.
	credential string
	request    func(size int, stream bool) []byte
	// blocking is the body of an answer; opening, delta and closing are the data of a stream's events.
	blocking         func(text string) string
	opening, closing []event
	delta            func(text string) event
	calls            []event // What follows the opening if the model calls a tool of the gateway.
}

// event is one event of a stream. Some formats do not name events.
type event struct {
	name, data string
	comment    string // The stamp, or empty.
}

func (e event) text() string {
	text := "data: " + e.data + "\n\n"
	if e.name != "" {
		text = "event: " + e.name + "\n" + text
	}
	if e.comment != "" {
		text = ":" + e.comment + "\n" + text
	}
	return text
}

func formats() []format { return []format{messages(), chat()} }

const (
	messagesUsage = `"input_tokens":412,"cache_creation_input_tokens":120,"cache_read_input_tokens":51234`
	messagesModel = "claude-sonnet-4-5-20250929"
	chatModel     = "gpt-4o"
	chatUsage     = `{"prompt_tokens":412,"completion_tokens":371,"total_tokens":783,"prompt_tokens_details":{"cached_tokens":128}}`
)

// messages is the Anthropic Messages API.
func messages() format {
	const message = `"id":"msg_01Bench","type":"message","role":"assistant","model":"` + messagesModel + `"`
	return format{
		provider: "anthropic", path: "/v1/messages",
		headers: "User-Agent: claude-cli/2.0.14 (external, cli)\r\nAnthropic-Version: 2023-06-01\r\n" +
			"Anthropic-Beta: claude-code-20250219,interleaved-thinking-2025-05-14\r\nX-App: cli\r\nX-Stainless-Lang: js\r\n",
		credential: "X-Api-Key: ",
		request:    messagesRequest,
		blocking: func(text string) string {
			return `{` + message + `,"content":[{"type":"text","text":` + quote(text) + `}],"stop_reason":"end_turn","stop_sequence":null,` +
				`"usage":{` + messagesUsage + `,"output_tokens":371,"service_tier":"standard"}}`
		},
		opening: []event{
			{name: "message_start", data: `{"type":"message_start","message":{` + message + `,"content":[],"stop_reason":null,"usage":{` + messagesUsage + `,"output_tokens":2}}}`},
			{name: "content_block_start", data: `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`},
			{name: "ping", data: `{"type":"ping"}`},
		},
		delta: func(text string) event {
			return event{name: "content_block_delta", data: `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":` + quote(text) + `}}`}
		},
		closing: []event{
			{name: "content_block_stop", data: `{"type":"content_block_stop","index":0}`},
			{name: "message_delta", data: `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{` + messagesUsage + `,"output_tokens":371}}`},
			{name: "message_stop", data: `{"type":"message_stop"}`},
		},
		calls: []event{
			{name: "content_block_stop", data: `{"type":"content_block_stop","index":0}`},
			{name: "content_block_start", data: `{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"` + calledID + `","name":"` + calledTool + `","input":{}}}`},
			{name: "content_block_delta", data: `{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":` + quote(calledInput) + `}}`},
			{name: "content_block_stop", data: `{"type":"content_block_stop","index":1}`},
			{name: "message_delta", data: `{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{` + messagesUsage + `,"output_tokens":41}}`},
			{name: "message_stop", data: `{"type":"message_stop"}`},
		},
	}
}

// chat is the OpenAI Chat Completions API. Its requests ask for the usage chunk, so the gateway withholds nothing of
// their answers.
func chat() format {
	const head = `"id":"chatcmpl-Bench","created":1763841600,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_bench"`
	chunk := func(choices, usage string) event {
		return event{data: `{` + head + `,"object":"chat.completion.chunk","choices":[` + choices + `],"usage":` + usage + `}`}
	}
	choice := func(delta, finish string) event {
		return chunk(`{"index":0,"delta":`+delta+`,"logprobs":null,"finish_reason":`+finish+`}`, "null")
	}
	return format{
		provider: "openai", path: "/v1/chat/completions",
		headers:    "User-Agent: OpenAI/Python 1.109.1\r\nX-Stainless-Lang: python\r\n",
		credential: "Authorization: Bearer ",
		request:    chatRequest,
		blocking: func(text string) string {
			return `{` + head + `,"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":` + quote(text) +
				`,"refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":` + chatUsage + `}`
		},
		opening: []event{choice(`{"role":"assistant","content":"","refusal":null}`, "null")},
		delta:   func(text string) event { return choice(`{"content":`+quote(text)+`}`, "null") },
		closing: []event{choice(`{}`, `"stop"`), chunk("", chatUsage), {data: "[DONE]"}},
		calls: []event{
			choice(`{"tool_calls":[{"index":0,"id":"`+calledID+`","type":"function","function":{"name":"`+calledTool+`","arguments":`+quote(calledInput)+`}}]}`, "null"),
			choice(`{}`, `"tool_calls"`), chunk("", chatUsage), {data: "[DONE]"},
		},
	}
}
