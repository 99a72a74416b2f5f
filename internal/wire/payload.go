package wire

import (
	"bytes"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/sse"
)

// Payloads extracts the JSON objects from the events of one answer. The zero Payloads is ready to use.
type Payloads struct {
	opaque bool // The last event was a piece of a too large one.
}

// Object returns an event's data without white space around it, if its first and last bytes are those of a JSON object.
// Otherwise it returns nil, and whether the event counts as unread: comments, pings and [DONE] do not, other events do.
// Of the pieces of a too large event only the first one counts.
func (p *Payloads) Object(event sse.Event) (data []byte, unread bool) {
	continued := p.opaque && event.Opaque
	p.opaque = event.Opaque
	if event.Opaque {
		return nil, !continued
	}
	data = bytes.TrimSpace(event.Data)
	switch {
	case len(data) == 0, string(event.Type) == "ping", IsDone(event):
		return nil, false
	case data[0] != '{', data[len(data)-1] != '}':
		return nil, true
	}
	return data, false
}

// IsSound reports whether data is JSON that is not nested too deeply for a parser. Most events are text, which is not
// parsed, and need not be checked.
func IsSound(data []byte) bool { return jsonedit.CheckDepth(data) == nil && gjson.ValidBytes(data) }

// IsDone reports whether an event is the one that ends a stream of the Chat Completions API.
func IsDone(event sse.Event) bool { return string(bytes.TrimSpace(event.Data)) == "[DONE]" }

// Kind returns the type of an event whose data is an object, which need not be sound. Where the object and the event
// line differ, the object counts, and of two types in the object the last one, as in SDKs.
func Kind(event sse.Event, object gjson.Result) string {
	kind := gjson.Result{}
	object.ForEach(func(name, value gjson.Result) bool {
		if name.Str == "type" {
			kind = value
		}
		return true
	})
	return KindOf(event, kind)
}

// KindOf is Kind where the last type in the object is known. It does not exist where the object has none.
func KindOf(event sse.Event, kind gjson.Result) string {
	if kind.Type == gjson.String {
		return kind.Str
	}
	return string(event.Type)
}
