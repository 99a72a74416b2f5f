package aibridge

import (
	"bytes"
	"iter"

	"github.com/coder/aibridged/internal/sse"
)

// passing gathers what of a stream goes to the client. Where an event may have to be withheld, each is passed on once it
// is whole, with its bytes as they came; otherwise everything is, as it comes. The zero passing withholds nothing.
type passing struct {
	// withhold reports whether an event exists only because the gateway asked for it. Nil: no event does.
	withhold func(sse.Event) bool

	ready    []byte // For the client.
	room     []byte // What ready is gathered in.
	withheld bool   // The last event was.
	afterCR  bool   // It ended with a CR: if a LF follows, it belongs to that line end.
}

// add adds a piece of the stream, whose events are given.
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

// take returns what is for the client since the last call. It is good until the next piece is added.
func (p *passing) take() []byte {
	ready := p.ready
	if p.withhold != nil {
		p.room = ready[:0]
	}
	p.ready = p.room
	return ready
}
