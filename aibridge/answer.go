package aibridge

import (
	"errors"
	"io"
	"iter"

	"go.opentelemetry.io/otel/trace"

	"github.com/coder/aibridged/internal/contentcoding"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// errTruncated is how an answer ends for its client when the upstream left out the event that ends one.
var errTruncated = errors.New("upstream ended its answer without the event that ends one")

// answer is what one upstream answer has said so far. It passes nothing on: it only notes.
type answer struct {
	status   int
	coding   string // Its Content-Encoding.
	isStream bool
	tracker  wire.Tracker
	span     trace.Span // Ends with the answer's last byte.

	events    sse.Splitter
	collected []byte // A JSON body or a coded stream, which can only be understood whole. It is only read.
	unread    bool   // It was too large or coded in an unknown way, and only relayed.
	ended     bool
	err       error        // How it ended; nil in good order.
	seen      *wire.Answer // What it said, once that was asked for.
}

// said returns what the answer has said. It is for when nothing more will be read.
func (a *answer) said() wire.Answer {
	if a.seen == nil {
		seen := a.tracker.Answer()
		a.seen = &seen
	}
	return *a.seen
}

// observe notes the bytes of a stream that came next.
func (a *answer) observe(p []byte) {
	switch {
	case a.unread:
	case !isCoded(a.coding):
		a.follow(a.events.Feed(p))
	case len(a.collected)+len(p) > answerBody:
		a.unread, a.collected = true, nil
	default:
		a.collected = append(a.collected, p...)
	}
}

// follow shows the tracker events, up to the one that ends the answer.
func (a *answer) follow(events iter.Seq[sse.Event]) {
	for event := range events {
		if !a.tracker.Ended() {
			a.tracker.Observe(event)
		}
	}
}

// finish notes that the upstream ended the answer, with io.EOF or as it should not have. It returns how the client is
// to be told: io.EOF is a clean end.
func (a *answer) finish(err error) error {
	if a.ended {
		return err
	}
	a.ended = true
	a.span.End()
	if !errors.Is(err, io.EOF) {
		a.err = err
	}
	a.understand()
	seen := a.said()
	switch {
	case seen.Terminal:
		// The answer was whole before its connection broke.
		a.err = nil
	case a.err != nil || !a.isStream || a.unread || a.status >= 300:
	case !seen.Complete:
		a.err = errTruncated
	}
	if a.err != nil {
		return a.err
	}
	return io.EOF
}

// abandon notes that nobody reads on, if nobody has read to the end. Of a coded stream, what came until then is
// decoded.
func (a *answer) abandon() {
	if !a.ended && isCoded(a.coding) {
		a.understand()
	}
}

// understand shows the tracker what could not be shown to it piece by piece.
func (a *answer) understand() {
	if a.isStream && !isCoded(a.coding) {
		a.follow(a.events.Flush())
		return
	}
	// Of a coded answer that broke off, what came is decoded: the client could do so too.
	plain, err := contentcoding.Decode(a.coding, a.collected, answerBody)
	a.collected = nil
	if err != nil && a.err == nil && a.ended {
		a.unread = true
	}
	if a.unread {
		return
	}
	if !a.isStream {
		a.tracker.Observe(sse.Event{Data: plain})
		return
	}
	a.follow(a.events.Feed(plain))
	if a.ended { // Else the rest may yet have become an event.
		a.follow(a.events.Flush())
	}
}

// unreadEvents is how many events were relayed without being understood: what they said is in no record. A body that
// could not be read whole is one.
func (a *answer) unreadEvents() int {
	if a.unread {
		return a.said().Unread + 1
	}
	return a.said().Unread
}

func isCoded(coding string) bool { return coding != "" && coding != "identity" }
