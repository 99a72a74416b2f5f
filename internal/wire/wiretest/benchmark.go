package wiretest

import (
	"testing"

	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// BenchmarkObserve measures the cost of observing event, of a kind that an answer has thousands of, after the events
// that come first.
func BenchmarkObserve(b *testing.B, format wire.Format, event sse.Event, first ...sse.Event) {
	tracker := format.Track(wire.Stream, nil)
	for _, event := range first {
		tracker.Observe(event)
	}
	b.SetBytes(int64(len(event.Data)))
	b.ReportAllocs()
	for b.Loop() {
		tracker.Observe(event)
	}
	if answer := tracker.Answer(); answer.Unread > 0 {
		b.Fatalf("%d events were not read", answer.Unread)
	}
}
