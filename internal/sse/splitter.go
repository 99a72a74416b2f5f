package sse

import (
	"bytes"
	"iter"

	"github.com/coder/aibridged/internal/memory"
)

// defaultLimit allows a line of 32 MiB with its field name and the other lines of its event.
const defaultLimit = 33 << 20

// maxKept is the largest buffer that a Splitter keeps between events: most streams are idle most of the time.
const maxKept = 4 << 10

const byteOrderMark = "\ufeff"

// Splitter splits one stream, fed in chunks of any size, into events. The zero Splitter is ready to use. It is not safe
// for concurrent use.
type Splitter struct {
	// Limit is how many bytes the Raw of an event may have. A larger event is returned in pieces, unparsed. Zero means
	// 33 MiB. At most this many bytes and one chunk are buffered.
	Limit int
	// Pool lends the buffer for an event of more than 4 KiB. An event for which it has no memory is returned in pieces, as
	// if it were above the limit. A nil Pool has no bounds.
	Pool *memory.Pool

	tail   []byte // The beginning of an event that has not ended, already scanned for line ends.
	lent   []byte // The buffer of tail, or of the last event, if it is the pool's.
	rest   []byte // Bytes that were fed and are not scanned yet.
	joined []byte // A buffer for the data of events that have several data lines.

	begun   bool // The stream's first bytes have been looked at for a byte order mark.
	lead    int  // How many bytes of the current event come before its lines.
	inLine  bool // The current line is not blank.
	afterCR bool // The last byte was a CR that ended a line: a LF that follows is part of that line end.
	opaque  bool // The current event is larger than the limit.

	oversized int
}

// Close gives back what the pool has lent. A Splitter with a Pool must be closed.
func (s *Splitter) Close() {
	s.tail = nil
	s.giveBack()
}

// Oversized returns how many events were larger than the limit, or than the pool's memory.
func (s *Splitter) Oversized() int { return s.oversized }

// Feed returns the events that chunk completes, and the pieces of those that are larger than the limit. Range over the
// sequence once, before the Splitter or the chunk is used again. The slices of an event are valid until the next event
// is taken; those of the last one until the next Feed or Flush. Feed neither changes nor keeps chunk.
//
// If iteration stops early, the rest of chunk is copied, and its events come first in the next Feed or Flush.
//
// An event is complete as soon as its blank line is: if the blank line ends with a CR and a LF follows in a later
// chunk, the LF is the first byte of the next event's Raw.
func (s *Splitter) Feed(chunk []byte) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		s.feed(chunk, false, yield)
	}
}

// Flush returns what is left at the end of the stream: a last event without a blank line is still an event. Range over
// the sequence once. After that the Splitter is ready for another stream; Limit and the count of oversized events
// remain.
func (s *Splitter) Flush() iter.Seq[Event] {
	return func(yield func(Event) bool) {
		if !s.feed(nil, true, yield) {
			return
		}
		raw, lead := s.tail, s.lead
		*s = Splitter{Limit: s.Limit, Pool: s.Pool, lent: s.lent, joined: s.joined, oversized: s.oversized}
		if len(raw) > 0 {
			yield(s.event(raw, lead))
		}
		s.giveBack()
	}
}

// feed yields the events that chunk completes and reports whether it went through all of it. last says that no more
// bytes follow.
func (s *Splitter) feed(chunk []byte, last bool, yield func(Event) bool) bool {
	if len(s.rest) > 0 {
		chunk = append(s.rest, chunk...)
		s.rest = nil
	}
	if !s.begin(chunk, last) {
		s.rest = bytes.Clone(chunk)
		return true
	}
	lines := findLines(chunk)
	start, at := 0, s.skip(chunk)
	for at < len(chunk) {
		end, next := lines.line(at)
		if end == next {
			s.inLine = true
			break
		}
		blank := end == at && !s.inLine
		s.inLine = false
		at = next
		if !blank {
			continue
		}
		event, _ := s.take(chunk[start:at], true)
		start = at
		if !yield(event) {
			s.rest = bytes.Clone(chunk[start:])
			return false
		}
	}
	if start == len(chunk) {
		return true
	}
	if event, ok := s.take(chunk[start:], false); ok {
		return yield(event)
	}
	return true
}

// begin reports whether the stream has begun. It has not while its few first bytes may still become a byte order mark.
func (s *Splitter) begin(chunk []byte, last bool) bool {
	if s.begun {
		return true
	}
	if !last && len(chunk) < len(byteOrderMark) && bytes.HasPrefix([]byte(byteOrderMark), chunk) {
		return false
	}
	s.begun = true
	if bytes.HasPrefix(chunk, []byte(byteOrderMark)) {
		s.lead = len(byteOrderMark)
	}
	return true
}

// skip returns how many bytes at the beginning of chunk belong to none of its lines.
func (s *Splitter) skip(chunk []byte) int {
	switch {
	case s.afterCR && len(chunk) > 0 && chunk[0] == '\n':
		if len(s.tail) == 0 {
			s.lead = 1
		}
		return 1
	case len(s.tail) == 0:
		return s.lead
	}
	return 0
}

// take adds part, which is not empty, to the current event; ended says that part ends with the event's blank line. It
// returns the event if it has ended, or the bytes so far if there are more than the limit.
func (s *Splitter) take(part []byte, ended bool) (event Event, ok bool) {
	limit := s.Limit
	if limit == 0 {
		limit = defaultLimit
	}
	if len(s.tail) == 0 {
		s.giveBack() // The last event is not used any more.
	}
	s.afterCR = part[len(part)-1] == '\r'
	size := len(s.tail) + len(part)
	if !s.opaque && (size > limit || !ended && !s.reserve(size)) {
		s.opaque = true
		s.oversized++
	}
	if len(s.tail) > 0 || !ended && !s.opaque {
		s.tail = append(s.tail, part...)
		part = s.tail
	}
	if !ended && !s.opaque {
		return Event{}, false
	}
	if s.opaque {
		event = Event{Raw: part, Opaque: true}
	} else {
		event = s.event(part, s.lead)
	}
	s.tail = kept(s.tail)
	s.lead = 0
	if ended {
		s.opaque = false
	}
	return event, true
}

// reserve makes the buffer large enough for that many bytes of an event, and reports whether there is memory for that.
func (s *Splitter) reserve(size int) bool {
	if s.Pool == nil || size <= max(cap(s.tail), maxKept) {
		return true
	}
	if s.lent == nil {
		buffer, err := s.Pool.Lend(int64(size))
		if err != nil {
			return false
		}
		s.lent = append(buffer, s.tail...)
		s.tail = s.lent
	}
	if size > cap(s.tail) {
		larger, err := s.Pool.Grow(s.tail, int64(size+size/4))
		if err != nil {
			return false
		}
		s.tail, s.lent = larger, larger
	}
	return true
}

func (s *Splitter) giveBack() {
	if s.lent != nil {
		s.Pool.TakeBack(s.lent)
		s.lent = nil
	}
}

// kept returns b, emptied, for the next event, or nil if b is large.
func kept(b []byte) []byte {
	if cap(b) > maxKept {
		return nil
	}
	return b[:0]
}
