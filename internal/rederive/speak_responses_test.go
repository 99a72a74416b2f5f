package rederive_test

import "fmt"

// responses writes a script as the Responses API does.
type responses struct {
	dice
	script
	plain    plain
	told     any    // The usage.
	ending   string // The last event.
	outputs  bool   // The last event holds the items.
	newIDs   bool   // Items have another id in each report.
	sequence int
	items    []object // The final items.
}

func newResponses(d dice, s script, plain plain) *responses {
	r := &responses{
		dice: d, script: s, plain: plain,
		ending:  pick(d, "response.completed", "response.completed", "response.completed", "response.incomplete", "response.failed"),
		outputs: !d.oneIn(4),
		newIDs:  d.oneIn(8) && !plain,
	}
	if plain {
		r.ending = "response.completed"
	}
	r.told = r.usageObject()
	if !plain && d.oneIn(8) {
		r.told = pick[any](d, nil, absent{})
	}
	for _, step := range s.choices[0] {
		r.items = append(r.items, r.item(step))
	}
	return r
}

func (r *responses) usageObject() any {
	u, d := r.usage, r.dice
	input := u.input + u.read + u.write
	if u.inconsistent {
		input = (u.read + u.write) / 2
	}
	return object{
		{"input_tokens", d.number(input)},
		{"input_tokens_details", maybe(d, 4, object{
			{"cached_tokens", maybe(d, 5, d.number(u.read))},
			{"cache_write_tokens", maybe(d, 3, u.write)},
			{"cache_write_tokens_details", maybe(d, 2, object{{"ttl_12h_tokens", u.write}})},
		})},
		{"output_tokens", d.number(u.output)},
		{"output_tokens_details", maybe(d, 4, object{{"reasoning_tokens", maybe(d, 4, u.reasoning)}})},
		{"total_tokens", maybe(d, 4, input+u.output)},
	}
}

// item returns the final item of a step.
func (r *responses) item(s step) object {
	d := r.dice
	switch s.kind {
	case thinks:
		summary := list{}
		for _, text := range s.summary {
			summary = append(summary, object{{"type", "summary_text"}, {"text", text}})
		}
		return object{{"type", "reasoning"}, {"id", "rs_" + s.id}, {"summary", summary}, {"encrypted_content", maybe(d, 2, "gAAA")}}
	case thinksRedacted:
		return object{{"type", "reasoning"}, {"id", "rs_" + s.id}, {"summary", list{}}, {"encrypted_content", s.encoded}}
	case says, comments:
		phase := pick[any](d, absent{}, nil, "final", "final_answer")
		if s.kind == comments {
			phase = "commentary"
		}
		return object{
			{"type", "message"}, {"id", "msg_" + s.id}, {"role", "assistant"}, {"status", "completed"}, {"phase", phase},
			{"content", list{object{{"type", "output_text"}, {"text", s.text}, {"annotations", list{}}}}},
		}
	case calls:
		switch d.IntN(4) {
		case 0:
			return object{{"type", "custom_tool_call"}, {"id", "ctc_" + s.id}, {"call_id", "call_" + s.id}, {"name", s.name}, {"input", s.input}}
		case 1:
			return object{
				{"type", "mcp_call"}, {"id", "mcp_" + s.id}, {"name", s.name}, {"server_label", "docs"}, {"arguments", s.input},
				{"output", pick[any](d, nil, "done")},
			}
		}
		return object{
			{"type", "function_call"}, {"id", "fc_" + s.id}, {"call_id", "call_" + s.id}, {"name", s.name}, {"arguments", s.input},
			{"status", "completed"},
		}
	case callsHosted:
		return r.hosted(s)
	}
	return object{
		{"type", pick(d, "shell_call_output", "mcp_list_tools", "compaction", "new_item")}, {"id", "x_" + s.id},
		{"call_id", maybe(d, 2, "call_"+s.id)}, {"arguments", "none"}, {"output", list{}},
	}
}

func (r *responses) hosted(s step) object {
	d := r.dice
	kind := pick(d, "web_search_call", "file_search_call", "code_interpreter_call", "shell_call", "image_generation_call", "computer_call",
		"apply_patch_call", "tool_search_call", "local_shell_call")
	item := object{{"type", kind}, {"id", "h_" + s.id}, {"status", "completed"}}
	switch kind {
	case "file_search_call":
		item = append(item, member{"queries", raw(`["x", "ü"]`)}, member{"results", nil})
	case "code_interpreter_call":
		item = append(item, member{"code", "print(\"x\")\n"}, member{"container_id", "c_1"}, member{"outputs", nil})
	case "image_generation_call":
		item = append(item, member{"result", "AAAA"})
	case "apply_patch_call":
		item = append(item, member{"operation", raw(s.input)}, member{"call_id", "call_" + s.id})
	case "tool_search_call":
		item = append(item, member{"arguments", raw(s.input)}, member{"call_id", "call_" + s.id})
	default:
		item = append(item, member{"action", raw(s.input)})
		if kind != "web_search_call" {
			item = append(item, member{"call_id", "call_" + s.id})
		}
	}
	return item
}

func (r *responses) event(kind string, members ...member) said {
	r.sequence++
	data := append(object{{"type", kind}, {"sequence_number", r.sequence}}, members...)
	return said{name: kind, data: append(data, member{"obfuscation", maybe(r.dice, 2, "0123456789"[:r.upTo(10)])})}
}

func (r *responses) response(status string, members ...member) object {
	tier := any(absent{})
	if r.tier != "" {
		tier = r.tier
	}
	return append(object{
		{"id", r.id}, {"object", "response"}, {"status", status}, {"model", r.model}, {"service_tier", tier},
		{"instructions", maybe(r.dice, 2, r.text())}, {"tools", list{object{{"type", "function"}, {"name", "T"}}}},
	}, members...)
}

// stream returns the events of a whole stream.
func (r *responses) stream() []said {
	begun := r.response("in_progress", member{"output", list{}}, member{"usage", nil}, member{"error", nil})
	events := []said{r.event("response.created", member{"response", begun}), r.event("response.in_progress", member{"response", begun})}
	var items [][]said
	for index, step := range r.choices[0] {
		items = append(items, r.itemEvents(index, step, r.items[index]))
	}
	if r.plain {
		items = inOrderButCalls(r.choices[0], items)
	}
	return append(append(events, interleave(r.dice, nonEmpty(items))...), r.end())
}

// end returns the last event.
func (r *responses) end() said {
	output := list{}
	if r.outputs {
		for _, item := range r.items {
			output = append(output, r.renamed(item))
		}
	}
	status := r.ending[len("response."):]
	response := r.response(status, member{"output", output}, member{"usage", r.told})
	switch status {
	case "failed":
		response = append(response, member{"error", maybe(r.dice, 5, object{
			{"code", pick(r.dice, "server_error", "rate_limit_exceeded", "invalid_prompt", "insufficient_quota", "new_code")}, {"message", r.text()},
		})})
	case "incomplete":
		response = append(response, member{"error", nil}, member{"incomplete_details", object{{"reason", "max_output_tokens"}}})
	}
	return r.event(r.ending, member{"response", response})
}

// renamed returns an item, under another id if this server gives new ones.
func (r *responses) renamed(item object) object {
	if !r.newIDs {
		return item
	}
	return item.with("id", fmt.Sprint("other_", r.Uint64()))
}

func (o object) with(name string, value any) object {
	changed := append(object(nil), o...)
	for i := range changed {
		if changed[i].name == name {
			changed[i].value = value
		}
	}
	return changed
}

func (r *responses) itemEvents(index int, s step, item object) []said {
	at := member{"output_index", index}
	begun := item.with("status", "in_progress").with("content", list{}).with("summary", list{}).with("encrypted_content", absent{})
	for _, name := range []string{"arguments", "input", "action", "operation", "code", "queries", "result"} {
		begun = begun.with(name, pick[any](r.dice, "", absent{}))
	}
	id := member{"item_id", item[1].value}
	events := []said{r.event("response.output_item.added", at, member{"item", begun})}
	pieces := func(kind, text string, more ...member) {
		for _, piece := range r.pieces(text) {
			events = append(events, r.event(kind+".delta", append([]member{at, id, {"delta", piece}}, more...)...))
		}
	}
	switch item[0].value {
	case "reasoning":
		if s.kind != thinks {
			break
		}
		for i, text := range s.summary {
			events = append(events, r.event("response.reasoning_summary_part.added", at, id, member{"summary_index", i},
				member{"part", object{{"type", "summary_text"}, {"text", ""}}}))
			pieces("response.reasoning_summary_text", text, member{"summary_index", i})
			events = append(events, r.event("response.reasoning_summary_text.done", at, id, member{"summary_index", i}, member{"text", text}))
		}
	case "message":
		events = append(events, r.event("response.content_part.added", at, id, member{"content_index", 0}))
		pieces("response.output_text", s.text, member{"content_index", 0}, member{"logprobs", list{}})
		events = append(events, r.event("response.output_text.done", at, id, member{"content_index", 0}, member{"text", s.text}))
	case "function_call":
		pieces("response.function_call_arguments", s.input)
		events = append(events, r.event("response.function_call_arguments.done", at, id, member{"arguments", s.input}))
	case "mcp_call":
		pieces("response.mcp_call_arguments", s.input)
		events = append(events, r.event("response.mcp_call_arguments.done", at, id, member{"arguments", s.input}))
	case "custom_tool_call":
		pieces("response.custom_tool_call_input", s.input)
		events = append(events, r.event("response.custom_tool_call_input.done", at, id, member{"input", s.input}))
	case "code_interpreter_call":
		pieces("response.code_interpreter_call_code", "print(1)")
	default:
		events = append(events, r.event(fmt.Sprintf("response.%s.in_progress", item[0].value), at, id))
	}
	return append(events, r.event("response.output_item.done", at, member{"item", r.renamed(item)}))
}

// body returns the answer without streaming.
func (r *responses) body() any {
	output := list{}
	for _, item := range r.items {
		output = append(output, item)
	}
	return r.response("completed", member{"output", output}, member{"usage", r.told}, member{"error", nil})
}

// failure returns the event that takes the place of the rest of a stream.
func (r *responses) failure() said {
	code, message := member{"code", pick[any](r.dice, "server_error", "rate_limit_exceeded", "new_code", nil)}, member{"message", r.text()}
	if r.oneIn(2) {
		return r.event("error", code, message, member{"param", nil})
	}
	kind := member{"type", pick[any](r.dice, "server_error", "invalid_request_error", "tokens")}
	return r.event("error", member{"error", object{kind, code, message, {"param", nil}}})
}
