package chat

import (
	"cmp"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// tracker reads along one answer. It reads a JSON body as a chunk whose choices have a message in place of a delta.
type tracker struct {
	form     wire.Form
	payloads wire.Payloads
	answer   wire.Answer // Without the parts that have a field below.
	usage    wire.Meter
	cut      bool // An error came before a choice was finished, and no usage since.
	metered  bool // The last event reported usage.
	messaged bool // A choice had a message, not only deltas.
	ended    bool // [DONE] came. Some servers give their chunks the kind of a whole answer, so that kind is no end.
	parts    parts
	text     textChunk
}

func newTracker(form wire.Form, usage wire.Meter, memory *memory.Share) *tracker {
	return &tracker{form: form, usage: usage, parts: newParts(memory)}
}

func (t *tracker) Observe(event sse.Event) {
	if wire.IsDone(event) {
		t.ended, t.answer.Terminal, t.answer.Known = true, true, true
		return
	}
	data, unread := t.payloads.Object(event)
	if data != nil {
		if t.isText(event, data) {
			t.answer.Known = true
		} else {
			unread = !wire.IsSound(data) || !t.read(event, data)
		}
	}
	if t.parts.gathering.Lost() || unread {
		t.answer.Unread++
	}
}

// read reports whether it understood all of the event. It walks the object only once: a stream has thousands of chunks.
func (t *tracker) read(event sse.Event, data []byte) bool {
	object := wire.View(data)
	var kind string
	var choices, groq gjson.Result
	isChunk, understood, suspect := false, true, string(event.Type) == "error"
	t.metered = false
	object.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "id":
			keepFirst(&t.answer.ID, value)
		case "model":
			keepFirst(&t.answer.Model, value)
		case "service_tier":
			t.usage.Label("service_tier", value)
		case "object":
			kind = value.Str
		case "usage":
			isChunk = isChunk || value.IsObject()
			understood = t.meter(value) && understood
		case "x_groq": // Some servers put the usage into a member of their own.
			groq = value
		case "choices":
			choices = value
		case "error":
			suspect = suspect || value.Type != gjson.Null
		case "type":
			suspect = suspect || value.Str == "error"
		}
		return true
	})
	if groq.Exists() {
		understood = t.meter(groq.Get("usage")) && understood
	}
	other := false
	if suspect || !isChunk && !choices.IsArray() {
		other = t.readOther(wire.Kind(event, object), object)
	}
	if choices.IsArray() {
		isChunk = true
		understood = t.readChoices(kind, choices) && understood
	}
	if t.form == wire.Body && (kind == "chat.completion" || isChunk && kind != "chat.completion.chunk" && t.messaged) {
		t.answer.Terminal = true // Some servers do not give the kind of an object.
	}
	t.cut = t.cut && !t.metered
	t.answer.Known = t.answer.Known || isChunk || t.answer.Failure != (wire.Failure{})
	return (isChunk || other) && understood
}

// meter reads a usage object. It reports whether it understood the value.
func (t *tracker) meter(usage gjson.Result) bool {
	t.metered = t.metered || usage.IsObject()
	return t.usage.Read(usage)
}

// readOther reads an event that is no chunk, or more than a chunk: an error, or a ping with an object in it.
func (t *tracker) readOther(kind string, object gjson.Result) bool {
	failure, failed := wire.ReadFailure(kind, object)
	if failed {
		t.fail(failure)
	}
	return failed || kind == "ping"
}

// fail notes a failure. The first one is the cause. No [DONE] follows it.
func (t *tracker) fail(failure wire.Failure) {
	t.answer.Failure = cmp.Or(t.answer.Failure, failure)
	t.cut = t.cut || !t.answer.Complete
	t.answer.Complete = true
}

// keepFirst sets field to value if field is empty: some servers leave it empty in their first chunks.
func keepFirst(field *string, value gjson.Result) {
	if *field == "" && value.Type == gjson.String {
		*field = strings.Clone(wire.String(value))
	}
}

func (t *tracker) Ended() bool { return t.ended && t.answer.Failure == (wire.Failure{}) }

func (t *tracker) MayEnd() bool { return t.answer.Complete || t.answer.Terminal }

func (t *tracker) Answer() wire.Answer {
	answer := t.answer
	if answer.Usage = t.usage.Usage(); answer.Usage != nil {
		answer.Usage.Preliminary = t.cut
	}
	t.parts.gathering.AddTo(&answer)
	return answer
}
