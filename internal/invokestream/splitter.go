package invokestream

import (
	"iter"

	"github.com/coder/aibridged/internal/eventstream"
	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/sse"
)

// Splitter splits a stream of frames into the events that they hold, as [sse.Splitter] does with server-sent events, so that
// a tracker can read along. An exception is the event "error" of the Messages API. A Splitter is made by [NewSplitter], and
// is not safe for concurrent use.
type Splitter struct{ frames eventstream.Splitter }

// NewSplitter returns a Splitter whose frames take their memory from pool. It must be closed.
func NewSplitter(pool *memory.Pool) *Splitter {
	return &Splitter{frames: eventstream.Splitter{Pool: pool}}
}

// Feed returns the events of the frames that chunk completes. The Raw of an event is its frame, and it is opaque if it could
// not be read. Range over all of the sequence, and before the Splitter is used again. The slices of an event are valid until
// the next one is taken, or the sequence ends.
func (s *Splitter) Feed(chunk []byte) iter.Seq[sse.Event] {
	return func(yield func(sse.Event) bool) {
		for frame := range s.frames.Feed(chunk) {
			event, err := Read(frame)
			as := sse.Event{Raw: frame.Raw, Data: event.Data, Opaque: err != nil}
			if event.Type != "" {
				as.Type = []byte(event.Type)
			}
			if event.Exception != nil {
				as.Type, as.Data = []byte("error"), event.Exception.Body()
			}
			if !yield(as) {
				return
			}
		}
	}
}

// End returns what was wrong with a stream that has ended: see [eventstream.Splitter.End].
func (s *Splitter) End() error { return s.frames.End() }

// Close gives back what the pool has lent.
func (s *Splitter) Close() { s.frames.Close() }
