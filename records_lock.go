package aibridged

import (
	"fmt"

	"github.com/coder/aibridged/internal/outbox"
)

// RecordsLock is the lock of a directory of records, which one process at a time can have. A host takes it before it
// opens the server if it must do something first that only the directory's one user may do, such as to migrate the
// database of its control plane: see [RecordOptions].
type RecordsLock struct{ lock *outbox.Lock }

// LockRecords takes the lock of a directory, which is made if it is missing. It fails if another process has the lock.
// The caller releases it, after the server that was given it is shut down; the end of the process does so, too.
func LockRecords(directory string) (*RecordsLock, error) {
	lock, err := outbox.TakeLock(directory)
	if err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	return &RecordsLock{lock: lock}, nil
}

// Release gives the lock back.
func (l *RecordsLock) Release() error { return l.lock.Release() }
