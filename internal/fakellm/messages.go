package fakellm

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
)

// messages is the Anthropic Messages API.
func messages() format {
	return format{
		name: "messages", requestID: "Request-Id", answerID: "msg_",
		read: readMessages, call: messagesCall, events: messagesEvents, body: messagesBody,
		failure: messagesFailure, refusal: anthropicRefusal, insist: messagesInsist, remember: messagesRemember,
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
		Thinking struct {
			Type string `json:"type"`
		} `json:"thinking"`
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return ask{}, err
	}
	a := ask{model: request.Model, stream: request.Stream, tools: map[string]tool{}}
	a.thinking = request.Thinking.Type != "" && request.Thinking.Type != "disabled"
	for _, t := range request.Tools {
		a.declare(t.Name, tool{})
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
	for i, p := range list {
		switch {
		case p.Type == "tool_result":
			text, err := result(p.Content)
			if err != nil {
				return utterance{}, err
			}
			said.late = said.late || i > len(said.results)
			said.results, said.answers = append(said.results, text), append(said.answers, p.ToolUseID)
		case p.Type == "tool_use":
			said.calls, said.order = append(said.calls, p.ID), append(said.order, p.ID)
		case p.Type == "thinking":
			said.thoughts = append(said.thoughts, thought{p.Thinking, p.Signature})
			said.order = append(said.order, p.Signature)
		case p.Text != "":
			said.texts = append(said.texts, p.Text)
		}
	}
	return said, nil
}

// messagesCall lets only a stream have an input that is no JSON: there it is text.
func messagesCall(c ToolCall, request ask, id func(string) string) (ToolCall, error) {
	c.ID, c.Input = id("toolu_"), orEmptyObject(c.Input)
	switch {
	case strings.HasPrefix(c.Input, "{"):
		c.Input = string(encode(json.RawMessage(c.Input))) // Without blanks, so that a stream has the same bytes as a body.
	case !request.stream:
		return c, badRequest("[[tool: %s]] needs an input that is a JSON object, since the answer is no stream", c.Name)
	}
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
	for i, c := range a.calls {
		input := json.RawMessage(c.Input)
		if i == a.cutCall() {
			input = json.RawMessage("{}") // A body cannot hold a piece of an object.
		}
		content = append(content, object{"type": "tool_use", "id": c.ID, "name": c.Name, "input": input})
	}
	if a.after != "" {
		content = append(content, object{"type": "text", "text": a.after})
	}
	return content
}

// signature returns a thought's signature, which the same thought always has, and no other.
func signature(thought string) string {
	sum := sha256.Sum256([]byte("fakellm:" + thought))
	return base64.StdEncoding.EncodeToString(sum[:])
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
	switch {
	case a.cutOff:
		return "max_tokens"
	case len(a.calls) > 0:
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
	if a.after != "" {
		s.block(index, object{"type": "text", "text": ""}, deltasOf("text_delta", "text", pieces(a.after)))
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
