// Package invokestream reads the frames in which Bedrock's InvokeModelWithResponseStream sends an answer of the Messages
// API. Most frames hold an event of that API, with the event's bytes as they are in a stream of server-sent events; the
// others are errors.
package invokestream

import (
	"encoding/base64"
	"fmt"

	"github.com/coder/aibridged/internal/eventstream"
	"github.com/coder/aibridged/internal/jsonedit"
)

// MediaType is the type of such an answer.
const MediaType = "application/vnd.amazon.eventstream"

// Event is what one frame says. The zero Event says nothing: the frame is of a kind that is to be skipped.
type Event struct {
	Type string // The event's type, or empty.
	Data []byte // The event's JSON, as the model's server wrote it.
	// Exception is the error in the place of an event, or nil.
	Exception *Exception
}

// Read returns what a frame says. It fails if the frame should hold an event, and none can be read.
func Read(frame eventstream.Frame) (Event, error) {
	switch frame.Header(":message-type") {
	case "exception":
		return Event{Exception: &Exception{Name: frame.Header(":exception-type"), Message: messageIn(frame.Payload)}}, nil
	case "error":
		return Event{Exception: &Exception{Name: frame.Header(":error-code"), Message: frame.Header(":error-message")}}, nil
	case "event":
	default:
		return Event{}, nil
	}
	if frame.Header(":event-type") != "chunk" {
		return Event{}, nil
	}
	payload, err := jsonedit.Parse(frame.Payload)
	if err != nil {
		return Event{}, fmt.Errorf("chunk of an event stream: %w", err)
	}
	value, _ := payload.Get("bytes")
	text, ok := jsonedit.String(value)
	if !ok {
		return Event{}, fmt.Errorf("chunk of an event stream: it has no bytes")
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return Event{}, fmt.Errorf("chunk of an event stream: %w", err)
	}
	return Event{Type: typeOf(data), Data: data}, nil
}

// typeOf returns the type of an event. It is empty if there is none that can stand in a line.
func typeOf(data []byte) string {
	object, err := jsonedit.Parse(data)
	if err != nil {
		return ""
	}
	value, _ := object.Get("type")
	kind, _ := jsonedit.String(value)
	for _, c := range kind {
		if c < ' ' {
			return ""
		}
	}
	return kind
}

// messageIn returns the message in the JSON of an error, or "".
func messageIn(body []byte) string {
	object, err := jsonedit.Parse(body)
	if err != nil {
		return ""
	}
	for _, name := range [...]string{"message", "Message", "originalMessage"} {
		value, _ := object.Get(name)
		if message, ok := jsonedit.String(value); ok && message != "" {
			return message
		}
	}
	return ""
}
