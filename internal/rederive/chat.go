package rederive

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
)

// chatRequest reads a request of the Chat Completions API.
func chatRequest(fields object) request {
	if text, ok := asText(fields["prompt"]); ok && !fields.has("messages") {
		return request{opening: text, typed: texts{parts: []string{text}, single: true}}
	}
	messages := fields.objects("messages")
	asked := request{
		system: leadingSystem(messages), opening: opening(messages),
		tools: append(namesOf(fields.objects("tools"), "function", "custom"), namesOf(fields.objects("functions"), "")...),
	}
	last := lastNotSystem(messages)
	switch last.text("role") {
	case "user":
		asked.typed = textsOf(last["content"])
	case "tool":
		asked.toolResultID = last.text("tool_call_id")
	}
	return asked
}

func chatFigures() figureNames {
	details := func(object string, names ...string) []string {
		for i := range names {
			names[i] = object + "." + names[i]
		}
		return names
	}
	thinking := append(details("completion_tokens_details", "reasoning_tokens", "thinking_tokens"),
		"output_tokens_details.reasoning_tokens", "reasoning_tokens", "completion_token_details.reasoning_tokens",
		"output_token_details.reasoning_tokens")
	return figureNames{
		input: []string{"prompt_tokens", "input_tokens"}, output: []string{"completion_tokens", "output_tokens"},
		total: []string{"total_tokens"},
		read: append(details("prompt_tokens_details", "cached_tokens", "cache_read_tokens", "cache_read_input_tokens"),
			"input_tokens_details.cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens", "cache_read_tokens", "cached_tokens",
			"num_cached_tokens", "prompt_token_details.cached_tokens", "input_token_details.cached_tokens", "cached_content_token_count"),
		write: append(details("prompt_tokens_details",
			"cache_write_tokens", "cache_creation_tokens", "cached_creation_tokens", "cache_creation_input_tokens"),
			"cache_creation_input_tokens", "cache_creation_tokens", "cache_write_tokens"),
		uncached:  []string{"prompt_cache_miss_tokens"},
		reasoning: thinking,
		extras: map[string][]string{
			"total_tokens":                   {"total_tokens"},
			"prompt_audio":                   {"prompt_tokens_details.audio_tokens"},
			"completion_audio":               {"completion_tokens_details.audio_tokens"},
			"completion_reasoning":           thinking,
			"completion_accepted_prediction": {"completion_tokens_details.accepted_prediction_tokens"},
			"completion_rejected_prediction": {"completion_tokens_details.rejected_prediction_tokens"},
		},
		included: map[string][]string{
			"input": {"prompt_tokens_details.audio_tokens"},
			"output": append(details("completion_tokens_details",
				"audio_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens"), thinking...),
		},
	}
}

// chatStream reads a stream of the Chat Completions API.
func chatStream(events []event) reading {
	c := chatReading{reading: reading{figureNames: chatFigures()}, last: map[chatPlace]*call{}, choices: map[int64]*chatChoice{}}
	for _, event := range events {
		if c.ended() {
			break
		}
		if strings.TrimSpace(event.data) == "[DONE]" {
			c.terminated = true
			continue
		}
		data, kind := event.object()
		reports := len(c.usage.objects)
		if told := readFailure(data, kind); told != nil {
			c.failed(told)
		}
		c.chunk(data, true)
		if len(c.usage.objects) > reports {
			c.preliminary = false
		}
	}
	return c.reading
}

// chatBody reads an answer of the Chat Completions API that is not streamed: it is like a chunk whose choices have
// messages in place of deltas.
func chatBody(body object) reading {
	c := chatReading{reading: reading{figureNames: chatFigures()}, last: map[chatPlace]*call{}, choices: map[int64]*chatChoice{}}
	if told := readFailure(body, body.text("type")); told != nil {
		c.fail(told)
	}
	c.chunk(body, false)
	c.preliminary = false
	hasMessage := slices.ContainsFunc(body.objects("choices"), func(choice object) bool { return choice.object("message") != nil })
	switch body.text("object") {
	case "chat.completion":
	case "chat.completion.chunk":
		c.foreign = !c.finished
	default: // Some servers do not give the kind of an object.
		c.foreign = !c.finished && !hasMessage
	}
	return c.reading
}

// chatReading is a reading with what later pieces add to.
type chatReading struct {
	reading
	last    map[chatPlace]*call
	choices map[int64]*chatChoice
}

type chatPlace struct {
	choice, index int64
	older         bool // It is a function_call, the older form of tool_calls.
}

type chatChoice struct {
	calls   []*call
	thought *thought
}

func (c *chatReading) choice(index int64) *chatChoice {
	if c.choices[index] == nil {
		c.choices[index] = &chatChoice{}
	}
	return c.choices[index]
}

// failed notes an error that takes the place of the rest. No [DONE] follows it.
func (c *chatReading) failed(told *failure) {
	c.fail(told)
	c.preliminary = c.preliminary || !c.finished
	c.finished = true
}

func (c *chatReading) chunk(chunk object, streamed bool) {
	c.id, c.model = cmp.Or(c.id, chunk.text("id")), cmp.Or(c.model, chunk.text("model"))
	c.usage.label("service_tier", chunk.text("service_tier"))
	c.reports(chunk)
	for _, choice := range chunk.objects("choices") {
		index, _ := choice.count("index")
		delta, message := choice.object("delta"), choice.object("message")
		if delta != nil {
			c.message(index, delta, "delta")
		}
		switch isChunk := chunk.text("object") == "chat.completion.chunk"; {
		case message == nil:
		case delta == nil && !streamed:
			c.message(index, message, "body")
		case delta == nil && isChunk:
			c.message(index, message, "piece")
		default:
			c.message(index, message, "whole")
		}
		finish := choice.text("finish_reason")
		told := cmp.Or(readFailure(choice, ""), readFailure(delta, ""), readFailure(message, ""))
		if told == nil && finish == "error" {
			told = &failure{}
		}
		if told != nil {
			c.failed(told)
		}
		c.finished = c.finished || finish != ""
		c.cutsCalls = c.cutsCalls || slices.Contains(
			[]string{"length", "content_filter", "error", "max_tokens", "insufficient_system_resource"}, finish)
	}
}

// reports notes the usage objects of a chunk. Some servers have it in a member of their own, or within a choice.
func (c *chatReading) reports(chunk object) {
	c.usage.add(chunk["usage"])
	c.usage.add(chunk.object("x_groq")["usage"])
	for _, choice := range chunk.objects("choices") {
		c.usage.add(choice["usage"])
		c.usage.add(choice.object("delta")["usage"])
		c.usage.add(choice.object("message")["usage"])
	}
}

// message notes a choice's message, or a piece of one. A whole one repeats what other pieces of a stream brought.
func (c *chatReading) message(choice int64, message object, as string) {
	c.think(choice, message, as)
	for position, piece := range message.objects("tool_calls") {
		if piece == nil {
			continue
		}
		place := chatPlace{choice: choice, index: int64(position)}
		index, hasIndex := piece.count("index")
		if hasIndex {
			place.index = index
		}
		function, input := piece.object("function"), "arguments"
		custom := piece.object("custom")
		if custom != nil {
			function, input = custom, "input"
		}
		made := c.called(chatPiece{
			place, hasIndex, position, piece.text("id"), function.text("name"), chatInput(function, input), custom == nil,
		}, as)
		made.from(piece)
		made.from(function)
	}
	if function := message.object("function_call"); function != nil {
		place := chatPlace{choice: choice, older: true}
		c.called(chatPiece{place, true, 0, "", function.text("name"), chatInput(function, "arguments"), true}, as)
	}
}

// chatPiece is what a piece says of its call.
type chatPiece struct {
	place    chatPlace
	hasIndex bool
	position int
	id, tool string
	input    string
	isJSON   bool // The input is.
}

// namesOn reports whether a piece can go on with the name of a call: it has no other id, and no input of the call has come.
func (p chatPiece) namesOn(at *call) bool {
	return (p.id == "" || p.id == at.id) && at.input.content == "" && !at.whole
}

// called adds a piece to the call that it belongs to, and returns that.
func (c *chatReading) called(p chatPiece, as string) *call {
	var made *call
	switch as {
	case "whole":
		made = c.repeated(p)
	case "piece":
		if made = c.repeated(p); made != nil && strings.HasPrefix(p.input, made.input.content) {
			as = "whole" // It is the call so far.
		} else {
			made = c.continued(p)
		}
	case "delta":
		made = c.continued(p)
	}
	choice := c.choice(p.place.choice)
	if made == nil {
		made = c.call(call{whole: as == "whole", whose: byName})
		choice.calls = append(choice.calls, made)
	}
	c.last[p.place] = made
	made.id = cmp.Or(made.id, p.id)
	switch {
	case made.tool == "":
		made.tool = p.tool
	case as == "delta" && p.namesOn(made) && p.tool != made.tool:
		made.tool += strings.TrimPrefix(p.tool, made.tool)
	}
	if as == "whole" {
		made.input.complete(p.input)
		return made
	}
	made.whole = false
	if p.isJSON {
		made.input.hearJSON(p.input)
	} else {
		made.input.hear("", p.input)
	}
	return made
}

// withID returns the last call of a choice with an id, or nil.
func (c *chatReading) withID(choice int64, id string) *call {
	for _, made := range slices.Backward(c.choice(choice).calls) {
		if id != "" && made.id == id {
			return made
		}
	}
	return nil
}

// repeated returns the call that a whole message repeats: by its id, or else by its place, if the names are the same and
// the ids do not tell them apart. Some servers make up other ids for the same call.
func (c *chatReading) repeated(p chatPiece) *call {
	if made := c.withID(p.place.choice, p.id); made != nil {
		return made
	}
	if p.place.older {
		return c.last[p.place]
	}
	calls := c.choice(p.place.choice).calls
	if p.position >= len(calls) || calls[p.position].tool != p.tool {
		return nil
	}
	made := calls[p.position]
	if p.id != "" && made.id != "" && (p.input == "" || made.input.content != p.input) {
		return nil
	}
	return made
}

// continued returns the call that a piece goes on with, or nil. Some servers give all calls the same index, or none, and
// some give no ids; then a name begins a call, unless it is the same name and the input is not whole, or has the same index
// and no input has come, so that it may be the rest of the name. Others make up an
// id for each piece, but do not repeat the name.
func (c *chatReading) continued(p chatPiece) *call {
	at := c.last[p.place]
	if other := c.withID(p.place.choice, p.id); other != nil && other != at {
		goesOn := p.tool == "" || p.tool == other.tool && !json.Valid([]byte(other.input.content))
		if other.whole || !p.hasIndex && goesOn {
			return other
		}
	}
	if at == nil {
		for _, made := range c.choice(p.place.choice).calls {
			if made.whole && p.id == "" && made.id == "" && p.tool != "" && made.tool == p.tool {
				return made
			}
		}
		return nil
	}
	hasIDs := p.id != "" && at.id != ""
	switch {
	case p.tool == "", !hasIDs && at.tool == "", hasIDs && p.id == at.id:
		return at
	case hasIDs:
		return nil
	case p.tool != at.tool && p.hasIndex && p.namesOn(at):
		return at
	case p.tool != at.tool:
		return nil
	case !at.whole && at.id == "" && json.Valid([]byte(at.input.content)):
		return nil
	}
	return at
}

// chatInput returns a piece of input, which some servers write as an object.
func chatInput(function object, member string) string {
	if function.object(member) != nil {
		return string(function[member])
	}
	return function.text(member)
}

// think notes what a message says of the choice's thought. Servers have many names for it, and some send it under several
// of them at once: then they say the same.
func (c *chatReading) think(choice int64, message object, as string) {
	texts := map[string]string{}
	hidden := false
	order := []string{
		"reasoning_content", "reasoning", "reasoning_text", "thinking", "reasoning_details", "thinking_blocks", "chain_of_thought",
	}
	for _, name := range order {
		said, isHidden := spokenThought(message[name])
		texts[name] = said
		hidden = hidden || isHidden
	}
	for _, part := range message.list("content") {
		kind := asObject(part).text("type")
		if kind == "thinking" || kind == "redacted_thinking" || strings.HasPrefix(kind, "reasoning") {
			said, isHidden := spokenThought(part)
			texts["content"] += said
			hidden = hidden || isHidden
		}
	}
	for _, name := range []string{"reasoning_opaque", "reasoning_signature", "encrypted_content", "redacted_thinking"} {
		hidden = hidden || isFilled(message[name])
	}
	first := ""
	for _, name := range append(order, "content") {
		if first == "" && texts[name] != "" {
			first = name
		}
	}
	if first == "" && !hidden {
		return
	}
	of := c.choice(choice)
	if of.thought == nil {
		of.thought = c.thought("thinking")
	}
	of.thought.redacted = of.thought.redacted || hidden
	text := texts[first]
	switch isSnapshot := as == "piece" && strings.HasPrefix(text, of.thought.content); {
	case first == "":
	case as == "whole", isSnapshot:
		of.thought.complete(text)
	default:
		of.thought.hear(first, text)
		for name, said := range texts {
			if said != "" && name != first {
				of.thought.knows(name, len(of.thought.content))
			}
		}
	}
}

func isFilled(raw json.RawMessage) bool {
	text, _ := asText(raw)
	return text != "" || len(raw) > 2 && (raw[0] == '{' || raw[0] == '[')
}

// spokenThought returns the text of a thought, which is a string, an object, or a list of these, and whether something is
// there that cannot be read.
func spokenThought(raw json.RawMessage) (said string, hidden bool) {
	if text, ok := asText(raw); ok {
		return text, false
	}
	if list := (object{"list": raw}).list("list"); list != nil {
		for _, one := range list {
			text, isHidden := spokenThought(one)
			said += text
			hidden = hidden || isHidden
		}
		return said, hidden
	}
	part := asObject(raw)
	for _, name := range []string{"data", "encrypted_content", "signature"} {
		hidden = hidden || isFilled(part[name])
	}
	for _, name := range []string{"text", "thinking", "summary", "reasoning", "content"} {
		if !part.has(name) || string(part[name]) == `""` {
			continue
		}
		text, isHidden := spokenThought(part[name])
		return text, hidden || isHidden
	}
	return "", hidden
}
