package fakellm

// responsesStream collects events and numbers them.
type responsesStream struct {
	events []event
	index  int // Of the output item.
}

func (s *responsesStream) add(kind string, data object) {
	data["type"], data["sequence_number"] = kind, len(s.events)
	s.events = append(s.events, event{kind, encode(data)})
}

// item adds the events of an output item: its announcement with added, the events that between adds, and its end with
// done.
func (s *responsesStream) item(added, done object, between func(add func(kind string, data object))) {
	s.add("response.output_item.added", object{"output_index": s.index, "item": added})
	between(func(kind string, data object) {
		data["output_index"], data["item_id"] = s.index, added["id"]
		s.add(kind, data)
	})
	s.add("response.output_item.done", object{"output_index": s.index, "item": done})
	s.index++
}

func responsesEvents(request ask, a reply) []event {
	var s responsesStream
	s.add("response.created", object{"response": responsesObject(request, a, "in_progress", []object{})})
	s.add("response.in_progress", object{"response": responsesObject(request, a, "in_progress", []object{})})
	output := responsesOutput(request, a)
	for i, thought := range a.thoughts {
		s.item(reasoningItem(a, i, []object{}), output[s.index], summaryOf(thought))
	}
	if a.hasFirstMessage() {
		s.item(messageItem(a, 0, "in_progress", []object{}), output[s.index], contentOf(a.text))
	}
	for i, c := range a.calls {
		s.item(callItem(c, "in_progress", ""), output[s.index], inputOf(c, i != a.cutCall()))
	}
	if a.after != "" {
		s.item(messageItem(a, 1, "in_progress", []object{}), output[s.index], contentOf(a.after))
	}
	s.add("response."+a.status(), object{"response": responsesObject(request, a, a.status(), output)})
	return s.events
}

func summaryOf(thought string) func(add func(string, object)) {
	return func(add func(string, object)) {
		part := func(text string) object { return object{"type": "summary_text", "text": text} }
		add("response.reasoning_summary_part.added", object{"summary_index": 0, "part": part("")})
		for _, piece := range pieces(thought) {
			add("response.reasoning_summary_text.delta", object{"summary_index": 0, "delta": piece})
		}
		add("response.reasoning_summary_text.done", object{"summary_index": 0, "text": thought})
		add("response.reasoning_summary_part.done", object{"summary_index": 0, "part": part(thought)})
	}
}

func contentOf(text string) func(add func(string, object)) {
	return func(add func(string, object)) {
		add("response.content_part.added", object{"content_index": 0, "part": outputText("")})
		for _, piece := range pieces(text) {
			add("response.output_text.delta", object{"content_index": 0, "delta": piece, "logprobs": []object{}})
		}
		add("response.output_text.done", object{"content_index": 0, "text": text, "logprobs": []object{}})
		add("response.content_part.done", object{"content_index": 0, "part": outputText(text)})
	}
}

func inputOf(c ToolCall, whole bool) func(add func(string, object)) {
	return func(add func(string, object)) {
		kind, field := "response.function_call_arguments", "arguments"
		if c.custom {
			kind, field = "response.custom_tool_call_input", "input"
		}
		for _, piece := range inputPieces(c.Input) {
			add(kind+".delta", object{"delta": piece})
		}
		if whole {
			add(kind+".done", object{field: c.Input, "name": c.Name})
		}
	}
}

func responsesFailure(f failure, sequence int) event {
	return event{"error", encode(object{
		"type": "error", "code": f.kind, "message": f.message, "param": nil, "sequence_number": sequence,
	})}
}
