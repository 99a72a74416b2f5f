package outbox

import "fmt"

// Append adds entries behind all others, together and in their order: all of them or, if it fails, none. When it
// returns they have been written to the disk's cache; the commit says when they are as durable as the queue makes them.
// A process that ends in the middle may leave the first of them.
//
// It fails with [ErrFull], [ErrFailed] or [ErrClosed], or because an entry has more than [MaxEntryBytes]. The slices
// are not kept.
func (q *Queue) Append(entries ...[]byte) (Commit, error) {
	size := int64(0)
	for _, entry := range entries {
		if len(entry) > MaxEntryBytes {
			return Commit{}, fmt.Errorf("outbox: append: an entry of %d bytes: one may have %d", len(entry), MaxEntryBytes)
		}
		size += frameBytes(entry)
	}
	if size == 0 {
		return Commit{}, nil
	}
	q.appending.Lock()
	defer q.appending.Unlock()
	err := q.admit(size)
	if err == ErrClosed {
		return Commit{}, err
	}
	var (
		at     = q.now()
		s      *segment
		frames []byte
	)
	if err == nil {
		s, frames, err = q.write(entries, size, at)
	}
	if err != nil {
		return Commit{}, q.refuse(err)
	}
	return q.publish(s, frames, entries, at), nil
}

// admit says whether there is room for so many bytes.
func (q *Queue) admit(size int64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	pending := q.end.position - q.read.position
	switch {
	case q.closing:
		return ErrClosed
	case pending+size > q.options.MaxBytes:
		return fmt.Errorf("%w: %d bytes are pending and %d more would be over %d", ErrFull, pending, size, q.options.MaxBytes)
	}
	return nil
}

// refuse counts and logs an Append that failed, and returns its error. The caller has q.appending.
func (q *Queue) refuse(err error) error {
	q.mu.Lock()
	q.stats.AppendErrors++
	q.full = q.full || noRoom(err)
	own := q.full && q.end.entry == q.read.entry
	q.mu.Unlock()
	if own {
		q.makeRoom()
	}
	q.complain("records cannot be queued", err)
	return fmt.Errorf("outbox %s: append: %w", q.dir, err)
}

// write puts the frames of the entries where the next ones belong, and returns them with the segment, which is nil in
// Memory.
func (q *Queue) write(entries [][]byte, size, at int64) (*segment, []byte, error) {
	var s *segment
	salt := uint32(0)
	if q.options.Durability != Memory {
		var err error
		if s, err = q.writable(size); err != nil {
			return nil, nil, fmt.Errorf("%w: begin a segment: %w", failure(err), err)
		}
		salt = s.salt
	}
	frames := make([]byte, 0, size)
	for _, entry := range entries {
		frames = appendFrame(frames, salt, at, entry)
	}
	if s == nil {
		return nil, frames, nil
	}
	offset := segmentHeaderBytes + s.size
	if _, err := s.file.WriteAt(frames, offset); err != nil {
		// Part of it may be there. A segment that cannot be cut back to what it was, or whose disk fails, is not used again.
		if cutErr := s.file.Truncate(offset); cutErr != nil || !noRoom(err) {
			q.seal()
		}
		return nil, nil, fmt.Errorf("%w: %w", failure(err), err)
	}
	return s, frames, nil
}

// failure returns which of the errors of this package an error of the disk is.
func failure(err error) error {
	if noRoom(err) {
		return ErrFull
	}
	return ErrFailed
}

// writable returns a segment with room for so many bytes. The caller has q.appending.
func (q *Queue) writable(size int64) (*segment, error) {
	if s := q.active; s != nil && (s.size == 0 || s.size+size <= q.options.SegmentBytes) {
		return s, nil
	}
	q.seal()
	return q.begin()
}

// begin makes a new segment the active one. The caller has q.appending.
func (q *Queue) begin() (*segment, error) {
	s, err := q.createSegment(q.end)
	if err != nil {
		return nil, err
	}
	q.mu.Lock()
	q.segments = append(q.segments, s)
	q.active = s
	q.unnamed = true
	q.mu.Unlock()
	return s, nil
}

// seal ends the active segment: the next Append begins another. The caller has q.appending.
func (q *Queue) seal() {
	q.mu.Lock()
	s := q.active
	q.active = nil
	var clean file
	if s != nil && s.end() <= q.durable.position && s.file != nil {
		clean, s.file = s.file, nil
	}
	q.mu.Unlock()
	if clean != nil {
		_ = clean.Close() // All that is in there has been synced.
	}
}

// makeRoom lets go of the active segment, from which everything has been delivered, since the disk is full. The caller
// has q.appending.
func (q *Queue) makeRoom() {
	if q.active == nil || q.active.size == 0 {
		return
	}
	q.seal()
	q.reclaim()
	q.requestSync() // What is still to be synced goes after that.
}

// publish makes what was written part of the queue. The caller has q.appending.
func (q *Queue) publish(s *segment, frames []byte, entries [][]byte, at int64) Commit {
	q.mu.Lock()
	if q.end.entry == q.read.entry {
		q.oldest = at
	}
	offset := 0
	for _, entry := range entries {
		offset += frameOverhead
		i := item{place: q.end, at: at, payload: frames[offset : offset+len(entry) : offset+len(entry)]}
		offset += len(entry)
		q.recent.add(i)
		q.end = i.next()
	}
	if s != nil {
		s.size += int64(len(frames))
		s.entries += uint64(len(entries))
		if n := len(q.unsynced); n == 0 || q.unsynced[n-1] != s {
			q.unsynced = append(q.unsynced, s)
		}
	}
	q.full = false
	q.mu.Unlock()

	select {
	case q.wake <- struct{}{}:
	default:
	}
	return q.requestSync()
}
