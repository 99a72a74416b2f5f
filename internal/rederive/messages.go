package rederive

import "cmp"

// messagesRequest reads a request of the Messages API.
func messagesRequest(fields object) request {
	asked := request{system: textsOf(fields["system"]).first()}
	messages := fields.objects("messages")
	asked.opening = opening(messages)
	last := lastNotSystem(messages)
	if last.text("role") != "user" {
		return asked
	}
	asked.typed = textsOf(last["content"])
	for _, block := range last.objects("content") {
		if block.text("type") == "tool_result" {
			asked.toolResultID = block.text("tool_use_id")
			asked.besideResults = true
		}
	}
	return asked
}

func messagesFigures() figureNames {
	return figureNames{
		input: "input_tokens", output: "output_tokens", read: "cache_read_input_tokens", write: "cache_creation_input_tokens",
		extras: map[string]string{
			"cache_creation.ephemeral_5m_input_tokens": "cache_ephemeral_5m_input",
			"cache_creation.ephemeral_1h_input_tokens": "cache_ephemeral_1h_input",
			"server_tool_use.web_search_requests":      "web_search_requests",
			"server_tool_use.web_fetch_requests":       "web_fetch_requests",
			"output_tokens_details.thinking_tokens":    "output_thinking",
		},
		parts: [][]string{
			{"cache_creation_input_tokens", "cache_creation.ephemeral_5m_input_tokens", "cache_creation.ephemeral_1h_input_tokens"},
			{"output_tokens", "output_tokens_details.thinking_tokens"},
		},
	}
}

// messagesStream reads a stream of the Messages API.
func messagesStream(events []event) reading {
	a := reading{figureNames: messagesFigures(), preliminary: true}
	open := map[int64]messagesBlock{}
	for _, event := range events {
		if a.ended() {
			break
		}
		data, kind := event.object()
		index, _ := data.count("index")
		switch kind {
		case "message_start":
			a.message(data.object("message"))
		case "content_block_start":
			open[index] = a.block(data.object("content_block"))
		case "content_block_delta":
			open[index].add(data.object("delta"))
		case "message_delta":
			a.messagesUsage(data.object("usage"))
			a.preliminary = false
		case "message_stop":
			a.preliminary = false
			a.terminated = true
		default:
			if told := readFailure(data, kind); told != nil {
				a.fail(told)
				a.terminated = true
			}
		}
	}
	return a
}

// messagesBody reads an answer of the Messages API that is not streamed.
func messagesBody(body object) reading {
	a := reading{figureNames: messagesFigures()}
	if body.text("type") != "message" {
		a.failure = readFailure(body, body.text("type"))
		a.foreign = true
		return a
	}
	a.message(body)
	for _, content := range body.objects("content") {
		a.block(content)
	}
	return a
}

func (a *reading) message(message object) {
	a.id, a.model = cmp.Or(a.id, message.text("id")), cmp.Or(a.model, message.text("model"))
	a.messagesUsage(message.object("usage"))
}

func (a *reading) messagesUsage(usage object) {
	a.figures.add(usage)
	a.tier = cmp.Or(usage.text("service_tier"), a.tier)
}

// messagesBlock is the call or the thought that the pieces of a content block add to; a block can be neither.
type messagesBlock struct {
	call    *call
	thought *thought
}

// block notes a content block, at its start or whole.
func (a *reading) block(content object) messagesBlock {
	switch content.text("type") {
	case "tool_use", "server_tool_use", "mcp_tool_use":
		made := call{id: content.text("id"), tool: content.text("name"), withoutInput: "{}"}
		if content.has("input") {
			made.withoutInput = string(content["input"])
		}
		return messagesBlock{call: a.call(made)}
	case "thinking", "redacted_thinking":
		t := a.thought("thinking")
		t.content = content.text("thinking")
		t.redacted = content.text("type") == "redacted_thinking"
		return messagesBlock{thought: t}
	}
	return messagesBlock{}
}

func (b messagesBlock) add(delta object) {
	switch kind := delta.text("type"); {
	case kind == "input_json_delta" && b.call != nil:
		b.call.input += delta.text("partial_json")
	case kind == "thinking_delta" && b.thought != nil:
		b.thought.content += delta.text("thinking")
	}
}
