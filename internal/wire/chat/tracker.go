package chat

import (
	"cmp"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// tracker reads along one answer. It reads a JSON body as a chunk whose choices have a message in place of a delta.
type tracker struct {
	payloads  wire.Payloads
	answer    wire.Answer // Without the parts that have a field below.
	tier      string
	usage     usage
	cut       bool // An error came before a choice was finished.
	ended     bool // [DONE] came. Some servers give their chunks the kind of a whole answer, so that kind is no end.
	gathering wire.Gathering
	calls     map[callKey]*wire.Call
	thoughts  map[int64]*wire.Thinking // One for each choice.
	text      textChunk
}

func (t *tracker) Observe(event sse.Event) {
	if wire.IsDone(event) {
		t.ended, t.answer.Terminal = true, true
		return
	}
	data, unread := t.payloads.Object(event)
	if data != nil {
		unread = !t.isText(event, data) && !(wire.IsSound(data) && t.read(event, data))
	}
	if t.gathering.Lost() || unread {
		t.answer.Unread++
	}
}

// read reports whether it understood the event. It walks the object only once: a stream has thousands of chunks.
func (t *tracker) read(event sse.Event, data []byte) bool {
	object := wire.View(data)
	var kind string
	var understood, whole, suspect bool
	object.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "id":
			keepFirst(&t.answer.ID, value)
		case "model":
			keepFirst(&t.answer.Model, value)
		case "service_tier":
			if value.Type == gjson.String && value.Str != t.tier {
				t.tier = strings.Clone(value.Str)
			}
		case "object":
			kind = value.Str
		case "usage":
			t.usage.read(value)
			understood = understood || value.IsObject()
		case "choices":
			whole = t.readChoices(value)
			understood = understood || value.IsArray()
		case "error":
			suspect = true
		}
		return true
	})
	// Some servers do not give the kind of an object.
	if kind == "chat.completion" || whole && kind != "chat.completion.chunk" {
		t.answer.Terminal = true
	}
	if understood && !suspect {
		return true
	}
	return t.readOther(wire.Kind(event, data), object) || understood
}

// readOther reads an event that is no chunk, or more than a chunk: an error, or a ping with an object in it.
func (t *tracker) readOther(kind string, object gjson.Result) bool {
	failure, failed := wire.ReadFailure(kind, object)
	if failed {
		t.answer.Failure = cmp.Or(t.answer.Failure, failure) // The first failure is the cause.
		t.cut = t.cut || !t.answer.Complete
		t.answer.Complete = true // No [DONE] follows an error.
	}
	return failed || kind == "ping"
}

// keepFirst sets field to value if field is empty: some servers leave it empty in their first chunks.
func keepFirst(field *string, value gjson.Result) {
	if *field == "" && value.Type == gjson.String {
		*field = strings.Clone(value.Str)
	}
}

func (t *tracker) Ended() bool { return t.ended && t.answer.Failure == (wire.Failure{}) }

func (t *tracker) MayEnd() bool { return t.answer.Complete || t.answer.Terminal }

func (t *tracker) Answer() wire.Answer {
	answer := t.answer
	if answer.Usage = t.usage.total(t.tier); answer.Usage != nil {
		answer.Usage.Preliminary = t.cut
	}
	t.gathering.AddTo(&answer)
	return answer
}
