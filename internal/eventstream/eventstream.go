// Package eventstream splits a stream of the type application/vnd.amazon.eventstream, in which Bedrock sends its answers,
// into its frames, and keeps their bytes as they came.
//
//	var splitter eventstream.Splitter
//	defer splitter.Close()
//	for chunk := range chunks {
//		for frame := range splitter.Feed(chunk) {
//			…
//		}
//	}
//	err := splitter.End() // The stream was cut off, or damaged.
//
// A frame is its length and that of its headers, 4 bytes each, the CRC-32 of these 8 bytes, the headers, the payload, and
// the CRC-32 of all of that. The package only reads.
package eventstream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"

	"github.com/coder/aibridged/internal/memory"
)

const (
	preludeSize  = 12
	checksumSize = 4

	// mostHeaders and mostPayload are the limits of the protocol.
	mostHeaders = 128 << 10
	mostPayload = 16 << 20

	// maxKept is the largest buffer that a Splitter keeps between frames: most streams are idle most of the time.
	maxKept = 4 << 10
)

// ErrDamaged means that the bytes are not the frames that were sent: a checksum or a length is wrong.
var ErrDamaged = errors.New("event stream damaged")

// Frame is one message of a stream. Its slices are parts of Raw.
type Frame struct {
	Raw     []byte // All of its bytes.
	Payload []byte

	headers []byte
}

// Header returns the value of a header that is a string. It returns "" if there is none, or one of another type.
func (f Frame) Header(name string) string {
	for found, value := range f.strings() {
		if string(found) == name {
			return string(value)
		}
	}
	return ""
}

// stringType is the type of headers that are strings.
const stringType = 7

// strings returns the names and values of the headers that are strings.
func (f Frame) strings() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for rest := f.headers; len(rest) > 0; {
			header, size := readHeader(rest)
			if size == 0 || header.kind == stringType && !yield(header.name, header.value) {
				return
			}
			rest = rest[size:]
		}
	}
}

// header is one header of a frame.
type header struct {
	name, value []byte
	kind        byte
}

// readHeader returns the header that begins there and its size, which is 0 if there is no valid one.
func readHeader(from []byte) (header, int) {
	if len(from) < 1 || from[0] == 0 || len(from) < int(from[0])+2 {
		return header{}, 0
	}
	at := int(from[0]) + 1
	h := header{name: from[1:at], kind: from[at]}
	at++
	length := 0
	switch h.kind {
	case 0, 1: // true, false
	case 2: // byte
		length = 1
	case 3: // short
		length = 2
	case 4: // integer
		length = 4
	case 5, 8: // long, timestamp
		length = 8
	case 6, stringType:
		if len(from) < at+2 {
			return header{}, 0
		}
		length = int(binary.BigEndian.Uint16(from[at:]))
		at += 2
	case 9: // UUID
		length = 16
	default:
		return header{}, 0
	}
	if len(from) < at+length {
		return header{}, 0
	}
	h.value = from[at : at+length]
	return h, at + length
}

// Splitter splits one stream, fed in chunks of any size, into frames. The zero Splitter is ready to use. It is not safe
// for concurrent use.
type Splitter struct {
	// Pool lends the buffer for a frame that comes in several chunks. A nil Pool has no bounds.
	Pool *memory.Pool

	tail []byte // The beginning of a frame that has not ended; the pool's.
	err  error
}

// Close gives back what the pool has lent. A Splitter with a Pool must be closed.
func (s *Splitter) Close() {
	if s.tail != nil {
		s.Pool.TakeBack(s.tail)
		s.tail = nil
	}
}

// Feed returns the frames that chunk completes. Range over all of the sequence, and before the Splitter is used again. The
// slices of a frame are valid until the next one is taken, or the sequence ends. Feed neither changes nor keeps chunk. After
// a fault, which End returns, there are no more frames.
func (s *Splitter) Feed(chunk []byte) iter.Seq[Frame] {
	return func(yield func(Frame) bool) {
		for s.err == nil && len(chunk) > 0 {
			raw, used, err := s.next(chunk)
			chunk = chunk[used:]
			if err == nil && raw == nil {
				return
			}
			var frame Frame
			if err == nil {
				frame, err = parse(raw)
			}
			if err != nil {
				s.err = err
				return
			}
			if !yield(frame) {
				return
			}
			if s.tail = s.tail[:0]; cap(s.tail) > maxKept {
				s.Close()
			}
		}
	}
}

// next returns the bytes of the first frame, if chunk completes it, and how much of chunk it has used.
func (s *Splitter) next(chunk []byte) (raw []byte, used int, err error) {
	if len(s.tail) == 0 && len(chunk) >= preludeSize {
		size, err := frameSize(chunk)
		if err != nil {
			return nil, 0, err
		}
		if size <= len(chunk) {
			return chunk[:size:size], size, nil
		}
	}
	if used, err = s.keep(chunk, preludeSize); err != nil || len(s.tail) < preludeSize {
		return nil, used, err
	}
	size, err := frameSize(s.tail)
	if err != nil {
		return nil, used, err
	}
	more, err := s.keep(chunk[used:], size)
	used += more
	if err != nil || len(s.tail) < size {
		return nil, used, err
	}
	return s.tail[:size:size], used, nil
}

// keep adds bytes of chunk to the tail until that has size bytes. The buffer grows with what has come, not with what a
// frame says of itself. It returns how many bytes it has added.
func (s *Splitter) keep(chunk []byte, size int) (added int, err error) {
	chunk = chunk[:max(min(size-len(s.tail), len(chunk)), 0)]
	for len(chunk) > 0 {
		switch {
		case s.tail == nil:
			s.tail, err = s.Pool.Lend(int64(len(chunk)))
		case len(s.tail) == cap(s.tail):
			s.tail, err = s.grown()
		}
		if err != nil {
			return added, err
		}
		n := min(cap(s.tail)-len(s.tail), len(chunk))
		s.tail = append(s.tail, chunk[:n]...)
		chunk = chunk[n:]
		added += n
	}
	return added, nil
}

// grown returns a larger buffer with the tail, or the tail as it is beside an error.
func (s *Splitter) grown() ([]byte, error) {
	larger, err := s.Pool.Grow(s.tail, 0)
	if err != nil {
		return s.tail, err
	}
	return larger, nil
}

// frameSize returns the size of the frame with that prelude.
func frameSize(prelude []byte) (int, error) {
	if crc32.ChecksumIEEE(prelude[:8]) != binary.BigEndian.Uint32(prelude[8:]) {
		return 0, fmt.Errorf("%w: checksum of a frame's lengths", ErrDamaged)
	}
	size, headers := binary.BigEndian.Uint32(prelude), binary.BigEndian.Uint32(prelude[4:])
	if headers > mostHeaders || uint64(size) < uint64(headers)+preludeSize+checksumSize ||
		uint64(size) > uint64(headers)+preludeSize+checksumSize+mostPayload {
		return 0, fmt.Errorf("%w: frame of %d bytes, %d of them headers", ErrDamaged, size, headers)
	}
	return int(size), nil
}

// parse reads a whole frame, whose prelude is valid.
func parse(raw []byte) (Frame, error) {
	end := len(raw) - checksumSize
	if crc32.ChecksumIEEE(raw[:end]) != binary.BigEndian.Uint32(raw[end:]) {
		return Frame{}, fmt.Errorf("%w: checksum of a frame", ErrDamaged)
	}
	headers := preludeSize + int(binary.BigEndian.Uint32(raw[4:]))
	frame := Frame{Raw: raw, headers: raw[preludeSize:headers], Payload: raw[headers:end]}
	for rest := frame.headers; len(rest) > 0; {
		_, size := readHeader(rest)
		if size == 0 {
			return Frame{}, fmt.Errorf("%w: header of a frame", ErrDamaged)
		}
		rest = rest[size:]
	}
	return frame, nil
}

// Err returns why there are no more frames: an error that wraps [ErrDamaged], or one of the Pool. Nil: nothing was wrong
// with what came.
func (s *Splitter) Err() error { return s.err }

// End returns what was wrong with a stream that has ended: what Err says, or [io.ErrUnexpectedEOF] if its last frame is
// not whole.
func (s *Splitter) End() error {
	if s.err == nil && len(s.tail) > 0 {
		return io.ErrUnexpectedEOF
	}
	return s.err
}
