package outbox

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	// pieceBytes is how much of the reserve is written or given up at a time.
	pieceBytes = 64 << 10
	// minReserveBytes is the least room on a disk that a queue starts with.
	minReserveBytes = 64 << 10
	// refillInterval is the least time between two tries to make the reserve whole, unless room was made meanwhile.
	refillInterval = 100 * time.Millisecond
)

// reserve is a file that keeps room on the disk, so that what has begun can be ended when the disk is full. Its last
// quarter is only for the heads of segments. Without that quarter, a full disk could stay full for ever: a segment that
// has been delivered is removed when another one has begun, and that one may need room. The file's bytes are random,
// since some file systems need no room to store zeros.
//
// It is guarded by the queue's appending. A nil reserve, that of a queue in Memory, is whole.
type reserve struct {
	file   file
	wanted int64 // How large it would be on a disk with room.
	whole  int64 // How large it is when it is whole: wanted, or half of that and so on.
	size   int64 // How large it is.

	tried time.Time // When making it whole was last tried.
	err   error     // Why it is not whole.
}

// openReserve opens the reserve, with the room that an earlier process left in it.
func openReserve(files fileSystem, dir string, wanted int64) (*reserve, error) {
	opened, err := files.Open(filepath.Join(dir, "reserve"), os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	size, err := opened.Size()
	if err != nil {
		_ = opened.Close()
		return nil, err
	}
	return &reserve{file: opened, wanted: wanted, size: size}, nil
}

// fill makes it as large as it is wanted, or half of that and so on, where there is no room for more.
func (r *reserve) fill() error {
	err := r.write(r.wanted)
	if err != nil && !noRoom(err) {
		return err
	}
	least := min(r.wanted, minReserveBytes)
	r.whole = r.wanted
	for r.whole > r.size && r.whole > least {
		r.whole = max(r.whole/2, least)
	}
	if r.whole > r.size {
		return fmt.Errorf("%w: no room for %d bytes in reserve: %w", ErrFull, least, err)
	}
	// An earlier process may have left it longer.
	if err := r.file.Truncate(r.whole); err != nil {
		return err
	}
	r.size = r.whole
	return r.file.Sync()
}

// refill makes it whole again. If it is whole, but at half its wanted size or less, and a segment was removed meanwhile
// (freed), it tries to make it larger. It fails as long as it is not whole.
func (r *reserve) refill(freed bool) error {
	switch {
	case r == nil || r.size >= r.wanted:
		return nil
	case r.isWhole():
		if freed {
			_ = r.fill() // If it fails, it is as whole as before.
		}
		return nil
	case !freed && time.Since(r.tried) < refillInterval:
		return r.err
	}
	r.tried = time.Now()
	before := r.size
	err := r.write(r.whole)
	if err == nil {
		if err = r.file.Sync(); err != nil {
			r.size = before
		}
	}
	if err != nil {
		r.err = fmt.Errorf("%w: the room in reserve has been used: %w", failure(err), err)
		return r.err
	}
	return nil
}

// write makes the file longer, up to a size. If that fails, the bytes that were written stay.
func (r *reserve) write(size int64) error {
	for piece := make([]byte, pieceBytes); r.size < size; {
		_, _ = rand.Read(piece) // It never fails.
		n, err := r.file.WriteAt(piece[:min(size-r.size, pieceBytes)], r.size)
		r.size += int64(n)
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *reserve) isWhole() bool { return r == nil || r.size >= r.whole }

// forHeads returns how many bytes of it are for heads only.
func (r *reserve) forHeads() int64 { return r.whole / 4 }

// giveUp frees so many bytes, rounded up to whole pieces, but leaves a reserve of at least last bytes. It returns false
// if it freed nothing.
func (r *reserve) giveUp(bytes, last int64) bool {
	size := max(last, r.size-(bytes+pieceBytes-1)/pieceBytes*pieceBytes)
	if size >= r.size || r.file.Truncate(size) != nil {
		return false
	}
	r.size, r.err = size, fmt.Errorf("%w: the room in reserve has been used", ErrFull)
	_ = r.file.Sync() // Some file systems free the room only then.
	return true
}
