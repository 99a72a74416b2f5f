package rederive

import (
	"cmp"
	"slices"
	"strings"
)

// responsesRequest reads a request of the Responses API.
func responsesRequest(fields object) request {
	tools := namesOf(fields.objects("tools"), "")
	if text, ok := asText(fields["input"]); ok {
		return request{
			tools:   tools,
			system:  textsOf(fields["instructions"]).first(),
			opening: text,
			typed:   texts{parts: []string{text}, single: true},
		}
	}
	items := fields.objects("input")
	asked := request{
		tools:   tools,
		system:  cmp.Or(textsOf(fields["instructions"]).first(), leadingSystem(items)),
		opening: opening(items),
	}
	last := lastNotSystem(items)
	switch {
	case last.text("role") == "user":
		asked.typed = textsOf(last["content"])
	case strings.HasSuffix(last.text("type"), "_output"):
		asked.toolResultID = last.text("call_id")
	}
	return asked
}

func responsesFigures() figureNames {
	thinking := []string{
		"output_tokens_details.reasoning_tokens", "completion_tokens_details.reasoning_tokens", "reasoning_tokens",
		"output_token_details.reasoning_tokens", "completion_token_details.reasoning_tokens",
	}
	const ttl = "input_tokens_details.cache_write_tokens_details."
	return figureNames{
		input: []string{"input_tokens", "prompt_tokens"}, output: []string{"output_tokens", "completion_tokens"},
		total: []string{"total_tokens"}, uncached: []string{"prompt_cache_miss_tokens"}, reasoning: thinking,
		read: []string{
			"input_tokens_details.cached_tokens", "input_tokens_details.cache_read_input_tokens", "prompt_tokens_details.cached_tokens",
			"prompt_cache_hit_tokens", "cache_read_input_tokens", "cached_tokens", "num_cached_tokens", "cached_content_token_count",
			"prompt_token_details.cached_tokens", "input_token_details.cached_tokens",
		},
		write: []string{
			"input_tokens_details.cache_write_tokens", "input_tokens_details.cache_creation_tokens", "cache_creation_input_tokens",
			"cache_creation_tokens",
		},
		extras: map[string][]string{
			"output_reasoning": thinking, "total_tokens": {"total_tokens"},
			"cache_ttl_30m_input": {ttl + "ttl_30m_tokens"}, "cache_ttl_12h_input": {ttl + "ttl_12h_tokens"},
			"web_search_requests":       {"tool_usage.web_search.num_requests"},
			"file_search_requests":      {"tool_usage.file_search.num_requests"},
			"code_interpreter_requests": {"tool_usage.code_interpreter.num_requests"},
			"image_gen_input":           {"tool_usage.image_gen.input_tokens"},
			"image_gen_output":          {"tool_usage.image_gen.output_tokens"},
		},
		included: map[string][]string{"output": thinking},
		written:  []string{ttl + "ttl_30m_tokens", ttl + "ttl_12h_tokens"},
	}
}

// responsesStream reads a stream of the Responses API.
func responsesStream(events []event) reading {
	a := reading{figureNames: responsesFigures()}
	var items responsesItems
	for _, event := range events {
		if a.ended() {
			break
		}
		data, kind := event.object()
		response := data.object("response")
		if !data.present("response") && data.text("object") == "response" {
			response = data // Some servers send it without an event around it.
		}
		switch kind {
		case "response.created", "response.queued", "response.in_progress":
			a.response(response, &items)
		case "response.completed", "response.incomplete", "response.failed":
			a.response(response, &items)
			if data.present("response") {
				a.usage.add(data["usage"])
			}
			a.terminated = true
			if kind == "response.failed" {
				a.fail(&failure{})
			}
		case "response.output_item.added":
			items.begin(&a, place(data), data.object("item"))
		case "response.output_item.done":
			items.finish(&a, place(data), data.object("item"))
		default:
			if items.add(&a, kind, data) || slices.Contains(responsesQuiet(), kind) {
				continue
			}
			if data.text("object") == "response" {
				a.response(data, &items)
			} else if data.text("object") == "response.compaction" {
				a.response(withoutOutput(data), &items)
			} else if told := readFailure(data, kind); told != nil && !strings.HasPrefix(kind, "response.") {
				a.fail(told)
				a.terminated = true
			}
		}
	}
	return a
}

// responsesBody reads an answer of the Responses API that is not streamed.
func responsesBody(body object) reading {
	a := reading{figureNames: responsesFigures()}
	if body.text("object") != "response" {
		a.failure = readFailure(body, body.text("type"))
		a.foreign = true
		return a
	}
	a.response(body, &responsesItems{})
	return a
}

// compactRequest reads a request to compact a conversation.
func compactRequest(fields object) request {
	asked := responsesRequest(fields)
	asked.generated = true
	return asked
}

// compactBody reads a compacted conversation. Its items were made before.
func compactBody(body object) reading {
	if body.text("object") != "response.compaction" {
		return responsesBody(body)
	}
	a := reading{figureNames: responsesFigures()}
	a.response(withoutOutput(body), &responsesItems{})
	return a
}

// withoutOutput returns a response without its items.
func withoutOutput(body object) object {
	kept := object{}
	for name, value := range body {
		if name != "output" {
			kept[name] = value
		}
	}
	return kept
}

// response notes the contents of a response object, which holds the answer so far.
func (a *reading) response(response object, items *responsesItems) {
	a.id, a.model = cmp.Or(response.text("id"), a.id), cmp.Or(response.text("model"), a.model)
	a.status = cmp.Or(response.text("status"), a.status)
	a.cutsCalls = a.status != "completed"
	if response["background"] != nil {
		a.background = string(response["background"]) == "true"
	}
	a.usage.label("service_tier", response.text("service_tier"))
	a.usage.add(response["usage"])
	if response.object("tool_usage") != nil {
		a.usage.beside = append(a.usage.beside, object{"tool_usage": response["tool_usage"]})
	}
	if told := readFailure(response, ""); told != nil {
		a.fail(told)
	}
	if response.text("status") == "failed" {
		a.fail(&failure{})
	}
	for i, item := range response.objects("output") {
		items.finish(a, int64(i), item)
	}
}

// responsesItems are the items of an answer that are calls or thoughts, in the order in which they began.
type responsesItems []*responsesItem

type responsesItem struct {
	kind, id, callID string
	place            int64
	whole            bool // It is complete; later pieces add nothing.
	call             *call
	thoughts         map[int64]*thought // A reasoning's by their index in its summary; a message's at 0.
	shown            map[int64]*thought // A reasoning's by their index in its content.
}

// place returns the position of an event's item in the output, or -1.
func place(event object) int64 {
	if index, ok := event.count("output_index"); ok {
		return index
	}
	return -1
}

// find returns the known item that item reports again, or nil. Some servers give an item another id each time, others
// give all items the same position.
func (s responsesItems) find(at int64, item object) *responsesItem {
	kind, id, callID := item.text("type"), item.text("id"), item.text("call_id")
	for _, known := range s {
		if known.kind == kind && callID != "" && known.callID == callID {
			return known
		}
	}
	for _, known := range s {
		if known.kind == kind && id != "" && known.id == id {
			return known
		}
	}
	known := s.at(at)
	if known == nil || known.kind != kind || known.callID != "" && callID != "" {
		return nil
	}
	return known
}

// at returns the last item at a place, or nil.
func (s responsesItems) at(place int64) *responsesItem {
	for _, known := range slices.Backward(s) {
		if known.place == place && place >= 0 {
			return known
		}
	}
	return nil
}

// begin notes an item that begins, with its content so far.
func (s *responsesItems) begin(a *reading, at int64, item object) {
	if s.find(-1, item) != nil {
		return
	}
	if begun := s.new(a, at, item); begun != nil && begun.call != nil {
		begun.call.withoutInput = cmp.Or(inputOf(item), begun.call.withoutInput)
	}
}

// new notes an item that is not known yet. It returns nil for an item that is neither a call nor a thought.
func (s *responsesItems) new(a *reading, at int64, item object) *responsesItem {
	begun := &responsesItem{kind: item.text("type"), id: item.text("id"), callID: item.text("call_id"), place: at}
	switch {
	case slices.Contains([]string{"function_call", "custom_tool_call", "mcp_call", "mcp_approval_request"}, begun.kind):
		begun.call = a.call(call{id: begun.callID, item: begun.id, tool: item.text("name"), whose: whoseItem(item)})
	case strings.HasSuffix(begun.kind, "_call"):
		begun.call = a.call(call{id: begun.callID, item: begun.id, tool: begun.kind, withoutInput: "{}", whose: whoseItem(item)})
	case strings.HasSuffix(begun.kind, "_output"):
		a.answered = append(a.answered, begun.callID)
		return nil
	case begun.kind == "reasoning", begun.kind == "message" && item.text("phase") == "commentary":
		begun.thought(a, 0)
	default:
		return nil
	}
	if begun.call != nil {
		begun.call.from(item)
	}
	*s = append(*s, begun)
	return begun
}

// whoseItem says who answers a call. Calls of hosted tools mostly have no call id.
func whoseItem(item object) whose {
	hosted := []string{"web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "mcp_call"}
	switch kind := item.text("type"); {
	case kind == "function_call":
		return byName
	case kind == "mcp_approval_request":
		return theClients
	case slices.Contains(hosted, kind), item.text("call_id") == "", item.text("execution") == "server":
		return theProviders
	}
	return theClients
}

// thought returns the thought at an index of an item.
func (i *responsesItem) thought(a *reading, at int64) *thought {
	if i.thoughts == nil {
		i.thoughts = map[int64]*thought{}
	}
	if i.thoughts[at] == nil {
		source := "reasoning_summary"
		if i.kind == "message" {
			source = "commentary"
		}
		i.thoughts[at] = a.thought(source)
		i.link(at)
	}
	return i.thoughts[at]
}

// inContent returns the thought at an index of a reasoning's content.
func (i *responsesItem) inContent(a *reading, at int64) *thought {
	if i.shown == nil {
		i.shown = map[int64]*thought{}
	}
	if i.shown[at] == nil {
		i.shown[at] = a.thought("thinking")
		i.link(at)
	}
	return i.shown[at]
}

// link notes that a summary and a content at the same index may be the same.
func (i *responsesItem) link(at int64) {
	if i.shown[at] != nil {
		i.shown[at].echoes = i.thoughts[at]
	}
}

// finish notes an item that is complete, unless it says that it is not. Its final content counts, unless it is empty.
func (s *responsesItems) finish(a *reading, at int64, item object) {
	known := s.find(at, item)
	if known == nil {
		known = s.new(a, at, item)
	}
	if known == nil {
		return
	}
	known.whole = known.whole || item.text("status") != "in_progress"
	switch {
	case known.call != nil:
		known.call.input.replace(inputOf(item))
		known.call.from(item)
	case known.kind == "message":
		var whole string
		for _, part := range item.objects("content") {
			whole += part.text("text")
		}
		known.thought(a, 0).replace(whole)
	default:
		shown := false
		for i, part := range item.objects("summary") {
			known.thought(a, int64(i)).replace(part.text("text"))
			shown = shown || part.text("text") != ""
		}
		for i, part := range item.objects("content") {
			if text := part.text("text"); text != "" {
				known.inContent(a, int64(i)).replace(text)
				shown = true
			}
		}
		known.thought(a, 0).redacted = !shown && item.text("encrypted_content") != ""
	}
}

// itemEvent returns what an event has of an item: the part, the member with the whole of it, and whether that is all that
// the event has. It returns false for other events.
func itemEvent(kind string) (part, final string, isWhole, ok bool) {
	rest, isResponse := strings.CutPrefix(kind, "response.")
	at := strings.LastIndex(rest, ".")
	if !isResponse || at < 0 {
		return "", "", false, false
	}
	part, isWhole = rest[:at], rest[at:] == ".done"
	final, ok = map[string]string{
		"function_call_arguments": "arguments", "mcp_call_arguments": "arguments", "custom_tool_call_input": "input",
		"reasoning_summary_text": "text", "reasoning_summary": "text", "reasoning_text": "text", "reasoning": "text",
		"output_text": "",
	}[part]
	return part, final, isWhole, ok && (rest[at:] == ".delta" || isWhole && final != "")
}

func isItemEvent(kind string) bool {
	_, _, _, ok := itemEvent(kind)
	return ok
}

// add notes a piece of an item, or the whole of one part. It reports whether the event is of that kind.
func (s responsesItems) add(a *reading, kind string, data object) bool {
	part, final, isWhole, ok := itemEvent(kind)
	if !ok {
		return false
	}
	known := s.at(place(data))
	for _, item := range s {
		if id := data.text("item_id"); id != "" && item.id == id {
			known = item
		}
	}
	if known == nil || known.whole {
		return true
	}
	var to *text
	summary, _ := data.count("summary_index")
	content, _ := data.count("content_index")
	switch {
	case final == "arguments" || final == "input":
		if known.call == nil {
			return true
		}
		to = &known.call.input
	case final == "":
		if known.kind != "message" {
			return true
		}
		to = &known.thought(a, 0).text
	case known.kind != "reasoning":
		return true
	case strings.HasPrefix(part, "reasoning_summary"):
		to = &known.thought(a, summary).text
	default:
		to = &known.inContent(a, content).text
	}
	switch {
	case isWhole:
		to.replace(data.text(final))
	case final == "arguments":
		to.hearJSON(data.text("delta"))
	default:
		to.hear("", data.text("delta"))
	}
	return true
}

// responsesQuiet are the events that say nothing of usage, calls or thoughts, or nothing that others do not say.
func responsesQuiet() []string {
	all := []string{"ping", "keepalive"}
	for names, ends := range map[string]string{
		"content_part reasoning_part reasoning_summary_part": "added done",
		"output_text": "done", "output_text.annotation": "added",
		"refusal code_interpreter_call_code shell_call_output_content apply_patch_call_operation_diff audio audio.transcript": "delta done",
		"shell_call_command":               "added delta done",
		"file_search_call web_search_call": "in_progress searching completed",
		"code_interpreter_call":            "in_progress interpreting completed",
		"image_generation_call":            "in_progress generating partial_image completed",
		"mcp_call mcp_list_tools":          "in_progress completed failed",
		"compaction":                       "compacting in_progress completed",
		"steer":                            "accepted pending failed",
	} {
		for name := range strings.FieldsSeq(names) {
			for end := range strings.FieldsSeq(ends) {
				all = append(all, "response."+name+"."+end)
			}
		}
	}
	return all
}

// inputOf returns the input of a call, whose name differs by the kind of call.
func inputOf(item object) string {
	for _, name := range []string{"arguments", "input", "action", "actions", "operation", "queries", "code"} {
		if text := item.text(name); text != "" {
			return text
		}
		if raw := string(item[name]); strings.HasPrefix(raw, "{") || strings.HasPrefix(raw, "[") {
			return raw
		}
	}
	return ""
}
