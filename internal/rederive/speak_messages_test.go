package rederive_test

import "strconv"

// said is one event of a stream, before it is framed.
type said struct {
	name string
	data any
	// usageOnly says that only a client that asks for usage gets the event.
	usageOnly bool
}

// messages writes a script as the Messages API does.
type messages struct {
	dice
	script
	start, final object // The usage in message_start, and in the last message_delta.
	plain        plain
}

func newMessages(d dice, s script, plain plain) *messages {
	m := &messages{dice: d, script: s, plain: plain}
	m.start, m.final = m.usages()
	return m
}

// usages returns the first and the last report of the usage. Figures that the last one leaves out stay as they were.
func (m *messages) usages() (start, final object) {
	u, d := m.usage, m.dice
	if u.inconsistent {
		u.reasoning, u.output = 20, 3
	}
	tier := pick[any](d, absent{}, nil)
	if m.tier != "" {
		tier = m.tier
	}
	start = object{
		{"input_tokens", m.number(u.input)},
		{"output_tokens", 1 + d.upTo(4)},
		{"cache_read_input_tokens", maybe(d, 3, m.number(u.read))},
		{"cache_creation_input_tokens", maybe(d, 3, u.write)},
		{"cache_creation", maybe(d, 3, object{
			{"ephemeral_5m_input_tokens", maybe(d, 4, u.write/3)}, {"ephemeral_1h_input_tokens", maybe(d, 4, u.write-u.write/3)},
		})},
		{"service_tier", tier},
	}
	final = object{{"output_tokens", m.number(u.output)}}
	if d.oneIn(2) {
		final = append(final,
			member{"input_tokens", maybe(d, 4, u.input+pick(d, 0, 3))},
			member{"cache_read_input_tokens", maybe(d, 4, u.read+pick(d, 0, 5))},
			member{"output_tokens_details", maybe(d, 3, object{{"thinking_tokens", u.reasoning}})},
			member{"server_tool_use", maybe(d, 3, object{{"web_search_requests", d.upTo(3)}, {"web_fetch_requests", maybe(d, 2, 1)}})},
		)
	}
	return start, final
}

// number returns a number. For a plain answer it has one spelling only, since twins of it are merged from two reports.
func (m *messages) number(n int) any {
	if m.plain {
		return n
	}
	return m.dice.number(n)
}

// number returns a number in one of its spellings, or seldom a value that is no number.
func (d dice) number(n int) any {
	switch {
	case d.oneIn(12):
		return raw(strconv.Itoa(n) + ".0")
	case d.oneIn(20) && n%10 == 0:
		return raw(strconv.Itoa(n/10) + "e1")
	}
	if d.oneIn(60) {
		return pick[any](d, raw("12.5"), -1, "7", true, raw("1e400"), raw("9223372036854775808"), object{{"n", 1}})
	}
	return n
}

func (m *messages) head(usage any) object {
	return object{
		{"id", m.id}, {"type", "message"}, {"role", "assistant"}, {"model", m.model}, {"content", list{}},
		{"stop_reason", nil}, {"stop_sequence", nil}, {"usage", usage},
	}
}

// stream returns the events of a whole stream.
func (m *messages) stream() []said {
	events := []said{{name: "message_start", data: object{{"type", "message_start"}, {"message", m.head(m.start)}}}}
	if !m.plain && m.oneIn(15) { // The server reports no usage.
		for _, step := range m.choices[0] {
			events = append(events, m.block(0, step)...)
		}
	} else {
		var blocks [][]said
		for index, step := range m.choices[0] {
			blocks = append(blocks, m.block(index, step))
		}
		events = append(events, interleave(m.dice, blocks)...)
	}
	if m.oneIn(4) { // The first of several reports, with the figures so far.
		events = append(events, said{name: "message_delta", data: object{
			{"type", "message_delta"}, {"delta", object{}}, {"usage", object{{"output_tokens", m.usage.output / 2}}},
		}})
	}
	return append(events,
		said{name: "message_delta", data: object{
			{"type", "message_delta"}, {"delta", object{{"stop_reason", "end_turn"}, {"stop_sequence", nil}}}, {"usage", m.final},
		}},
		said{name: "message_stop", data: object{{"type", "message_stop"}}})
}

func (m *messages) block(index int, s step) []said {
	whole, pieces := m.content(s)
	event := func(kind, name string, value any) said {
		return said{name: kind, data: object{{"type", kind}, {"index", index}, {name, value}}}
	}
	events := []said{event("content_block_start", "content_block", emptied(whole, len(pieces) > 0))}
	for _, piece := range pieces {
		events = append(events, event("content_block_delta", "delta", piece))
	}
	return append(events, said{name: "content_block_stop", data: object{{"type", "content_block_stop"}, {"index", index}}})
}

// emptied returns a block at its start, without content if that comes in pieces.
func emptied(whole object, comesInPieces bool) object {
	start := append(object(nil), whole...)
	for i, m := range start {
		switch {
		case !comesInPieces:
		case m.name == "text", m.name == "thinking", m.name == "signature":
			start[i].value = ""
		case m.name == "input":
			start[i].value = object{}
		}
	}
	return start
}

// content returns a whole block, and its pieces, if any.
func (m *messages) content(s step) (whole object, pieces []object) {
	in := func(kind, name, text string) {
		for _, piece := range m.pieces(text) {
			pieces = append(pieces, object{{"type", kind}, {name, piece}})
		}
	}
	switch s.kind {
	case thinks:
		in("thinking_delta", "thinking", s.text)
		pieces = append(pieces, object{{"type", "signature_delta"}, {"signature", "c2ln"}})
		return object{{"type", "thinking"}, {"thinking", s.text}, {"signature", "c2ln"}}, pieces
	case thinksRedacted:
		return object{{"type", "redacted_thinking"}, {"data", s.encoded}}, nil
	case calls, callsHosted:
		in("input_json_delta", "partial_json", s.input)
		kind, name := "tool_use", s.name
		if s.kind == callsHosted {
			kind, name = pick(m.dice, "server_tool_use", "mcp_tool_use"), "web_search"
		}
		if m.oneIn(6) && s.input != "" && s.input[0] == '{' && isJSON(s.input) {
			pieces = nil // Some servers send the whole input at the block's start.
		}
		input := any(raw("{}"))
		if isJSON(s.input) {
			input = raw(s.input)
		}
		return object{{"type", kind}, {"id", "toolu_" + s.id}, {"name", name}, {"input", input}}, pieces
	case doesUnknown:
		return object{
			{"type", pick(m.dice, "web_search_tool_result", "container_upload", "fallback")}, {"tool_use_id", "toolu_" + s.id},
			{"content", list{object{{"type", "web_search_result"}, {"title", "x"}}}}, {"name", "none"}, {"input", object{{"a", 1}}},
		}, nil
	}
	in("text_delta", "text", s.text)
	if m.oneIn(5) {
		pieces = append(pieces, object{{"type", "citations_delta"}, {"citation", object{{"type", "char_location"}, {"cited_text", "x"}}}})
	}
	return object{{"type", "text"}, {"text", s.text}}, pieces
}

// body returns the answer without streaming.
func (m *messages) body() any {
	content := list{}
	for _, step := range m.choices[0] {
		whole, _ := m.content(step)
		content = append(content, whole)
	}
	body := m.head(m.merged())
	for i := range body {
		switch body[i].name {
		case "content":
			body[i].value = content
		case "stop_reason":
			body[i].value = "end_turn"
		}
	}
	return body
}

// merged returns the whole usage, as the last report leaves it.
func (m *messages) merged() object {
	whole := append(object(nil), m.start...)
	for _, last := range m.final {
		if last.value == nil || last.value == any(absent{}) {
			continue
		}
		known := false
		for i := range whole {
			if whole[i].name == last.name {
				whole[i], known = last, true
			}
		}
		if !known {
			whole = append(whole, last)
		}
	}
	return whole
}

// failure returns the event that takes the place of the rest of a stream.
func (m *messages) failure() said {
	kind := pick(m.dice, "overloaded_error", "api_error", "rate_limit_error", "invalid_request_error", "timeout_error", "new_error")
	return said{name: "error", data: object{
		{"type", "error"}, {"error", object{{"type", kind}, {"message", m.text()}}}, {"request_id", maybe(m.dice, 2, "req_1")},
	}}
}
