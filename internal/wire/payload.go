package wire

import (
	"bytes"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/sse"
)

// Payloads takes what is to be read out of the events of one answer. The zero Payloads is ready to use.
type Payloads struct {
	opaque bool // The last event was a piece of one that was too large.
}

// Object returns an event's data without white space around it, if it looks like a JSON object from outside. Where
// there is none it returns nil, and whether that is a fault: comments, pings and [DONE] carry nothing to read, other
// events should. Of the pieces of an event that was too large only the first one is a fault.
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

// IsSound reports whether data is JSON, and not nested so deeply that it could harm who reads it. Most of what comes is
// text that nobody reads: it need not be looked at so closely.
func IsSound(data []byte) bool { return jsonedit.CheckDepth(data) == nil && gjson.ValidBytes(data) }

// IsDone reports whether an event is the one that ends a stream of the Chat Completions API.
func IsDone(event sse.Event) bool { return string(bytes.TrimSpace(event.Data)) == "[DONE]" }

// Kind returns the type of an event with an object for data, which need not be sound. Where the object and the event's
// own line differ, the object is right: it is what SDKs go by.
func Kind(event sse.Event, object []byte) string {
	if kind := View(object).Get("type"); kind.Type == gjson.String {
		return kind.Str
	}
	return string(event.Type)
}
