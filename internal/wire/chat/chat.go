// Package chat is the wire format of OpenAI's Chat Completions API, as OpenAI, Copilot and the many servers that copy
// it speak it.
//
//	format := chat.Format()
//	request, err := format.Inspect(body)
//	…
//	tracker := format.Track(wire.Stream, nil)
//	for event := range splitter.Feed(chunk) {
//		tracker.Observe(event)
//		if request.Withhold == nil || !request.Withhold(event) {
//			… // The event is the client's.
//		}
//	}
//	answer := tracker.Answer()
//
// An upstream reports the usage of a streamed answer only if the request asks for it. Where the client does not ask,
// the format's edit asks, and Withhold recognises the event that comes only because of that.
//
// Tooling's joint makes one answer of the chunks of several rounds. Chunks go on as they came unless they must change: a
// piece of a call of the gateway's tools is left out, and later rounds have the id of the first and no role of their own.
// The joint withholds by itself what Withhold recognises.
package chat

import (
	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// Format returns the format. https://platform.openai.com/docs/api-reference/chat
func Format() wire.Format {
	table := figures()
	meter := table.Meters()
	return wire.Format{
		Name:    "chat",
		Inspect: inspect,
		Bounds:  bounds,
		Track:   func(form wire.Form, memory *memory.Share) wire.Tracker { return newTracker(form, meter(), memory) },
		Figures: table,
		Tooling: tooling(),
		Shape:   apierror.OpenAI(),
		Ping:    func(sse.Event) []byte { return []byte(ping) },
	}
}
