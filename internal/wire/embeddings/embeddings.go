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
		Inspect: func(body jsonedit.Object) (wire.Request, error) { return wire.ReadRequest(body) },
		Track:   func() wire.Tracker { return &tracker{} },
		Shape:   apierror.OpenAI(),
	}
}
