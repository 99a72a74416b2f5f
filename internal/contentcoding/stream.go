package contentcoding

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
)

// pieceBytes is how much a [Stream] gives at a time.
const pieceBytes = 4 << 10

// errClosed ends a decoder whose stream has been closed.
var errClosed = errors.New("decoding was given up")

// Stream undoes the codings of a body that comes in pieces: what a piece completes comes out at once. It starts no
// goroutine that runs beside its caller. It is not safe for concurrent use, and must be closed.
type Stream struct {
	codings []string
	fed     []byte // What came and has not been decoded.
	last    bool   // Nothing more will come.
	err     error  // Why decoding ended; io.EOF where the body did.
	next    func() ([]byte, bool)
	stop    func()
}

// NewStream returns a Stream for the codings that encoding names, as for [Decode]. It fails with [ErrUnsupported]. No
// coding may give more than limit bytes.
func NewStream(encoding string, limit int64) (*Stream, error) {
	codings, err := parse(encoding)
	if err != nil {
		return nil, err
	}
	s := &Stream{codings: codings}
	s.next, s.stop = iter.Pull(func(yield func([]byte) bool) { s.err = s.decode(limit, yield) })
	return s, nil
}

// decode runs as a coroutine of the Stream's caller: it yields what it decoded, and nil where it needs more to go on.
func (s *Stream) decode(limit int64, yield func([]byte) bool) error {
	var r io.Reader = feed{s, yield}
	for i := len(s.codings) - 1; i >= 0; i-- {
		layer := newLayer(s.codings[i], r, limit)
		defer layer.close()
		r = layer
	}
	for piece := make([]byte, pieceBytes); ; {
		n, err := r.Read(piece)
		if n > 0 && !yield(piece[:n]) {
			return errClosed
		}
		if err != nil {
			return err
		}
	}
}

// feed is what a decoder reads from. Where there is nothing, it goes back to the Stream's caller for more.
type feed struct {
	stream *Stream
	yield  func([]byte) bool
}

func (f feed) Read(p []byte) (int, error) {
	for len(f.stream.fed) == 0 {
		if f.stream.last {
			return 0, io.EOF
		}
		if !f.yield(nil) {
			return 0, errClosed
		}
	}
	n := copy(p, f.stream.fed)
	f.stream.fed = f.stream.fed[n:]
	return n, nil
}

// Feed returns what can be decoded once chunk has come, in pieces that are valid until the next is taken. Range over it
// once and to its end. What follows an error, or the end of the coding, is not decoded.
func (s *Stream) Feed(chunk []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		s.fed = chunk
		for s.err == nil {
			piece, ok := s.next()
			if !ok || piece == nil || !yield(piece) {
				break
			}
		}
		s.fed = nil // Empty by now, unless decoding has ended.
	}
}

// End is [Stream.Feed] for when nothing more will come.
func (s *Stream) End() iter.Seq[[]byte] {
	s.last = true
	return s.Feed(nil)
}

// Err returns why decoding ended, nil where that was the end of the body or where it has not ended.
func (s *Stream) Err() error {
	if s.err == nil || s.err == io.EOF {
		return nil
	}
	return fmt.Errorf("decode %s: %w", strings.Join(s.codings, ", "), s.err)
}

// Close frees what the decoders hold. It can be called more than once.
func (s *Stream) Close() { s.stop() }
