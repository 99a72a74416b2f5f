package messages

import (
	"bytes"
	"cmp"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// tracker reads along one answer. It reads a JSON body as the event that begins an answer, with all blocks in it.
type tracker struct {
	form     wire.Form
	payloads wire.Payloads
	answer   wire.Answer // Without the parts that have a field below.
	ended    bool        // message_stop came.
	final    bool        // Usage came after that of message_start.
	usage    wire.Meter
	blocks   blocks
}

func newTracker(form wire.Form, usage wire.Meter, memory *memory.Share) *tracker {
	return &tracker{form: form, usage: usage, blocks: blocks{gathering: wire.Gathering{Memory: memory}, open: map[int64]*block{}}}
}

func (t *tracker) Observe(event sse.Event) {
	data, unread := t.payloads.Object(event)
	switch {
	case data == nil:
	case isUsualText(data):
		t.answer.Known = true
	default:
		var members members
		members.read(event, wire.View(data))
		if members.isText() {
			t.answer.Known = true
		} else {
			unread = !wire.IsSound(data) || !t.read(&members)
		}
	}
	if t.blocks.gathering.Lost() || unread {
		t.answer.Unread++
	}
}

// isUsualText reports whether an event is text in Anthropic's own spelling. It looks only at the first bytes: a stream
// has thousands of text events.
func isUsualText(data []byte) bool {
	rest, ok := bytes.CutPrefix(data, []byte(`{"type":"content_block_delta","index":`))
	return ok && bytes.HasPrefix(bytes.TrimLeft(rest, "0123456789"), []byte(`,"delta":{"type":"text_delta",`))
}

// members are the members of an event, of which most events have only some.
type members struct {
	object                              gjson.Result
	kind                                string
	index, message, block, delta, usage gjson.Result
}

// read reads the members of an event's object, which it walks only once: a stream has thousands of events. Of two
// members with the same name the last one counts, as in SDKs.
func (m *members) read(event sse.Event, object gjson.Result) {
	m.object = object
	var kind gjson.Result
	object.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "type":
			kind = value
		case "index":
			m.index = value
		case "message":
			m.message = value
		case "content_block":
			m.block = value
		case "delta":
			m.delta = value
		case "usage":
			m.usage = value
		}
		return true
	})
	m.kind = wire.KindOf(event, kind)
}

// isText reports whether an event holds text, as most events do; text is not recorded.
func (m *members) isText() bool {
	return m.kind == "content_block_delta" && m.delta.Get("type").Str == "text_delta"
}

// read reports whether it understood all of the event.
func (t *tracker) read(event *members) bool {
	known := t.answer.Known
	t.answer.Known = true
	switch event.kind {
	case "content_block_delta":
		return t.blocks.extend(place(event.index), event.delta)
	case "content_block_stop":
	case "ping":
		t.answer.Known = known
	case "message_start":
		return t.readMessage(event.message)
	case "message":
		t.final = true
		t.answer.Terminal = t.answer.Terminal || t.form == wire.Body
		return t.readMessage(event.object)
	case "content_block_start":
		return t.blocks.begin(place(event.index), event.block)
	case "message_delta":
		t.final = true
		understood := t.usage.Read(event.usage)
		if event.delta.IsObject() { // Some servers put it there.
			understood = t.usage.Read(event.delta.Get("usage")) && understood
		}
		return understood
	case "message_stop":
		t.final = true
		t.ended, t.answer.Terminal = true, true
		return t.usage.Read(event.usage)
	default:
		failure, ok := wire.ReadFailure(event.kind, event.object)
		if !ok {
			t.answer.Known = known
			return false
		}
		t.answer.Failure = cmp.Or(t.answer.Failure, failure) // The first failure is the cause.
		t.answer.Terminal = true
	}
	return true
}

// place returns the place of a block. One that has none, or one that is no whole number, is the first.
func place(index gjson.Result) int64 {
	at, _ := wire.Whole(index)
	return at
}

// readMessage reads a message: that of message_start mostly has no content yet, that of a JSON body is whole. Within a
// stream a message brings only what the other events have not brought.
func (t *tracker) readMessage(message gjson.Result) bool {
	understood := true
	message.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "id":
			t.answer.ID = cmp.Or(t.answer.ID, wire.Kept(value))
		case "model":
			t.answer.Model = cmp.Or(t.answer.Model, wire.Kept(value))
		case "usage":
			understood = t.usage.Read(value) && understood
		case "content":
			understood = t.blocks.readContent(value) && understood
		}
		return true
	})
	return understood
}

func (t *tracker) Ended() bool { return t.ended && t.answer.Failure == (wire.Failure{}) }

func (t *tracker) MayEnd() bool { return t.answer.Terminal }

func (t *tracker) Answer() wire.Answer {
	answer := t.answer
	if answer.Usage = t.usage.Usage(); answer.Usage != nil {
		answer.Usage.Preliminary = !t.final
	}
	t.blocks.gathering.AddTo(&answer)
	return answer
}
