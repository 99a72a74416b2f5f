package rederive

import (
	"cmp"
	"slices"
	"strings"
)

// messagesRequest reads a request of the Messages API.
func messagesRequest(fields object) request {
	asked := request{system: textsOf(fields["system"]).first(), tools: namesOf(fields.objects("tools"), "")}
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
	thinking := []string{"output_tokens_details.thinking_tokens", "completion_tokens_details.reasoning_tokens"}
	names := figureNames{
		input: []string{"input_tokens"}, output: []string{"output_tokens", "completion_tokens"}, cacheApart: true, growing: true,
		withCached: []string{"prompt_tokens"}, total: []string{"total_tokens"}, reasoning: thinking,
		read:  []string{"cache_read_input_tokens", "prompt_tokens_details.cached_tokens"},
		write: []string{"cache_creation_input_tokens"},
		extras: map[string][]string{
			"cache_ephemeral_5m_input": {"cache_creation.ephemeral_5m_input_tokens"},
			"cache_ephemeral_1h_input": {"cache_creation.ephemeral_1h_input_tokens"},
			"web_search_requests":      {"server_tool_use.web_search_requests"},
			"web_fetch_requests":       {"server_tool_use.web_fetch_requests"},
			"code_execution_requests":  {"server_tool_use.code_execution_requests"},
			"tool_search_requests":     {"server_tool_use.tool_search_requests"},
			"output_thinking":          thinking,
			"total_tokens":             {"total_tokens"},
		},
		labels:   []string{"service_tier", "speed", "inference_geo"},
		included: map[string][]string{"output": thinking},
		written:  []string{"cache_creation.ephemeral_5m_input_tokens", "cache_creation.ephemeral_1h_input_tokens"},
		lists:    map[string][]string{"iterations": {"message", "compaction", "advisor_message"}},
	}
	// What was done besides the message is billed, and is not in the figures above.
	for kind, as := range map[string]string{"compaction": "compaction", "advisor_message": "advisor", "*": "other_iterations"} {
		for figure, what := range map[string]string{
			"input_tokens": "input", "output_tokens": "output",
			"cache_read_input_tokens": "cache_read", "cache_creation_input_tokens": "cache_write",
		} {
			names.extras[as+"_"+what] = []string{"iterations." + kind + "." + figure}
		}
	}
	return names
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
		case "message":
			a.message(data)
			a.preliminary = false
		case "content_block_start":
			open[index] = a.block(data.object("content_block"), open[index])
		case "content_block_delta":
			open[index].add(data.object("delta"))
		case "message_delta":
			a.stopped(data.object("delta"))
			a.usage.add(data["usage"])
			a.usage.add(data.object("delta")["usage"])
			a.preliminary = false
		case "message_stop":
			a.usage.add(data["usage"])
			a.preliminary = false
			a.terminated = true
		case "content_block_stop", "ping":
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
	return a
}

// stopped notes why an object says that the model stopped.
func (a *reading) stopped(said object) {
	if reason := said.text("stop_reason"); reason != "" {
		a.cutsCalls = slices.Contains([]string{"max_tokens", "model_context_window_exceeded", "refusal", "pause_turn"}, reason)
	}
}

// message notes a message, which may repeat blocks that other events of its stream have brought.
func (a *reading) message(message object) {
	a.id, a.model = cmp.Or(a.id, message.text("id")), cmp.Or(a.model, message.text("model"))
	a.usage.add(message["usage"])
	a.stopped(message)
	calls, thoughts := a.calls, a.thoughts
	n, m := 0, 0
	for _, content := range message.objects("content") {
		switch kind := content.text("type"); {
		case isMessagesCall(kind):
			a.wholeCall(calls, n, content)
			n++
		case isMessagesThought(kind):
			var t *thought
			if m < len(thoughts) {
				t = thoughts[m]
			} else {
				t = a.thought("thinking")
				t.whole = true
			}
			m++
			t.complete(content.text("thinking"))
			t.redacted = t.redacted || isHidden(content)
		}
	}
}

// wholeCall notes the n-th call of a message. Known are the calls before the message.
func (a *reading) wholeCall(known []*call, n int, content object) {
	id, tool := content.text("id"), content.text("name")
	var made *call
	for _, c := range known {
		if id != "" && c.id == id {
			made = c
		}
	}
	if n < len(known) {
		if c := known[n]; c.id == id && id != "" || c.id == "" && c.tool == tool {
			made = c
		}
	}
	if made == nil {
		made = a.call(call{id: id, tool: tool, withoutInput: "{}", whole: true})
	}
	made.describe(content)
	if made.input.content != "" {
		made.input.complete(string(content["input"]))
	}
}

// describe notes what a block says of its call beside its id and name.
func (c *call) describe(content object) {
	if content.text("type") == "tool_use" {
		c.whose = byName
	}
	c.from(content)
	if content.has("input") && string(content["input"]) != `""` && c.withoutInput == "{}" {
		c.withoutInput = string(content["input"])
	}
}

func isMessagesCall(kind string) bool {
	return kind == "tool_use" || strings.HasSuffix(kind, "_tool_use")
}

func isMessagesThought(kind string) bool { return kind == "thinking" || kind == "redacted_thinking" }

// isHidden reports whether a thought is there, but not its text.
func isHidden(content object) bool {
	return content.text("type") == "redacted_thinking" || content.text("signature") != ""
}

// messagesBlock is the call or the thought that the pieces of a content block add to; a block can be neither.
type messagesBlock struct {
	call    *call
	thought *thought
}

// block notes a content block that begins. A message may have brought it already, or it begins a second time at its place,
// where before is.
func (a *reading) block(content object, before messagesBlock) messagesBlock {
	switch kind := content.text("type"); {
	case isMessagesCall(kind):
		id, tool := content.text("id"), content.text("name")
		var made *call
		for _, c := range a.calls {
			if made == nil && c.whole && c.id == id && (id != "" || c.tool == tool) {
				made = c
			}
		}
		if c := before.call; made == nil && c != nil && id != "" && c.id == id && c.tool == tool {
			made = c
			made.input.knows("", 0)
		}
		if made == nil {
			made = a.call(call{id: id, tool: tool, withoutInput: "{}"})
		}
		made.whole = false
		made.describe(content)
		return messagesBlock{call: made}
	case isMessagesThought(kind):
		var t *thought
		for _, known := range a.thoughts {
			if t == nil && known.whole {
				t = known
			}
		}
		if t == nil {
			t = a.thought("thinking")
		}
		t.whole = false
		t.hear("", content.text("thinking"))
		t.redacted = t.redacted || isHidden(content)
		return messagesBlock{thought: t}
	}
	return messagesBlock{}
}

func (b messagesBlock) add(delta object) {
	switch kind := delta.text("type"); {
	case kind == "input_json_delta" && b.call != nil:
		b.call.input.hearJSON(delta.text("partial_json"))
	case kind == "thinking_delta" && b.thought != nil:
		b.thought.hear("", delta.text("thinking"))
	case kind == "signature_delta" && b.thought != nil:
		b.thought.redacted = b.thought.redacted || delta.text("signature") != ""
	}
}
