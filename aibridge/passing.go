package aibridge

import (
	"bytes"
	"iter"

	"github.com/coder/aibridged/internal/sse"
)

// passing gathers the bytes of a stream that go to the client. If events may have to be withheld, each event is passed
// on once it is whole, with its bytes unchanged; otherwise all bytes are passed on as they come. The zero passing
// withholds nothing.
type passing struct {
	// withhold reports whether an event exists only because the gateway asked for it. Nil: no event does.
	withhold func(sse.Event) bool

	ready    []byte // For the client.
	room     []byte // The buffer of ready.
	withheld bool   // The last event was withheld.
	afterCR  bool   // The last event ended with a CR: a LF that follows belongs to the same line end.
}

// add adds a piece of the stream, and the events that the piece completes.
func (p *passing) add(piece []byte, events iter.Seq[sse.Event]) {
	for event := range events {
		if p.withhold != nil {
			p.pass(event)
		}
	}
	if p.withhold == nil && len(piece) > 0 {
		p.ready = piece
	}
}

func (p *passing) pass(event sse.Event) {
	raw := event.Raw
	if rest, ok := bytes.CutPrefix(raw, []byte("\n")); ok && p.afterCR {
		if !p.withheld {
			p.ready = append(p.ready, '\n')
		}
		raw = rest
	}
	p.withheld = !event.Opaque && p.withhold(event)
	p.afterCR = bytes.HasSuffix(event.Raw, []byte("\r"))
	if !p.withheld {
		p.ready = append(p.ready, raw...)
	}
}

// take returns the bytes for the client since the last call. They are valid until the next piece is added.
func (p *passing) take() []byte {
	ready := p.ready
	if p.withhold != nil {
		p.room = ready[:0]
	}
	p.ready = p.room
	return ready
}
