package outbox

import "fmt"

// Append adds entries behind all others, together and in their order: all of them or, if it fails, none. When it
// returns they have been written, perhaps only to the operating system's cache; the commit says when they are as
// durable as the queue makes them. If the process ends during the call, the first of them may be in the queue.
//
// It fails with [ErrFull], [ErrFailed] or [ErrClosed], or because an entry has more than [MaxEntryBytes]. If more than half
// of the room is used, it refuses to add more than a megabyte at once, so that a few large entries do not keep out many small
// ones. It leaves the room in reserve to AppendReserved, and fails as long as part of that room is used. The slices are not kept.
func (q *Queue) Append(entries ...[]byte) (Commit, error) {
	return q.add(addition{entries: entries, kind: Entry})
}

// AppendReserved is Append that may also use the room in reserve: see Options.ReserveBytes. It is for entries that end
// something that has begun. It fails with [ErrFull] once that room has been used up, too.
func (q *Queue) AppendReserved(entries ...[]byte) (Commit, error) {
	return q.add(addition{entries: entries, kind: Entry, reserved: true})
}

// largeBytes is how much may be added at once while more than half of the room is used.
const largeBytes = 1 << 20

// addition is what is appended together.
type addition struct {
	entries  [][]byte
	kind     Kind // Entry or resent.
	reserved bool // It may use the room in reserve.

	size int64 // Of the frames.
	at   int64 // When it is appended.
}

// add appends.
func (q *Queue) add(a addition) (Commit, error) {
	for _, entry := range a.entries {
		if len(entry) > MaxEntryBytes {
			return Commit{}, fmt.Errorf("outbox: append: an entry of %d bytes: one may have %d", len(entry), MaxEntryBytes)
		}
		a.size += frameBytes(entry)
	}
	if a.size == 0 {
		return Commit{}, nil
	}
	q.appending.Lock()
	defer q.appending.Unlock()
	err := q.admit(&a)
	if err == ErrClosed {
		return Commit{}, err
	}
	a.at = q.now()
	var (
		s      *segment
		frames []byte
	)
	if err == nil {
		s, frames, err = q.write(&a)
	}
	for a.reserved && noRoom(err) && q.reserve.giveUp(a.size, q.reserve.forHeads()) {
		s, frames, err = q.write(&a)
	}
	if err != nil {
		return Commit{}, q.refuse(err)
	}
	for _, entry := range a.entries {
		q.observe(a.kind, entry) // Before it can be delivered.
	}
	return q.publish(s, frames, &a), nil
}

// admit returns an error if there is no room, or the queue is closed. The caller has q.appending.
func (q *Queue) admit(a *addition) error {
	most := q.options.MaxBytes
	if !a.reserved {
		most -= q.options.ReserveBytes
	}
	q.mu.Lock()
	pending := q.end.position - q.read.position
	closing, fits, freed := q.closing, pending+a.size <= most, q.freed
	crowds := !a.reserved && a.size > largeBytes && pending > most/2
	switch {
	case fits && !crowds:
		q.freed = false
	case !a.reserved && !fits:
		q.refused = a.size
	}
	q.mu.Unlock()
	switch {
	case closing:
		return ErrClosed
	case !fits:
		return fmt.Errorf("%w: %d bytes are pending and %d more would be over %d", ErrFull, pending, a.size, most)
	case crowds:
		return fmt.Errorf("%w: %d bytes are pending, more than half of what fits, and %d more are many", ErrFull, pending, a.size)
	case !a.reserved:
		return q.reserve.refill(freed)
	case freed:
		_ = q.reserve.refill(true) // Otherwise, entries that end something would in time leave no room to begin a segment.
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

// write writes the frames of the entries behind the last frame, and returns them and their segment, which is nil in
// Memory. The caller has q.appending.
func (q *Queue) write(a *addition) (*segment, []byte, error) {
	var s *segment
	salt := uint32(0)
	if q.options.Durability != Memory {
		var err error
		if s, err = q.writable(a.size); err != nil {
			return nil, nil, fmt.Errorf("%w: begin a segment: %w", failure(err), err)
		}
		salt = s.salt
	}
	frames := make([]byte, 0, a.size)
	for _, entry := range a.entries {
		frames = appendFrame(frames, salt, a.kind, a.at, entry)
	}
	if s == nil {
		return nil, frames, nil
	}
	offset := s.offset(s.end())
	q.writeAhead(s, a.size)
	if _, err := s.file.WriteAt(frames, offset); err != nil {
		s.ahead = ahead{off: true}
		// Part of the frames may be there. If they cannot be cut off, or the disk failed for another reason than being
		// full, nothing more is appended to this segment.
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

// publish makes what was written part of the queue. The caller has q.appending.
func (q *Queue) publish(s *segment, frames []byte, a *addition) Commit {
	q.mu.Lock()
	if q.end.entry == q.read.entry {
		q.oldest = a.at
	}
	offset := 0
	for _, entry := range a.entries {
		offset += frameOverhead
		i := item{place: q.end, kind: a.kind, at: a.at, payload: frames[offset : offset+len(entry) : offset+len(entry)]}
		offset += len(entry)
		q.recent.add(i)
		q.end = i.next()
	}
	if s != nil {
		s.size += int64(len(frames))
		s.entries += uint64(len(a.entries))
		if n := len(q.unsynced); n == 0 || q.unsynced[n-1] != s {
			q.unsynced = append(q.unsynced, s)
		}
	}
	q.full = !q.reserve.isWhole()
	q.noteFill(a.at)
	q.mu.Unlock()

	if q.options.Durability == Memory { // On a disk, the sync wakes the consumer.
		q.wakeConsumer()
	}
	return q.requestSync()
}
