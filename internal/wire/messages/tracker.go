package messages

import (
	"bytes"
	"cmp"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// tracker reads along one answer. It reads a JSON body as the event that begins an answer, with all blocks in it.
type tracker struct {
	payloads  wire.Payloads
	answer    wire.Answer // Without the parts that have a field below.
	ended     bool        // message_stop came.
	usage     usage
	gathering wire.Gathering
	// open holds the blocks that further events can add to, by their index.
	open map[int64]block
}

// block is a content block that is a call or a thought; the other is nil.
type block struct {
	call    *wire.Call
	thought *wire.Thinking
}

func (t *tracker) Observe(event sse.Event) {
	data, unread := t.payloads.Object(event)
	if data != nil && !isUsualText(data) {
		kind := wire.Kind(event, data)
		unread = !isText(kind, data) && !(wire.IsSound(data) && t.read(kind, data))
	}
	if t.gathering.Lost() || unread {
		t.answer.Unread++
	}
}

// isUsualText is isText for an event in Anthropic's own spelling. It looks only at the first bytes: a stream has
// thousands of text events.
func isUsualText(data []byte) bool {
	rest, ok := bytes.CutPrefix(data, []byte(`{"type":"content_block_delta","index":`))
	return ok && bytes.HasPrefix(bytes.TrimLeft(rest, "0123456789"), []byte(`,"delta":{"type":"text_delta",`))
}

// isText reports whether an event holds text, as most events do; text is not recorded.
func isText(kind string, data []byte) bool {
	return kind == "content_block_delta" && wire.View(data).Get("delta.type").Str == "text_delta"
}

// read reports whether it understood the event.
func (t *tracker) read(kind string, data []byte) bool {
	switch kind {
	case "content_block_delta":
		t.extend(wire.View(data))
	case "ping", "content_block_stop":
	case "message_start":
		t.begin(wire.View(data).Get("message"))
	case "message":
		t.begin(wire.View(data))
		t.usage.final = true
		t.answer.Terminal = true
	case "content_block_start":
		start := wire.View(data)
		t.beginBlock(start.Get("index").Int(), start.Get("content_block"))
	case "message_delta":
		t.usage.read(wire.View(data).Get("usage"))
		t.usage.final = true
	case "message_stop":
		t.usage.final = true
		t.ended, t.answer.Terminal = true, true
	default:
		failure, ok := wire.ReadFailure(kind, wire.View(data))
		if !ok {
			return false
		}
		t.answer.Failure = cmp.Or(t.answer.Failure, failure) // The first failure is the cause.
		t.answer.Terminal = true
	}
	return true
}

// begin reads a message: that of message_start has no content yet, that of a JSON body is whole.
func (t *tracker) begin(message gjson.Result) {
	message.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "id":
			t.answer.ID = cmp.Or(t.answer.ID, strings.Clone(value.Str))
		case "model":
			t.answer.Model = cmp.Or(t.answer.Model, strings.Clone(value.Str))
		case "usage":
			t.usage.read(value)
		case "content":
			t.beginBlocks(value)
		}
		return true
	})
}

func (t *tracker) beginBlocks(content gjson.Result) {
	var index int64
	content.ForEach(func(_, block gjson.Result) bool {
		t.beginBlock(index, block)
		index++
		return true
	})
}

func (t *tracker) beginBlock(index int64, content gjson.Result) {
	delete(t.open, index) // Later pieces belong to this block, not to an earlier one with its index.
	switch content.Get("type").Str {
	case "tool_use", "server_tool_use", "mcp_tool_use":
		call := t.gathering.Call()
		if call == nil {
			return
		}
		call.ID = t.gathering.Keep(content.Get("id").Str)
		call.Name = t.gathering.Keep(content.Get("name").Str)
		call.Default = "{}"
		if input := content.Get("input"); input.Type != gjson.Null && input.Raw != `""` {
			call.Default = t.gathering.Keep(input.Raw)
		}
		t.open[index] = block{call: call}
	case "thinking", "redacted_thinking":
		thought := t.gathering.Thought("thinking")
		if thought == nil {
			return
		}
		thought.Redacted = content.Get("type").Str == "redacted_thinking"
		thought.Content.Add(wire.String(content.Get("thinking")))
		t.open[index] = block{thought: thought}
	}
}

// extend adds a piece to an open block. It ignores pieces of other blocks.
func (t *tracker) extend(event gjson.Result) {
	open := t.open[event.Get("index").Int()]
	delta := event.Get("delta")
	switch delta.Get("type").Str {
	case "input_json_delta":
		if open.call != nil {
			open.call.Input.Add(wire.String(delta.Get("partial_json")))
		}
	case "thinking_delta":
		if open.thought != nil {
			open.thought.Content.Add(wire.String(delta.Get("thinking")))
		}
	}
}

func (t *tracker) Ended() bool { return t.ended && t.answer.Failure == (wire.Failure{}) }

func (t *tracker) MayEnd() bool { return t.answer.Terminal }

func (t *tracker) Answer() wire.Answer {
	answer := t.answer
	answer.Usage = t.usage.total()
	t.gathering.AddTo(&answer)
	return answer
}
