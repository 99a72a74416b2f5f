// Package responses is the wire format of OpenAI's Responses API.
//
//	format := responses.Format()
//	request, err := format.Inspect(body)
//	…
//	tracker := format.Track(wire.Stream, nil)
//	for event := range splitter.Feed(chunk) {
//		tracker.Observe(event)
//	}
//	answer := tracker.Answer()
//
// The tracker only reads: no request needs an edit for its answer to report usage. An answer reports its items twice, as
// they are made and in the event that ends it; they are noted once.
//
// With tools of the gateway, a joint makes one answer of several: see [wire.Joint].
package responses

import (
	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/wire"
)

// Format returns the format. https://platform.openai.com/docs/api-reference/responses
func Format() wire.Format { return format("responses", inspect, tooling()) }

// Compact returns the format of requests to compact a conversation.
// https://platform.openai.com/docs/api-reference/responses/compact
func Compact() wire.Format {
	restoring := tooling() // Its model calls nothing, but the conversation may have had calls.
	restoring.Free = func(jsonedit.Object) bool { return false }
	restoring.Join = nil
	return format("compact", inspectCompact, restoring)
}

func format(name string, inspect func(jsonedit.Object) (wire.Request, error), tooling *wire.Tooling) wire.Format {
	table := figures()
	meter := table.Meters()
	return wire.Format{
		Name:    name,
		Inspect: inspect,
		Bounds:  bounds,
		Track:   func(form wire.Form, memory *memory.Share) wire.Tracker { return newTracker(form, meter(), memory) },
		Figures: table,
		Tooling: tooling,
		Shape:   apierror.OpenAI(),
		Ping:    ping,
	}
}
