package chat

import (
	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/wire"
)

// callKey identifies a tool call within an answer. Some servers do not count from zero.
type callKey struct{ choice, call int64 }

// functionCall is the index of a choice's function_call, the older form of tool_calls, of which there is only one.
const functionCall = -1

// readChoices reads the choices of a chunk, or of a whole body, and reports whether it was a whole body.
func (t *tracker) readChoices(choices gjson.Result) (whole bool) {
	if !choices.IsArray() {
		return false
	}
	choices.ForEach(func(_, choice gjson.Result) bool {
		var index int64
		var delta, message gjson.Result
		choice.ForEach(func(name, value gjson.Result) bool {
			switch name.Str {
			case "index":
				index = value.Int()
			case "finish_reason":
				t.answer.Complete = t.answer.Complete || value.Str != ""
			case "delta":
				delta = value
			case "message":
				message = value
			}
			return true
		})
		if delta.IsObject() {
			t.readMessage(index, delta)
		} else if message.IsObject() {
			t.readMessage(index, message)
			whole = true
		}
		return true
	})
	return whole
}

// readMessage reads a choice's message, or a delta of it.
func (t *tracker) readMessage(choice int64, message gjson.Result) {
	var reasoning string
	message.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "reasoning_content":
			if value.Type == gjson.String && value.Str != "" {
				reasoning = wire.String(value)
			}
		case "reasoning":
			// Some servers send the same text under both names.
			if value.Type == gjson.String && reasoning == "" {
				reasoning = wire.String(value)
			}
		case "tool_calls":
			t.readCalls(choice, value)
		case "function_call":
			if value.IsObject() {
				addInput(t.call(callKey{choice, functionCall}, "", value.Get("name").Str), value.Get("arguments"))
			}
		}
		return true
	})
	if reasoning != "" {
		t.addThought(choice, reasoning)
	}
}

func (t *tracker) addThought(choice int64, piece string) {
	thought := t.thoughts[choice]
	if thought == nil {
		if thought = t.gathering.Thought("thinking"); thought == nil {
			return
		}
		t.thoughts[choice] = thought
	}
	thought.Content.Add(piece)
}

func (t *tracker) readCalls(choice int64, calls gjson.Result) {
	if !calls.IsArray() {
		return
	}
	var position int64
	calls.ForEach(func(_, call gjson.Result) bool {
		key := callKey{choice, position}
		if index := call.Get("index"); index.Type == gjson.Number {
			key.call = index.Int()
		}
		position++
		function, input := call.Get("function"), "arguments"
		if custom := call.Get("custom"); custom.IsObject() {
			function, input = custom, "input"
		}
		addInput(t.call(key, call.Get("id").Str, function.Get("name").Str), function.Get(input))
		return true
	})
}

// call returns the call that a piece with this key, id and name belongs to, or nil if there are too many.
//
// A piece with both another id and a name begins another call, since some servers give the same index to all calls. A
// piece without a name does not, since other servers make up a new id for every piece.
func (t *tracker) call(key callKey, id, name string) *wire.Call {
	call := t.calls[key]
	if call == nil || call.ID != "" && id != "" && id != call.ID && name != "" {
		if call = t.gathering.Call(); call == nil {
			return nil
		}
		t.calls[key] = call
	}
	if call.ID == "" {
		call.ID = t.gathering.Keep(id)
	}
	if call.Name == "" {
		call.Name = t.gathering.Keep(name)
	}
	return call
}

// addInput adds a piece of input to its call. Some servers write it as an object instead of a string.
func addInput(call *wire.Call, piece gjson.Result) {
	switch {
	case call == nil:
	case piece.IsObject():
		call.Input.Add(piece.Raw)
	default:
		call.Input.Add(wire.String(piece))
	}
}
