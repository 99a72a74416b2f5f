package chat

import (
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/wire"
)

// turn is the model's turn in one round, made of its events. All choices are one turn: tools are only offered where one
// choice is asked for, and some servers put texts and calls into several.
type turn struct {
	form    wire.Form
	parts   parts
	message grown // Without the calls.
	calls   []*turnCall
	of      map[*call]*turnCall
	text    textChunk // A chunk with nothing but text in the message's content.
}

// turnCall is a call of a turn, and what else stands in it.
type turnCall struct {
	*call
	written grown
	custom  bool
	older   bool // It came as a function_call.
}

// readTurn reads the data of a round's events.
func readTurn(form wire.Form, data iter.Seq[[]byte]) *turn {
	t := &turn{form: form, parts: newParts(nil), of: map[*call]*turnCall{}}
	for chunk := range data {
		switch {
		case t.text.fits(chunk) && wire.IsSound(chunk):
			content := t.message.byName["content"]
			content.raw = append(content.raw, chunk[len(t.text.before):len(chunk)-len(t.text.after)]...)
		case wire.IsSound(chunk):
			if !t.read(wire.View(chunk)) || !t.text.learn(chunk) {
				t.text = textChunk{}
			}
		}
	}
	t.withoutRepeated()
	return t
}

// read reads a chunk, or a body. It reports whether there was nothing but text in its content.
func (t *turn) read(chunk gjson.Result) (onlyText bool) {
	var choices gjson.Result
	kind := ""
	chunk.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "choices":
			choices = value
		case "object":
			kind = value.Str
		}
		return true
	})
	n := 0
	choices.ForEach(func(_, choice gjson.Result) bool {
		n++
		var index int64
		var deltas, message gjson.Result
		choice.ForEach(func(name, value gjson.Result) bool {
			switch name.Str {
			case "index":
				index, _ = wire.Whole(value)
			case "delta":
				deltas = value
			case "message":
				message = value
			}
			return true
		})
		onlyText = !message.Exists() && choice.IsObject()
		if choice.IsObject() && deltas.IsObject() {
			onlyText = t.readMessage(index, deltas, delta) && onlyText
		}
		if choice.IsObject() && message.IsObject() {
			t.readMessage(index, message, roleOf(t.form, kind, deltas))
		}
		return true
	})
	return onlyText && n == 1
}

// readMessage reports whether the message brought a text in its content and nothing else.
func (t *turn) readMessage(choice int64, message gjson.Result, as role) (onlyText bool) {
	other := false
	message.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "role", "usage", "error":
		case "tool_calls":
			other = true
			t.readCalls(choice, value, as)
		case "function_call":
			other = true
			if value.IsObject() {
				t.readFunctionCall(choice, value, as)
			}
		case "content":
			content := t.message.member(name.Str, name.Raw)
			content.add(name.Str, value, as)
			onlyText = value.Type == gjson.String && content.kind == grownText
		default:
			other = other || !isEmpty(value)
			t.message.member(name.Str, name.Raw).add(name.Str, value, as)
		}
		return true
	})
	return onlyText && !other
}

func (t *turn) readCalls(choice int64, calls gjson.Result, as role) {
	if !calls.IsArray() {
		return
	}
	var n int64
	calls.ForEach(func(_, value gjson.Result) bool {
		made, _ := t.parts.readCall(choice, n, value, as)
		n++
		if made == nil {
			return true
		}
		of := t.callOf(made)
		of.custom = of.custom || value.Get("custom").IsObject()
		of.written.add("", value, as)
		return true
	})
}

// readFunctionCall reads a call in the older form. It goes back in the form of the others: its request has tools.
func (t *turn) readFunctionCall(choice int64, function gjson.Result, as role) {
	if made := t.parts.readFunctionCall(choice, function, as); made != nil {
		of := t.callOf(made)
		of.older = true
		of.written.member("function", `"function"`).add("function", function, as)
	}
}

// callOf returns the turn's call.
func (t *turn) callOf(made *call) *turnCall {
	of := t.of[made]
	if of == nil {
		of = &turnCall{call: made}
		t.of[made] = of
		t.calls = append(t.calls, of)
	}
	return of
}

// withoutRepeated leaves out calls in the older form that are there in the other one, too: some servers send both.
func (t *turn) withoutRepeated() {
	t.calls = slices.DeleteFunc(t.calls, func(of *turnCall) bool {
		return of.older && slices.ContainsFunc(t.calls, func(other *turnCall) bool { return !other.older && other.Name == of.Name })
	})
}

// appendMessage appends the turn as a message, with these calls.
func (t *turn) appendMessage(dst []byte, calls []wire.KeptCall) []byte {
	dst = append(dst, `{"role":"assistant","content":`...)
	if content := t.message.byName["content"]; content == nil || content.isEmpty() {
		dst = append(dst, "null"...)
	} else {
		dst = content.append(dst)
	}
	return appendCalls(t.message.appendMembers(dst, isAround), calls)
}

// isAround reports whether a message's member with that name is neither what the client sees of it nor a call.
func isAround(name string) bool { return name != "content" }

// appendCalls appends calls and the brace that ends the message.
func appendCalls(dst []byte, calls []wire.KeptCall) []byte {
	dst = append(dst, `,"tool_calls":[`...)
	for i, call := range calls {
		dst = append(comma(dst, i), call.Call...)
	}
	return append(dst, `]}`...)
}

// thoughts returns how many indexes the turn's reasoning_details have.
func (t *turn) thoughts() (n int64) {
	if details := t.message.byName["reasoning_details"]; details != nil {
		for _, of := range details.elements {
			if index, err := strconv.ParseInt(of.text("index"), 10, 32); err == nil {
				n = max(n, index+1)
			}
		}
	}
	return n
}

// around returns what a message has beside its content and calls, an object, or nil.
func (t *turn) around() []byte {
	if around := t.message.appendMembers([]byte{'{'}, isAround); len(around) > len(`{`) {
		return append(around, '}')
	}
	return nil
}

// said returns the text of a message's content, in quotes, or nil.
func (t *turn) said() []byte {
	content := t.message.byName["content"]
	if content == nil || content.kind != grownText || content.isEmpty() {
		return nil
	}
	return content.append(nil)
}

// callID returns the call's id in quotes. A call without one gets one: its result must be told from others.
func (c *turnCall) callID(round, n int) []byte {
	if c.ID == "" {
		return []byte(`"call_` + strconv.Itoa(round) + `_` + strconv.Itoa(n) + `"`)
	}
	id := c.written.member("id", `"id"`)
	id.keep(c.ID)
	return id.append(nil)
}

// append appends the call as it stands in a message, with that id.
func (c *turnCall) append(dst, id []byte) []byte {
	dst = append(append(dst, `{"id":`...), id...)
	if c.written.text("type") == "" {
		dst = append(dst, `,"type":"function"`...)
	}
	c.function().member("name", `"name"`).keep(c.Name)
	input := c.input()
	if text := c.Input.String(); text == "" {
		input.keep("{}")
	} else {
		input.keep(text)
	}
	dst = c.written.appendMembers(dst, func(name string) bool { return name != "id" && name != "index" })
	return append(dst, '}')
}

func (c *turnCall) function() *grown {
	if c.custom {
		return c.written.member("custom", `"custom"`)
	}
	return c.written.member("function", `"function"`)
}

func (c *turnCall) input() *grown {
	if c.custom {
		return c.function().member("input", `"input"`)
	}
	return c.function().member("arguments", `"arguments"`)
}

// text returns the call's input, decoded.
func (c *turnCall) text() string {
	if raw := c.input(); raw.says(c.Input.String()) {
		return gjson.ParseBytes(raw.append(nil)).Str
	}
	return c.Input.String()
}

// says reports whether a value is that text, which was put together of pieces. Pieces that were cut within a character have
// NULs in its place.
func (g *grown) says(text string) bool {
	return g.kind == grownText && (wire.String(gjson.ParseBytes(g.append(nil))) == text || strings.Contains(text, "\x00"))
}

// keep leaves a value as it came if it says that text, and makes it that text otherwise: some servers repeat in each piece
// what came before.
func (g *grown) keep(text string) {
	if !g.says(text) {
		*g = grown{kind: grownText, raw: []byte(inside(string(gjson.AppendJSONString(nil, text))))}
	}
}
