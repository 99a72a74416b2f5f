// Package embeddings is the wire format of OpenAI's Embeddings API. Its answers have usage and nothing else that is
// recorded. They are never streamed.
//
//	format := embeddings.Format()
//	request, err := format.Inspect(body)
//	…
//	tracker := format.Track()
//	tracker.Observe(sse.Event{Data: answer})
//	usage := tracker.Answer().Usage
package embeddings

import (
	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

// Format returns the format. https://platform.openai.com/docs/api-reference/embeddings
func Format() wire.Format {
	return wire.Format{
		Name:    "embeddings",
		Inspect: inspect,
		Track:   func() wire.Tracker { return &tracker{} },
		Shape:   apierror.OpenAI(),
	}
}

// inspect reads a request. Servers with one model need not be told which, so an input is enough. Nothing in a request is
// a person's prompt.
func inspect(body jsonedit.Object) (wire.Request, error) { return wire.ReadRequest(body, "input") }
