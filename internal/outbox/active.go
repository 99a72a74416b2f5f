package outbox

import "slices"

// writable returns a segment with room for so many bytes. The caller has q.appending.
func (q *Queue) writable(size int64) (*segment, error) {
	if s := q.active; s != nil && (s.size == 0 || s.head+s.size+size <= q.options.SegmentBytes) {
		return s, nil
	}
	q.seal()
	return q.begin()
}

// begin makes a new segment the active one, and requests its sync even if nothing is appended to it: the segment before
// it can be removed only once this one is durable. The caller has q.appending.
func (q *Queue) begin() (*segment, error) {
	s, err := q.createSegment(q.end)
	if err != nil {
		return nil, err
	}
	q.mu.Lock()
	q.segments = append(q.segments, s)
	q.unsynced = append(q.unsynced, s)
	q.unnamed = true
	q.active = s
	q.mu.Unlock()
	q.requestSync()
	q.syncNow()
	return s, nil
}

// seal ends the active segment and cuts off what was written ahead: the next Append begins another. The caller has
// q.appending.
func (q *Queue) seal() {
	s := q.active
	cut := s != nil && q.cutAhead(s)
	q.mu.Lock()
	q.active = nil
	var clean file
	if cut && !slices.Contains(q.unsynced, s) {
		q.unsynced = append(q.unsynced, s)
	}
	if s != nil && s.file != nil && !slices.Contains(q.unsynced, s) {
		clean, s.file = s.file, nil
	}
	q.mu.Unlock()
	if clean != nil {
		_ = clean.Close() // All that is in it has been synced.
	}
}

// makeRoom is for when the disk is full and everything has been delivered. If part of the reserve has been used and can
// be filled again, it does only that. Otherwise it begins another segment, so that the old one can be removed. That
// happens once the new one is synced, and no earlier, since nothing else says what came before it. The caller has
// q.appending.
func (q *Queue) makeRoom() {
	if q.active != nil && q.active.size == 0 {
		return
	}
	if !q.reserve.isWhole() && q.reserve.refill(false) == nil {
		q.mu.Lock()
		q.full = false
		q.mu.Unlock()
		return
	}
	q.seal()
	_ = q.beginReserved() // If it fails, the next Append tries again, and says so.
}

// beginReserved is begin with the room in reserve, all of it if need be. The caller has q.appending.
func (q *Queue) beginReserved() error {
	_, err := q.begin()
	for noRoom(err) && q.reserve.giveUp(pieceBytes, 0) {
		_, err = q.begin()
	}
	return err
}
