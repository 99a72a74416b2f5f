package outbox

import (
	"io"
	"path/filepath"
)

// Lock is the lock of a queue's directory. While it is held, no other process can open the queue, and in this process
// only a queue can be opened that is given the lock: see Options.Lock.
type Lock struct {
	dir  string
	held io.Closer
}

// TakeLock takes the lock of a directory, which is made if it is missing. The error is [ErrInUse] if anyone else has the
// lock. The caller releases it; the end of the process does so, too.
func TakeLock(dir string) (*Lock, error) {
	files := disk{}
	err := files.MakeDir(dir)
	if err != nil {
		return nil, explain(dir, err)
	}
	held, err := files.Lock(lockPath(dir))
	if err != nil {
		return nil, explain(dir, err)
	}
	return &Lock{dir: dir, held: held}, nil
}

// Release gives the lock back. It must be called after [Queue.Close] of a queue that was given the lock.
func (l *Lock) Release() error { return l.held.Close() }

func lockPath(dir string) string { return filepath.Join(dir, "lock") }
