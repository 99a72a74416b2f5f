package chat

import (
	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/wire"
)

// role is what an object with a part of an answer is to the answer.
type role int

const (
	delta    role = iota // A piece that continues the answer.
	piece                // A message in the place of a delta: a piece, or the message so far.
	whole                // A message that calls itself whole, in a stream: it brings what the deltas have not brought.
	onlyOnce             // The message of a JSON body.
)

// readChoices reads the choices of a chunk, or of a body, whose object is of that kind. It reports whether it understood
// them.
func (t *tracker) readChoices(kind string, choices gjson.Result) bool {
	understood := true
	choices.ForEach(func(_, choice gjson.Result) bool {
		understood = choice.IsObject() && t.readChoice(kind, choice) && understood
		return true
	})
	return understood
}

func (t *tracker) readChoice(kind string, choice gjson.Result) bool {
	var index int64
	var deltas, message, finish gjson.Result
	var failed []gjson.Result // What has an error in it, in the order in which they count.
	understood := true
	choice.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "index":
			index, _ = wire.Whole(value)
		case "finish_reason":
			finish = value
		case "delta":
			deltas = value
		case "message":
			message = value
		case "error":
			failed = append(failed, choice)
		case "usage": // Some servers report usage only here, in the last choice.
			understood = t.meter(value) && understood
		}
		return true
	})
	if deltas.IsObject() {
		understood = t.readMessage(index, deltas, delta, &failed) && understood
	}
	if message.IsObject() {
		t.messaged = true
		understood = t.readMessage(index, message, roleOf(t.form, kind, deltas), &failed) && understood
	}
	return t.readFinish(finish, failed) && understood
}

// roleOf returns the role of a message, beside a delta or without one, in an object of that kind.
func roleOf(form wire.Form, kind string, deltas gjson.Result) role {
	switch {
	case deltas.IsObject():
		return whole
	case form == wire.Body:
		return onlyOnce
	case kind == "chat.completion.chunk":
		return piece
	}
	return whole
}

// readFinish reads how a choice ends: in good order, or with an error of its own in one of these places. It reports
// whether it understood an error that is there.
func (t *tracker) readFinish(finish gjson.Result, places []gjson.Result) bool {
	understood := true
	for _, place := range places {
		if place.Get("error").Type == gjson.Null {
			continue
		}
		if told, failed := wire.ReadFailure("", place); failed {
			t.fail(told)
			return true
		}
		understood = false
	}
	if finish.Str == "error" {
		t.fail(wire.Failure{Type: "error"})
		return true
	}
	t.answer.Complete = t.answer.Complete || finish.Str != ""
	return understood
}

// readMessage reads a choice's message, or a delta of it. It reports whether it understood what looks like a thought or a
// call; of the rest nothing is recorded. If the message has an error, it is appended to failed.
func (t *tracker) readMessage(choice int64, message gjson.Result, as role, failed *[]gjson.Result) bool {
	var thought telling
	understood := true
	message.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "content":
			understood = thought.readContent(value) && understood
		case "tool_calls":
			understood = t.parts.readCalls(choice, value, as) && understood
		case "usage": // Some servers report it here.
			understood = t.meter(value) && understood
		case "error":
			*failed = append(*failed, message)
		case "function_call":
			if value.IsObject() {
				t.parts.readFunctionCall(choice, value, as)
			}
		default:
			understood = thought.readMember(name.Str, value) && understood
		}
		return true
	})
	t.parts.addThought(choice, thought, as)
	return understood
}
