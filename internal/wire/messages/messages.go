// Package messages is the wire format of Anthropic's Messages API, as Anthropic itself and Bedrock speak it.
//
//	format := messages.Format()
//	request, err := format.Inspect(body)
//	…
//	tracker := format.Track(wire.Stream, nil)
//	for event := range splitter.Feed(chunk) {
//		tracker.Observe(event)
//	}
//	answer := tracker.Answer()
//
// The format only reads: no request needs an edit for its answer to report usage.
package messages

import (
	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// Format returns the format. https://docs.anthropic.com/en/api/messages
func Format() wire.Format { return formatOf(inspect) }

// Hosted returns the format as the clouds have it that serve Claude: their paths name the model, and not their requests.
func Hosted() wire.Format { return formatOf(inspectHosted) }

func formatOf(inspect func(jsonedit.Object) (wire.Request, error)) wire.Format {
	table := figures()
	meter := table.Meters()
	return wire.Format{
		Name:    "messages",
		Inspect: inspect,
		Bounds:  bounds,
		Track:   func(form wire.Form, memory *memory.Share) wire.Tracker { return newTracker(form, meter(), memory) },
		Figures: table,
		Tooling: tooling(),
		Shape:   apierror.Anthropic(),
		Ping:    func(sse.Event) []byte { return []byte(ping) },
	}
}
