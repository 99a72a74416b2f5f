package responses_test

import (
	"bytes"
	"testing"

	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// The events that answers have most of, before any call of the gateway's, in another spelling, and in a later round.
func BenchmarkPass(b *testing.B) {
	asEvent := func(event sse.Event) sse.Event {
		event.Raw = bytes.Join([][]byte{[]byte("event: "), event.Type, []byte("\ndata: "), event.Data, []byte("\n\n")}, nil)
		return event
	}
	usual, oddly := asEvent(textDelta()), textDelta()
	oddly.Data = append([]byte(`{"sequence_number":7,`), oddly.Data[1:]...)
	for name, test := range map[string]struct {
		event sse.Event
		later bool
	}{
		"text": {event: usual}, "arguments": {event: asEvent(argumentsDelta())}, "text in another order": {event: asEvent(oddly)},
		"text in a later round": {usual, true}, "completed": {event: asEvent(completed())},
	} {
		b.Run(name, func(b *testing.B) {
			joint := tooling().Join(wire.Joined{Body: parseBody(b, asked), IsOurs: isOurs})
			joint.Begin(wire.Stream)
			if test.later {
				for _, event := range split(answer{id: "resp_1", items: []string{ourCall(1)}}.stream()) {
					joint.Pass(nil, event)
				}
				if _, err := joint.Continue(make([]wire.Result, 1)); err != nil {
					b.Fatal(err)
				}
				joint.Begin(wire.Stream)
			}
			ready := make([]byte, 0, len(test.event.Raw)+100)
			b.SetBytes(int64(len(test.event.Raw)))
			b.ReportAllocs()
			for b.Loop() {
				ready = joint.Pass(ready[:0], test.event)
			}
		})
	}
}
