package aibridge

import (
	"bytes"
	"io"

	"github.com/coder/aibridged/internal/sse"
)

// sieve is a stream less the events that exist only because the gateway asked for them. An event is handed on once it
// is whole; all others keep their bytes.
type sieve struct {
	source   io.ReadCloser
	withhold func(sse.Event) bool

	events   sse.Splitter
	ready    []byte // Bytes for the client.
	err      error  // Of source, due once ready is empty.
	withheld bool   // The last event was.
	afterCR  bool   // It ended with a CR: if a LF follows, it belongs to that line end.
}

// Read implements [io.Reader].
func (s *sieve) Read(p []byte) (int, error) {
	for len(s.ready) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		n, err := s.source.Read(p)
		s.ready = s.ready[:0]
		for event := range s.events.Feed(p[:n]) {
			s.pass(event)
		}
		if err != nil {
			s.err = err
			for event := range s.events.Flush() {
				s.pass(event)
			}
		}
	}
	n := copy(p, s.ready)
	s.ready = s.ready[n:]
	return n, nil
}

func (s *sieve) pass(event sse.Event) {
	raw := event.Raw
	if rest, ok := bytes.CutPrefix(raw, []byte("\n")); ok && s.afterCR {
		if !s.withheld {
			s.ready = append(s.ready, '\n')
		}
		raw = rest
	}
	s.withheld = !event.Opaque && s.withhold(event)
	s.afterCR = bytes.HasSuffix(event.Raw, []byte("\r"))
	if !s.withheld {
		s.ready = append(s.ready, raw...)
	}
}

// Close implements [io.Closer].
func (s *sieve) Close() error { return s.source.Close() }
