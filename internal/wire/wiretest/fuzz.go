package wiretest

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

// FuzzTrack fuzzes the events of a format's tracker. A stream gives the same answer in whole and cut in two, its bytes
// are not changed, asking in between changes nothing, and an answer that has ended does not go on.
func FuzzTrack(f *testing.F, suite Suite) {
	for _, exchange := range exchanges(f, suite.Exchanges) {
		f.Add(exchange.stream, uint(len(exchange.stream)/2))
		f.Add(exchange.body, uint(0))
	}
	f.Fuzz(func(t *testing.T, stream []byte, cut uint) {
		original := bytes.Clone(stream)
		at := int(cut % uint(len(stream)+1))
		whole, parts := split(stream), split(stream[:at], stream[at:])
		want := track(suite.Format, whole)
		sameAnswer(t, track(suite.Format, parts), want)

		tracker := suite.Format.Track(wire.Stream, nil)
		ended := false
		for _, event := range whole {
			tracker.Observe(event)
			now := tracker.Answer()
			if ended && !now.Terminal {
				t.Fatalf("an answer that had ended goes on after %s", event.Raw)
			}
			ended = now.Terminal
		}
		sameAnswer(t, tracker.Answer(), want)

		body := bytes.Clone(stream)
		trackBody(suite.Format, body)
		if !bytes.Equal(stream, original) || !bytes.Equal(body, original) {
			t.Fatal("the bytes were changed")
		}
	})
}

// FuzzInspect fuzzes the requests that a format reads. A refusal has status 400, an edited request needs no further
// edit and reads the same, and the bytes are not changed.
func FuzzInspect(f *testing.F, suite Suite) {
	f.Add([]byte(`{"model":"m",` + suite.Conversation + `}`))
	for _, exchange := range exchanges(f, suite.Exchanges) {
		if exchange.request != nil {
			f.Add(exchange.request)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		object, err := jsonedit.Parse(body)
		if err != nil {
			return
		}
		original := bytes.Clone(body)
		request, err := suite.Format.Inspect(object)
		if !bytes.Equal(body, original) {
			t.Fatal("the bytes were changed")
		}
		if err != nil {
			if refusal, ok := errors.AsType[*apierror.Error](err); !ok || refusal.Status != 400 {
				t.Fatalf("got error %v, want one of status 400", err)
			}
			return
		}
		if len(request.System) > 256 {
			t.Fatalf("got %d bytes of the system prompt", len(request.System))
		}
		edited, err := jsonedit.Splice(body, request.Edits...)
		if err != nil || !json.Valid(edited) {
			t.Fatalf("edited to %s: %v", edited, err)
		}
		again := inspect(t, suite.Format, edited)
		if len(again.Edits) > 0 || again.Withhold != nil {
			t.Fatalf("%s needs another edit", edited)
		}
		request.Edits, request.Withhold = nil, nil
		if !reflect.DeepEqual(request, again) {
			t.Fatalf("reads\n%#v\nand edited\n%#v", request, again)
		}
	})
}
