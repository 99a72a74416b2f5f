package rederive_test

import "slices"

// chat writes a script as the Chat Completions API does.
type chat struct {
	dice
	script
	plain      plain
	usageTold  usageTold
	finalUsage any
	reasoning  []string // The names of the reasoning member.
	firstIndex int      // The first index of calls: some servers do not count from zero.
	tierToo    bool     // Chunks give the service tier.
	tierAt     int      // The number of the only chunk with the tier; negative: all have it.
	spoken     int      // How many chunks were written.
}

// usageTold says where a stream reports its usage.
type usageTold int

const (
	toldAtLast usageTold = iota
	toldAtLastOnly
	toldWithFinish
	toldRunning
	toldNever
)

func newChat(d dice, s script, plain plain) *chat {
	c := &chat{
		dice: d, script: s, plain: plain,
		usageTold:  pick(d, toldAtLast, toldAtLastOnly, toldWithFinish, toldRunning, toldNever),
		reasoning:  pick(d, []string{"reasoning_content"}, []string{"reasoning"}, []string{"reasoning", "reasoning_content"}),
		firstIndex: pick(d, 0, 0, 0, 3),
		tierToo:    d.oneIn(2),
		tierAt:     pick(d, -1, -1, d.IntN(6)),
	}
	if plain {
		c.tierAt = -1
	}
	if plain && (c.usageTold == toldNever || c.usageTold == toldRunning) {
		c.usageTold = toldAtLast
	}
	c.finalUsage = c.usageObject(s.usage.output)
	return c
}

// odd returns a part of n, and seldom more than n.
func (d dice) odd(n int) int {
	if d.oneIn(10) {
		return n + 1
	}
	return d.upTo(n)
}

func (c *chat) usageObject(output int) any {
	u, d := c.usage, c.dice
	prompt := u.input + u.read + u.write
	if u.inconsistent {
		prompt = (u.read + u.write) / 2
	}
	return object{
		{"prompt_tokens", d.number(prompt)},
		{"completion_tokens", d.number(output)},
		{"total_tokens", prompt + output},
		{"prompt_tokens_details", maybe(d, 4, object{
			{"cached_tokens", maybe(d, 5, d.number(u.read))},
			{"cache_write_tokens", maybe(d, 3, u.write)},
			{"audio_tokens", maybe(d, 2, d.odd(prompt))},
		})},
		{"completion_tokens_details", maybe(d, 4, object{
			{"reasoning_tokens", maybe(d, 3, min(u.reasoning, output))},
			{"audio_tokens", maybe(d, 2, d.odd(output))},
			{"accepted_prediction_tokens", maybe(d, 2, d.odd(output))},
			{"rejected_prediction_tokens", maybe(d, 2, d.odd(output))},
		})},
	}
}

// chunk returns a chunk with choices.
func (c *chat) chunk(choices list, usage any) said {
	tier := any(absent{})
	if c.tierToo && c.tier != "" && (c.tierAt < 0 || c.tierAt == c.spoken) {
		tier = c.tier
	}
	c.spoken++
	return said{data: object{
		{"id", c.id}, {"object", "chat.completion.chunk"}, {"created", 1763000000},
		{"error", pick[any](c.dice, absent{}, absent{}, nil)}, {"model", c.model}, {"service_tier", tier},
		{"system_fingerprint", maybe(c.dice, 2, "fp_1")}, {"choices", choices}, {"usage", usage},
		{"obfuscation", maybe(c.dice, 2, "abc"[:c.upTo(3)])},
	}}
}

func (c *chat) choice(index int, delta object, finish any) object {
	return object{{"index", index}, {"delta", delta}, {"logprobs", maybe(c.dice, 2, raw("null"))}, {"finish_reason", finish}}
}

// stream returns the events of a whole stream.
func (c *chat) stream() []said {
	var sequences [][]object
	for index, steps := range c.choices {
		deltas := []object{{{"role", "assistant"}, {"content", pick[any](c.dice, "", nil)}}}
		var spoken [][]object
		call := c.firstIndex
		for _, step := range steps {
			spoken = append(spoken, c.deltas(step, call))
			if step.kind == calls {
				call++
			}
		}
		if c.plain {
			spoken = inOrderButCalls(steps, spoken)
		}
		deltas = append(deltas, interleave(c.dice, nonEmpty(spoken))...)
		sequence := make([]object, 0, len(deltas)+1)
		for _, delta := range deltas {
			sequence = append(sequence, c.choice(index, delta, pick[any](c.dice, nil, absent{})))
		}
		finish := pick(c.dice, "stop", "tool_calls", "length", "content_filter")
		sequences = append(sequences, append(sequence, c.choice(index, object{}, finish)))
	}
	spoken := c.together(sequences)
	var events []said
	if c.oneIn(6) { // Content filter results for the prompt, before anything else.
		first := c.chunk(list{}, pick[any](c.dice, nil, absent{}))
		first.data = object{{"id", ""}, {"object", ""}, {"model", ""}, {"choices", list{}}, {"prompt_filter_results", list{}}}
		events = append(events, first)
	}
	for i, choices := range spoken {
		usage := pick[any](c.dice, nil, absent{})
		last := i == len(spoken)-1
		switch {
		case c.usageTold == toldWithFinish && last, c.usageTold == toldRunning && last:
			usage = c.finalUsage
		case c.usageTold == toldRunning:
			usage = c.usageObject(c.usage.output * i / len(spoken))
		}
		events = append(events, c.chunk(choices, usage))
	}
	if c.usageTold == toldAtLast || c.usageTold == toldAtLastOnly {
		tail := c.chunk(list{}, c.finalUsage)
		tail.usageOnly = true
		events = append(events, tail)
	}
	if c.oneIn(8) {
		return events // Some servers never send [DONE].
	}
	return append(events, said{data: raw("[DONE]")})
}

// inOrderButCalls returns the pieces of calls, which may come between others, and the pieces of all other steps as one
// sequence: an answer that is not streamed keeps their order.
func inOrderButCalls[T any](steps []step, spoken [][]T) [][]T {
	var others []T
	var sequences [][]T
	for i, step := range steps {
		if step.kind == calls || step.kind == callsHosted {
			sequences = append(sequences, spoken[i])
			continue
		}
		others = append(others, spoken[i]...)
	}
	return append(sequences, others)
}

func nonEmpty[T any](sequences [][]T) [][]T {
	return slices.DeleteFunc(sequences, func(s []T) bool { return len(s) == 0 })
}

// together puts the pieces of all choices into chunks, mostly with one choice each. In a plain script the choices come
// one after another.
func (c *chat) together(sequences [][]object) []list {
	var chunks []list
	if !c.plain {
		for _, piece := range interleave(c.dice, sequences) {
			chunks = append(chunks, list{piece})
		}
	} else {
		for _, sequence := range sequences {
			for _, piece := range sequence {
				chunks = append(chunks, list{piece})
			}
		}
	}
	if c.oneIn(4) && len(chunks) > 2 {
		// Put two pieces into one chunk, if they belong to two choices.
		i := c.IntN(len(chunks) - 1)
		one, other := chunks[i][0].(object), chunks[i+1][0].(object)
		if one[0].value != other[0].value {
			chunks = slices.Replace(chunks, i, i+2, list{one, other})
		}
	}
	return chunks
}

// deltas returns the pieces of a step.
func (c *chat) deltas(s step, call int) []object {
	var deltas []object
	switch s.kind {
	case thinks:
		for _, piece := range c.pieces(s.text) {
			deltas = append(deltas, c.reason(piece))
		}
	case says, comments:
		for _, piece := range c.pieces(s.text) {
			deltas = append(deltas, object{{"content", piece}})
		}
	case calls:
		if !c.plain && c.oneIn(8) {
			return c.oddDeltas(s)
		}
		function, input, kind := "function", "arguments", "function"
		if c.oneIn(5) {
			function, input, kind = "custom", "input", "custom"
		}
		first := object{
			{"index", call}, {"id", "call_" + s.id}, {"type", kind},
			{function, object{{"name", s.name}, {input, pick[any](c.dice, "", absent{})}}},
		}
		deltas = append(deltas, object{{"tool_calls", list{first}}})
		for _, piece := range c.pieces(s.input) {
			deltas = append(deltas, object{{"tool_calls", list{object{
				{"index", call}, {"id", pick[any](c.dice, absent{}, nil, "")}, {function, object{{input, piece}}},
			}}}})
		}
	case doesUnknown:
		deltas = append(deltas, object{{"annotations", list{object{{"type", "url_citation"}}}}, {"refusal", nil}})
	}
	return deltas
}

// oddDeltas returns the pieces of a call as some servers send them: in the older form, without an index, or with
// arguments that are no string.
func (c *chat) oddDeltas(s step) []object {
	switch c.IntN(3) {
	case 0:
		deltas := []object{{{"function_call", object{{"name", s.name}, {"arguments", ""}}}}}
		for _, piece := range c.pieces(s.input) {
			deltas = append(deltas, object{{"function_call", object{{"arguments", piece}}}})
		}
		return deltas
	case 1:
		call := object{{"id", "call_" + s.id}, {"function", object{{"name", s.name}, {"arguments", s.input}}}}
		return []object{{{"tool_calls", list{call}}}}
	}
	arguments := object{{"index", 7}, {"id", "call_" + s.id}, {"function", object{{"name", s.name}, {"arguments", raw(`{ "a" : [1] }`)}}}}
	return []object{{{"tool_calls", list{arguments}}}}
}

func (c *chat) reason(text string) object {
	delta := object{{"content", pick[any](c.dice, nil, absent{}, "")}}
	for _, name := range c.reasoning {
		delta = append(delta, member{name, text})
	}
	return delta
}

// body returns the answer without streaming.
func (c *chat) body() any {
	choices := list{}
	for index, steps := range c.choices {
		message := object{{"role", "assistant"}}
		var text, reasoning string
		made := list{}
		for _, step := range steps {
			switch step.kind {
			case thinks:
				reasoning += step.text
			case says, comments:
				text += step.text
			case calls:
				call := object{
					{"id", "call_" + step.id}, {"type", "function"}, {"function", object{{"name", step.name}, {"arguments", step.input}}},
				}
				if c.oneIn(5) {
					call = object{{"id", "call_" + step.id}, {"type", "custom"}, {"custom", object{{"name", step.name}, {"input", step.input}}}}
				}
				made = append(made, call)
			}
		}
		message = append(message, member{"content", text})
		if reasoning != "" {
			for _, name := range c.reasoning {
				message = append(message, member{name, reasoning})
			}
		}
		if len(made) > 0 {
			message = append(message, member{"tool_calls", made})
		}
		choices = append(choices, object{{"index", index}, {"message", message}, {"finish_reason", "stop"}, {"logprobs", nil}})
	}
	tier, usage := any(absent{}), any(absent{})
	if c.tierToo && c.tier != "" {
		tier = c.tier
	}
	if c.usageTold != toldNever {
		usage = c.finalUsage
	}
	return object{
		{"id", c.id}, {"object", "chat.completion"}, {"created", 1763000000}, {"model", c.model}, {"choices", choices},
		{"usage", usage}, {"service_tier", tier}, {"error", pick[any](c.dice, absent{}, nil)},
	}
}

// failure returns the event that takes the place of the rest of a stream.
func (c *chat) failure() said { return said{data: openAIFailure(c.dice)} }

func openAIFailure(d dice) object {
	return object{{"error", object{
		{"message", d.text()},
		{"type", pick[any](d, "server_error", "invalid_request_error", "insufficient_quota", "tokens", "new_error", nil)},
		{"param", nil},
		{"code", pick[any](d, nil, absent{}, "rate_limit_exceeded", "insufficient_quota", 502, 429)},
	}}}
}
