package aibridged_test

import (
	"fmt"
	"strings"
)

// format is an exchange in one wire format: a prompt, and an answer with 12 input and 2 output tokens, streamed or as
// JSON.
type format struct {
	name   string
	path   string
	ask    string   // A format string, for the model, whether to stream, and the prompt.
	events []string // The answer as a stream.
	json   string   // The answer as JSON.
}

func formats() []format {
	return []format{messagesFormat(), chatFormat(), responsesFormat()}
}

func messagesFormat() format {
	return format{
		name: "messages",
		path: "/anthropic/v1/messages",
		ask:  `{"model":%q,"max_tokens":10,"stream":%t,"messages":[{"role":"user","content":%q}]}`,
		events: []string{
			"event: message_start\n" + `data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant",` +
				`"model":"m","content":[],"usage":{"input_tokens":12,"output_tokens":1}}}` + "\n\n",
			"event: content_block_start\n" + `data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}` + "\n\n",
			"event: content_block_delta\n" + `data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Grüße ☃ 🎿"}}` + "\n\n",
			"event: content_block_stop\n" + `data: {"type":"content_block_stop","index":0}` + "\n\n",
			"event: message_delta\n" + `data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}` + "\n\n",
			"event: message_stop\n" + `data: {"type":"message_stop"}` + "\n\n",
		},
		json: `{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Grüße ☃"}],` +
			`"stop_reason":"end_turn","usage":{"input_tokens":12,"output_tokens":2}}`,
	}
}

func chatFormat() format {
	return format{
		name: "chat",
		path: "/openai/v1/chat/completions",
		ask:  `{"model":%q,"stream":%t,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":%q}]}`,
		events: []string{
			`data: {"id":"c_1","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}` + "\n\n",
			`data: {"id":"c_1","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":"Grüße ☃ 🎿"}}]}` + "\n\n",
			`data: {"id":"c_1","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n",
			`data: {"id":"c_1","object":"chat.completion.chunk","model":"m","choices":[],"usage":{"prompt_tokens":12,"completion_tokens":2,"total_tokens":14}}` + "\n\n",
			"data: [DONE]\n\n",
		},
		json: `{"id":"c_1","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Grüße ☃"},` +
			`"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":2,"total_tokens":14}}`,
	}
}

func responsesFormat() format {
	const whole = `{"id":"resp_1","object":"response","model":"m","status":"completed","output":[{"type":"message","id":"msg_1",` +
		`"role":"assistant","content":[{"type":"output_text","text":"Grüße ☃"}]}],"usage":{"input_tokens":12,"output_tokens":2,"total_tokens":14}}`
	return format{
		name: "responses",
		path: "/openai/v1/responses",
		ask:  `{"model":%q,"stream":%t,"input":%q}`,
		events: []string{
			"event: response.created\n" + `data: {"type":"response.created","response":{"id":"resp_1","model":"m","status":"in_progress"}}` + "\n\n",
			"event: response.output_text.delta\n" + `data: {"type":"response.output_text.delta","item_id":"msg_1","delta":"Grüße ☃ 🎿"}` + "\n\n",
			"event: response.completed\n" + `data: {"type":"response.completed","response":` + whole + "}\n\n",
		},
		json: whole,
	}
}

// question is a request in a format, for a stream or for JSON.
type question struct {
	format format
	stream bool
}

// questions returns every combination of format and streaming.
func questions() []question {
	var all []question
	for _, f := range formats() {
		all = append(all, question{f, true}, question{f, false})
	}
	return all
}

func streams() []question {
	var all []question
	for _, f := range formats() {
		all = append(all, question{f, true})
	}
	return all
}

func (q question) String() string {
	if q.stream {
		return q.format.name + " streamed"
	}
	return q.format.name
}

// body returns the request's body.
func (q question) body(model string) string { return q.bodyWith(model, canaryPrompt) }

func (q question) bodyWith(model, prompt string) string {
	return fmt.Sprintf(q.format.ask, model, q.stream, prompt)
}

// answer returns the body of the answer.
func (q question) answer() string {
	if q.stream {
		return strings.Join(q.format.events, "")
	}
	return q.format.json
}

func (q question) contentType() string {
	if q.stream {
		return "text/event-stream"
	}
	return "application/json"
}

// response returns the answer with its header, framed as upstreams usually frame it.
func (q question) response() string {
	if q.stream {
		return q.chunkedHead() + chunk(q.answer()) + "0\r\n\r\n"
	}
	return q.head("Content-Length", fmt.Sprint(len(q.answer()))) + q.answer()
}

// head returns a status line of 200 and a header with the given names and values.
func (q question) head(header ...string) string {
	return head(200, append([]string{"Content-Type", q.contentType()}, header...)...)
}

func (q question) chunkedHead() string { return q.head("Transfer-Encoding", "chunked") }

func head(status int, header ...string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "HTTP/1.1 %d Status\r\n", status)
	for i := 0; i < len(header); i += 2 {
		fmt.Fprintf(&text, "%s: %s\r\n", header[i], header[i+1])
	}
	return text.String() + "\r\n"
}

func chunk(data string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(data), data) }
