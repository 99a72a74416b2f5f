// Package lease shares values that are costly to make and must be closed. The pool makes one value for a key, keeps it
// for a limited time and up to a number of values, and closes it when it has left the pool and its last user is done.
//
//	pool, err := lease.New[string, *Session](100, time.Hour)
//	…
//	l, _, err := pool.Acquire(ctx, user, func(ctx context.Context) (*Session, func(context.Context), error) {
//		session, err := dial(ctx, user)
//		return session, session.Close, err
//	})
//	…
//	ok := l.Use(func(session *Session) { … })
//
// The package does not know what it shares.
package lease

import (
	"context"
	"sync/atomic"
)

// Lease holds a value for one user: the value is not closed before the lease is released, whatever happens to it in the
// pool. It is safe for concurrent use, except for ReleaseAfter.
type Lease[K comparable, V any] struct {
	pool  *Pool[K, V]
	entry *entry[K, V]
	spent atomic.Bool // It was released, or is being used.
	stop  func() bool // Stops what ReleaseAfter started; nil: nothing to stop.
}

// Release releases the lease. After a use or an earlier release it does nothing.
func (l *Lease[K, V]) Release() {
	if !l.spent.Swap(true) {
		l.pool.release(l.entry)
	}
}

// ReleaseAfter releases the lease when ctx ends, unless the lease is in use then. Call it at most once, and before the
// lease is used.
func (l *Lease[K, V]) ReleaseAfter(ctx context.Context) { l.stop = context.AfterFunc(ctx, l.Release) }

// Use calls f with the value, and releases the lease when f returns or panics. Where the lease was released before, Use
// still works as long as the value is not closed; after that it returns false and does not call f.
func (l *Lease[K, V]) Use(f func(V)) bool {
	if l.stop != nil {
		l.stop()
	}
	if l.spent.Swap(true) && !l.pool.retain(l.entry) {
		return false
	}
	defer l.pool.release(l.entry)
	f(l.entry.value)
	return true
}
