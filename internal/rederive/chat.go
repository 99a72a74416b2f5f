package rederive

import (
	"cmp"
	"strings"
)

// chatRequest reads a request of the Chat Completions API.
func chatRequest(fields object) request {
	if text, ok := asText(fields["prompt"]); ok && !fields.has("messages") {
		return request{opening: text, typed: texts{parts: []string{text}, single: true}}
	}
	messages := fields.objects("messages")
	asked := request{system: leadingSystem(messages), opening: opening(messages)}
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
	return figureNames{
		input: "prompt_tokens", output: "completion_tokens", inputHasCached: true,
		read: "prompt_tokens_details.cached_tokens", write: "prompt_tokens_details.cache_write_tokens",
		extras: map[string]string{
			"prompt_tokens_details.audio_tokens":                   "prompt_audio",
			"completion_tokens_details.audio_tokens":               "completion_audio",
			"completion_tokens_details.reasoning_tokens":           "completion_reasoning",
			"completion_tokens_details.accepted_prediction_tokens": "completion_accepted_prediction",
			"completion_tokens_details.rejected_prediction_tokens": "completion_rejected_prediction",
		},
		parts: [][]string{
			{"prompt_tokens", "prompt_tokens_details.cached_tokens", "prompt_tokens_details.cache_write_tokens"},
			{"prompt_tokens", "prompt_tokens_details.audio_tokens"},
			{"completion_tokens", "completion_tokens_details.reasoning_tokens"},
			{"completion_tokens", "completion_tokens_details.audio_tokens"},
			{"completion_tokens", "completion_tokens_details.accepted_prediction_tokens"},
			{"completion_tokens", "completion_tokens_details.rejected_prediction_tokens"},
		},
	}
}

// chatStream reads a stream of the Chat Completions API.
func chatStream(events []event) reading {
	a := reading{figureNames: chatFigures()}
	open := chatOpen{}
	for _, event := range events {
		if a.ended() {
			break
		}
		if strings.TrimSpace(event.data) == "[DONE]" {
			a.terminated = true
			continue
		}
		data, kind := event.object()
		a.chunk(data, open)
		if told := readFailure(data, kind); told != nil {
			a.fail(told)
			a.preliminary = a.preliminary || !a.finished // The error takes the place of the rest.
			a.finished = true                            // No [DONE] follows it.
		}
	}
	return a
}

// chatBody reads an answer of the Chat Completions API that is not streamed: it is like a chunk whose choices have
// messages in place of deltas.
func chatBody(body object) reading {
	a := reading{figureNames: chatFigures()}
	a.chunk(body, chatOpen{})
	a.failure = readFailure(body, body.text("type"))
	a.foreign = body.text("object") != "chat.completion" && body.objects("choices") == nil
	return a
}

func (a *reading) chunk(chunk object, open chatOpen) {
	a.id, a.model = cmp.Or(a.id, chunk.text("id")), cmp.Or(a.model, chunk.text("model"))
	a.tier = cmp.Or(chunk.text("service_tier"), a.tier)
	for _, choice := range chunk.objects("choices") {
		index, _ := choice.count("index")
		message := choice.object("delta")
		if message == nil {
			message = choice.object("message")
		}
		a.chatMessage(index, message, open)
		a.finished = a.finished || choice.text("finish_reason") != ""
	}
	a.figures.add(chunk.object("usage"))
}

// chatOpen holds the parts that later pieces add to. Each choice has one thought, and indexes of its own for its calls.
type chatOpen map[chatPlace]*chatPart

type chatPlace struct {
	choice, call int64
	what         string
}

type chatPart struct {
	call    *call
	thought *thought
}

// chatMessage notes a choice's message, or a piece of one.
func (a *reading) chatMessage(choice int64, message object, open chatOpen) {
	// Some servers use another name for it, and some send it under both.
	if reasoning := cmp.Or(message.text("reasoning_content"), message.text("reasoning")); reasoning != "" {
		place := chatPlace{choice: choice, what: "reasoning"}
		if open[place] == nil {
			open[place] = &chatPart{thought: a.thought("thinking")}
		}
		open[place].thought.content += reasoning
	}
	for position, piece := range message.objects("tool_calls") {
		place := chatPlace{choice: choice, call: int64(position), what: "tool_call"}
		if index, ok := piece.count("index"); ok {
			place.call = index
		}
		function, input := piece.object("function"), "arguments"
		if custom := piece.object("custom"); custom != nil {
			function, input = custom, "input"
		}
		a.chatCall(open, place, piece.text("id"), function, input)
	}
	if function := message.object("function_call"); function != nil { // The older form of tool_calls.
		a.chatCall(open, chatPlace{choice: choice, what: "function_call"}, "", function, "arguments")
	}
}

// chatCall notes a call, or a piece of one. At the same place, a piece with another id and a name begins another call:
// some servers give all calls the same index. Other servers make up an id for each piece, but do not repeat the name.
func (a *reading) chatCall(open chatOpen, place chatPlace, id string, function object, input string) {
	name := function.text("name")
	part := open[place]
	if part == nil || name != "" && id != "" && part.call.id != "" && part.call.id != id {
		part = &chatPart{call: a.call(call{})}
		open[place] = part
	}
	part.call.id, part.call.tool = cmp.Or(part.call.id, id), cmp.Or(part.call.tool, name)
	if function.object(input) != nil {
		part.call.input += string(function[input])
	}
	part.call.input += function.text(input)
}
