package chat

import (
	"bytes"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// chunk is what a chunk says of what the joint must know.
type chunk struct {
	callers func(at int) *caller // The call of which there is a piece at an offset, or nil.
	finish  bool
	usage   bool
	choices bool
	ends    bool // It ends the answer, or came behind what does.
	failed  bool
	named   bool // It has the id of its answer.
	role    bool
	only    bool // Only the pieces of calls are written.
	changes bool // Some of its calls are not the client's, or have another index there.
}

// concerns reports whether a chunk may say more than a text or a thought. It looks only at the bytes.
func concerns(data []byte) bool {
	for i, c := range data[:len(data)-1] {
		rest := data[i+1:]
		switch {
		case c == '\\' && rest[0] == 'u':
			return true
		case c != '"':
		case rest[0] == 't' && bytes.HasPrefix(rest, []byte(`tool_calls"`)), rest[0] == 'f' && hasValue(rest, `finish_reason"`),
			rest[0] == 'f' && hasValue(rest, `function_call"`),
			rest[0] == 'u' && hasValue(rest, `usage"`), rest[0] == 'm' && bytes.HasPrefix(rest, []byte(`message"`)),
			rest[0] == 'e' && hasValue(rest, `error"`):
			return true
		}
	}
	return false
}

// read reads a chunk. It appends what the client sees now of calls that have waited.
func (j *joint) read(ready []byte, event sse.Event, data []byte) (chunk, []byte) {
	object := wire.View(data)
	var pieces []piecePlace
	c := j.readObject(object, func(p piecePlace) { pieces = append(pieces, p) })
	if _, failed := wire.ReadFailure(wire.Kind(event, object), object); failed {
		c.failed = true
	}
	if c.finish || c.usage && !c.choices {
		ready = j.settle(ready)
	}
	c.ends = c.finish || c.usage && !c.choices || len(j.held) > 0
	if pieces == nil {
		return c, ready
	}
	at := make(map[int]*caller, len(pieces))
	for _, p := range pieces {
		at[p.at] = p.of
		ready = j.release(ready, p.of)
		switch p.of.whose {
		case theirs:
			j.place(p.of, p.index, p.hasIndex)
			differs := p.hasIndex && p.index != p.of.index || !p.hasIndex && p.isDelta && !p.of.bare
			c.changes = c.changes || j.hidden && differs // A client that has seen all has the server's own indexes.
			continue
		case unknown:
			only := chunk{only: true, callers: func(offset int) *caller {
				if offset == p.at {
					return p.of
				}
				return nil
			}}
			j.hidden = true
			j.wait(p.of, waiting{j.write(data, only, saying), p.index, p.hasIndex})
		case ours:
		}
		c.changes = true
	}
	c.callers = func(offset int) *caller { return at[offset] }
	return c, ready
}

// piecePlace is a piece of a call, and the offset at which it stands in its chunk.
type piecePlace struct {
	of       *caller
	at       int
	index    int64
	hasIndex bool
	isDelta  bool
}

// readObject reads a chunk, or a body, and calls note for each piece of a call.
func (j *joint) readObject(object gjson.Result, note func(piecePlace)) chunk {
	var c chunk
	var kind string
	var choices gjson.Result
	object.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "id":
			c.named = true
			if j.id == "" && j.round == 0 && value.Type == gjson.String && value.Str != "" {
				j.id = strings.Clone(value.Raw)
			}
		case "created":
			if j.created == "" && j.round == 0 && value.Type == gjson.Number && value.Num != 0 {
				j.created = strings.Clone(value.Raw)
			}
		case "object":
			kind = value.Str
		case "usage":
			j.readUsage(&c, value)
		case "x_groq":
			j.readUsage(&c, value.Get("usage"))
		case "choices":
			choices = value
		}
		return true
	})
	if !choices.IsArray() {
		return c
	}
	choices.ForEach(func(_, choice gjson.Result) bool {
		if choice.IsObject() {
			c.choices = true
			j.readChoice(&c, kind, choice, note)
		}
		return true
	})
	return c
}

func (j *joint) readUsage(c *chunk, usage gjson.Result) {
	if usage.IsObject() {
		c.usage = true
		j.lastUsage = append(j.lastUsage[:0], usage.Raw...)
	}
}

func (j *joint) readChoice(c *chunk, kind string, choice gjson.Result, note func(piecePlace)) {
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
		case "usage":
			j.readUsage(c, value)
		case "error":
			_, failed := wire.ReadFailure("", choice)
			c.failed = c.failed || failed
		case "finish_reason":
			if reason := wire.String(value); reason != "" {
				c.finish, j.finish = true, strings.Clone(reason)
				c.failed = c.failed || reason == "error"
			}
		}
		return true
	})
	if deltas.IsObject() {
		j.readMessage(c, index, deltas, delta, note)
	}
	if message.IsObject() {
		j.readMessage(c, index, message, roleOf(j.form, kind, deltas), note)
	}
}

func (j *joint) readMessage(c *chunk, choice int64, message gjson.Result, as role, note func(piecePlace)) {
	message.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "role":
			c.role = true
		case "usage":
			j.readUsage(c, value)
		case "function_call":
			if !value.IsObject() {
				return true
			}
			if of := j.callers.readFunction(choice, value, as); of != nil {
				j.judge(of)
				note(piecePlace{of: of, at: value.Index})
			}
		case "tool_calls":
			if !value.IsArray() {
				return true
			}
			var n int64
			value.ForEach(func(_, piece gjson.Result) bool {
				if of := j.callers.read(choice, n, piece, as); of != nil {
					j.judge(of)
					index, hasIndex := wire.Whole(piece.Get("index"))
					note(piecePlace{of, piece.Index, index, hasIndex, as == delta})
				}
				n++
				return true
			})
		}
		return true
	})
}
