package fakellm

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// readStream returns the names of a stream's events, and the data of those that are JSON.
func readStream(t *testing.T, body string) (names []string, data []object) {
	t.Helper()
	if !strings.HasSuffix(body, "\n\n") {
		t.Fatalf("the last event has no end: %q", body)
	}
	for text := range strings.SplitSeq(strings.TrimSuffix(body, "\n\n"), "\n\n") {
		name, rest, named := strings.Cut(text, "\n")
		if !named {
			name, rest = "", text
		}
		line, found := strings.CutPrefix(rest, "data: ")
		if !found || strings.Contains(line, "\n") {
			t.Fatalf("no event: %q", text)
		}
		names = append(names, strings.TrimPrefix(name, "event: "))
		if line == "[DONE]" {
			names[len(names)-1] = line
			continue
		}
		decoded := decode(t, []byte(line))
		if named && decoded["type"] != names[len(names)-1] {
			t.Errorf("%s has type %v", name, decoded["type"])
		}
		data = append(data, decoded)
	}
	return names, data
}

// streamed asks for a stream and returns its events.
func streamed(t *testing.T, s *Server, format, prompt string) (names []string, data []object) {
	t.Helper()
	return readStream(t, post(t, s, paths()[format], request(t, format, prompt, true)).Body.String())
}

// assembleMessages puts the answer together from its events, as a client does.
func assembleMessages(t *testing.T, data []object) object {
	t.Helper()
	message := object(data[0]["message"].(map[string]any))
	var content []any
	var input string
	for _, e := range data[1:] {
		switch e["type"] {
		case "content_block_start":
			content, input = append(content, e["content_block"]), ""
		case "content_block_delta":
			block, delta := content[len(content)-1].(map[string]any), e["delta"].(map[string]any)
			for _, field := range []string{"text", "thinking", "signature"} {
				if piece, ok := delta[field].(string); ok {
					block[field] = block[field].(string) + piece
				}
			}
			if piece, ok := delta["partial_json"].(string); ok {
				input += piece
				block["input"] = input
			}
		case "content_block_stop":
			if input != "" {
				content[len(content)-1].(map[string]any)["input"] = map[string]any(decode(t, []byte(input)))
			}
		case "message_delta":
			for field, value := range e["delta"].(map[string]any) {
				message[field] = value
			}
			for field, value := range e["usage"].(map[string]any) {
				message["usage"].(map[string]any)[field] = value
			}
		}
	}
	message["content"] = append([]any{}, content...)
	return message
}

func assembleChat(t *testing.T, data []object) object {
	t.Helper()
	whole := data[0]
	message := map[string]any{"content": nil, "refusal": nil, "annotations": []any{}}
	text, finish := "", any(nil)
	var calls []any
	for _, chunk := range data {
		if len(chunk["choices"].([]any)) == 0 {
			whole["usage"] = chunk["usage"]
			continue
		}
		if chunk["usage"] != nil {
			t.Errorf("usage beside a choice: %v", chunk)
		}
		delta := at(t, chunk, "choices", 0, "delta").(map[string]any)
		finish = at(t, chunk, "choices", 0, "finish_reason")
		if role, ok := delta["role"]; ok {
			message["role"] = role
		}
		if piece, ok := delta["content"].(string); ok {
			text += piece
		}
		if piece, ok := delta["reasoning_content"].(string); ok {
			before, _ := message["reasoning_content"].(string)
			message["reasoning_content"] = before + piece
		}
		if list, ok := delta["tool_calls"].([]any); ok {
			call := list[0].(map[string]any)
			if index := int(call["index"].(float64)); index == len(calls) {
				delete(call, "index")
				calls = append(calls, call)
			} else {
				function := calls[index].(map[string]any)["function"].(map[string]any)
				function["arguments"] = function["arguments"].(string) + at(t, call, "function", "arguments").(string)
			}
		}
	}
	if len(calls) > 0 {
		message["tool_calls"] = calls
	}
	if text != "" || len(calls) == 0 {
		message["content"] = text
	}
	whole["object"] = "chat.completion"
	whole["choices"] = []any{map[string]any{"index": 0.0, "message": message, "logprobs": nil, "finish_reason": finish}}
	return whole
}

// assembleResponses takes the answer from the last event, and checks that the deltas add up to it.
func assembleResponses(t *testing.T, data []object) object {
	t.Helper()
	var items []any
	sums := map[string]string{}
	for i, e := range data {
		if e["sequence_number"] != float64(i) {
			t.Errorf("event %d has number %v", i, e["sequence_number"])
		}
		kind := e["type"].(string)
		switch {
		case kind == "response.output_item.done":
			items = append(items, e["item"])
		case strings.HasSuffix(kind, ".delta"):
			sums[strings.TrimSuffix(kind, ".delta")+e["item_id"].(string)] += e["delta"].(string)
		case strings.HasSuffix(kind, ".done") && e["part"] == nil:
			sum := sums[strings.TrimSuffix(kind, ".done")+e["item_id"].(string)]
			if whole := []any{e["text"], e["arguments"], e["input"]}; !slices.Contains(whole, any(sum)) {
				t.Errorf("%s: the deltas add up to %q, the whole is %v", kind, sum, whole)
			}
		}
	}
	response := object(data[len(data)-1]["response"].(map[string]any))
	if !reflect.DeepEqual(response["output"], items) {
		t.Errorf("the items are %v, the output is %v", items, response["output"])
	}
	return response
}

// TestTwins checks that the streamed and the blocking answer to one request are the same.
func TestTwins(t *testing.T) {
	assemble := map[string]func(*testing.T, []object) object{
		"messages": assembleMessages, "chat": assembleChat, "responses": assembleResponses,
	}
	for format, path := range paths() {
		for name, prompt := range map[string]string{
			"default":    "What is the time? <b> & ü",
			"text":       "[[text: Tabs\tand  blanks, and 😀 ]]",
			"no text":    "[[text:]]",
			"thoughts":   "[[think: first one]] [[think: then another]] [[text: done]]",
			"calls":      `[[think: hm]] [[text: I look.]] [[tool: Bash {"command":"ls 😀 /some/long/path"}]] [[tool: Bash]]`,
			"after":      `[[text: I look.]] [[tool: Bash]] [[tool: Bash {"a":1}]] [[text-after: Wait for it.]]`,
			"only after": `[[text-after: Wait.]]`,
			"no limit":   `[[text: I look.]] [[tool: Bash {"a":1}]] [[text-after: Wait.]] [[max-tokens]]`,
			"limit":      `[[think: hm]] [[text: I look.]] [[max-tokens]]`,
			"call":       `[[tool: Bash {"a": [[1]] }]]`,
			"usage":      "[[usage: input=10 output=5 cache_read=3 cache_write=2 thinking=9]]",
			"namespace":  `[[tool: spawn {"role":"x"}]]`,
		} {
			t.Run(format+" "+name, func(t *testing.T) {
				checkTwins(t, format, path, prompt, assemble[format])
			})
		}
	}
	t.Run("responses custom tool", func(t *testing.T) {
		checkTwins(t, "responses", paths()["responses"], "[[tool: patch *** Begin Patch]]", assembleResponses)
	})
}

func checkTwins(t *testing.T, format, path, prompt string, assemble func(*testing.T, []object) object) {
	t.Helper()
	streaming, blocking := New(Options{}), New(Options{}) // Two servers, so that both make the same ids.
	stream := post(t, streaming, path, request(t, format, prompt, true))
	block := post(t, blocking, path, request(t, format, prompt, false))
	if got := stream.Header().Get("Content-Type"); got != "text/event-stream; charset=utf-8" {
		t.Errorf("the stream's type is %s", got)
	}
	_, data := readStream(t, stream.Body.String())
	one, two := assemble(t, data), decode(t, block.Body.Bytes())
	for _, clock := range []string{"created", "created_at"} {
		delete(one, clock)
		delete(two, clock)
	}
	if !reflect.DeepEqual(one, two) {
		t.Errorf("streamed: %s\nblocking: %s", encode(one), encode(two))
	}
	served, other := streaming.Served()[0], blocking.Served()[0]
	if !served.Complete || !other.Complete {
		t.Errorf("not complete: %+v, %+v", served, other)
	}
	served.Streamed = false
	if !reflect.DeepEqual(served, other) {
		t.Errorf("served %+v and %+v", served, other)
	}
	header := stream.Header()
	if id := header.Get("Request-Id") + header.Get("X-Request-Id"); id == "" || id != served.RequestID {
		t.Errorf("request id %q, header %v", served.RequestID, header)
	}
	if served.AnswerID != two["id"] || served.Model != two["model"] || served.Prompt != prompt {
		t.Errorf("served %+v for %s", served, encode(two))
	}
}

// TestShapes checks the fields of blocking answers.
func TestShapes(t *testing.T) {
	const prompt = `[[think: hm hm]] [[text: a b]] [[tool: Bash {"x":1}]] ` +
		`[[usage: input=10 output=5 cache_read=3 cache_write=2]]`
	for format, want := range map[string]map[string]any{
		"messages": {
			"stop_reason": "tool_use", "usage.input_tokens": 10, "usage.output_tokens": 5,
			"usage.cache_read_input_tokens": 3, "usage.cache_creation_input_tokens": 2,
			"usage.output_tokens_details.thinking_tokens": 2, "content.0.thinking": "hm hm", "content.1.text": "a b",
			"content.2.type": "tool_use", "content.2.name": "Bash", "content.2.input.x": 1,
		},
		"chat": {
			"object": "chat.completion", "choices.0.finish_reason": "tool_calls", "usage.prompt_tokens": 15,
			"usage.completion_tokens": 5, "usage.total_tokens": 20, "usage.prompt_tokens_details.cached_tokens": 3,
			"usage.prompt_tokens_details.cache_write_tokens":    2,
			"usage.completion_tokens_details.reasoning_tokens":  2,
			"choices.0.message.reasoning_content":               "hm hm",
			"choices.0.message.content":                         "a b",
			"choices.0.message.tool_calls.0.type":               "function",
			"choices.0.message.tool_calls.0.function.arguments": `{"x":1}`,
			"choices.0.message.tool_calls.0.function.name":      "Bash",
		},
		"responses": {
			"object": "response", "status": "completed", "usage.input_tokens": 15, "usage.output_tokens": 5,
			"usage.total_tokens": 20, "usage.input_tokens_details.cached_tokens": 3,
			"usage.input_tokens_details.cache_write_tokens": 2, "usage.output_tokens_details.reasoning_tokens": 2,
			"output.0.summary.0.text": "hm hm", "output.1.content.0.text": "a b", "output.2.type": "function_call",
			"output.2.arguments": `{"x":1}`, "tools.1.name": "patch", "tool_choice": "auto", "error": nil,
		},
	} {
		t.Run(format, func(t *testing.T) {
			body := decode(t, post(t, New(Options{}), paths()[format], request(t, format, prompt, false)).Body.Bytes())
			for path, value := range want {
				var steps []any
				for step := range strings.SplitSeq(path, ".") {
					if step >= "0" && step <= "9" {
						steps = append(steps, int(step[0]-'0'))
					} else {
						steps = append(steps, step)
					}
				}
				if number, ok := value.(int); ok {
					value = float64(number)
				}
				if got := at(t, body, steps...); got != value {
					t.Errorf("%s is %v, want %v", path, got, value)
				}
			}
		})
	}
}

func TestCallsInNamespacesAndCustom(t *testing.T) {
	s := New(Options{})
	body := decode(t, post(t, s, "/v1/responses", request(t, "responses",
		`[[tool: patch *** {x}]] [[tool: spawn {"role":"x"}]]`, false)).Body.Bytes())
	custom, within := at(t, body, "output", 0).(map[string]any), at(t, body, "output", 1).(map[string]any)
	if custom["type"] != "custom_tool_call" || custom["input"] != "*** {x}" {
		t.Errorf("custom: %v", custom)
	}
	if within["namespace"] != "agents" || within["arguments"] != `{"role":"x"}` {
		t.Errorf("in a namespace: %v", within)
	}
	made := s.Served()[0].ToolCalls
	if len(made) != 2 || made[0].ID != custom["call_id"] || made[1].ItemID != within["id"] || made[0].ID == made[1].ID {
		t.Errorf("served %+v", made)
	}
}

// TestEchoedFieldsStayAsTheyWere checks that a response repeats fields of the request byte by byte.
func TestEchoedFieldsStayAsTheyWere(t *testing.T) {
	const body = `{"model":"x","input":"hi","temperature":0.10,"metadata":{"b":"1","a":"<&>"},` +
		`"max_output_tokens":12345678901234567890}`
	answer := post(t, New(Options{}), "/v1/responses", body).Body.String()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(answer), &fields); err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]string{
		"temperature": "0.10", "metadata": `{"b":"1","a":"<&>"}`, "max_output_tokens": "12345678901234567890", "top_p": "1",
	} {
		if got := string(fields[field]); got != want {
			t.Errorf("%s is %s, want %s", field, got, want)
		}
	}
}
