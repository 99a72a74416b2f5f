// Package embeddings is the wire format of OpenAI's Embeddings API. Its answers have usage and nothing else that is
// recorded. They are never streamed.
//
//	format := embeddings.Format()
//	request, err := format.Inspect(body)
//	…
//	tracker := format.Track(wire.Body, nil)
//	tracker.Observe(sse.Event{Data: answer})
//	usage := tracker.Answer().Usage
package embeddings

import (
	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/wire"
)

// Format returns the format. https://platform.openai.com/docs/api-reference/embeddings
func Format() wire.Format {
	table := figures()
	meter := table.Meters()
	return wire.Format{
		Name:    "embeddings",
		Inspect: inspect,
		Bounds:  bounds,
		Track:   func(wire.Form, *memory.Share) wire.Tracker { return &tracker{usage: meter()} },
		Figures: table,
		Shape:   apierror.OpenAI(),
	}
}

// figures returns the table of the API's usage figures. Some upstreams tell only the total.
func figures() wire.Table {
	return wire.Table{
		Rows: []wire.Row{
			{Path: "prompt_tokens", Is: wire.Input},
			{Path: "input_tokens", Is: wire.Input},
			{Path: "completion_tokens", Is: wire.Output},
			{Path: "total_tokens", Is: wire.Total, Name: "total_tokens"},
			{Path: "prompt_tokens_details.cached_tokens", Is: wire.CacheRead},
		},
		TotalIsInput: true,
	}
}

// inspect reads a request. Servers with one model need not be told which, so an input is enough. Nothing in a request is
// a person's prompt.
func inspect(body jsonedit.Object) (wire.Request, error) { return wire.ReadRequest(body, "input") }

func bounds(body jsonedit.Object) wire.Bounds {
	b := wire.ReadBounds(body)
	b.Wordless = true
	return b
}
