package responses

import (
	"bytes"
	"cmp"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// tracker reads along one answer. A JSON body is the response object that the last event of a stream holds.
type tracker struct {
	form     wire.Form
	payloads wire.Payloads
	answer   wire.Answer // Without the parts that have a field below.
	ended    bool        // response.completed or .incomplete came.
	// compaction says that the answer is a compacted conversation, whose items were made before.
	compaction bool
	status     string // The response's, as it was reported last.
	usage      wire.Meter
	items      *items
}

func newTracker(form wire.Form, usage wire.Meter, memory *memory.Share) *tracker {
	return &tracker{form: form, usage: usage, items: newItems(memory)}
}

func (t *tracker) Observe(event sse.Event) {
	data, unread := t.payloads.Object(event)
	switch {
	case data == nil:
	case t.isUsualText(data):
		t.answer.Known = true
	default:
		var members members
		members.read(event, wire.View(data))
		if !t.isText(members.kind) {
			unread = !wire.IsSound(data) || !t.read(&members)
		}
		t.answer.Known = t.answer.Known || strings.HasPrefix(members.kind, "response.")
	}
	if t.items.gathering.Lost() || unread {
		t.answer.Unread++
	}
}

// isUsualText is isText for an event in OpenAI's own spelling. It looks only at the first bytes: a stream has thousands
// of text events.
func (t *tracker) isUsualText(data []byte) bool {
	return t.items.commentaries == 0 && bytes.HasPrefix(data, []byte(`{"type":"response.output_text.delta",`))
}

// isText reports whether an event holds text that is no commentary, as most events do; such text is not recorded.
func (t *tracker) isText(kind string) bool {
	return kind == "response.output_text.delta" && t.items.commentaries == 0
}

// members are the members of an event, of which most events have only some.
type members struct {
	object                        gjson.Result
	kind                          string
	response, item, itemID, place gjson.Result
	summaryIndex, contentIndex    gjson.Result
	delta, text, arguments, input gjson.Result
	usage                         gjson.Result
}

// read reads the members of an event's object, which it walks only once: a stream has thousands of events, and some have
// megabytes. Of two members with the same name the last one counts, as in SDKs.
func (m *members) read(event sse.Event, object gjson.Result) {
	m.object = object
	var kind gjson.Result
	object.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "type":
			kind = value
		case "response":
			m.response = value
		case "item":
			m.item = value
		case "item_id":
			m.itemID = value
		case "output_index":
			m.place = value
		case "summary_index":
			m.summaryIndex = value
		case "content_index":
			m.contentIndex = value
		case "delta":
			m.delta = value
		case "text":
			m.text = value
		case "arguments":
			m.arguments = value
		case "input":
			m.input = value
		case "usage":
			m.usage = value
		}
		return true
	})
	m.kind = wire.KindOf(event, kind)
}

// position returns the position in the output of an event's item, or -1 if the event does not give it.
func (m *members) position() int64 {
	if index, ok := wire.Whole(m.place); ok {
		return index
	}
	return -1
}

// responseIn returns the response in an event, which some servers send without an event around it.
func (m *members) responseIn() gjson.Result {
	if m.response.Exists() || m.object.Get("object").Str != "response" {
		return m.response
	}
	return m.object
}

// read reports whether it understood all of the event.
func (t *tracker) read(event *members) bool {
	if part, ok := itemEvents[event.kind]; ok {
		t.items.extend(part, event)
		return true
	}
	switch event.kind {
	case "response.output_item.added":
		return t.items.begin(event.position(), event.item)
	case "response.output_item.done":
		return t.items.finish(event.position(), event.item)
	case "response.created", "response.queued", "response.in_progress":
		return t.readResponse(event.responseIn())
	case "response.completed", "response.incomplete", "response.failed":
		t.ended, t.answer.Terminal = true, true
		understood := t.readResponse(event.responseIn())
		if event.response.Exists() { // Some servers put the usage beside it.
			understood = t.usage.Read(event.usage) && understood
		}
		if event.kind == "response.failed" {
			t.fail(wire.Failure{Type: "failed"}) // Where the response gave a reason, that one stays.
		}
		return understood
	}
	return t.readOther(event.kind, event.object)
}

// readOther reads an error, a response without an event around it, or an event that says nothing about calls, thoughts
// or usage. Within a stream such a response does not end the answer.
func (t *tracker) readOther(kind string, object gjson.Result) bool {
	if saysNothing(kind) {
		return true
	}
	if name := object.Get("object").Str; name == "response" || name == "response.compaction" {
		t.compaction, t.answer.Known = name != "response", true
		understood := t.readResponse(object)
		if t.form == wire.Body {
			t.answer.Terminal = true
			t.answer.Unfinished = t.status == "queued" || t.status == "in_progress"
		}
		return understood
	}
	if strings.HasPrefix(kind, "response.") {
		return false
	}
	failure, failed := wire.ReadFailure(kind, object)
	if failed {
		t.fail(failure)
		t.answer.Terminal, t.answer.Known = true, true
	}
	return failed
}

// readResponse reads a response object, which holds the answer so far. It walks the object only once: it can have
// megabytes. It reports whether it understood all that it looks at.
func (t *tracker) readResponse(response gjson.Result) bool {
	if !response.IsObject() {
		return response.Type == gjson.Null
	}
	understood := true
	var output, status gjson.Result
	response.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "id":
			keepLast(&t.answer.ID, value)
		case "model":
			keepLast(&t.answer.Model, value)
		case "service_tier":
			t.usage.Label("service_tier", value)
		case "background":
			t.answer.Background = value.Type == gjson.True
		case "usage":
			understood = t.usage.Read(value) && understood
		case "tool_usage":
			understood = t.usage.ReadBeside("tool_usage", value) && understood
		case "error":
			if value.Type == gjson.Null {
				return true
			}
			if failure, failed := wire.ReadFailure("", response); failed {
				t.fail(failure)
			}
		case "status":
			status = value
			keepLast(&t.status, value)
		case "output":
			output = value
		}
		return true
	})
	if status.Str == "failed" {
		t.fail(wire.Failure{Type: "failed"})
	}
	if t.compaction {
		return understood
	}
	return t.readOutput(output) && understood
}

func (t *tracker) readOutput(output gjson.Result) bool {
	if !output.IsArray() {
		return output.Type == gjson.Null
	}
	understood := true
	var index int64
	output.ForEach(func(_, item gjson.Result) bool {
		understood = t.items.finish(index, item) && understood
		index++
		return true
	})
	return understood
}

// fail notes a failure. The first one is the cause, and stays.
func (t *tracker) fail(failure wire.Failure) { t.answer.Failure = cmp.Or(t.answer.Failure, failure) }

// keepLast sets field to value if value is a string: the answer may come from another model or tier than the request
// names.
func keepLast(field *string, value gjson.Result) {
	if value.Type == gjson.String && value.Str != "" {
		*field = wire.Kept(value)
	}
}

func (t *tracker) Ended() bool { return t.ended && t.answer.Failure == (wire.Failure{}) }

func (t *tracker) MayEnd() bool { return t.answer.Terminal }

func (t *tracker) Answer() wire.Answer {
	answer := t.answer
	answer.Usage = t.usage.Usage()
	t.items.gathering.AddTo(&answer)
	return answer
}
