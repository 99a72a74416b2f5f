package outbox

import "slices"

// place is a place in the queue: between two entries. Entries are numbered, and positions count the bytes of all
// frames, from the first of the segments that were there when the queue was opened.
type place struct {
	entry    uint64
	position int64
}

// item is one entry and where it is.
type item struct {
	place
	kind    Kind  // Entry or resent.
	at      int64 // When it was appended, in nanoseconds since 1970.
	payload []byte
}

// next returns the place after the item.
func (i item) next() place { return place{i.entry + 1, i.position + frameBytes(i.payload)} }

// maxKept is how much room for items an empty queue keeps.
const maxKept = 4 << 10

// recent holds the entries appended last, without a gap, so that a consumer that keeps up need not read them from disk.
// It is not safe for concurrent use.
type recent struct {
	limit int64 // For the bytes of the frames; above it, the oldest items are dropped. Zero means no limit.

	items []item // From head on.
	head  int
	bytes int64
}

// add adds an item behind all others.
func (r *recent) add(i item) {
	r.items = append(r.items, i)
	r.bytes += frameBytes(i.payload)
	for r.limit > 0 && r.bytes > r.limit {
		r.drop()
	}
}

// dropBefore drops the items before a position.
func (r *recent) dropBefore(position int64) {
	for r.head < len(r.items) && r.items[r.head].position < position {
		r.drop()
	}
}

func (r *recent) drop() {
	r.bytes -= frameBytes(r.items[r.head].payload)
	r.items[r.head] = item{}
	r.head++
	switch {
	case r.head == len(r.items) && cap(r.items) > maxKept:
		r.items, r.head = nil, 0
	case r.head == len(r.items):
		r.items, r.head = r.items[:0], 0
	case r.head >= 64 && r.head > len(r.items)/2:
		n := copy(r.items, r.items[r.head:])
		clear(r.items[n:])
		r.items, r.head = r.items[:n], 0
	}
}

// from returns the items from a position on, and none if the first of them is not there any more. They are valid until
// the next change.
func (r *recent) from(position int64) []item {
	items := r.items[r.head:]
	if len(items) == 0 || items[0].position > position {
		return nil
	}
	i, _ := slices.BinarySearchFunc(items, position, func(i item, position int64) int {
		return int(min(1, max(-1, i.position-position)))
	})
	return items[i:]
}
