package responses

import (
	"bytes"
	"cmp"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// tracker reads along one answer. A JSON body is the response object that the last event of a stream holds.
type tracker struct {
	payloads wire.Payloads
	answer   wire.Answer // Without the parts that have a field below.
	ended    bool        // response.completed or .incomplete came.
	// compaction says that the answer is a compacted conversation, whose items were made before.
	compaction bool
	status     string // The response's, as it was reported last.
	tier       string
	usage      usage
	items      *items
}

func (t *tracker) Observe(event sse.Event) {
	data, unread := t.payloads.Object(event)
	if data != nil && !t.isUsualText(data) {
		kind := wire.Kind(event, data)
		unread = !t.isText(kind) && !(wire.IsSound(data) && t.read(kind, data))
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

// read reports whether it understood the event.
func (t *tracker) read(kind string, data []byte) bool {
	switch kind {
	case "response.output_text.delta":
		t.items.addToThought("message", wire.View(data))
	case "response.reasoning_summary_text.delta":
		t.items.addToThought("reasoning", wire.View(data))
	case "response.function_call_arguments.delta", "response.custom_tool_call_input.delta",
		"response.mcp_call_arguments.delta":
		t.items.addToCall(wire.View(data))
	case "response.output_item.added":
		event := wire.View(data)
		t.items.begin(position(event), event.Get("item"))
	case "response.output_item.done":
		event := wire.View(data)
		t.items.finish(position(event), event.Get("item"))
	case "response.created", "response.queued", "response.in_progress":
		t.readResponse(wire.View(data).Get("response"))
	case "response.completed", "response.incomplete", "response.failed":
		t.readResponse(wire.View(data).Get("response"))
		t.ended, t.answer.Terminal = true, true
		if kind == "response.failed" {
			t.fail(wire.Failure{Type: "failed"}) // Where the response gave a reason, that one stays.
		}
	default:
		return t.readOther(kind, wire.View(data))
	}
	return true
}

// readOther reads an error, a JSON body, or an event that says nothing about calls, thoughts or usage.
func (t *tracker) readOther(kind string, object gjson.Result) bool {
	if strings.HasPrefix(kind, "response.") || kind == "ping" || kind == "keepalive" {
		return true
	}
	if name := object.Get("object").Str; name == "response" || name == "response.compaction" {
		t.compaction = name != "response"
		t.readResponse(object)
		t.answer.Terminal = true
		t.answer.Unfinished = t.status == "queued" || t.status == "in_progress"
		return true
	}
	failure, failed := wire.ReadFailure(kind, object)
	if failed {
		t.fail(failure)
		t.answer.Terminal = true
	}
	return failed
}

// readResponse reads a response object, which holds the answer so far. It walks the object only once: it can have
// megabytes.
func (t *tracker) readResponse(response gjson.Result) {
	if !response.IsObject() {
		return
	}
	response.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "id":
			keepLast(&t.answer.ID, value)
		case "model":
			keepLast(&t.answer.Model, value)
		case "service_tier":
			keepLast(&t.tier, value)
		case "status":
			keepLast(&t.status, value)
		case "background":
			t.answer.Background = value.Type == gjson.True
		case "usage":
			t.usage.read(value)
		case "error":
			if value.Type == gjson.Null {
				return true
			}
			if failure, failed := wire.ReadFailure("", response); failed {
				t.fail(failure)
			}
		case "output":
			if !t.compaction {
				t.readOutput(value)
			}
		}
		return true
	})
}

func (t *tracker) readOutput(output gjson.Result) {
	if !output.IsArray() {
		return
	}
	var index int64
	output.ForEach(func(_, item gjson.Result) bool {
		t.items.finish(index, item)
		index++
		return true
	})
}

// fail notes a failure. The first one is the cause, and stays.
func (t *tracker) fail(failure wire.Failure) { t.answer.Failure = cmp.Or(t.answer.Failure, failure) }

// keepLast sets field to value if value is a string: the answer may come from another model or tier than the request
// names.
func keepLast(field *string, value gjson.Result) {
	if value.Type == gjson.String && value.Str != "" {
		*field = strings.Clone(value.Str)
	}
}

// position returns the position in the output of an event's item, or -1 if the event does not give it.
func position(event gjson.Result) int64 {
	if index := event.Get("output_index"); index.Type == gjson.Number {
		return index.Int()
	}
	return -1
}

func (t *tracker) Ended() bool { return t.ended && t.answer.Failure == (wire.Failure{}) }

func (t *tracker) MayEnd() bool { return t.answer.Terminal }

func (t *tracker) Answer() wire.Answer {
	answer := t.answer
	answer.Usage = t.usage.total(t.tier)
	t.items.gathering.AddTo(&answer)
	return answer
}
