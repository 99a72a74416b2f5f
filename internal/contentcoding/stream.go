package contentcoding

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/coder/aibridged/internal/memory"
)

// pieceBytes is the largest piece that a [Stream] returns, in bytes.
const pieceBytes = 4 << 10

// errClosed ends the decoding of a closed stream.
var errClosed = errors.New("decoding was given up")

// Stream decodes a body that comes in chunks, and returns at once what a chunk makes decodable. It starts no goroutine
// that runs beside its caller. It is not safe for concurrent use, and must be closed.
type Stream struct {
	codings []string
	fed     []byte // The bytes that came and are not decoded yet.
	last    bool   // Nothing more will come.
	err     error  // Why decoding ended; io.EOF at the end of the body.
	next    func() ([]byte, bool)
	stop    func()
}

// NewStream returns a Stream for the codings that encoding names, as for [Decode]. Its error wraps [ErrUnsupported]. No
// coding may give more than limit bytes. What the decoders take is taken from pool.
func NewStream(encoding string, limit int64, pool *memory.Pool) (*Stream, error) {
	codings, err := parse(encoding)
	if err != nil {
		return nil, err
	}
	s := &Stream{codings: codings}
	s.next, s.stop = iter.Pull(func(yield func([]byte) bool) { s.err = s.decode(limit, pool, yield) })
	return s, nil
}

// decode runs as a coroutine of the Stream's caller. It yields decoded bytes, and nil when it needs more input.
func (s *Stream) decode(limit int64, pool *memory.Pool, yield func([]byte) bool) error {
	var r io.Reader = feed{s, yield}
	for i := len(s.codings) - 1; i >= 0; i-- {
		layer := newLayer(s.codings[i], r, limit, pool)
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

// feed is the decoder's input. When it is empty, it yields nil, so that the Stream's caller can bring more.
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

// Feed yields what can be decoded with chunk, in pieces. Each piece is valid until the next is taken. The caller ranges
// over it once and to its end. Bytes after an error, or after the end of the coding, are not decoded.
func (s *Stream) Feed(chunk []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		s.fed = chunk
		for s.err == nil {
			piece, ok := s.next()
			if !ok || piece == nil || !yield(piece) {
				break
			}
		}
		s.fed = nil // It is empty already, unless decoding has ended.
	}
}

// End yields what remains to be decoded after the last chunk, like [Stream.Feed].
func (s *Stream) End() iter.Seq[[]byte] {
	s.last = true
	return s.Feed(nil)
}

// Err returns the error that ended decoding, or nil if there is none: decoding goes on, or the body has ended.
func (s *Stream) Err() error {
	if s.err == nil || s.err == io.EOF {
		return nil
	}
	return fmt.Errorf("decode %s: %w", strings.Join(s.codings, ", "), s.err)
}

// Close frees what the decoders hold. It can be called more than once.
func (s *Stream) Close() { s.stop() }
