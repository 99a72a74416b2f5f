package chat

import (
	"strconv"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// aspect is what is written of a chunk: what it says, or how it ends the answer, or both.
type aspect int

const (
	saying aspect = 1 << iota
	ending
)

// writer writes a chunk, or a body, as the client sees it.
type writer struct {
	*joint
	chunk       chunk
	aspects     aspect
	says        bool // It tells the client something.
	removedCall bool
	removedRole bool
}

// write returns aspects of a chunk as the client sees them, or nil if it says nothing of them to the client.
func (j *joint) write(data []byte, c chunk, aspects aspect) []byte {
	w := writer{joint: j, chunk: c, aspects: aspects}
	written := appendObject(nil, wire.View(data), w.member)
	switch {
	case w.says, c.failed, aspects == ending:
	case aspects == saying, !c.finish && (w.removedCall || w.removedRole && !c.usage):
		return nil
	}
	return written
}

// dataEvent returns an event with that data.
func dataEvent(data []byte) []byte {
	return sse.Event{Raw: []byte("data: {}\n\n"), Data: []byte("{}")}.AppendWithData(nil, data)
}

// appendObject appends an object with the members for which write appends a value.
func appendObject(dst []byte, object gjson.Result, write func(dst []byte, name string, value gjson.Result) []byte) []byte {
	dst = append(dst, '{')
	first := len(dst)
	object.ForEach(func(name, value gjson.Result) bool {
		begin := len(dst)
		named := append(append(comma(dst, begin-first), name.Raw...), ':')
		if dst = write(named, name.Str, value); len(dst) == len(named) {
			dst = dst[:begin]
		}
		return true
	})
	return append(dst, '}')
}

// appendArray appends an array of what write appends for the elements.
func appendArray(dst []byte, array gjson.Result, write func(dst []byte, value gjson.Result) []byte) []byte {
	dst = append(dst, '[')
	first := len(dst)
	array.ForEach(func(_, value gjson.Result) bool {
		begin := len(dst)
		next := comma(dst, begin-first)
		if dst = write(next, value); len(dst) == len(next) {
			dst = dst[:begin]
		}
		return true
	})
	return append(dst, ']')
}

func (w *writer) member(dst []byte, name string, value gjson.Result) []byte {
	switch {
	case name == "id" && w.round > 0 && w.id != "" && value.Type == gjson.String && value.Str != "":
		return append(dst, w.id...)
	case name == "created" && w.round > 0 && w.created != "" && value.Type == gjson.Number && value.Num != 0:
		return append(dst, w.created...)
	case name == "choices" && value.IsArray():
		return appendArray(dst, value, w.choice)
	case name == "usage" && w.form == wire.Body && !value.IsObject() && len(w.usage) > 0:
		return dst // It is put behind all others.
	case name == "usage":
		return w.reported(dst, value)
	case name == "x_groq" && value.IsObject():
		return appendObject(dst, value, func(dst []byte, name string, value gjson.Result) []byte {
			if name == "usage" {
				return w.reported(dst, value)
			}
			return append(dst, value.Raw...)
		})
	}
	return append(dst, value.Raw...)
}

// reported appends a usage with that of the rounds before. Only the end of an answer reports it.
func (w *writer) reported(dst []byte, usage gjson.Result) []byte {
	switch {
	case w.aspects&ending == 0:
		return append(dst, "null"...)
	case !usage.IsObject():
		return append(dst, usage.Raw...)
	}
	return append(dst, w.summed([]byte(usage.Raw))...)
}

func (w *writer) choice(dst []byte, choice gjson.Result) []byte {
	if !choice.IsObject() {
		return append(dst, choice.Raw...)
	}
	return appendObject(dst, choice, func(dst []byte, name string, value gjson.Result) []byte {
		isBare := w.aspects == ending || w.chunk.only // Nothing but the end, or nothing but calls.
		switch {
		case name == "delta" && value.IsObject() && w.aspects == ending:
			return append(dst, "{}"...)
		case name == "message" && value.IsObject() && w.aspects == ending:
			return dst
		case name == "message" && value.IsObject() && w.form == wire.Body:
			return w.body(dst, value)
		case (name == "delta" || name == "message") && value.IsObject():
			return appendObject(dst, value, func(dst []byte, of string, value gjson.Result) []byte {
				return w.part(dst, of, value, name == "delta")
			})
		case name == "finish_reason" && w.aspects&ending == 0, name == "logprobs" && isBare:
			return append(dst, "null"...)
		case name == "logprobs" && w.form == wire.Body:
			return w.withLogprobs(dst, value)
		case name == "usage":
			return w.reported(dst, value)
		}
		return append(dst, value.Raw...)
	})
}

// part appends the value of a member of a message, or of a delta.
func (w *writer) part(dst []byte, name string, value gjson.Result, isDelta bool) []byte {
	switch {
	case name == "tool_calls" && value.IsArray():
		return w.calls(dst, value, isDelta)
	case name == "function_call" && value.IsObject():
		return w.functionCall(dst, value)
	case w.chunk.only:
		return dst
	case name == "role":
		if w.round > 0 && w.roleTold && isDelta {
			w.removedRole = true
			return dst
		}
		w.says = w.says || !w.roleTold
	case name == "usage":
		return w.reported(dst, value)
	case name == "reasoning_details" && w.thoughts > 0:
		w.says = w.says || !isEmpty(value)
		return appendThoughts(dst, value, w.thoughts)
	case value.Type != gjson.True && value.Type != gjson.False && value.Type != gjson.Number:
		w.says = w.says || !isEmpty(value)
	}
	return append(dst, value.Raw...)
}

// calls appends the calls that are the client's, or nothing if there were only others.
func (w *writer) calls(dst []byte, calls gjson.Result, isDelta bool) []byte {
	removed, begin := false, len(dst)
	dst = appendArray(dst, calls, func(dst []byte, piece gjson.Result) []byte {
		at := len(dst)
		dst = w.call(dst, piece, isDelta)
		removed = removed || len(dst) == at
		return dst
	})
	isNone := len(dst)-begin == len("[]")
	w.says = w.says || !isNone
	w.removedCall = w.removedCall || removed
	if removed && isNone {
		return dst[:begin]
	}
	return dst
}

// functionCall appends a call in the older form, or a piece of it, if it is the client's.
func (w *writer) functionCall(dst []byte, function gjson.Result) []byte {
	var of *caller
	if w.chunk.callers != nil {
		of = w.chunk.callers(function.Index)
	}
	switch {
	case of == nil && (w.chunk.only || w.joined.IsOurs(wire.String(function.Get("name")))),
		of != nil && of.whose != theirs && (!w.chunk.only || of.whose == ours):
		w.removedCall = true
		return dst
	}
	w.says = true
	return append(dst, function.Raw...)
}

func (w *writer) call(dst []byte, piece gjson.Result, isDelta bool) []byte {
	var of *caller
	if w.chunk.callers != nil {
		of = w.chunk.callers(piece.Index)
	}
	index := piece.Get("index")
	switch {
	case of == nil && (w.chunk.only || w.joined.IsOurs(toolName(piece))):
		return dst // It is another one, or the client would see one of ours that is too many to be told apart.
	case of == nil, w.chunk.only && of.whose == unknown:
		return append(dst, piece.Raw...)
	case of.whose != theirs:
		return dst
	case of.bare, !index.Exists() && !isDelta:
		return append(dst, piece.Raw...)
	}
	if index.Exists() {
		return appendObject(dst, piece, func(dst []byte, name string, value gjson.Result) []byte {
			if name == "index" {
				return strconv.AppendInt(dst, of.index, 10)
			}
			return append(dst, value.Raw...)
		})
	}
	dst = strconv.AppendInt(append(dst, `{"index":`...), of.index, 10)
	return append(append(dst, ','), piece.Raw[1:]...)
}

// appendThoughts appends reasoning_details with so many added to their indexes: those of one index are one thought.
func appendThoughts(dst []byte, details gjson.Result, before int64) []byte {
	if !details.IsArray() {
		return append(dst, details.Raw...)
	}
	return appendArray(dst, details, func(dst []byte, detail gjson.Result) []byte {
		if !detail.IsObject() {
			return append(dst, detail.Raw...)
		}
		return appendObject(dst, detail, func(dst []byte, name string, value gjson.Result) []byte {
			if index, ok := wire.Whole(value); ok && name == "index" {
				return strconv.AppendInt(dst, index+before, 10)
			}
			return append(dst, value.Raw...)
		})
	})
}
