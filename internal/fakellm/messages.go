package fakellm

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// messages is the Anthropic Messages API.
func messages() format {
	return format{
		name: "messages", requestID: "Request-Id", answerID: "msg_",
		read: readMessages, call: messagesCall, events: messagesEvents, body: messagesBody,
		failure: messagesFailure, refusal: anthropicRefusal,
	}
}

func readMessages(body []byte) (ask, error) {
	var request struct {
		Model    string          `json:"model"`
		Stream   bool            `json:"stream"`
		System   json.RawMessage `json:"system"`
		Messages []struct {
			Role    string          `json:"role"`
			Content json.RawMessage `json:"content"`
		} `json:"messages"`
		Tools []struct {
			Name string `json:"name"`
		} `json:"tools"`
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return ask{}, err
	}
	a := ask{model: request.Model, stream: request.Stream, tools: map[string]tool{}}
	for _, t := range request.Tools {
		a.tools[t.Name] = tool{}
	}
	instructions, err := texts(request.System)
	if err != nil {
		return ask{}, err
	}
	a.messages = append(a.messages, utterance{from: fromSystem, texts: instructions})
	for _, m := range request.Messages {
		said, err := readMessage(speakerOf(m.Role), m.Content)
		if err != nil {
			return ask{}, err
		}
		a.messages = append(a.messages, said)
	}
	return a, nil
}

// readMessage reads a message whose content holds tool results beside texts.
func readMessage(from speaker, content json.RawMessage) (utterance, error) {
	list, err := parts(content)
	if err != nil {
		return utterance{}, err
	}
	said := utterance{from: from}
	for _, p := range list {
		switch {
		case p.Type == "tool_result":
			text, err := result(p.Content)
			if err != nil {
				return utterance{}, err
			}
			said.results = append(said.results, text)
		case p.Text != "":
			said.texts = append(said.texts, p.Text)
		}
	}
	return said, nil
}

func messagesCall(c ToolCall, _ tool, id func(string) string) (ToolCall, error) {
	c.ID, c.Input = id("toolu_"), orEmptyObject(c.Input)
	if !strings.HasPrefix(c.Input, "{") {
		return c, badRequest("[[tool: %s]] needs an input that is a JSON object", c.Name)
	}
	c.Input = string(encode(json.RawMessage(c.Input))) // Without blanks, so that a stream has the same bytes as a body.
	return c, nil
}

// messagesContent returns the blocks of a whole answer.
func messagesContent(a reply) []object {
	content := []object{}
	for _, thought := range a.thoughts {
		content = append(content, object{"type": "thinking", "thinking": thought, "signature": signature(thought)})
	}
	if a.text != "" {
		content = append(content, object{"type": "text", "text": a.text})
	}
	for _, c := range a.calls {
		content = append(content, object{"type": "tool_use", "id": c.ID, "name": c.Name, "input": json.RawMessage(c.Input)})
	}
	return content
}

// signature returns a thought's signature, which the same thought always has.
func signature(thought string) string {
	return base64.StdEncoding.EncodeToString([]byte("fakellm:" + firstWords(thought, 8)))
}

func messagesBody(request ask, a reply) object {
	return messagesMessage(request, a, messagesContent(a), messagesStop(a), a.usage.Output)
}

func messagesMessage(request ask, a reply, content []object, stop any, output int64) object {
	usage := messagesUsage(a.usage, output)
	usage["cache_creation"] = object{
		"ephemeral_5m_input_tokens": a.usage.CacheWrite, "ephemeral_1h_input_tokens": 0,
	}
	usage["service_tier"] = "standard"
	return object{
		"id": a.id, "type": "message", "role": "assistant", "model": request.model, "content": content,
		"stop_reason": stop, "stop_sequence": nil, "usage": usage,
	}
}

func messagesStop(a reply) string {
	if len(a.calls) > 0 {
		return "tool_use"
	}
	return "end_turn"
}

func messagesUsage(u Usage, output int64) object {
	return object{
		"input_tokens": u.Input, "cache_creation_input_tokens": u.CacheWrite, "cache_read_input_tokens": u.CacheRead,
		"output_tokens": output, "output_tokens_details": object{"thinking_tokens": min(u.Thinking, output)},
	}
}

// messagesStream collects events. The name of an event is also the type in its data.
type messagesStream []event

func (s *messagesStream) add(kind string, data object) {
	data["type"] = kind
	*s = append(*s, event{kind, encode(data)})
}

// block adds the events of a content block: its start, its deltas and its end.
func (s *messagesStream) block(index int, start object, deltas []object) {
	s.add("content_block_start", object{"index": index, "content_block": start})
	if index == 0 {
		s.add("ping", object{})
	}
	for _, delta := range deltas {
		s.add("content_block_delta", object{"index": index, "delta": delta})
	}
	s.add("content_block_stop", object{"index": index})
}

func messagesEvents(request ask, a reply) []event {
	var s messagesStream
	// The output tokens in the first event are preliminary, as in the real API.
	s.add("message_start", object{"message": messagesMessage(request, a, []object{}, nil, 1)})
	index := 0
	for _, thought := range a.thoughts {
		deltas := deltasOf("thinking_delta", "thinking", pieces(thought))
		deltas = append(deltas, object{"type": "signature_delta", "signature": signature(thought)})
		s.block(index, object{"type": "thinking", "thinking": "", "signature": ""}, deltas)
		index++
	}
	if a.text != "" {
		s.block(index, object{"type": "text", "text": ""}, deltasOf("text_delta", "text", pieces(a.text)))
		index++
	}
	for _, c := range a.calls {
		deltas := deltasOf("input_json_delta", "partial_json", append([]string{""}, inputPieces(c.Input)...))
		s.block(index, object{"type": "tool_use", "id": c.ID, "name": c.Name, "input": object{}}, deltas)
		index++
	}
	s.add("message_delta", object{
		"delta": object{"stop_reason": messagesStop(a), "stop_sequence": nil},
		"usage": messagesUsage(a.usage, a.usage.Output),
	})
	s.add("message_stop", object{})
	return s
}

func deltasOf(kind, field string, pieces []string) []object {
	var deltas []object
	for _, piece := range pieces {
		deltas = append(deltas, object{"type": kind, field: piece})
	}
	return deltas
}

func messagesFailure(f failure, _ int) event {
	return event{"error", encode(object{"type": "error", "error": object{"type": f.kind, "message": f.message}})}
}
