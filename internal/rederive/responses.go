package rederive

import (
	"cmp"
	"slices"
	"strings"
)

// responsesRequest reads a request of the Responses API.
func responsesRequest(fields object) request {
	if text, ok := asText(fields["input"]); ok {
		return request{
			system:  textsOf(fields["instructions"]).first(),
			opening: text,
			typed:   texts{parts: []string{text}, single: true},
		}
	}
	items := fields.objects("input")
	asked := request{
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
	return figureNames{
		input: "input_tokens", output: "output_tokens", inputHasCached: true,
		read: "input_tokens_details.cached_tokens", write: "input_tokens_details.cache_write_tokens",
		extras: map[string]string{
			"output_tokens_details.reasoning_tokens": "output_reasoning",
			"total_tokens":                           "total_tokens",
		},
		parts: [][]string{
			{"input_tokens", "input_tokens_details.cached_tokens", "input_tokens_details.cache_write_tokens"},
			{"output_tokens", "output_tokens_details.reasoning_tokens"},
		},
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
		switch kind {
		case "response.created", "response.queued", "response.in_progress":
			a.response(data.object("response"), &items)
		case "response.completed", "response.incomplete", "response.failed":
			a.response(data.object("response"), &items)
			a.terminated = true
			if kind == "response.failed" {
				a.fail(&failure{})
			}
		case "response.output_item.added":
			items.begin(&a, place(data), data.object("item"))
		case "response.output_item.done":
			items.finish(&a, place(data), data.object("item"))
		default:
			items.add(&a, kind, data)
			if told := readFailure(data, kind); told != nil && !strings.HasPrefix(kind, "response.") {
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
	kept := object{}
	for name, value := range body {
		if name != "output" {
			kept[name] = value
		}
	}
	a := reading{figureNames: responsesFigures()}
	a.response(kept, &responsesItems{})
	return a
}

// response notes the contents of a response object, which holds the answer so far.
func (a *reading) response(response object, items *responsesItems) {
	a.id, a.model = cmp.Or(response.text("id"), a.id), cmp.Or(response.text("model"), a.model)
	a.tier = cmp.Or(response.text("service_tier"), a.tier)
	a.status = cmp.Or(response.text("status"), a.status)
	if response["background"] != nil {
		a.background = string(response["background"]) == "true"
	}
	a.figures.add(response.object("usage"))
	for i, item := range response.objects("output") {
		items.finish(a, int64(i), item)
	}
	if told := readFailure(response, ""); told != nil {
		a.fail(told)
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
	case slices.Contains([]string{"function_call", "custom_tool_call", "mcp_call"}, begun.kind):
		begun.call = a.call(call{id: begun.callID, item: begun.id, tool: item.text("name")})
	case strings.HasSuffix(begun.kind, "_call"):
		begun.call = a.call(call{id: begun.callID, item: begun.id, tool: begun.kind, withoutInput: "{}"})
	case begun.kind == "reasoning", begun.kind == "message" && item.text("phase") == "commentary":
		begun.thought(a, 0)
	default:
		return nil
	}
	*s = append(*s, begun)
	return begun
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
	}
	return i.thoughts[at]
}

// finish notes an item that is complete. Its final content counts, unless it is empty.
func (s *responsesItems) finish(a *reading, at int64, item object) {
	known := s.find(at, item)
	if known == nil {
		known = s.new(a, at, item)
	}
	if known != nil {
		known.whole = true
	}
	switch {
	case known == nil:
	case known.call != nil:
		known.call.input = cmp.Or(inputOf(item), known.call.input)
	case known.kind == "message":
		var whole string
		for _, part := range item.objects("content") {
			whole += part.text("text")
		}
		t := known.thought(a, 0)
		t.content = cmp.Or(whole, t.content)
	default:
		shown := false
		for i, part := range item.objects("summary") {
			t := known.thought(a, int64(i))
			t.content = cmp.Or(part.text("text"), t.content)
			shown = shown || part.text("text") != ""
		}
		known.thought(a, 0).redacted = !shown && item.text("encrypted_content") != ""
	}
}

// add notes a piece of an item.
func (s responsesItems) add(a *reading, kind string, data object) {
	known := s.at(place(data))
	for _, item := range s {
		if id := data.text("item_id"); id != "" && item.id == id {
			known = item
		}
	}
	if known == nil || known.whole {
		return
	}
	switch kind {
	case "response.function_call_arguments.delta", "response.custom_tool_call_input.delta", "response.mcp_call_arguments.delta":
		if known.call != nil {
			known.call.input += data.text("delta")
		}
	case "response.reasoning_summary_text.delta":
		if known.kind == "reasoning" {
			at, _ := data.count("summary_index")
			known.thought(a, at).content += data.text("delta")
		}
	case "response.output_text.delta":
		if known.kind == "message" {
			known.thought(a, 0).content += data.text("delta")
		}
	}
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
