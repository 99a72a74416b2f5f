package outbox

import (
	"errors"
	"io/fs"
	"os"
)

// reader reads the entries of a queue from a place on: from memory where they are still there, else from disk. It is
// not safe for concurrent use.
type reader struct {
	q     *Queue
	at    place        // Of the next entry.
	limit func() place // Up to where it reads. It is called with q.mu.

	items []item
	arena []byte // Holds what was read from disk.

	segment *segment // The one that is open.
	file    file
	scanner scanner
}

func (q *Queue) newReader(at place, limit func() place) *reader {
	return &reader{q: q, at: at, limit: limit}
}

func (r *reader) close() {
	if r.file != nil {
		_ = r.file.Close()
	}
	r.segment, r.file, r.scanner = nil, nil, scanner{}
}

// take returns the next entries: at most so many entries and so many bytes, but at least one entry if there are any.
// They are valid until the next call. It fails if the disk cannot be read at the moment.
func (r *reader) take(entries, bytes int) ([]item, error) {
	for {
		r.items = r.items[:0]
		r.q.mu.Lock()
		limit := r.limit()
		r.takeRecent(limit, entries, bytes)
		var (
			s   *segment
			end place
		)
		if len(r.items) == 0 && r.at.position < limit.position {
			if s = r.q.segmentAt(r.at.position); s != nil {
				end = place{s.first + s.entries, s.end()}
			}
			if end.position > limit.position {
				end = limit
			}
		}
		r.q.mu.Unlock()
		if len(r.items) > 0 {
			r.close() // All entries that follow are in memory, too.
			return r.items, nil
		}
		if s == nil {
			return nil, nil
		}
		if err := r.takeFrom(s, end, entries, bytes); err != nil || len(r.items) > 0 {
			return r.items, err
		}
	}
}

// takeRecent takes from memory, up to a place. The caller has q.mu.
func (r *reader) takeRecent(limit place, entries, bytes int) {
	for _, i := range r.q.recent.from(r.at.position) {
		if i.position >= limit.position {
			return
		}
		bytes -= len(i.payload)
		if len(r.items) == entries || bytes < 0 && len(r.items) > 0 {
			return
		}
		r.items = append(r.items, i)
		r.at = i.next()
	}
}

// takeFrom takes from a segment, up to a place in it.
func (r *reader) takeFrom(s *segment, end place, entries, bytes int) error {
	if err := r.open(s); err != nil {
		return err
	}
	r.arena = r.arena[:0]
	limit := s.offset(end.position)
	for len(r.items) < entries && r.scanner.offset < limit {
		expected := r.scanner.offset
		f, found := r.scanner.next(limit)
		bad := limit // Up to where there is no frame.
		if found {
			bad = f.offset
		}
		if bad > expected && !r.passDamage(s, expected, bad) {
			return nil
		}
		if !found {
			break
		}
		if f.kind == Head {
			continue // A head is not delivered. Positions do not count the head of a segment, and it has only one.
		}
		if bytes -= len(f.payload); bytes < 0 && len(r.items) > 0 {
			r.scanner.offset = f.offset // For the next time.
			break
		}
		start := len(r.arena)
		r.arena = append(r.arena, f.payload...)
		r.items = append(r.items, item{
			place: place{r.at.entry, s.position(f.offset)}, kind: f.kind, at: f.at,
			payload: r.arena[start:len(r.arena):len(r.arena)],
		})
		r.at = r.items[len(r.items)-1].next()
	}
	if r.scanner.offset >= limit {
		r.at = end // Entries that were lost count as passed, here at the latest.
	}
	if cap(r.arena) > 2*defaultBatchBytes {
		r.arena = nil // So that one large entry does not take memory from then on.
	}
	return nil
}

// open opens s, unless it is open, and moves the scanner to the next entry.
func (r *reader) open(s *segment) error {
	if r.at.position < s.base {
		r.at = place{s.first, s.base}
	}
	offset := s.offset(r.at.position)
	if r.segment == s {
		r.scanner.offset = offset
		return nil
	}
	r.close()
	opened, err := r.q.files.Open(r.q.segmentPath(s), os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotRegular) {
		if _, err := r.q.files.List(r.q.dir, 1); isGone(err) {
			return err // With the directory, it may come back.
		}
		opened, err = missingFile{}, nil
	}
	if err != nil {
		return err
	}
	r.segment, r.file, r.scanner = s, opened, scanner{file: opened, salt: s.salt, offset: offset}
	return nil
}

// passDamage sets a damaged stretch aside, or returns false if it has been written again elsewhere meanwhile.
func (r *reader) passDamage(s *segment, from, to int64) bool {
	r.q.mu.Lock()
	moved := r.q.segmentAt(s.position(from)) != s
	r.q.mu.Unlock()
	if moved {
		r.close()
		return false
	}
	r.q.setAside(s, &r.scanner, from, to)
	return true
}

// missingFile stands for a segment that somebody has removed, or put something else in the place of.
type missingFile struct{ file }

func (missingFile) ReadAt([]byte, int64) (int, error) { return 0, fs.ErrNotExist }

func (missingFile) Close() error { return nil }
