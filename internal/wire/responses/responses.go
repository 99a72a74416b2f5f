// Package responses is the wire format of OpenAI's Responses API.
//
//	format := responses.Format()
//	request, err := format.Inspect(body)
//	…
//	tracker := format.Track()
//	for event := range splitter.Feed(chunk) {
//		tracker.Observe(event)
//	}
//	answer := tracker.Answer()
//
// It reads and never writes: no request needs an edit for its answer to tell what it cost. What an answer holds is told
// twice, as its items are made and in whole by the event that ends it; it is noted once.
package responses

import (
	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/wire"
)

// Format returns the format. https://platform.openai.com/docs/api-reference/responses
func Format() wire.Format {
	return wire.Format{
		Name:    "responses",
		Inspect: inspect,
		Track: func() wire.Tracker {
			return &tracker{items: newItems()}
		},
		Shape: apierror.OpenAI(),
	}
}
