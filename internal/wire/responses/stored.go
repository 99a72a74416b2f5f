package responses

import (
	"strings"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// Stored returns the format of the answers that show a stored response: as a JSON body, or as the rest of its stream.
// Such a request has no body.
func Stored() wire.Format {
	table := figures()
	meter := table.Meters()
	return wire.Format{
		Name:    "stored",
		Inspect: func(jsonedit.Object) (wire.Request, error) { return wire.Request{}, nil },
		Track: func(form wire.Form, memory *memory.Share) wire.Tracker {
			return &storedTracker{*newTracker(form, meter(), memory)}
		},
		Figures: table,
		Shape:   apierror.OpenAI(),
	}
}

// storedTracker reads only whole responses. A stream may begin anywhere, but the event that ends it has the whole
// response, with its items in their order.
type storedTracker struct{ tracker }

func (t *storedTracker) Observe(event sse.Event) {
	var payloads wire.Payloads
	data, _ := payloads.Object(event)
	if data == nil {
		return
	}
	switch kind := wire.Kind(event, wire.View(data)); {
	case kind == "response.completed", kind == "response.incomplete", kind == "response.failed", !strings.HasPrefix(kind, "response."):
		t.tracker.Observe(event)
	}
}
