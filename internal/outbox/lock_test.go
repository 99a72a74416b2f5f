package outbox

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// TestLock has an owner who takes the lock before the queue is opened, and keeps it when the queue is closed.
func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "queue")
	lock, err := TakeLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	taken := func(when string) {
		t.Helper()
		if _, err := TakeLock(dir); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "stop it") {
			t.Errorf("a second lock %s: %v", when, err)
		}
		if _, err := Open(dir, Options{}); !errors.Is(err, ErrInUse) {
			t.Errorf("a queue without the lock %s: %v", when, err)
		}
	}
	taken("before the queue")
	q := mustOpen(t, dir, Options{Lock: lock})
	taken("beside the queue")
	mustAppend(t, q, "entry")
	mustClose(t, q)
	taken("after the queue")
	if _, err := Open(t.TempDir(), Options{Lock: lock}); err == nil || !strings.Contains(err.Error(), "is of "+dir) {
		t.Errorf("the lock of another directory: %v", err)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
	checkEntries(t, drain(t, mustOpen(t, dir, Options{})), []string{"entry"})
}
