package outbox

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// patience is how long more than half of what the queue may hold can be pending before it is not ready.
const patience = time.Minute

// Ready returns an error of one line, without a path, if the queue should not be given more: it refuses entries, it has
// been more than half full for a minute, or its disk takes nothing. It tries the disk, so it is not for every request.
func (q *Queue) Ready() error {
	now := q.now()
	q.mu.Lock()
	pending, closing, since, full, unsafe := q.end.position-q.read.position, q.closing, q.halfFull, q.full, q.unsafe
	next := max(q.refused, 1) // Something like what was refused may come again.
	q.mu.Unlock()
	switch {
	case closing:
		return ErrClosed
	case pending+next > q.options.MaxBytes-q.options.ReserveBytes:
		return fmt.Errorf("%w: %d bytes are pending", ErrFull, pending)
	case since != 0 && now-since >= int64(patience):
		return fmt.Errorf("queue has been more than half full for %v: %d bytes are pending", time.Duration(now-since).Round(time.Second), pending)
	case q.options.Durability == Memory:
		return nil
	}
	if err := q.tryDisk(unsafe); err != nil {
		return err
	}
	if full {
		return q.tryReserve()
	}
	return nil
}

// noteFill notes since when more than half of what the queue may hold has been pending. The caller has mu.
func (q *Queue) noteFill(now int64) {
	switch {
	case q.end.position-q.read.position <= q.options.MaxBytes/2:
		q.halfFull = 0
	case q.halfFull == 0:
		q.halfFull = now
	}
}

// tryDisk writes a file and removes it. After a sync that failed it syncs that file, too.
func (q *Queue) tryDisk(unsafe bool) error {
	path := filepath.Join(q.dir, "probe")
	opened, err := q.files.Open(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err == nil {
		piece := make([]byte, pieceBytes)
		_, _ = rand.Read(piece) // It never fails.
		_, err = opened.WriteAt(piece, 0)
		if err == nil && unsafe {
			err = opened.Sync()
		}
		err = errors.Join(err, opened.Close(), q.files.Remove(path))
	}
	switch {
	case err == nil && unsafe:
		q.mu.Lock()
		q.unsafe = false
		q.mu.Unlock()
		return nil
	case err == nil:
		return nil
	case noRoom(err):
		return fmt.Errorf("%w: its disk has no room", ErrFull)
	case readOnly(err):
		return fmt.Errorf("%w: it is read-only", ErrFailed)
	case isGone(err):
		return fmt.Errorf("%w: the directory of the queue is gone", ErrFailed)
	}
	if failure, ok := errors.AsType[*fs.PathError](err); ok {
		err = failure.Err
	}
	return fmt.Errorf("%w: %w", ErrFailed, err)
}

// isGone reports whether an error says that a directory is not there.
func isGone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) }

// tryReserve makes the room in reserve whole again, which Append would otherwise do at its next call.
func (q *Queue) tryReserve() error {
	if !q.appending.TryLock() {
		return nil // An Append is at it.
	}
	defer q.appending.Unlock()
	err := q.reserve.refill(true)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.full = !q.reserve.isWhole()
	if q.full && err != nil {
		return fmt.Errorf("%w: its disk has no room for what is kept in reserve", ErrFull)
	}
	return nil
}

// checkNames counts the segments whose files somebody has taken away while the queue is open. What is in them is
// delivered as far as it is in memory. The next Append does not go into such a file. While the whole directory is away,
// nothing is known of its files: it may come back with all of them.
func (q *Queue) checkNames() {
	if q.options.Durability == Memory {
		return
	}
	q.mu.Lock()
	before := slices.Clone(q.segments)
	q.mu.Unlock()
	names, err := q.files.List(q.dir, 0)
	switch {
	case isGone(err):
		q.complain("outbox directory is gone: put it back, what is in it waits", err)
		return
	case err != nil:
		q.complain("outbox cannot be listed", err)
		return
	}
	q.mu.Lock()
	var gone []listed
	lost := false
	for _, s := range before {
		missing := s.lasting && slices.Contains(q.segments, s) && !slices.Contains(names, s.fileName())
		known := s.unnamed
		s.unnamed = missing // It may have come back.
		if missing && !known {
			gone = append(gone, listed{number: s.number, salt: s.salt})
			lost = lost || s == q.active
		}
	}
	q.mu.Unlock()
	q.reportMissing(gone)
	if lost {
		q.appending.Lock()
		q.seal()
		q.appending.Unlock()
	}
}
